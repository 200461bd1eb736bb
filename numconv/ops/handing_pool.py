"""What a function of a user is handed for a pooling, a gradient of one or an unpooling, and what becomes of its result.

Padding is put around x: what never wins a maximum, zeros elsewhere; and around the result of a gradient, from which it
is cut. So a function sees whole windows only. What a mean is divided by at the border is corrected here.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.ops import arrays, indexing
from numconv.ops.device import gpu, on_gpu
from numconv.ops.handing import Handed, cropped, enlarged, image, new, plain, result_in, turned
from numconv.ops.pooling_call import unpool_gradient
from numconv.problem import LAST, Pairs, PoolProblem, join_shape, remembered, spatial_axes

Arrays = tuple[Any, ...]
_INDEX = np.dtype(np.int64)


def by_indices(operation: str) -> bool:
    """Whether elements are moved by indices: the gradients of max poolings, unpooling and its gradient."""
    return "unpool" in operation or ("max" in operation and operation.endswith("_input"))


def pooling(
    layout: str, dtype: np.dtype, indexed: bool, problem: PoolProblem, inputs: Arrays, outputs: Arrays
) -> Handed | None:
    """A pooling for a function that takes arrays in `layout` and `dtype`; None where an index is outside its plane.

    A function that is `indexed` gets an array for indices whether they are wanted or not.
    """
    if by_indices(problem.operation):
        return _moved(layout, dtype, problem, inputs, outputs)
    return (_regions if problem.adaptive else _windows)(layout, dtype, indexed, problem, inputs, outputs)


def _moved(layout: str, dtype: np.dtype, p: PoolProblem, inputs: Arrays, outputs: Arrays) -> Handed | None:
    """Elements moved by their indices, planes flat."""
    indices, x = inputs if p.operation.endswith("_input") else inputs[::-1]
    if not on_gpu(x) and indices.size:
        low, high = int(indices.min()), int(indices.max())
        if low < (0 if "unpool" in p.operation else -1) or high >= math.prod(p.spatial):
            outputs[1][0] = 1  # the caller raises
            return None
    few, plane = (math.prod(p.out_spatial),), (math.prod(p.spatial),)
    source, target = (few, plane) if p.backward else (plane, few)

    def flat(array: Any, size: tuple[int, ...], kind: np.dtype) -> Any:
        whole = indexing.reshape(array, shape=join_shape(p.n, p.channels, size, p.layout))
        return plain(image(whole, p.layout, layout, kind, ((0, 0),)))

    place = indexing.reshape(outputs[0], shape=join_shape(p.n, p.channels, target, p.layout))
    result = result_in(place, join_shape(p.n, p.channels, target, layout), dtype, (layout, p.layout))

    def finish() -> None:
        if result is not place:
            arrays.write(place, turned(result, 1, layout, p.layout))

    given = {"x": flat(x, source, dtype), "indices": flat(indices, few, _INDEX), "out": plain(result)}
    return Handed(given, (), finish)


def _regions(
    layout: str, dtype: np.dtype, indexed: bool, p: PoolProblem, inputs: Arrays, outputs: Arrays
) -> Handed:  # fmt: skip
    """Adaptive and global poolings: windows follow from the two sizes."""
    axes = 1 if p.operation.startswith("global") else spatial_axes(p.operation)
    n, channels, spatial, out_spatial, laid = _as_named(p, axes)
    source, target = (out_spatial, spatial) if p.backward else (spatial, out_spatial)
    x = indexing.reshape(inputs[0], shape=join_shape(n, channels, source, laid))
    places = [indexing.reshape(array, shape=join_shape(n, channels, target, laid)) for array in outputs]
    shape = join_shape(n, channels, target, layout)
    results = [result_in(place, shape, kind, (layout, laid)) for place, kind in zip(places, (dtype, _INDEX))]

    def finish() -> None:
        for place, result in zip(places, results):
            if result is not place:
                arrays.write(place, turned(result, axes, layout, laid))

    given = {"x": plain(image(x, laid, layout, dtype, ((0, 0),) * axes)), "out": plain(results[0])}
    if indexed:
        given["indices"] = plain(results[1]) if p.indices else new(results[0], shape, _INDEX)
    return Handed(given, (), finish)


def _as_named(p: PoolProblem, axes: int) -> tuple[int, int, tuple[int, ...], tuple[int, ...], str]:
    """(batch, channels, size, output size, layout) with so many axes: `pooling_call` looks at whole images with fewer.

    There an image with channels last is one of positions by channels, with one channel.
    """
    ones = (1,) * axes
    if p.ndim == axes:
        return p.n, p.channels, p.spatial, p.out_spatial, p.layout
    if p.ndim == 2 and p.out_spatial[1] != 1:
        return p.n, p.spatial[1], (*ones[1:], p.spatial[0]), ones, LAST
    return p.n, p.channels, (*ones[1:], math.prod(p.spatial)), ones, p.layout


def _windows(
    layout: str, dtype: np.dtype, indexed: bool, p: PoolProblem, inputs: Arrays, outputs: Arrays
) -> Handed:  # fmt: skip
    """Poolings with windows of a size, and the gradients of those that sum."""
    pads, none = _reach(p), ((0, 0),) * p.ndim
    weights = _weights(p, inputs)
    factors = _weight_factors(p, weights) if weights is not None else _factors(p)

    def scaled(y: Any) -> Any:
        if factors is None:
            return y
        by = factors.astype(dtype).reshape(*p.out_spatial, *((1,) if layout == LAST else ()))
        return arrays.mul(y, gpu("arrays").uploaded(by) if on_gpu(y) else by)

    if not p.backward:
        given = {"x": image(inputs[0], p.layout, layout, dtype, pads, _neutral(p, dtype))}
    elif p.norm_type is None:
        given = {"x": scaled(image(inputs[0], p.layout, layout, dtype, none))}
    else:
        given = {
            "x": image(inputs[0], p.layout, layout, dtype, pads, _neutral(p, dtype)),
            "grad": scaled(image(inputs[1], p.layout, layout, dtype, none)),
        }
    if weights is not None:
        given["weights"] = weights.astype(dtype)
    target = enlarged(p.spatial, pads) if p.backward else p.out_spatial
    result = result_in(outputs[0], join_shape(p.n, p.channels, target, layout), dtype, (layout, p.layout))
    found = new(result, tuple(result.shape), _INDEX) if indexed else None
    given |= {"out": result} if found is None else {"out": result, "indices": found}

    def finish() -> None:
        y = cropped(result, pads, layout) if p.backward else scaled(result)
        if y is not outputs[0]:
            arrays.write(outputs[0], turned(y, p.ndim, layout, p.layout))
        if p.indices:
            arrays.write(outputs[1], turned(_in_image(p, layout, found), p.ndim, layout, p.layout))

    numbers = (p.kernel, p.stride, (0,) * p.ndim, p.dilation)
    exponent = () if p.norm_type is None else (p.norm_type,)
    return Handed({name: plain(array) for name, array in given.items()}, (*numbers, *exponent), finish)


@remembered
def _reach(p: PoolProblem) -> Pairs:
    """What is put around the image, so that every window, those of `ceil_mode` too, lies in it."""
    pads = []
    for n, o, k, s, (before, after), d in zip(p.spatial, p.out_spatial, p.kernel, p.stride, p.padding, p.dilation):
        pads.append((before, max(after, (o - 1) * s + d * (k - 1) + 1 - n - before)))
    return tuple(pads)


def _neutral(p: PoolProblem, dtype: np.dtype) -> float:
    """What is put around x: it changes no window's result."""
    if "max" in p.operation:
        return np.iinfo(dtype).min if dtype.kind in "iu" else -math.inf
    return math.inf if p.norm_type is not None and p.norm_type < 0 else 0


