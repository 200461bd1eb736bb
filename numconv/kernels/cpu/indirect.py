"""Indirect convolution: a matrix product whose rows are pixels read in place through a table of addresses.

    result[p, r] = sum over taps t, then channels s, of  source[address(p, t) + s] * weight[t, s, r]

A register tile is `rows` positions x `vectors` vectors of result channels. For each tap it is told where its positions'
channels lie, so kernel size, stride, dilation and phases are in the table alone, and nothing is packed or padded: what
lies outside the image is read from a row of zeros, and a tap that only meets zeros is left out. The epilogue is applied
in registers where the result's channels lie last; other results are turned in registers and stored along positions.
A source whose channels do not lie last, or are fewer than a vector, is laid out once (see `layout`); then the taps of a
kernel's row are neighbours in memory and count as one tap.

Loops, outside in: item (channel block, image, group, phase and block of positions), terms by about STEPS, position
tiles, channel tiles, register tile. The table is XNNPACK's indirection buffer (Dukhan, The Indirect Convolution
Algorithm, 2019), the tile a batch-reduce GEMM (Georganas et al., IPDPS 2020). Forward and input pass (see `sweep`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numconv.kernels.cpu import jit, layout, simd, tiles
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.packing import pack, packed_size
from numconv.problem import LAST, ConvProblem, accumulator_dtype, remembered

STEPS = 256  # terms added in registers before they join the sums in memory
PANEL = 1 << 16  # numbers of a channel block's weights for STEPS terms: 256 KB, a quarter of the second-level cache
POSITIONS = 112  # about as many positions in a block
TABLE = 1 << 13  # most numbers in a block's table: 64 KB
ITEMS = 8  # blocks are made smaller until there are so many items
SET = 4096  # bytes between addresses that share a set of the first-level cache
# Most rows that share one: 14 of 12 ways take 1.6 times as long in some processes, 9 as long as others in all.
ROWS_OF_SET = 9
# Of the blocking, an array: tiles of positions and channels in a block, blocks of positions, taps and channels that
# are summed at a time, numbers in a tile's record, then each phase's first block.
POSITION_TILES, CHANNEL_TILES, POSITION_BLOCKS, TAPS, PIECE, RECORD, FIRST_BLOCK = range(7)
# Of the shape, an array: addresses of the tile and of the one that turns results, rows and vectors, whether results are
# stored past the caches.
TILE, TURNED, ROWS_OF_TILE, VECTORS_OF_TILE, STREAMS = range(5)


@jit.function
def list_rows():
    """Write the addresses of a tile's rows: `count` positions from (d, h, w) on, the last of them repeated."""
    read, write = simd.load(0), simd.store(0)

    def listed(table, at, rows, count, base, d, h, w, high, wide, step_d, step_h, step_w):
        r = 0
        while r < count:
            run, first = min(wide - w, count - r), base + d * step_d + h * step_h + w * step_w
            for i in range(run):
                write(table, at + r + i, first + i * step_w)
            r, w, h = r + run, 0, h + 1
            if h == high:
                h, d = 0, d + 1
        for r in range(count, rows):
            write(table, at + r, read(table, at + count - 1))

    return listed


@jit.function
def list_taps(size):
    """Write what a tile is told of its taps (see `tiles.indirect_tile`). Gives how many count.

    Rows of a tap that lies inside the image are those of `origin` and a distance; others get a list of their own, from
    `lists` on, with `zeros` for what lies outside.
    """
    clip, address, tap_record = geo.valid_range(), simd.address, tiles.TAP

    def listed(
        table, to, lists, origin, rows, count, base, zeros, header, taps, first, last, terms, d, h, w, high, wide
    ):
        stride_d, stride_h, stride_w = header[geo.STRIDE_D], header[geo.STRIDE_H], header[geo.STRIDE_W]
        source_d, source_h, source_w = header[geo.SOURCE_D], header[geo.SOURCE_H], header[geo.SOURCE_W]
        over_d, over_h, over_w = header[geo.X_D] * size, header[geo.X_H] * size, header[geo.X_W] * size
        step, found = stride_w * over_w, 0
        for t in range(first, last):
            off_d, off_h, off_w = taps[t, geo.OFFSET_D], taps[t, geo.OFFSET_H], taps[t, geo.OFFSET_W]
            r, t_d, t_h, t_w, reached, inside = 0, d, h, w, False, True
            while r < count:
                run = min(wide - t_w, count - r)
                in_d, in_h, in_w = t_d * stride_d + off_d, t_h * stride_h + off_h, t_w * stride_w + off_w
                there = 0 <= in_d < source_d and 0 <= in_h < source_h
                within = there and in_w >= 0 and in_w + (run - 1) * stride_w < source_w
                if inside and not within:  # what came before lies inside
                    inside, reached = False, r > 0
                    for i in range(r):
                        table[lists + i] = table[origin + i] + off_d * over_d + off_h * over_h + off_w * over_w
                if not inside:
                    low, past = 0, 0
                    if there:
                        low, past = clip(in_w, stride_w, run, source_w)
                    row, place = base + in_d * over_d + in_h * over_h + in_w * over_w, lists + r
                    for i in range(low):
                        table[place + i] = zeros
                    for i in range(low, past):
                        table[place + i] = row + i * step
                    for i in range(past, run):
                        table[place + i] = zeros
                    reached |= past > low
                r, t_w, t_h = r + run, 0, t_h + 1
                if t_h == high:
                    t_h, t_d = 0, t_d + 1
            if not (inside or reached):
                continue
            table[to] = (t - first) * terms
            if inside:
                table[to + 1] = address(table, origin)
                table[to + 2] = off_d * over_d + off_h * over_h + off_w * over_w
            else:
                for r in range(count, rows):
                    table[lists + r] = table[lists + count - 1]
                table[to + 1], table[to + 2] = address(table, lists), 0
                lists += rows
            to, found = to + tap_record, found + 1
        return found

    return listed


