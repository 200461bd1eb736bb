"""The Dice loss of segmentations, and its gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.ops.elementwise import alike
from numconv.ops.loss import check_reduction, reduced, spread


def dice_loss(input: Any, target: Any, smooth: float = 1.0, reduction: str = "mean") -> np.ndarray:
    """1 - (2 sum(input target) + smooth) / (sum(input) + sum(target) + smooth) for each sample and channel.

    Parameters
    ----------
    input, target : array_like, shape ``(N, C, *spatial)``
        Probabilities, and what they should be; sums are over space. Dtypes as in `mse_loss`.
    smooth : float
        Keeps the quotient defined where nothing is there.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    ndarray
        Of shape (), or with "none" (N, C).

    Raises
    ------
    ValueError
        If shapes differ, there are fewer than three axes, or `reduction` is another.
    TypeError
        For bool and complex arrays.

    References
    ----------
    F. Milletari, N. Navab and S.-A. Ahmadi, V-Net, 2016; PyTorch has no function of it.
    """
    x, target, work, result = _dice_arrays(input, target, reduction)
    with np.errstate(all="ignore"):
        above, below = _dice_sums(x.astype(work, copy=False), target.astype(work, copy=False), smooth)
        values = 1 - above / below
        return reduced(values, reduction, values.size, result)


def dice_loss_input(
    input: Any, target: Any, grad_output: Any, smooth: float = 1.0, reduction: str = "mean"
) -> np.ndarray:
    """The gradient of `dice_loss` with respect to its input; see `mse_loss_input`."""
    x, target, work, result = _dice_arrays(input, target, reduction)
    each = spread(grad_output, x.shape[:2], reduction, math.prod(x.shape[:2]))
    with np.errstate(all="ignore"):
        x, target = x.astype(work, copy=False), target.astype(work, copy=False)
        above, below = _dice_sums(x, target, smooth)
        ones = (...,) + (None,) * (x.ndim - 2)
        constant, factor = (v.astype(work)[ones] for v in (each * above / below**2, -2 * each / below))
        return np.add(target * factor, constant, order="C").astype(result, copy=False)


def _dice_arrays(input: Any, target: Any, reduction: str) -> tuple[np.ndarray, np.ndarray, np.dtype, np.dtype]:
    check_reduction(reduction)
    (x, target), work, result = alike(input=input, target=target)
    if x.ndim < 3:
        raise ValueError(f"input must have at least 3 axes, (N, C, *spatial), got shape {x.shape}")
    return x, target, work, result


def _dice_sums(x: np.ndarray, target: np.ndarray, smooth: float) -> tuple[np.ndarray, np.ndarray]:
    """(what is above, what is below the line), float64."""
    axes = tuple(range(2, x.ndim))
    both, one, other = (np.asarray(np.sum(v, axes, dtype=np.float64)) for v in (x * target, x, target))
    return 2 * both + smooth, one + other + smooth
