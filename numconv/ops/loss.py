"""Losses and their gradients by the first argument; names, arguments and results as torch.nn.functional has them.

Sums and means are formed in float64 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.ops.elementwise import alike, real

REDUCTIONS = ("none", "mean", "sum")


def check_reduction(reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {REDUCTIONS}, got {reduction!r}")


def reduced(values: np.ndarray, reduction: str, count: float, dtype: np.dtype) -> np.ndarray:
    """The values, their sum, or that over `count`."""
    if reduction == "none":
        return values.astype(dtype, copy=False)
    total: Any = np.sum(values, dtype=np.float64)
    return np.asarray(total if reduction == "sum" else total / count if count else math.nan).astype(dtype)


def spread(grad_output: Any, shape: tuple[int, ...], reduction: str, count: float) -> np.ndarray:
    """What each of the values counts, given the gradient of what `reduced` made of them."""
    grad, _, _ = real("grad_output", grad_output)
    wanted = shape if reduction == "none" else ()
    if grad.shape != wanted:
        raise ValueError(f"grad_output must have shape {wanted} with reduction {reduction!r}, got {grad.shape}")
    return grad.astype(np.float64) / count if reduction == "mean" and count else grad


# --- elementwise: (value, derivative) of x and target


def _smooth_l1(d: np.ndarray, beta: float) -> np.ndarray:
    size = np.abs(d)
    return np.where(size < beta, 0.5 * d * d / (beta or 1), size - 0.5 * beta)


def _bce(x: np.ndarray, t: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """(1 - t) x + (1 + (pos - 1) t) log(1 + exp(-x)), without overflow."""
    soft = np.log1p(np.exp(-np.abs(x))) + np.maximum(-x, 0)
    return (1 - t) * x + (1 + (pos - 1) * t) * soft


def _bce_slope(x: np.ndarray, t: np.ndarray, pos: np.ndarray) -> np.ndarray:
    return (1 - t) - (1 + (pos - 1) * t) / (1 + np.exp(x))


_FUNCTIONS: dict[str, tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]] = {
    "mse": (lambda x, t, _: np.square(x - t), lambda x, t, _: 2 * (x - t)),
    "l1": (lambda x, t, _: np.abs(x - t), lambda x, t, _: np.sign(x - t)),
    "smooth_l1": (
        lambda x, t, beta: _smooth_l1(x - t, beta),
        lambda x, t, beta: np.clip((x - t) / beta, -1, 1) if beta else np.sign(x - t),
    ),
    "bce": (_bce, _bce_slope),
    "hinge": (
        lambda x, t, margin: np.maximum(margin - x * t, 0),
        lambda x, t, margin: np.where(x * t < margin, -t, 0),
    ),
}


def _loss(name: str, x: Any, target: Any, parameter: Any, weight: Any, reduction: str) -> np.ndarray:
    check_reduction(reduction)
    (x, target), work, result = alike(input=x, target=target)
    with np.errstate(all="ignore"):
        values = _FUNCTIONS[name][0](x.astype(work, copy=False), target.astype(work, copy=False), parameter)
        if weight is not None:
            values = values * _broadcast("weight", weight, x.shape, work)
        return reduced(values, reduction, x.size, result)


def _gradient(
    name: str, x: Any, target: Any, grad_output: Any, parameter: Any, weight: Any, reduction: str
) -> np.ndarray:
    check_reduction(reduction)
    (x, target), work, result = alike(input=x, target=target)
    each = spread(grad_output, x.shape, reduction, x.size).astype(work, copy=False)
    with np.errstate(all="ignore"):
        slopes = _FUNCTIONS[name][1](x.astype(work, copy=False), target.astype(work, copy=False), parameter)
        if weight is not None:
            slopes = slopes * _broadcast("weight", weight, x.shape, work)
        return np.multiply(slopes, each, order="C").astype(result, copy=False)


def _broadcast(name: str, value: Any, shape: tuple[int, ...], work: np.dtype) -> np.ndarray:
    array, _, _ = real(name, value)
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} must broadcast to the shape of input, {shape}, got {array.shape}")
    return array.astype(work, copy=False)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> np.ndarray:
    """(input - target)^2.

    Parameters
    ----------
    input, target : array_like, of one shape
        float16 and bfloat16 are computed in float32, integers in float64.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    ndarray
        Of shape (), or with "none" that of `input`, in the promoted dtype. The mean of nothing is NaN.

    Raises
    ------
    ValueError
        If shapes differ or `reduction` is another.
    TypeError
        For bool and complex arrays.
    """
    return _loss("mse", input, target, None, None, reduction)


def mse_loss_input(input: Any, target: Any, grad_output: Any, reduction: str = "mean") -> np.ndarray:
    """The gradient of `mse_loss` with respect to its input.

    Parameters
    ----------
    input, target : array_like
        As in the loss.
    grad_output : array_like
        The gradient of the loss: one number, or with reduction "none" of the shape of `input`.
    reduction : str

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    ValueError, TypeError
        As the loss, and if `grad_output` has another shape.
    """
    return _gradient("mse", input, target, grad_output, None, None, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> np.ndarray:
    """``|input - target|``; arguments and result as in `mse_loss`."""
    return _loss("l1", input, target, None, None, reduction)


def l1_loss_input(input: Any, target: Any, grad_output: Any, reduction: str = "mean") -> np.ndarray:
    """The gradient of `l1_loss`, 0 where input is target; see `mse_loss_input`."""
    return _gradient("l1", input, target, grad_output, None, None, reduction)


def _beta(beta: float) -> float:
    if not beta >= 0:
        raise ValueError(f"beta must be at least 0, got {beta!r}")
    return float(beta)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> np.ndarray:
    """d^2 / (2 beta) where d = ``|input - target|`` < beta, else d - beta / 2 (Girshick 2015).

    The rest is as of `mse_loss`.
    """
    return _loss("smooth_l1", input, target, _beta(beta), None, reduction)


def smooth_l1_loss_input(
    input: Any, target: Any, grad_output: Any, reduction: str = "mean", beta: float = 1.0
) -> np.ndarray:
    """The gradient of `smooth_l1_loss`; see `mse_loss_input`."""
    return _gradient("smooth_l1", input, target, grad_output, _beta(beta), None, reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> np.ndarray:
    """-pos_weight target log(sigmoid(input)) - (1 - target) log(1 - sigmoid(input)), times weight, without overflow.

    Parameters
    ----------
    input, target : array_like, of one shape
        As in `mse_loss`; targets from 0 to 1.
    weight, pos_weight : array_like, optional
        Broadcast to the shape of `input`.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    ndarray
        As `mse_loss`.

    Raises
    ------
    ValueError
        If shapes do not fit or `reduction` is another.
    TypeError
        For bool and complex arrays.
    """
    return _loss("bce", input, target, _positive(input, pos_weight), weight, reduction)


def binary_cross_entropy_with_logits_input(
    input: Any, target: Any, grad_output: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> np.ndarray:
    """The gradient of `binary_cross_entropy_with_logits`; see `mse_loss_input`."""
    return _gradient("bce", input, target, grad_output, _positive(input, pos_weight), weight, reduction)


def _positive(input: Any, pos_weight: Any) -> Any:
    if pos_weight is None:
        return 1
    x, work, _ = real("input", input)
    return _broadcast("pos_weight", pos_weight, x.shape, work)


def hinge_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> np.ndarray:
    """max(0, margin - input target), for targets -1 and 1; the rest as `mse_loss`. PyTorch has no function of it."""
    return _loss("hinge", input, target, float(margin), None, reduction)


def hinge_loss_input(
    input: Any, target: Any, grad_output: Any, margin: float = 1.0, reduction: str = "mean"
) -> np.ndarray:
    """The gradient of `hinge_loss`, 0 where the margin is kept; see `mse_loss_input`."""
    return _gradient("hinge", input, target, grad_output, float(margin), None, reduction)


# --- penalties


def l1_penalty(x: Any) -> np.ndarray:
    """The sum of ``|x|``, shape (); dtypes as in `mse_loss`."""
    x, work, result = real("x", x)
    return reduced(np.abs(x.astype(work, copy=False)), "sum", 1, result)


def l1_penalty_input(x: Any, grad_output: Any) -> np.ndarray:
    """The gradient of `l1_penalty`: grad_output, one number, times the sign of x, which is 0 at 0."""
    x, work, result = real("x", x)
    each = spread(grad_output, x.shape, "sum", 1).astype(work, copy=False)
    return np.multiply(np.sign(x.astype(work, copy=False)), each, order="C").astype(result, copy=False)


def l2_penalty(x: Any) -> np.ndarray:
    """The sum of x^2, shape (); dtypes as in `mse_loss`."""
    x, work, result = real("x", x)
    with np.errstate(all="ignore"):
        return reduced(np.square(x.astype(work, copy=False)), "sum", 1, result)


def l2_penalty_input(x: Any, grad_output: Any) -> np.ndarray:
    """The gradient of `l2_penalty`: grad_output, one number, times 2 x."""
    x, work, result = real("x", x)
    each = spread(grad_output, x.shape, "sum", 1).astype(work, copy=False)
    with np.errstate(all="ignore"):
        return np.multiply(x.astype(work, copy=False), 2 * each, order="C").astype(result, copy=False)
