"""Images counted channels first whose channels lie last in memory: views that count them last, and back."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numconv.ops.device import gpu, on_gpu
from numconv.problem import FIRST


def channels_last(x: Any, ndim: int) -> bool:
    """Whether the channels of images of `ndim` spatial axes, counted first, lie last in memory.

    Of one channel, and of one pixel, the strides tell how the array was made.
    """
    channel, size = x.ndim - ndim - 1, x.dtype.itemsize
    return x.strides[channel] == size and x.strides[-1] >= x.shape[channel] * size and ndim > 0


def turns(x: Any, ndim: int, data_format: str | None) -> bool:
    """Whether an operation on `x` is to run on a view of it with the channels counted last."""
    return data_format in (None, "NCHW", "NCL", "NCDHW", "NCW", FIRST) and channels_last(x, ndim)


@functools.cache
def _orders(ndim: int, spatial: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(axes of a view with the channels last, axes back) of arrays of `ndim` axes."""
    channel = ndim - spatial - 1
    head, tail = tuple(range(channel)), tuple(range(channel + 1, ndim))
    return (*head, *tail, channel), (*head, ndim - 1, *range(channel, ndim - 1))


def counted_last(x: Any, ndim: int) -> Any:
    """A view of images (N, C, *spatial), or (C, *spatial), with the channels last; None stays None."""
    return None if x is None else _transposed(x, _orders(x.ndim, ndim)[0])


def counted_first(x: Any, ndim: int) -> Any:
    """A view of images (N, *spatial, C), or (*spatial, C), with the channels first."""
    return _transposed(x, _orders(x.ndim, ndim)[1])


def _transposed(x: Any, axes: tuple[int, ...]) -> Any:
    if type(x) is not np.ndarray and on_gpu(x):
        return gpu("pooling").transposed(x, axes)
    return x.transpose(axes)


def shape_last(shape: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """The shape of `counted_last` of an array of a shape."""
    return tuple([shape[axis] for axis in _orders(len(shape), ndim)[0]])
