"""Gradients of group norm, layer norm and local response norm, by the input: statistics are found once more."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.ops.elementwise import alike, channels_last, parameter
from numconv.ops.normalisation import centred, group_shape, layer_shape, window_sums
from numconv.problem import integer


def group_norm_gradients(
    x: Any, grad_output: Any, num_groups: int, weight: Any = None, eps: float = 1e-5, *, data_format: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of `group_norm` with respect to its input, weight and bias.

    Parameters
    ----------
    x : array_like
        The input of `group_norm`.
    grad_output : array_like, of `x`'s shape
    num_groups, weight, eps, data_format
        As in `group_norm`.

    Returns
    -------
    tuple of ndarray
        Gradients of `x`, `weight` and `bias`, in the promoted dtype of `x` and `grad_output`.

    Raises
    ------
    ValueError
        If shapes do not fit or `num_groups` does not divide the channels.
    TypeError
        For bool and complex arrays.
    """
    (x, grad), work, result = alike(x=x, grad_output=grad_output)
    split, axes, parts = group_shape(x.shape, num_groups, data_format)
    channels = math.prod(parts)
    scale = parameter("weight", weight, (channels,), 1.0).reshape(parts)
    if x.size == 0:
        return _nothing(x.shape, (channels,), result)
    every = tuple(axis for axis, n in enumerate((1,) * (len(split) - len(parts)) + parts) if n == 1)
    gradients = _back(x.astype(work).reshape(split), grad.astype(work).reshape(split), scale, axes, every, eps)
    return _shaped(gradients, x.shape, (channels,), result)


def layer_norm_gradients(
    x: Any, grad_output: Any, normalized_shape: Any, weight: Any = None, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of `layer_norm` with respect to its input, weight and bias; the rest as `group_norm_gradients`."""
    (x, grad), work, result = alike(x=x, grad_output=grad_output)
    shape = layer_shape(x.shape, normalized_shape)
    scale = parameter("weight", weight, shape, 1.0)
    if x.size == 0:
        return _nothing(x.shape, shape, result)
    head = x.ndim - len(shape)
    axes = tuple(range(head, x.ndim))
    gradients = _back(x.astype(work), grad.astype(work), scale, axes, tuple(range(head)), eps)
    return _shaped(gradients, x.shape, shape, result)


def _nothing(
    shape: tuple[int, ...], parameters: tuple[int, ...], result: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.empty(shape, result), np.zeros(parameters, result), np.zeros(parameters, result)


def _shaped(
    gradients: tuple[np.ndarray, ...], shape: tuple[int, ...], parameters: tuple[int, ...], result: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    of_x, of_weight, of_bias = (g.astype(result, order="C", copy=False) for g in gradients)
    return of_x.reshape(shape), of_weight.reshape(parameters), of_bias.reshape(parameters)


def _back(
    x: np.ndarray, grad: np.ndarray, scale: np.ndarray, axes: tuple[int, ...], every: tuple[int, ...], eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of x normalised over `axes` and scaled, and of the parameters, summed over the axes `every`.

    With h the normalised x and g = grad scale: inverse (g - mean(g) - h mean(g h)).
    """
    with np.errstate(all="ignore"):
        h, low, _, var = centred(x, axes)
        inverse = (1 / np.sqrt(var + eps)).astype(x.dtype)
        h -= low.astype(x.dtype)
        h *= inverse
        product = grad * h
        of_weight: Any = np.sum(product, every, dtype=np.float64)
        of_bias: Any = np.sum(grad, every, dtype=np.float64)
        scale = scale.astype(x.dtype)
        product *= scale
        h *= np.mean(product, axes, dtype=np.float64, keepdims=True).astype(x.dtype)
        g = grad * scale
        g -= np.mean(g, axes, dtype=np.float64, keepdims=True).astype(x.dtype)
        g -= h
        g *= inverse
        return g, of_weight, of_bias


def local_response_norm_input(
    x: Any,
    grad_output: Any,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    data_format: str | None = None,
) -> np.ndarray:
    """The gradient of `local_response_norm` with respect to its input.

    Parameters
    ----------
    x : array_like
        The input of `local_response_norm`.
    grad_output : array_like, of `x`'s shape
    size, alpha, beta, k, data_format
        As in `local_response_norm`.

    Returns
    -------
    ndarray
        In the promoted dtype of `x` and `grad_output`.

    Raises
    ------
    ValueError
        If shapes differ, `x` has fewer than three axes or `size` is not positive.
    TypeError
        For bool and complex arrays.
    """
    (x, grad), work, result = alike(x=x, grad_output=grad_output)
    size = integer("size", size, 1)
    if x.ndim < 3:
        raise ValueError(f"x must have at least 3 axes, got shape {x.shape}")
    channel = x.ndim - 1 if channels_last(data_format, x.ndim - 2) else 1
    v, g = (np.moveaxis(array.astype(work, copy=False), channel, 0) for array in (x, grad))
    with np.errstate(all="ignore"):
        base = window_sums(np.square(v), size // 2, (size - 1) // 2) * (alpha / size) + k
        g = g * base**-beta
        others = window_sums(g * v / base, (size - 1) // 2, size // 2)  # the windows that a channel is in
        gradient = g - v * others * (2 * alpha * beta / size)
        return np.moveaxis(gradient, 0, channel).astype(result, order="C", copy=False)
