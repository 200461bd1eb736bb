"""Strip: direct convolution with a register tile, the image copied once and read in place at each tap.

    result[r, q] = sum over k of weight[r, k] * strip[q + place(k)],      k = (source channel, tap)

An item copies a strip of its group's source channels, padding included, and then reads it at one constant distance
for each k, so nothing is expanded. With stride S the strip is kept as its S phases (even and odd columns for S = 2),
which makes positions neighbours again. Positions of the strip are one flat run; the few that fall between rows are
computed and dropped: a 7x7 image is four vectors, not seven rows.

Loops, outside in: item (channel block, image, group, phase, strip), positions by blocks, channels by blocks, k by
STEPS, channel tiles, position tiles, register tile. Any kernel, stride and dilation; forward and input pass (see
`sweep`). Direct convolution without im2col's copies: Zhang, Franchetti and Low, ICML 2018; the loops are BLIS's.
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

STRIP = 1 << 16  # numbers in the strips of an item: 256 KB in float32, a quarter of the second-level cache
FAR = 1 << 20  # widest kernel, dilation included
CHANNELS = 512  # most channels of a block: its sums share the cache with the strips
# Tiles, channels x vectors: 16 sums with vectors of 512 bits, 8 with shorter ones and fewer registers.
TILES = ((1, 8), (4, 4), (8, 2)) if simd.vector_bits() == 512 else ((1, 8), (4, 2))
SIX = (6, 2)  # of 5 or 6 channels: 220 us in place of 270 for LeNet-5's second input gradient; 12 lose by two of it
POSITION_TILES = 2  # of a block: its part of the strips stays in the first-level cache for all channels
ITEMS = 8  # channels are split until there are so many items
STEPS = simd.STEPS
# Of the blocking, an array: the axis that is cut and its positions in a strip, strips of a phase, the lowest offset
# along each axis, the extent of one phase of a strip, the numbers in a channel's strip, channel tiles of an item.
AXIS, CUT, STRIPS, LOW_D, LOW_H, LOW_W, DEEP, HIGH, WIDE, SIZE, CHANNEL_TILES = range(11)


@jit.kernel
def pack_weight(rows, half):
    """Pack weight[r, s, tap] as packed[group, phase, tile, s, tap, `rows` channels], zeros past the last channel."""
    load, write, fill = simd.load(half), simd.store(0), simd.fill()

    def body(start, stop, worker, weight, packed, header, phases, taps):
        sources, channels = header[geo.S], header[geo.R]
        over_r, over_s, tiles = header[geo.WEIGHT_R], header[geo.WEIGHT_S], -(-header[geo.R] // rows)
        for item in range(start, stop):
            g, tile = divmod(item, tiles)
            some = min(rows, channels - tile * rows)
            for phase in range(len(phases)):
                first, count = phases[phase, geo.FIRST_TAP], phases[phase, geo.TAP_COUNT]
                to = ((g * len(taps) + first) * tiles + tile * count) * sources * rows
                for s in range(sources):
                    for t in range(first, first + count):
                        at = g * header[geo.WEIGHT_G] + tile * rows * over_r + s * over_s + taps[t, geo.TAP]
                        for i in range(some):
                            write(packed, to + i, load(weight, at + i * over_r))
                        fill(packed, to + some, to + rows, 0)
                        to += rows

    return body


@jit.function
def copy_strip(dtype, half):
    """Copy one source channel's strip, whose positions start at (d, h, w) in the source, phase after phase."""
    load, write, fill = simd.load(half), simd.store(0), simd.fill()
    clip, move = geo.valid_range(), simd.move(dtype)

    def copied(workspace, to, x, at, header, blocking, d, h, w):
        step_d, step_h, step_w = header[geo.STRIDE_D], header[geo.STRIDE_H], header[geo.STRIDE_W]
        x_d, x_h, x_w = header[geo.X_D], header[geo.X_H], header[geo.X_W]
        source_d, source_h, source_w = header[geo.SOURCE_D], header[geo.SOURCE_H], header[geo.SOURCE_W]
        deep, high, wide = blocking[DEEP], blocking[HIGH], blocking[WIDE]
        along = step_w * x_w
        for phase_d in range(step_d):
            for phase_h in range(step_h):
                for phase_w in range(step_w):
                    low, past = clip(w + phase_w, step_w, wide, source_w)
                    for i in range(deep):
                        in_d = d + phase_d + i * step_d
                        for j in range(high):
                            in_h = h + phase_h + j * step_h
                            row = at + in_d * x_d + in_h * x_h + (w + phase_w) * x_w
                            inside = 0 <= in_d < source_d and 0 <= in_h < source_h
                            first, last = (low, past) if inside else (0, 0)
                            if half == 0 and along == 1:
                                move(workspace, to, x, row, first, last, wide)
                            else:
                                fill(workspace, to, to + first, 0)
                                for c in range(first, last):
                                    write(workspace, to + c, load(x, row + c * along))
                                fill(workspace, to + last, to + wide, 0)
                            to += wide

    return copied


