"""Separable maxima over windows: max pooling, with or without the places where the maxima were.

Loop order: as the sums of `average_pooling`. The rows that a row of the result looks at are reduced to one row of
maxima, the columns of that to the windows' maxima: 2 k comparisons for a window of k x k.

Of equal elements the first in the order of the plane wins, of NaNs the last, as in PyTorch. Where places are wanted,
each column's maximum carries the row that it came from, and of equal columns the earlier place wins.
"""
# ruff: noqa: PLR0124  (v != v is true of NaN alone)

from __future__ import annotations

import functools
import math

import numpy as np

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu import windows as win
from numconv.kernels.cpu.memory import half_kind
from numconv.kernels.cpu.pooling import Arrays, PoolAlgorithm, estimate
from numconv.kernels.cpu.window_axes import extent
from numconv.problem import HALF, PoolProblem

# isort: off
from numconv.kernels.cpu.windows import (
    BLOCK, COUNT, FIRST, LANES, OUT_0, OUT_C, OUT_D, OUT_H, OUT_LANE, OUT_N, OUT_W,
    PLACES_H, PLACES_W, ROWS_H,
    SHIFT, SIZE_H, SIZE_W, STEP_D, STEP_H, STEP_W, X_0, X_C, X_D, X_H, X_LANE, X_N, X_W,
)  # fmt: skip
# isort: on

NO_INDICES = np.zeros(1, np.uint64)


def compared_in(dtype: np.dtype) -> str:
    """The type in which elements are compared: their own, float32 for half types."""
    return "float32" if dtype.name in HALF else dtype.name


def lowest(dtype: np.dtype) -> np.ndarray:
    """What a window without any position gives, as an array of one number."""
    value = np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf
    return np.full(1, value, compared_in(dtype))


@jit.function
def larger(half, indexed):
    """A function that takes the larger of maxima and a run of a source; the row of each too, if `indexed`."""
    load = simd.load(half)

    def take(x, a, every, best, at, length, rows, row):
        a, every, at, length = np.uint64(a), np.uint64(every), np.uint64(at), np.uint64(length)
        if every == 1:
            for i in range(length):
                v, b = load(x, a + i), best[at + i]
                best[at + i] = v if (v > b) | (v != v) else b
        else:
            for i in range(length):
                v, b = load(x, a + i * every), best[at + i]
                best[at + i] = v if (v > b) | (v != v) else b

    def take_place(x, a, every, best, at, length, rows, row):
        a, every, at, length = np.uint64(a), np.uint64(every), np.uint64(at), np.uint64(length)
        for i in range(length):
            v, b, r = load(x, a + i * every), best[at + i], rows[at + i]
            wins = (v > b) | (v != v)
            best[at + i] = v if wins else b
            rows[at + i] = row if wins else r

    return take_place if indexed else take


@jit.function
def larger_column(indexed):
    """A function that takes the larger of the maxima of `count` windows and a column of each, `every` apart.

    With `lanes` it does so for as many next to each other. The place of a column's maximum is its row's, `rows`, and
    `place` of the first window's column.
    """

    def take(columns, at, every, best, start, count, lanes, rows, places, place):
        at, every, start, count = np.uint64(at), np.uint64(every), np.uint64(start), np.uint64(count)
        if lanes > 1:
            lanes = np.uint64(lanes)
            for j in range(count):
                source, target = at + j * every * lanes, start + j * lanes
                for i in range(lanes):
                    v, b = columns[source + i], best[target + i]
                    best[target + i] = v if (v > b) | (v != v) else b
        elif every == 1:
            for j in range(count):
                v, b = columns[at + j], best[start + j]
                best[start + j] = v if (v > b) | (v != v) else b
        elif every == 2:
            for j in range(count):
                v, b = columns[at + every * j], best[start + j]
                best[start + j] = v if (v > b) | (v != v) else b
        else:
            for j in range(count):
                v, b = columns[at + every * j], best[start + j]
                best[start + j] = v if (v > b) | (v != v) else b

    def take_place(columns, at, every, best, start, count, lanes, rows, places, place):
        at, every, start, count = np.uint64(at), np.uint64(every), np.uint64(start), np.uint64(count)
        apart, place = np.int32(every), np.int32(place)
        if lanes > 1:
            lanes = np.uint64(lanes)
            for j in range(count):
                source, target, column = at + j * every * lanes, start + j * lanes, place + apart * np.int32(j)
                for i in range(lanes):
                    v, b = columns[source + i], best[target + i]
                    r, q = np.int32(rows[source + i] + column), places[target + i]
                    wins = (v > b) | ((v == b) & (r < q)) | ((v != v) & ((b == b) | (r > q)))
                    best[target + i] = v if wins else b
                    places[target + i] = r if wins else q
        else:
            for j in range(count):
                v, b = columns[at + every * j], best[start + j]
                r, q = np.int32(rows[at + every * j] + place + apart * np.int32(j)), places[start + j]
                wins = (v > b) | ((v == b) & (r < q)) | ((v != v) & ((b == b) | (r > q)))
                best[start + j] = v if wins else b
                places[start + j] = r if wins else q

    return take_place if indexed else take


