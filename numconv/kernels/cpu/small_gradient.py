"""The gradient of averages over windows of a few positions, by scattering.

    gradient[o s + t d - p] += grad_output[o] / divisor(o)        for t < k

Loop order: a plane, or a block of lanes of an image (the parallel item), which is filled with zeros; the outputs in
order; the positions of an output's window, unrolled where all of them are inside; lanes. A plane belongs to one item:
no two threads write to it, and its sums have one order. `small_windows` gathers, for the average itself.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu import windows as win
from numconv.kernels.cpu.memory import flat
from numconv.kernels.cpu.small_windows import window_of
from numconv.problem import HALF, LAST, PoolProblem

# isort: off
from numconv.kernels.cpu.windows import (
    BLOCK, BLOCKS, BY_D, BY_H, BY_W, COUNT, FIRST, LANES, OUT_0, OUT_C, OUT_D, OUT_H, OUT_LANE, OUT_N, OUT_W, PLACES_H,
    PLACES_W, PLANES, ROWS_D, ROWS_H, SIZE_D, SIZE_H, SIZE_W, STEP_D, STEP_H, STEP_W, X_C, X_D, X_H, X_LANE, X_N, X_W,
)  # fmt: skip
# isort: on


MOST = 9  # positions of a window


def takes(problem: PoolProblem) -> bool:
    """Whether sums in the gradient itself are as exact as others, and all windows fit into one launch."""
    small = window_of(problem, MOST) is not None
    return small and problem.dtype.name not in HALF and max(problem.out_spatial) <= win.LONGEST


@jit.kernel
def scatter(kd, kh, kw):
    """The kernel: `plane` is the gradient, `grad` the output's."""
    room = simd.stack(win.LANES_AT_ONCE, "float64")

    def body(start, stop, worker, plane, grad, header, windows, segments, factors):
        shares, zero = room(), plane.dtype.type(0)
        to_d, to_h, to_w = header[STEP_D] * header[X_D], header[STEP_H] * header[X_H], header[STEP_W] * header[X_W]
        size, targets = header[SIZE_D] * header[SIZE_H] * header[SIZE_W], header[PLACES_W]
        for item in range(start, stop):
            rest, block = divmod(item, header[BLOCKS])
            n, c = divmod(rest, header[PLANES])
            lane = block * header[BLOCK]
            lanes = min(header[BLOCK], header[LANES] - lane)
            base = n * header[X_N] + c * header[X_C] + lane * header[X_LANE]
            base_out = header[OUT_0] + n * header[OUT_N] + c * header[OUT_C] + lane * header[OUT_LANE]
            together = header[X_W] == lanes
            for s in range(1 if together else size):
                for i in range(size * lanes if together else lanes):
                    plane[np.uint64(base + s * header[X_W] + i)] = zero
            for j in range(header[ROWS_D] * header[ROWS_H]):
                d, h = divmod(j, header[ROWS_H])
                count_d, first_d = windows[d, COUNT], windows[d, FIRST]
                count_h, first_h = windows[header[PLACES_H] + h, COUNT], windows[header[PLACES_H] + h, FIRST]
                row, o = base + first_d * header[X_D] + first_h * header[X_H], base_out + d * header[OUT_D]
                o += h * header[OUT_H]
                by = factors[header[BY_D] + d] * factors[header[BY_H] + h]
                for w in range(len(windows) - targets):
                    count_w = windows[targets + w, COUNT]
                    at, source = np.uint64(row + windows[targets + w, FIRST] * header[X_W]), o + w * header[OUT_W]
                    divisor = by * factors[header[BY_W] + w]
                    if lanes == 1:
                        share = plane.dtype.type(grad[np.uint64(source)] / divisor)
                        if count_d * count_h * count_w == kd * kh * kw:
                            for jd in range(kd):
                                for jh in range(kh):
                                    for jw in range(kw):
                                        plane[at + np.uint64(jd * to_d + jh * to_h + jw * to_w)] += share
                            continue
                        for jd in range(count_d):
                            for jh in range(count_h):
                                for jw in range(count_w):
                                    plane[at + np.uint64(jd * to_d + jh * to_h + jw * to_w)] += share
                        continue
                    for i in range(lanes):
                        shares[i] = grad[np.uint64(source + i * header[OUT_LANE])] / divisor
                    for jd in range(count_d):
                        for jh in range(count_h):
                            for jw in range(count_w):
                                to = at + np.uint64(jd * to_d + jh * to_h + jw * to_w)
                                for i in range(np.uint64(lanes)):
                                    plane[to + i] += shares[i]

    return body


def run(problem: PoolProblem, grad_output: np.ndarray, out: np.ndarray, seconds: float) -> None:
    """Compute the gradient into `out`."""
    pooling = replace(problem, operation=problem.operation.removesuffix("_input"))
    (part,) = win.parts(pooling, win.has_lanes(pooling, out))
    (source, offset), window = flat(grad_output), window_of(problem, MOST) or (1, 1, 1)
    header = part.header(out, 0, grad_output, offset)
    items = problem.n * int(header[PLANES] * header[BLOCKS])
    tables = part.places, part.segments, part.factors
    scatter(*window)(jit.workers(seconds), items, out.reshape(-1), source, header, *tables)


def cost(problem: PoolProblem) -> float:
    """Estimated seconds on one core, fitted to 2x2 and 3x3 windows from 50 us to 10 ms."""
    each = 0.2 if problem.layout == LAST and problem.channels >= 8 else 0.5
    planes, results = problem.n * problem.channels, math.prod(problem.out_spatial)
    return planes * (0.2 * math.prod(problem.spatial) + each * results * math.prod(problem.kernel)) * 1e-9
