"""Separable sums over windows: average, weighted average and Lp pooling, and the gradients of averages.

    result[d, h, w] = root( sum over the window of  weight_d weight_h weight_w power(source) / (div_d div_h div_w) )

Loop order: a row of the result, or a segment of it (the parallel item); the rows of the source that it looks at, three
at a time, are added up into a buffer of columns; then the columns of each window are added up. Both loops vectorise,
the first along columns and lanes, the second along lanes, or along the windows where each is the one before, moved.
A window of k x k so costs 2 k additions and not k^2. Everything is summed in float64 and rounded once.

The gradient gathers (see `windows`): each output's gradient over its divisors is the source.
"""

from __future__ import annotations

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu import windows as win
from numconv.kernels.cpu.memory import flat, half_kind
from numconv.problem import PoolProblem

PLAIN, SQUARE, POWER = range(3)


def form_of(problem: PoolProblem) -> int:
    """What is summed: elements, squares or powers."""
    return {None: PLAIN, 1.0: PLAIN, 2.0: SQUARE}.get(problem.norm_type, POWER)


def sums_in(problem: PoolProblem, depth: int) -> str:
    """float32 for an average with few roundings on the way to each result: 14 of 2^-24 keep the error under 1e-6."""
    short = problem.dtype.itemsize <= 4 and problem.dtype.kind in "fV"
    return "float32" if short and form_of(problem) == PLAIN and depth <= 14 else "float64"


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
    """A function that adds the weighted terms of one, two or three runs of a source, or begins sums with them.

    Indices are unsigned: a signed one could be negative, which means "from the end", and that test stops the
    vectoriser.
    """
    value, wide = term(half, form, sums_in), getattr(np, sums_in)

    def add(x, runs, every, a, b, c, weight_a, weight_b, weight_c, begin, sums, at, length, p):
        u, v, w = wide(weight_a), wide(weight_b), wide(weight_c)
        a, b, c, every = np.uint64(a), np.uint64(b), np.uint64(c), np.uint64(every)
        at, length = np.uint64(at), np.uint64(length)
        if every != 1:
            for i in range(length):
                total = wide(0) if begin else sums[at + i]
                total += u * value(x, a + i * every, p)
                if runs > 1:
                    total += v * value(x, b + i * every, p)
                if runs > 2:
                    total += w * value(x, c + i * every, p)
                sums[at + i] = total
        elif begin and runs == 1:
            for i in range(length):
                sums[at + i] = u * value(x, a + i, p)
        elif begin and runs == 2:
            for i in range(length):
                sums[at + i] = u * value(x, a + i, p) + v * value(x, b + i, p)
        elif begin:
            for i in range(length):
                sums[at + i] = u * value(x, a + i, p) + v * value(x, b + i, p) + w * value(x, c + i, p)
        elif runs == 1:
            for i in range(length):
                sums[at + i] += u * value(x, a + i, p)
        elif runs == 2:
            for i in range(length):
                sums[at + i] += u * value(x, a + i, p) + v * value(x, b + i, p)
        else:
            for i in range(length):
                sums[at + i] += u * value(x, a + i, p) + v * value(x, b + i, p) + w * value(x, c + i, p)

    return add


@jit.function
def add_columns():
    """A function that adds one column of each of `count` regular windows, `every` apart, or also the one `second` on."""

    def add(columns, at, second, every, weight, other, sums, start, count):
        at, second, every = np.uint64(at), np.uint64(second), np.uint64(every)
        start, count = np.uint64(start), np.uint64(count)
        if every == 1 and second:
            for j in range(count):
                sums[start + j] += weight * columns[at + j] + other * columns[at + second + j]
        elif every == 2 and second == 1:
            for j in range(count):
                sums[start + j] += weight * columns[at + every * j] + other * columns[at + second + every * j]
        elif every == 1:
            for j in range(count):
                sums[start + j] += weight * columns[at + j]
        else:
            for j in range(count):
                sums[start + j] += weight * columns[at + every * j]
            if second:
                for j in range(count):
                    sums[start + j] += other * columns[at + second + every * j]

    return add