@jit.kernel
def separable(half, kind, indexed):
    """The kernel, with `kind` the type in which elements are compared."""
    locate, put, put_index = win.locate(), win.put(half), win.put(0)
    take_row, take_column = larger(half, indexed), larger_column(indexed)
    source_room, target_room = simd.stack(win.ROOM, kind), simd.stack(win.ROOM, kind)
    row_room, place_room = (simd.stack(win.ROOM if indexed else 1, "int32") for _ in range(2))

    def body(start, stop, worker, x, out, header, windows, segments, factors, indices, least):
        columns, best, rows, places = source_room(), target_room(), row_room(), place_room()
        shift, step, bottom = header[SHIFT], header[STEP_W], least[0]
        begin, targets, low, high, regular, irregular = 0, 0, 0, 0, 0, 0
        lanes, base, base_out, window_w, first_d, count_d = 0, 0, 0, 0, 0, 0
        for item in range(start, stop):
            rest, h = divmod(item, header[ROWS_H])
            if h == 0 or item == start:
                segment, block, n, plane, d = locate(header, rest)
                begin, targets = segments[segment, win.START], segments[segment, win.TARGETS]
                low, high = segments[segment, win.LOW], segments[segment, win.HIGH]
                regular, irregular = segments[segment, win.REGULAR], segments[segment, win.IRREGULAR]
                lane = block * header[BLOCK]
                lanes = min(header[BLOCK], header[LANES] - lane)
                base = header[X_0] + n * header[X_N] + plane * header[X_C] + lane * header[X_LANE] + low * header[X_W]
                base_out = header[OUT_0] + n * header[OUT_N] + plane * header[OUT_C] + lane * header[OUT_LANE]
                base_out += d * header[OUT_D] + begin * header[OUT_W]
                window_w = header[PLACES_W] + begin
                first_d, count_d = windows[d, FIRST], windows[d, COUNT]

            # Rows into columns.
            every = header[X_W] if lanes == 1 else 1
            runs, length = (1, (high - low) * lanes) if header[X_W] == lanes * every else (high - low, lanes)
            window = header[PLACES_H] + h
            first_h, count_h = windows[window, FIRST], windows[window, COUNT]
            first_row = (first_d * header[SIZE_H] + first_h) * header[SIZE_W]
            for i in range((high - low) * lanes):
                columns[i] = bottom
            if indexed:
                for i in range((high - low) * lanes):
                    rows[i] = np.int32(first_row)
            for jd in range(count_d):
                for jh in range(count_h):
                    source_d, source_h = first_d + jd * header[STEP_D], first_h + jh * header[STEP_H]
                    at = base + source_d * header[X_D] + source_h * header[X_H]
                    row = (source_d * header[SIZE_H] + source_h) * header[SIZE_W]
                    for run in range(runs):
                        to = at + run * header[X_W]
                        take_row(x, to, every, columns, run * lanes, length, rows, np.int32(row))

            # Columns into windows, the regular ones at once.
            for i in range(targets * lanes):
                best[i] = bottom
            j = 0
            while j < targets:
                first, count = windows[window_w + j, FIRST], windows[window_w + j, COUNT]
                some = irregular - j if j == regular else 1
                if indexed:
                    none, apart = count_d * count_h * count == 0, np.int32(0 if some == 1 else shift)
                    for q in range(some):
                        place = np.int32(-1 if none else first_row + first) + apart * np.int32(q)
                        for i in range(lanes):
                            places[(j + q) * lanes + i] = place
                for t in range(count if count_d * count_h > 0 else 0):
                    at, place = (first + t * step - low) * lanes, first + t * step
                    take_column(columns, at, shift, best, j * lanes, some, lanes, rows, places, place)
                j += some
            o = base_out + h * header[OUT_H]
            apart = header[OUT_W] if lanes == 1 else header[OUT_LANE]
            whole = lanes == 1 or (header[OUT_W] == lanes and apart == 1)
            for j in range(1 if whole else targets):
                some = targets * lanes if whole else lanes
                put(out, o + j * header[OUT_W], apart, best, j * lanes, some)
                if indexed:
                    put_index(indices, o + j * header[OUT_W], apart, places, j * lanes, some)

    return body


class Separable(PoolAlgorithm):
    """First along the rows, then along the columns."""

    name = "separable"
    replays = True
    accepts = ("stem", "large_kernel", "dilated_ceil", "pool_1d_padded", "pool_3d_unlike", "large")

    def rejects(self, problem: PoolProblem) -> str | None:
        wide = extent(problem)
        if wide > win.ROOM:
            return f"a window of {wide} positions along the last axis is wider than the buffer of {win.ROOM}"
        if problem.indices and math.prod(problem.spatial) >= 2**31:
            return "places are followed in 32 bits"
        return None

    def cost(self, problem: PoolProblem) -> float:
        return 2 * estimate(problem)[0]

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        kernel, least = _kernel(problem.dtype, problem.indices)
        indices = outputs[1].view(np.uint64).reshape(-1) if problem.indices else NO_INDICES
        self.launch(problem, kernel, inputs[0], outputs[0], indices, least)


@functools.cache
def _kernel(dtype: np.dtype, indices: bool) -> tuple[jit.Kernel, np.ndarray]:
    return separable(half_kind(dtype), compared_in(dtype), indices), lowest(dtype)
