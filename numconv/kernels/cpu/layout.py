"""A source copied once: channels last, in the accumulator's dtype, with its padding around it.

Kernels that broadcast channels read the image in place where its channels lie last. Other images are laid out like that
first, a row of the padded image, or a piece of it, at a time; where channels come first, squares of lanes x lanes
numbers are turned in registers, so that both sides are read and written in vectors.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import epilogue, jit, simd, tiles
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.memory import whole_lines
from numconv.problem import LAST, ConvProblem, accumulator_dtype, remembered

STREAMED = 1 << 23  # bytes of results to store past the caches: 20 MB in 1.7 ms in place of 2.5, also if read next
BAND = 1 << 22  # numbers laid out at a time: 16 MB in float32, of which the third-level cache holds most
PIECE = 256  # positions of a row that are laid out as one item
# Of the frame, an array: the lowest position along each axis, and the extents that are copied.
LOW_D, LOW_H, LOW_W, DEEP, HIGH, WIDE = range(6)


@jit.kernel
def lay_out(dtype, half):
    """laid[n, d, h, w, channel] = source at (d, h, w) + low, or 0 outside it."""
    lanes = simd.lanes(dtype)
    load, write, fill = simd.load(half), simd.store(0), simd.fill()
    prefetch, address = simd.prefetch, simd.address
    clip, move, turn, square = geo.valid_range(), simd.move(dtype), simd.transpose(dtype), simd.stack(lanes**2, dtype)

    def body(start, stop, worker, x, laid, header, frame):
        block = square()
        channels, wide = header[geo.GROUPS] * header[geo.S], frame[WIDE]
        x_c, x_w, pieces = header[geo.X_C], header[geo.X_W], -(-wide // PIECE)
        for item in range(start, stop):
            row, piece = divmod(item, pieces)
            rest, h = divmod(row, frame[HIGH])
            n, d = divmod(rest, frame[DEEP])
            count, low_w = min(PIECE, wide - piece * PIECE), frame[LOW_W] + piece * PIECE
            in_d, in_h, to = d + frame[LOW_D], h + frame[LOW_H], (row * wide + piece * PIECE) * channels
            first, last = 0, 0
            if 0 <= in_d < header[geo.SOURCE_D] and 0 <= in_h < header[geo.SOURCE_H]:
                first, last = clip(low_w, 1, count, header[geo.SOURCE_W])
            fill(laid, to, to + first * channels, 0)
            fill(laid, to + last * channels, to + count * channels, 0)
            at = header[geo.X_0] + n * header[geo.X_N] + in_d * header[geo.X_D] + in_h * header[geo.X_H] + low_w * x_w
            if half == 0 and x_w == channels and (x_c == 1 or channels == 1):
                run = (last - first) * channels
                move(laid, to + first * channels, x, at + first * channels, 0, run, run)
            elif half == 0 and x_w == 1 and 2 * channels > lanes:
                for c in range(0, channels, lanes):
                    some = min(lanes, channels - c)
                    ahead = lanes * x_c if c + lanes < channels else header[geo.X_H] - c * x_c
                    for w in range(first, last, lanes):
                        here = min(lanes, last - w)
                        for k in range(some):
                            prefetch(address(x, at + (c + k) * x_c + ahead + w))
                        turn(x, at + c * x_c + w, x_c, some, here, block)
                        for j in range(here):
                            move(laid, to + (w + j) * channels + c, block, j * lanes, 0, some, some)
            elif half == 0 and x_w == 1 and channels == 3:
                # LLVM makes vectors of known distances: a picture of 224 x 224 takes 10 us in place of 70.
                red, run = at + first, to + 3 * first
                green, blue = red + x_c, red + 2 * x_c
                for w in range(last - first):
                    write(laid, run + 3 * w, load(x, red + w))
                    write(laid, run + 3 * w + 1, load(x, green + w))
                    write(laid, run + 3 * w + 2, load(x, blue + w))
            else:
                for w in range(first, last):
                    for c in range(channels):
                        write(laid, to + w * channels + c, load(x, at + w * x_w + c * x_c))

    return body


@jit.function
def on_lines(dtype):
    """Whether each vector of the result, from the first channel of a position on, lies on a multiple of its size."""
    lanes, size, address = simd.lanes(dtype), simd.vector_bits() // 8, simd.address

    def lie(out, header):
        there = address(out, header[geo.OUT_0]) % size == 0
        for field in (geo.OUT_N, geo.OUT_D, geo.OUT_H, geo.OUT_W):
            there = there and header[field] % lanes == 0
        return there

    return lie


# Activations that tiles apply in registers; others are applied to runs of results.
FUSED = ("", "relu", "relu6", "leaky_relu", "silu", "hardswish")


@jit.function
def store_turned(dtype, half):
    """Store the sums of a run of positions of a row, channels side by side, where the result's lie otherwise.

    sums[s + i pitch + j], for position i < run and channel j < some, become the result's at out[to + ...]. `tile` is
    the address of the `turn_store` that stores positions side by side, or 0.
    """
    lanes = simd.lanes(dtype)
    turn, square, read, write = simd.transpose(dtype), simd.stack(lanes**2, dtype), simd.load(0), simd.store(0)
    add, activate, store = epilogue.add_run(half), epilogue.activate_run(), epilogue.store_run(half, dtype)
    call, address = simd.call, simd.address

    def stored(
        tile, sums, s, pitch, run, c, some, bias, residual, out, header, parameter, to, more, out_step, more_step
    ):  # fmt: skip
        block = square()
        out_c, more_c, has_residual = header[geo.OUT_C], header[geo.RESIDUAL_C], header[geo.HAS_RESIDUAL]
        side_by_side = tile != 0 and out_step == 1 and (more_step == 1 or has_residual == 0)
        for i in range(0, run, lanes):
            here = min(lanes, run - i)
            for v in range(0, some, lanes):
                channels, channel = min(lanes, some - v), c + v
                from_sums, o, q = s + i * pitch + v, to + i * out_step + channel * out_c, more + i * more_step
                q += channel * more_c
                if side_by_side:
                    call(
                        tile,
                        (
                            address(sums, from_sums), address(bias, channel), address(residual, q), address(out, o),
                            address(parameter, 0), pitch, here, channels, more_c, has_residual, out_c,
                        ),
                    )  # fmt: skip
                    continue
                turn(sums, from_sums, pitch, here, channels, block)
                for j in range(channels):
                    value, at = bias[channel + j], j * lanes
                    for k in range(lanes):
                        write(block, at + k, read(block, at + k) + value)
                    if has_residual:
                        add(block, at, here, residual, q + j * more_c, more_step)
                    activate(block, at, at + here, header, parameter)
                    store(out, o + j * out_c, out_step, block, at, here)

    return stored


def activation_of(problem: ConvProblem) -> str:
    """The name of a problem's activation, empty without one."""
    return "" if problem.activation is None else problem.activation[0]


