"""Depthwise convolution: groups of one source channel each, of any multiplier.

    result[n, c, t] = sum over taps of  weight[tap, c] * source[n, c // multiplier, t * stride + offset(tap)]

A thread computes four channels by a few positions along w, channels last, or one channel by a few positions along h,
channels first (see `line_tile`): each source is loaded once for a row of the kernel and meets its taps in registers,
so 3x3 at four positions takes 18 loads of four channels for 16 results, and 9 of weights. A block has 128 bytes of
channels by up to four tiles by a few rows: the rows that a window shares come from the first-level cache. Forward and
input pass, phase by phase (see `sweep`); the epilogue is applied in registers.

oneDNN's depthwise kernels reuse source registers across taps in the same way.
"""

from __future__ import annotations

import math

from numba import cuda

from numconv.algorithm import Algorithm
from numconv.kernels.cuda import epilogue, launch, line_tile, memory, vectors
from numconv.kernels.cuda.epilogue import Epilogue
from numconv.kernels.cuda.line_tile import THREADS, Lines
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.sweep import phases
from numconv.problem import LAST, ConvProblem

DTYPES = ("float32", "float64", "float16", "bfloat16")
BANDWIDTH = 2.4e12  # bytes a second, 0.8 of an H100's: estimate, not measured
LAUNCH = 5e-6  # seconds: estimate, not measured


@launch.kernel(threads=THREADS)
def correlate(lines: Lines, dtype: str, after: Epilogue):
    """A tile a thread."""
    place, finish = line_tile.place(lines), line_tile.finish(lines, dtype, after)
    d_axis, b_axis, a_axis, x_s, taps, channels = lines.d, lines.b, lines.a, lines.x, lines.taps, lines.channels
    lanes, positions, across, cuts, multiplier = lines.lanes, lines.positions, lines.across, lines.cuts, lines.results
    read = lanes if multiplier == 1 else 1  # channels of the source: with a multiplier of 4 and more all lanes have one
    fill, read_weight = line_tile.fill(lines, read, dtype), vectors.read(lanes, 1, dtype)
    numbers, sum_count, line_count = line_tile.number_type(dtype), positions * lanes, lines.columns * read
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
        corner = n * x_s[0] + c // multiplier * x_s[1] + column * x_s[4]
        for jd in range(d_axis.taps):
            in_d = d * d_axis.stride + d_axis.offset + jd * d_axis.offset_step
            for jb in range(b_axis.taps):
                in_b = b * b_axis.stride + b_axis.offset + jb * b_axis.offset_step
                if 0 <= in_d < d_axis.size and 0 <= in_b < b_axis.size:
                    at = corner + in_d * x_s[2] + in_b * x_s[3]
                    tap = taps[0] + jd * taps[1] + jb * taps[2]
                    for cut in range(cuts):
                        fill(line, x, at + cut * (step * x_s[4]), column + cut * step)
                        for j in range(across):
                            if cut * across + j < a_axis.taps:
                                read_weight(factor, 0, weight, (tap + (cut * across + j) * taps[3]) * channels + c)
                                for q in range(positions):
                                    s = (q * a_axis.stride + j * a_axis.offset_step) * read
                                    for v in range(lanes):
                                        sums[q * lanes + v] += factor[v] * line[s + v % read]
        finish(sums, bias, residual, out, n, c, d, b, tile)

    return epilogue.entry(body, after)


class Depthwise(Algorithm):
    """Forward and input pass."""

    name = "depthwise"
    accepts = ("depthwise_3x3", "depthwise_5x5_strided", "depthwise_7x7", "depthwise_1d", "depthwise_3d", "one_pixel")

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.dtype.name not in DTYPES:
            return f"the tile multiplies floats, not {problem.dtype}"
        sources = (problem.co if problem.direction == "input" else problem.ci) // problem.groups
        if sources != 1 or min(problem.ci, problem.co) == 0:
            return f"a group sums over {sources} channels, not one"
        return None

    def packed_bytes(self, problem: ConvProblem) -> int:
        return math.prod(problem.weight_shape) * problem.dtype.itemsize

    def packing(self, problem: ConvProblem) -> float:
        return LAUNCH

    def cost(self, problem: ConvProblem) -> float:
        """Estimate, not measured: the bytes, where it gathers four times as many, or the products at half the peak."""
        gathers = 1 if problem.layout_in == problem.layout_out else 4
        return LAUNCH * len(phases(problem)) + max(problem.bytes / BANDWIDTH * gathers, problem.flops / 30e12)

    def prepare(self, problem, weight):
        taps = math.prod(problem.kernel)
        return memory.contiguous(memory.transpose(memory.reshape(weight, (weight.size // taps, taps)), (1, 0)))

    def run(self, problem, packed, x, bias, residual, out, workspace):
        last = problem.layout_out == LAST
        arrays = [flat(x), flat(packed), *epilogue.given(bias, residual), flat(out)]
        side_by_side = last and vectors.aligned(x, packed, bias, residual, out)
        for phase in phases(problem):
            multiplier, channels = phase.results, phase.groups * phase.results
            by_four = channels % 4 == 0 and (phase.x.c == 1 if multiplier == 1 else multiplier % 4 == 0)
            lanes = 4 if side_by_side and by_four else 1
            wanted = 8 if lanes == 1 or (phase.w.taps > 5 and problem.dtype.itemsize < 8) else 4  # positions
            lines = line_tile.lines_of(phase, last, lanes, wanted)
            blocks, threads, count = line_tile.grid(lines, problem.n)
            correlate(lines, problem.dtype.name, epilogue.of(problem))(blocks, threads, *arrays, count)
