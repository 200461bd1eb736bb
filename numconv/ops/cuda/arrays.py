"""What there is to be done with bare arrays on a GPU: the twins of `numconv.ops.arrays` and `numconv.ops.indexing`.

Views share memory and cost nothing on the device: shapes, slices, other orders of the axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.kernels.cuda import launch, memory
from numconv.ops.cuda import elementwise
from numconv.ops.cuda.borders import check_together, taken
from numconv.ops.cuda.matrix import product
from numconv.ops.device import on_gpu

_placing, _reduction = kernels("concatenate", "cuda"), kernels("reduction", "cuda")
Axes = int | tuple[int, ...] | None


# --- making, converting


def asarray(value: Any, dtype: Any = None) -> Any:
    """The array itself, as one of Numba's."""
    array = taken(value)
    return array if dtype is None else elementwise.astype(array, dtype=dtype)


def uploaded(array: Any) -> Any:
    """A copy of a host array on the GPU."""
    return memory.to_device(np.asarray(array))


place = memory.place
copied = memory.copied


def to_numpy(x: Any, readonly: bool = False) -> np.ndarray:
    """A copy on the host."""
    host = memory.to_host(x)
    host.flags.writeable = not readonly
    return host


def copy(x: Any) -> Any:
    """A copy that lies as the array does."""
    return elementwise.compute("same", x, dtype=x.dtype)


def zeros(like: Any, *, shape: Any = None) -> Any:
    return elementwise.filled(like, 0, shape)


def full(like: Any, *, value: float, shape: Any = None) -> Any:
    return elementwise.filled(like, value, shape)


