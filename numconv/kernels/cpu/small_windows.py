"""Windows of a few positions: sums and maxima of all of them at once, with the window's size compiled in.

    result[o] = fold(source[o s + t d - p] for t < k)        fold: a sum over a divisor, a maximum, or its place too

Loop order: a row of the result, or a segment of it (the parallel item); the rows of a window; the lanes of a window,
or the regular windows of a row; the positions of a window's row, unrolled, with the fold in a register. A row costs
little however short it is. Windows that hang over the edge are folded one position at a time.

Of equal elements the first in the order of the plane wins, of NaNs the last, as in PyTorch.
"""
# ruff: noqa: PLR0124  (v != v is true of NaN alone)

from __future__ import annotations

import math

import numpy as np

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu import windows as win
from numconv.kernels.cpu.window_axes import row_order
from numconv.problem import PoolProblem

# isort: off
from numconv.kernels.cpu.windows import (
    BLOCK, BY_D, BY_H, BY_W, COUNT, FIRST, LANES, OUT_0, OUT_C, OUT_D, OUT_H, OUT_LANE, OUT_N, OUT_W, PLACES_H,
    PLACES_W, ROWS_H, SHIFT, SIZE_H, SIZE_W, STEP_D, STEP_H, STEP_W, X_0, X_C, X_D, X_H, X_LANE, X_N, X_W,
)  # fmt: skip
# isort: on

MOST = 4  # positions of a window: 3x3 without lanes took 1.3 to 3.7 times as long as separably
SUM, MAXIMUM, PLACE = "sum", "maximum", "place"


def window_of(problem: PoolProblem, most: int = MOST) -> tuple[int, int, int] | None:
    """The size of a small window, in the order of rows, or None."""
    order = row_order(problem)
    small = not problem.adaptive and math.prod(problem.kernel) <= most and math.prod(problem.spatial) < 2**31
    if not small or problem.weights is not None or problem.norm_type is not None:
        return None
    d, h, w = (*(1,) * (3 - problem.ndim), *(problem.kernel[a] for a in order))
    return d, h, w


def cost(problem: PoolProblem) -> float:
    """Estimated seconds on one core, on the scale of `pooling.estimate`, which is 1.5 times too long for short rows."""
    results = problem.n * problem.channels * math.prod(problem.out_spatial)
    rows = results // max(problem.out_spatial[row_order(problem)[-1]], 1)
    return (25 * rows + 1.5 * results * math.prod(problem.kernel)) * 1e-9


@jit.function
def fold(half, kind, how):
    """A function (x, at, value, place, here) -> the value and place with one more element."""
    load, wide = simd.load(half), getattr(np, kind)

    def add(x, at, value, place, here):
        return value + wide(load(x, at)), place

    def take(x, at, value, place, here):
        u = load(x, at)
        return (u if (u > value) | (u != u) else value), place

    def take_place(x, at, value, place, here):
        u = load(x, at)
        wins = (u > value) | (u != u)
        return (u if wins else value), (here if wins else place)

    return {SUM: add, MAXIMUM: take, PLACE: take_place}[how]


@jit.function
def whole(half, kind, how, kd, kh, kw, every):
    """A function that folds whole windows, `every` apart in the source, or as `apart` says where that is 0."""
    load, wide, more, placed, sums = simd.load(half), getattr(np, kind), fold(half, kind, how), how == PLACE, how == SUM

    def windows(x, at, apart, count, values, places, to_d, to_h, to_w, place_d, place_h, place_w):
        at, apart, count = np.uint64(at), np.uint64(every if every else apart), np.uint64(count)
        to_d, to_h, to_w = np.uint64(to_d), np.uint64(to_h), np.uint64(to_w)
        for row in range(kd * kh):
            d, h = row // kh, row % kh
            start = at + np.uint64(d) * to_d + np.uint64(h) * to_h
            row_place = np.int32(np.int32(d) * place_d + np.int32(h) * place_h)
            if row == 0:
                for i in range(count):
                    value, place = wide(0) if sums else wide(load(x, start + i * apart)), np.int32(0)
                    for w in range(0 if sums else 1, kw):
                        here = np.int32(row_place + np.int32(w) * place_w)
                        value, place = more(x, start + i * apart + np.uint64(w) * to_w, value, place, here)
                    values[i] = value
                    if placed:
                        places[i] = place
            else:
                for i in range(count):
                    value, place = values[i], places[i] if placed else np.int32(0)
                    for w in range(kw):
                        here = np.int32(row_place + np.int32(w) * place_w)
                        value, place = more(x, start + i * apart + np.uint64(w) * to_w, value, place, here)
                    values[i] = value
                    if placed:
                        places[i] = place

    return windows


