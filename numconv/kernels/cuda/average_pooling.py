"""Sums over windows: average pooling of any kind, and its gradient, which gathers (see `windows`).

    average    result[t] = (sum over the window of  source) / divisor(t)
    gradient   result[i] =  sum over the outputs that looked at i of  source / divisor

Each thread computes one position of the result, of four channels where they are a multiple of four, as in
`max_pooling`. A window is added up row by row and the rows' sums then, each in order. Sums are float32 where that makes
at most 14 roundings on the way, which keeps the error under 1e-6, otherwise float64; one division, one rounding at the
store. Where all divisors are the same the gradient too divides once.
"""

from __future__ import annotations

import numpy as np
from numba import cuda
from numpy import int64, uint32, uint64

from numconv.kernels.cuda import lanes as lane
from numconv.kernels.cuda import launch, windows
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.pooling import THREADS, Arrays, PoolAlgorithm
from numconv.kernels.cuda.windows import Geometry
from numconv.problem import HALF, PoolProblem


def sums_in(dtype: np.dtype, roundings: int) -> str:
    """The type of sums: float32 of short types, if few are added before another."""
    short = dtype.name in HALF or (dtype == np.float32 and roundings <= 14)
    return "float32" if short else "float64"


def added(a, b):
    return a + b


def divided(a, b):
    return a / b


@launch.kernel(threads=THREADS)
def averages(geometry: Geometry, dtype: str, result: str, sums: str, by: int, padded: bool):
    """The kernel, for `count` positions; `by` is the divisor of all outputs, 0 where they differ."""
    lanes, (height, width), backward = geometry.lanes, geometry.sources[1:], geometry.backward
    index = uint64 if geometry.wide else uint32
    channels, pixels = geometry.channels, geometry.sources[0] * height * width
    depth_taps, row_taps, column_taps = geometry.taps
    locate = windows.locate(geometry.targets, channels // lanes, geometry.wide)
    look_d, look_h, look_w = (windows.looks(axis, backward, geometry.wide) for axis in geometry.axes)
    by_d, by_h, by_w = (windows.divisor(axis, padded) for axis in geometry.axes)
    kind = getattr(np, sums)
    load, store = lane.load(dtype, lanes), lane.store(result, lanes)
    fill, cast = lane.alike(kind, lanes), lane.cast(kind, lanes)
    add, divide = lane.each(added, lanes), lane.each(divided, lanes)
    each_divides = backward and by == 0

    def body(x, out, count):
        i = index(cuda.grid(1))
        if i >= count:
            return
        picture, d, h, w, group = locate(i)
        base = picture * (pixels * channels) + group * lanes
        total = fill(0)
        for jd in range(depth_taps):
            in_d, in_depth = look_d(d, jd)
            for jh in range(row_taps):
                in_h, in_height = look_h(h, jh)
                row = fill(0)
                for jw in range(column_taps):
                    in_w, in_width = look_w(w, jw)
                    inside = in_depth and in_height and in_width
                    place = (in_d * height + in_h) * width + in_w
                    v = cast(load(x, base + place * channels)) if inside else fill(0)
                    if each_divides:
                        here = by_d(in_d) * by_h(in_h) * by_w(in_w) if inside else 1
                        v = divide(v, fill(here))
                    row = add(row, v)
                total = add(total, row)
        if by:
            total = divide(total, fill(by))
        elif not backward:
            total = divide(total, fill(by_d(d) * by_h(h) * by_w(w)))
        store(out, int64(i) * lanes, total)

    return body


class Average(PoolAlgorithm):
    """A thread a position and group of channels, forward and backward."""

    name = "direct"

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        geometry = windows.geometry(problem)
        count, padded = outputs[0].size // geometry.lanes, problem.count_include_pad
        by = problem.divisor_override or windows.same_divisor(geometry.axes, padded)
        sums = sums_in(problem.dtype, sum(taps - 1 for taps in geometry.taps))
        kernel = averages(geometry, problem.dtype.name, problem.result_dtype.name, sums, by, padded)
        kernel(launch.blocks(count, THREADS), THREADS, flat(inputs[0]), flat(outputs[0]), count)
