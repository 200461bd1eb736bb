"""The weight's gradient of depthwise convolution and of groups of few channels.

    gradient[c, s, tap] = sum over n and t of  grad_output[n, c, t] * source[n, s, t * stride + offset(tap)]

with the sources of channel c's group.
A thread has one row of the kernel (or what of it goes into registers), up to four channels and, in groups of several,
up to four sources: for each tile of a few positions (see `line_tile`) it reads the output's gradient and one line of
sources, and adds to the sums of all taps of the row. A block has 128 bytes of channels, channels last, or one channel,
channels first, by rows of the kernel, which share what they read in the first-level cache, by slots: each slot takes
every so-manieth tile of the block's slice of all tiles. Slots are added as a tree in shared memory, slices by a second
kernel: in a fixed order, without atomics. The slices depend on the problem only.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from numba import cuda
from numpy import int64, uint32, uint64

from numconv.algorithm import Algorithm
from numconv.kernels.cuda import launch, line_tile, memory, values, vectors
from numconv.kernels.cuda.depthwise import BANDWIDTH, DTYPES, LAUNCH
from numconv.kernels.cuda.grouped import widest
from numconv.kernels.cuda.line_tile import THREADS, Lines
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.sweep import phases
from numconv.problem import LAST, ConvProblem, remembered

BLOCKS = 528  # wanted: four for each multiprocessor of an H100. Estimate, not measured
LEAST = 4  # tiles of a slot, if there are fewer slots and slices. Estimate, not measured
SHARED = 48 << 10  # bytes of a block, which hold the sums of its threads
ROWS = 8  # of the kernel in a block, at most
WIDEST = 32  # channels of a group
PARTS, OUTPUTS = 8, 32  # of a block that adds slices


class Work(NamedTuple):
    """How the work is cut: `vectors` of channels, `rows` of the kernel and `slots` of a block, and slices of all tiles.

    A row is that of a line's cut, and of some of the group's sources.
    """

    lines: Lines
    of_line: int  # sources of a group in registers
    own: bool  # whether each channel has a source of its own
    vectors: int
    rows: int
    slots: int
    all_rows: int
    grid: tuple[int, int]
    tiles: int
    tiles_of_slice: int


def _work(problem: ConvProblem, most: int) -> Work:
    (phase,) = phases(problem)
    last = problem.layout_out == LAST
    own = phase.sources == phase.results == 1
    lanes = widest(phase.groups if own else phase.results, most) if last or not own else 1
    of_line = 1 if own else widest(phase.sources, most if phase.x.c == 1 else 4)
    lines = line_tile.lines_of(phase, last, lanes, 4 if last or not own else 8, of_line)
    all_rows = lines.d.taps * lines.b.taps * lines.cuts * (phase.sources // of_line)
    vectors, rows = lines.block[0] if last else 1, line_tile.even(all_rows, ROWS)
    tiles = problem.n * lines.d.positions * lines.b.positions * lines.tiles
    threads = min(THREADS, SHARED // (lines.across * of_line * lanes * (8 if problem.dtype.name == "float64" else 4)))
    busy = 1 << max(tiles // LEAST, 1).bit_length()  # slots that have a few tiles
    slots = max(min(threads // (vectors * rows), busy), 1)
    parts = launch.blocks(lines.vectors, vectors) * launch.blocks(all_rows, rows)
    slices = max(min(launch.blocks(BLOCKS, parts), tiles // (slots * LEAST)), 1)
    of_slice = max(launch.blocks(tiles, slices), 1)
    grid = parts, max(launch.blocks(tiles, of_slice), 1)
    return Work(lines, of_line, own, vectors, rows, slots, all_rows, grid, tiles, of_slice)


@remembered
def works(problem: ConvProblem) -> tuple[Work, Work]:
    """How the work of a problem is cut: of arrays that can be read by four channels, and of others."""
    return _work(problem, 4), _work(problem, 2)


@launch.kernel(threads=THREADS)
def correlate(
    lines: Lines, of_line: int, own: bool, vectors_of_block: int, rows: int, slots: int, all_rows: int, dtype: str
):
    """The sums of one slice: partial[slice, tap, s, c]. Channels `own` their sources, or a group shares them."""
    d_axis, b_axis, a_axis, x_s, o_s, places = lines.d, lines.b, lines.a, lines.x, lines.out, lines.taps
    lanes, positions, across, cuts, results = lines.lanes, lines.positions, lines.across, lines.cuts, lines.results
    sources, channels, vectors_all, tiles, last = lines.sources, lines.channels, lines.vectors, lines.tiles, lines.last
    read = lanes if own else of_line
    fill, read_gradient = line_tile.fill(lines, read, dtype), vectors.read(lanes, o_s[1], dtype)
    write = vectors.write(lanes, 1, vectors.number_dtype(dtype))
    numbers, exact, wide = line_tile.number_type(dtype), a_axis.positions % positions == 0, a_axis.positions
    gradient_count, line_count, sum_count = positions * lanes, lines.columns * read, across * of_line * lanes
    step, chunks, taps = across * a_axis.offset_step, sources // of_line, d_axis.taps * b_axis.taps * a_axis.taps
    pitch, plane = vectors_of_block * lanes, vectors_of_block * slots * rows * lanes
    shared_count = across * of_line * plane
    parts, index = launch.blocks(vectors_all, vectors_of_block), uint64 if lines.wide else uint32
    high, deep = b_axis.positions, d_axis.positions

    def body(x, gradient, partial, count, of_slice):
        shared = cuda.shared.array(shared_count, numbers)
        grad, line = cuda.local.array(gradient_count, numbers), cuda.local.array(line_count, numbers)
        sums = cuda.local.array(sum_count, numbers)
        thread, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
        vector = int64(block % uint32(parts)) * vectors_of_block + int64(thread % uint32(vectors_of_block))
        rest = uint32(thread // uint32(vectors_of_block))
        slot, row = int64(rest % uint32(slots)), int64(rest // uint32(slots)) + int64(block // uint32(parts)) * rows
        c, there = vector * lanes, vector < vectors_all and row < all_rows
        chunk, cut = row % chunks, row // chunks % cuts
        jb, jd = row // (chunks * cuts) % b_axis.taps, row // (chunks * cuts * b_axis.taps)
        source = c // results * sources + chunk * of_line
        for i in range(sum_count):
            sums[i] = 0
        begin = int64(cuda.blockIdx.y) * of_slice
        end = min(begin + of_slice, count) if there else begin
        for item in range(begin + slot, end, slots):
            i = index(item)
            if last:
                tile, i = int64(i % index(tiles)), index(i // index(tiles))
                b, i = int64(i % index(high)), index(i // index(high))
            else:
                b, i = int64(i % index(high)), index(i // index(high))
                tile, i = int64(i % index(tiles)), index(i // index(tiles))
            d, n = int64(i % index(deep)), int64(i // index(deep))
            in_d = d * d_axis.stride + d_axis.offset + jd * d_axis.offset_step
            in_b = b * b_axis.stride + b_axis.offset + jb * b_axis.offset_step
            if 0 <= in_d < d_axis.size and 0 <= in_b < b_axis.size:
                o = n * o_s[0] + c * o_s[1] + d * o_s[2] + b * o_s[3] + tile * (positions * o_s[4])
                for q in range(positions):
                    if exact or tile * positions + q < wide:
                        read_gradient(grad, q * lanes, gradient, o + q * o_s[4])
                    else:
                        for v in range(lanes):
                            grad[q * lanes + v] = 0
                column = tile * (positions * a_axis.stride) + a_axis.offset + cut * step
                at = n * x_s[0] + source * x_s[1] + in_d * x_s[2] + in_b * x_s[3] + column * x_s[4]
                fill(line, x, at, column)
                for j in range(across):
                    for s in range(of_line):
                        for q in range(positions):
                            at_line = (q * a_axis.stride + j * a_axis.offset_step) * read + s
                            for v in range(lanes):
                                of = at_line + v if own else at_line
                                sums[(j * of_line + s) * lanes + v] += grad[q * lanes + v] * line[of]
        mine = int64(thread) * lanes
        for i in range(across * of_line):
            for v in range(lanes):
                shared[mine + i * plane + v] = sums[i * lanes + v]
        cuda.syncthreads()
        left = slots
        while left > 1:
            half = (left + 1) // 2
            if slot < left - half:
                for i in range(across * of_line):
                    for v in range(lanes):
                        shared[mine + i * plane + v] += shared[mine + half * pitch + i * plane + v]
            left = half
            cuda.syncthreads()
        if there and slot == 0:
            for j in range(min(across, a_axis.taps - cut * across)):
                tap = places[0] + jd * places[1] + jb * places[2] + (cut * across + j) * places[3]
                for s in range(of_line):
                    to = (int64(cuda.blockIdx.y) * taps + tap) * sources + chunk * of_line + s
                    write(partial, to * channels + c, shared, mine + (j * of_line + s) * plane)

    return body


@launch.kernel(threads=PARTS * OUTPUTS)
def add_slices(taps: int, sources: int, channels: int, dtype: str):
    """out[c, s, tap] = sum over slices of partial[slice, tap, s, c]: every eighth slice a thread, then these."""
    size, numbers, store = taps * sources * channels, line_tile.number_type(dtype), values.store(dtype)
    threads = PARTS * OUTPUTS

    def body(partial, out, slices):
        shared = cuda.shared.array(threads, numbers)
        thread = int64(cuda.threadIdx.x)
        i, part = int64(cuda.blockIdx.x) * OUTPUTS + thread % OUTPUTS, thread // OUTPUTS
        total = numbers(0)
        if i < size:
            for slice_ in range(part, slices, PARTS):
                total += partial[uint64(slice_ * size + i)]
        shared[thread] = total
        cuda.syncthreads()
        if thread < OUTPUTS and i < size:
            for other in range(1, PARTS):
                total += shared[thread + other * OUTPUTS]
            c, s, tap = i % channels, i // channels % sources, i // (channels * sources)
            store(out, uint64((c * sources + s) * taps + tap), total)

    return body


class DepthwiseWeight(Algorithm):
    """Weight pass of groups of one source channel."""

    name = "depthwise"
    accepts: tuple[str, ...] = (
        "depthwise_3x3",
        "depthwise_5x5_strided",
        "depthwise_7x7",
        "depthwise_1d",
        "depthwise_3d",
        "one_pixel",
    )
    most_sources = 1

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.dtype.name not in DTYPES:
            return f"the tile multiplies floats, not {problem.dtype}"
        sources, results = problem.ci // problem.groups, problem.co // problem.groups
        if min(sources, results, problem.n) == 0:
            return "there is nothing to sum"
        if sources > self.most_sources or results > WIDEST:
            return f"groups of {sources} to {results} channels are more than {self.most_sources} to {WIDEST}"
        return None

    def shared_bytes(self, problem: ConvProblem) -> int:
        size = 8 if problem.dtype.name == "float64" else 4
        return max(cut.grid[1] for cut in works(problem)) * math.prod(problem.weight_shape) * size

    def cost(self, problem: ConvProblem) -> float:
        """Estimate: the bytes at three quarters of the bandwidth, or the products at 15 TF/s. Not measured."""
        return 2 * LAUNCH + max(problem.bytes / (0.75 * BANDWIDTH), problem.flops / 15e12)

    def run(self, problem, packed, x, bias, residual, out, workspace):
        dtype, taps = problem.dtype.name, math.prod(problem.kernel)
        partial = memory.seen_as(workspace, vectors.number_dtype(dtype))
        cut = works(problem)[0 if vectors.aligned(x, packed) else 1]
        slices = cut.grid[1]
        correlate(*cut[:7], dtype)(
            cut.grid, cut.vectors * cut.rows * cut.slots, flat(x), flat(packed), partial, cut.tiles, cut.tiles_of_slice
        )
        blocks = launch.blocks(out.size, OUTPUTS)
        add_slices(taps, cut.lines.sources, problem.co, dtype)(blocks, PARTS * OUTPUTS, partial, flat(out), slices)


class GroupedWeight(DepthwiseWeight):
    """Weight pass of groups of few channels."""

    name = "grouped"
    accepts = ("grouped_2", "grouped_uneven", "grouped_pointwise", "grouped_to_one", "conv_3d_grouped")
    most_sources = WIDEST

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.groups == 1:
            return "of one group it is a matrix product"
        return super().rejects(problem)