@jit.function
def part(half, kind, how):
    """A function that folds the next position of windows `apart` from each other, or begins with it."""
    load, wide, more, placed = simd.load(half), getattr(np, kind), fold(half, kind, how), how == PLACE

    def windows(x, at, apart, count, values, places, begins, here):
        at, apart, count = np.uint64(at), np.uint64(apart), np.uint64(count)
        for i in range(count):
            if begins:
                value, place = wide(load(x, at + i * apart)), here
            else:
                value, place = more(x, at + i * apart, values[i], places[i] if placed else here, here)
            values[i] = value
            if placed:
                places[i] = place

    return windows


@jit.kernel
def small(half, kind, how, kd, kh, kw):
    """The kernel."""
    locate, put, wide, placed, sums = win.locate(), win.put(half), getattr(np, kind), how == PLACE, how == SUM
    next_to, second, any_apart = (whole(half, kind, how, kd, kh, kw, every) for every in (1, 2, 0))
    more = part(half, kind, how)
    room, place_room = simd.stack(win.WIDEST, kind), simd.stack(win.WIDEST if placed else 1, "int32")

    def body(start, stop, worker, x, out, header, windows, segments, factors, indices, least):
        values, places, item = room(), place_room(), start
        to_d, to_h, to_w = header[STEP_D] * header[X_D], header[STEP_H] * header[X_H], header[STEP_W] * header[X_W]
        place_w, place_h = np.int32(header[STEP_W]), np.int32(header[STEP_H] * header[SIZE_W])
        place_d = np.int32(header[STEP_D] * header[SIZE_H] * header[SIZE_W])
        while item < stop:
            rest, first_row = divmod(item, header[ROWS_H])
            segment, block, n, plane, d = locate(header, rest)
            begin, targets = segments[segment, win.START], segments[segment, win.TARGETS]
            regular, irregular = segments[segment, win.REGULAR], segments[segment, win.IRREGULAR]
            lane = block * header[BLOCK]
            lanes = min(header[BLOCK], header[LANES] - lane)
            base = header[X_0] + n * header[X_N] + plane * header[X_C] + lane * header[X_LANE]
            base += windows[d, FIRST] * header[X_D]
            base_out = header[OUT_0] + n * header[OUT_N] + plane * header[OUT_C] + lane * header[OUT_LANE]
            base_out += d * header[OUT_D] + begin * header[OUT_W]
            window_w = header[PLACES_W] + begin
            last_row = min(header[ROWS_H], first_row + stop - item)
            item += last_row - first_row
            for h in range(first_row, last_row):
                window_h = header[PLACES_H] + h
                count_d, count_h = windows[d, COUNT], windows[window_h, COUNT]
                row, o = base + windows[window_h, FIRST] * header[X_H], base_out + h * header[OUT_H]
                row_place = (windows[d, FIRST] * header[SIZE_H] + windows[window_h, FIRST]) * header[SIZE_W]
                by = factors[header[BY_D] + d] * factors[header[BY_H] + h]
                j = 0
                while j < targets:
                    first_w, count_w = windows[window_w + j, FIRST], windows[window_w + j, COUNT]
                    alike = irregular - regular if lanes == 1 and j == regular else 1
                    some, apart, to = (lanes, 1, header[OUT_LANE]) if lanes > 1 else (
                        alike, header[SHIFT] * header[X_W], header[OUT_W])  # fmt: skip
                    at, count = row + first_w * header[X_W], count_d * count_h * count_w
                    if count == kd * kh * kw and apart == 1:
                        next_to(x, at, apart, some, values, places, to_d, to_h, to_w, place_d, place_h, place_w)
                    elif count == kd * kh * kw and apart == 2:
                        second(x, at, apart, some, values, places, to_d, to_h, to_w, place_d, place_h, place_w)
                    elif count == kd * kh * kw:
                        any_apart(x, at, apart, some, values, places, to_d, to_h, to_w, place_d, place_h, place_w)
                    elif count == 0:
                        for i in range(some):
                            values[i] = least[0]
                    else:
                        for jd in range(count_d):
                            for jh in range(count_h):
                                for jw in range(count_w):
                                    here = np.int32(jd * place_d + jh * place_h + jw * place_w)
                                    source = at + jd * to_d + jh * to_h + jw * to_w
                                    more(x, source, apart, some, values, places, jd + jh + jw == 0, here)
                    if sums:
                        for w in range(alike):
                            divisor = wide(by * factors[header[BY_W] + begin + j + w])
                            for i in range(w, w + lanes):
                                values[i] /= divisor
                    put(out, o + j * header[OUT_W], to, values, np.int64(0), some)
                    if placed:
                        moved, first_place = header[SHIFT] if lanes == 1 else 0, row_place + first_w
                        for i in range(some):
                            place = first_place + i * moved + places[i] if count > 0 else np.int64(-1)
                            indices[np.uint64(o + j * header[OUT_W] + i * to)] = place
                    j += alike

    return body
