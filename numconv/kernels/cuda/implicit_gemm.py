"""Convolution as a product of matrices of which the image's is never built: forward and input pass.

    result[m, r] = sum over k of  image[m, k] weight[k, r]        m = (n, position), k = (tap, source channel)

Blocks lie along r, then along m: those that run together read the same part of the image. Within a block slices of 8
k's go through shared memory (`gemm_tile`); of an image's row the place of the first tap is found once, so that a k
costs one addition, and one unsigned comparison for each axis on which a tap may lie outside. Channels last a thread
loads four source channels at once, channels first a row's numbers, neighbours those of neighbouring positions. Weights
come packed and padded (`packing`). The input pass is one launch for each phase of the stride.

The idea is that of cuDNN's and CUTLASS's implicit GEMM ("cuDNN: Efficient Primitives for Deep Learning", 2014).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda
from numpy import float32, int32, int64, uint32, uint64

from numconv.algorithm import Algorithm
from numconv.kernels.cuda import epilogue, gemm_result, gemm_tile, launch, memory, ptx
from numconv.kernels.cuda.epilogue import Epilogue
from numconv.kernels.cuda.gemm_schedule import Schedule, error_bound, pieces, schedule
from numconv.kernels.cuda.gemm_tile import DEPTH, SUMS, Loads, Tile
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.packing import THREADS, Terms, pack, packed_size, padded_results, terms
from numconv.kernels.cuda.sweep import Axis, Phase, phases
from numconv.options import options
from numconv.problem import ConvProblem, remembered


@launch.function
def position(phase: Phase):
    """`position(phase)(row)`: (n, td, th, tw) of a row of the image's matrix."""
    d, h, w = phase.d.positions, phase.h.positions, phase.w.positions

    def of_row(row):
        rest = uint32(row // uint32(w))
        above = uint32(rest // uint32(h))
        return (
            uint32(above // uint32(d)), uint32(above % uint32(d)), uint32(rest % uint32(h)), uint32(row % uint32(w))
        )  # fmt: skip

    return of_row


@launch.function
def origin(phase: Phase, counted: Terms, wide: bool):
    """`origin(...)(row, group, bases, places, i)`: where a row's window begins, in memory and along each axis.

    Where there are few taps, `places` holds a bit for each, which says whether it lies inside: one register a row.
    """
    d, h, w, x_s, sources = phase.d, phase.h, phase.w, phase.x, phase.sources
    index, of_row, width = uint64 if wide else uint32, position(phase), phase.sources if counted.flat else 1
    bits = by_bits(phase, counted)

    def begin(row, group, bases, places, i):
        n, td, th, tw = of_row(row)
        in_d = int32(int32(td) * d.stride + d.offset)
        in_h = int32(int32(th) * h.stride + h.offset)
        in_w = int32(int32(tw) * w.stride + w.offset)
        start = int64(n) * x_s.n + int64(group) * (sources * x_s.c)
        bases[i] = index(start + int64(in_d) * x_s.d + int64(in_h) * x_s.h + int64(in_w) * x_s.w)
        if bits:
            inside, bit = uint32(0), uint32(1)
            for jd in range(d.taps):
                for jh in range(h.taps):
                    for jw in range(w.taps):
                        within = uint32(in_d + int32(jd) * d.offset_step) < d.size
                        within = within and uint32(in_h + int32(jh) * h.offset_step) < h.size
                        if within and uint32(in_w + int32(jw) * w.offset_step) < w.size:
                            inside = uint32(inside | bit)
                        bit = uint32(bit << uint32(1))
            places[i] = int32(inside)
        else:
            places[3 * i], places[3 * i + 1], places[3 * i + 2] = in_d, in_h, int32(in_w * width)

    return begin


def by_bits(phase: Phase, counted: Terms) -> bool:
    """Whether a word has a bit for each tap of a window."""
    return counted.runs <= 32 and not counted.flat


@launch.function
def fetch_image(loads: Loads, phase: Phase, counted: Terms, wide: bool):
    """Of the image's matrix: `state` is the origins of the thread's rows and its first k in a slice."""
    d, h, w, x_s = phase.d, phase.h, phase.w, phase.x
    times, width, k_step, each = loads.times, loads.width, loads.k_step, 1 if loads.row_step else 0
    index, signed = (uint64, int64) if wide else (uint32, int32)
    run, runs, depth = counted.run, counted.runs, counted.depth
    sliced, whole, exact, flattened = counted.sliced, depth % DEPTH == 0, run == counted.length, counted.flat
    length, w_taps, h_taps = counted.length, 1 if counted.flat else w.taps, h.taps
    bits = by_bits(phase, counted)
    padded, in_d, in_h, in_w = bits and phase.padded, *(not bits and leaves(axis) for axis in (d, h, w))
    row_size = w.size * phase.sources if flattened else w.size
    d_jump, h_jump, w_jump = d.offset_step * x_s.d, h.offset_step * x_s.h, w.offset_step * x_s.w

    def fetch(x, state, k, values):
        bases, places, k0 = state
        for i in range(times):
            r, inner = i * each, uint32(k0 + i * k_step)
            term = uint32(k + inner)
            at_run = uint32((k if sliced else term) // uint32(run)) if runs > 1 else uint32(0)
            beyond = i * k_step if sliced else 0  # of a source that all loads of the thread start from
            source = uint32(uint32(term - uint32(at_run * uint32(run))) - uint32(beyond))
            jw, rest = uint32(at_run % uint32(w_taps)), uint32(at_run // uint32(w_taps))
            jh, jd = uint32(rest % uint32(h_taps)), uint32(rest // uint32(h_taps))
            offset = int64(jd) * d_jump + int64(jh) * h_jump + int64(jw) * w_jump + int64(source) * x_s.c
            here = (whole or term < depth) and (exact or uint32(source + beyond) < length)
            if padded:
                here = here and uint32(uint32(places[r]) >> at_run) & uint32(1) == uint32(1)
            if in_d:
                here = here and uint32(places[3 * r] + int32(jd) * d.offset_step) < d.size
            if in_h:
                here = here and uint32(places[3 * r + 1] + int32(jh) * h.offset_step) < h.size
            if in_w:
                along = int32(uint32(source + beyond)) if flattened else int32(jw) * w.offset_step
                here = here and uint32(places[3 * r + 2] + along) < row_size
            # Signed: before a flat run that begins left of the image there may be nothing.
            at = uint64(int64(signed(index(bases[r] + index(offset))))) + uint64(beyond * x_s.c)
            if width == 4:
                v0 = v1 = v2 = v3 = float32(0)
                if here:
                    v0, v1, v2, v3 = ptx.load4(x, at)
                values[4 * i], values[4 * i + 1], values[4 * i + 2], values[4 * i + 3] = v0, v1, v2, v3
            else:
                values[i] = x[at] if here else float32(0)

    return fetch


def leaves(axis: Axis) -> bool:
    """Whether a tap may lie outside of the source along an axis."""
    ends = [axis.offset, axis.offset + (axis.taps - 1) * axis.offset_step]
    return min(ends) < 0 or max(ends) + (axis.positions - 1) * axis.stride >= axis.size


@launch.function
def fetch_packed(loads: Loads, columns: int):
    """Of the packed weight: `state` is the place of the thread's first number of k 0."""
    times, step = loads.times, loads.k_step * columns

    def fetch(packed, state, k, values):
        start = uint32(state + uint32(k * uint32(columns)))
        for i in range(times):
            four = ptx.load4(packed, uint32(start + i * step))
            values[4 * i], values[4 * i + 1], values[4 * i + 2], values[4 * i + 3] = four

    return fetch


@launch.function
def place_of(phase: Phase, wide: bool):
    """`place_of(phase, wide)(row)`: where the result of a row lies, in channel 0."""
    d, h, w, out_s = phase.d, phase.h, phase.w, phase.out
    index, of_row = uint64 if wide else uint32, position(phase)
    whole, positions, channels = dense(phase), phase.positions, phase.groups * phase.results

    def locate(row):
        if whole and out_s.c == 1:
            return index(index(row) * index(channels))
        if whole:
            n = uint32(row // uint32(positions))
            return index(index(n) * index(out_s.n) + index(row - uint32(n * uint32(positions))))
        n, td, th, tw = of_row(row)
        at = int64(n) * out_s.n + (d.start + int64(td) * d.step) * out_s.d
        return index(at + (h.start + int64(th) * h.step) * out_s.h + (w.start + int64(tw) * w.step) * out_s.w)

    return locate


def dense(phase: Phase) -> bool:
    """Whether the positions of the phase are all of the result's, in order."""
    return phase.out.n == phase.positions * phase.groups * phase.results


@launch.kernel(threads=lambda phase, tile, *rest: tile.bounds)
def correlate(
    phase: Phase,
    tile: Tile,
    parts: int,
    from_slice: int,
    slices: int,
    counted: Terms,
    stores: str,
    after: Epilogue,
    wide: bool,
):
    """A group of a phase along z, parts of its k's along y, tiles along x, those of `rows` rows of the image.

    Each part has so many `slices`, the first one begins at `from_slice`.
    """
    columns, last = padded_results(phase), launch.blocks(counted.depth, DEPTH)
    stop = min(from_slice + slices, last)
    across, group_size = launch.blocks(phase.results, tile.columns), last * DEPTH * columns
    x_loads, w_loads = Loads(counted.loads, tile.rows, tile.threads), Loads("rows4", tile.columns, tile.threads)
    fetch_x, fetch_w = fetch_image(x_loads, phase, counted, wide), fetch_packed(w_loads, columns)
    x_place, w_place = gemm_tile.first_load(x_loads), gemm_tile.first_load(w_loads)
    place, begin = gemm_tile.first_result(tile), origin(phase, counted, wide)
    sum_up = gemm_tile.pipeline(tile, x_loads, w_loads, fetch_x, fetch_w)
    step, windows = x_loads.row_step, x_loads.times if x_loads.row_step else 1
    index, coordinates, results = (
        uint64 if wide else uint32,
        windows if by_bits(phase, counted) else 3 * windows,
        phase.results,
    )
    store = gemm_result.store_tile(place_of(phase, wide), results, phase.out.c, stores, after, wide)

    def body(x, packed, bias, residual, out, rows):
        sums = cuda.local.array(SUMS, float32)
        for i in range(SUMS):
            sums[i] = float32(0)
        block, part, group = uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.y), uint32(cuda.blockIdx.z)
        first_row, first_column = uint32(uint32(block // across) * tile.rows), uint32(block % across * tile.columns)
        if last:
            bases, places = cuda.local.array(windows, index), cuda.local.array(coordinates, int32)
            (row, k), (column, term) = x_place(), w_place()
            for i in range(windows):  # rows beyond the last are the last again: they are not stored
                begin(min(uint32(first_row + row + i * step), uint32(rows - 1)), group, bases, places, i)
            start = uint32(uint32(group * group_size) + uint32(term * columns) + first_column + column)
            begin_at = uint32(from_slice + part * slices) if parts > 1 else uint32(from_slice)
            end = min(uint32(begin_at + slices), uint32(last)) if parts > 1 else uint32(stop)
            sum_up(x, (bases, places, k), packed, start, begin_at, end, sums)
        row, column = place()
        row, column = uint32(first_row + row), uint32(first_column + column)
        shift = index(index(part) * index(out.size // parts))
        store(sums, row, column, uint32(rows), uint32(group * results), bias, residual, out, shift)

    return epilogue.entry(body, after)


class ImplicitGemm(Algorithm):
    """Forward and input pass."""

    name = "implicit_gemm"

    def rejects(self, problem: ConvProblem) -> str | None:
        return unsuited(problem)

    def error_bound(self, problem: ConvProblem) -> float:
        return error_bound(problem.precision)

    def packed_bytes(self, problem: ConvProblem) -> int:
        return 4 * sum(packed_size(phase, problem.layout_in) for phase in phases(problem))

    def shared_bytes(self, problem: ConvProblem) -> int:
        parts = max((plan.parts for plan in _schedules(problem)), default=1)
        return 4 * parts * math.prod(problem.result_shape) if parts > 1 else 0

    def cost(self, problem: ConvProblem) -> float:
        return sum((plan.seconds for plan in _schedules(problem)), 1e-6)

    def prepare(self, problem, weight):
        packed = memory.empty((self.packed_bytes(problem) // 4,), np.float32)
        for phase, there in _pieces(problem, packed):
            if there.size:
                kernel = pack(phase, terms(phase, problem.layout_in))
                kernel(launch.blocks(there.size, THREADS), THREADS, flat(weight), there)
        return packed

    def run(self, problem, packed, x, bias, residual, out, workspace):
        after, x, target = epilogue.of(problem), flat(x), flat(out)
        bias, residual = (None if array is None else flat(array) for array in (bias, residual))
        for (phase, there), plan in zip(_pieces(problem, packed), _schedules(problem)):
            wide = phase.wide or plan.parts * out.size >= 1 << 31
            rows, counted, stores = problem.n * phase.positions, terms(phase, problem.layout_in), _stores(phase)
            tiles = launch.blocks(rows, plan.tile.rows) * launch.blocks(phase.results, plan.tile.columns)
            grid, block = (tiles, plan.parts, phase.groups), plan.tile.threads
            if plan.parts > 1:
                partial = memory.part(memory.seen_as(workspace, out.dtype), 0, 0, plan.parts * out.size)
                kernel = correlate(phase, plan.tile, plan.parts, 0, plan.slices, counted, stores, Epilogue(), wide)
                kernel(grid, block, x, there, partial, rows)
                channels, given = phase.groups * phase.results, epilogue.given(bias, residual)
                gemm_result.added(partial, target, plan.parts, channels, phase.out.c, after, given)
                continue
            sums = pieces(counted.depth, problem.precision)
            each = launch.blocks(plan.slices, sums)
            for i in range(sums):  # each but the first adds the result so far, as a residual
                first, last = i == 0, i == sums - 1
                then = Epilogue(after.bias and last, after.residual or not first, *(after[2:] if last else ("", 0.0)))
                kernel = correlate(phase, plan.tile, 1, i * each, each, counted, stores, then, wide)
                given = epilogue.given(bias if last else None, residual if first else target)
                kernel(grid, block, x, there, *given, target, rows)


def unsuited(problem: ConvProblem) -> str | None:
    """Why a problem is none for implicit GEMM, if it is none."""
    if problem.dtype != np.float32:
        return f"it multiplies float32, not {problem.dtype}"
    if problem.groups > 1 and problem.groups in (problem.ci, problem.co):
        return "one channel a group leaves most of a tile empty"
    if problem.groups > _MOST_GROUPS:
        return f"it takes at most {_MOST_GROUPS} groups, not {problem.groups}"
    if any(problem.n * phase.positions >= 1 << 31 or _reach(phase) >= 1 << 31 for phase in phases(problem)):
        return "positions or their coordinates need more than 31 bits"
    return None


_MOST_GROUPS = 65535  # blocks of a grid along z


def _reach(phase: Phase) -> int:
    """The largest coordinate, along an axis or of a row of pixels' channels."""
    axes = (phase.d, phase.h, phase.w)
    ends = (a.positions * a.stride + abs(a.offset) + a.taps * abs(a.offset_step) + a.size for a in axes)
    return max(ends) * phase.sources


def _stores(phase: Phase) -> str:
    """What 128-bit stores of results take four of."""
    if phase.out.c == 1:
        return "columns" if phase.results % 4 == 0 else ""
    return "rows" if dense(phase) and phase.positions % 4 == 0 else ""


@remembered
def _moved(problem: ConvProblem) -> int:
    arrays = (problem.input_shape, problem.output_shape, problem.weight_shape)
    return 4 * sum(math.prod(shape) for shape in arrays)


def _schedules(problem: ConvProblem) -> list[Schedule]:
    """How each phase is computed.

    Blocks share a tile where there is one phase, since their sums are copies of the result, and where they then are
    as many as the precision asks for.
    """
    found, plans = phases(problem), []
    for phase in found:
        depth, moved = terms(phase, problem.layout_in).depth, _moved(problem) // len(found)
        product = problem.n * phase.positions, phase.results, depth, phase.groups, moved
        plan = schedule(*product, options.workspace_limit if len(found) == 1 else 0)
        few = 1 < plan.parts < pieces(depth, problem.precision)
        plans.append(schedule(*product, 0) if few else plan)
    return plans


def _pieces(problem: ConvProblem, packed: Any) -> list[tuple[Phase, Any]]:
    """Each phase with its part of the packed weight."""
    found, start = [], 0
    for phase in phases(problem):
        stop = start + packed_size(phase, problem.layout_in)
        found.append((phase, memory.part(packed, 0, start, stop)))
        start = stop
    return found
