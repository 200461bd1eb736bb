"""Separable sums over windows: average, weighted average and Lp pooling, and the gradients of averages.

    result[d, h, w] = root( sum over the window of  weight_d weight_h weight_w power(source) / (div_d div_h div_w) )

Loop order: a row of the result, or a segment of it (the parallel item); the rows of the source that it looks at, three
at a time, are added up into a buffer of columns; then the columns of each window are added up. Both loops vectorise,
the first along columns and lanes, the second along lanes, or along the windows where each is the one before, moved.
A window of k x k so costs 2 k additions and not k^2. Everything is summed in float64 and rounded once.

The gradient gathers (see `windows`): each output's gradient over its divisors is the source.
"""

from __future__ import annotations

import functools

import numpy as np

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu import windows as win
from numconv.kernels.cpu.memory import half_kind
from numconv.kernels.cpu.pooling import Arrays, PoolAlgorithm, estimate
from numconv.kernels.cpu.window_axes import extent, most
from numconv.problem import PoolProblem

# isort: off
from numconv.kernels.cpu.windows import (
    BLOCK, BY_D, BY_H, BY_W, LANES, NEXT_D, NEXT_H, NEXT_W, OUT_0, OUT_C, OUT_D, OUT_H, OUT_LANE, OUT_N, OUT_W,
    PERIOD, PLACES_H, PLACES_W, ROWS_H, SHIFT, STEP_D, STEP_H, STEP_W, X_0, X_C, X_D, X_H, X_LANE, X_N, X_W,
)  # fmt: skip
# isort: on

PLAIN, SQUARE, POWER = range(3)


def form_of(problem: PoolProblem) -> int:
    """What is summed: elements, squares or powers."""
    return PLAIN if problem.backward else {None: PLAIN, 1.0: PLAIN, 2.0: SQUARE}.get(problem.norm_type, POWER)


def sums_in(problem: PoolProblem) -> str:
    """float32 for an average with few roundings on the way to each result: 14 of 2^-24 keep the error under 1e-6."""
    depth = sum(most(problem, axis) - 1 for axis in range(problem.ndim))
    short = problem.dtype.itemsize <= 4 and problem.dtype.kind in "fV"
    few = depth <= 14 or problem.dtype.itemsize == 2
    return "float32" if short and few and form_of(problem) == PLAIN else "float64"


@jit.function
def term(half, form, sums_in):
    """A function (x, i, exponent) -> the number to sum."""
    load, wide = simd.load(half), getattr(np, sums_in)

    def plain(x, i, exponent):
        return wide(load(x, i))

    def square(x, i, exponent):
        value = wide(load(x, i))
        return value * value

    def power(x, i, exponent):
        return wide(load(x, i)) ** exponent

    return (plain, square, power)[form]


@jit.function
def root(form):
    """A function (sum, 1 / p) -> result."""

    def plain(total, inverse):
        return total

    def square(total, inverse):
        return np.sqrt(total)

    def power(total, inverse):
        return total**inverse

    return (plain, square, power)[form]


@jit.function
def add_up(half, form, sums_in):
    """A function that adds the weighted terms of one or two runs of a source to sums, or begins the sums with them.

    Indices are unsigned: a signed one could be negative, which means "from the end", and that test stops the
    vectoriser.
    """
    value, wide = term(half, form, sums_in), getattr(np, sums_in)

    def add(x, runs, every, a, b, weight_a, weight_b, begins, sums, at, length, p):
        u, v = wide(weight_a), wide(weight_b)
        a, b, every, at, length = np.uint64(a), np.uint64(b), np.uint64(every), np.uint64(at), np.uint64(length)
        if every != 1:
            for i in range(length):
                total = wide(0) if begins else sums[at + i]
                total += u * value(x, a + i * every, p)
                sums[at + i] = total + v * value(x, b + i * every, p) if runs == 2 else total
        elif begins and runs == 1:
            for i in range(length):
                sums[at + i] = u * value(x, a + i, p)
        elif begins:
            for i in range(length):
                sums[at + i] = u * value(x, a + i, p) + v * value(x, b + i, p)
        elif runs == 1:
            for i in range(length):
                sums[at + i] += u * value(x, a + i, p)
        else:
            for i in range(length):
                sums[at + i] += u * value(x, a + i, p) + v * value(x, b + i, p)

    return add


@jit.function
def add_columns():
    """A function that adds a column of `count` windows, `every` apart, or, if `pair`, this and the one `step` on."""

    def add(columns, at, pair, step, every, weight, other, sums, start, count):
        at, step, every = np.uint64(at), np.uint64(step), np.uint64(every)
        start, count = np.uint64(start), np.uint64(count)
        if every == 1 and pair:
            for j in range(count):
                sums[start + j] += weight * columns[at + j] + other * columns[at + step + j]
        elif every == 2 and pair and step == 1:
            for j in range(count):
                sums[start + j] += weight * columns[at + every * j] + other * columns[at + step + every * j]
        elif every == 1:
            for j in range(count):
                sums[start + j] += weight * columns[at + j]
        else:
            for j in range(count):
                sums[start + j] += weight * columns[at + every * j]
                if pair:
                    sums[start + j] += other * columns[at + step + every * j]

    return add


