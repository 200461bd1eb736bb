"""Separable maxima over windows: max pooling, with or without the places where the maxima were.

Loop order: as the sums of `average_pooling`. The rows that a row of the result looks at are reduced to one row of
maxima, the columns of that to the windows' maxima: 2 k comparisons for a window of k x k.

Of equal elements the first in the order of the plane wins, of NaNs the last, as in PyTorch. Where places are wanted,
each column's maximum carries the row that it came from, and of equal columns that with the earlier row wins.
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
    BLOCK, COUNT, FIRST, LANES, OUT_0, OUT_C, OUT_D, OUT_H, OUT_LANE, OUT_N, OUT_W, PLACES_H, PLACES_W, ROWS_H,
    SHIFT, SIZE_H, SIZE_W, STEP_D, STEP_H, STEP_W, X_0, X_C, X_D, X_H, X_LANE, X_N, X_W,
)  # fmt: skip
# isort: on

NO_INDICES = np.zeros(1, np.int64)


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
    """A function that takes the larger of maxima and a column of each of `count` windows, `every` apart."""

    def take(columns, at, every, best, start, count, rows, best_row, best_column, column, apart):
        at, every, start, count = np.uint64(at), np.uint64(every), np.uint64(start), np.uint64(count)
        if every == 1:
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

    def take_place(columns, at, every, best, start, count, rows, best_row, best_column, column, apart):
        at, every, start, count = np.uint64(at), np.uint64(every), np.uint64(start), np.uint64(count)
        for j in range(count):
            v, b, r, q = columns[at + every * j], best[start + j], rows[at + every * j], best_row[start + j]
            c, here = best_column[start + j], np.int32(column + apart * np.int64(j))
            wins = (v > b) | ((v == b) & (r < q)) | ((v != v) & ((b == b) | (r >= q)))
            best[start + j] = v if wins else b
            best_row[start + j] = r if wins else q
            best_column[start + j] = here if wins else c

    return take_place if indexed else take


@jit.kernel
def separable(half, kind, indexed):
    """The kernel, with `kind` the type in which elements are compared."""
    locate, put, put_index = win.locate(), win.put(half), win.put(0)
    take_row, take_column = larger(half, indexed), larger_column(indexed)
    source_room, target_room = simd.stack(win.ROOM, kind), simd.stack(win.WIDEST, kind)
    source_rows = simd.stack(win.ROOM if indexed else 1, "int32")
    target_rows, target_columns = (simd.stack(win.WIDEST if indexed else 1, "int32") for _ in range(2))
    target_indices = simd.stack(win.WIDEST if indexed else 1, "int64")

    def body(start, stop, worker, x, out, header, places, segments, factors, indices, least):
        columns, best, rows = source_room(), target_room(), source_rows()
        best_row, best_column, found = target_rows(), target_columns(), target_indices()
        shift, step, bottom = header[SHIFT], header[STEP_W], least[0]
        begin, targets, low, high, regular, irregular = 0, 0, 0, 0, 0, 0
        lanes, base, base_out, place_w, first_d, count_d = 0, 0, 0, 0, 0, 0
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
                place_w = header[PLACES_W] + begin
                first_d, count_d = places[d, FIRST], places[d, COUNT]

            # Rows into columns.
            every = header[X_W] if lanes == 1 else 1
            runs, length = (1, (high - low) * lanes) if header[X_W] == lanes * every else (high - low, lanes)
            place = header[PLACES_H] + h
            first_h, count_h = places[place, FIRST], places[place, COUNT]
            for i in range((high - low) * lanes):
                columns[i] = bottom
            first_row = np.int32(0)
            if indexed:
                first_row = np.int32(first_d * header[SIZE_H] + first_h)
                for i in range((high - low) * lanes):
                    rows[i] = first_row
            for jd in range(count_d):
                for jh in range(count_h):
                    source_d, source_h = first_d + jd * header[STEP_D], first_h + jh * header[STEP_H]
                    at = base + source_d * header[X_D] + source_h * header[X_H]
                    row = source_d * header[SIZE_H] + source_h
                    for run in range(runs):
                        to = at + run * header[X_W]
                        take_row(x, to, every, columns, run * lanes, length, rows, np.int32(row))

            # Columns into windows: regular ones at once, or the lanes of one at once.
            o, j = base_out + h * header[OUT_H], 0
            while j < targets:
                first, count = places[place_w + j, FIRST], places[place_w + j, COUNT]
                to, some, each = j, irregular - j if j == regular else 1, shift
                if lanes > 1:
                    to, some, each = 0, lanes, 0
                for i in range(to, to + some):
                    best[i] = bottom
                    if indexed:
                        best_row[i], best_column[i] = first_row, np.int32(first + each * (i - to))
                for t in range(count):
                    column = first + t * step
                    take_column(
                        columns, (column - low) * lanes, max(1, each), best, to, some,
                        rows, best_row, best_column, column, each,
                    )  # fmt: skip
                if indexed:
                    for i in range(to, to + some):
                        place = np.int64(best_row[i]) * header[SIZE_W] + best_column[i]
                        found[i] = place if count_d * count_h * count > 0 else -1
                if lanes > 1:
                    put(out, o + j * header[OUT_W], header[OUT_LANE], best, lanes)
                    if indexed:
                        put_index(indices, o + j * header[OUT_W], header[OUT_LANE], found, lanes)
                j += 1 if lanes > 1 else some
            if lanes == 1:
                put(out, o, header[OUT_W], best, targets)
                if indexed:
                    put_index(indices, o, header[OUT_W], found, targets)

    return body


class Separable(PoolAlgorithm):
    """First along the rows, then along the columns."""

    name = "separable"
    accepts = ("stem", "large_kernel", "dilated_ceil", "pool_1d_padded", "pool_3d_unlike", "large")

    def rejects(self, problem: PoolProblem) -> str | None:
        wide, rows = extent(problem), problem.spatial[:-1]
        if wide > win.ROOM:
            return f"a window of {wide} positions along the last axis is wider than the buffer of {win.ROOM}"
        if problem.indices and (math.prod(rows) >= 2**31 or problem.spatial[-1] >= 2**31):
            return "places are followed in 32 bits, rows and columns apart"
        return None

    def cost(self, problem: PoolProblem) -> float:
        return 2 * estimate(problem)[0]

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        kernel, least = _kernel(problem.dtype, problem.indices)
        indices = outputs[1].reshape(-1) if problem.indices else NO_INDICES
        self.launch(problem, kernel, inputs[0], outputs[0], indices, least)


@functools.cache
def _kernel(dtype: np.dtype, indices: bool) -> tuple[jit.Kernel, np.ndarray]:
    return separable(half_kind(dtype), compared_in(dtype), indices), lowest(dtype)
