"""Means and maxima of whole images, with or without the places of the maxima: a reduction in a fixed order.

    result[n, c] = combination over all positions p of  source[n, p, c]

Channels last, a block takes up to 32 neighbouring lanes, of four channels where they are a multiple of four, and its
other threads share the positions: thread s takes s, s + strips, ... in order. Channels first, a block takes a plane, or
several small ones, with all threads along the positions. Either way a warp reads runs of 128 to 512 bytes. The strips
are then combined in shared memory, half with half, so that any two runs give the same bits.

Sums are float32 where at most 14 roundings lead to each, otherwise float64.
"""
# ruff: noqa: PLR0124  (v != v is true of NaN alone)

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import cuda
from numpy import int64, uint32, uint64

from numconv.kernels.cuda import lanes as lane
from numconv.kernels.cuda import launch
from numconv.kernels.cuda.average_pooling import added, divided, sums_in
from numconv.kernels.cuda.max_pooling import larger, lowest, place_of_larger
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.pooling import THREADS, Arrays, PoolAlgorithm
from numconv.problem import LAST, PoolProblem


class Share(NamedTuple):
    """How a block is laid out over pictures of some positions and channels."""

    positions: int
    channels: int
    lanes: int  # channels of a thread
    columns: int  # threads along the channels, or planes
    strips: int  # threads along the positions
    wide: bool

    @property
    def groups(self) -> int:
        """Threads that a picture's channels need."""
        return self.channels // self.lanes


def shared(problem: PoolProblem) -> Share:
    """The layout for a problem."""
    positions, last = math.prod(problem.spatial), problem.layout == LAST
    wide = math.prod(problem.input_shape) >= 1 << 31
    if not last:
        strips = min(THREADS, max(32, _power(positions // 4)))
        return Share(positions, 1, 1, THREADS // strips, strips, wide)
    lanes = 1 if problem.channels % 4 else 4
    columns = min(32, _power(max(problem.channels // lanes, 1)))
    return Share(positions, problem.channels, lanes, columns, THREADS // columns, wide)


def _power(n: int) -> int:
    """The power of two from `n` on."""
    return 1 << max(n - 1, 0).bit_length()


def later_or_larger(best, where, v, place):
    """The place of the larger of two maxima; of equal ones the earlier, of NaNs the later. -1 stands for none."""
    equal = v == best and place < where
    nan = v != v and (best == best or place > where)
    return place if place >= 0 and (where < 0 or v > best or equal or nan) else where


@launch.kernel(threads=THREADS)
def whole(share: Share, dtype: str, result: str, how: str, sums: str):
    """The kernel, for `items` columns: `how` is "sum", "max" or "places"."""
    positions, channels, lanes, columns, strips, wide = share
    groups, indexed = share.groups, how == "places"
    index = uint64 if wide else uint32
    kind = getattr(np, sums)
    place_kind = np.int32 if positions < 1 << 31 else np.int64
    start = kind(0) if how == "sum" else lowest(kind)
    load, store, store_index = lane.load(dtype, lanes), lane.store(result, lanes), lane.store("int64", lanes)
    fill, cast, fill_place = lane.alike(kind, lanes), lane.cast(kind, lanes), lane.alike(place_kind, lanes)
    combine = lane.each(added if how == "sum" else larger, lanes)
    divide = lane.each(divided, lanes)
    take_place, join_place = lane.each4(place_of_larger, lanes), lane.each4(later_or_larger, lanes)
    put, get = lane.put(lanes), lane.get(lanes)
    room, place_room = THREADS * lanes, THREADS * lanes if indexed else 1
    first_half = strips // 2
    mean = how == "sum"

    def body(x, out, indices, items):
        values = cuda.shared.array(room, kind)
        places = cuda.shared.array(place_room, place_kind)
        thread = int64(cuda.threadIdx.x)
        # Channels last, neighbours read channels side by side; channels first, positions.
        column, strip = (thread % columns, thread // columns) if channels > 1 else (thread // strips, thread % strips)
        item = int64(cuda.blockIdx.x) * columns + column
        total, where = fill(start), fill_place(-1)
        if item < items:
            picture, group = int64(index(item) // index(groups)), int64(index(item) % index(groups))
            base = picture * (positions * channels) + group * lanes
            for p in range(strip, positions, strips):
                v = cast(load(x, base + p * channels))
                if indexed:
                    where = take_place(total, where, v, fill_place(p))
                total = combine(total, v)
        put(values, thread, total)
        if indexed:
            put(places, thread, where)
        cuda.syncthreads()
        half = first_half
        while half > 0:
            if strip < half:
                other = (strip + half) * columns + column if channels > 1 else column * strips + strip + half
                v = get(values, other)
                if indexed:
                    place = get(places, other)
                    where = join_place(total, where, v, place)
                total = combine(total, v)
                put(values, thread, total)
                if indexed:
                    put(places, thread, where)
            cuda.syncthreads()
            half //= 2
        if strip == 0 and item < items:
            if mean:
                total = divide(total, fill(positions))
            store(out, item * lanes, total)
            if indexed:
                store_index(indices, item * lanes, where)

    inner = launch.inlined(body)

    def plain(x, out, items):
        inner(x, out, out, items)

    return body if indexed else plain


class Global(PoolAlgorithm):
    """A block an image and some of its channels."""

    name = "whole"

    def rejects(self, problem: PoolProblem) -> str | None:
        if not problem.adaptive or set(problem.out_spatial) != {1}:
            return "only windows that are whole images are reduced by a block"
        return None

    def cost(self, problem: PoolProblem) -> float:
        """A thread a window is for windows of a few positions; estimate, not measured."""
        return super().cost(problem) * (2 if math.prod(problem.spatial) < 8 else 0.5)

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        share, how = shared(problem), "places" if problem.indices else "max" if "max" in problem.operation else "sum"
        roundings = -(-share.positions // share.strips) + share.strips.bit_length()
        sums = sums_in(problem.dtype, roundings) if how == "sum" else lane.number(problem.dtype.name).__name__
        kernel = whole(share, problem.dtype.name, problem.result_dtype.name, how, sums)
        items = outputs[0].size // share.lanes
        blocks = launch.blocks(items, share.columns)
        kernel(blocks, THREADS, *map(flat, (*inputs, *outputs)), items)
