"""Shapes of bare arrays, and parts of them; NumPy's functions for its arrays, as in `numconv.ops.arrays`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numconv.ops.device import by_device


@by_device
def reshape(x: Any, *, shape: Sequence[int]) -> Any:
    return x.reshape(shape)


@by_device
def permute(x: Any, *, axes: Sequence[int]) -> Any:
    return x.transpose(axes)


@by_device
def expand(x: Any, *, shape: Sequence[int]) -> Any:
    """A read-only view with elements repeated along axes of length one and new axes in front."""
    if x.size != 1 or x.ndim > len(shape):
        return np.broadcast_to(x, shape)
    # One number, as of every sum in a walk, in a fourth of the time.
    result: np.ndarray = np.ndarray(shape, x.dtype, np.ascontiguousarray(x), 0, (0,) * len(shape))
    result.flags.writeable = False
    return result


@by_device
def flip(x: Any, *, axes: tuple[int, ...]) -> Any:
    return np.flip(x, axes)


@by_device
def concatenate(*arrays: Any, axis: int = 0) -> Any:
    return np.concatenate(arrays, axis)


@by_device
def stack(*arrays: Any, axis: int = 0) -> Any:
    return np.stack(arrays, axis)


@by_device
def index(x: Any, *, index: Any) -> Any:
    return x[index]


@by_device
def index_add(values: Any, *, shape: tuple[int, ...], index: Any) -> Any:
    """Zeros of a shape, with `values` added at an index: what occurs in it twice is added twice."""
    target = np.zeros_like(values, shape=shape, subok=False)
    if _at_most_once(index):
        target[index] = values
    else:
        np.add.at(target, index, values)
    return target


@by_device
def set_index(x: Any, value: Any, *, index: Any) -> Any:
    """A copy of x with `value` at an index."""
    result = np.array(x, order="K", copy=True, subok=False)
    result[index] = value
    return result


def _at_most_once(index: Any) -> bool:
    """Whether an index names each element at most once: integers, slices, None, `...`, a mask."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is ... or type(part) in (int, slice) or _is_mask(part) for part in parts)


def _is_mask(part: Any) -> bool:
    return getattr(part, "dtype", None) == np.bool_