@jit.kernel
def multiply(dtype, half, fused):
    """The pass, with the tile that `shape` describes; in a fused one the tile stores the result.

    They are two kernels, since each takes a second less to compile than one that can be both.
    """
    size, lanes = np.dtype(dtype).itemsize, simd.lanes(dtype)
    call, address, prefetch = simd.call, simd.address, simd.prefetch
    listed_rows, listed_taps, store = list_rows(), list_taps(size), layout.store_turned(dtype, half)
    tile_first, last, residual_bit, tap_record = tiles.FIRST, tiles.LAST, tiles.RESIDUAL, tiles.TAP
    stream_bit, settle, on_lines = tiles.STREAM, simd.settle, layout.on_lines(dtype)

    def body(
        start, stop, worker, x, packed, bias, residual, out, sums, tables, zeros, header, phases, taps, blocking,
        shape, parameter,
    ):  # fmt: skip
        tile, turned, rows = shape[TILE], shape[TURNED], shape[ROWS_OF_TILE]
        width = shape[VECTORS_OF_TILE] * lanes
        area, tile_last = rows * width, last if fused else 0
        # Locals, since a store could change the header for all that the compiler knows.
        groups, channels, depth = header[geo.GROUPS], header[geo.R], header[geo.S]
        step_d, step_h, step_w = header[geo.STEP_D], header[geo.STEP_H], header[geo.STEP_W]
        position_tiles, channel_tiles = blocking[POSITION_TILES], blocking[CHANNEL_TILES]
        most_taps, piece, record = blocking[TAPS], blocking[PIECE], blocking[RECORD]
        tiles_of_all = -(-channels // width)
        table, total = worker * position_tiles * (record + 1), worker * position_tiles * channel_tiles * area
        counts_at = table + position_tiles * record
        with_residual = residual_bit * header[geo.HAS_RESIDUAL]
        streams = fused and shape[STREAMS] != 0 and channels % width == 0 and on_lines(out, header)
        tile_last += stream_bit * streams
        for item in range(start, stop):
            rest, block = divmod(item, blocking[POSITION_BLOCKS])
            rest, g = divmod(rest, groups)
            channel_block, n = divmod(rest, header[geo.N])
            phase = 0
            while phase + 1 < len(phases) and blocking[FIRST_BLOCK + phase + 1] <= block:
                phase += 1
            counts = phases[phase]
            high, wide = counts[geo.COUNT_H], counts[geo.COUNT_W]
            first = (block - blocking[FIRST_BLOCK + phase]) * position_tiles * rows
            positions = min(position_tiles * rows, counts[geo.COUNT_D] * high * wide - first)
            tiles, first_tap = -(-positions // rows), counts[geo.FIRST_TAP]
            last_tap = first_tap + counts[geo.TAP_COUNT] * (depth > 0)
            base = address(x, header[geo.X_0] + n * header[geo.X_N] + g * depth * header[geo.X_C])
            o = header[geo.OUT_0] + n * header[geo.OUT_N] + counts[geo.START_D] * header[geo.OUT_D]
            o += counts[geo.START_H] * header[geo.OUT_H] + counts[geo.START_W] * header[geo.OUT_W]
            q = header[geo.RESIDUAL_0] + n * header[geo.RESIDUAL_N] + counts[geo.START_D] * header[geo.RESIDUAL_D]
            q += counts[geo.START_H] * header[geo.RESIDUAL_H] + counts[geo.START_W] * header[geo.RESIDUAL_W]
            longest = 1
            for p in range(tiles):
                line, w = divmod(first + p * rows, wide)
                d, h = divmod(line, high)
                count, head = min(rows, positions - p * rows), table + p * record
                if fused:
                    listed_rows(
                        tables, head, rows, count, address(out, o), d, h, w, high, wide,
                        step_d * header[geo.OUT_D] * size, step_h * header[geo.OUT_H] * size,
                        step_w * header[geo.OUT_W] * size,
                    )  # fmt: skip
                    if with_residual:
                        listed_rows(
                            tables, head + rows, rows, count, address(residual, q), d, h, w, high, wide,
                            step_d * header[geo.RESIDUAL_D] * size, step_h * header[geo.RESIDUAL_H] * size,
                            step_w * header[geo.RESIDUAL_W] * size,
                        )  # fmt: skip
                listed_rows(
                    tables, head + 2 * rows, rows, count, base, d, h, w, high, wide,
                    header[geo.STRIDE_D] * header[geo.X_D] * size, header[geo.STRIDE_H] * header[geo.X_H] * size,
                    header[geo.STRIDE_W] * header[geo.X_W] * size,
                )  # fmt: skip
                found = listed_taps(
                    tables, head + 3 * rows, head + 3 * rows + tap_record * (last_tap - first_tap), head + 2 * rows,
                    rows, count, base, address(zeros, 0), header, taps, first_tap, last_tap, depth * width, d, h, w,
                    high, wide,
                )  # fmt: skip
                tables[counts_at + p] = found
                longest = max(longest, found)

            first_tile = channel_block * channel_tiles
            last_tile = min(first_tile + channel_tiles, tiles_of_all)
            pointwise, share = last_tap - first_tap == 1, -(-rows // max(last_tile - first_tile, 1))
            terms = (last_tap - first_tap) * depth * width
            weights = (g * len(taps) + first_tap) * depth * tiles_of_all * width
            for t in range(0, longest, most_taps):
                for s in range(0, max(depth, 1), piece):
                    for p in range(tiles):
                        found = tables[counts_at + p]
                        if t > 0 and t >= found:
                            continue
                        mode = with_residual
                        if t == 0 and s == 0:
                            mode |= tile_first
                        if t + most_taps >= found and s + piece >= depth:
                            mode |= tile_last
                        for c in range(first_tile, last_tile):
                            if pointwise and p + 1 < tiles:
                                # The next tile's rows come while this one is computed, an even share for each tile.
                                ahead = table + (p + 1) * record + 2 * rows
                                done = share * (c - first_tile)
                                for r in range(done, min(done + share, rows)):
                                    for line in range(s * size, (s + min(piece, depth - s)) * size, 64):
                                        prefetch(tables[ahead + r] + line)
                            channel = g * channels + c * width
                            call(
                                tile,
                                (
                                    address(tables, table + p * record),
                                    address(packed, weights + c * terms + s * width),
                                    address(sums, total + ((c - first_tile) * tiles + p) * area),
                                    address(bias, channel), address(parameter, 0), t, min(most_taps, found - t),
                                    min(piece, depth - s), s, mode, channel, min(width, channels - c * width),
                                ),
                            )  # fmt: skip
            if not fused:
                out_w, more_w = step_w * header[geo.OUT_W], step_w * header[geo.RESIDUAL_W]
                for p in range(tiles):
                    r, count = 0, min(rows, positions - p * rows)
                    while r < count:
                        line, w = divmod(first + p * rows + r, wide)
                        d, h = divmod(line, high)
                        run = min(wide - w, count - r)
                        to = o + d * step_d * header[geo.OUT_D] + h * step_h * header[geo.OUT_H] + w * out_w
                        more = (
                            q + d * step_d * header[geo.RESIDUAL_D] + h * step_h * header[geo.RESIDUAL_H] + w * more_w
                        )
                        for c in range(first_tile, last_tile):
                            store(
                                turned, sums, total + ((c - first_tile) * tiles + p) * area + r * width, width, run,
                                g * channels + c * width, min(width, channels - c * width), bias, residual, out, header,
                                parameter, to, more, out_w, more_w,
                            )  # fmt: skip
                        r += run
        if streams:
            settle()

    return body


class Blocking(NamedTuple):
    """How a problem is cut: the tile, the blocking and the taps as kernels read them, and sizes."""

    rows: int
    vectors: int
    in_place: bool
    table: np.ndarray
    phases: np.ndarray
    taps: np.ndarray
    depth: int  # numbers of the source that a tap reads for each position
    items: int
    sums: int  # for each worker
    addresses: int  # for each worker
    laid: int  # numbers of the laid-out source
    zeros: np.ndarray
    seconds: float  # estimate for one thread


# Sums that fit into registers with the operands, and rows of tiles.
MOST_SUMS = 28 if simd.vector_bits() == 512 else 12
ROWS = (28, 14, 9, 8, 7, 4) if simd.vector_bits() == 512 else (6, 4)


def tile_vectors(channels: int, dtype: np.dtype) -> int:
    """Vectors of a tile: 2, 3 where that wastes less, 1 for few channels. Depends on the weights alone."""
    lanes = simd.lanes(dtype)
    return min((2, 3, 1), key=lambda v: -(-channels // (v * lanes)) * v * {1: 1.25, 2: 1, 3: 1.02}[v])


def tile_width(problem: ConvProblem) -> int:
    """Channels of a tile."""
    dtype = accumulator_dtype(problem.dtype)
    return tile_vectors(geo.sweep(problem).result_channels, dtype) * simd.lanes(dtype)


def tile_rows(positions: list[int], vectors: int, most: int = ROWS[0]) -> int:
    """Rows of a tile, at most `most`, with the least waste for runs of so many positions.

    A tile costs about half a row more than its rows.
    """
    rows = [r for r in ROWS if r * vectors <= MOST_SUMS and r <= most]
    return min(rows, key=lambda r: sum(-(-p // r) * (r + 0.5) for p in positions))


@remembered
def blocking(problem: ConvProblem) -> Blocking:
    """Blocks whose weights, for STEPS terms, and sums share the second-level cache."""
    swept, dtype = geo.sweep(problem), accumulator_dtype(problem.dtype)
    lanes, channels, depth = simd.lanes(dtype), swept.result_channels, swept.source_channels
    taps, phases = swept.taps, swept.phases
    in_place = problem.layout_in == LAST and not swept.half
    row = problem.kernel[-1]
    joined = problem.direction == "forward" and problem.groups == 1 and problem.dilation[-1] == 1 and row > 1
    joined = joined and depth < lanes
    if joined or not in_place:
        in_place, taps = False, layout.frame(problem).taps
    if joined:
        taps, phases, depth = taps[::row], phases.copy(), depth * row
        phases[:, geo.TAP_COUNT] = len(taps)
    counts = [math.prod(int(c) for c in phase[geo.COUNT_D : geo.COUNT_W + 1]) for phase in phases]
    vectors = tile_vectors(channels, dtype)
    apart = int(swept.fixed_header[geo.STRIDE_W]) * problem.groups * swept.source_channels * dtype.itemsize
    rows = tile_rows(counts, vectors, ROWS_OF_SET if apart and apart % SET == 0 else ROWS[0])
    width = vectors * lanes
    all_tiles = -(-channels // width)
    most_taps = max((int(t) for t in phases[:, geo.TAP_COUNT]), default=0)
    pieces = -(-depth // STEPS)
    piece = max(-(-depth // max(pieces, 1)), 1)
    taps_at_once = max(STEPS // max(depth, 1), 1)
    taps_at_once = max(-(-most_taps // max(-(-most_taps // taps_at_once), 1)), 1)
    record = 3 * rows + most_taps * (rows + tiles.TAP)
    position_tiles = max(min(POSITIONS // rows, TABLE // record, -(-max(counts, default=0) // rows)), 1)
    channel_tiles = max(min(PANEL // (min(depth * most_taps, STEPS) * width or 1), all_tiles), 1)

    def blocks() -> int:
        return sum(-(-c // (position_tiles * rows)) for c in counts)

    def items() -> int:
        return problem.n * problem.groups * blocks() * -(-all_tiles // channel_tiles)

    # Positions are cut first, down to 2 tiles, where the weights are read faster than the source.
    while items() < ITEMS and position_tiles > 2 and len(taps) * depth * channels < PANEL * 4:
        position_tiles = -(-position_tiles // 2)
    while items() < ITEMS and channel_tiles > 1:
        channel_tiles -= 1
    channel_tiles = -(-all_tiles // -(-all_tiles // channel_tiles)) if all_tiles else 1
    while items() < ITEMS and position_tiles > 2:
        position_tiles = -(-position_tiles // 2)
    block = position_tiles * rows
    firsts = np.cumsum([0] + [-(-c // block) for c in counts])
    table = np.array([position_tiles, channel_tiles, firsts[-1], taps_at_once, piece, record, *firsts[:-1]], np.int64)
    # Products at 240 GF/s in float32 (a tile of one vector at 200), a tap of a tile at 30 ns, an item at 0.3 us.
    tiles_of = [-(-c // rows) * int(p[geo.TAP_COUNT]) for c, p in zip(counts, phases)]
    rate = (120e9 if vectors > 1 else 100e9) * 4 / dtype.itemsize
    seconds = problem.n * problem.groups * sum(tiles_of) * (rows * depth * all_tiles * width / rate + 3e-8)
    seconds *= reached(swept)
    laid_out = 0 if in_place else layout.frame(problem).size
    fused = layout.fuses(problem)
    seconds += items() * 3e-7 + (laid_out * 3e-10 + 3e-6 if not in_place else 0)
    # Results 50 ps each; turned 0.3 ns, or 1 ns where they do not lie side by side.
    scattered = not fused and (swept.fixed_header[geo.STEP_W] > 1 or swept.half)
    seconds += problem.n * problem.groups * channels * sum(counts) * (5e-11 if fused else 1e-9 if scattered else 3e-10)
    return Blocking(
        rows, vectors, in_place, table, phases, taps, depth, items(),
        position_tiles * channel_tiles * rows * width, position_tiles * (record + 1), laid_out,
        np.zeros(depth, dtype), seconds,
    )  # fmt: skip


def reached(swept: geo.Sweep) -> float:
    """The part of planes and rows of taps that lie inside the source: tiles leave the others out."""
    inside = everything = 0
    for phase in swept.phases:
        taps = swept.taps[phase[geo.FIRST_TAP] :][: phase[geo.TAP_COUNT]]
        here = total = 1
        for axis in range(2):
            offsets = np.unique(taps[:, geo.OFFSET_D + axis])
            at = np.arange(phase[geo.COUNT_D + axis]) * swept.fixed_header[geo.STRIDE_D + axis]
            places = at[:, None] + offsets
            here *= int(((places >= 0) & (places < swept.fixed_header[geo.SOURCE_D + axis])).sum())
            total *= places.size
        inside, everything = inside + here, everything + total
    return inside / max(everything, 1)


def _shape(problem: ConvProblem, activation: str, turned: int) -> np.ndarray:
    cut = blocking(problem)
    tile = tiles.address(tiles.indirect, 12, cut.rows, cut.vectors, geo.sweep(problem).kind, activation)
    return np.array([tile, turned, cut.rows, cut.vectors, layout.streams(problem)], np.int64)


@remembered
def shape_apart(problem: ConvProblem) -> np.ndarray:
    """The shape where sums are stored apart."""
    return _shape(problem, "", layout.turned_tile(problem))


@remembered
def shape_fused(problem: ConvProblem) -> np.ndarray:
    """The shape of a tile that stores the result."""
    return _shape(problem, layout.activation_of(problem), 0)


class Indirect(layout.OnChannelsLast):
    """Forward and input pass."""

    name = "indirect"
    accepts = ("deep_600_taps", "pointwise_wide", "grouped_uneven", "conv_1d", "conv_3d_grouped", "dilated_strided")

    def blocking(self, problem: ConvProblem) -> Blocking:
        return blocking(problem)

    def rejects(self, problem: ConvProblem) -> str | None:
        if accumulator_dtype(problem.dtype).name not in ("float32", "float64"):
            return f"the register tile multiplies float32 and float64, not {problem.dtype}"
        return None

    def packed_bytes(self, problem: ConvProblem) -> int:
        return packed_size(problem, tile_width(problem)) * accumulator_dtype(problem.dtype).itemsize

    def prepare(self, problem: ConvProblem, weight: np.ndarray) -> np.ndarray:
        return pack(problem, weight, tile_width(problem))

    def run(self, problem, packed, x, bias, residual, out, workspace):
        problem, x, residual, out = geo.joined(problem, x, residual, out)
        super().run(problem, packed, x, bias, residual, out, workspace)

    def run_band(self, problem, packed, given, fused, memory):
        cut, swept = blocking(problem), geo.sweep(problem)
        workers, addresses, sums = self.split(problem, memory)
        header = given.header
        if header[geo.S] != cut.depth:  # taps of a row that count as channels
            header = header.copy()
            header[geo.S] = cut.depth
        multiply(swept.kind, swept.half, fused)(
            workers, cut.items, given.x, packed, given.bias, given.residual, given.out, sums, addresses, cut.zeros,
            header, cut.phases, cut.taps, cut.table, (shape_fused if fused else shape_apart)(problem), given.parameter,
        )  # fmt: skip
