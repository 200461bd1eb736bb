"""Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.ops.device import by_device
from numconv.ops.elementwise import real


@by_device
def dropout(x: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | None = None) -> np.ndarray:
    """Zero each element with probability `p` and scale the others by 1 / (1 - p) (Srivastava et al. 2014).

    Parameters
    ----------
    x : array_like
        Dtypes as in `batch_norm`.
    p : float
        1 gives zeros.
    training : bool
        If false, a copy of `x`.
    rng : numpy.random.Generator, optional
        Default: a fresh one, seeded by the system.

    Returns
    -------
    ndarray
        Of `x`'s shape and dtype; float64 for integers.

    Raises
    ------
    ValueError
        If `p` is not between 0 and 1.
    TypeError
        For bool and complex `x`, or an `rng` that is no Generator.
    """
    if training and p != 0:
        return dropout_and_mask(x, p=p, rng=rng)[0]
    x, _, result = real("x", x)
    _check(p, rng)
    return x.astype(result, order="C")


@by_device
def dropout_and_mask(x: Any, *, p: float, rng: np.random.Generator | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(what `dropout` returns in training, which elements it kept)."""
    x, _, result = real("x", x)
    _check(p, rng)
    keep = (np.random.default_rng() if rng is None else rng).random(x.shape, np.float32) >= p
    return dropout_input(keep, x.astype(result, copy=False), p), keep


def dropout_input(mask: Any, grad_output: Any, p: float) -> np.ndarray:
    """The gradient of `dropout`, which is `dropout` of the gradient.

    Parameters
    ----------
    mask : array_like of bool
        Which elements were kept.
    grad_output : array_like, of the same shape
    p : float

    Returns
    -------
    ndarray
        grad_output / (1 - p) where `mask` is true, else 0.

    Raises
    ------
    ValueError
        If shapes differ or `p` is not between 0 and 1.
    TypeError
        For bool and complex `grad_output`.
    """
    grad, work, result = real("grad_output", grad_output)
    _check(p, None)
    mask = np.asarray(mask, np.bool_)
    if mask.shape != grad.shape:
        raise ValueError(f"mask must have the shape of grad_output, {grad.shape}, got {mask.shape}")
    with np.errstate(all="ignore"):
        scaled = np.divide(grad, 1 - p, where=mask, out=np.zeros(grad.shape, work), dtype=work)
        return scaled.astype(result, copy=False)


def _check(p: float, rng: Any) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"p must be between 0 and 1, got {p!r}")
    if not (rng is None or isinstance(rng, np.random.Generator)):
        raise TypeError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}")
