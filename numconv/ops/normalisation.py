"""Normalisation; batch norm has its own file.

Statistics are summed in float64 from the squared differences to the mean, so that data far from zero keep their
variance; the mean is subtracted in two parts, its rounded value and what that lacks.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.ops.device import by_device
from numconv.ops.elementwise import channels_last, parameter, real
from numconv.problem import integer, per_axis


@by_device
def group_norm(
    x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *, data_format: str | None = None
) -> np.ndarray:
    """Normalise each sample over groups of channels and space (Wu and He 2018).

    Parameters
    ----------
    x : array_like, shape ``(N, C, *spatial)``
        Dtypes and channels-last formats as in `batch_norm`.
    num_groups : int
        Divides C. 1 normalises over all channels, C each channel by itself (instance normalisation).
    weight, bias : array_like, shape (C,), optional
    eps : float
    data_format : str, optional

    Returns
    -------
    ndarray
        Of `x`'s shape and dtype; float64 for integers.

    Raises
    ------
    ValueError
        If shapes do not fit, `num_groups` does not divide the channels, or there is one value
        a group.
    TypeError
        For bool and complex arrays.
    """
    x, work, result = real("x", x)
    split, axes, parts = group_shape(x.shape, num_groups, data_format)
    channels = math.prod(parts)
    scale = parameter("weight", weight, (channels,), 1.0)
    offset = parameter("bias", bias, (channels,), 0.0)
    if x.size == 0:
        return np.empty(x.shape, result)

    with np.errstate(all="ignore"):
        y, low, _, var = centred(x.astype(work, copy=False).reshape(split), axes)
        factor = scale.reshape(parts) / np.sqrt(var + eps)
        return _affine(y, factor, offset.reshape(parts) - low * factor).reshape(x.shape).astype(result, copy=False)


def group_shape(
    shape: tuple[int, ...], num_groups: int, data_format: str | None
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(shape with channels split into groups and space as one axis, axes to normalise over, shape of parameters)."""
    num_groups = integer("num_groups", num_groups, 1)
    if len(shape) < 2:
        raise ValueError(f"x must have at least 2 axes, got shape {shape}")
    last = channels_last(data_format, len(shape) - 2)
    n, channels = shape[0], shape[-1 if last else 1]
    if channels % num_groups:
        raise ValueError(f"num_groups must divide x's {channels} channels, got {num_groups}")
    if math.prod(shape) == num_groups:
        raise ValueError(f"x must have more than one value a group, got shape {shape} with num_groups {num_groups}")
    area = math.prod(shape[1:-1] if last else shape[2:])
    parts = num_groups, channels // num_groups
    return ((n, area, *parts), (1, 3), parts) if last else ((n, *parts, area), (2, 3), (*parts, 1))


@by_device
def layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> np.ndarray:
    """Normalise over the last axes (Ba, Kiros and Hinton 2016).

    Parameters
    ----------
    x : array_like, shape ``(..., *normalized_shape)``
        Dtypes as in `batch_norm`.
    normalized_shape : int or sequence of int
    weight, bias : array_like, shape normalized_shape, optional
    eps : float

    Returns
    -------
    ndarray
        Of `x`'s shape and dtype; float64 for integers.

    Raises
    ------
    ValueError
        If shapes do not fit or `normalized_shape` is empty.
    TypeError
        For bool and complex arrays.
    """
    x, work, result = real("x", x)
    shape = layer_shape(x.shape, normalized_shape)
    scale = parameter("weight", weight, shape, 1.0)
    offset = parameter("bias", bias, shape, 0.0)
    if x.size == 0:
        return np.empty(x.shape, result)
    with np.errstate(all="ignore"):
        y, low, _, var = centred(x.astype(work, copy=False), tuple(range(x.ndim - len(shape), x.ndim)))
        factor = 1 / np.sqrt(var + eps)
        y = _affine(y, factor, -low * factor)
        if weight is not None or bias is not None:
            y = _affine(y, scale, offset)
        return y.astype(result, copy=False)


def layer_shape(shape: tuple[int, ...], normalized_shape: Any) -> tuple[int, ...]:
    """The last axes of `shape`, checked to be `normalized_shape`."""
    count = len(normalized_shape) if np.ndim(normalized_shape) else 1
    sizes = per_axis("normalized_shape", normalized_shape, count)
    if not sizes or shape[-len(sizes) :] != sizes:
        raise ValueError(f"normalized_shape must be x's last axes, got {normalized_shape!r} for shape {shape}")
    return sizes


@by_device
def local_response_norm(
    x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, data_format: str | None = None
) -> np.ndarray:
    """x / (k + alpha mean)^beta, with the mean of the squares of `size` neighbouring channels.

    The window of channel c is c - size // 2 to c + (size - 1) // 2; channels outside count as zeros
    (Krizhevsky, Sutskever and Hinton 2012, with alpha divided by `size` as in PyTorch).

    Parameters
    ----------
    x : array_like, shape ``(N, C, *spatial)``
        Of three axes or more. Dtypes and channels-last formats as in `batch_norm`.
    size : int
    alpha, beta, k : float
    data_format : str, optional

    Returns
    -------
    ndarray
        Of `x`'s shape and dtype; float64 for integers.

    Raises
    ------
    ValueError
        If `x` has fewer than three axes or `size` is not positive.
    TypeError
        For bool and complex arrays.
    """
    x, work, result = real("x", x)
    size = integer("size", size, 1)
    if x.ndim < 3:
        raise ValueError(f"x must have at least 3 axes, got shape {x.shape}")
    channel = x.ndim - 1 if channels_last(data_format, x.ndim - 2) else 1
    x = x.astype(work, copy=False)
    with np.errstate(all="ignore"):
        total = window_sums(np.moveaxis(np.square(x), channel, 0), size // 2, (size - 1) // 2)
        total *= alpha / size
        total += k
        return (x / np.moveaxis(total**beta, 0, channel)).astype(result, order="C", copy=False)


def window_sums(values: np.ndarray, before: int, after: int) -> np.ndarray:
    """For each entry along the first axis the sum of those from `before` in front of it to `after` behind it."""
    n = len(values)
    total = np.zeros_like(values)
    for shift in range(-min(before, n), min(after, n) + 1):
        total[max(-shift, 0) : n - max(shift, 0)] += values[max(shift, 0) : n - max(-shift, 0)]
    return total


def centred(x: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x - high as a new array; low, where high + low is the mean over `axes`; that mean; the variance."""
    mean: Any = np.mean(x, axes, dtype=np.float64, keepdims=True)
    high = mean.astype(x.dtype)
    low = mean - high
    y = np.subtract(x, high, order="C")
    return y, low, mean, np.mean(np.square(y, dtype=np.float64), axes, keepdims=True) - np.square(low)


def _affine(y: np.ndarray, factor: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """y * factor + offset in place."""
    y *= factor.astype(y.dtype, copy=False)
    y += offset.astype(y.dtype, copy=False)
    return y
