"""Maxima over windows: max pooling of any kind, with or without the places where the maxima were.

A thread computes the maxima of one window, of four channels where they lie next to each other and are a multiple of
four; it looks at all positions of the window in the order of the plane. Threads lie along the result's memory, so that
each position is read, and each result written, in runs of 512 bytes a warp; what neighbouring windows share comes from
the cache. Nothing waits for anything else: all loads of a small window are under way at once.

Of equal elements the first in the order of the plane wins, of NaNs the last, as in PyTorch. A window without any
position gives the lowest number and index -1.
"""
# ruff: noqa: PLR0124  (v != v is true of NaN alone)

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda
from numpy import int64, uint32, uint64

from numconv.kernels.cuda import lanes as lane
from numconv.kernels.cuda import launch, windows
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.pooling import THREADS, Arrays, PoolAlgorithm
from numconv.kernels.cuda.windows import Geometry
from numconv.problem import PoolProblem


def lowest(kind: Any) -> Any:
    """What no element is below."""
    return kind(-np.inf if issubclass(kind, np.floating) else np.iinfo(kind).min)


def larger(best, v):
    return v if v > best or v != v else best


def place_of_larger(best, where, v, place):
    """`place` of the larger element, or where the best is."""
    return place if v > best or v != v or where < 0 else where


@launch.kernel(threads=THREADS)
def maxima(geometry: Geometry, dtype: str, indexed: bool):
    """The kernel, for `count` windows."""
    lanes, taps, (height, width) = geometry.lanes, geometry.taps, geometry.sources[1:]
    index = uint64 if geometry.wide else uint32
    channels, pixels = geometry.channels, geometry.sources[0] * height * width
    depth_taps, row_taps, column_taps = taps
    locate = windows.locate(geometry.targets, channels // lanes, geometry.wide)
    look_d, look_h, look_w = (windows.looks(axis, False, geometry.wide) for axis in geometry.axes)
    kind = lane.number(dtype)
    place_kind = np.int64 if geometry.wide else np.int32
    bottom, load, store = lowest(kind), lane.load(dtype, lanes), lane.store(dtype, lanes)
    store_index = lane.store("int64", lanes)
    fill, fill_index = lane.alike(kind, lanes), lane.alike(place_kind, lanes)
    take, take_place = lane.each(larger, lanes), lane.each4(place_of_larger, lanes)

    def body(x, out, indices, count):
        i = index(cuda.grid(1))
        if i >= count:
            return
        picture, d, h, w, group = locate(i)
        base = picture * (pixels * channels) + group * lanes
        best, where = fill(bottom), fill_index(-1)
        for jd in range(depth_taps):
            in_d, in_depth = look_d(d, jd)
            for jh in range(row_taps):
                in_h, in_height = look_h(h, jh)
                for jw in range(column_taps):
                    in_w, in_width = look_w(w, jw)
                    inside = in_depth and in_height and in_width
                    place = (in_d * height + in_h) * width + in_w
                    v = load(x, base + place * channels) if inside else fill(bottom)
                    if indexed:
                        where = take_place(best, where, v, fill_index(place if inside else -1))
                    best = take(best, v)
        to = int64(i) * lanes
        store(out, to, best)
        if indexed:
            store_index(indices, to, where)

    inner = launch.inlined(body)

    def plain(x, out, count):
        inner(x, out, out, count)

    return body if indexed else plain


class Max(PoolAlgorithm):
    """A thread a window and group of channels."""

    name = "direct"

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        geometry = windows.geometry(problem)
        count = outputs[0].size // geometry.lanes
        kernel = maxima(geometry, problem.dtype.name, problem.indices)
        kernel(launch.blocks(count, THREADS), THREADS, *map(flat, (*inputs, *outputs)), count)
