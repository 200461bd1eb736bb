"""Convolution as a product of matrices of which the image's is never built: forward and input pass.

    result[m, r] = sum over k of  image[m, k] weight[k, r]        m = (n, position), k = (tap, source channel)

Blocks lie along r, then along m: those that run together read the same part of the image. Within a block slices of 8
k's go through shared memory (`gemm_tile`), the image's from where `gemm_image` finds them: channels last a thread loads
four source channels at once, channels first a row's numbers, neighbours those of neighbouring positions. Weights come
packed and padded (`packing`).

The input pass is one launch for each phase of the stride. Where there are too few tiles, blocks share them
(`gemm_result`); where the precision asks for shorter sums, a launch computes a piece of the k's and adds what is there.

The idea is that of cuDNN's and CUTLASS's implicit GEMM ("cuDNN: Efficient Primitives for Deep Learning", 2014).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda
from numpy import float32, int32, uint32, uint64

from numconv.algorithm import Algorithm
from numconv.kernels.cuda import epilogue, gemm_result, gemm_tile, launch, memory, ptx
from numconv.kernels.cuda.epilogue import Epilogue
from numconv.kernels.cuda.gemm_image import by_bits, dense, fetch_image, origin, place_of
from numconv.kernels.cuda.gemm_schedule import Schedule, error_bound, pieces, schedule
from numconv.kernels.cuda.gemm_tile import DEPTH, SUMS, Loads, Tile
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.packing import THREADS, Terms, pack, packed_size, padded_results, terms
from numconv.kernels.cuda.sweep import Phase, phases
from numconv.options import options
from numconv.problem import ConvProblem, remembered


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
