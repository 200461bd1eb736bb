"""Depthwise convolution, and groups of few channels, on channels-last arrays: channels along the vectors.

    result[p, c] = sum over taps, then sources s of c's group, of  weight[tap, s, c] * source[p stride + offset(tap), s]

A tile is POSITIONS of a row by one vector of channels in registers. Along a row of the kernel each source vector is
loaded once and meets every tap that needs it; in groups of more than one channel it is shuffled once for each source.
Rows of the kernel outside the image are left out of the list that a tile walks; at the ends of a row, where the same
columns are missing in every row, run tiles that know nothing of them. Nothing is copied or padded. Loops, outside in:
item (image, block of channels, rows of the result), positions, rows, vectors of channels, rows of the kernel: a strip
of the source stays in the first-level cache until all rows that need it are done. Forward and input pass (see `sweep`),
phase by phase.

oneDNN's depthwise kernels for channels-last arrays reuse source registers across taps in the same way.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import jit, layout, simd, tiles
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.memory import aligned, flat
from numconv.kernels.cpu.narrow_tile import narrow
from numconv.problem import LAST, ConvProblem, remembered

# Positions of a tile. Their sums, the weights of a line and shuffled sources share the registers.
POSITIONS = (14, 8, 7) if simd.vector_bits() == 512 else (6, 4)
MOST_TAPS = 32  # along a row of the kernel, and sources: 448 multiplications in a tile's loop
MOST_LINES = 256  # rows of the kernel, over its planes
ITEMS = 14  # fewer rows are joined, then channels split, until there are so many items
# Rows of an item, at most: 384 images of 14 x 14 in 12.4 us two rows at a time, in 9.7 seven at a time.
ROWS = (7, 4)
MOST_TILES = 4  # compiled for the columns that they have; others mask them: 20.5 us in place of 13.7 for 384x14x14
# Of the shape, an array: lanes of a vector that are used for results and for sources, vectors of an item, blocks of
# vectors, rows of the kernel and numbers of one's weights; positions of a tile and their distance; whether results are
# stored past the caches; rows of an item; then, which `shapes` adds, of each tile of a row its address, and LAST if it
# needs no masks.
RESULTS, SOURCES, VECTORS, BLOCKS, LINES, LINE, WIDTH, STRIDE, STREAMS, ROWS_OF_ITEM, TILES = range(11)


@jit.kernel
def correlate(dtype):
    """The pass over one phase, with the tile of the shape."""
    call, address = simd.call, simd.address
    lists, counts = simd.stack(2 * MOST_LINES, "int64"), simd.stack(ROWS[0], "int64")
    with_residual, stream_bit = tiles.RESIDUAL, tiles.STREAM
    settle, on_lines, lanes = simd.settle, layout.on_lines(dtype), simd.lanes(dtype)

    def body(start, stop, worker, x, packed, bias, residual, out, header, phase, lines, shape, parameter):
        listed, found, of_item = lists(), counts(), shape[ROWS_OF_ITEM]
        positions, stride, line_size = shape[WIDTH], shape[STRIDE], shape[LINE]
        channels, wide, rows = header[geo.R] * header[geo.GROUPS], phase[geo.COUNT_W], phase[geo.COUNT_H]
        x_w, source_w = header[geo.X_W], header[geo.SOURCE_W]
        out_step, more_step = header[geo.STEP_W] * header[geo.OUT_W], header[geo.STEP_W] * header[geo.RESIDUAL_W]
        deep, per_vector, from_vector, vectors = phase[geo.COUNT_D], shape[RESULTS], shape[SOURCES], shape[VECTORS]
        own_mode, pitch = with_residual * header[geo.HAS_RESIDUAL], shape[LINES] * line_size
        sources_all = header[geo.S] * header[geo.GROUPS]
        streams = shape[STREAMS] != 0 and per_vector == lanes and on_lines(out, header)
        own_mode += stream_bit * streams
        for item in range(start, stop):
            rest, part = divmod(item, -(-rows // of_item))
            rest, d = divmod(rest, deep)
            n, block = divmod(rest, shape[BLOCKS])
            top = part * of_item
            high = min(of_item, rows - top)
            for r in range(high):
                count, base = 0, 2 * r * shape[LINES]
                for k in range(shape[LINES]):
                    in_d = d * header[geo.STRIDE_D] + lines[k, 0]
                    in_h = (top + r) * header[geo.STRIDE_H] + lines[k, 1]
                    if 0 <= in_d < header[geo.SOURCE_D] and 0 <= in_h < header[geo.SOURCE_H]:
                        listed[base + 2 * count] = in_d * header[geo.X_D] + in_h * header[geo.X_H]
                        listed[base + 2 * count + 1] = k * line_size
                        count += 1
                found[r] = count
            o = header[geo.OUT_0] + n * header[geo.OUT_N] + phase[geo.START_W] * header[geo.OUT_W]
            o += (phase[geo.START_D] + d * header[geo.STEP_D]) * header[geo.OUT_D]
            o += (phase[geo.START_H] + top * header[geo.STEP_H]) * header[geo.OUT_H]
            q = header[geo.RESIDUAL_0] + n * header[geo.RESIDUAL_N] + phase[geo.START_W] * header[geo.RESIDUAL_W]
            q += (phase[geo.START_D] + d * header[geo.STEP_D]) * header[geo.RESIDUAL_D]
            q += (phase[geo.START_H] + top * header[geo.STEP_H]) * header[geo.RESIDUAL_H]
            at = header[geo.X_0] + n * header[geo.X_N]
            v = block * vectors
            c, s = v * per_vector, v * from_vector
            for w in range(0, wide, positions):
                first, here = w * stride + lines[0, 2], min(positions, wide - w)
                tile = TILES + w // positions * 2
                for r in range(high):
                    to = o + r * header[geo.STEP_H] * header[geo.OUT_H] + w * out_step + c
                    more = q + r * header[geo.STEP_H] * header[geo.RESIDUAL_H] + w * more_step + c
                    call(
                        shape[tile],
                        (
                            address(listed, 2 * r * shape[LINES]), address(x, at + first * x_w + s),
                            address(packed, v * pitch), address(out, to), address(bias, c), address(residual, more),
                            address(parameter, 0), found[r], x_w, -first, source_w - first, sources_all - s, pitch,
                            out_step, channels - c, here, more_step, own_mode | shape[tile + 1],
                            min(vectors, -(-channels // per_vector) - v),
                        ),
                    )  # fmt: skip
        if streams:
            settle()

    return body


@jit.kernel
def pack_weight(sources, dtype):
    """Pack weight[c, s, tap] as packed[vector, tap, s, lane]; `places` are the taps' places in the weight."""
    lanes = simd.lanes(dtype)

    def body(start, stop, worker, weight, packed, header, places, shape):
        channels = header[geo.R]
        for v in range(start, stop):
            for t in range(len(places)):
                for s in range(sources):
                    to = ((v * len(places) + t) * sources + s) * lanes
                    for j in range(lanes):
                        g, r = divmod(v * shape[RESULTS] + j, channels)
                        packed[to + j] = 0
                        if j < shape[RESULTS] and g < header[geo.GROUPS]:
                            at = g * header[geo.WEIGHT_G] + r * header[geo.WEIGHT_R] + s * header[geo.WEIGHT_S]
                            packed[to + j] = weight[at + places[t]]

    return body


