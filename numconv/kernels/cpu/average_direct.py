"""Direct sums over windows, without any buffer: the definition, for any average, weighted average or Lp pooling.

    result[o] = root( sum over the window of  weight(tap) power(source) / divisor(o) )

Loop order: a row of the result, or a segment of it (the parallel item), its windows, their rows, positions of a row,
lanes. What is summed at once: up to 64 channels that lie next to each other; or eight and more regular windows of a
row; or the positions of a row of a window, which is the way for windows as wide as the image. All in float64.

`weighted` is for weights that come as an array, which are not taken to be separable. What they are divided by, the sum
of those inside the source, depends on the first and last tap inside along each axis: each pair of them is a class.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np

from numconv.kernels.cpu import jit, simd, small_gradient, small_windows
from numconv.kernels.cpu import windows as win
from numconv.kernels.cpu.average_pooling import form_of, root, sums_in, term
from numconv.kernels.cpu.memory import half_kind
from numconv.kernels.cpu.pooling import Arrays, PoolAlgorithm, estimate, pieces
from numconv.kernels.cpu.small_windows import window_of
from numconv.kernels.cpu.window_axes import forward, row_order
from numconv.problem import LAST, PoolProblem

# isort: off
from numconv.kernels.cpu.windows import (
    BEGIN_D, BEGIN_H, BEGIN_W, BLOCK, BY_D, BY_H, BY_W, COUNT, FIRST, GATHERS, LANES, NEXT_D, NEXT_H, NEXT_W,
    OUT_0, OUT_C, OUT_D, OUT_H, OUT_LANE, OUT_N, OUT_W, PERIOD, PLACES_H, PLACES_W, ROWS_H, SHIFT, STEP_D,
    STEP_H, STEP_W, WEIGHT, X_0, X_C, X_D, X_H, X_LANE, X_N, X_W,
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
    weigh, share_of, value = weight(weighted), share(weighted), term(half, form, "float64")
    room = simd.stack(win.WIDEST, "float64")

    def body(start, stop, worker, x, out, header, places, segments, factors, grid, classes):
        sums, p, inverse = room(), factors[0], factors[1]
        next_w, every = header[NEXT_W], header[STEP_W] * header[X_W]
        for item in range(start, stop):
            rest, h = divmod(item, header[ROWS_H])
            segment, block, n, plane, d = locate(header, rest)
            begin, targets = segments[segment, win.START], segments[segment, win.TARGETS]
            regular, irregular = segments[segment, win.REGULAR], segments[segment, win.IRREGULAR]
            lane = block * header[BLOCK]
            lanes = min(header[BLOCK], header[LANES] - lane)
            base = header[X_0] + n * header[X_N] + plane * header[X_C] + lane * header[X_LANE]
            o = header[OUT_0] + n * header[OUT_N] + plane * header[OUT_C] + lane * header[OUT_LANE]
            o += d * header[OUT_D] + h * header[OUT_H]
            place_h, j = header[PLACES_H] + h, begin
            while j < begin + targets:
                place_w = header[PLACES_W] + j
                first_w, count_w, weight_w = places[place_w, FIRST], places[place_w, COUNT], places[place_w, WEIGHT]
                # At once: the lanes of a window, or many windows alike, or one window.
                alike = irregular - regular if lanes == 1 and header[PERIOD] == 1 and j == begin + regular else 1
                some, apart = (lanes, 1) if lanes > 1 else (alike, header[SHIFT] * header[X_W])
                for i in range(some):
                    sums[i] = 0.0
                for jd in range(places[d, COUNT]):
                    for jh in range(places[place_h, COUNT]):
                        source_d = places[d, FIRST] + jd * header[STEP_D]
                        source_h = places[place_h, FIRST] + jh * header[STEP_H]
                        weight_d = places[d, WEIGHT] + jd * header[NEXT_D]
                        weight_h = places[place_h, WEIGHT] + jh * header[NEXT_H]
                        row = base + source_d * header[X_D] + source_h * header[X_H] + first_w * header[X_W]
                        if some < 8 and every == 1 and lanes == 1 and next_w == 0:
                            u = weigh(factors, grid, classes, weight_d, weight_h, weight_w)
                            for i in range(some):
                                at, total = np.uint64(row + i * apart), 0.0
                                for t in range(np.uint64(count_w)):
                                    total += value(x, at + t, p)
                                sums[i] += u * total
                            continue
                        for t in range(count_w):
                            u = weigh(factors, grid, classes, weight_d, weight_h, weight_w + t * next_w)
                            at, stride = np.uint64(row + t * every), np.uint64(apart)
                            if apart == 1:
                                for i in range(np.uint64(some)):
                                    sums[i] += u * value(x, at + i, p)
                            else:
                                for i in range(np.uint64(some)):
                                    sums[i] += u * value(x, at + i * stride, p)
                by = factors[header[BY_D] + d] * factors[header[BY_H] + h]
                for w in range(j, j + alike):
                    whole = by * factors[header[BY_W] + w]
                    if header[GATHERS] == 0:
                        whole *= share_of(grid, classes, d + header[BEGIN_D], h + header[BEGIN_H], w + header[BEGIN_W])
                    for i in range(w - j, w - j + lanes):
                        sums[i] = finish(sums[i] / whole, inverse)
                apart = header[OUT_LANE] if lanes > 1 else header[OUT_W]
                put(out, o + j * header[OUT_W], apart, sums, np.int64(0), some)
                j += alike

    return body


def shares(problem: PoolProblem, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """(weights, the sum of those inside the input for each class, the class of each output along each axis).

    In three dimensions, the axes in the order of rows.
    """
    order, missing = row_order(problem), 3 - problem.ndim
    grid = weights.transpose(order).reshape(*(1,) * missing, *(problem.kernel[a] for a in order))
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
    return grid, sums, classes


def _tables(problem: PoolProblem, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What kernels get of an array of weights: (the weights and the classes' sums; a header and the classes)."""
    grid, sums, classes = shares(problem, weights)
    place_h = OUTPUTS_D + len(classes[0])
    header = [*grid.shape[1:], *sums.shape[1:], grid.size, place_h, place_h + len(classes[1])]
    return np.concatenate([grid.ravel(), sums.ravel()]), np.concatenate([np.array(header), *classes])


