"""Poolings whose windows tile the image: each position belongs to one window, as in most networks (2x2, stride 2).

    result[h, w] = fold over r < kh, c < kw of  source[kh h + r, kw w + c]        fold: a sum over a divisor, a maximum

Rows of the result are independent and lie one after the other, over all planes, in both arrays. So the first of two
passes takes the windows' columns along one run of memory, however short the rows are; the second takes the kh rows
that this leaves of each row of the result. The gradient of the average goes the same way back, and writes each number
once. Loop order: as many rows of the result (the parallel items) as the buffer holds; then the two passes over them.

Of equal elements the first in the order of the plane wins, of NaNs the last, as in PyTorch: columns of a row come
before the next row.
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


@jit.kernel
def tiled(kind, how, kw):
    """The kernel of sums and maxima."""
    sums, placed, number, choose = how == SUM, how == PLACE, getattr(np, kind), simd.choose
    room, place_room = simd.stack(ROOM, kind), simd.stack(ROOM if placed else 1, "int32")
    second = np.uint64(min(kw - 1, 1))

    def body(start, stop, worker, x, out, indices, geometry):
        values, places, by, apart = room(), place_room(), number(geometry[DIVISOR]), np.uint64(kw)
        kh, high, wide = geometry[KERNEL_H], geometry[HIGH], np.uint64(geometry[WIDE])
        row = np.int32(wide * apart)
        for line in range(start, stop, geometry[LINES]):
            here = min(geometry[LINES], stop - line)
            source = np.uint64(line * kh) * wide * apart
            count = np.uint64(here * kh) * wide
            for i in range(count):
                value, u = x[source + i * apart], x[source + i * apart + second]
                wins = (u > value) | (u != u)
                values[i] = value if kw == 1 else value + u if sums else choose(wins, u, value)
                if placed:
                    places[i] = np.int32(wins & (kw > 1))
            # One addition a loop: of more the compiler may change the order, and not for the last of a run.
            for c in range(2, kw):
                for i in range(count):
                    value, u = values[i], x[source + i * apart + np.uint64(c)]
                    wins = (u > value) | (u != u)
                    values[i] = value + u if sums else choose(wins, u, value)
                    if placed:
                        places[i] = choose(wins, np.int32(c), places[i])
            for h in range(here):
                at, to = np.uint64(h * kh) * wide, np.uint64(line + h) * wide
                for r in range(1, kh):
                    below, down = at + np.uint64(r) * wide, np.int32(r) * row
                    for w in range(wide):
                        value, u = values[at + w], values[below + w]
                        wins = (u > value) | (u != u)
                        values[at + w] = value + u if sums else choose(wins, u, value)
                        if placed:
                            places[at + w] = choose(wins, places[below + w] + down, places[at + w])
                for w in range(wide):
                    out[to + w] = values[at + w] / by if sums else values[at + w]
                if placed:
                    first = (line + h) % high * kh * row
                    for w in range(wide):
                        indices[to + w] = np.uint64(first + np.int64(w * apart) + places[at + w])

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
        if kh * kw * problem.out_spatial[-1] > ROOM:
            return f"a row of the result looks at more than {ROOM} numbers"
        return None

    def cost(self, problem: PoolProblem) -> float:
        rows, numbers = _rows(problem), problem.n * problem.channels * math.prod(problem.spatial)
        return (6 * rows + (0.2 if problem.indices else 0.1) * numbers) * 1e-9

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        x, out, kind, (kh, kw) = inputs[0], outputs[0].reshape(-1), problem.dtype.name, _kernel(problem)
        x = np.ascontiguousarray(x).reshape(-1)
        wide, numbers = problem.out_spatial[-1], kw if problem.backward else kh
        high = _rows(problem) // max(problem.n * problem.channels, 1)
        geometry = np.array([ROOM // (numbers * wide), kh, wide, high, problem.divisor_override or kh * kw], np.int64)
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