def turned_tile(problem: ConvProblem) -> int:
    """The tile for `store_turned`, 0 where results are converted or take another activation."""
    swept, name = geo.sweep(problem), activation_of(problem)
    return 0 if swept.half or name not in FUSED else tiles.address(tiles.turn_store, 11, swept.kind, name)


def fuses(problem: ConvProblem) -> bool:
    """Whether a tile can store the result: channels last, in the accumulator's dtype."""
    return problem.layout_out == LAST and not geo.sweep(problem).half and activation_of(problem) in FUSED


def streams(problem: ConvProblem) -> bool:
    """Whether the result is better stored past the caches than brought into them first."""
    return math.prod(problem.result_shape) * problem.dtype.itemsize >= STREAMED


class Frame:
    """What a problem's sweep reads: the source with the padding that some tap reaches.

    Attributes
    ----------
    table : numpy.ndarray
        The frame as kernels read it.
    taps : numpy.ndarray
        The sweep's taps, with offsets from the frame's corner.
    header : numpy.ndarray
        The sweep's header, with the laid-out source as the source.
    size : int
        Numbers of the laid-out source.
    """

    def __init__(self, problem: ConvProblem) -> None:
        swept = geo.sweep(problem)
        low, high = [], []
        for axis in range(3):
            offset, count = swept.taps[:, geo.OFFSET_D + axis], swept.phases[:, geo.COUNT_D + axis]
            stride = int(swept.fixed_header[geo.STRIDE_D + axis])
            reach = [
                (int(c) - 1) * stride + int(offset[p[geo.FIRST_TAP] :][: p[geo.TAP_COUNT]].max())
                for p, c in zip(swept.phases, count)
                if c > 0 and p[geo.TAP_COUNT] > 0
            ]
            low.append(min(int(offset.min(initial=0)), 0))
            high.append(max([*reach, low[-1]]))
        extents = [b - a + 1 for a, b in zip(low, high)]
        channels = problem.groups * swept.source_channels
        self.table = np.array([*low, *extents], np.int64)
        self.taps = swept.taps.copy()
        self.taps[:, geo.OFFSET_D : geo.OFFSET_W + 1] -= np.array(low)
        self.size = problem.n * channels * math.prod(extents)
        self.items = problem.n * extents[0] * extents[1] * -(-extents[2] // PIECE)
        strides = [math.prod(extents[a:]) * channels for a in range(4)]
        self.header = swept.fixed_header.copy()
        self.header[geo.SOURCE_D : geo.SOURCE_W + 1] = extents
        self.header[geo.X_N : geo.X_0 + 1] = strides[0], 1, *strides[1:], 0

    @cached_property
    def seconds(self) -> float:
        """Estimate for one thread: 0.3 ns a number."""
        return self.size * 3e-10


@remembered
def frame(problem: ConvProblem) -> Frame:
    """The frame of a problem, remembered."""
    return Frame(problem)


def laid(problem: ConvProblem, given: geo.Operands, memory: np.ndarray) -> geo.Operands:
    """The operands with the source laid out in `memory`, which is of the accumulator's dtype."""
    swept, framed = geo.sweep(problem), frame(problem)
    workers: Any = min(jit.workers(framed.seconds), max(framed.items, 1))
    lay_out(swept.kind, swept.half)(workers, framed.items, given.x, memory, given.header, framed.table)
    header = given.header.copy()
    header[geo.SOURCE_D : geo.SOURCE_W + 1] = framed.header[geo.SOURCE_D : geo.SOURCE_W + 1]
    header[geo.X_N : geo.X_0 + 1] = framed.header[geo.X_N : geo.X_0 + 1]
    return given._replace(x=memory, header=header)


class Band(NamedTuple):
    """A part of a problem: some images, and a run of positions of the result along the first axis."""

    problem: ConvProblem
    images: slice
    source: slice
    result: slice


def cut_axis(problem: ConvProblem, first: int, last: int) -> tuple[ConvProblem, slice]:
    """The problem for positions first <= . < last of the result along the first axis, and the source's run for it."""
    stride, before = problem.stride[0], problem.padding[0][0]
    reach = (problem.kernel[0] - 1) * problem.dilation[0]
    forward = problem.direction != "input"
    size = problem.spatial[0] if forward else problem.out_spatial[0]
    if forward:
        start, end = first * stride - before, (last - 1) * stride + reach - before + 1
    else:
        start, end = -((reach - first - before) // stride), (last - 1 + before) // stride + 1
    low = min(max(start, 0), size - 1)
    past = max(min(end, size), low + 1)
    shift = low - (first * stride - before) if forward else before + first - stride * low
    padding = ((shift, problem.padding[0][1]), *problem.padding[1:])
    source, result = (past - low,), (last - first,)
    spatial, out_spatial = (source, result) if forward else (result, source)
    part = replace(
        problem, spatial=spatial + problem.spatial[1:], out_spatial=out_spatial + problem.out_spatial[1:],
        padding=padding,
    )  # fmt: skip
    return part, slice(low, past)


def cut_bands(problem: ConvProblem, most: int, unit: int) -> tuple[Band, ...]:
    """Parts whose laid-out sources take at most `most` numbers each, where one position alone does not take more.

    Runs of positions are multiples of `unit`, but for the last.
    """
    everything, size = slice(None), frame(problem).size
    if size <= most:
        return (Band(problem, everything, everything, everything),)
    of_image = size // problem.n
    found: list[Band] = []
    known: dict[ConvProblem, ConvProblem] = {}
    images = max(most // of_image, 1)
    extent = problem.out_spatial[0] if problem.direction != "input" else problem.spatial[0]
    step = -(-extent // max(-(-of_image // most), 1) // unit) * unit
    for n in range(0, problem.n, images):
        some = replace(problem, n=min(images, problem.n - n))
        for first in range(0, extent, step):
            last = min(first + step, extent)
            part, source = cut_axis(some, first, last) if step < extent else (some, everything)
            part = known.setdefault(part, part)  # parts alike share what is remembered of them
            found.append(Band(part, slice(n, n + images), source, slice(first, last)))
    return tuple(found)


@remembered
def bands(problem: ConvProblem) -> tuple[Band, ...]:
    """Parts whose laid-out sources take at most BAND numbers each."""
    # The phases of every part are those of the whole.
    return cut_bands(problem, BAND, problem.stride[0] if problem.direction == "input" else 1)


class OnChannelsLast(Algorithm):
    """An algorithm on channels-last sources: others are laid out, band by band where they are large.

    Subclasses give `blocking(problem)`, with fields in_place, laid, sums, addresses, items and seconds, and `run_band`.
    """

    replays = True

    def blocking(self, problem: ConvProblem) -> Any:
        """How a problem, or a band of it, is cut."""
        raise NotImplementedError

    def run_band(self, problem: ConvProblem, packed: np.ndarray, given: geo.Operands, fused: bool, memory: Any) -> None:
        """Compute a band; `memory` has what its workers need."""
        raise NotImplementedError

    def bands(self, problem: ConvProblem) -> tuple[Band, ...]:
        """The parts that are computed one after another."""
        everything = slice(None)
        in_place = self.blocking(problem).in_place
        return (Band(problem, everything, everything, everything),) if in_place else bands(problem)

    def shared_bytes(self, problem: ConvProblem) -> int:
        size = accumulator_dtype(problem.dtype).itemsize
        return max(whole_lines(self.blocking(band.problem).laid * size) for band in self.bands(problem))

    def worker_bytes(self, problem: ConvProblem) -> int:
        size = accumulator_dtype(problem.dtype).itemsize
        cuts = [self.blocking(band.problem) for band in self.bands(problem)]
        return max(whole_lines(cut.sums * size) + cut.addresses * 8 for cut in cuts)

    def items(self, problem: ConvProblem) -> int:
        return max(self.blocking(band.problem).items for band in self.bands(problem))

    def cost(self, problem: ConvProblem) -> float:
        return sum(4e-6 + self.blocking(band.problem).seconds for band in self.bands(problem))

    def run(self, problem, packed, x, bias, residual, out, workspace):
        for band in self.bands(problem):
            part, cut, swept = band.problem, self.blocking(band.problem), geo.sweep(band.problem)
            parts = (
                None if a is None else a[band.images, along] if layout == LAST else a[band.images, :, along]
                for a, along, layout in (
                    (x, band.source, part.layout_in), (residual, band.result, part.layout_out),
                    (out, band.result, part.layout_out),
                )
            )  # fmt: skip
            source, more, result = parts
            if cut.in_place and source.strides[-1] != source.itemsize:
                source = np.ascontiguousarray(source)
            given, size = geo.operands(part, source, bias, more, result), swept.accumulator.itemsize
            laid_out = whole_lines(cut.laid * size)
            if not cut.in_place:
                given = laid(part, given, workspace[: cut.laid * size].view(swept.accumulator))
            side_by_side = all(a is None or a.strides[-1] == a.itemsize for a in (result, more))
            self.run_band(part, packed, given, fuses(part) and side_by_side, workspace[laid_out:])

    def split(self, problem: ConvProblem, memory: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
        """(workers, their addresses, their sums) that a band's memory has room for."""
        cut, kind = self.blocking(problem), accumulator_dtype(problem.dtype)
        each = whole_lines(cut.sums * kind.itemsize) + cut.addresses * 8
        workers = min(jit.workers(cut.seconds), memory.size // each, max(cut.items, 1))
        middle = workers * cut.addresses * 8
        return workers, memory[:middle].view(np.int64), memory[middle:].view(kind)


def lay_out_result(problem: ConvProblem, result: np.ndarray, header: np.ndarray, memory: np.ndarray) -> None:
    """Lay out the array that the header's OUT fields describe, and have them describe it in `memory`."""
    swept = geo.sweep(problem)
    extents = [int(c) for c in swept.phases[0, geo.COUNT_D : geo.COUNT_W + 1]]
    of_result = header.copy()
    of_result[geo.X_N : geo.X_0 + 1] = header[geo.OUT_N : geo.OUT_0 + 1]
    of_result[geo.S] = header[geo.R]
    of_result[geo.SOURCE_D : geo.SOURCE_W + 1] = extents
    items = problem.n * extents[0] * extents[1] * -(-extents[2] // PIECE)
    workers = min(jit.workers(memory.size * 3e-10), max(items, 1))
    table = np.array([0, 0, 0, *extents], np.int64)
    lay_out(swept.kind, swept.half)(workers, items, result, memory, of_result, table)
    channels = problem.groups * swept.result_channels
    strides = [math.prod(extents[a:]) * channels for a in range(4)]
    header[geo.OUT_N : geo.OUT_0 + 1] = strides[0], 1, *strides[1:], 0