class Phase(NamedTuple):
    """A phase of the sweep as kernels read it."""

    counts: np.ndarray  # its row of the sweep's phases
    lines: np.ndarray  # offsets (d, h, first w) of the rows of its kernel
    places: np.ndarray  # of its taps in the weight, row after row
    taps: int  # in a row
    dilation: int
    shape: np.ndarray
    items: int
    packed: int  # numbers


@remembered
def phases(problem: ConvProblem) -> tuple[Phase, ...]:
    """The phases of a problem."""
    swept, lanes = geo.sweep(problem), simd.lanes(problem.dtype)
    groups = min(lanes // swept.result_channels, lanes // swept.source_channels)  # of a vector
    vectors = -(-problem.groups // groups)
    found = []
    for row in swept.phases:
        taps = swept.taps[row[geo.FIRST_TAP] :][: row[geo.TAP_COUNT]]
        taps = taps[np.lexsort((taps[:, geo.OFFSET_W], taps[:, geo.OFFSET_H], taps[:, geo.OFFSET_D]))]
        columns = np.unique(taps[:, geo.OFFSET_W])
        across = max(len(columns), 1)
        lines = taps[::across, geo.OFFSET_D : geo.OFFSET_W + 1]
        planes, high = int(problem.n * row[geo.COUNT_D]), int(row[geo.COUNT_H])
        tall = next((some for some in ROWS if planes * -(-high // some) >= ITEMS), ROWS[0])
        joined = max(min(high, tall, MOST_LINES // max(len(lines), 1)), 1)
        parts = planes * -(-high // joined)
        blocks = min(max(-(-ITEMS // max(parts, 1)), 1), vectors)
        of_item = -(-vectors // blocks)
        blocks = -(-vectors // of_item)
        wide = int(row[geo.COUNT_W])
        most = POSITIONS if swept.source_channels == 1 else POSITIONS[1:]
        positions = min(most, key=lambda p: -(-wide // p) * (p + 4))
        stride, dilation = int(swept.fixed_header[geo.STRIDE_W]), int(columns[1] - columns[0]) if across > 1 else 1
        shape = [
            groups * swept.result_channels, groups * swept.source_channels, of_item, blocks, len(lines),
            across * swept.source_channels * lanes, positions, stride, layout.streams(problem),
            joined,
        ]  # fmt: skip
        found.append(
            Phase(
                np.ascontiguousarray(row), np.ascontiguousarray(lines if len(lines) else np.zeros((1, 3), np.int64)),
                np.ascontiguousarray(taps[:, geo.TAP]), across, dilation, np.array(shape, np.int64), parts * blocks,
                vectors * len(taps) * swept.source_channels * lanes,
            )
        )  # fmt: skip
    return tuple(found)


def _columns(phase: Phase, width: int) -> list[tuple[int, int] | None]:
    """(low, past) of the columns that lie in an image, for each tile of a row; None for one of fewer positions."""
    positions, stride, wide = int(phase.shape[WIDTH]), int(phase.shape[STRIDE]), int(phase.counts[geo.COUNT_W])
    reach, found = (positions - 1) * stride + (phase.taps - 1) * phase.dilation + 1, []
    for w in range(0, wide, positions):
        first = w * stride + int(phase.lines[0, 2])
        low = min(max(-first, 0), reach)
        found.append((low, max(min(width - first, reach), low)) if w + positions <= wide else None)
    return found


@remembered
def shapes(problem: ConvProblem) -> list[np.ndarray]:
    """The shapes of a problem's phases with their tiles, compiled."""
    swept, found = geo.sweep(problem), []
    last = swept.source_channels, swept.result_channels, swept.kind, layout.activation_of(problem)
    for phase in phases(problem):
        numbers = int(phase.shape[WIDTH]), phase.taps, int(phase.shape[STRIDE]), phase.dilation
        columns = _columns(phase, int(swept.fixed_header[geo.SOURCE_W]))
        most = [pair for pair, _ in Counter(filter(None, columns)).most_common(MOST_TILES)] or [(0, 0)]
        whole = {pair: tiles.address(narrow, 19, *numbers, *pair, *last) for pair in most}
        ends = [(whole[p], tiles.LAST) if p in whole else (whole[most[0]], 0) for p in columns]
        found.append(np.concatenate([phase.shape, np.array(ends, np.int64).reshape(-1)]))
    return found


class Depthwise(Algorithm):
    """Forward and input pass between channels-last arrays."""

    replays = True

    name = "depthwise"
    accepts = ("depthwise_3x3", "depthwise_5x5_strided", "depthwise_7x7", "depthwise_1d", "depthwise_3d", "one_pixel")

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.dtype.name not in ("float32", "float64"):
            return f"the register tile multiplies float32 and float64, not {problem.dtype}"
        if not problem.layout_in == problem.layout_out == LAST:
            return "channels do not lie last"
        widest, lanes = max(problem.ci, problem.co) // problem.groups, simd.lanes(problem.dtype)
        if min(problem.ci, problem.co) == 0 or widest > lanes:
            return f"groups of {widest} channels do not fit into a vector of {lanes}"
        across = problem.kernel[-1] * geo.sweep(problem).source_channels
        if across > MOST_TAPS:
            return f"a row of the kernel has {across} numbers for each result, more than {MOST_TAPS}"
        if problem.activation is not None and problem.activation[0] not in layout.FUSED:
            return f"activation {problem.activation[0]!r} is not applied in registers"
        if math.prod(problem.kernel[:-1]) > MOST_LINES:
            return f"the kernel {problem.kernel} has more than {MOST_LINES} rows"
        return None

    def packed_bytes(self, problem: ConvProblem) -> int:
        return sum(phase.packed for phase in phases(problem)) * problem.dtype.itemsize

    def cost(self, problem: ConvProblem) -> float:
        return 4e-6 + seconds(problem)

    def prepare(self, problem: ConvProblem, weight: np.ndarray) -> np.ndarray:
        swept = geo.sweep(problem)
        packed, at, values = aligned(sum(p.packed for p in phases(problem)), problem.dtype), 0, flat(weight)[0]
        for phase in phases(problem):
            vectors = -(-problem.groups * swept.result_channels // int(phase.shape[RESULTS]))
            to = packed[at : at + phase.packed]
            pack_weight(swept.source_channels, swept.kind)(
                1, vectors, values, to, swept.fixed_header, phase.places, phase.shape
            )
            at += phase.packed
        return packed

    def run(self, problem, packed, x, bias, residual, out, workspace):
        swept, at = geo.sweep(problem), 0
        if out.strides[-1] != out.itemsize:
            side_by_side = np.empty(out.shape, out.dtype)
            self.run(problem, packed, x, bias, residual, side_by_side, workspace)
            out[...] = side_by_side
            return
        x, residual = (
            a if a is None or a.strides[-1] == a.itemsize else np.ascontiguousarray(a) for a in (x, residual)
        )
        given = geo.operands(problem, x, bias, residual, out)
        for phase, shape in zip(phases(problem), shapes(problem)):
            workers = min(jit.workers(seconds(problem)), max(phase.items, 1))
            correlate(swept.kind)(
                workers, phase.items, given.x, packed[at : at + phase.packed], given.bias, given.residual, given.out,
                given.header, phase.counts, phase.lines, shape, given.parameter,
            )  # fmt: skip
            at += phase.packed


@remembered
def seconds(problem: ConvProblem) -> float:
    """Estimate for one thread: a tile 12 ns, and its products at half the peak; with idle lanes 2.5 times as much."""
    swept, total = geo.sweep(problem), 0.0
    for phase in phases(problem):
        deep, high, wide = (int(phase.counts[field]) for field in (geo.COUNT_D, geo.COUNT_H, geo.COUNT_W))
        tiles = problem.n * deep * high * -(-wide // int(phase.shape[WIDTH]))
        vectors = -(-problem.groups * swept.result_channels // int(phase.shape[RESULTS]))
        terms = len(phase.places) * swept.source_channels
        masked = 1 if int(phase.shape[RESULTS]) == simd.lanes(problem.dtype) else 2.5
        total += tiles * vectors * (1.2e-8 + int(phase.shape[WIDTH]) * terms * 2.7e-10) * masked
    return total
