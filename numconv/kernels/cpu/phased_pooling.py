"""Sums and maxima of windows of any size and stride, of channels first: many rows at once, by phases of the stride.

    result[h, w] = fold over r < kh, c < kw of  source[sh h + dh r - ph, sw w + dw c - pw]    fold: a sum, a maximum

Three passes over as many rows of the result as a buffer holds. The first folds, for each, the rows of its windows, and
puts what lies outside the image at both ends. The second brings columns together that the stride sets apart, its
phases: in these each column of all windows is one run of neighbours, which goes on from row to row. So the third folds
the columns of all rows at once, however short rows are; results at the rows' ends, which look at two rows, are dropped.
The last column is folded on the way into the result, where a sum is divided.

Loop order: lines of the result, or segments of them (the parallel items), in blocks; rows of a window, columns; all
columns of a window, positions. Everything is added one by one: of more in a loop the compiler may change the order, and
not for the last of a run. NaN wins over all numbers, the last of them, as in PyTorch.
"""
# ruff: noqa: PLR0124  (b != b is true of NaN alone)

from __future__ import annotations

import functools
import math

import numpy as np

from numconv.kernels.cpu import average_pooling, jit, max_pooling, simd
from numconv.kernels.cpu.average_pooling import sums_in
from numconv.kernels.cpu.max_pooling import compared_in, lowest
from numconv.kernels.cpu.memory import flat, half_kind
from numconv.kernels.cpu.pooling import Arrays, PoolAlgorithm
from numconv.kernels.cpu.window_axes import row_order, windows_along
from numconv.kernels.cpu.windows import has_lanes
from numconv.problem import LAST, PoolProblem

# Of the geometry, an array with a row for each of three axes.
SIZE, OUT, KERNEL, STRIDE, DILATION, BEFORE, AFTER = range(7)
ROOM = 2048  # numbers in a buffer: 8 KB of float32
SLACK = 64  # numbers after the last row in a buffer, which whole vectors may write


@jit.function
def both(sums):
    """A function that gives the sum of two numbers, or the larger."""
    choose = simd.choose

    def add(a, b):
        return a + b

    def larger(a, b):
        return choose((b > a) | (b != b), b, a)

    return add if sums else larger


@jit.function
def take(half, kind, sums):
    """A function that folds a run of numbers into others, or begins these with the fold of two runs, or with one."""
    load, write, read, wide, fold = simd.load(half), simd.store(0), simd.load(0), getattr(np, kind), both(sums)

    def run(x, begins, a, b, folded, to, count):
        if not begins:
            for i in range(count):
                write(folded, to + i, fold(read(folded, to + i), wide(load(x, b + i))))
        elif a == b:
            for i in range(count):
                write(folded, to + i, wide(load(x, b + i)))
        else:
            for i in range(count):
                write(folded, to + i, fold(wide(load(x, a + i)), wide(load(x, b + i))))

    return run


@jit.function
def part():
    """A function that brings together what is `step` apart: phases[q each + i] = line[q + i step] for i < each."""
    write, read = simd.store(0), simd.load(0)

    def apart(line, step, each, phases):
        if step == 2:
            for i in range(each):
                even, odd = read(line, 2 * i), read(line, 2 * i + 1)
                write(phases, i, even)
                write(phases, each + i, odd)
        else:
            for q in range(step):
                for i in range(each):
                    write(phases, q * each + i, read(line, q + i * step))

    return apart


@jit.function
def finish(half, sums):
    """A function that folds the last column into a row of results, and divides a sum."""
    put, read, fold = simd.store(half), simd.load(0), both(sums)

    def maxima(early, e, last, at, single, out, to, count, by, factors, f):
        if single:
            for i in range(count):
                put(out, to + i, read(last, at + i))
        else:
            for i in range(count):
                put(out, to + i, fold(read(early, e + i), read(last, at + i)))

    def means(early, e, last, at, single, out, to, count, by, factors, f):
        if single:
            for i in range(count):
                put(out, to + i, read(last, at + i) / (by * read(factors, f + i)))
        else:
            for i in range(count):
                put(out, to + i, fold(read(early, e + i), read(last, at + i)) / (by * read(factors, f + i)))

    return means if sums else maxima