def _places(p: PoolProblem, axis: int) -> np.ndarray:
    """Where the taps of each output lie along an axis, counted in the image: (outputs, taps)."""
    starts = np.arange(p.out_spatial[axis]) * p.stride[axis] - p.padding[axis][0]
    return starts[:, None] + np.arange(p.kernel[axis]) * p.dilation[axis]


def _inside(p: PoolProblem, axis: int) -> np.ndarray:
    places = _places(p, axis)
    return (places >= 0) & (places < p.spatial[axis])


@remembered
def _factors(p: PoolProblem) -> np.ndarray | None:
    """What the results of whole windows are multiplied by, of all outputs; None where that is nothing."""
    if "max" in p.operation:
        return None
    if p.divisor_override is not None and p.norm_type is None:
        return np.full(p.out_spatial, math.prod(p.kernel) / p.divisor_override)
    factors = np.ones(())
    for axis, (n, (_, after)) in enumerate(zip(p.spatial, p.padding)):
        counted = _places(p, axis) < n + after if p.count_include_pad else _inside(p, axis)
        factors = factors[..., None] * (p.kernel[axis] / np.maximum(np.count_nonzero(counted, axis=1), 1))
    if p.norm_type is not None:
        factors = factors ** (1 / p.norm_type)
    return None if (factors == 1).all() else factors


