"""Direct maxima over windows, without any buffer: the definition, for any max pooling, with or without indices.

Loop order: a row of the result, or a segment of it (the parallel item), its windows, their rows, positions of a row,
lanes. With lanes, up to 64 channels are compared at once; without, four maxima of the positions of a row of the
window are kept, so that no comparison waits for the one before: this is the way for windows as wide as the image.

Of equal elements the first in the order of the plane wins, of NaNs the last, as in PyTorch.
"""
# ruff: noqa: PLR0124  (v != v is true of NaN alone)

from __future__ import annotations

import functools

import numpy as np

from numconv.kernels.cpu import jit, simd, small_windows
from numconv.kernels.cpu import windows as win
from numconv.kernels.cpu.max_pooling import NO_INDICES, compared_in, larger, lowest
from numconv.kernels.cpu.memory import half_kind
from numconv.kernels.cpu.pooling import Arrays, PoolAlgorithm, estimate
from numconv.kernels.cpu.small_windows import window_of
from numconv.problem import PoolProblem

# isort: off
from numconv.kernels.cpu.windows import (
    BLOCK, COUNT, FIRST, LANES, OUT_0, OUT_C, OUT_D, OUT_H, OUT_LANE, OUT_N, OUT_W, PLACES_H, PLACES_W, ROWS_H,
    SIZE_H, SIZE_W, STEP_D, STEP_H, STEP_W, X_0, X_C, X_D, X_H, X_LANE, X_N, X_W,
)  # fmt: skip
# isort: on


@jit.function
def largest(half):
    """A function that gives the largest of `best` and `count` numbers, `every` apart."""
    load = simd.load(half)

    def find(x, at, every, count, best):
        at, every, count, four = np.uint64(at), np.uint64(every), np.uint64(count), np.uint64(4)
        a, b, c, d = best, best, best, best
        for t in range(count // four):
            i = at + t * four * every
            p, q, r, s = load(x, i), load(x, i + every), load(x, i + every + every), load(x, i + every + every + every)
            a = p if (p > a) | (p != p) else a
            b = q if (q > b) | (q != q) else b
            c = r if (r > c) | (r != r) else c
            d = s if (s > d) | (s != s) else d
        for t in range(count - count % four, count):
            p = load(x, at + t * every)
            a = p if (p > a) | (p != p) else a
        a = b if (b > a) | (b != b) else a
        c = d if (d > c) | (d != d) else c
        return c if (c > a) | (c != c) else a

    return find


@jit.kernel
def direct(half, kind, indexed):
    """The kernel, with `kind` the type in which elements are compared."""
    locate, put, put_index = win.locate(), win.put(half), win.put(0)
    find, take, load = largest(half), larger(half, indexed), simd.load(half)
    lane_room, index_room = simd.stack(win.LANES_AT_ONCE, kind), simd.stack(win.LANES_AT_ONCE, "int64")

    def body(start, stop, worker, x, out, header, places, segments, factors, indices, least):
        best, found, bottom = lane_room(), index_room(), least[0]
        every = header[STEP_W] * header[X_W]
        for item in range(start, stop):
            rest, h = divmod(item, header[ROWS_H])
            segment, block, n, plane, d = locate(header, rest)
            begin, targets = segments[segment, win.START], segments[segment, win.TARGETS]
            lane = block * header[BLOCK]
            lanes = min(header[BLOCK], header[LANES] - lane)
            base = header[X_0] + n * header[X_N] + plane * header[X_C] + lane * header[X_LANE]
            o = header[OUT_0] + n * header[OUT_N] + plane * header[OUT_C] + lane * header[OUT_LANE]
            o += d * header[OUT_D] + h * header[OUT_H]
            place_h = header[PLACES_H] + h
            for j in range(begin, begin + targets):
                first_w, count_w = places[header[PLACES_W] + j, FIRST], places[header[PLACES_W] + j, COUNT]
                for i in range(lanes):
                    best[i], found[i] = bottom, -1
                for jd in range(places[d, COUNT]):
                    for jh in range(places[place_h, COUNT]):
                        source_d = places[d, FIRST] + jd * header[STEP_D]
                        source_h = places[place_h, FIRST] + jh * header[STEP_H]
                        row = base + source_d * header[X_D] + source_h * header[X_H] + first_w * header[X_W]
                        index = (source_d * header[SIZE_H] + source_h) * header[SIZE_W] + first_w
                        if lanes == 1 and not indexed:
                            best[0] = find(x, row, every, count_w, best[0])
                        elif lanes == 1:
                            v, where = best[0], found[0]
                            for t in range(count_w):
                                u = load(x, row + t * every)
                                wins = (u > v) | (u != u) | (where < 0)
                                v, where = u if wins else v, index + t * header[STEP_W] if wins else where
                            best[0], found[0] = v, where
                        else:
                            for t in range(count_w):
                                if jd + jh + t == 0:
                                    for i in range(lanes):
                                        found[i] = index
                                place = index + t * header[STEP_W]
                                take(x, row + t * every, np.int64(1), best, np.int64(0), lanes, found, place)
                to = o + j * header[OUT_W]
                put(out, to, header[OUT_LANE], best, np.int64(0), lanes)
                if indexed:
                    put_index(indices, to, header[OUT_LANE], found, np.int64(0), lanes)

    return body


class Direct(PoolAlgorithm):
    """The definition."""

    name = "direct"
    replays = True

    def cost(self, problem: PoolProblem) -> float:
        small = window_of(problem) is not None
        return small_windows.cost(problem) if small else 2 * estimate(problem)[1]

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        kernel, least = _kernel(problem.dtype, problem.indices, window_of(problem))
        indices = outputs[1].view(np.uint64).reshape(-1) if problem.indices else NO_INDICES
        self.launch(problem, kernel, inputs[0], outputs[0], indices, least)


@functools.cache
def _kernel(dtype: np.dtype, indices: bool, window: tuple[int, int, int] | None) -> tuple[jit.Kernel, np.ndarray]:
    half, kind = half_kind(dtype), compared_in(dtype)
    if window is None:
        return direct(half, kind, indices), lowest(dtype)
    how = small_windows.PLACE if indices else small_windows.MAXIMUM
    return small_windows.small(half, kind, how, *window), lowest(dtype)