@jit.function
def interleave():
    """A function that puts runs of sums that lie one after the other `period` apart from `start` to `stop`."""

    def spread(source, period, sums, start, stop):
        start, period, length = np.uint64(start), np.uint64(period), np.uint64(stop - start)
        one = np.uint64(1)
        count = (length + period - one) // period
        if period == 2:
            for j in range(length // period):
                sums[start + period * j] = source[j]
                sums[start + period * j + one] = source[count + j]
            if length % period == one:
                sums[start + length - one] = source[count - one]
        else:
            for q in range(min(period, length)):
                for j in range((length - q + period - one) // period):
                    sums[start + q + period * j] = source[q * count + j]

    return spread


@jit.kernel
def separable(half, form, sums_in):
    """The kernel."""
    locate, put, finish, wide = win.locate(), win.put(half), root(form), getattr(np, sums_in)
    add, along, spread = add_up(half, form, sums_in), add_columns(), interleave()
    source_room, phase_room = simd.stack(win.ROOM, sums_in), simd.stack(2 * win.WIDEST, sums_in)
    target_room = simd.stack(win.WIDEST, sums_in)

    def body(start, stop, worker, x, out, header, places, segments, factors):
        columns, sums, phase_sums = source_room(), target_room(), phase_room()
        p, inverse = factors[0], wide(factors[1])
        period, shift, step, next_weight = header[PERIOD], header[SHIFT], header[STEP_W], header[NEXT_W]
        begin, targets, low, high, regular, irregular = 0, 0, 0, 0, 0, 0
        lanes, base, base_out, by_d, place_w = 0, 0, 0, 0.0, 0
        first_d, count_d, weight_d = 0, 0, 0
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
                by_d = factors[header[BY_D] + d]
                first_d, count_d, weight_d = places[d, 0], places[d, 1], places[d, 2]

            # Rows into columns.
            every = header[X_W] if lanes == 1 else 1
            runs, length = (1, (high - low) * lanes) if header[X_W] == lanes * every else (high - low, lanes)
            place = header[PLACES_H] + h
            first_h, count_h, weight_h = places[place, 0], places[place, 1], places[place, 2]
            a, u = 0, 0.0
            for j in range(count_d * count_h):
                jd, jh = divmod(j, count_h)
                b, v = a, u
                a = base + (first_d + jd * header[STEP_D]) * header[X_D] + (first_h + jh * header[STEP_H]) * header[X_H]
                u = factors[weight_d + jd * header[NEXT_D]] * factors[weight_h + jh * header[NEXT_H]]
                if j % 2 == 1 or j == count_d * count_h - 1:
                    for run in range(runs):
                        to = run * header[X_W]
                        add(x, j % 2 + 1, every, a + to, b + to, u, v, j < 2, columns, run * lanes, length, p)
            if count_d * count_h == 0:
                for i in range((high - low) * lanes):
                    columns[i] = 0.0

            # Columns into windows.
            by = by_d * factors[header[BY_H] + h]
            o = base_out + h * header[OUT_H]
            if lanes == 1:
                for j in range(targets):
                    sums[j] = 0.0
                for j in range(targets):
                    if j < regular or j >= irregular:
                        first, weight = places[place_w + j, 0] - low, places[place_w + j, 2]
                        for t in range(places[place_w + j, 1]):
                            sums[j] += wide(factors[weight + t * next_weight]) * columns[first + t * step]
                alike = (irregular - regular + period - 1) // period
                for j in range(alike * min(period, irregular - regular) if period > 1 else 0):
                    phase_sums[j] = 0.0
                for q in range(min(period, irregular - regular)):
                    j = place_w + regular + q
                    first, count, weight = places[j, 0] - low, places[j, 1], places[j, 2]
                    some = (irregular - regular - q + period - 1) // period
                    for t in range(0, count, 2):
                        pair = t + 1 < count
                        u = wide(factors[weight + t * next_weight])
                        v = wide(factors[weight + (t + 1) * next_weight]) if pair else u
                        if period == 1:
                            along(columns, first + t * step, pair, step, shift, u, v, sums, regular, some)
                        else:
                            along(columns, first + t * step, pair, step, shift, u, v, phase_sums, q * alike, some)
                if period > 1:
                    spread(phase_sums, period, sums, regular, irregular)
                for j in range(targets):
                    sums[j] = finish(sums[j] / wide(by * factors[header[BY_W] + begin + j]), inverse)
                put(out, o, header[OUT_W], sums, np.int64(0), targets)
                continue
            for j in range(targets):
                first, count, weight = places[place_w + j, 0] - low, places[place_w + j, 1], places[place_w + j, 2]
                for i in range(lanes):
                    sums[i] = 0.0
                for t in range(0, count, 2):
                    pair = t + 1 < count
                    u = wide(factors[weight + t * next_weight])
                    v = wide(factors[weight + (t + 1) * next_weight]) if pair else u
                    at = (first + t * step) * lanes
                    along(columns, at, pair, step * lanes, np.int64(1), u, v, sums, np.int64(0), lanes)
                whole = wide(by * factors[header[BY_W] + begin + j])
                for i in range(lanes):
                    sums[i] = finish(sums[i] / whole, inverse)
                put(out, o + j * header[OUT_W], header[OUT_LANE], sums, np.int64(0), lanes)

    return body


class Separable(PoolAlgorithm):
    """First along the rows, then along the columns."""

    name = "separable"
    replays = True
    accepts = ("stem", "large_kernel", "dilated_ceil", "pool_1d_padded", "pool_3d_unlike", "large")

    def rejects(self, problem: PoolProblem) -> str | None:
        if problem.weights == "array":
            return "weights given as an array need not be separable"
        wide = extent(problem)
        if wide > win.ROOM:
            return f"a window of {wide} positions along the last axis is wider than the buffer of {win.ROOM}"
        return None

    def cost(self, problem: PoolProblem) -> float:
        return estimate(problem)[0]

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        self.launch(problem, _kernel(problem), inputs[0], outputs[0])


@functools.lru_cache(maxsize=1024)
def _kernel(problem: PoolProblem) -> jit.Kernel:
    return separable(half_kind(problem.dtype), form_of(problem), sums_in(problem))
