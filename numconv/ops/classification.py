"""Losses of class scores: cross entropy and negative log likelihood, and their gradients by the scores."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.kernels.cpu.memory import empty
from numconv.ops.activation import log_softmax
from numconv.ops.elementwise import parameter, real, straight
from numconv.ops.loss import check_reduction, reduced, spread
from numconv.problem import integer

_INDEX, _DOUBLE = np.dtype(np.int64), np.dtype(np.float64)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> np.ndarray:
    """Minus the logarithm of the softmax of scores, at their targets.

    Parameters
    ----------
    input : array_like, shape (C,), (N, C) or ``(N, C, *spatial)``
        A score for each class. float16 and bfloat16 are computed in float32, integers in float64.
    target : array_like
        Class indices, of `input`'s shape without C; or, of a float dtype, probabilities of `input`'s shape.
    weight : array_like, shape (C,), optional
        What each class counts. The mean is over the weights of the targets.
    ignore_index : int
        Where the target is this, the loss is 0 and does not count in the mean.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float
        What part of each target is given to all classes alike, from 0 to 1 (Szegedy et al. 2016).

    Returns
    -------
    ndarray
        Of shape (), or with "none" `input`'s without C; in `input`'s dtype. The mean of nothing is NaN.

    Raises
    ------
    ValueError
        If shapes do not fit, a target is no class, or an option is out of range.
    TypeError
        For bool and complex arrays, and indices that are no integers.
    """
    return cross_entropy_and_more(input, target, weight, ignore_index, reduction, label_smoothing)[0]


def cross_entropy_and_more(
    input: Any, target: Any, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> tuple[np.ndarray, ...]:
    """What `cross_entropy` returns, and what saves the gradient half of the work.

    That is the log sum exp of each row of scores, and the weight of all targets; of probabilities nothing.
    """
    x, work, result = real("input", input)
    target = np.asarray(target)
    scale = _options(x, weight, reduction, label_smoothing)
    if _by_probabilities(x, target):
        with np.errstate(all="ignore"):
            logs = log_softmax(x.astype(work, copy=False), _axis(x))
            goal = _goal(x, target, scale, label_smoothing).astype(work)
            values = np.asarray(-np.sum(logs * goal, _axis(x), dtype=np.float64))
            return reduced(values, reduction, values.size, result), np.empty(0)
    rows, index, shape = _rows(x, target, work)
    losses, norms, count = _losses(rows, index, scale, ignore_index, label_smoothing)
    return reduced(losses.reshape(shape), reduction, float(count), result), norms, count


def cross_entropy_input(
    input: Any,
    target: Any,
    grad_output: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    norms: Any = None,
    count: Any = None,
) -> np.ndarray:
    """The gradient of `cross_entropy` with respect to its scores.

    Parameters
    ----------
    input, target, weight, ignore_index, reduction, label_smoothing
        As there.
    grad_output : array_like
        The gradient of the loss: one number, or with reduction "none" of the loss's shape.
    norms, count : array_like, optional
        The logarithms of sums of exponentials, and the weight of all targets, where they are known.

    Returns
    -------
    ndarray, of the shape and dtype of `input`

    Raises
    ------
    ValueError, TypeError
        As `cross_entropy`, and if `grad_output` has another shape.
    """
    x, work, result = real("input", input)
    target = np.asarray(target)
    scale = _options(x, weight, reduction, label_smoothing)
    if _by_probabilities(x, target):
        shape = (*x.shape[: _axis(x)], *x.shape[_axis(x) + 1 :])
        each = np.broadcast_to(spread(grad_output, shape, reduction, math.prod(shape)), shape)
        each = np.expand_dims(each, _axis(x))
        with np.errstate(all="ignore"):
            p = np.exp(log_softmax(x.astype(work, copy=False), _axis(x)))
            goal = _goal(x, target, scale, label_smoothing)
            total = goal.sum(_axis(x), keepdims=True)
            return np.multiply(p * total - goal, each, order="C").astype(result)
    rows, index, shape = _rows(x, target, work)
    if norms is None or count is None:
        _, norms, count = _losses(rows, index, scale, ignore_index, label_smoothing)
    each = spread(grad_output, shape, reduction, float(count))
    out = empty((*shape, scale.size), work)
    kernels("cross_entropy").gradients(
        rows, index, scale, ignore_index, label_smoothing, straight(norms, _DOUBLE), straight(each, _DOUBLE),
        out.reshape(-1),
    )  # fmt: skip
    if _axis(x) < x.ndim - 1:
        out = np.moveaxis(out, -1, _axis(x))
    return out.astype(result, order="C", copy=False)


def nll_loss(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> np.ndarray:
    """Minus the logarithm of the probability of the target, given the logarithms of all classes'.

    Parameters
    ----------
    input : array_like, shape (C,), (N, C) or ``(N, C, *spatial)``
        Logarithms of probabilities, as `log_softmax` gives them.
    target, weight, ignore_index, reduction
        As in `cross_entropy`, with class indices.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError, TypeError
        As `cross_entropy`.
    """
    x, index, scale, shape, result = _likelihood(input, target, weight, ignore_index, reduction)
    chosen = np.where(index == ignore_index, 0, index)
    picked = np.take_along_axis(x.reshape(-1, scale.size), chosen[:, None], 1)[:, 0]
    values = -picked * np.where(index == ignore_index, 0, scale[chosen])
    values[index == ignore_index] = 0
    return reduced(values.reshape(shape), reduction, _count(index, scale, ignore_index), result)


def nll_loss_input(
    input: Any, target: Any, grad_output: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> np.ndarray:
    """The gradient of `nll_loss` with respect to its first argument; the rest as `cross_entropy_input`."""
    _, index, scale, shape, result = _likelihood(input, target, weight, ignore_index, reduction)
    each = spread(grad_output, shape, reduction, _count(index, scale, ignore_index))
    gradient = np.zeros((index.size, scale.size), result)
    chosen = np.where(index == ignore_index, 0, index)
    values = -np.broadcast_to(each, shape).reshape(-1) * scale[chosen]
    values[index == ignore_index] = 0
    gradient[np.arange(index.size), chosen] = values
    return np.moveaxis(gradient.reshape(*shape, scale.size), -1, _axis(np.asarray(input))).copy(order="C")


def goal_of(
    input: Any, target: Any, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> np.ndarray:
    """What the loss multiplies minus the logarithms of probabilities with, before it adds up; of class indices."""
    x, work, _ = real("input", input)
    scale = _options(x, weight, reduction, label_smoothing)
    _, index, shape = _rows(x, np.asarray(target), work)
    goal = np.full((index.size, scale.size), label_smoothing / scale.size) * scale
    chosen = np.where(index == ignore_index, 0, index)
    goal[np.arange(index.size), chosen] += (1 - label_smoothing) * scale[chosen]
    goal[index == ignore_index] = 0
    if reduction == "mean":
        goal /= _count(index, scale, ignore_index)
    return np.moveaxis(goal.reshape(*shape, scale.size), -1, _axis(x)).astype(work)


def _likelihood(
    input: Any, target: Any, weight: Any, ignore_index: int, reduction: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, ...], np.dtype]:
    x, work, result = real("input", input)
    scale = _options(x, weight, reduction, 0.0)
    rows, index, shape = _rows(x, np.asarray(target), work)
    outside = (index != ignore_index) & ((index < 0) | (index >= scale.size))
    _check_classes(np.where(outside, np.nan, 0.0), index, ignore_index, scale.size)
    return rows, index, scale, shape, result


def _axis(x: np.ndarray) -> int:
    return min(1, x.ndim - 1)


def _options(x: np.ndarray, weight: Any, reduction: str, label_smoothing: float) -> np.ndarray:
    """The class weights, after a look at the rest."""
    check_reduction(reduction)
    if x.ndim < 1:
        raise ValueError(f"input must have shape (C,), (N, C) or (N, C, *spatial), got {x.shape}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing!r}")
    classes = x.shape[_axis(x)]
    return _ones(classes) if weight is None else parameter("weight", weight, (classes,), 1.0)


@functools.lru_cache(maxsize=64)
def _ones(classes: int) -> np.ndarray:
    return np.ones(classes)


def _by_probabilities(x: np.ndarray, target: np.ndarray) -> bool:
    if target.dtype.kind in "iu":
        return False
    if target.dtype.kind not in "fV" or target.shape != x.shape:
        raise TypeError(
            f"target must be class indices, or probabilities of input's shape {x.shape}, "
            f"got dtype {target.dtype} and shape {target.shape}"
        )
    return True


def _goal(x: np.ndarray, target: np.ndarray, scale: np.ndarray, smoothing: float) -> np.ndarray:
    """Probabilities, smoothed and weighted, float64."""
    weights = scale.reshape([-1 if axis == _axis(x) else 1 for axis in range(x.ndim)])
    return (target.astype(np.float64) * (1 - smoothing) + smoothing / scale.size) * weights


def _rows(x: np.ndarray, target: np.ndarray, work: np.dtype) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """(scores with classes last, flat; indices, flat; shape of the targets)."""
    if target.dtype.kind not in "iu":
        raise TypeError(f"target must be class indices of an integer dtype, got {target.dtype}")
    axis = _axis(x)
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    if target.shape != shape:
        raise ValueError(f"target must have shape {shape} for input of shape {x.shape}, got {target.shape}")
    rows = x if axis == x.ndim - 1 else np.moveaxis(x, axis, -1)
    return straight(rows, work), straight(target, _INDEX), shape


def _losses(
    rows: np.ndarray, index: np.ndarray, scale: np.ndarray, ignored: int, smoothing: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(loss and log sum exp of each row, the weight of all targets)."""
    losses, norms, weights = kernels("cross_entropy").losses(rows, index, scale, ignored, smoothing)
    _check_classes(losses, index, ignored, scale.size)
    return losses, norms, np.asarray(weights.sum())


def _check_classes(losses: np.ndarray, index: np.ndarray, ignored: int, classes: int) -> None:
    """Raise where a loss is NaN because its target is no class."""
    integer("ignore_index", ignored)
    if losses.size and math.isnan(losses.sum()):
        outside = (index != ignored) & ((index < 0) | (index >= classes))
        if outside.any():
            raise ValueError(
                f"target must be from 0 to {classes - 1}, or ignore_index {ignored}, got {index[outside][0]}"
            )


def _count(index: np.ndarray, scale: np.ndarray, ignored: int) -> float:
    """The weight of all targets."""
    counted = index != ignored
    return float(scale[index if counted.all() else index[counted]].sum())
