"""im2col: convolution as a blocked matrix product, the image's panels packed on the fly.

    result[r, p] = sum over k of weight[r, k] * image[k, p],      k = (tap, source channel), p = position

The matrix image[k, p] (im2col: Chellapilla, Puri and Simard, 2006) is never whole: an item packs the panel of a block
of positions and of at most PANEL numbers, multiplies it with every weight tile of its block of channels while the
panel lies in the second-level cache, and goes on to the next k. Loops, outside in (Goto and van de Geijn, ACM TOMS
34, 2008): item, k by panels, k by STEPS, weight tiles, position tiles, register tile.

Either side can lie along the vectors: positions (a channels-first result) or channels (a channels-last result), so
that a tile's rows are stored along the result's contiguous axis. Forward and input pass are one kernel (see `sweep`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import epilogue, jit, simd
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.memory import aligned, flat
from numconv.problem import LAST, ConvProblem, accumulator_dtype, remembered

PANEL = 1 << 16  # numbers in a packed panel: 256 KB in float32, a quarter of the second-level cache
POSITIONS = 64  # most positions of a block
CHANNELS = 512  # most channels of a block: its sums, 512 x 64, share the cache with the panel
ITEMS = 8  # channels are split until there are so many items
STEPS = simd.STEPS
# Of the blocking, an array: tiles and blocks of positions and channels, k of a panel, then each phase's first block.
POSITION_TILES, CHANNEL_TILES, POSITION_BLOCKS, CHANNEL_BLOCKS, PANEL_STEPS, FIRST_BLOCK = range(6)
# Of a segment, positions of a block in one row of the result: first, how many, and coordinates of the first.
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


@jit.function
def pack_positions(width, dtype, half):
    """Pack image[k, p] for first <= k < last with `width` positions of each k side by side."""
    load, write, fill = simd.load(half), simd.store(0), simd.fill()
    clip, move = geo.valid_range(), simd.move(dtype)

    def pack(panel, start, pitch, x, base, header, taps, first_tap, first, last, segments, count):
        channels, x_c, x_d, x_h, x_w = header[geo.S], header[geo.X_C], header[geo.X_D], header[geo.X_H], header[geo.X_W]
        stride_d, stride_h, stride_w = header[geo.STRIDE_D], header[geo.STRIDE_H], header[geo.STRIDE_W]
        source_d, source_h, source_w = header[geo.SOURCE_D], header[geo.SOURCE_H], header[geo.SOURCE_W]
        step = stride_w * x_w
        for t in range(first // channels, (last - 1) // channels + 1):
            s0, s1 = max(first - t * channels, 0), min(last - t * channels, channels)
            tap = taps[first_tap + t]
            for q in range(count):
                j, length = segments[q * SEGMENT], segments[q * SEGMENT + 1]
                d = segments[q * SEGMENT + 2] * stride_d + tap[geo.OFFSET_D]
                h = segments[q * SEGMENT + 3] * stride_h + tap[geo.OFFSET_H]
                w = segments[q * SEGMENT + 4] * stride_w + tap[geo.OFFSET_W]
                low, high = 0, 0
                if 0 <= d < source_d and 0 <= h < source_h:
                    low, high = clip(w, stride_w, length, source_w)
                to = start + j // width * pitch + (t * channels + s0 - first) * width + j % width
                at = base + d * x_d + h * x_h + w * x_w + s0 * x_c
                if half == 0 and step == 1:
                    for s in range(s1 - s0):
                        move(panel, to + s * width, x, at + s * x_c, low, high, length)
                else:
                    for s in range(s1 - s0):
                        row = to + s * width
                        fill(panel, row, row + low, 0)
                        for i in range(low, high):
                            write(panel, row + i, load(x, at + s * x_c + i * step))
                        fill(panel, row + high, row + length, 0)

    return pack


@jit.function
def pack_rows(dtype, half):
    """Pack image[k, p] for first <= k < last with STEPS numbers of k side by side for each position."""
    load, write, fill = simd.load(half), simd.store(0), simd.fill()
    clip, move = geo.valid_range(), simd.move(dtype)

    def pack(panel, start, pitch, x, base, header, taps, first_tap, first, last, segments, count):
        channels, x_c, x_d, x_h, x_w = header[geo.S], header[geo.X_C], header[geo.X_D], header[geo.X_H], header[geo.X_W]
        stride_d, stride_h, stride_w = header[geo.STRIDE_D], header[geo.STRIDE_H], header[geo.STRIDE_W]
        source_d, source_h, source_w = header[geo.SOURCE_D], header[geo.SOURCE_H], header[geo.SOURCE_W]
        step = stride_w * x_w
        k = first
        while k < last:
            t, s = divmod(k, channels)
            piece = min(channels - s, last - k, STEPS - (k - first) % STEPS)
            to = start + (k - first) // STEPS * pitch + (k - first) % STEPS
            tap = taps[first_tap + t]
            for q in range(count):
                j, length = segments[q * SEGMENT], segments[q * SEGMENT + 1]
                d = segments[q * SEGMENT + 2] * stride_d + tap[geo.OFFSET_D]
                h = segments[q * SEGMENT + 3] * stride_h + tap[geo.OFFSET_H]
                w = segments[q * SEGMENT + 4] * stride_w + tap[geo.OFFSET_W]
                low, high = 0, 0
                if 0 <= d < source_d and 0 <= h < source_h:
                    low, high = clip(w, stride_w, length, source_w)
                at = base + d * x_d + h * x_h + w * x_w + s * x_c
                for i in range(length):
                    inside = piece if low <= i < high else 0
                    row = to + (j + i) * STEPS
                    if half == 0 and x_c == 1:
                        move(panel, row, x, at + i * step, 0, inside, piece)
                    else:
                        for c in range(inside):
                            write(panel, row + c, load(x, at + i * step + c * x_c))
                        fill(panel, row + inside, row + piece, 0)
            k += piece

    return pack


@jit.kernel
def pack_weight(width, half):
    """Pack weight[r, k] as packed[group, phase, tile, k, `width` channels], zeros past the last channel."""
    load, write, fill = simd.load(half), simd.store(0), simd.fill()

    def body(start, stop, worker, weight, packed, header, phases, taps):
        over_r, over_s, sources, channels = header[geo.WEIGHT_R], header[geo.WEIGHT_S], header[geo.S], header[geo.R]
        tiles = -(-channels // width)
        for item in range(start, stop):
            g, tile = divmod(item, tiles)
            to_group = g * tiles * width * len(taps) * sources
            for phase in range(len(phases)):
                first, count = phases[phase, geo.FIRST_TAP], phases[phase, geo.TAP_COUNT]
                to = to_group + (first * tiles + tile * count) * sources * width
                for t in range(first, first + count):
                    at = g * header[geo.WEIGHT_G] + tile * width * over_r + taps[t, geo.TAP]
                    rows = min(width, channels - tile * width)
                    for _ in range(sources):
                        for i in range(rows):
                            write(packed, to + i, load(weight, at + i * over_r))
                        fill(packed, to + rows, to + width, 0)
                        to += width
                        at += over_s

    return body


@jit.kernel
def multiply(along, rows, vectors, dtype, half):
    """The product, with `along` ("positions" or "channels") lying along the vectors of a tile rows x vectors."""
    width = vectors * simd.lanes(dtype)
    positions_along = along == "positions"
    position_tile, channel_tile = (width, rows) if positions_along else (rows, width)
    tile = simd.tile(rows, vectors, 1, rows) if positions_along else simd.tile(rows, vectors, STEPS, 1)
    pack = pack_positions(width, dtype, half) if positions_along else pack_rows(dtype, half)
    segments_of, move, fill = find_segments(), simd.move(dtype), simd.fill()
    add, activate, store = epilogue.add_run(half), epilogue.activate_run(), epilogue.store_run(half, dtype)
    most_segments = SEGMENT * (POSITIONS + 2 * max(rows, width))
    table = simd.stack(most_segments, "int64")
    area = rows * width

    def body(
        start, stop, worker, x, packed, bias, residual, out, workspace, header, phases, taps, blocking, parameter
    ):  # fmt: skip
        sources, places = table(), table()
        # Locals, since a store to the workspace could change the header for all that the compiler knows.
        groups, channels, has_residual = header[geo.GROUPS], header[geo.R], header[geo.HAS_RESIDUAL] != 0
        activated, out_c, more_c = header[geo.ACTIVATION] != 0, header[geo.OUT_C], header[geo.RESIDUAL_C]
        out_w, more_w = header[geo.STEP_W] * header[geo.OUT_W], header[geo.STEP_W] * header[geo.RESIDUAL_W]
        position_tiles, channel_tiles = blocking[POSITION_TILES], blocking[CHANNEL_TILES]
        all_tiles = -(-channels // channel_tile)
        panel_size = blocking[PANEL_STEPS] * position_tiles * position_tile
        panel = worker * (panel_size + position_tiles * channel_tiles * area)
        sums = panel + panel_size
        pitch = blocking[PANEL_STEPS] * width if positions_along else position_tiles * rows * STEPS
        for item in range(start, stop):
            rest, block = divmod(item, blocking[POSITION_BLOCKS])
            rest, g = divmod(rest, groups)
            channel_block, n = divmod(rest, header[geo.N])
            phase = 0
            while phase + 1 < len(phases) and blocking[FIRST_BLOCK + phase + 1] <= block:
                phase += 1
            counts = phases[phase]
            height, row = counts[geo.COUNT_H], counts[geo.COUNT_W]
            first = (block - blocking[FIRST_BLOCK + phase]) * position_tiles * position_tile
            here = min(position_tiles * position_tile, counts[geo.COUNT_D] * height * row - first)
            tiles = -(-here // position_tile)
            first_tile = channel_block * channel_tiles
            last_tile = min(first_tile + channel_tiles, all_tiles)
            found = segments_of(sources, first, here, height, row, position_tile)

            terms = counts[geo.TAP_COUNT] * header[geo.S]
            first_tap = counts[geo.FIRST_TAP]
            weights = (g * len(taps) + first_tap) * header[geo.S] * all_tiles * channel_tile
            base = header[geo.X_0] + n * header[geo.X_N] + g * header[geo.S] * header[geo.X_C]
            for c in range(first_tile, last_tile):
                b = g * channels + c * channel_tile
                some = min(channel_tile, channels - c * channel_tile)
                for line in range((c - first_tile) * tiles * rows, (c - first_tile + 1) * tiles * rows):
                    if positions_along:
                        value = bias[b + min(line % rows, some - 1)]
                        fill(workspace, sums + line * width, sums + (line + 1) * width, value)
                    else:
                        move(workspace, sums + line * width, bias, b, 0, some, width)
            for k0 in range(0, terms, blocking[PANEL_STEPS]):
                k1 = min(k0 + blocking[PANEL_STEPS], terms)
                pack(workspace, panel, pitch, x, base, header, taps, first_tap, k0, k1, sources, found)
                for k in range(k0, k1, STEPS):
                    steps = min(STEPS, k1 - k)
                    for c in range(first_tile, last_tile):
                        w = weights + (c * terms + k) * channel_tile
                        for p in range(tiles):
                            s = sums + ((c - first_tile) * tiles + p) * area
                            if positions_along:
                                at = panel + p * pitch + (k - k0) * width
                                tile(packed, w, workspace, at, workspace, s, steps)
                            else:
                                at = panel + (k - k0) // STEPS * pitch + p * rows * STEPS
                                tile(workspace, at, packed, w, workspace, s, steps)

            # Where the result's rows follow each other in memory, a tile's positions are one run.
            if header[geo.LINEAR]:
                height, row = 1, counts[geo.COUNT_D] * height * row
            found = segments_of(places, first, here, height, row, position_tile)
            for q in range(found):
                j, length = places[q * SEGMENT], places[q * SEGMENT + 1]
                if places[q * SEGMENT + 2] == OUTSIDE:
                    continue
                d = counts[geo.START_D] + places[q * SEGMENT + 2] * header[geo.STEP_D]
                h = counts[geo.START_H] + places[q * SEGMENT + 3] * header[geo.STEP_H]
                v = counts[geo.START_W] + places[q * SEGMENT + 4] * header[geo.STEP_W]
                out_at = header[geo.OUT_0] + n * header[geo.OUT_N] + v * header[geo.OUT_W]
                out_at += d * header[geo.OUT_D] + h * header[geo.OUT_H]
                more_at = header[geo.RESIDUAL_0] + n * header[geo.RESIDUAL_N] + v * header[geo.RESIDUAL_W]
                more_at += d * header[geo.RESIDUAL_D] + h * header[geo.RESIDUAL_H]
                for c in range(first_tile, last_tile):
                    b = g * channels + c * channel_tile
                    some = min(channel_tile, channels - c * channel_tile)
                    s = sums + ((c - first_tile) * tiles + j // position_tile) * area
                    # A run lies along the tile's vectors; runs lie side by side along its rows.
                    if positions_along:
                        s += j % width
                        runs, run, out_step, more_step, out_next, more_next = some, length, out_w, more_w, out_c, more_c
                    else:
                        s += j % rows * width
                        runs, run, out_step, more_step, out_next, more_next = length, some, out_c, more_c, out_w, more_w
                    for i in range(runs):
                        if has_residual:
                            add(
                                workspace, s + i * width, run, residual, more_at + b * more_c + i * more_next, more_step
                            )
                        if activated:
                            activate(workspace, s + i * width, s + i * width + run, header, parameter)
                        store(out, out_at + b * out_c + i * out_next, out_step, workspace, s + i * width, run)

    return body


class Blocking(NamedTuple):
    """How a problem is cut: the tile, the blocking as kernels read it, and sizes."""

    along: str
    rows: int
    vectors: int
    channel_tile: int
    table: np.ndarray
    items: int
    workspace: int  # numbers for each worker
    packed: int  # numbers of the packed weight
    seconds: float  # estimate for one thread


@remembered
def blocking(problem: ConvProblem) -> Blocking:
    """The tile with the least waste, and blocks that keep panel and sums in the second-level cache."""
    swept = geo.sweep(problem)
    dtype = accumulator_dtype(problem.dtype)
    lanes, channels = simd.lanes(dtype), swept.result_channels
    along = "channels" if problem.layout_out == LAST and channels >= lanes else "positions"
    if along == "channels":
        vectors = 2 if channels > lanes else 1
        rows = simd.tile_rows()
        position_tile, channel_tile = rows, vectors * lanes
    else:
        vectors = 2
        rows = min(
            (simd.tile_rows(), 8, 4, 2), key=lambda r: -(-channels // r) * (r + 1.5) if r <= simd.tile_rows() else 1e9
        )
        position_tile, channel_tile = vectors * lanes, rows
    counts = [math.prod(int(c) for c in phase[geo.COUNT_D : geo.COUNT_W + 1]) for phase in swept.phases]
    largest = max(counts, default=0)
    position_tiles = max(min(POSITIONS // position_tile, -(-largest // position_tile)), 1)
    block = position_tiles * position_tile
    firsts = np.cumsum([0] + [-(-c // block) for c in counts])
    blocks = int(firsts[-1])
    all_tiles = -(-channels // channel_tile)
    apart = max(-(-channels // CHANNELS), min(all_tiles, -(-ITEMS // max(problem.n * problem.groups * blocks, 1))), 1)
    channel_tiles = max(-(-all_tiles // apart), 1)
    channel_blocks = -(-all_tiles // channel_tiles)
    terms = max((int(t) for t in swept.phases[:, geo.TAP_COUNT]), default=0) * swept.source_channels
    steps = min(max(PANEL // block // STEPS, 1), max(-(-terms // STEPS), 1)) * STEPS
    table = np.array([position_tiles, channel_tiles, blocks, channel_blocks, steps, *firsts[:-1]], np.int64)
    # For one thread: products at 210 GF/s in float32, a packed number at 0.12 ns (0.5 ns strided), results at 0.25 ns
    # (1 ns strided), an item at 0.3 us: fitted to the layers of ResNet-50 and VGG-16.
    images = problem.n * problem.groups * swept.source_channels * sum(
        -(-c // position_tile) * position_tile * int(t) for c, t in zip(counts, swept.phases[:, geo.TAP_COUNT])
    )  # fmt: skip
    items = problem.n * problem.groups * blocks * channel_blocks
    unit = swept.fixed_header[geo.STRIDE_W] == 1 if along == "positions" else problem.layout_in == LAST
    unit = unit and (along == "channels" or problem.layout_in != LAST)
    apart = along == "positions" and (problem.layout_out == LAST or swept.fixed_header[geo.STEP_W] > 1)
    results = problem.n * problem.groups * channels * sum(counts)
    seconds = images * all_tiles * channel_tile * dtype.itemsize / 4 / 105e9 + items * 3e-7
    seconds += images * channel_blocks * (1.2e-10 if unit else 5e-10) + results * (1e-9 if apart else 2.5e-10)
    return Blocking(
        along, rows, vectors, channel_tile, table, items,
        steps * block + position_tiles * channel_tiles * rows * vectors * lanes,
        problem.groups * all_tiles * channel_tile * len(swept.taps) * swept.source_channels, seconds,
    )  # fmt: skip


class Im2col(Algorithm):
    """Forward and input pass."""

    name = "im2col"
    accepts = ("deep_600_taps", "pointwise_wide", "grouped_uneven", "conv_1d", "conv_3d_grouped", "dilated_strided")

    def rejects(self, problem: ConvProblem) -> str | None:
        if accumulator_dtype(problem.dtype).name not in ("float32", "float64"):
            return f"the register tile multiplies float32 and float64, not {problem.dtype}"
        return None

    def worker_bytes(self, problem: ConvProblem) -> int:
        return blocking(problem).workspace * accumulator_dtype(problem.dtype).itemsize

    def items(self, problem: ConvProblem) -> int:
        return blocking(problem).items

    def packed_bytes(self, problem: ConvProblem) -> int:
        return blocking(problem).packed * accumulator_dtype(problem.dtype).itemsize

    def cost(self, problem: ConvProblem) -> float:
        return 6e-6 + blocking(problem).seconds

    def prepare(self, problem: ConvProblem, weight: np.ndarray) -> np.ndarray:
        cut, swept = blocking(problem), geo.sweep(problem)
        packed = aligned(cut.packed, swept.accumulator)
        kernel = pack_weight(cut.channel_tile, swept.half)
        items = problem.groups * -(-swept.result_channels // cut.channel_tile)
        workers = min(jit.workers(cut.packed * 1e-9), max(items, 1))
        kernel(workers, items, flat(weight)[0], packed, swept.fixed_header, swept.phases, swept.taps)
        return packed

    def run(self, problem, packed, x, bias, residual, out, workspace):
        problem, x, residual, out = geo.joined(problem, x, residual, out)
        cut, swept = blocking(problem), geo.sweep(problem)
        given = geo.operands(problem, x, bias, residual, out)
        kernel = multiply(cut.along, cut.rows, cut.vectors, swept.kind, swept.half)
        workers = min(jit.workers(cut.seconds), workspace.size // self.worker_bytes(problem), max(cut.items, 1))
        kernel(
            workers, cut.items, given.x, packed, given.bias, given.residual, given.out,
            workspace.view(swept.accumulator), given.header, swept.phases, swept.taps, cut.table, given.parameter,
        )  # fmt: skip
