"""Convolution as a product of matrices, the image's built in workspace: im2col, band by band.

    patches[m, k] = image[n, s, t * stride + offset + tap]        m = (n, position), k = (s, tap)
    result[m, r]  = sum over k of  patches[m, k] weight[r, k]

The weight lies in that order already, and the result is the product of two plain matrices (`matrix_product`). Each
number of the image is written once for each tap, and read again: what implicit GEMM saves. A band of rows is as large
as the workspace limit allows.
"""

from __future__ import annotations

import numpy as np
from numba import cuda
from numpy import float32, int32, int64, uint32, uint64

from numconv.algorithm import Algorithm
from numconv.kernels.cuda import epilogue, launch, memory
from numconv.kernels.cuda.gemm_image import position
from numconv.kernels.cuda.gemm_schedule import BANDWIDTH, LAUNCH, Schedule, error_bound, pieces, schedule
from numconv.kernels.cuda.gemm_tile import LARGE
from numconv.kernels.cuda.implicit_gemm import unsuited
from numconv.kernels.cuda.matrix_product import launched
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.sweep import Phase, phases
from numconv.options import options
from numconv.problem import LAST, ConvProblem

THREADS = 256


@launch.kernel(threads=THREADS)
def lay_out(phase: Phase):
    """`count` numbers of the patches, one a thread, from row `first` on: neighbours along k."""
    d, h, w, x_s, of_row, taps = phase.d, phase.h, phase.w, phase.x, position(phase), phase.taps
    depth = phase.sources * taps

    def body(x, patches, first, count):
        i = uint64(cuda.grid(1))
        if i >= uint64(count):
            return
        row, k = uint32(uint64(i // uint64(depth)) + uint64(first)), uint32(i % uint64(depth))
        n, td, th, tw = of_row(row)
        source, tap = uint32(k // uint32(taps)), uint32(k % uint32(taps))
        above = uint32(tap // uint32(w.taps))
        jw, jh, jd = uint32(tap % uint32(w.taps)), uint32(above % uint32(h.taps)), uint32(above // uint32(h.taps))
        in_d = int32(int32(td) * d.stride + d.offset + int32(jd) * d.offset_step)
        in_h = int32(int32(th) * h.stride + h.offset + int32(jh) * h.offset_step)
        in_w = int32(int32(tw) * w.stride + w.offset + int32(jw) * w.offset_step)
        value = float32(0)
        if 0 <= in_d < d.size and 0 <= in_h < h.size and 0 <= in_w < w.size:
            at = int64(n) * x_s.n + int64(source) * x_s.c + int64(in_d) * x_s.d
            value = x[uint64(at + int64(in_h) * x_s.h + int64(in_w) * x_s.w)]
        patches[i] = value

    return body


class Im2col(Algorithm):
    """Forward pass, channels last."""

    name = "im2col"

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.groups > 1:
            return "it has groups, of which each would be a product of its own"
        if problem.layout_out != LAST:
            return "the result lies channels first: rows of the product are its positions"
        if problem.residual:
            return "a residual is not added in the product"
        if pieces(_depth(problem), problem.precision) > 1:
            return f"sums of {_depth(problem)} products in one go are not precise enough"
        return unsuited(problem)

    def error_bound(self, problem: ConvProblem) -> float:
        return error_bound(problem.precision)

    def shared_bytes(self, problem: ConvProblem) -> int:
        return 4 * max(_band(problem) * _depth(problem), 1)

    def cost(self, problem: ConvProblem) -> float:
        """Estimate, not measured: the patches are written and read once more."""
        (phase,) = phases(problem)
        rows = problem.n * phase.positions
        bands = launch.blocks(rows, max(_band(problem), 1))
        return LAUNCH * (1 + bands) + _planned(problem, rows).seconds + 8 * rows * _depth(problem) / BANDWIDTH

    def run(self, problem, packed, x, bias, residual, out, workspace):
        ((phase,), depth, band) = phases(problem), _depth(problem), _band(problem)
        rows, bias = problem.n * phase.positions, None if bias is None else flat(bias)
        patches, target = memory.seen_as(workspace, np.float32), flat(out)
        for first in range(0, rows, max(band, 1)):
            here = min(band, rows - first)
            size = here * depth
            lay_out(phase)(launch.blocks(size, THREADS), THREADS, flat(x), patches, first, size)
            part = memory.part(target, 0, first * problem.co, (first + here) * problem.co)
            shape = here, problem.co, depth
            launched(_planned(problem, here), patches, flat(packed), bias, part, shape, True, epilogue.of(problem))


def _depth(problem: ConvProblem) -> int:
    (phase,) = phases(problem)
    return phase.sources * phase.taps


def _band(problem: ConvProblem) -> int:
    """Rows of patches that are there at once: whole tiles of them, or all."""
    (phase,) = phases(problem)
    fitting = options.workspace_limit // (4 * max(_depth(problem), 1)) // LARGE.rows * LARGE.rows
    return min(problem.n * phase.positions, max(fitting, LARGE.rows))


def _planned(problem: ConvProblem, rows: int) -> Schedule:
    """The product of a band, its sums in one part."""
    moved = 4 * (rows * (problem.co + _depth(problem)) + problem.co * _depth(problem))
    return schedule(rows, problem.co, _depth(problem), 1, moved, 0)
