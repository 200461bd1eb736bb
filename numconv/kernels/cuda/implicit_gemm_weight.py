"""The weight's gradient as a product of matrices of which the image's is never built.

    result[r, c] = sum over k of  gradient[k, r] image[k, c]        k = (n, position), c = (tap, source channel)

There are few results and many k's: blocks share a tile, each sums a part of the k's, and a second kernel adds the parts
in order (`gemm_result`); how many there are follows from the problem alone. Slices of 8 positions go through shared
memory (`gemm_tile`). Here a thread's columns stay the same, so their taps are found once, and the places of positions
slice by slice. Channels last both operands are read along channels, 128 bits at once, and go to shared memory as they
lie; channels first the gradient is read along positions, and neighbouring threads read an image's neighbouring taps.

The idea is that of cuDNN's and CUTLASS's implicit GEMM with split k.
"""

from __future__ import annotations

import math

from numba import cuda
from numpy import float32, int32, int64, uint32, uint64

from numconv.algorithm import Algorithm
from numconv.kernels.cuda import gemm_result, gemm_tile, launch, memory
from numconv.kernels.cuda.epilogue import Epilogue
from numconv.kernels.cuda.gemm_image import leaves, position
from numconv.kernels.cuda.gemm_schedule import Schedule, error_bound, pieces, schedule
from numconv.kernels.cuda.gemm_tile import DEPTH, SUMS, Loads, Tile
from numconv.kernels.cuda.implicit_gemm import unsuited
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.sweep import Phase, phases
from numconv.options import options
from numconv.problem import LAST, ConvProblem

THREADS = 256


def gradient_loads(phase: Phase, last: bool, tile: Tile) -> Loads:
    """How the gradient is loaded: along channels that come last, or along positions."""
    along, count = ("rows", phase.results) if last else ("k", phase.positions)
    return Loads(along + ("4" if count % 4 == 0 else ""), tile.rows, tile.threads)


def image_loads(phase: Phase, last: bool, tile: Tile) -> Loads:
    """How the image is loaded: neighbouring columns are neighbouring channels, or taps."""
    return Loads("rows4" if last and phase.sources % 4 == 0 else "rows", tile.columns, tile.threads)


