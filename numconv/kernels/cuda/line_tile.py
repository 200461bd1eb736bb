"""A tile of a few positions along one axis, with the sources that they share in registers.

Channels last the tile lies along w, and a thread has four channels; channels first it lies along h, so that threads
side by side read along w. For each row of the kernel across that axis a thread reads one line of sources, each source
once, and every tap of the row finds what it needs there. Lines of many taps are cut. What lies outside of the source
reads as nought; where a column of the line can never lie outside, it is not asked.

Depthwise and grouped convolution and the gradient of their weights are this tile with different products.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import cuda
from numpy import float32, float64, int64, uint32, uint64

from numconv.kernels.cuda import epilogue, launch, vectors
from numconv.kernels.cuda.epilogue import Epilogue
from numconv.kernels.cuda.sweep import Axis, Phase

THREADS = 256
COLUMNS, OF_ONE = 16, 24  # of a line, at most; of one channel
# Of a cut line, at most: the compiler unrolled 384, and kept the registers in memory with 784.
PRODUCTS = 384


class Lines(NamedTuple):
    """The geometry of a phase as the tile sees it: `a` is the axis of lines, `b` the one across; offsets ascend."""

    d: Axis
    b: Axis
    a: Axis
    x: tuple[int, int, int, int, int]  # strides: image, channel, d, b, a
    out: tuple[int, int, int, int, int]
    taps: tuple[int, int, int, int]  # place of the first tap in the kernel, distances along d, b and a
    last: bool  # whether the result's channels lie last
    channels: int  # of the result
    sources: int  # of a group
    results: int
    lanes: int  # channels of a thread
    positions: int  # of a thread
    across: int  # taps of a cut line
    columns: int  # sources of a cut line
    wide: bool

    @property
    def tiles(self) -> int:
        """Along a line."""
        return -(-self.a.positions // self.positions)

    @property
    def cuts(self) -> int:
        """Of a line."""
        return -(-self.a.taps // self.across)

    @property
    def vectors(self) -> int:
        """Threads for all channels."""
        return self.channels // self.lanes

    @property
    def block(self) -> tuple[int, int, int]:
        """Vectors of channels, tiles and rows of a block, channels last: lines of 128 bytes, and rows for the cache."""
        across = even(self.vectors, 8 if self.lanes == 4 else 32)
        tiles = even(self.tiles, 4)
        return across, tiles, THREADS // (across * tiles)


def even(count: int, most: int) -> int:
    """The size of parts, at most so large, that differ little."""
    return -(-count // -(-count // most)) if count else 1


def _ascending(axis: Axis) -> Axis:
    """The axis with its taps in the order of their offsets."""
    if axis.offset_step >= 0:
        return axis
    last = axis.taps - 1
    return axis._replace(
        offset=axis.offset + last * axis.offset_step, offset_step=-axis.offset_step,
        tap=axis.tap + last * axis.tap_step, tap_step=-axis.tap_step,
    )  # fmt: skip


def lines_of(phase: Phase, last: bool, lanes: int, wanted: int, sources: int = 1) -> Lines:
    """The geometry of a phase for threads of so many channels, at most `wanted` positions, and sources at a time."""
    d, h, w = map(_ascending, (phase.d, phase.h, phase.w))
    kernel, x, out = phase.kernel, phase.x, phase.out
    places = ((d.tap * kernel[1] + h.tap) * kernel[2] + w.tap, d.tap_step * kernel[1] * kernel[2])
    if last:
        a, b, x_s, out_s, taps = w, h, (x.h, x.w), (out.h, out.w), (h.tap_step * kernel[2], w.tap_step)
    else:
        a, b, x_s, out_s, taps = h, w, (x.w, x.h), (out.w, out.h), (w.tap_step, h.tap_step * kernel[2])
    room = (OF_ONE if lanes == sources == 1 else COLUMNS) - 1
    fit = [(room - span) // a.stride + 1 for span in ((a.taps - 1) * a.offset_step, 0)]  # with all taps, with one
    positions = even(a.positions, min(wanted, fit[0] if fit[0] >= 4 else fit[1]))
    reach = (positions - 1) * a.stride + 1
    most = min((room + 1 - reach) // a.offset_step + 1, PRODUCTS // (positions * lanes * sources))
    across = even(a.taps, max(most, 1))
    return Lines(
        d, b, a, (x.n, x.c, x.d, *x_s), (out.n, out.c, out.d, *out_s), (*places, *taps), last,
        phase.groups * phase.results, phase.sources, phase.results, lanes, positions, across,
        reach + (across - 1) * a.offset_step, phase.wide,
    )  # fmt: skip


def grid(lines: Lines, n: int) -> tuple[int, int, int]:
    """(blocks, threads of a block, the `count` that `place` asks for) for n images."""
    if lines.last:
        vectors, tiles, rows = lines.block
        count = n * lines.d.positions * lines.b.positions
        parts = launch.blocks(lines.vectors, vectors) * launch.blocks(lines.tiles, tiles)
        return parts * launch.blocks(count, rows), vectors * tiles * rows, count
    count = n * lines.vectors * lines.d.positions * lines.tiles * lines.b.positions
    return launch.blocks(count, THREADS), THREADS, count


def number_type(dtype: str) -> Any:
    """The type of the numbers in registers, of the name of a dtype."""
    return float64 if vectors.number_dtype(dtype) == "float64" else float32


@launch.function
def place(lines: Lines) -> Any:
    """`place(lines)(count)`: (whether there is one, image, channel, position along d and b, tile) of a thread."""
    vectors, tiles, lanes, deep, rows = lines.vectors, lines.tiles, lines.lanes, lines.d.positions, lines.b.positions
    index = uint64 if lines.wide else uint32
    of_block, tiles_of_block, rows_of_block = lines.block
    chunks, spans = launch.blocks(vectors, of_block), launch.blocks(tiles, tiles_of_block)

    def last(count):
        thread, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
        rest, above = uint32(thread // uint32(of_block)), uint32(block // uint32(chunks))
        vector = int64(block % uint32(chunks)) * of_block + int64(thread % uint32(of_block))
        tile = int64(above % uint32(spans)) * tiles_of_block + int64(rest % uint32(tiles_of_block))
        row = uint32(above // uint32(spans)) * uint32(rows_of_block) + uint32(rest // uint32(tiles_of_block))
        plane = uint32(uint32(row) // uint32(rows))
        b, d, n = int64(uint32(row) % uint32(rows)), int64(plane % uint32(deep)), int64(plane // uint32(deep))
        return vector < vectors and tile < tiles and int64(row) < count, n, vector * lanes, d, b, tile

    def first(count):
        i = index(cuda.grid(1))
        b, rest = int64(i % index(rows)), index(i // index(rows))
        tile, rest = int64(rest % index(tiles)), index(rest // index(tiles))
        d, rest = int64(rest % index(deep)), index(rest // index(deep))
        channel, n = int64(rest % index(vectors)) * lanes, int64(rest // index(vectors))
        return i < count, n, channel, d, b, tile

    return last if lines.last else first


@launch.function
def fill(lines: Lines, lanes: int, dtype: str) -> Any:
    """`fill(lines, lanes, dtype)(line, x, at, column)`: read a cut line, of so many channels, from `column` on.

    `at` is the index of that column, which may lie outside.
    """
    a, columns, step = lines.a, lines.columns, lines.x[4]
    read = vectors.read(lanes, lines.x[1], dtype)
    most = (lines.tiles - 1) * lines.positions * a.stride + a.offset + (lines.cuts - 1) * lines.across * a.offset_step
    never_before, never_after, size = max(-a.offset, 0), a.size - max(most, 0), a.size

    def fill(line, x, at, column):
        for j in range(columns):
            inside = (j >= never_before or column + j >= 0) and (j < never_after or column + j < size)
            if inside:
                read(line, j * lanes, x, at + j * step)
            else:
                for v in range(lanes):
                    line[j * lanes + v] = 0

    return fill


@launch.function
def finish(lines: Lines, dtype: str, after: Epilogue) -> Any:
    """`finish(lines, dtype, after)(sums, bias, residual, out, n, c, d, b, tile)`: the epilogue, and the store."""
    d_axis, b_axis, a_axis = lines.d, lines.b, lines.a
    out_n, out_c, out_d, out_b, out_a = lines.out
    lanes, positions, wide = lines.lanes, lines.positions, a_axis.positions
    exact, kind = wide % positions == 0, vectors.number_dtype(dtype)
    numbers = number_type(dtype)
    read_bias, read = vectors.read(lanes, 1, dtype), vectors.read(lanes, out_c, dtype)
    write = vectors.write(lanes, out_c, dtype)
    has_bias, has_residual = after.bias, after.residual
    activate = epilogue.activate(after.activation, after.parameter, kind) if after.activation else None

    def finish(sums, bias, residual, out, n, c, d, b, tile):
        more = cuda.local.array(lanes, numbers)
        o = n * out_n + c * out_c + (d_axis.start + d * d_axis.step) * out_d
        o += (b_axis.start + b * b_axis.step) * out_b
        o += (a_axis.start + tile * (positions * a_axis.step)) * out_a
        if has_bias:
            read_bias(more, 0, bias, c)
            for q in range(positions):
                for v in range(lanes):
                    sums[q * lanes + v] += more[v]
        for q in range(positions):
            if exact or tile * positions + q < wide:
                at = o + q * (a_axis.step * out_a)
                if has_residual:
                    read(more, 0, residual, at)
                    for v in range(lanes):
                        sums[q * lanes + v] += more[v]
                if activate is not None:
                    for v in range(lanes):
                        sums[q * lanes + v] = activate(sums[q * lanes + v])
                write(out, at, sums, q * lanes)

    return finish
