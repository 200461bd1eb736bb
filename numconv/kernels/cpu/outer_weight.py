"""The weight's gradient on channels-last arrays: sums of outer products of two images read in place.

    gradient[r, s, tap] = sum over images and positions p of  source[p stride + offset(tap), s] * output_gradient[p, r]

The rows of a register tile are neighbouring source channels s, its vectors neighbouring result channels r, and the sum
runs along rows of positions: both images lie in memory as the tile reads them, so nothing is packed. Positions whose
window leaves the image at a tap are left out of its lines. An item is a block of s, r and taps, and sums over every
image by itself: no partial gradients are added afterwards, and the result does not depend on the number of threads (the
first choice of oneDNN's backward weights as well). About STEPS positions are summed in registers, then in float64.

Loops, outside in: item (group, taps, block of s, block of r), positions by whole rows, taps, register tile. Images
whose channels do not lie last are laid out first (see `layout`), and those of few channels, so that the taps of a
kernel's row are neighbouring channels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import indirect, jit, layout, simd, tiles
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.memory import flat, whole_lines
from numconv.problem import LAST, ConvProblem, accumulator_dtype, remembered

STEPS = 256  # positions summed in registers, unless a row is longer
TAPS = 32  # most taps of an item: its sums, 8 x 32 x 32 numbers, take 64 KB
# Of the blocking, an array: tiles of s and r, taps of an item and blocks of taps, rows of the result at a time, taps of
# a kernel's row that count as channels.
# And the address of the tile, its rows and channels.
S_TILES, R_TILES, ITEM_TAPS, TAP_BLOCKS, LINES, JOINED, TILE, ROWS, WIDTH = range(9)


@jit.kernel
def multiply(dtype, half):
    """The sums over positions, with the tile of the blocking; `gradient` is the output's, channels last."""
    lanes = simd.lanes(dtype)
    call, address, clip, fill = simd.call, simd.address, geo.valid_range(), simd.fill()
    turn, square, move = simd.transpose(dtype), simd.stack(lanes * lanes, dtype), simd.move(dtype)
    read, write, store = simd.load(0), simd.store(0), simd.store(half)
    prefetch, of_line = simd.prefetch, 64 // np.dtype(dtype).itemsize

    def body(start, stop, worker, x, gradient, out, sums, lines, turned, header, taps, blocking):
        block, tile, rows, width = square(), blocking[TILE], blocking[ROWS], blocking[WIDTH]
        sources, channels, counts = header[geo.S], header[geo.R], header[geo.STEP_D : geo.STEP_W + 1]
        deep, high, wide = counts[0], counts[1], counts[2]
        step, y_step = header[geo.STRIDE_W] * header[geo.X_W], header[geo.OUT_W]
        at_once, most_taps = blocking[LINES], blocking[ITEM_TAPS]
        total, table = worker * most_taps * rows * width, worker * at_once * 3
        buffer = worker * most_taps * rows * width
        over_r, over_s = header[geo.WEIGHT_R], header[geo.WEIGHT_S]
        for item in range(start, stop):
            rest, r_tile = divmod(item, blocking[R_TILES])
            rest, s_tile = divmod(rest, blocking[S_TILES])
            g, tap_block = divmod(rest, blocking[TAP_BLOCKS])
            s = min(s_tile * rows, sources - rows)  # the last tile is moved back over its neighbour
            r, some = r_tile * width, min(width, channels - r_tile * width)
            first_tap = tap_block * most_taps
            item_taps = min(most_taps, len(taps) - first_tap)
            fill(sums, total, total + item_taps * rows * width, 0)
            # The lines of the result come while it is computed: 2.7 ms in place of 3.3 for 512 channels and 7x7.
            if item_taps == over_s:
                for j in range(some):
                    to = g * header[geo.WEIGHT_G] + (r + j) * over_r + s * over_s
                    for k in range(0, rows * over_s, of_line):
                        prefetch(address(out, to + k))
            for line in range(0, header[geo.N] * deep * high, at_once):
                for t in range(item_taps):
                    tap, found = taps[first_tap + t], 0
                    in_w = tap[geo.OFFSET_W]
                    low, past = clip(in_w, header[geo.STRIDE_W], wide, header[geo.SOURCE_W])
                    for k in range(line, min(line + at_once, header[geo.N] * deep * high)):
                        rest, h = divmod(k, high)
                        n, d = divmod(rest, deep)
                        in_d = d * header[geo.STRIDE_D] + tap[geo.OFFSET_D]
                        in_h = h * header[geo.STRIDE_H] + tap[geo.OFFSET_H]
                        inside = 0 <= in_d < header[geo.SOURCE_D] and 0 <= in_h < header[geo.SOURCE_H]
                        if inside and past > low:
                            at = header[geo.X_0] + n * header[geo.X_N] + in_d * header[geo.X_D] + in_h * header[geo.X_H]
                            at += in_w * header[geo.X_W] + low * step + g * sources
                            o = header[geo.OUT_0] + n * header[geo.OUT_N] + d * header[geo.OUT_D]
                            o += h * header[geo.OUT_H] + low * y_step + g * channels
                            place = table + 3 * found
                            lines[place] = address(x, at)
                            lines[place + 1], lines[place + 2] = address(gradient, o), past - low
                            found += 1
                    sums_at = address(sums, total + t * rows * width)
                    call(tile, (address(lines, table), sums_at, found, s, step, r, y_step, some))
            # In the weight a channel's numbers lie in a run over sources and taps.
            for t in range(item_taps):
                for i in range(rows):
                    source, to = total + (t * rows + i) * width, buffer + (i * item_taps + t) * width
                    for j in range(width):
                        write(turned, to + j, read(sums, source + j))
            at = g * header[geo.WEIGHT_G] + r * over_r
            whole, joined = half == 0 and item_taps == over_s, blocking[JOINED]
            plain = sources // joined
            for k in range(0, rows * item_taps, lanes):
                here = min(lanes, rows * item_taps - k)
                for v in range(0, some, lanes):
                    of = min(lanes, some - v)
                    turn(turned, buffer + k * width + v, width, here, of, block)
                    for j in range(of):
                        if whole:
                            move(out, at + (v + j) * over_r + s * over_s + k, block, j * lanes, 0, here, here)
                        else:
                            for i in range(here):
                                row, tap = divmod(k + i, item_taps)
                                column, channel = divmod(s + row, plain)
                                to = at + (v + j) * over_r + channel * over_s + (first_tap + tap) * joined + column
                                store(out, to, read(block, j * lanes + i))

    return body


