"""Direct sums over windows, without any buffer: the definition, for any average, weighted average or Lp pooling.

    result[o] = root( sum over the window of  weight(tap) power(source) / divisor(o) )

Loop order: a row of the result, or a segment of it (the parallel item), its windows, their rows, positions of a row,
lanes. With lanes, up to 64 channels are summed at once; without, the positions of a row of the window are, where they
lie next to each other: so this is the way for windows as wide as the image. Everything is summed in float64.

`weighted` is for weights that come as an array, which are not taken to be separable. What they are divided by, the sum
of those inside the source, depends on the first and last tap inside along each axis: each pair of them is a class.
"""

from __future__ import annotations

import functools

import numpy as np

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu import windows as win
from numconv.kernels.cpu.average_pooling import form_of, root, term
from numconv.kernels.cpu.memory import half_kind
from numconv.kernels.cpu.pooling import Arrays, PoolAlgorithm, estimate
from numconv.kernels.cpu.window_axes import forward, row_order
from numconv.problem import PoolProblem

# isort: off
from numconv.kernels.cpu.windows import (
    BEGIN_D, BEGIN_H, BEGIN_W, BLOCK, BY_D, BY_H, BY_W, COUNT, FIRST, GATHERS, LANES, NEXT_D, NEXT_H, NEXT_W, OUT_0,
    OUT_C, OUT_D, OUT_H, OUT_LANE, OUT_N, OUT_W, PLACES_H, PLACES_W, ROWS_H, STEP_D, STEP_H, STEP_W, WEIGHT, X_0,
    X_C, X_D, X_H, X_LANE, X_N, X_W,
)  # fmt: skip
# isort: on

# What describes the weights of an array: the kernel's size, the number of classes, then the class of each output.
KERNEL_H, KERNEL_W, CLASSES_H, CLASSES_W, NORMS, OUTPUTS_H, OUTPUTS_W, OUTPUTS_D = range(8)


@jit.function
def weight(weighted):
    """A function (factors, grid, classes, d, h, w) -> the weight of a position of a window."""

    def separable(factors, grid, classes, d, h, w):
        return factors[d] * factors[h] * factors[w]

    def given(factors, grid, classes, d, h, w):
        return grid[(d * classes[KERNEL_H] + h) * classes[KERNEL_W] + w]

    return given if weighted else separable


@jit.function
def share(weighted):
    """A function (grid, classes, d, h, w) -> the sum of an output's weights, where that is not known by axis."""

    def known(grid, classes, d, h, w):
        return 1.0

    def given(grid, classes, d, h, w):
        kind = classes[OUTPUTS_D + d] * classes[CLASSES_H] + classes[classes[OUTPUTS_H] + h]
        return grid[classes[NORMS] + kind * classes[CLASSES_W] + classes[classes[OUTPUTS_W] + w]]

    return given if weighted else known


@jit.kernel
def direct(half, form, weighted):
    """The kernel."""
    locate, put, finish = win.locate(), win.put(half), root(form)
    weigh, divide, value = weight(weighted), share(weighted), term(half, form, "float64")
    lane_room = simd.stack(win.LANES_AT_ONCE, "float64")

    def body(start, stop, worker, x, out, header, places, segments, factors, grid, classes):
        sums, p, inverse = lane_room(), factors[0], factors[1]
        step_w, next_w = header[STEP_W], header[NEXT_W]
        every, gathers = step_w * header[X_W], header[GATHERS] != 0
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
                place_w = header[PLACES_W] + j
                first_w, count_w, weight_w = places[place_w, FIRST], places[place_w, COUNT], places[place_w, WEIGHT]
                for i in range(lanes):
                    sums[i] = 0.0
                for jd in range(places[d, COUNT]):
                    for jh in range(places[place_h, COUNT]):
                        source_d = places[d, FIRST] + jd * header[STEP_D]
                        source_h = places[place_h, FIRST] + jh * header[STEP_H]
                        weight_d = places[d, WEIGHT] + jd * header[NEXT_D]
                        weight_h = places[place_h, WEIGHT] + jh * header[NEXT_H]
                        row = base + source_d * header[X_D] + source_h * header[X_H] + first_w * header[X_W]
                        if every == 1 and lanes == 1 and next_w == 0:
                            at, total = np.uint64(row), 0.0
                            for t in range(np.uint64(count_w)):
                                total += value(x, at + t, p)
                            sums[0] += total * weigh(factors, grid, classes, weight_d, weight_h, weight_w)
                            continue
                        for t in range(count_w):
                            u = weigh(factors, grid, classes, weight_d, weight_h, weight_w + t * next_w)
                            if gathers:
                                u /= divide(grid, classes, source_d, source_h, first_w + t * step_w)
                            at = np.uint64(row + t * every)
                            for i in range(np.uint64(lanes)):
                                sums[i] += u * value(x, at + i, p)
                by = factors[header[BY_D] + d] * factors[header[BY_H] + h] * factors[header[BY_W] + j]
                if not gathers:
                    by *= divide(grid, classes, d + header[BEGIN_D], h + header[BEGIN_H], j + header[BEGIN_W])
                for i in range(lanes):
                    sums[i] = finish(sums[i] / by, inverse)
                put(out, o + j * header[OUT_W], header[OUT_LANE], sums, np.int64(0), lanes)

    return body


def share_tables(problem: PoolProblem, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the weights, then the sum of each class of outputs; the header and classes) of an array of weights."""
    order = row_order(problem)
    missing = 3 - problem.ndim
    grid = np.ascontiguousarray(weights.transpose(order), np.float64).reshape((1,) * missing + weights.shape)
    grid = grid.reshape(*(1,) * missing, *(problem.kernel[a] for a in order))
    ranges: list[np.ndarray] = [np.array([[0, 1]])] * missing
    classes: list[np.ndarray] = [np.zeros(1, np.int64)] * missing
    for axis in order:
        _, count, tap = forward(problem, axis, np.arange(problem.out_spatial[axis]))
        kinds, of = np.unique(np.stack([tap, tap + count], 1), axis=0, return_inverse=True)
        ranges.append(kinds)
        classes.append(of.reshape(-1))
    sums = np.empty([len(kinds) for kinds in ranges])
    for d, h, w in np.ndindex(*sums.shape):
        inside = grid[tuple(slice(*ranges[a][i]) for a, i in enumerate((d, h, w)))]
        sums[d, h, w] = inside.sum() if inside.size else 1.0
    place_h = OUTPUTS_D + len(classes[0])
    place_w = place_h + len(classes[1])
    header = [*grid.shape[1:], *sums.shape[1:], grid.size, place_h, place_w]
    return np.concatenate([grid.ravel(), sums.ravel()]), np.concatenate([np.array(header), *classes])


_NO_TABLES = np.ones(1), np.zeros(1, np.int64)


class Direct(PoolAlgorithm):
    """The definition."""

    name = "direct"

    def cost(self, problem: PoolProblem) -> float:
        return estimate(problem)[1]

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        tables = share_tables(problem, inputs[1]) if problem.weights == "array" else _NO_TABLES
        self.launch(problem, _kernel(problem), inputs[0], outputs[0], *tables)


@functools.lru_cache(maxsize=1024)
def _kernel(problem: PoolProblem) -> jit.Kernel:
    return direct(half_kind(problem.dtype), form_of(problem), problem.weights == "array")
