"""What there is to be done with bare arrays besides layers: arithmetic, reductions, shapes, indexing.

Each function is NumPy's for arrays of NumPy; arrays of a device have a table of functions by the same names. Results
keep the layout in memory that operands share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from numconv.kernels.cpu.memory import LARGE, empty
from numconv.ops.device import by_device, is_array, table
from numconv.ops.layouts import channels_last

__all__ = [
    "abs",
    "add",
    "add_into",
    "amax",
    "amin",
    "argmax",
    "argmin",
    "asarray",
    "astype",
    "clamp",
    "compare",
    "concatenate",
    "contiguous",
    "copy",
    "cos",
    "div",
    "exp",
    "expand",
    "flip",
    "full",
    "index",
    "index_add",
    "is_array",
    "log",
    "matmul",
    "max_along",
    "maximum",
    "mean",
    "min_along",
    "minimum",
    "mul",
    "neg",
    "one_hot",
    "permute",
    "pow",
    "reshape",
    "set_index",
    "sign",
    "sin",
    "size",
    "sqrt",
    "stack",
    "sub",
    "sum",
    "table",
    "to_numpy",
    "where",
    "write",
    "zeros",
]

Axes = int | tuple[int, ...] | None


# --- making, converting


@by_device
def asarray(value: Any, dtype: Any = None) -> Any:
    """The array itself, or a list or a number as one."""
    return np.asarray(value, dtype)


@by_device
def to_numpy(x: Any, readonly: bool = False) -> np.ndarray:
    """A NumPy array of the same elements: a view where that can be."""
    view = x.view()
    if readonly:
        view.flags.writeable = False
    return view


@by_device
def astype(x: Any, *, dtype: Any) -> Any:
    with np.errstate(all="ignore"):
        return x.astype(dtype, copy=False)


@by_device
def copy(x: Any) -> Any:
    return np.array(x, order="K", copy=True, subok=False)


@by_device
def zeros(like: Any, *, shape: Any = None) -> Any:
    return np.zeros_like(like, shape=shape, subok=False)


@by_device
def full(like: Any, *, value: float, shape: Any = None) -> Any:
    return np.full_like(like, value, shape=shape, subok=False)


@by_device
def one_hot(indices: Any, *, size: int, axis: int, dtype: Any) -> Any:
    """1 where an entry along a new axis is the index, else 0."""
    places = np.expand_dims(indices, axis)
    along = np.arange(size).reshape(-1, *(1,) * (places.ndim - 1 - axis % places.ndim))
    return (places == along).astype(dtype)


@by_device
def contiguous(x: Any, *, last: bool) -> Any:
    """The same elements in memory as they are counted, or with the channels (axis 1) last."""
    if not last:
        return np.ascontiguousarray(x).reshape(x.shape)
    order = (0, *range(2, x.ndim), 1)
    back = (0, x.ndim - 1, *range(1, x.ndim - 1))
    return np.ascontiguousarray(x.transpose(order)).transpose(back)


# --- arithmetic


def _target(a: Any, b: Any) -> Any:
    """Memory for a large result of two like arrays, laid out like them; None where NumPy shall see to it."""
    if type(a) is not np.ndarray or type(b) is not np.ndarray or a.nbytes < LARGE:
        return None
    if a.shape != b.shape or a.dtype != b.dtype or a.strides != b.strides:
        return None
    if a.flags.c_contiguous:
        return empty(a.shape, a.dtype)
    if a.ndim > 2 and channels_last(a, a.ndim - 2):
        whole = empty((a.shape[0], *a.shape[2:], a.shape[1]), a.dtype)
        return whole.transpose(0, a.ndim - 1, *range(1, a.ndim - 1))
    return None


@by_device
def add(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.add(a, b, out=_target(a, b))


@by_device
def sub(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.subtract(a, b, out=_target(a, b))


@by_device
def mul(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.multiply(a, b, out=_target(a, b))


@by_device
def div(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.true_divide(a, b)


@by_device
def pow(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.power(a, b)


@by_device
def neg(a: Any) -> Any:
    return np.negative(a)


@by_device
def exp(a: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.exp(a)


@by_device
def log(a: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.log(a)


@by_device
def sqrt(a: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.sqrt(a)


@by_device
def sin(a: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.sin(a)


@by_device
def cos(a: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.cos(a)


@by_device
def abs(a: Any) -> Any:
    return np.abs(a)


@by_device
def sign(a: Any) -> Any:
    return np.sign(a)


@by_device
def maximum(a: Any, b: Any) -> Any:
    return np.maximum(a, b)


@by_device
def minimum(a: Any, b: Any) -> Any:
    return np.minimum(a, b)


@by_device
def clamp(a: Any, *, min: Any, max: Any) -> Any:
    return np.clip(a, min, max)


@by_device
def compare(a: Any, b: Any, *, relation: str) -> Any:
    """Truth of a relation, "less", "less_equal", "equal", "not_equal", "greater" or "greater_equal"."""
    return getattr(np, relation)(a, b)


@by_device
def where(condition: Any, a: Any, b: Any) -> Any:
    return np.where(condition, a, b)


@by_device
def matmul(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.matmul(a, b)


# --- reductions


@by_device
def sum(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
    with np.errstate(all="ignore"):
        return np.sum(x, axis, keepdims=keepdims, dtype=_sum_dtype(x))


@by_device
def mean(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
    with np.errstate(all="ignore"):
        return np.mean(x, axis, keepdims=keepdims)


def _sum_dtype(x: Any) -> Any:
    return x.dtype if x.dtype.kind in "fcV" else None


@by_device
def amax(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
    return np.max(x, axis, keepdims=keepdims)


@by_device
def amin(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
    return np.min(x, axis, keepdims=keepdims)


@by_device
def max_along(x: Any, *, axis: int, keepdims: bool = False) -> Any:
    """(values, indices) of the largest elements along an axis, the first of equal ones."""
    return _along(x, np.argmax(x, axis, keepdims=True), axis, keepdims)


@by_device
def min_along(x: Any, *, axis: int, keepdims: bool = False) -> Any:
    """(values, indices) of the smallest elements along an axis, the first of equal ones."""
    return _along(x, np.argmin(x, axis, keepdims=True), axis, keepdims)


def _along(x: Any, indices: Any, axis: int, keepdims: bool) -> Any:
    pair = np.take_along_axis(x, indices, axis), indices
    return pair if keepdims else tuple([part.squeeze(axis) for part in pair])


@by_device
def argmax(x: Any, *, axis: int | None = None, keepdims: bool = False) -> Any:
    return np.argmax(x, axis, keepdims=keepdims)


@by_device
def argmin(x: Any, *, axis: int | None = None, keepdims: bool = False) -> Any:
    return np.argmin(x, axis, keepdims=keepdims)


# --- shapes


@by_device
def reshape(x: Any, *, shape: Sequence[int]) -> Any:
    return x.reshape(shape)


@by_device
def permute(x: Any, *, axes: Sequence[int]) -> Any:
    return x.transpose(axes)


@by_device
def expand(x: Any, *, shape: Sequence[int]) -> Any:
    """A read-only view with elements repeated along axes of length one and new axes in front."""
    return np.broadcast_to(x, shape)


@by_device
def flip(x: Any, *, axes: tuple[int, ...]) -> Any:
    return np.flip(x, axes)


@by_device
def concatenate(*arrays: Any, axis: int = 0) -> Any:
    return np.concatenate(arrays, axis)


@by_device
def stack(*arrays: Any, axis: int = 0) -> Any:
    return np.stack(arrays, axis)


# --- indexing


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


@by_device
def write(target: Any, source: Any) -> None:
    """Put the elements of `source` into `target`."""
    np.copyto(target, source, casting="same_kind")


@by_device
def add_into(target: Any, source: Any) -> None:
    with np.errstate(all="ignore"):
        np.add(target, source, out=target, casting="same_kind")


@by_device
def size(x: Any) -> int:
    return math.prod(x.shape)