class Blocking(NamedTuple):
    """How a problem is cut."""

    x_laid: int  # numbers of the laid-out source, 0 where it is read in place
    y_laid: int  # of the output's gradient
    table: np.ndarray
    taps: np.ndarray
    items: int
    sums: int  # for each worker
    lines: int  # for each worker
    seconds: float  # estimate for one thread


@remembered
def blocking(problem: ConvProblem) -> Blocking:
    """Items of one tile and all taps, or TAPS of them."""
    swept, dtype = geo.sweep(problem), accumulator_dtype(problem.dtype)
    lanes, channels, sources, taps = simd.lanes(dtype), swept.result_channels, swept.source_channels, swept.taps
    in_place = problem.layout_in == LAST and not swept.half
    row, joined = problem.kernel[-1], 1
    if sources < 4 and row > 1 and problem.groups == 1 and problem.dilation[-1] == 1:
        in_place, joined = False, row
    if not in_place:
        taps = layout.frame(problem).taps[::joined]
    vectors = indirect.tile_vectors(channels, dtype)
    # Positions come from the second level of the cache: a tile of few rows waits for them.
    tall = [r for r in indirect.ROWS if r * vectors <= indirect.MOST_SUMS]
    rows = min(min(tall, key=lambda r: -(-sources * joined // r) * (r + 4)), sources * joined)
    width = vectors * lanes
    item_taps = min(TAPS, len(taps))
    at_once = max(STEPS // max(problem.out_spatial[-1], 1), 1)
    s_tiles, r_tiles, tap_blocks = -(-sources * joined // rows), -(-channels // width), -(-len(taps) // item_taps)
    table = np.array([s_tiles, r_tiles, item_taps, tap_blocks, at_once, joined, 0, rows, width], np.int64)
    items = problem.groups * s_tiles * r_tiles * tap_blocks
    positions = problem.n * math.prod(problem.out_spatial)
    # Products at 230 GF/s in float32, 40 ns for the sums of a tap and as much for its lines; storing at 0.6 ns.
    each = positions * rows * width * dtype.itemsize / 4.6e11
    chunks = problem.n * -(-math.prod(problem.out_spatial[:-1]) // at_once)
    seconds = items * item_taps * (each + chunks * 1e-7 + rows * width * 6e-10)
    y_laid = 0 if in_place or (problem.layout_in == LAST and not swept.half) else positions * problem.co
    x_laid = 0 if in_place else layout.frame(problem).size
    return Blocking(
        x_laid, y_laid, table, taps, items, item_taps * rows * width, at_once * 3,
        seconds + (x_laid + y_laid) * 3e-10,
    )  # fmt: skip


@remembered
def with_tile(problem: ConvProblem) -> np.ndarray:
    """The blocking as kernels read it, with its tile, compiled."""
    table, kind = blocking(problem).table.copy(), geo.sweep(problem).kind
    table[TILE] = tiles.address(tiles.outer, 8, int(table[ROWS]), int(table[WIDTH]) // simd.lanes(kind), kind)
    return table


class OuterWeight(Algorithm):
    """Weight pass."""

    replays = True

    name = "outer"
    accepts = ("deep_600_taps", "pointwise_wide", "grouped_uneven", "conv_1d", "conv_3d_grouped", "dilated_strided")

    def rejects(self, problem: ConvProblem) -> str | None:
        if accumulator_dtype(problem.dtype).name not in ("float32", "float64"):
            return f"the register tile multiplies float32 and float64, not {problem.dtype}"
        if problem.n * problem.ci * problem.co * math.prod(problem.out_spatial) * math.prod(problem.spatial) == 0:
            return "there is nothing to sum"
        return None

    def shared_bytes(self, problem: ConvProblem) -> int:
        cut, size = blocking(problem), accumulator_dtype(problem.dtype).itemsize
        return whole_lines(cut.x_laid * size) + whole_lines(cut.y_laid * size)

    def worker_bytes(self, problem: ConvProblem) -> int:
        cut = blocking(problem)
        return cut.sums * 8 + whole_lines(cut.sums * accumulator_dtype(problem.dtype).itemsize) + cut.lines * 8

    def items(self, problem: ConvProblem) -> int:
        return blocking(problem).items

    def cost(self, problem: ConvProblem) -> float:
        return 4e-6 + blocking(problem).seconds

    def run(self, problem, packed, x, bias, residual, out, workspace):
        cut, swept = blocking(problem), geo.sweep(problem)
        gradient = packed
        if not cut.y_laid and gradient.strides[-1] != gradient.itemsize:
            gradient = np.ascontiguousarray(gradient)
        if not cut.x_laid and x.strides[-1] != x.itemsize:
            x = np.ascontiguousarray(x)
        given = geo.operands(problem, x, None, None, gradient)
        size = swept.accumulator.itemsize
        header, gradient_flat = given.header.copy(), given.out
        if cut.x_laid:
            memory = workspace[: cut.x_laid * size].view(swept.accumulator)
            given = layout.laid(problem, given, memory)
            header = given.header
            header[geo.S] = swept.source_channels * cut.table[JOINED]
        if cut.y_laid:
            gradient_flat = workspace[whole_lines(cut.x_laid * size) :][: cut.y_laid * size].view(swept.accumulator)
            layout.lay_out_result(problem, given.out, header, gradient_flat)
        header[geo.STEP_D : geo.STEP_W + 1] = swept.phases[0, geo.COUNT_D : geo.COUNT_W + 1]
        shared = self.shared_bytes(problem)
        workers = (workspace.size - shared) // self.worker_bytes(problem)
        workers = min(jit.workers(cut.seconds), workers, cut.items)
        sums, turned = workers * cut.sums * 8, workers * whole_lines(cut.sums * size)
        rest = workspace[shared:]
        multiply(swept.kind, swept.half)(
            workers, cut.items, given.x, gradient_flat, flat(out)[0], rest[:sums].view(np.float64),
            rest[sums + turned :].view(np.int64), rest[sums : sums + turned].view(swept.accumulator), header, cut.taps,
            with_tile(problem),
        )  # fmt: skip
