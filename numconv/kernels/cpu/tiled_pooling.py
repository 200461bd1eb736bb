"""Poolings whose windows tile the image: each position belongs to one window, as in most networks (2x2, stride 2).

    result[h, w] = fold over r < kh, c < kw of  source[kh h + r, kw w + c]        fold: a sum over a divisor, a maximum

Rows of the result are independent and lie one after the other, over all planes, in both arrays. The first of two passes
takes the kh rows of each row of the result in whole vectors, and what these read past a row's end, the next overwrites.
The second takes the windows' columns along one run of what this leaves, however short the rows are. With places, of
32 x 6 planes of 28x28, that takes 26 us in place of the 49 of columns first. The gradient of the average goes the same
way back, and writes each number once. Loop order: as many rows of the result (the parallel items) as the buffer holds;
then the two passes over them.

Of equal elements the first in the order of the plane wins, of NaNs the last, as in PyTorch.
"""

# ruff: noqa: PLR0124  (u != u is true of NaN alone)

from __future__ import annotations

import math

import numpy as np

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu.max_pooling import NO_INDICES
from numconv.kernels.cpu.pooling import Arrays, PoolAlgorithm
from numconv.kernels.cpu.small_windows import MAXIMUM, PLACE, SUM
from numconv.problem import LAST, PoolProblem

ROOM = 2048  # numbers in the buffer: 8 KB of float32
MOST = 4  # positions of a window along an axis: they are unrolled
LINES, KERNEL_H, WIDE, HIGH, DIVISOR = range(5)  # of the geometry: rows at a time; width and height of the result


@jit.function
def larger():
    """A function (value, place, later value, later place) -> the larger of the two and its place."""
    choose = simd.choose

    def take(value, place, u, later):
        wins = (u > value) | (u != u)
        return choose(wins, u, value), choose(wins, later, place)

    return take


