"""im2col: the weight's gradient as a blocked matrix product, both operands packed on the fly.

    gradient[r, k] = sum over images and positions p of image[k, p] * output_gradient[r, p],      k = (tap, channel)

The rows of a tile are k, its vectors lie along the output channels r, and the sum runs over positions: STEPS of them
are packed at a time, as rows of image[k, .] (the image's own rows, shifted) and as vectors of output_gradient[., p].
An item is a block of k and of r and sums over every image by itself, so no partial gradients are added afterwards and
the result does not depend on the number of threads. Blocks of STEPS are summed in float64.

Loops, outside in: item, image, positions by STEPS, tiles of r, tiles of k, register tile. The split over channels in
place of images is oneDNN's first choice for backward weights too.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.memory import flat
from numconv.problem import ConvProblem, accumulator_dtype, remembered

STEPS = simd.STEPS
ROW_TILES, CHANNEL_TILES, ITEMS = 6, 4, 8  # most tiles of a block, and the least items aimed at
# Of the blocking, an array: tiles of k and of r in a block, and how many blocks there are.
K_TILES, R_TILES, K_BLOCKS, R_BLOCKS = range(4)


# Of a segment, positions in one row of the result: first, how many, and coordinates of the first.
SEGMENT = 5
OUTSIDE = -(1 << 40)  # coordinate of positions that only fill up a tile


@jit.function
def find_segments():
    """Cut `count` positions from `first` on at the ends of rows (of `width`) and of tiles; pad up to a whole tile."""

    def segments_of(segments, first, count, height, width, tile):
        found, j = 0, 0
        while j < count:
            row, column = divmod(first + j, width)
            length = min(width - column, count - j, tile - j % tile)
            at = found * SEGMENT
            segments[at], segments[at + 1] = j, length
            segments[at + 2], segments[at + 3], segments[at + 4] = row // height, row % height, column
            found, j = found + 1, j + length
        if j % tile:
            at = found * SEGMENT
            segments[at], segments[at + 1], segments[at + 2] = j, tile - j % tile, OUTSIDE
            segments[at + 3] = segments[at + 4] = 0
            found += 1
        return found

    return segments_of


@jit.kernel
def multiply(rows, vectors, dtype, half):
    """The product, with tiles of rows x vectors."""
    width = vectors * simd.lanes(dtype)
    tile, move, load, store = simd.tile(rows, vectors, STEPS, 1), simd.move(dtype), simd.load(half), simd.store(half)
    write, fill = simd.store(0), simd.fill()
    segments_of, clip, table = find_segments(), geo.valid_range(), simd.stack(SEGMENT * (STEPS + 1), "int64")
    area = rows * width

    def body(start, stop, worker, x, gradient, out, workspace, sums, header, phases, taps, blocking):
        segments = table()
        channels, sources, counts = header[geo.R], header[geo.S], phases[0]
        height, line = counts[geo.COUNT_H], counts[geo.COUNT_W]
        positions, terms = counts[geo.COUNT_D] * height * line, header[geo.TAPS] * sources
        k_tiles, r_tiles = blocking[K_TILES], blocking[R_TILES]
        image = worker * (k_tiles * rows + r_tiles * width) * STEPS
        other = image + k_tiles * rows * STEPS
        total = worker * k_tiles * r_tiles * area
        # Locals, since a store to the workspace could change the header for all that the compiler knows.
        x_c, x_d, x_h, x_w = header[geo.X_C], header[geo.X_D], header[geo.X_H], header[geo.X_W]
        out_c, out_d, out_h, out_w = header[geo.OUT_C], header[geo.OUT_D], header[geo.OUT_H], header[geo.OUT_W]
        stride_d, stride_h, stride_w = header[geo.STRIDE_D], header[geo.STRIDE_H], header[geo.STRIDE_W]
        source_d, source_h, source_w = header[geo.SOURCE_D], header[geo.SOURCE_H], header[geo.SOURCE_W]
        step = stride_w * x_w
        for item in range(start, stop):
            rest, r_block = divmod(item, blocking[R_BLOCKS])
            g, k_block = divmod(rest, blocking[K_BLOCKS])
            k0, r0 = k_block * k_tiles * rows, r_block * r_tiles * width
            k1, r1 = min(k0 + k_tiles * rows, terms), min(r0 + r_tiles * width, channels)
            across, down = -(-(r1 - r0) // width), -(-(k1 - k0) // rows)
            fill(sums, total, total + across * down * area, 0)
            for n in range(header[geo.N]):
                x_at = header[geo.X_0] + n * header[geo.X_N] + g * sources * x_c
                o_at = header[geo.OUT_0] + n * header[geo.OUT_N] + (g * channels + r0) * out_c
                for p in range(0, positions, STEPS):
                    steps = min(STEPS, positions - p)
                    for q in range(segments_of(segments, p, steps, height, line, STEPS)):
                        j, length = segments[q * SEGMENT], segments[q * SEGMENT + 1]
                        d, h, w = segments[q * SEGMENT + 2], segments[q * SEGMENT + 3], segments[q * SEGMENT + 4]
                        if j >= steps:
                            continue
                        o = o_at + d * out_d + h * out_h + w * out_w
                        for i in range(length):
                            for v in range(across):
                                to, some = other + (v * STEPS + j + i) * width, min(width, r1 - r0 - v * width)
                                at = o + i * out_w + v * width * out_c
                                if half == 0 and out_c == 1:
                                    move(workspace, to, gradient, at, 0, some, width)
                                else:
                                    for r in range(some):
                                        write(workspace, to + r, load(gradient, at + r * out_c))
                                    fill(workspace, to + some, to + width, 0)
                        for k in range(k0, k1):
                            t, s = divmod(k, sources)
                            in_d = d * stride_d + taps[t, geo.OFFSET_D]
                            in_h = h * stride_h + taps[t, geo.OFFSET_H]
                            in_w = w * stride_w + taps[t, geo.OFFSET_W]
                            low, high = 0, 0
                            if 0 <= in_d < source_d and 0 <= in_h < source_h:
                                low, high = clip(in_w, stride_w, length, source_w)
                            at = x_at + s * x_c + in_d * x_d + in_h * x_h
                            at, to = at + in_w * x_w, image + (k - k0) * STEPS + j
                            if half == 0 and step == 1:
                                move(workspace, to, x, at, low, high, length)
                            else:
                                fill(workspace, to, to + low, 0)
                                for i in range(low, high):
                                    write(workspace, to + i, load(x, at + i * step))
                                fill(workspace, to + high, to + length, 0)
                    for v in range(across):
                        for u in range(down):
                            a, b = image + u * rows * STEPS, other + v * STEPS * width
                            tile(workspace, a, workspace, b, sums, total + (v * down + u) * area, steps)
            for k in range(k0, k1):
                t, s = divmod(k, sources)
                at = g * header[geo.WEIGHT_G] + s * header[geo.WEIGHT_S] + taps[t, geo.TAP]
                u, row = divmod(k - k0, rows)
                for r in range(r0, r1):
                    v, lane = divmod(r - r0, width)
                    value = sums[total + (v * down + u) * area + row * width + lane]
                    store(out, at + r * header[geo.WEIGHT_R], value)

    return body


class Blocking(NamedTuple):
    """How a problem is cut."""

    rows: int
    vectors: int
    table: np.ndarray
    items: int
    packed: int  # numbers in each worker's panels
    sums: int  # float64 sums of each worker
    seconds: float  # estimate for one thread


@remembered
def blocking(problem: ConvProblem) -> Blocking:
    """Blocks of at most ROW_TILES x CHANNEL_TILES tiles, smaller until there are enough items."""
    swept = geo.sweep(problem)
    lanes = simd.lanes(accumulator_dtype(problem.dtype))
    rows, vectors = simd.tile_rows(), 2 if swept.result_channels > lanes else 1
    width = vectors * lanes
    down = max(-(-len(swept.taps) * swept.source_channels // rows), 1)
    across = max(-(-swept.result_channels // width), 1)
    k_tiles, r_tiles = min(ROW_TILES, down), min(CHANNEL_TILES, across)
    while problem.groups * -(-down // k_tiles) * -(-across // r_tiles) < ITEMS and k_tiles * r_tiles > 1:
        k_tiles, r_tiles = (-(-k_tiles // 2), r_tiles) if k_tiles >= r_tiles else (k_tiles, -(-r_tiles // 2))
    k_blocks, r_blocks = -(-down // k_tiles), -(-across // r_tiles)
    table = np.array([k_tiles, r_tiles, k_blocks, r_blocks], np.int64)
    packed = (k_tiles * rows + r_tiles * width) * STEPS
    items, sums = problem.groups * k_blocks * r_blocks, k_tiles * r_tiles * rows * width
    # Tiles at 150 GF/s in float32, a packed number at 0.7 ns.
    each = sums * swept.accumulator.itemsize / 3e11 + (k_tiles * rows + r_tiles * width) * 7e-10
    seconds = 4e-6 + items * problem.n * math.prod(problem.out_spatial) * each
    return Blocking(rows, vectors, table, items, packed, sums, seconds)


class Im2colWeight(Algorithm):
    """Weight pass."""

    name = "im2col"
    replays = True
    accepts = ("deep_600_taps", "pointwise_wide", "grouped_uneven", "conv_1d", "conv_3d_grouped", "dilated_strided")

    def rejects(self, problem: ConvProblem) -> str | None:
        if accumulator_dtype(problem.dtype).name not in ("float32", "float64"):
            return f"the register tile multiplies float32 and float64, not {problem.dtype}"
        return None

    def worker_bytes(self, problem: ConvProblem) -> int:
        cut = blocking(problem)
        return cut.sums * 8 + cut.packed * accumulator_dtype(problem.dtype).itemsize

    def items(self, problem: ConvProblem) -> int:
        return blocking(problem).items

    def cost(self, problem: ConvProblem) -> float:
        return blocking(problem).seconds

    def run(self, problem, packed, x, bias, residual, out, workspace):
        cut, swept = blocking(problem), geo.sweep(problem)
        given = geo.operands(problem, x, None, None, packed)
        kernel = multiply(cut.rows, cut.vectors, swept.kind, swept.half)
        workers = min(jit.workers(cut.seconds), workspace.size // self.worker_bytes(problem), max(cut.items, 1))
        split = workers * cut.sums * 8
        kernel(
            workers, cut.items, given.x, given.out, flat(out)[0], workspace[split:].view(swept.accumulator),
            workspace[:split].view(np.float64), given.header, swept.phases, swept.taps, cut.table,
        )  # fmt: skip