def _weights(p: PoolProblem, inputs: Arrays) -> np.ndarray | None:
    """The weights of a weighted average."""
    if p.weights == "gaussian":
        gaussian = kernels("window_axes").gaussian
        return functools.reduce(np.multiply.outer, [gaussian(k) for k in p.kernel])
    return inputs[1] if p.weights == "array" else None


def _weight_factors(p: PoolProblem, weights: np.ndarray) -> np.ndarray:
    """One over the weights that lie in the image, of all outputs."""
    total = weights
    for axis in range(p.ndim):  # the first axis becomes outputs and goes last
        total = np.tensordot(total, _inside(p, axis).astype(float), ([0], [1]))
    some = functools.reduce(np.multiply.outer, [_inside(p, axis).any(axis=1) for axis in range(p.ndim)])
    with np.errstate(divide="ignore"):
        return np.where(some, 1 / np.where(some, total, 1.0), 1.0)


def _in_image(p: PoolProblem, layout: str, found: Any) -> Any:
    """Indices in the plane of the image, from those in what a function was handed.

    Where it points at padding, all of the window's elements are the lowest number: the first of them counts. A window
    without any has index -1.
    """
    table, first = _planes(p)
    if np.array_equal(table, np.arange(table.size)):
        return found
    first = first.reshape(*p.out_spatial, *((1,) if layout == LAST else ()))
    flat = indexing.reshape(found, shape=(1, 1, found.size))
    table = table.reshape(1, 1, -1)
    if on_gpu(found):
        table, first = (gpu("arrays").uploaded(array) for array in (table, first))
    inside = unpool_gradient("max_unpool1d_input", (1, 1, found.size), flat, table, None)
    inside = indexing.reshape(inside, shape=tuple(found.shape))
    return arrays.where(arrays.compare(inside, arrays.zeros(inside), relation="less"), first, inside)


@remembered
def _planes(p: PoolProblem) -> tuple[np.ndarray, np.ndarray]:
    """(index in the image, or -1, of every position of the padded plane; first index of every output's window)."""
    table, first = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for axis, (n, (before, after)) in enumerate(zip(p.spatial, _reach(p))):
        place = np.arange(-before, n + after)
        place = np.where((place >= 0) & (place < n), place, -1)
        inside = _inside(p, axis)
        start = np.take_along_axis(_places(p, axis), inside.argmax(axis=1)[:, None], axis=1)[:, 0]
        start = np.where(inside.any(axis=1), start, -1)
        table, first = (_joined(rows, columns, n) for rows, columns in ((table, place), (first, start)))
    return table.reshape(-1), first


def _joined(rows: np.ndarray, columns: np.ndarray, n: int) -> np.ndarray:
    """Flat indices of (row, column) with n columns a row; -1 where one of them is."""
    rows = rows.reshape(-1, 1)
    return np.where((rows < 0) | (columns < 0), -1, rows * n + columns).reshape(-1)