NO_INDICES, _NOTHING = np.zeros(1, np.uint64), np.zeros(1)
_NO_TABLES = np.ones(1), np.zeros(1, np.int64)


class Direct(PoolAlgorithm):
    """The definition."""

    name = "direct"
    replays = True

    def cost(self, problem: PoolProblem) -> float:
        if problem.backward and small_gradient.takes(problem):
            return small_gradient.cost(problem)
        if not problem.backward and window_of(problem) is not None:
            return small_windows.cost(problem)
        return estimate(problem)[1]

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        if problem.backward and small_gradient.takes(problem):
            small_gradient.run(problem, inputs[0], outputs[0], self.cost(problem))
            return
        window = None if problem.backward else window_of(problem)
        if window is not None:
            kernel = small_windows.small(half_kind(problem.dtype), sums_in(problem), small_windows.SUM, *window)
            self.launch(problem, kernel, inputs[0], outputs[0], NO_INDICES, _NOTHING)
            return
        if problem.weights == "array" and problem.backward:
            self._gradient(replace(problem, dtype=np.dtype(np.float64)), inputs[0], inputs[1], outputs[0])
            return
        tables = _tables(problem, inputs[1]) if problem.weights == "array" else _NO_TABLES
        self.launch(problem, _kernel(problem), inputs[0], outputs[0], *tables)

    def _gradient(self, problem: PoolProblem, grad_output: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        """The gradient for an array of weights: of each output over its sum of weights, some channels at a time."""
        _, sums, classes = shares(problem, weights)
        order = row_order(problem)
        by = sums[np.ix_(*classes)].reshape([problem.out_spatial[a] for a in order]).transpose(np.argsort(order))
        by = by[..., None] if problem.layout == LAST else by
        tables = _tables(problem, weights)
        for piece, cut in pieces(problem, 8 * (math.prod(problem.spatial) + math.prod(problem.out_spatial))):
            gradient = np.empty(piece.input_shape)
            self.launch(piece, _kernel(piece), cut(grad_output) / by, gradient, *tables)
            cut(out)[...] = gradient


@functools.lru_cache(maxsize=1024)
def _kernel(problem: PoolProblem) -> jit.Kernel:
    return direct(half_kind(problem.dtype), form_of(problem), problem.weights == "array")