@jit.function
def pool(half, kind, sums):
    """The function that fills the lines `start` to `stop` of `out`, in segments of at most `wide` results.

    All arrays are flat, but for the geometry. The factors, of the type that is folded in, are what sums are divided by
    along each axis, one axis after the other. The buffers hold ROOM numbers, or what a segment looks at, and SLACK.
    """
    along, columns, parted, end = take(half, kind, sums), take(0, kind, sums), part(), finish(half, sums)
    fill, lanes = simd.fill(), simd.lanes(kind)

    def lines(start, stop, x, out, geometry, wide, factors, least, values, phases, folded):
        size, step, before = geometry[2, SIZE], geometry[2, STRIDE], geometry[2, BEFORE]
        taps, dilation, count = geometry[2, KERNEL], geometry[2, DILATION], geometry[2, OUT]
        high, deep = geometry[1, OUT], geometry[0, OUT]
        segments, reach = -(-count // wide), (wide - 1) * step + (taps - 1) * dilation + 1
        apart = -(-reach // step)
        pitch = apart * step
        block = max(ROOM // pitch, 1)
        source = values if step == 1 else phases
        early = source if taps <= 2 else folded
        for first in range(start, stop, block):
            some = min(block, stop - first)
            for item in range(first, first + some):
                line, segment = divmod(item, segments)
                rest, h = divmod(line, high)
                plane, d = divmod(rest, deep)
                to, offset = (item - first) * pitch, segment * wide * step - before
                left = min(max(-offset, 0), reach)
                right = min(max(size - offset, left), reach)
                whole = -(-(right - left) // lanes) * lanes
                fill(values, to, to + left, least[0])
                begins, row = 2, 0
                for kd in range(geometry[0, KERNEL]):
                    at_d = d * geometry[0, STRIDE] + kd * geometry[0, DILATION] - geometry[0, BEFORE]
                    for kh in range(geometry[1, KERNEL]):
                        at_h = h * geometry[1, STRIDE] + kh * geometry[1, DILATION] - geometry[1, BEFORE]
                        if 0 <= at_d < geometry[0, SIZE] and 0 <= at_h < geometry[1, SIZE]:
                            former = row
                            row = ((plane * geometry[0, SIZE] + at_d) * geometry[1, SIZE] + at_h) * size
                            row += offset + left
                            if begins < 2:
                                length = whole if row + whole <= x.size else right - left
                                along(x, begins == 1, former, row, values, to + left, length)
                            begins = max(begins - 1, 0)
                if begins == 1:
                    along(x, True, row, row, values, to + left, right - left)
                elif begins == 2:
                    right = left
                fill(values, to + right, to + reach, least[0])
            each, run = some * apart, (some - 1) * apart + wide
            if step > 1:
                parted(values, step, each, phases)
            for k in range(1, taps - 1):
                shift, phase = divmod(k * dilation, step)
                columns(source, k == 1, 0, phase * each + shift, folded, 0, run)
            shift, phase = divmod((taps - 1) * dilation, step)
            last = phase * each + shift
            for item in range(first, first + some):
                line, segment = divmod(item, segments)
                rest, h = divmod(line, high)
                at, begin = (item - first) * apart, segment * wide
                by = factors[rest % deep] * factors[deep + h] if sums else least[0]
                to = line * count + begin
                end(
                    early, at, source, last + at, taps == 1, out, to, min(wide, count - begin),
                    by, factors, deep + high + begin,
                )  # fmt: skip

    return lines


@jit.kernel
def phased(half, kind, sums):
    """The kernel."""
    room, lines = simd.stack(ROOM + SLACK, kind), pool(half, kind, sums)

    def body(start, stop, worker, x, out, geometry, cut, factors, least):
        lines(start, stop, x, out, geometry, cut[0], factors, least, room(), room(), room())

    return body


def widest(count: int, taps: int, step: int, dilation: int) -> int:
    """How many results of a row a segment has, so that what they look at fits into a buffer; at least one."""
    return max(min(count, (ROOM - (taps - 1) * dilation) // step), 1)


class Phased(PoolAlgorithm):
    """Sums or maxima of windows, of many rows at once."""

    name = "phased"
    replays = True
    accepts = ("stem", "unit_stride", "dilated_ceil", "asymmetric", "pool_1d_padded", "pool_3d_unlike", "large")

    def rejects(self, problem: PoolProblem) -> str | None:
        if problem.indices:
            return "it follows no places"
        if problem.layout == LAST and problem.channels > 1:
            return "channels lie between the positions of a row"
        row = row_order(problem)[-1]
        step, reach = problem.stride[row], (problem.kernel[row] - 1) * problem.dilation[row] + 1
        if -(-reach // step) * step > ROOM:
            return f"a window or the stride is longer than {ROOM} positions of a row"
        return None

    def cost(self, problem: PoolProblem) -> float:
        row = row_order(problem)[-1]
        wide, pitch = problem.out_spatial[row], problem.spatial[row]
        above = math.prod(problem.kernel) // problem.kernel[row]
        line = 30 + above * (5 + 0.03 * pitch) + 0.1 * pitch + (0.1 + 0.04 * problem.kernel[row]) * wide
        return line * 1e-9 * problem.n * problem.channels * math.prod(problem.out_spatial) / max(wide, 1)

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        if has_lanes(problem, inputs[0]):  # channels last in memory: a copy would take longer than the pooling
            separable = max_pooling if problem.operation.startswith("max") else average_pooling
            separable.Separable().run(problem, inputs, outputs)
            return
        (x, _), (out, _) = flat(np.ascontiguousarray(inputs[0])), flat(outputs[0])
        kernel, items, *tables = _prepared(problem)
        kernel(jit.workers(self.cost(problem)), items, x, out, *tables)


@functools.lru_cache(maxsize=1024)
def _prepared(problem: PoolProblem) -> tuple[jit.Kernel, int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(kernel, items, geometry, results in a segment, factors, what a window without a position gives)."""
    sums, axes = "max" not in problem.operation, row_order(problem)
    kind = sums_in(problem) if sums else compared_in(problem.dtype)
    geometry = np.zeros((3, 7), np.int64)
    geometry[:, [SIZE, OUT, KERNEL, STRIDE, DILATION]] = 1
    columns = (problem.spatial, problem.out_spatial, problem.kernel, problem.stride, problem.dilation)
    for row, axis in enumerate(axes, 3 - len(axes)):
        geometry[row] = *(column[axis] for column in columns), *problem.padding[axis]
    wide = widest(*geometry[2, [OUT, KERNEL, STRIDE, DILATION]].tolist())
    ones = [np.ones(1)] * (3 - len(axes))
    factors = [windows_along(problem, axis, 0, problem.out_spatial[axis]).by for axis in axes]
    least = np.zeros(1, kind) if sums else lowest(problem.dtype)
    lines = problem.n * problem.channels * math.prod(geometry[:2, OUT].tolist())
    items = lines * -(-int(geometry[2, OUT]) // wide)
    cut, by = np.array([wide], np.int64), np.concatenate([*ones, *factors]).astype(kind)
    return phased(half_kind(problem.dtype), kind, sums), items, geometry, cut, by, least
