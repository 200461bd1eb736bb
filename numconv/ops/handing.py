"""What a function of a user is handed for a convolution, and what becomes of its result.

The function is to see one kind of problem: contiguous arrays in the layout and dtype that it asks for, no padding and
no epilogue. Here is what makes it so, for arrays of NumPy and of a GPU; `handing_pool` does it for poolings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numconv.kernels.cpu import memory
from numconv.ops import activation, arrays, indexing
from numconv.ops.device import gpu, on_gpu
from numconv.ops.padding import pad
from numconv.problem import FIRST, LAST, ConvProblem, Pairs, join_shape


class Handed(NamedTuple):
    """What a function is called with, and what is done with its result afterwards.

    Attributes
    ----------
    arrays : dict
        By the name of the parameter, in the order of the signature.
    numbers : tuple
        What follows them.
    finish : callable
        Writes the result of the call into its place.
    """

    arrays: dict[str, Any]
    numbers: tuple[Any, ...]
    finish: Callable[[], None]


def order(ndim: int, source: str, target: str) -> tuple[int, ...]:
    """The axes of a batched array of `ndim` spatial axes, to turn it from one layout into another."""
    if source == target:
        return tuple(range(ndim + 2))
    return (0, *range(2, ndim + 2), 1) if target == LAST else (0, ndim + 1, *range(1, ndim + 1))


def around(pads: Pairs, layout: str) -> Pairs:
    """(before, after) for every axis of a batched array, from those of its spatial axes."""
    none = (0, 0)
    return (none, *pads, none) if layout == LAST else (none, none, *pads)


def plain(array: Any) -> Any:
    """The array as functions get it: contiguous, writeable, of a dtype that Numba has; itself where it can be."""
    array = arrays.contiguous(array, last=False)
    if not isinstance(array, np.ndarray):
        return gpu("custom").seen(array)
    window = memory.flat(array)[0].reshape(array.shape)
    return window.view(np.float16) if array.dtype == np.float16 else window


def new(like: Any, shape: tuple[int, ...], dtype: Any, value: float = 0) -> Any:
    """An array full of a number, on the device of another."""
    if on_gpu(like):
        return gpu("custom").new(shape, np.dtype(dtype), value)
    made = memory.empty(shape, np.dtype(dtype))
    made.fill(value)
    return made


def turned(x: Any, ndim: int, source: str, target: str) -> Any:
    """A view with its axes in the order of another layout."""
    return x if source == target else indexing.permute(x, axes=order(ndim, source, target))


def image(x: Any, source: str, target: str, dtype: np.dtype, pads: Pairs, value: float = 0) -> Any:
    """A batched array in a layout and dtype, with elements put around its spatial axes: itself or a copy."""
    x = turned(x, len(pads), source, target)
    if not any(map(any, pads)):
        return arrays.astype(x, dtype=dtype)
    pairs = around(pads, target)
    if on_gpu(x):
        return pad(arrays.astype(x, dtype=dtype), pairs, value=value)
    padded = memory.empty(tuple(n + b + a for n, (b, a) in zip(x.shape, pairs)), dtype)
    for axis, (n, (before, _)) in enumerate(zip(x.shape, pairs)):
        padded[(slice(None),) * axis + (slice(before),)] = value
        padded[(slice(None),) * axis + (slice(before + n, None),)] = value
    padded[tuple(slice(b, b + n) for n, (b, _) in zip(x.shape, pairs))] = x
    return padded


def cropped(x: Any, pads: Pairs, layout: str) -> Any:
    """The view without what lies around the spatial axes."""
    if not any(map(any, pads)):
        return x
    pairs = around(pads, layout)
    return indexing.index(x, index=tuple(slice(b, n - a) for n, (b, a) in zip(x.shape, pairs)))


def enlarged(spatial: tuple[int, ...], pads: Pairs) -> tuple[int, ...]:
    """Sizes with what lies around them."""
    return tuple(n + before + after for n, (before, after) in zip(spatial, pads))


def result_in(out: Any, shape: tuple[int, ...], dtype: np.dtype, layouts: tuple[str, str], *others: Any) -> Any:
    """Zeros for the result: `out` itself where that is what the function is to see and it overlaps no other array."""
    apart = not any(other is not None and _overlap(out, other) for other in others)
    if layouts[0] == layouts[1] and tuple(out.shape) == shape and out.dtype == dtype and apart and _contiguous(out):
        arrays.write(out, 0)
        return out
    return new(out, shape, dtype)


def _overlap(a: Any, b: Any) -> bool:
    return gpu("custom").overlap(a, b) if on_gpu(a) else np.may_share_memory(a, b)


def _contiguous(x: Any) -> bool:
    return gpu("custom").is_contiguous(x) if on_gpu(x) else x.flags.c_contiguous


def convolution(
    layout: str, dtype: np.dtype, problem: ConvProblem, packed: Any, x: Any, bias: Any, residual: Any, out: Any
) -> Handed:
    """A pass of a convolution for a function that takes arrays in `layout` and `dtype`.

    The padding is put around x of a forward convolution and of the weight's gradient. Where the input is computed,
    as its gradient or by a transposed convolution, it is put around the result, and cut off afterwards: what the
    function writes lies inside of it.
    """
    p, backward = problem, problem.direction == "input"
    none: Pairs = ((0, 0),) * p.ndim
    image_in = image(x, p.layout_in, layout, dtype, none if backward else p.padding)
    shapes = {
        "forward": join_shape(p.n, p.co, p.out_spatial, layout),
        "input": join_shape(p.n, p.ci, enlarged(p.spatial, p.padding), layout),
        "weight": p.weight_shape,
    }
    turns = (FIRST, FIRST)  # a weight has no layout
    if p.direction == "weight":
        packed = image(packed, p.layout_out, layout, dtype, none)
    else:
        turns = (layout, p.layout_out)
    result = result_in(out, shapes[p.direction], dtype, turns, residual)

    def finish() -> None:
        y = cropped(result, p.padding, layout) if backward else result
        y = turned(y, p.ndim, *turns)
        if bias is not None:
            along = (-1,) if p.layout_out == LAST else (-1, *(1,) * p.ndim)
            y = arrays.add(y, indexing.reshape(arrays.astype(bias, dtype=dtype), shape=along))
        if residual is not None:
            y = arrays.add(y, arrays.astype(residual, dtype=dtype))
        if p.activation is not None:
            name, parameter = p.activation
            y = getattr(activation, name)(y, *((parameter,) if name in ("leaky_relu", "elu") else ()))
        if y is not out:
            arrays.write(out, y)

    zeros = (0,) * p.ndim
    given = {"x": plain(image_in), "w": plain(packed), "out": plain(result)}
    return Handed(given, (p.stride, zeros, p.dilation, p.groups), finish)