@jit.function
def interleave():
    """A function that puts one run of `count` sums after the other, `source`, at `period` apart in `sums`."""

    def spread(source, count, period, sums, start, stop):
        start, stop, count, period = np.uint64(start), np.uint64(stop), np.uint64(count), np.uint64(period)
        if period == 2 and start + period * count == stop:
            for j in range(count):
                sums[start + period * j] = source[j]
                sums[start + period * j + np.uint64(1)] = source[count + j]
        else:
            for q in range(min(period, stop - start)):
                for j in range((stop - start - q + period - np.uint64(1)) // period):
                    sums[start + q + period * j] = source[q * count + j]

    return spread


@jit.function
def row_weight():
    """A function (header, axis, weights, tap, source) -> the weight of a source's row along an axis."""
    divide = win.divisor()

    def weigh(header, axis, weights, tap, source):
        weight = weights[header[axis + win.TAPS] + tap]
        return weight / divide(header, axis, weights, source) if header[win.GATHERS] else weight

    return weigh


@jit.kernel
def separable(half, form, sums_in):
    """The kernel."""
    put, finish, wide = win.put(half), root(form), getattr(np, sums_in)
    locate, following, find, survey = win.locate(), win.following(), win.window(), win.survey()
    divide, weigh = win.divisor(), row_weight()
    add, along, spread = add_up(half, form, sums_in), add_columns(), interleave()
    source_room, target_room = simd.stack(win.ROOM, sums_in), simd.stack(win.WIDEST, sums_in)
    phase_room = simd.stack(2 * win.WIDEST, sums_in)
    scale_room, index_room = simd.stack(win.ROOM, sums_in), simd.stack(3 * win.WIDEST, "int64")

    def body(start, stop, worker, x, out, header, weights):
        columns, sums, phase_sums, scale, index = source_room(), target_room(), phase_room(), scale_room(), index_room()
        first, count, tap = index[: win.WIDEST], index[win.WIDEST : 2 * win.WIDEST], index[2 * win.WIDEST :]
        backward, period, shift = header[win.GATHERS] != 0, header[win.PERIOD], header[win.SHIFT]
        p, inverse = weights[0], wide(weights[1])
        step, tap_step, tap_0 = header[win.W + win.STEP], header[win.W + win.TAP_STEP], header[win.W + win.TAPS]
        segment, n, plane, d, h, block = locate(header, start)
        surveyed, begin, targets, low, high, regular, irregular = -1, 0, 0, 0, 0, 0, 0
        for _ in range(start, stop):
            if segment != surveyed:
                surveyed, begin = segment, segment * header[win.SEGMENT]
                targets = min(header[win.SEGMENT], header[win.W + win.TARGETS] - begin)
                low, high, regular, irregular = survey(header, begin, targets, first, count, tap)
                for i in range(low if backward else begin, high if backward else begin + targets):
                    scale[i - (low if backward else begin)] = wide(divide(header, win.W, weights, i))
            lane = block * header[win.BLOCK]
            lanes = min(header[win.BLOCK], header[win.LANES] - lane)

            # Rows into columns.
            every = header[win.X_W] if lanes == 1 else 1
            runs, length = (1, (high - low) * lanes) if header[win.X_W] == lanes * every else (high - low, lanes)
            base = header[win.X_0] + n * header[win.X_N] + plane * header[win.X_C] + lane * header[win.X_LANE]
            base += low * header[win.X_W]
            first_d, count_d, tap_d = find(header, win.D, d)
            first_h, count_h, tap_h = find(header, win.H, h)
            begins, held, a, b, c, u, v, w = True, 0, 0, 0, 0, 0.0, 0.0, 0.0
            for jd in range(count_d):
                source_d = first_d + jd * header[win.D + win.STEP]
                weight_d = weigh(header, win.D, weights, tap_d + jd * header[win.D + win.TAP_STEP], source_d)
                for jh in range(count_h):
                    source_h = first_h + jh * header[win.H + win.STEP]
                    weight_h = weigh(header, win.H, weights, tap_h + jh * header[win.H + win.TAP_STEP], source_h)
                    c, b, w, v = b, a, v, u
                    a, u = base + source_d * header[win.X_D] + source_h * header[win.X_H], weight_d * weight_h
                    held += 1
                    if held == 3 or (jd == count_d - 1 and jh == count_h - 1):
                        for run in range(runs):
                            to = run * header[win.X_W]
                            add(
                                x, held, every, a + to, b + to, c + to, u, v, w, begins, columns, run * lanes, length, p
                            )
                        begins, held = False, 0
            if begins:
                for i in range((high - low) * lanes):
                    columns[i] = 0.0
            if backward:
                for i in range(high - low):
                    for j in range(lanes):
                        columns[i * lanes + j] /= scale[i]

            # Columns into windows.
            by = wide(1 if backward else divide(header, win.D, weights, d) * divide(header, win.H, weights, h))
            o = header[win.OUT_0] + n * header[win.OUT_N] + plane * header[win.OUT_C] + lane * header[win.OUT_LANE]
            o += d * header[win.OUT_D] + h * header[win.OUT_H] + begin * header[win.OUT_W]
            segment, n, plane, d, h, block = following(header, segment, n, plane, d, h, block)
            if lanes > 1:
                for j in range(targets):
                    for i in range(lanes):
                        sums[i] = 0.0
                    for t in range(0, count[j], 2):
                        at, more = (first[j] + t * step - low) * lanes, t + 1 < count[j]
                        weight = wide(weights[tap_0 + tap[j] + t * tap_step])
                        other = wide(weights[tap_0 + tap[j] + (t + 1) * tap_step]) if more else weight
                        along(columns, at, step * lanes if more else 0, 1, weight, other, sums, 0, lanes)
                    if not backward:
                        for i in range(lanes):
                            sums[i] = finish(sums[i] / (by * scale[j]), inverse)
                    put(out, o + j * header[win.OUT_W], header[win.OUT_LANE], sums, lanes)
                continue
            for j in range(targets):
                sums[j] = 0.0
            for j in range(targets):
                if j < regular or j >= irregular:
                    for t in range(count[j]):
                        sums[j] += wide(weights[tap_0 + tap[j] + t * tap_step]) * columns[first[j] + t * step - low]
            alike, phased = (irregular - regular + period - 1) // period, min(period, irregular - regular)
            phases = sums if period == 1 else phase_sums
            if period > 1:
                for j in range(alike * phased):
                    phases[j] = 0.0
            for q in range(phased):
                j = regular + q
                for t in range(0, count[j], 2):
                    at, more = first[j] + t * step - low, t + 1 < count[j]
                    weight = wide(weights[tap_0 + tap[j] + t * tap_step])
                    other = wide(weights[tap_0 + tap[j] + (t + 1) * tap_step]) if more else weight
                    here = (irregular - j + period - 1) // period
                    along(
                        columns, at, step if more else 0, shift, weight, other, phases,
                        j if period == 1 else q * alike, here,
                    )  # fmt: skip
            if period > 1:
                spread(phases, alike, period, sums, regular, irregular)
            if not backward:
                for j in range(targets):
                    sums[j] = finish(sums[j] / (by * scale[j]), inverse)
            put(out, o, header[win.OUT_W], sums, targets)

    return body


class Separable(Algorithm):
    """First along the rows, then along the columns."""

    name = "separable"

    def rejects(self, problem: PoolProblem) -> str | None:
        if problem.weights == "array":
            return "weights given as an array need not be separable"
        extent = win.windows(problem, False).extent
        if extent > win.ROOM:
            return f"a window of {extent} positions along the last axis is wider than the buffer of {win.ROOM}"
        return None

    def cost(self, problem: PoolProblem) -> float:
        return 1e-6

    def error_bound(self, problem: PoolProblem) -> float:
        return 1e-12 if problem.dtype.itemsize >= 8 else 1e-6

    def run(self, problem, inputs, outputs):  # type: ignore[no-untyped-def]
        x, out = inputs[0], outputs[0]
        geometry = win.windows(problem, win.has_lanes(problem, x))
        (source, x0), (target, out0) = flat(x), flat(out)
        header = geometry.header(x, x0, out, out0)
        kernel = separable(half_kind(x.dtype), form_of(problem), sums_in(problem, geometry.depth))
        kernel(jit.workers(self.cost(problem)), geometry.items, source, target, header, geometry.weights)