def contiguous(x: Any, *, last: bool) -> Any:
    """The elements as they are counted, or with the channels (axis 1) last."""
    if not last:
        return memory.contiguous(x)
    turned = memory.contiguous(memory.transpose(x, (0, *range(2, x.ndim), 1)))
    return memory.transpose(turned, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def write(target: Any, source: Any) -> None:
    """Put elements, of a GPU or of the host, into `target`."""
    if isinstance(source, (int, float)):
        source = elementwise.filled(target, source, ())
    elif not on_gpu(source):
        source = memory.to_device(np.asarray(source, target.dtype))
    source = memory.broadcast_to(elementwise.astype(source, dtype=target.dtype), tuple(target.shape))
    memory.copy_into(target, memory.copied(source) if memory.overlap(target, source) else source)


def add_into(target: Any, source: Any) -> None:
    memory.copy_into(target, elementwise.astype(elementwise.ENTRIES["add"](target, source), dtype=target.dtype))


# --- shapes


def reshape(x: Any, *, shape: Sequence[int]) -> Any:
    """A view where elements follow each other, else a copy."""
    sizes = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
    known = math.prod(n for n in sizes if n != -1)
    if sizes.count(-1) > 1 or (-1 in sizes and (not known or x.size % known)) or (-1 not in sizes and known != x.size):
        raise ValueError(f"an array of shape {tuple(x.shape)} cannot be reshaped to {sizes}")
    return memory.reshape(memory.contiguous(x), tuple(x.size // known if n == -1 else n for n in sizes))


def permute(x: Any, *, axes: Sequence[int]) -> Any:
    return memory.transpose(x, tuple(axes))


def expand(x: Any, *, shape: Sequence[int]) -> Any:
    return memory.broadcast_to(x, tuple(shape))


def flip(x: Any, *, axes: tuple[int, ...]) -> Any:
    return index(x, index=tuple(slice(None, None, -1 if axis in axes else 1) for axis in range(x.ndim)))


def index(x: Any, *, index: Any) -> Any:
    """A part, as a view: of integers, slices, None and `...`."""
    parts = index if isinstance(index, tuple) else (index,)
    if not all(part is None or part is ... or isinstance(part, (int, np.integer, slice)) for part in parts):
        raise TypeError(f"an array on a GPU takes integers, slices, None and ... as an index, got {index!r}")
    return memory.indexed(x, parts)


# --- joining


def concatenate(*arrays: Any, axis: int = 0) -> Any:
    """Arrays of one dtype, joined; channels last where they lie so in all."""
    check_together(**{f"array {i}": array for i, array in enumerate(arrays)})
    first = arrays[0]
    axis = _axis(axis, first.ndim)
    for i, array in enumerate(arrays):
        if array.dtype != first.dtype:
            raise TypeError(f"arrays on a GPU must be of one dtype, got {first.dtype} and {array.dtype} of array {i}")
        if array.ndim != first.ndim or any(
            a != b for at, (a, b) in enumerate(zip(array.shape, first.shape)) if at != axis
        ):
            raise ValueError(f"arrays must fit together along axis {axis}, got {[tuple(a.shape) for a in arrays]}")
    order = tuple(range(first.ndim))
    if first.ndim > 2 and all(_channels_last(array) for array in arrays):
        order = (0, *range(2, first.ndim), 1)
    turned = [memory.transpose(array, order) for array in arrays]
    at = order.index(axis)
    length = sum(array.shape[axis] for array in arrays)
    shape = tuple(length if i == at else n for i, n in enumerate(turned[0].shape))
    out = memory.empty(shape, first.dtype)
    start = 0
    for array in turned:
        _place(out, array, at, start)
        start += array.shape[at]
    return memory.transpose(out, tuple(order.index(i) for i in range(len(order))))


def _channels_last(x: Any) -> bool:
    return not memory.is_contiguous(x) and memory.is_contiguous(memory.transpose(x, (0, *range(2, x.ndim), 1)))


def _place(out: Any, x: Any, axis: int, start: int) -> None:
    """Write an operand of a concatenation into its slice of a contiguous array."""
    if not x.size:
        return
    if not memory.is_contiguous(x):
        memory.copy_into(memory.part(out, axis, start, start + x.shape[axis]), x)
        return
    run = math.prod(x.shape[axis + 1 :])
    sizes = x.shape[axis] * run, out.shape[axis] * run, start * run
    width = _placing.WIDTH
    vector = x.dtype.kind != "c" and all(n % width == 0 for n in sizes) and memory.aligned(x)
    kernel = _placing.place(*sizes, vector, out.size >= 1 << 31)
    kernel(launch.blocks(x.size, _placing.THREADS * (width if vector else 1)), _placing.THREADS, memory.flat(x),
           memory.flat(out), x.size)  # fmt: skip


def stack(*arrays: Any, axis: int = 0) -> Any:
    at = _axis(axis, arrays[0].ndim + 1)
    return concatenate(*(index(a, index=(*(slice(None),) * at, None)) for a in arrays), axis=at)


def _axis(axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis must be from {-ndim} to {ndim - 1} for {ndim} axes, got {axis}")
    return axis % ndim


# --- matrices and reductions


def matmul(a: Any, b: Any) -> Any:
    """Of matrices and vectors."""
    check_together(a=a, b=b)
    if not (1 <= a.ndim <= 2 and 1 <= b.ndim <= 2) or a.shape[a.ndim - 1] != b.shape[0] or a.dtype != b.dtype:
        raise ValueError(
            f"a and b must be matrices or vectors of one dtype that fit together on a GPU, got shapes "
            f"{tuple(a.shape)} and {tuple(b.shape)} of {a.dtype} and {b.dtype}"
        )
    shape = (*a.shape[:-1], *b.shape[1:])
    rows = memory.reshape(memory.contiguous(a), (math.prod(a.shape[:-1]), a.shape[a.ndim - 1]))
    other = memory.reshape(memory.contiguous(b), (b.shape[0], math.prod(b.shape[1:])))
    out = memory.empty((rows.shape[0], other.shape[1]), a.dtype)
    product(rows, other, out)
    return memory.reshape(out, shape)


def _reducing(name: str) -> Callable[..., Any]:
    def function(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
        return reduced(name, x, axis, keepdims)

    return function


def reduced(name: str, x: Any, axis: Axes, keepdims: bool) -> Any:
    """A sum, mean, max or min over axes."""
    if x.dtype.kind in "cb":
        raise TypeError(f"{name} on a GPU takes real numbers, got {x.dtype}")
    named = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = {_axis(a, x.ndim) for a in named} if x.ndim else set()
    dtype = x.dtype
    if dtype.kind in "iu" and name in ("sum", "mean"):
        dtype = np.dtype(np.int64 if name == "sum" else np.float64)
        x = elementwise.astype(x, dtype=dtype)
    kept = [n for i, n in enumerate(x.shape) if i not in axes]
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape)) if keepdims else tuple(kept)
    out = memory.empty(tuple(shape), dtype)
    n = math.prod(x.shape[a] for a in axes)
    if not n and name in ("max", "min"):
        raise ValueError(f"{name} of no elements, of an array of shape {tuple(x.shape)}")
    if not out.size:
        return out
    outer, inner, x = _split(x, sorted(axes))
    if inner == 1 and n >= _reduction.LONG:
        _reduction.rows(name, x.dtype.name, dtype.name, n)(outer, _reduction.THREADS, memory.flat(x), memory.flat(out))
    else:
        kernel = _reduction.columns(name, x.dtype.name, dtype.name, n, inner)
        kernel(launch.blocks(out.size, _reduction.THREADS), _reduction.THREADS, memory.flat(x), memory.flat(out))
    return out


def _split(x: Any, axes: list[int]) -> tuple[int, int, Any]:
    """(outer, inner, contiguous array) of which the reduced axes follow each other in the middle."""
    if axes and axes != list(range(axes[0], axes[-1] + 1)):
        x = memory.transpose(x, (*(i for i in range(x.ndim) if i not in axes), *axes))
        axes = list(range(x.ndim - len(axes), x.ndim))
    first, end = (axes[0], axes[-1] + 1) if axes else (x.ndim, x.ndim)
    return math.prod(x.shape[:first]), math.prod(x.shape[end:]), memory.contiguous(x)


ENTRIES: dict[str, Callable[..., Any]] = {
    "asarray": asarray, "to_numpy": to_numpy, "copy": copy, "zeros": zeros, "full": full, "contiguous": contiguous,
    "write": write, "add_into": add_into, "reshape": reshape, "permute": permute, "expand": expand, "flip": flip,
    "index": index, "concatenate": concatenate, "stack": stack, "matmul": matmul, "sum": _reducing("sum"),
    "mean": _reducing("mean"), "amax": _reducing("max"), "amin": _reducing("min"),
}  # fmt: skip