@launch.function
def fetch_gradient(loads: Loads, phase: Phase, wide: bool):
    """`state` is the first load's channel, its group's first one, the first load's k, and how many k's there are."""
    index, out_s, positions, results = uint64 if wide else uint32, phase.out, phase.positions, phase.results
    times, row_step, k_step, take = loads.times, loads.row_step, loads.k_step, gemm_tile.load(loads)
    across = loads.kind in ("rows", "rows4")  # channels last: positions of all images lie at one distance
    channels = phase.groups * results

    def fetch(gradient, state, k, values):
        row, first, k0, terms = state
        for i in range(times):
            term, channel = uint32(k + k0 + i * k_step), uint32(row + i * row_step)
            if across:
                at = index(index(term) * index(channels) + index(first + channel))
            else:
                n = uint32(term // uint32(positions))
                at = index(index(n) * index(out_s.n) + index(term - uint32(n * uint32(positions))))
                at = index(at + index(first + channel) * index(positions))
            here = term < terms and channel < results
            take(gradient, at, here, values, i)

    return fetch


@launch.function
def column_of(phase: Phase, last: bool, wide: bool):
    """`column_of(...)(column, group, moves)`: a column's place, of image 0, and `moves`, its tap's along each axis."""
    d, h, w, x_s, sources, taps = phase.d, phase.h, phase.w, phase.x, phase.sources, phase.taps
    index = uint64 if wide else uint32

    def start(column, group, moves):
        tap, source = uint32(column // uint32(sources)), uint32(column % uint32(sources))
        if not last:
            source, tap = uint32(column // uint32(taps)), uint32(column % uint32(taps))
        above = uint32(tap // uint32(w.taps))
        jw, jh, jd = uint32(tap % uint32(w.taps)), uint32(above % uint32(h.taps)), uint32(above // uint32(h.taps))
        in_d = int32(int32(jd) * d.offset_step + d.offset)
        in_h = int32(int32(jh) * h.offset_step + h.offset)
        in_w = int32(int32(jw) * w.offset_step + w.offset)
        moves[0], moves[1], moves[2] = in_d, in_h, in_w
        at = (int64(group) * sources + int64(source)) * x_s.c + int64(in_d) * x_s.d
        return index(at + int64(in_h) * x_s.h + int64(in_w) * x_s.w)

    return start


@launch.function
def fetch_image(loads: Loads, phase: Phase, wide: bool):
    """`state` is the thread's column (see `column_of`), its first k in a slice, and how many k's there are."""
    d, h, w, x_s = phase.d, phase.h, phase.w, phase.x
    index, of_row = uint64 if wide else uint32, position(phase)
    times, k_step, take = loads.times, loads.k_step, gemm_tile.load(loads)
    in_d, in_h, in_w = leaves(d), leaves(h), leaves(w)
    # Positions of all images lie at one distance, and there is nothing to find.
    plain = x_s.c == 1 and all(axis.stride == 1 and axis.positions == axis.size for axis in (d, h, w))
    plain, channels = plain and not phase.padded, x_s.w

    def fetch(x, state, k, values):
        start, moves, k0, terms = state
        for i in range(times):
            term = uint32(k + k0 + i * k_step)
            here = term < terms
            if plain:
                at = index(start + index(term) * index(channels))
            else:
                n, td, th, tw = of_row(term)
                at_d, at_h, at_w = int32(td) * d.stride, int32(th) * h.stride, int32(tw) * w.stride
                if in_d:
                    here = here and uint32(int32(at_d + moves[0])) < d.size
                if in_h:
                    here = here and uint32(int32(at_h + moves[1])) < h.size
                if in_w:
                    here = here and uint32(int32(at_w + moves[2])) < w.size
                offset = int64(n) * x_s.n + int64(at_d) * x_s.d + int64(at_h) * x_s.h + int64(at_w) * x_s.w
                at = index(start + index(offset))
            take(x, at, here, values, i)

    return fetch


@launch.kernel(threads=lambda phase, tile, *rest: tile.bounds)
def dot(phase: Phase, tile: Tile, last_in: bool, last_out: bool, wide: bool):
    """Groups along z, parts of the `terms` k's along y, tiles along x; parts are stored one after another."""
    groups, results, columns = phase.groups, phase.results, phase.taps * phase.sources
    across, size = launch.blocks(columns, tile.columns), groups * results * columns
    g_loads, x_loads = gradient_loads(phase, last_out, tile), image_loads(phase, last_in, tile)
    fetch_g, fetch_x = fetch_gradient(g_loads, phase, wide), fetch_image(x_loads, phase, wide)
    g_place, x_place = gemm_tile.first_load(g_loads), gemm_tile.first_load(x_loads)
    place, start = gemm_tile.first_result(tile), column_of(phase, last_in, wide)
    sum_up, last_column = gemm_tile.pipeline(tile, g_loads, x_loads, fetch_g, fetch_x), columns - x_loads.width

    def locate(row):
        return uint64(row) * uint64(columns)

    stores = "" if columns % 4 else "columns"
    store = gemm_result.store_tile(launch.inlined(locate), columns, 1, stores, Epilogue(), True)

    def body(x, gradient, out, terms):
        sums, moves = cuda.local.array(SUMS, float32), cuda.local.array(3, int32)
        for i in range(SUMS):
            sums[i] = float32(0)
        block, part, group = uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.y), uint32(cuda.blockIdx.z)
        first_row, first_column = uint32(uint32(block // across) * tile.rows), uint32(block % across * tile.columns)
        (row, k), (column, term) = g_place(), x_place()
        of_gradient = uint32(first_row + row), uint32(group * results), k, uint32(terms)
        # Columns beyond the last are the last, or the last four, again: they are not stored.
        column = min(uint32(first_column + column), uint32(last_column))
        of_image = start(column, group, moves), moves, term, uint32(terms)
        slices, parts = uint32((uint32(terms) + DEPTH - 1) // DEPTH), uint32(cuda.gridDim.y)
        each = uint32(uint32(slices + parts - 1) // parts)
        begin = uint32(part * each)
        sum_up(gradient, of_gradient, x, of_image, begin, min(uint32(begin + each), slices), sums)
        row, column = place()
        row, column = uint32(first_row + row), uint32(first_column + column)
        shift = uint64(part) * uint64(size) + uint64(group) * uint64(results * columns)
        store(sums, row, column, uint32(results), uint32(0), out, out, out, shift)

    return body


@launch.kernel(threads=THREADS)
def add_parts(size: int, sources: int, taps: int, last: bool):
    """A weight a thread: the sum of its parts, in order, which lie tap by tap if `last`."""

    def body(partial, out, parts):
        i = uint32(cuda.grid(1))
        if i < size:
            total = partial[i]
            for part in range(1, parts):
                total += partial[uint64(uint64(part) * uint64(size) + uint64(i))]
            at = i
            if last:
                source, above = uint32(i % uint32(sources)), uint32(i // uint32(sources))
                channel, tap = uint32(above // uint32(taps)), uint32(above % uint32(taps))
                at = uint32(uint32(uint32(channel * uint32(sources)) + source) * uint32(taps) + tap)
            out[at] = total

    return body


class ImplicitGemmWeight(Algorithm):
    """Weight pass."""

    name = "implicit_gemm"

    def rejects(self, problem: ConvProblem) -> str | None:
        if math.prod(problem.weight_shape) >= 1 << 31:
            return "the weight has more than 2**31 numbers"
        reason = unsuited(problem)
        if reason is None and _planned(problem).parts < _parts(problem):
            reason = f"the workspace limit of {options.workspace_limit} bytes is too low for sums of this precision"
        return reason

    def error_bound(self, problem: ConvProblem) -> float:
        return error_bound(problem.precision)

    def shared_bytes(self, problem: ConvProblem) -> int:
        plan = _planned(problem)
        return 4 * plan.parts * math.prod(problem.weight_shape) if _staged(problem, plan) else 0

    def cost(self, problem: ConvProblem) -> float:
        return _planned(problem).seconds

    def run(self, problem, packed, x, bias, residual, out, workspace):
        ((phase,), plan), terms = (phases(problem), _planned(problem)), problem.n * phases(problem)[0].positions
        tile, parts, columns = plan.tile, plan.parts, phase.taps * phase.sources
        last_in, last_out = problem.layout_in == LAST, problem.layout_out == LAST
        staged, wide = _staged(problem, plan), phase.wide
        target = memory.part(memory.seen_as(workspace, out.dtype), 0, 0, parts * out.size) if staged else flat(out)
        tiles = launch.blocks(phase.results, tile.rows) * launch.blocks(columns, tile.columns)
        kernel = dot(phase, tile, last_in, last_out, wide)
        kernel((tiles, parts, phase.groups), tile.threads, flat(x), flat(packed), target, terms)
        if staged:
            add = add_parts(out.size, phase.sources, phase.taps, last_in)
            add(launch.blocks(out.size, THREADS), THREADS, target, flat(out), parts)


def _staged(problem: ConvProblem, plan: Schedule) -> bool:
    """Whether sums are stored in workspace: in parts, or in another order than the weight's."""
    return plan.parts > 1 or (problem.layout_in == LAST and math.prod(problem.kernel) > 1)


def _parts(problem: ConvProblem) -> int:
    """In how many sums, at least, the products of a weight's gradient are added up."""
    (phase,) = phases(problem)
    return pieces(problem.n * phase.positions, problem.precision)


def _planned(problem: ConvProblem) -> Schedule:
    (phase,) = phases(problem)
    arrays = (problem.input_shape, problem.output_shape, problem.weight_shape)
    moved, terms = 4 * sum(math.prod(shape) for shape in arrays), problem.n * phase.positions
    product = phase.results, phase.taps * phase.sources, terms, phase.groups, moved
    return schedule(*product, options.workspace_limit, _parts(problem))
