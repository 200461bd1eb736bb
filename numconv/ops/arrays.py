"""What there is to be done with bare arrays besides layers: arithmetic, reductions, shapes, indexing.

Each function is NumPy's for arrays of NumPy; arrays of a device have a table of functions by the same names. Results
keep the layout in memory that operands share.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.kernels.cpu.memory import LARGE, empty
from numconv.ops.device import by_device
from numconv.ops.elementwise import NATIVE
from numconv.ops.layouts import channels_last, counted_first, counted_last
from numconv.ops.linear import product

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
    spatial = x.ndim - 2
    whole = counted_last(x, spatial)
    if whole.flags.c_contiguous and channels_last(x, spatial):
        return x
    return counted_first(np.array(whole, order="C"), spatial)


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
    out = _target(a, b)
    if out is None or out.dtype not in NATIVE:
        return np.add(a, b, out=out)
    kernels("arithmetic").add(*[array.ravel("K") for array in (a, b, out)])
    return out


@by_device
def sub(a: Any, b: Any) -> Any:
    return np.subtract(a, b, out=_target(a, b))


@by_device
def mul(a: Any, b: Any) -> Any:
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
    """As `numpy.matmul`, of the dtypes that kernels take with the same bits for any number of threads."""
    with np.errstate(all="ignore"):
        if 0 in (a.ndim, b.ndim) or a.dtype != b.dtype or a.dtype not in NATIVE:
            return np.matmul(a, b)
        rows, columns = a if a.ndim > 1 else a[None], b if b.ndim > 1 else b[:, None]
        if rows.shape[-1] != columns.shape[-2]:
            raise ValueError(f"a and b must fit together as matrices, got shapes {a.shape} and {b.shape}")
        out = _products(rows, columns)
        return out.reshape((*out.shape[:-2], *a.shape[-2:-1], *(b.shape[-1:] if b.ndim > 1 else ())))[()]


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if b.ndim == 2:
        return product(a.reshape(math.prod(a.shape[:-1]), a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[-1])
    a, b = (np.broadcast_to(m, (*batch, *m.shape[-2:])) for m in (a, b))
    out = np.empty((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    for i in np.ndindex(*batch):
        out[i] = product(a[i], b[i])
    return out


# --- reductions


@by_device
def sum(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
    return x.sum(axis, _sum_dtype(x), keepdims=keepdims)  # `np.sum` takes 0.7 us more


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


# --- in place


@by_device
def write(target: Any, source: Any) -> None:
    """Put the elements of `source` into `target`."""
    np.copyto(target, source, casting="same_kind")


@by_device
def add_into(target: Any, source: Any) -> None:
    np.add(target, source, out=target, casting="same_kind")