@jit.kernel
def correlate(rows, vectors, dtype, half):
    """The pass, with tiles of `rows` channels x `vectors` vectors of positions."""
    width = vectors * simd.lanes(dtype)
    tile, copied, fill = simd.tabled_tile(rows, vectors), copy_strip(dtype, half), simd.fill()
    add, activate, store = epilogue.add_run(half), epilogue.activate_run(), epilogue.store_run(half, dtype)
    move = simd.move(dtype)
    area, block = rows * width, POSITION_TILES * width
    most_tiles = CHANNELS // rows

    def body(
        start, stop, worker, x, packed, bias, residual, out, workspace, header, phases, taps, places, blocking,
        parameter,
    ):  # fmt: skip
        # Locals, since a store to the workspace could change the header for all that the compiler knows.
        sources, channels, groups, images = header[geo.S], header[geo.R], header[geo.GROUPS], header[geo.N]
        size, high_all, wide_all = blocking[SIZE], blocking[HIGH], blocking[WIDE]
        axis, cuts, phase_count = blocking[AXIS], blocking[STRIPS], len(phases)
        x_n, x_c = header[geo.X_N], header[geo.X_C]
        out_c, out_w = header[geo.OUT_C], header[geo.STEP_W] * header[geo.OUT_W]
        out_d, out_h = header[geo.STEP_D] * header[geo.OUT_D], header[geo.STEP_H] * header[geo.OUT_H]
        more_c, more_w = header[geo.RESIDUAL_C], header[geo.STEP_W] * header[geo.RESIDUAL_W]
        more_d, more_h = header[geo.STEP_D] * header[geo.RESIDUAL_D], header[geo.STEP_H] * header[geo.RESIDUAL_H]
        has_residual, activated = header[geo.HAS_RESIDUAL] != 0, header[geo.ACTIVATION] != 0
        tiles, tiles_of_item = -(-channels // rows), blocking[CHANNEL_TILES]
        room = min(most_tiles, tiles_of_item) * POSITION_TILES * area
        strips = worker * (sources * size + block + room)
        sums = strips + sources * size + block
        for item in range(start, stop):
            rest, cut = divmod(item, cuts)
            rest, phase = divmod(rest, phase_count)
            rest, g = divmod(rest, groups)
            part, n = divmod(rest, images)
            first = cut * blocking[CUT]
            here = min(blocking[CUT], phases[phase, geo.COUNT_D + axis] - first)
            deep = here if axis == 0 else phases[phase, geo.COUNT_D]
            high = here if axis == 1 else phases[phase, geo.COUNT_H]
            wide = here if axis == 2 else phases[phase, geo.COUNT_W]
            if deep <= 0 or high <= 0 or wide <= 0:
                continue
            t_d, t_h, t_w = first * (axis == 0), first * (axis == 1), first * (axis == 2)
            in_d = t_d * header[geo.STRIDE_D] + blocking[LOW_D]
            in_h = t_h * header[geo.STRIDE_H] + blocking[LOW_H]
            in_w = t_w * header[geo.STRIDE_W] + blocking[LOW_W]
            for s in range(sources):
                at = header[geo.X_0] + n * x_n + (g * sources + s) * x_c
                copied(workspace, strips + s * size, x, at, header, blocking, in_d, in_h, in_w)
            start_d, start_h = phases[phase, geo.START_D], phases[phase, geo.START_H]
            start_w = phases[phase, geo.START_W]
            o = header[geo.OUT_0] + n * header[geo.OUT_N] + g * channels * out_c
            o += t_d * out_d + t_h * out_h + t_w * out_w
            o += start_d * header[geo.OUT_D] + start_h * header[geo.OUT_H] + start_w * header[geo.OUT_W]
            more = header[geo.RESIDUAL_0] + n * header[geo.RESIDUAL_N] + g * channels * more_c
            more += start_d * header[geo.RESIDUAL_D] + start_h * header[geo.RESIDUAL_H]
            more += start_w * header[geo.RESIDUAL_W] + t_d * more_d + t_h * more_h + t_w * more_w
            terms, first_term = phases[phase, geo.TAP_COUNT] * sources, phases[phase, geo.FIRST_TAP] * sources
            weights = (g * len(taps) * sources + first_term) * tiles * rows
            positions = ((deep - 1) * high_all + high - 1) * wide_all + wide
            last_tile = min((part + 1) * tiles_of_item, tiles)
            row_d, row_h, column = 0, 0, 0  # of the block's first position
            for q in range(0, positions, block):
                end = min(block, positions - q)
                across = -(-end // width)
                for c0 in range(part * tiles_of_item, last_tile, most_tiles):
                    c1 = min(c0 + most_tiles, last_tile)
                    for c in range(c0, c1):
                        for i in range(min(rows, channels - c * rows)):
                            value = bias[g * channels + c * rows + i]
                            for p in range(across):
                                s0 = sums + ((c - c0) * across + p) * area + i * width
                                fill(workspace, s0, s0 + width, value)
                    for k in range(0, terms, STEPS):
                        steps = min(STEPS, terms - k)
                        for c in range(c0, c1):
                            a = weights + (c * terms + k) * rows
                            for p in range(across):
                                s0 = sums + ((c - c0) * across + p) * area
                                tile(
                                    packed, a, workspace, strips + q + p * width, workspace, s0, steps, places,
                                    first_term + k,
                                )  # fmt: skip
                    # The runs of this block that lie in the result: one for each row and tile it touches.
                    d, h, w, j = row_d, row_h, column, 0
                    while j < end:
                        run = min(wide - w, end - j, width - j % width)
                        if run > 0 and h < high:
                            for c in range(c0, c1):
                                to = o + c * rows * out_c + d * out_d + h * out_h + w * out_w
                                extra = more + c * rows * more_c + d * more_d + h * more_h + w * more_w
                                s0 = sums + ((c - c0) * across + j // width) * area + j % width
                                for i in range(min(rows, channels - c * rows)):
                                    if has_residual:
                                        add(workspace, s0, run, residual, extra + i * more_c, more_w)
                                    if activated:
                                        activate(workspace, s0, s0 + run, header, parameter)
                                    if half == 0 and out_w == 1:  # a call takes 7 of 55 us: 1 to 6 channels of 28x28
                                        move(out, to + i * out_c, workspace, s0, 0, run, run)
                                    else:
                                        store(out, to + i * out_c, out_w, workspace, s0, run)
                                    s0 += width
                        # To the next tile of this row, or to the next row.
                        if run > 0 and w + run < wide:
                            j, w = j + run, w + run
                        else:
                            j, w, h = j + wide_all - w, 0, h + 1
                        if h == high_all:
                            d, h = d + 1, 0
                column += block
                while column >= wide_all:
                    column, row_h = column - wide_all, row_h + 1
                    if row_h == high_all:
                        row_d, row_h = row_d + 1, 0

    return body


class Blocking(NamedTuple):
    """How a problem is cut: the tile, the blocking and the taps' places as kernels read them, and sizes."""

    rows: int
    vectors: int
    table: np.ndarray
    places: np.ndarray
    items: int
    workspace: int  # numbers for each worker
    packed: int  # numbers of the packed weight
    seconds: float  # estimate for one thread


@remembered
def blocking(problem: ConvProblem) -> Blocking:
    """Strips of about STRIP numbers along the first axis that has more than one position."""
    swept = geo.sweep(problem)
    lanes, channels = simd.lanes(accumulator_dtype(problem.dtype)), swept.result_channels
    rows, vectors = min(TILES, key=lambda tile: -(-channels // tile[0]) * (tile[0] + 2))
    if simd.vector_bits() == 512 and 4 < channels <= 6:
        rows, vectors = SIX
    if rows == 1 and max(math.prod(problem.out_spatial), math.prod(problem.spatial)) <= 4 * lanes:
        vectors = 4
    stride = [int(s) for s in swept.fixed_header[geo.STRIDE_D : geo.STRIDE_W + 1]]
    counts = [max((int(c) for c in swept.phases[:, geo.COUNT_D + a]), default=0) for a in range(3)]
    offsets = swept.taps[:, geo.OFFSET_D : geo.OFFSET_W + 1]
    low = [int(offsets[:, a].min(initial=0)) for a in range(3)]
    reach = [int(offsets[:, a].max(initial=0)) - low[a] for a in range(3)]
    axis = next((a for a in range(3) if counts[a] > 1), 2)

    def extents(cut: int) -> list[int]:
        these = [cut if a == axis else counts[a] for a in range(3)]
        return [-(-(max(t - 1, 0) * s + r + 1) // s) for t, s, r in zip(these, stride, reach)]

    def numbers(cut: int) -> int:
        return math.prod(extents(cut)) * math.prod(stride) * swept.source_channels

    cut = max(counts[axis], 1)
    if numbers(cut) > STRIP:
        fixed, each = numbers(1), numbers(2) - numbers(1)
        cut = min(max((STRIP - fixed) // max(each, 1) + 1, 4 * (reach[axis] // stride[axis] + 1), 1), cut)
    tiles = -(-channels // rows)
    items = problem.n * problem.groups * len(swept.phases)
    if items * tiles == 1 and cut > 8:  # one image of one channel: something to share
        cut = min(cut, -(-counts[axis] // 2))
    strips = -(-counts[axis] // cut)
    parts = max(min(tiles, -(-ITEMS // max(items * strips, 1))), 1)
    tiles_of_item = max(-(-tiles // parts), 1)
    parts = -(-tiles // tiles_of_item)
    deep, high, wide = extents(cut)
    phase_size = deep * high * wide
    size = phase_size * math.prod(stride)
    from_low = offsets - np.array(low)
    of_phase, inside = from_low % stride, from_low // stride
    phase = (of_phase[:, 0] * stride[1] + of_phase[:, 1]) * stride[2] + of_phase[:, 2]
    places = phase * phase_size + (inside[:, 0] * high + inside[:, 1]) * wide + inside[:, 2]
    # The place of each term in the strips: for each phase source channels, then taps, as the weights are packed.
    bounds = [(int(p[geo.FIRST_TAP]), int(p[geo.FIRST_TAP] + p[geo.TAP_COUNT])) for p in swept.phases]
    channel = np.arange(swept.source_channels)[:, None] * size
    terms = [(channel + places[first:last]).reshape(-1) for first, last in bounds]
    table = np.array([axis, cut, strips, *low, deep, high, wide, size, tiles_of_item], np.int64)
    block, copied = POSITION_TILES * vectors * lanes, size * swept.source_channels
    return Blocking(
        rows, vectors, table, np.concatenate(terms or [np.empty(0)]).astype(np.int64), items * strips * parts,
        copied + block + min(CHANNELS // rows, tiles_of_item) * rows * block,
        problem.groups * tiles * rows * swept.source_channels * len(swept.taps),
        _seconds(problem, rows, vectors * lanes, table, [cut if a == axis else counts[a] for a in range(3)])
        * items * strips * parts,
    )  # fmt: skip


def _seconds(problem: ConvProblem, rows: int, width: int, table: np.ndarray, positions: list[int]) -> float:
    """Estimate of an item for one thread.

    Products at 210 GF/s in float32 (90 with one row in a tile), copied numbers at 0.25 ns (0.5 ns strided), results at
    0.5 ns (1 ns strided), an item at 0.1 us: fitted to the layers of ResNet-50, MobileNetV2 and VGG-16.
    """
    swept = geo.sweep(problem)
    high, wide, size, tiles = (int(table[k]) for k in (HIGH, WIDE, SIZE, CHANNEL_TILES))
    run = ((max(positions[0], 1) - 1) * high + max(positions[1], 1) - 1) * wide + positions[2]
    terms = len(swept.taps) / max(len(swept.phases), 1) * swept.source_channels
    products = -(-run // width) * width * terms * tiles * rows
    rate = (45e9 if rows == 1 else 105e9) * 4 / swept.accumulator.itemsize
    contiguous = problem.layout_in != LAST or problem.ci == 1
    copies = size * swept.source_channels * (2.5e-10 if contiguous and swept.fixed_header[geo.STRIDE_W] == 1 else 5e-10)
    stores = math.prod(positions) * min(tiles * rows, swept.result_channels)
    strided = (problem.layout_out == LAST and problem.co > 1) or swept.fixed_header[geo.STEP_W] > 1
    return products / rate + copies + stores * (1e-9 if strided else 5e-10) + 1e-7


class Strip(Algorithm):
    """Forward and input pass."""

    replays = True

    name = "strip"
    accepts = ("depthwise_3x3", "depthwise_5x5_strided", "conv_1d", "conv_3d_grouped", "one_pixel", "deep_600_taps")

    def rejects(self, problem: ConvProblem) -> str | None:
        if accumulator_dtype(problem.dtype).name not in ("float32", "float64"):
            return f"the register tile multiplies float32 and float64, not {problem.dtype}"
        extents = [(k - 1) * d + 1 for k, d in zip(problem.kernel, problem.dilation)]
        if problem.direction == "forward" and any(s > e for s, e in zip(problem.stride, extents)):
            return f"stride {problem.stride} skips what a strip would copy: the kernel is {tuple(extents)} wide"
        if max(extents) > FAR:
            return f"the kernel is {tuple(extents)} wide: a strip holds at most {FAR}"
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
        items = problem.groups * -(-swept.result_channels // cut.rows)
        workers = min(jit.workers(cut.packed * 5e-10), max(items, 1))
        kernel = pack_weight(cut.rows, swept.half)
        kernel(workers, items, flat(weight)[0], packed, swept.fixed_header, swept.phases, swept.taps)
        return packed

    def run(self, problem, packed, x, bias, residual, out, workspace):
        cut, swept = blocking(problem), geo.sweep(problem)
        given = geo.operands(problem, x, bias, residual, out)
        kernel = correlate(cut.rows, cut.vectors, swept.kind, swept.half)
        workers = min(jit.workers(cut.seconds), workspace.size // self.worker_bytes(problem), max(cut.items, 1))
        kernel(
            workers, cut.items, given.x, packed, given.bias, given.residual, given.out,
            workspace.view(swept.accumulator), given.header, swept.phases, swept.taps, cut.places, cut.table,
            given.parameter,
        )  # fmt: skip
