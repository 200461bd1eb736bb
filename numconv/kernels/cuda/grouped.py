"""Convolution in groups of few channels, for which a tile of the implicit GEMM would be mostly empty.

    result[n, c, t] = sum over taps, then sources s, of  weight[tap, s, c] * source[n, s, t * stride + offset(tap)]

with the sources of channel c's group.
A thread computes up to four results of a group by up to eight positions along w, channels last, or along h, channels
first (see `line_tile`). It reads a line of up to four sources of the group, each element once for a row of the kernel,
and multiplies it with the weights of each tap, which neighbouring threads share by way of the cache: 3x3 in groups of
four takes 10 loads of sources and 12 of weights, of 128 bits, for 384 multiplications. Loops, outside in: rows of the
kernel, sources of the group by four, taps of the row. Forward and input pass, phase by phase (see `sweep`).

It is depthwise convolution with a product of a small matrix for each tap, as in oneDNN's grouped kernels.
"""

from __future__ import annotations

import math

from numba import cuda

from numconv.algorithm import Algorithm
from numconv.kernels.cuda import epilogue, launch, line_tile, memory, vectors
from numconv.kernels.cuda.depthwise import BANDWIDTH, DTYPES, LAUNCH
from numconv.kernels.cuda.epilogue import Epilogue
from numconv.kernels.cuda.line_tile import THREADS, Lines
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.sweep import phases
from numconv.problem import LAST, ConvProblem

MOST_RESULTS = 32  # of a group: half a tile of the implicit GEMM. Estimate, not measured
MOST_SOURCES = 128


@launch.kernel(threads=(THREADS, 2))
def correlate(lines: Lines, of_line: int, dtype: str, after: Epilogue):
    """A tile a thread; `of_line` sources lie in registers together."""
    place, finish = line_tile.place(lines), line_tile.finish(lines, dtype, after)
    d_axis, b_axis, a_axis, x_s, taps, channels = lines.d, lines.b, lines.a, lines.x, lines.taps, lines.channels
    lanes, positions, across, cuts, results = lines.lanes, lines.positions, lines.across, lines.cuts, lines.results
    sources, chunks = lines.sources, lines.sources // of_line
    fill, read_weight = line_tile.fill(lines, of_line, dtype), vectors.read(lanes, 1, dtype)
    numbers, sum_count, line_count = line_tile.number_type(dtype), positions * lanes, lines.columns * of_line
    step = across * a_axis.offset_step

    def body(x, weight, bias, residual, out, count):
        there, n, c, d, b, tile = place(count)
        if not there:
            return
        sums, line = cuda.local.array(sum_count, numbers), cuda.local.array(line_count, numbers)
        factor = cuda.local.array(lanes, numbers)
        for i in range(sum_count):
            sums[i] = 0
        column = tile * (positions * a_axis.stride) + a_axis.offset
        corner = n * x_s[0] + c // results * sources * x_s[1] + column * x_s[4]
        for jd in range(d_axis.taps):
            in_d = d * d_axis.stride + d_axis.offset + jd * d_axis.offset_step
            for jb in range(b_axis.taps):
                in_b = b * b_axis.stride + b_axis.offset + jb * b_axis.offset_step
                if 0 <= in_d < d_axis.size and 0 <= in_b < b_axis.size:
                    at = corner + in_d * x_s[2] + in_b * x_s[3]
                    tap = taps[0] + jd * taps[1] + jb * taps[2]
                    for chunk in range(chunks):
                        for cut in range(cuts):
                            from_ = at + cut * (step * x_s[4]) + chunk * (of_line * x_s[1])
                            fill(line, x, from_, column + cut * step)
                            for j in range(across):
                                if cut * across + j < a_axis.taps:
                                    of = (tap + (cut * across + j) * taps[3]) * sources + chunk * of_line
                                    for s in range(of_line):
                                        read_weight(factor, 0, weight, (of + s) * channels + c)
                                        for q in range(positions):
                                            i = (q * a_axis.stride + j * a_axis.offset_step) * of_line + s
                                            for v in range(lanes):
                                                sums[q * lanes + v] += factor[v] * line[i]
        finish(sums, bias, residual, out, n, c, d, b, tile)

    return epilogue.entry(body, after)


def widest(count: int, most: int = 4) -> int:
    """The largest divisor of a count that is at most so large."""
    return max(part for part in range(1, most + 1) if count % part == 0)


class Grouped(Algorithm):
    """Forward and input pass."""

    name = "grouped"
    accepts = ("grouped_2", "grouped_uneven", "grouped_pointwise", "grouped_to_one", "conv_3d_grouped")

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.dtype.name not in DTYPES:
            return f"the tile multiplies floats, not {problem.dtype}"
        sources, results = problem.ci // problem.groups, problem.co // problem.groups
        if problem.direction == "input":
            sources, results = results, sources
        if min(sources, results) == 0:
            return "a group has no channels"
        if results > MOST_RESULTS or sources > MOST_SOURCES:
            return f"groups of {sources} to {results} channels are more than {MOST_SOURCES} to {MOST_RESULTS}"
        return None

    def packed_bytes(self, problem: ConvProblem) -> int:
        return math.prod(problem.weight_shape) * problem.dtype.itemsize

    def packing(self, problem: ConvProblem) -> float:
        return LAUNCH

    def cost(self, problem: ConvProblem) -> float:
        """Estimate: the bytes or the products, at half the peak where four results share sources.

        Four times as many bytes where it must gather. Not measured.
        """
        gathers = 1 if problem.layout_in == problem.layout_out else 4
        (phase, *_) = phases(problem)
        rate = 8e12 * widest(phase.results)
        return LAUNCH * len(phases(problem)) + max(problem.bytes / BANDWIDTH * gathers, problem.flops / rate)

    def prepare(self, problem, weight):
        groups, taps = problem.groups, math.prod(problem.kernel)
        shape, order = (groups, problem.co // groups, problem.ci // groups, taps), (3, 2, 0, 1)
        if problem.direction == "input":
            order = (3, 1, 0, 2)
        return memory.contiguous(memory.transpose(memory.reshape(weight, shape), order))

    def run(self, problem, packed, x, bias, residual, out, workspace):
        last = problem.layout_out == LAST
        arrays = [flat(x), flat(packed), *epilogue.given(bias, residual), flat(out)]
        most = 4 if vectors.aligned(x, packed, bias, residual, out) else 2
        wanted = 4 if problem.dtype.itemsize == 8 else 8  # positions: two registers for each float64
        for phase in phases(problem):
            lanes, of_line = widest(phase.results, most), widest(phase.sources, most) if phase.x.c == 1 else 1
            lines = line_tile.lines_of(phase, last, lanes, wanted, of_line)
            blocks, threads, count = line_tile.grid(lines, problem.n)
            correlate(lines, of_line, problem.dtype.name, epilogue.of(problem))(blocks, threads, *arrays, count)