@jit.kernel
def tiled(kind, how, kw):
    """The kernel of sums and maxima."""
    sums, placed, number, choose, take = how == SUM, how == PLACE, getattr(np, kind), simd.choose, larger()
    lanes = simd.lanes(kind)
    room, place_room = simd.stack(ROOM + lanes, kind), simd.stack(ROOM + lanes if placed else 1, "int32")
    some = simd.stack(ROOM if sums and kw > 2 else 1, kind)

    def body(start, stop, worker, x, out, indices, geometry):
        values, places, folded, by, apart = room(), place_room(), some(), number(geometry[DIVISOR]), np.uint64(kw)
        kh, high, wide, zero = geometry[KERNEL_H], geometry[HIGH], geometry[WIDE], number(0)
        row = wide * kw
        second, whole = min(kh - 1, 1) * row, -(-row // lanes) * lanes
        for line in range(start, stop, geometry[LINES]):
            lines = min(geometry[LINES], stop - line)
            for item in range(line, line + lines):
                source, to, place = item * kh * row, np.uint64((item - line) * row), np.int32(item % high * kh * row)
                count = np.uint64(whole if source + (kh - 1) * row + whole <= len(x) else row)
                at, below, down = np.uint64(source), np.uint64(source + second), np.int32(second)
                for i in range(count):
                    value, u, here = x[at + i], x[below + i], np.int32(place + np.int32(i))
                    value, here = (
                        (value + choose(kh > 1, u, zero), here) if sums else take(value, here, u, np.int32(here + down))
                    )
                    values[to + i] = value
                    if placed:
                        places[to + i] = here
                # One addition a loop: of more the compiler may change the order, and not for the last of a run.
                for r in range(2, kh):
                    below, down = np.uint64(source + r * row), np.int32(r * row)
                    for i in range(count):
                        value, u, later = values[to + i], x[below + i], np.int32(place + np.int32(i) + down)
                        here = places[to + i] if placed else later
                        value, here = (value + u, here) if sums else take(value, here, u, later)
                        values[to + i] = value
                        if placed:
                            places[to + i] = here
            to, count = np.uint64(line * wide), np.uint64(lines * wide)
            if sums and kw > 2:
                for i in range(count):
                    folded[i] = values[i * apart] + values[i * apart + np.uint64(1)]
                for c in range(2, kw):
                    for i in range(count):
                        folded[i] += values[i * apart + np.uint64(c)]
                for i in range(count):
                    out[to + i] = folded[i] / by
            else:
                for i in range(count):
                    value, here = values[i * apart], places[i * apart] if placed else np.int32(0)
                    for c in range(1, kw):
                        u, later = values[i * apart + np.uint64(c)], here
                        if placed:
                            later = places[i * apart + np.uint64(c)]
                            wins = (u > value) | ((u == value) & (later < here))
                            wins |= (u != u) & ((value == value) | (later > here))
                            value, here = choose(wins, u, value), choose(wins, later, here)
                        else:
                            value = value + u if sums else take(value, here, u, later)[0]
                    out[to + i] = value / by if sums else value
                    if placed:
                        indices[to + i] = np.uint64(here)

    return body


@jit.kernel
def spread(kind, kw):
    """The kernel of the average's gradient."""
    room, number = simd.stack(ROOM, kind), getattr(np, kind)

    def body(start, stop, worker, grad, out, geometry):
        values, by, apart = room(), number(geometry[DIVISOR]), np.uint64(kw)
        kh, wide = geometry[KERNEL_H], np.uint64(geometry[WIDE])
        row = wide * apart
        for line in range(start, stop, geometry[LINES]):
            here, at = np.uint64(min(geometry[LINES], stop - line)), np.uint64(line) * wide
            for i in range(here * wide):
                share = grad[at + i] / by
                for c in range(kw):
                    values[i * apart + np.uint64(c)] = share
            for h in range(here):
                for r in range(kh):
                    to = ((np.uint64(line) + h) * np.uint64(kh) + np.uint64(r)) * row
                    for w in range(row):
                        out[to + w] = values[h * row + w]

    return body


class Tiled(PoolAlgorithm):
    """Sums or maxima of windows that tile the image, and the gradient of the average."""

    name = "tiled"
    replays = True
    accepts = ("halving", "pool_1d_tiled", "large_tiled")

    def rejects(self, problem: PoolProblem) -> str | None:
        kh, kw = _kernel(problem)
        if problem.dtype.name not in ("float32", "float64"):
            return f"it takes float32 and float64, not {problem.dtype}"
        if problem.layout == LAST and problem.channels > 1:
            return "channels lie between the positions of a row"
        tiles = tuple(k * o for k, o in zip(problem.kernel, problem.out_spatial)) == problem.spatial
        tiles = tiles and problem.kernel == problem.stride and set(problem.dilation) == {1}
        if not tiles or any(map(any, problem.padding)):
            return "the windows do not tile the image"
        if max(kh, kw) > MOST:
            return f"a window of {max(kh, kw)} positions along an axis is longer than {MOST}"
        if kw * problem.out_spatial[-1] > ROOM:
            return f"a row of the result looks at more than {ROOM} numbers"
        if problem.indices and math.prod(problem.spatial) >= 2**31:
            return "places are counted in 32 bits"
        return None

    def cost(self, problem: PoolProblem) -> float:
        rows, numbers = _rows(problem), problem.n * problem.channels * math.prod(problem.spatial)
        return (6 * rows + (0.2 if problem.indices else 0.1) * numbers) * 1e-9

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        x, out, kind, (kh, kw) = inputs[0], outputs[0].reshape(-1), problem.dtype.name, _kernel(problem)
        x = np.ascontiguousarray(x).reshape(-1)
        wide, high = problem.out_spatial[-1], _rows(problem) // max(problem.n * problem.channels, 1)
        geometry = np.array([ROOM // (kw * wide), kh, wide, high, problem.divisor_override or kh * kw], np.int64)
        workers, rows = jit.workers(self.cost(problem)), _rows(problem)
        if problem.backward:
            spread(kind, kw)(workers, rows, x, out, geometry)
            return
        how = PLACE if problem.indices else MAXIMUM if problem.operation.startswith("max") else SUM
        indices = outputs[1].view(np.uint64).reshape(-1) if problem.indices else NO_INDICES
        tiled(kind, how, kw)(workers, rows, x, out, indices, geometry)


def _kernel(problem: PoolProblem) -> tuple[int, int]:
    """Its height and width."""
    return (1, *problem.kernel)[-2:]  # type: ignore[return-value]


def _rows(problem: PoolProblem) -> int:
    """Of the result, over all planes."""
    return problem.n * problem.channels * math.prod(problem.out_spatial[:-1])
