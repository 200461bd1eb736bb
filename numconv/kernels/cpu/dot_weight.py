"""The weight's gradient on channels-first arrays of few channels: dot products of rows read in place.

    gradient[r, s, tap] = sum over images and rows of  output_gradient[row of r] . source[row of s, from offset(tap) on]

The vectors lie along a row, and a register tile multiplies the rows of a few result channels r with one row of a source
channel s, read at each tap of a row of the kernel: rows + taps loads for rows x taps products. Nothing is copied or
packed, so layers of few channels, whose copies cost as much as their products, gain most. What is left over at the end
of a row is masked. An item is a tile of r, a channel s and a row of taps, and sums over all images by itself: no
partial gradients are added afterwards, and the result does not depend on the number of threads. A lane adds STEPS
products in a register, then in float64; the lanes are added at the end.

Loops, outside in: item, positions by at most STEPS vectors, register tile (images, vectors of a row, rows).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import jit, simd, tiles
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.dot_tile import dot
from numconv.kernels.cpu.memory import flat
from numconv.problem import LAST, ConvProblem, remembered

STEPS = 256  # vectors of positions summed in registers
SUMS = 20 if simd.vector_bits() == 512 else 8  # most of a tile: 24 of 32 registers take 1.2 times as long
# Of the blocking, an array: tiles of r, rows of the kernel, blocks of taps in such a row, taps of the kernel's row and
# the address of the tile, its channels and taps.
R_TILES, KERNEL_ROWS, TAP_BLOCKS, KERNEL_W, TILE, ROWS, TAPS, APART, DEEP, HIGH, WIDE = range(11)


@jit.kernel
def multiply(dtype):
    """The sums over positions, with the tile of the blocking; `gradient` is the output's."""
    lanes = simd.lanes(dtype)
    call, address, clip, fill, store = simd.call, simd.address, geo.valid_range(), simd.fill(), simd.store(0)
    room = simd.stack(SUMS * lanes, "float64")

    def body(start, stop, worker, x, gradient, out, header, taps, blocking):
        sums, tile, rows, taps_of_tile = room(), blocking[TILE], blocking[ROWS], blocking[TAPS]
        sources, channels, images = header[geo.S], header[geo.R], header[geo.N]
        deep, wide, x_h, y_h = blocking[DEEP], blocking[WIDE], header[geo.X_H], header[geo.OUT_H]
        stride_h, across = header[geo.STRIDE_H], (blocking[WIDE] + lanes - 1) // lanes
        for item in range(start, stop):
            rest, tap_block = divmod(item, blocking[TAP_BLOCKS])
            rest, kernel_row = divmod(rest, blocking[KERNEL_ROWS])
            rest, r_tile = divmod(rest, blocking[R_TILES])
            g, s = divmod(rest, sources)
            # The last tile is moved back over its neighbour.
            r = min(r_tile * rows, channels - rows)
            t = min(tap_block * taps_of_tile, blocking[KERNEL_W] - taps_of_tile)
            tap = taps[kernel_row * blocking[KERNEL_W] + t]
            low, past = clip(tap[geo.OFFSET_H], stride_h, blocking[HIGH], header[geo.SOURCE_H])
            fill(sums, 0, rows * taps_of_tile * lanes, 0.0)
            x_0 = header[geo.X_0] + (g * sources + s) * header[geo.X_C] + tap[geo.OFFSET_H] * x_h
            y_0 = header[geo.OUT_0] + (g * channels + r) * header[geo.OUT_C]
            most_lines = max(min(past - low, STEPS // across), 1)
            most_images = max(STEPS // (most_lines * across), 1) if most_lines == past - low else 1
            for d in range(deep):
                in_d = d * header[geo.STRIDE_D] + tap[geo.OFFSET_D]
                if in_d < 0 or in_d >= header[geo.SOURCE_D]:
                    continue
                for n in range(0, images, most_images):
                    some = min(most_images, images - n)
                    for h in range(low, past, most_lines):
                        count = min(most_lines, past - h)
                        x_at = x_0 + n * header[geo.X_N] + in_d * header[geo.X_D] + h * stride_h * x_h
                        y_at = y_0 + n * header[geo.OUT_N] + d * header[geo.OUT_D] + h * y_h
                        call(
                            tile,
                            (
                                address(x, x_at), address(gradient, y_at), address(sums, 0), some,
                                header[geo.X_N], header[geo.OUT_N], count, stride_h * x_h, y_h, wide,
                                header[geo.OUT_C], tap[geo.OFFSET_W], blocking[APART], header[geo.SOURCE_W],
                            ),
                        )  # fmt: skip
            to = g * header[geo.WEIGHT_G] + r * header[geo.WEIGHT_R] + s * header[geo.WEIGHT_S] + tap[geo.TAP]
            for i in range(rows):
                for j in range(taps_of_tile):
                    total = 0.0
                    for lane in range(lanes):
                        total += sums[(i * taps_of_tile + j) * lanes + lane]
                    store(out, to + i * header[geo.WEIGHT_R] + j, total)

    return body


class Blocking(NamedTuple):
    """How a problem is cut."""

    table: np.ndarray
    items: int
    padded: bool
    seconds: float  # estimate for one thread


@remembered
def blocking(problem: ConvProblem) -> Blocking:
    """Items of one tile."""
    swept = geo.sweep(problem)
    lanes, channels, row = simd.lanes(problem.dtype), swept.result_channels, problem.kernel[-1]
    taps = -(-row // -(-row // min(row, SUMS // 3)))
    tall = range(1, min(channels, SUMS // taps) + 1)
    rows = min(tall, key=lambda r: (-(-channels // r) * (r * taps + r + taps), -r))
    deep, high, wide = (int(n) for n in swept.phases[0, geo.COUNT_D : geo.COUNT_W + 1])
    kernel_rows, r_tiles, tap_blocks = math.prod(problem.kernel[:-1]), -(-channels // rows), -(-row // taps)
    table = [r_tiles, kernel_rows, tap_blocks, row, 0, rows, taps, problem.dilation[-1], deep, high, wide]
    items = problem.groups * swept.source_channels * r_tiles * kernel_rows * tap_blocks
    steps = problem.n * deep * high * -(-wide // lanes)
    each = rows * taps * 0.12e-9 + (rows + taps) * 0.07e-9 + 0.4e-9
    # Fitted to 14 us to 1 ms: 5x5 of 1 and 6 channels, 3x3 of 1 to 32, 1-D.
    seconds = items * (steps * each + (1 + steps / STEPS) * rows * taps * 1.5e-9)
    return Blocking(np.array(table, np.int64), items, any(problem.padding[-1]), seconds)


@remembered
def with_tile(problem: ConvProblem) -> np.ndarray:
    """The blocking as kernels read it, with its tile, compiled."""
    cut = blocking(problem)
    table = cut.table.copy()
    table[TILE] = tiles.address(dot, 14, int(table[ROWS]), int(table[TAPS]), cut.padded, problem.dtype.name)
    return table


class DotWeight(Algorithm):
    """Weight pass."""

    replays = True

    name = "dot"
    accepts_layout = "first"
    accepts = ("channels_16_to_3", "same_3x3", "full_5x3", "conv_1d", "conv_3d_grouped")

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.dtype.name not in ("float32", "float64"):
            return f"the register tile multiplies float32 and float64, not {problem.dtype}"
        if problem.layout_in == LAST:
            return "channels lie between the positions of a row"
        if problem.stride[-1] != 1:
            return f"positions of a row lie {problem.stride[-1]} apart, and a vector takes neighbours"
        if problem.out_spatial[-1] > STEPS * simd.lanes(problem.dtype):
            return f"a row has more than {STEPS} vectors"
        if problem.n * problem.ci * problem.co * math.prod(problem.out_spatial) * math.prod(problem.spatial) == 0:
            return "there is nothing to sum"
        return None

    def items(self, problem: ConvProblem) -> int:
        return blocking(problem).items

    def cost(self, problem: ConvProblem) -> float:
        return 4e-6 + blocking(problem).seconds

    def run(self, problem, packed, x, bias, residual, out, workspace):
        cut, swept = blocking(problem), geo.sweep(problem)
        x, gradient = (a if a.strides[-1] == a.itemsize else np.ascontiguousarray(a) for a in (x, packed))
        given = geo.operands(problem, x, None, None, gradient)
        multiply(swept.kind)(
            min(jit.workers(cut.seconds), cut.items), cut.items, given.x, given.out, flat(out)[0], given.header,
            swept.taps, with_tile(problem),
        )  # fmt: skip
