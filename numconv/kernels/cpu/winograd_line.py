"""Winograd's minimal filtering along one axis, for kernels of any length: F(m, r) on segments of r taps.

A line of results is cut into tiles of m. For tile i,

    result = A^T [ sum over segments s, then channels c, of  (G g[s, c]) * (B^T d[i, s, c]) ]    (* element by element)

where d[i, s] are the m + r - 1 numbers of the source from m i + r s on. Up to 5 taps are one segment, of m = 9 - taps
results. Longer kernels are segments of 3 with m = 6, or of 4 with m = 4, filled up with taps of zero: as m is a
multiple of r, segment s reads what the first segment of another tile, or one between two tiles, does, and one transform
for every r positions serves all segments. Multiplications for one of the definition: 0.57 for 2 taps, 0.44 for 3, 6 and
9, 0.40 for 4 and 5, 0.50 for 7, 0.44 for 8, 0.48 for 11.

Positions that lie apart by the dilation form a line of their own. Lines of neighbouring residues lie side by side in
memory and are cut into tiles together; a run of tiles, along the line or across the residues, is read, transformed or
stored by one call. Loops, outside in: item (channels, image, group, block of tiles), transforms of its source, channel
tile, place (of m + r - 1), register tile of `indirect` over segments and channels; then the tile's results. What an
item transforms takes half the second-level cache.

Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast Algorithms for Convolutional Neural
Networks, CVPR 2016. With points 0, +-1, +-2 and +-1/2 all matrices but G are exact. Largest error on random numbers, of
|x| convolved with |weight|: 1.5e-6 for one channel, 1e-6 for 64.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np

from numconv.kernels.cpu import indirect, jit, layout, simd, tiles, transforms
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.memory import aligned, flat
from numconv.kernels.cpu.winograd import matrices, ordered_taps, pack_weight
from numconv.options import available_cores
from numconv.problem import LAST, ConvProblem, accumulator_dtype, remembered

LONGEST = 5  # taps of a kernel that is one segment
FORMS = ((6, 3), (4, 4))  # (m, r) for longer ones
SQUARES = 1 << 17  # numbers of a block's transforms: 512 KB in float32, half the second-level cache
STEPS = 256  # terms added in registers before they join the sums in memory
# Of the blocking, an array: results and numbers of a tile, numbers of the source between transforms, segments; tiles of
# a line and lines in a block, how many there are of all, blocks of them; the dilation, the lowest source position, the
# result's length; channel tiles of an item; segments and channels summed at a time.
RESULTS, PLACES, HOP, SEGMENTS, ALONG, ACROSS, ALL_ALONG, ALL_ACROSS, BLOCKS_ALONG, BLOCKS_ACROSS = range(10)
DILATION, LOW, LENGTH, CHANNEL_TILES, SEGMENTS_AT_ONCE, PIECE = range(10, 16)
# Numbers and addresses of a worker; where its sums, its results before they are turned, and zeros begin.
NUMBERS, ADDRESSES, SUMS_AT, RESULTS_AT, ZEROS_AT = range(16, 21)

# Of the shape, an array: addresses of the transform, the product's tile, the one that stores results and the one that
# turns them (0 where there is none), rows and vectors of the product's tile, whether results are to bypass the caches.
INTO, TILE, STORE, TURNED, ROWS, VECTORS, STREAMS = range(7)


def form(kernel: int) -> tuple[int, int]:
    """(m, r) for a kernel of so many taps: the fewest multiplications."""
    if kernel <= LONGEST:
        return LONGEST + 4 - kernel, kernel
    return min(FORMS, key=lambda of: -(-kernel // of[1]) * (of[0] + of[1] - 1) / of[0])


@jit.function
def line_in(m: int, r: int, dtype: str):
    """B^T (`transforms.transform_line`)."""
    return tiles.body(transforms.transform_line(matrices(m, r)[0], dtype))


@jit.function
def line_out(m: int, r: int, dtype: str, activation: str):
    """A^T with the epilogue (`transforms.store_line`)."""
    return tiles.body(transforms.store_line(matrices(m, r)[2], dtype, activation))


@jit.function
def span_of():
    """(first, past, run): which of a tile's numbers lie inside the source, and for how many tiles the same ones do."""

    def span(at, step, dilation, size, places, left):
        first, past = max(-(at // dilation), 0), max(min((size - 1 - at) // dilation + 1, places), 0)
        if first > 0:
            left = min(left, -((at + dilation * (first - 1)) // step))
        if past > 0:
            left = min(left, -((at + dilation * (past - 1) - size) // step))
        return first, past, left

    return span


@jit.kernel
def correlate(dtype, half, fused):
    """The pass, with the tiles that `shape` describes; in a fused one results are stored by the transform."""
    lanes, call, address, size = simd.lanes(dtype), simd.call, simd.address, np.dtype(dtype).itemsize
    span, store_turned, fill = span_of(), layout.store_turned(dtype, half), simd.fill()
    first_mode, tap_record, settle, on_lines = tiles.FIRST, tiles.TAP, simd.settle, layout.on_lines(dtype)

    def body(
        start, stop, worker, x, packed, bias, residual, out, memory, tables, header, blocking, shape, parameter
    ):  # fmt: skip
        rows, width = shape[ROWS], shape[VECTORS] * lanes
        m, places, hop = blocking[RESULTS], blocking[PLACES], blocking[HOP]
        segments, dilation = blocking[SEGMENTS], blocking[DILATION]
        channels, sources, groups, images = header[geo.R], header[geo.S], header[geo.GROUPS], header[geo.N]
        hops, area, all_tiles, per_item = m // hop, rows * width, -(-channels // width), blocking[CHANNEL_TILES]
        padded, record = -(-sources // lanes) * lanes, 3 * rows + segments * tap_record
        x_w, out_w, more_w, length = header[geo.X_W], header[geo.OUT_W], header[geo.RESIDUAL_W], blocking[LENGTH]
        v0, table = worker * blocking[NUMBERS], worker * blocking[ADDRESSES]
        m0, r0, zeros = v0 + blocking[SUMS_AT], v0 + blocking[RESULTS_AT], v0 + blocking[ZEROS_AT]
        fill(memory, zeros, zeros + lanes, 0)
        streams = fused and shape[STREAMS] != 0 and channels % lanes == 0 and on_lines(out, header)
        for item in range(start, stop):
            rest, block = divmod(item, blocking[BLOCKS_ALONG])
            rest, block_across = divmod(rest, blocking[BLOCKS_ACROSS])
            rest, g = divmod(rest, groups)
            part, n = divmod(rest, images)
            first_tile, line = block * blocking[ALONG], block_across * blocking[ACROSS]
            along = min(blocking[ALONG], blocking[ALL_ALONG] - first_tile)
            across = min(blocking[ACROSS], blocking[ALL_ACROSS] - line)
            count, slices = along * across, (along - 1) * hops + segments
            v_pitch = slices * across * padded + lanes  # the odd line spreads the places over the cache's sets
            # Runs of tiles go along the line or across the lines, whichever are longer.
            at_first = dilation * m * first_tile + line
            outer, inner, outer_step, step = across, slices, 1, dilation * hop
            outer_to, to_step = padded, across * padded
            if across > slices:
                outer, inner, outer_step, step, outer_to, to_step = inner, outer, step, outer_step, to_step, outer_to
            base = header[geo.X_0] + n * header[geo.X_N] + g * sources * header[geo.X_C]
            for i in range(outer):
                k = 0
                while k < inner:
                    at = at_first + blocking[LOW] + i * outer_step + k * step
                    first, past, run = span(at, step, dilation, header[geo.SOURCE_W], places, inner - k)
                    from_x, x_step, x_over = base + at * x_w, step * x_w, dilation * x_w
                    if first >= past:  # nothing is there: zeros, masked where memory is
                        from_x, x_step, x_over = base, 0, 0
                    call(
                        shape[INTO],
                        (
                            address(x, from_x), address(memory, v0 + i * outer_to + k * to_step), run, sources, x_step,
                            x_over, first, past, to_step, v_pitch,
                        ),
                    )  # fmt: skip
                    k += run
            row_tiles = -(-count // rows)
            m_pitch = row_tiles * area + lanes
            for p in range(row_tiles):
                origin = table + p * record + 2 * rows
                for r in range(rows):
                    tile, of_line = divmod(min(p * rows + r, count - 1), across)
                    tables[origin + r] = address(memory, v0 + (tile * hops * across + of_line) * padded)
                for s in range(segments):
                    to = origin + rows + s * tap_record
                    tables[to], tables[to + 1] = s * sources * width, address(tables, origin)
                    tables[to + 2] = s * across * padded * size
            o, q = header[geo.OUT_0] + n * header[geo.OUT_N], header[geo.RESIDUAL_0] + n * header[geo.RESIDUAL_N]
            for c in range(part * per_item, min((part + 1) * per_item, all_tiles)):
                for place in range(places):
                    weights = ((g * all_tiles + c) * places + place) * segments * sources * width
                    for p in range(row_tiles):
                        mode = first_mode
                        for t in range(0, segments, blocking[SEGMENTS_AT_ONCE]):
                            for s in range(0, sources, blocking[PIECE]):
                                call(
                                    shape[TILE],
                                    (
                                        address(tables, table + p * record), address(packed, weights + s * width),
                                        address(memory, m0 + place * m_pitch + p * area), address(bias, 0),
                                        address(parameter, 0), t, min(blocking[SEGMENTS_AT_ONCE], segments - t),
                                        min(blocking[PIECE], sources - s), place * v_pitch + s, mode, 0, 0,
                                    ),
                                )  # fmt: skip
                                mode = 0
                some_c, channel = min(width, channels - c * width), g * channels + c * width
                # Steps of tiles and of results: in sums, in positions, and in the buffer for results that are turned.
                outer, inner, outer_step, step = across, along, 1, dilation * m
                outer_from, from_step = width, across * width
                outer_to, to_step = width, m * across * width
                if across > along:
                    outer, inner, outer_step, step = inner, outer, step, outer_step
                    outer_from, from_step, outer_to, to_step = from_step, outer_from, to_step, outer_to
                for i in range(outer):
                    k = 0
                    while k < inner:
                        at = at_first + i * outer_step + k * step
                        results = min((length - 1 - at) // dilation + 1, m)
                        if results <= 0:
                            break
                        run = min(inner - k, -((at + dilation * (results - 1) - length) // step))
                        sums = m0 + i * outer_from + k * from_step
                        for v in range(0, some_c, lanes):
                            if fused:
                                to, more = o + at * out_w + channel + v, q + at * more_w + channel + v
                                call(
                                    shape[STORE],
                                    (
                                        address(memory, sums + v), address(bias, channel + v), address(residual, more),
                                        address(out, to), address(parameter, 0), run, from_step, m_pitch,
                                        header[geo.HAS_RESIDUAL], step * more_w, dilation * more_w, step * out_w,
                                        dilation * out_w, results, some_c - v, streams * (results == m),
                                    ),
                                )  # fmt: skip
                            else:
                                to = r0 + i * outer_to + k * to_step + v
                                call(
                                    shape[STORE],
                                    (
                                        address(memory, sums + v), address(memory, zeros), address(memory, zeros),
                                        address(memory, to), address(parameter, 0), run, from_step, m_pitch, 0, 0, 0,
                                        to_step, across * width, results, lanes, 0,
                                    ),
                                )  # fmt: skip
                        k += run
                if not fused:
                    # Neighbouring lines are a run of positions; all of them are one run.
                    joined = along * m if across == dilation else 1
                    for row in range(0, along * m, joined):
                        at = at_first + row * dilation
                        store_turned(
                            shape[TURNED], memory, r0 + row * across * width, width,
                            min(joined * across, length - at), channel, some_c, bias, residual, out, header, parameter,
                            o + at * out_w, q + at * more_w, out_w, more_w,
                        )  # fmt: skip
        if streams:
            settle()

    return body


class Blocking(NamedTuple):
    """How a problem is cut: the tile and the blocking as kernels read it, and sizes."""

    rows: int
    vectors: int
    in_place: bool
    table: np.ndarray
    items: int
    sums: int  # numbers for each worker, transforms included
    addresses: int  # for each worker
    laid: int  # numbers of the laid-out source
    packed: int  # numbers of the packed weight
    seconds: float  # estimate for one thread


@remembered
def blocking(problem: ConvProblem) -> Blocking:
    """Blocks of tiles whose transforms take half the second-level cache, shared evenly by the processor's cores."""
    swept, dtype = geo.sweep(problem), accumulator_dtype(problem.dtype)
    lanes, channels, sources = simd.lanes(dtype), swept.result_channels, swept.source_channels
    (kernel,), (dilation,) = problem.kernel, problem.dilation
    m, taps = form(kernel)
    places, segments = m + taps - 1, -(-kernel // taps)
    hop = taps if segments > 1 else m
    hops = m // hop
    in_place = problem.layout_in == LAST and not swept.half
    low = int((swept.taps if in_place else layout.frame(problem).taps)[:, geo.OFFSET_W].min())
    length = int(swept.phases[0, geo.COUNT_W])
    all_across = min(dilation, length)
    all_along = -(-length // (dilation * m))
    vectors = indirect.tile_vectors(channels, dtype)
    width, padded = vectors * lanes, -(-sources // lanes) * lanes
    all_tiles, images, cores = -(-channels // width), problem.n * problem.groups, available_cores()
    pieces = -(-sources // STEPS)
    piece = -(-sources // pieces)
    at_once = max(STEPS // piece, 1)
    calls = pieces * -(-segments // at_once)
    weights = places * segments * sources * width  # of a channel tile
    in_cache = weights * all_tiles * dtype.itemsize <= 1 << 24  # of the third level
    scale, fused = dtype.itemsize / 4, layout.fuses(problem)
    one_set = m * dilation * problem.groups * channels * dtype.itemsize % indirect.SET == 0

    @functools.cache
    def item_seconds(along: int, across: int, parts: int) -> float:
        """Products at 240 GF/s, or weights at 120 GB/s (40 from memory) if that takes longer; each run 30 ns.

        A vector's tile takes 6.5 ns in (9 where lines are dilated, 4 more if it is not full) and 6 ns out, 40 where all
        tiles of a run share a set of the first-level cache. A square of results is turned in 40 ns.
        """
        slices, count = (along - 1) * hops + segments, along * across
        rows, is_across = indirect.tile_rows([count], vectors), across > slices
        row_tiles, runs = -(-count // rows), min(slices, across)
        steps = places * row_tiles * ((rows + 0.4) * segments * sources * width / 120e9 * scale + calls * 2e-8)
        stream = weights * dtype.itemsize / (1.2e11 if in_cache else 4e10)
        source = padded // lanes * (6.5e-9 if dilation == 1 else 9e-9) + (sources % lanes > 0) * 4e-9
        source = slices * across * source + runs * 3e-8
        results = count * (4e-8 if fused and one_set and not is_across else 6e-9) + runs * 3e-8
        if not fused:
            results += 4e-8 * (-(-count * m // lanes) if across == dilation else along * m * -(-across // lanes))
        return source + -(-all_tiles // parts) * (max(steps, stream) + vectors * results) + 5e-7

    def seconds_of(along: int, across: int, parts: int) -> tuple[float, float]:
        """(of the busiest core, of all)."""
        axes = [[n // g * [g], [n % g] * (n % g > 0)] for g, n in ((along, all_along), (across, all_across))]
        every = [len(a) * len(b) * item_seconds(a[0], b[0], parts) for a, b in itertools.product(*axes) if a and b]
        items = images * parts * -(-all_along // along) * -(-all_across // across)
        total = images * parts * sum(every)
        return total * -(-items // cores) / items, total

    room = max(SQUARES * 4 // dtype.itemsize // (places * padded * hops), 8)
    full = indirect.tile_rows([1 << 20], vectors)
    lengths = {-(-all_along // k) for k in range(1, 9)} | set(range(full, room + 1, full)) | {room}
    groups = set()
    for along in (a for a in lengths if a <= min(room, all_along)):
        across = min(all_across, max(room // along, 1))
        groups.add((along, -(-all_across // -(-all_across // across))))
    splits = sorted({-(-all_tiles // -(-all_tiles // k)) for k in range(1, min(all_tiles, 2 * cores) + 1)})
    cuts = [(along, across, parts) for along, across in sorted(groups, reverse=True) for parts in splits]
    along, across, parts = min(cuts, key=lambda cut: seconds_of(*cut)[0])
    count = along * across
    rows = indirect.tile_rows([count], vectors)
    row_tiles, per_item = -(-count // rows), -(-all_tiles // parts)
    blocks = -(-all_along // along), -(-all_across // across)
    sums_at = places * (((along - 1) * hops + segments) * across * padded + lanes)
    results_at = sums_at + places * (row_tiles * rows * width + lanes)
    zeros_at = results_at + count * m * width
    addresses = row_tiles * (3 * rows + segments * tiles.TAP)
    table = np.array(
        [m, places, hop, segments, along, across, all_along, all_across, *blocks, dilation, low, length, per_item,
         at_once, piece, zeros_at + lanes, addresses, sums_at, results_at, zeros_at], np.int64
    )  # fmt: skip
    laid = 0 if in_place else layout.frame(problem).size
    seconds = seconds_of(along, across, parts)[1] + laid * 3e-10
    items = images * blocks[0] * blocks[1] * -(-all_tiles // per_item)
    packed = problem.groups * all_tiles * weights
    return Blocking(rows, vectors, in_place, table, items, zeros_at + lanes, addresses, laid, packed, seconds)


def _shape(problem: ConvProblem, activation: str, turned: int) -> np.ndarray:
    cut, kind, (m, taps) = blocking(problem), geo.sweep(problem).kind, form(problem.kernel[0])
    into = tiles.address(line_in, 10, m, taps, kind)
    tile = tiles.address(tiles.indirect, 12, cut.rows, cut.vectors, kind, "")
    store = tiles.address(line_out, 16, m, taps, kind, activation)
    # Vectors are stored line after line of tiles: smaller ones than a cache's line would leave it in parts.
    streams = layout.streams(problem) and not problem.residual and simd.vector_bits() == 512
    return np.array([into, tile, store, turned, cut.rows, cut.vectors, streams], np.int64)


@remembered
def shape_apart(problem: ConvProblem) -> np.ndarray:
    """The shape where results are stored apart."""
    return _shape(problem, "", layout.turned_tile(problem))


@remembered
def shape_fused(problem: ConvProblem) -> np.ndarray:
    """The shape where the transform stores them."""
    return _shape(problem, layout.activation_of(problem), 0)


class WinogradLine(layout.OnChannelsLast):
    """Forward and input pass with F(m, r) along the only axis."""

    name = "winograd_line"
    accepts = ("conv_1d", "many_9_taps_1d", "many_7_taps_1d", "many_2_taps_1d", "transposed_3_taps_1d")

    def blocking(self, problem: ConvProblem) -> Blocking:
        return blocking(problem)

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.precision == "strict":
            return "precision 'strict' allows direct summation only"
        if accumulator_dtype(problem.dtype).name not in ("float32", "float64"):
            return f"the register tile multiplies float32 and float64, not {problem.dtype}"
        if problem.ndim != 1 or problem.kernel[0] == 1 or problem.stride != (1,):
            return f"it takes one axis, several taps and stride 1, not {problem.kernel} with {problem.stride}"
        if problem.n * problem.ci * problem.co * problem.kernel[0] * problem.out_spatial[0] * problem.spatial[0] == 0:
            return "there is nothing to transform"
        return None

    def packed_bytes(self, problem: ConvProblem) -> int:
        return blocking(problem).packed * accumulator_dtype(problem.dtype).itemsize

    def error_bound(self, problem: ConvProblem) -> float:
        return 1e-12 if problem.dtype.itemsize >= 8 else 5e-6

    def prepare(self, problem: ConvProblem, weight: np.ndarray) -> np.ndarray:
        cut, swept, (m, taps) = blocking(problem), geo.sweep(problem), form(problem.kernel[0])
        packed, width = aligned(cut.packed, swept.accumulator), cut.vectors * simd.lanes(swept.accumulator)
        items = problem.groups * -(-swept.result_channels // width) * swept.source_channels
        workers = min(jit.workers(cut.packed * 2e-10), items)
        order = ordered_taps(problem)
        whole = np.pad(order, (0, -len(order) % taps), constant_values=-1)
        pack_weight(1, m, taps, cut.vectors, swept.kind, swept.half)(
            workers, items, flat(weight)[0], packed, swept.fixed_header, whole
        )
        return packed

    def run_band(self, problem, packed, given, fused, memory):
        workers, addresses, sums = self.split(problem, memory)
        correlate(geo.sweep(problem).kind, geo.sweep(problem).half, fused)(
            workers, blocking(problem).items, given.x, packed, given.bias, given.residual, given.out, sums, addresses,
            given.header, blocking(problem).table, (shape_fused if fused else shape_apart)(problem), given.parameter,
        )  # fmt: skip
