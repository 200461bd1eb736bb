"""Winograd's minimal filtering F(m, 3): 3-tap axes computed with fewer multiplications, fused for each thread.

A tile of m x m results needs a square of (m + 2) x (m + 2) numbers d of each source channel:

    result = A^T [ sum over s of  (G g[s] G^T) * (B^T d[s] B) ] A        (* element by element)

An item transforms the squares of a group of tiles, all source channels side by side; multiplies them, which is one
matrix product for each of the (m + 2)^2 places, by the register tile of `indirect`; and transforms back, with the
epilogue, as soon as the channels of one register tile are done. Squares and sums of an item share the second-level
cache. Weights are transformed when they are packed. F(4, 3) needs 4 times fewer multiplications than the definition in
two axes, F(2, 3) 2.25 times.

Axes with one tap are left as they are, so F(m, 3) in one axis is the same code; further taps along depth are summed in
the product. A dilated convolution is one for each residue of the position modulo the dilation.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016; fused as in MNN (Jiang et al., MLSys
2020). The points 0, +-sqrt(1/2), +-sqrt(2) of F(4, 3) halve the error of 0, +-1, +-2 (Barabasz et al., ACM TOMS 46,
2020).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numconv.kernels.cpu import indirect, jit, layout, simd, tiles, transforms
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.memory import aligned, flat
from numconv.kernels.cpu.tiles import TAP
from numconv.options import available_cores
from numconv.problem import LAST, ConvProblem, accumulator_dtype, remembered

# Finite points by their number, m + taps - 2, pairs side by side: `transforms` shares what they have in common.
POINTS = {
    3: (0.0, 1.0, -1.0),
    5: (0.0, math.sqrt(0.5), -math.sqrt(0.5), math.sqrt(2), -math.sqrt(2)),
    6: (0.0, 1.0, -1.0, 0.5, -0.5, 2.0),
    7: (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5),
}
SQUARES = 1 << 17  # numbers of a group's transformed squares: 512 KB in float32, half the second-level cache
ITEMS = 8  # groups are made smaller, or channels split, until there are so many items
STEPS = 256  # source channels multiplied at a time
# Of the blocking, an array: extents of a group and how many groups there are, channel tiles of an item, numbers of a
# channel's transformed square between two places, taps along depth and their distance, the lowest source position.
GROUP_D, GROUP_H, GROUP_W, BLOCKS_D, BLOCKS_H, BLOCKS_W, CHANNEL_TILES, KERNEL_D = range(8)
STEP_D, DILATION_D, DILATION_H, DILATION_W, LOW_D, LOW_H, LOW_W = range(8, 15)

# Of the shape, an array: addresses of the product's tile, of the one that stores results and of the one that turns
# them (0 where there is none), rows and vectors of the product's tile.
TILE, STORE, TURNED, ROWS, VECTORS = range(5)

Matrix = tuple[tuple[float, ...], ...]


@functools.cache
def matrices(m: int, taps: int = 3) -> tuple[Matrix, Matrix, Matrix]:
    """(B^T, G, A^T) of F(m, taps) by Toom and Cook's construction from its points and infinity; F(1, 1) for m = 1."""
    if m == 1:
        return (((1.0,),),) * 3
    n = m + taps - 1
    points = POINTS[n - 1]
    b, g, a = np.zeros((n, n)), np.zeros((n, taps)), np.zeros((m, n))
    for j, point in enumerate(points):
        others = [p for p in points if p != point]
        b[j, : n - 1] = np.poly(others)[::-1]
        g[j] = np.array([point**i for i in range(taps)]) / math.prod(point - p for p in others)
        a[:, j] = [point**i for i in range(m)]
    b[-1] = np.poly(points)[::-1]
    g[-1, -1] = a[-1, -1] = 1
    exact = (np.where(np.abs(matrix - np.round(matrix)) < 1e-12, np.round(matrix), matrix) for matrix in (b, g, a))
    b_t, g_all, a_t = (tuple(tuple(float(v) for v in row) for row in matrix) for matrix in exact)
    return b_t, g_all, a_t


@jit.kernel
def pack_weight(m_h, m_w, taps_w, vectors, dtype, half):
    """Pack G g G^T as packed[group, channel tile, place, depth tap, source, `width` channels]; tap -1 is zero."""
    lanes = simd.lanes(dtype)
    width = vectors * lanes
    left, right = matrices(m_h)[1], matrices(m_w, taps_w)[1]
    high, wide, places = len(left[0]), len(right[0]), len(left) * len(right)
    across, all_taps = len(right), high * wide
    load, write, square = simd.load(half), simd.store(0), simd.stack(all_taps * lanes, dtype)
    transform, turn, turned = transforms.transform(left, right), simd.transpose(dtype), simd.stack(lanes * lanes, dtype)
    move, fill = simd.move(dtype), simd.fill()

    def body(start, stop, worker, weight, packed, header, taps):
        taps_of, block = square(), turned()
        channels, sources, depth = header[geo.R], header[geo.S], len(taps) // all_taps
        over_r, tiles = header[geo.WEIGHT_R], -(-channels // width)
        pitch = depth * sources * width
        for item in range(start, stop):
            rest, s = divmod(item, sources)
            g, tile = divmod(rest, tiles)
            at = g * header[geo.WEIGHT_G] + tile * width * over_r + s * header[geo.WEIGHT_S]
            one_vector = half == 0 and header[geo.TAPS] <= lanes  # all taps of a channel lie in one
            for v in range(0, width, lanes):
                some = max(min(lanes, channels - tile * width - v), 0)
                if one_vector:
                    turn(weight, at + v * over_r, over_r, some, header[geo.TAPS], block)
                for d in range(depth):
                    to = ((g * tiles + tile) * places * depth + d) * sources * width + s * width
                    for k in range(all_taps):
                        tap = taps[d * all_taps + k]
                        if one_vector and tap >= 0:
                            move(taps_of, k * lanes, block, tap * lanes, 0, lanes, lanes)
                        else:
                            fill(taps_of, k * lanes, (k + 1) * lanes, 0)
                            for r in range(some if tap >= 0 else 0):
                                write(taps_of, k * lanes + r, load(weight, at + tap + (v + r) * over_r))
                    steps = (wide * lanes, lanes)
                    transform(taps_of, 0, steps, (0, high, 0, wide), lanes, packed, to + v, (across * pitch, pitch))

    return body


@jit.function
def store_back(m_h: int, m_w: int, dtype: str, activation: str) -> Any:
    """The tile that transforms sums back and stores them (`transforms.transform_store`)."""
    return tiles.body(transforms.transform_store(matrices(m_h)[2], matrices(m_w)[2], dtype, activation))


@jit.kernel
def correlate(m_h, m_w, dtype, half, fused):
    """The pass, with the tiles that `shape` describes; in a fused one results are stored by the transform."""
    lanes, call, address = simd.lanes(dtype), simd.call, simd.address
    (b_h, _, a_h), (b_w, _, a_w) = matrices(m_h), matrices(m_w)
    high, wide = len(b_h), len(b_w)
    transform, back, store_turned = (
        transforms.transform(b_h, b_w),
        transforms.transform(a_h, a_w),
        layout.store_turned(dtype, half),
    )
    first_mode, tap_record, size = tiles.FIRST, tiles.TAP, np.dtype(dtype).itemsize

    def body(
        start, stop, worker, x, packed, bias, residual, out, memory, tables, header, starts_h, starts_w, blocking,
        sizes, shape, parameter,
    ):  # fmt: skip
        tile, store, turned, rows = shape[TILE], shape[STORE], shape[TURNED], shape[ROWS]
        width = shape[VECTORS] * lanes
        area = rows * width
        channels, sources, groups = header[geo.R], header[geo.S], header[geo.GROUPS]
        images, depth = header[geo.N], blocking[KERNEL_D]
        source_d, source_h, source_w = header[geo.SOURCE_D], header[geo.SOURCE_H], header[geo.SOURCE_W]
        over_h, over_w = blocking[DILATION_H] * header[geo.X_H], blocking[DILATION_W] * header[geo.X_W]
        out_d, out_h, out_w, out_c = header[geo.OUT_D], header[geo.OUT_H], header[geo.OUT_W], header[geo.OUT_C]
        more_d, more_h, more_w = header[geo.RESIDUAL_D], header[geo.RESIDUAL_H], header[geo.RESIDUAL_W]
        more_c, has_residual = header[geo.RESIDUAL_C], header[geo.HAS_RESIDUAL]
        dil_h, dil_w = blocking[DILATION_H], blocking[DILATION_W]
        out_deep, out_high, out_wide = sizes[0], sizes[1], sizes[2]
        all_tiles, per_item = -(-channels // width), blocking[CHANNEL_TILES]
        padded, record = -(-sources // lanes) * lanes, 3 * rows + depth * tap_record
        v0, table = worker * sizes[3], worker * sizes[4]
        m0, line_at, line_step = v0 + sizes[5], v0 + sizes[6], blocking[GROUP_W] * m_w * width
        for item in range(start, stop):
            rest, block_w = divmod(item, blocking[BLOCKS_W])
            rest, block_h = divmod(rest, blocking[BLOCKS_H])
            rest, block_d = divmod(rest, blocking[BLOCKS_D])
            rest, g = divmod(rest, groups)
            part, n = divmod(rest, images)
            d0, h0, w0 = block_d * blocking[GROUP_D], block_h * blocking[GROUP_H], block_w * blocking[GROUP_W]
            deep = min(blocking[GROUP_D], out_deep - d0)
            tiles_h, tiles_w = min(blocking[GROUP_H], len(starts_h) - h0), min(blocking[GROUP_W], len(starts_w) - w0)
            slices = (deep - 1) * blocking[STEP_D] + (depth - 1) * blocking[DILATION_D] + 1
            of_slice = tiles_h * tiles_w
            tiles = deep * of_slice
            v_pitch = slices * of_slice * padded + lanes  # the odd line spreads the places over the cache's sets
            for i in range(slices):
                in_d = d0 * blocking[STEP_D] + blocking[LOW_D] + i
                for th in range(tiles_h):
                    in_h = starts_h[h0 + th] + blocking[LOW_H]
                    low_h = max(-(in_h // dil_h), 0)
                    past_h = (source_h - 1 - in_h) // dil_h + 1 if 0 <= in_d < source_d else 0
                    for tw in range(tiles_w):
                        in_w = starts_w[w0 + tw] + blocking[LOW_W]
                        at = header[geo.X_0] + n * header[geo.X_N] + g * sources * header[geo.X_C]
                        at += in_d * header[geo.X_D] + in_h * header[geo.X_H] + in_w * header[geo.X_W]
                        span = (low_h, past_h, max(-(in_w // dil_w), 0), (source_w - 1 - in_w) // dil_w + 1)
                        to = v0 + ((i * tiles_h + th) * tiles_w + tw) * padded
                        for s in range(0, sources, lanes):
                            transform(
                                x,
                                at + s,
                                (over_h, over_w),
                                span,
                                sources - s,
                                memory,
                                to + s,
                                (wide * v_pitch, v_pitch),
                            )
            row_tiles = -(-tiles // rows)
            m_pitch = row_tiles * area + lanes
            for p in range(row_tiles):
                origin = table + p * record + 2 * rows
                for r in range(rows):
                    d, place = divmod(min(p * rows + r, tiles - 1), of_slice)
                    tables[origin + r] = address(memory, v0 + (d * blocking[STEP_D] * of_slice + place) * padded)
                for k in range(depth):
                    at = origin + rows + k * tap_record
                    tables[at], tables[at + 1] = k * sources * width, address(tables, origin)
                    tables[at + 2] = k * blocking[DILATION_D] * of_slice * padded * size
            o = header[geo.OUT_0] + n * header[geo.OUT_N] + d0 * out_d
            q = header[geo.RESIDUAL_0] + n * header[geo.RESIDUAL_N] + d0 * more_d
            for c in range(part * per_item, min((part + 1) * per_item, all_tiles)):
                for place in range(high * wide):
                    weights = ((g * all_tiles + c) * high * wide + place) * depth * sources * width
                    for p in range(row_tiles):
                        mode, sums = first_mode, m0 + place * m_pitch + p * area
                        for s in range(0, sources, STEPS):
                            call(
                                tile,
                                (
                                    address(tables, table + p * record), address(packed, weights + s * width),
                                    address(memory, sums), address(bias, 0), address(parameter, 0), 0, depth,
                                    min(STEPS, sources - s), place * v_pitch + s, mode, 0, 0,
                                ),
                            )  # fmt: skip
                            mode = 0
                some_c, channel = min(width, channels - c * width), g * channels + c * width
                for d in range(deep):
                    for th in range(tiles_h):
                        line = (d * tiles_h + th) * tiles_w
                        start_h = starts_h[h0 + th]
                        results_h = min(m_h, (out_high - 1 - start_h) // dil_h + 1)
                        o_line, q_line = o + d * out_d + start_h * out_h, q + d * more_d + start_h * more_h
                        for tw in range(tiles_w):
                            start_w = starts_w[w0 + tw]
                            results_w = min(m_w, (out_wide - 1 - start_w) // dil_w + 1)
                            p, r = divmod(line + tw, rows)
                            at = m0 + p * area + r * width
                            for v in range(0, some_c, lanes):
                                if fused:
                                    q_at = q_line + start_w * more_w + (channel + v) * more_c
                                    o_at = o_line + start_w * out_w + (channel + v) * out_c
                                    call(
                                        store,
                                        (
                                            address(memory, at + v), address(bias, channel + v),
                                            address(residual, q_at), address(out, o_at),
                                            address(parameter, 0), m_pitch, has_residual,
                                            dil_h * more_h, dil_w * more_w, dil_h * out_h, dil_w * out_w, results_h,
                                            results_w, some_c - v,
                                        ),
                                    )  # fmt: skip
                                else:
                                    back(
                                        memory, at + v, (wide * m_pitch, m_pitch), (0, high, 0, wide), lanes, memory,
                                        line_at + tw * m_w * width + v, (line_step, width),
                                    )  # fmt: skip
                        if not fused:
                            # A line of tiles is a line of results unless positions are dilated.
                            joined = tiles_w if dil_w == 1 else 1
                            for i in range(results_h):
                                for tw in range(0, tiles_w, joined):
                                    start_w = starts_w[w0 + tw]
                                    run = min(joined * m_w, (out_wide - 1 - start_w) // dil_w + 1)
                                    store_turned(
                                        turned, memory, line_at + i * line_step + tw * m_w * width, width, run, channel,
                                        some_c, bias, residual, out, header, parameter,
                                        o_line + i * dil_h * out_h + start_w * out_w,
                                        q_line + i * dil_h * more_h + start_w * more_w, dil_w * out_w, dil_w * more_w,
                                    )  # fmt: skip

    return body


class Blocking(NamedTuple):
    """How a problem is cut: the tiles, the blocking and the taps as kernels read them, and sizes."""

    m_h: int
    m_w: int
    rows: int
    vectors: int
    in_place: bool
    table: np.ndarray
    sizes: np.ndarray
    starts_h: np.ndarray
    starts_w: np.ndarray
    items: int
    sums: int  # numbers for each worker, transformed squares included
    addresses: int  # for each worker
    laid: int  # numbers of the laid-out source
    packed: int  # numbers of the packed weight
    seconds: float  # estimate for one thread


def _starts(size: int, m: int, dilation: int) -> np.ndarray:
    """First position of each tile along an axis, residue after residue of the dilation."""
    residues = range(min(dilation, size))
    return np.concatenate([np.arange(r, size, dilation * m, dtype=np.int64) for r in residues])


@remembered
def ordered_taps(problem: ConvProblem) -> np.ndarray:
    """Places of the taps in the weight, by rising offset: the input pass reads them backwards."""
    taps = geo.sweep(problem).taps
    order = np.lexsort((taps[:, geo.OFFSET_W], taps[:, geo.OFFSET_H], taps[:, geo.OFFSET_D]))
    return np.ascontiguousarray(taps[order, geo.TAP])


def _blocking(problem: ConvProblem, m: int) -> Blocking:
    """Groups of tiles whose squares take half the second-level cache, shared evenly by the processor's cores."""
    swept, dtype = geo.sweep(problem), accumulator_dtype(problem.dtype)
    lanes, channels, sources = simd.lanes(dtype), swept.result_channels, swept.source_channels
    kernel = (1,) * (3 - problem.ndim) + problem.kernel
    dilation = (1,) * (3 - problem.ndim) + problem.dilation
    m_h, m_w = (m if k == 3 else 1 for k in kernel[1:])
    places = math.prod(len(matrices(m)[0]) for m in (m_h, m_w))
    in_place = problem.layout_in == LAST and not swept.half
    taps = swept.taps if in_place else layout.frame(problem).taps
    deep, high, wide = (int(c) for c in swept.phases[0, geo.COUNT_D : geo.COUNT_W + 1])
    starts_h, starts_w = _starts(high, m_h, dilation[1]), _starts(wide, m_w, dilation[2])
    vectors = indirect.tile_vectors(channels, dtype)
    width = vectors * lanes
    all_tiles, padded = max(-(-channels // width), 1), -(-sources // lanes) * lanes
    reach = (kernel[0] - 1) * dilation[0]
    step = int(swept.fixed_header[geo.STRIDE_D])
    images = problem.n * problem.groups

    factor, sizes_of = places / 36 * dtype.itemsize / 4, (deep, len(starts_h), len(starts_w))

    in_cache = places * kernel[0] * sources * all_tiles * width * dtype.itemsize <= 1 << 24  # of the third level

    @functools.cache
    def item_seconds(d: int, h: int, w: int, parts: int) -> float:
        """A vector's square 40 ns in and 35 ns out, products at 240 GF/s, weights at 120 GB/s (40 from memory)."""
        tiles, slices = d * h * w, ((d - 1) * step + reach + 1) * h * w
        rows = indirect.tile_rows([tiles], vectors)
        products = -(-tiles // rows) * (rows + 0.4) * kernel[0] * padded * width * places / 120e9 * dtype.itemsize / 4
        stream = places * kernel[0] * sources * width * dtype.itemsize / (1.2e11 if in_cache else 4e10)
        squares = slices * padded / lanes * (40e-9 if dilation[1] == dilation[2] == 1 else 60e-9) * factor
        products += places * -(-tiles // rows) * -(-sources // STEPS) * 2e-8
        return squares + -(-all_tiles // parts) * (products + stream + tiles * vectors * 35e-9 * factor) + 5e-7

    def seconds_of(group: tuple[int, int, int], parts: int) -> tuple[float, float]:
        """(of the busiest core, of all)."""
        axes = [[min(g, n - i) for i in range(0, n, g)] for g, n in zip(group, sizes_of)]
        if math.prod(map(len, axes)) * images * parts > 64 * cores:
            total = math.prod(map(len, axes)) * images * parts * item_seconds(*group, parts)
            return total / cores, total
        every = [item_seconds(*extents, parts) for extents in itertools.product(*axes)] * (images * parts)
        bounds = [k * len(every) // cores for k in range(cores + 1)]
        return max(sum(every[a:b]) for a, b in itertools.pairwise(bounds)), sum(every)

    cores = available_cores()
    room = max(SQUARES * 4 // dtype.itemsize // (places * padded), 8)
    groups: list[tuple[int, int, int]] = []
    for w in sorted({-(-len(starts_w) // k) for k in range(1, 9)} | {min(room, len(starts_w))}, reverse=True):
        for h in sorted({-(-len(starts_h) // k) for k in range(1, 33)} | {1}, reverse=True):
            if w * h <= room and (len(groups) < 8 or w * h * 4 > room):
                whole = w * h == len(starts_h) * len(starts_w)
                most = max(room // (w * h) - reach, 1) if whole else 1
                groups.append((min(deep, most), h, w))
    splits = sorted({-(-all_tiles // -(-all_tiles // k)) for k in range(1, min(all_tiles, 2 * cores) + 1)})
    group, parts = min(((g, k) for g in groups for k in splits), key=lambda cut: seconds_of(*cut)[0])
    tiles = math.prod(group)
    rows = indirect.tile_rows([tiles], vectors)
    blocks = [-(-n // g) for n, g in zip((deep, len(starts_h), len(starts_w)), group)]
    low = [int(taps[:, geo.OFFSET_D + a].min()) for a in range(3)]
    per_item = -(-all_tiles // parts)
    table = np.array([*group, *blocks, per_item, kernel[0], step, *dilation, *low], np.int64)
    slices = (group[0] - 1) * step + reach + 1
    squares = places * (slices * group[1] * group[2] * padded + lanes)
    line_at = squares + places * (-(-tiles // rows) * rows * width + lanes)
    numbers = line_at + m_h * group[2] * m_w * width
    addresses = -(-tiles // rows) * (3 * rows + kernel[0] * TAP)
    sizes = np.array([deep, high, wide, numbers, addresses, squares, line_at], np.int64)
    laid = 0 if in_place else layout.frame(problem).size
    total = seconds_of(group, parts)[1] + laid * 3e-10
    if not layout.fuses(problem):
        total += problem.n * problem.groups * channels * deep * high * wide * 1e-10
    return Blocking(
        m_h, m_w, rows, vectors, in_place, table, sizes, starts_h, starts_w,
        images * math.prod(blocks) * -(-all_tiles // per_item), numbers, addresses, laid,
        problem.groups * all_tiles * places * kernel[0] * sources * width, total,
    )  # fmt: skip


def _shape(problem: ConvProblem, cut: Blocking, fused: bool) -> np.ndarray:
    """The shape where results are stored apart, or that where the transform stores them."""
    swept, name = geo.sweep(problem), layout.activation_of(problem)
    tile = tiles.address(tiles.indirect, 12, cut.rows, cut.vectors, swept.kind, "")
    store = jit.address(store_back(cut.m_h, cut.m_w, swept.kind, name), 14) if fused else 0
    turned = 0 if fused else layout.turned_tile(problem)
    return np.array([tile, store, turned, cut.rows, cut.vectors], np.int64)


def _of(m: int) -> tuple[Callable[[ConvProblem], Blocking], tuple[Callable[[ConvProblem], np.ndarray], ...]]:
    """Blocking and the two shapes for F(m, 3), remembered."""

    @remembered
    def cut(problem: ConvProblem) -> Blocking:
        return _blocking(problem, m)

    @remembered
    def apart(problem: ConvProblem) -> np.ndarray:
        return _shape(problem, cut(problem), False)

    @remembered
    def fused(problem: ConvProblem) -> np.ndarray:
        return _shape(problem, cut(problem), True)

    return cut, (apart, fused)


class Winograd(layout.OnChannelsLast):
    """Forward and input pass with F(m, 3)."""

    accepts = ("many_3x3", "many_3x3_dilated", "conv_3d", "transposed_3x3_unit", "transposed_3_taps_1d")

    def __init__(self, m: int) -> None:
        self.name = f"winograd_{m}x{m}"
        self._blocking, self._shapes = _of(m)

    def blocking(self, problem: ConvProblem) -> Blocking:
        return self._blocking(problem)

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.precision == "strict":
            return "precision 'strict' allows direct summation only"
        if accumulator_dtype(problem.dtype).name not in ("float32", "float64"):
            return f"the register tile multiplies float32 and float64, not {problem.dtype}"
        axes = problem.kernel[-2:]
        if set(axes) - {1, 3} or 3 not in axes:
            return f"it takes 3 taps along one or both of the last axes, not {axes}"
        if any(s != 1 for s in problem.stride[-2:]) or (problem.direction == "input" and set(problem.stride) != {1}):
            return f"it takes stride 1, not {problem.stride}"
        if problem.n * problem.ci * problem.co * math.prod(problem.out_spatial) * math.prod(problem.spatial) == 0:
            return "there is nothing to transform"
        return None

    def packed_bytes(self, problem: ConvProblem) -> int:
        return self._blocking(problem).packed * accumulator_dtype(problem.dtype).itemsize

    def error_bound(self, problem: ConvProblem) -> float:
        return 1e-12 if problem.dtype.itemsize >= 8 else 5e-6

    def prepare(self, problem: ConvProblem, weight: np.ndarray) -> np.ndarray:
        cut, swept = self._blocking(problem), geo.sweep(problem)
        packed, width = aligned(cut.packed, swept.accumulator), cut.vectors * simd.lanes(swept.accumulator)
        items = problem.groups * -(-swept.result_channels // width) * swept.source_channels
        workers = min(jit.workers(cut.packed * 2e-10), items)
        kernel = pack_weight(cut.m_h, cut.m_w, 3, cut.vectors, swept.kind, swept.half)
        kernel(workers, items, flat(weight)[0], packed, swept.fixed_header, ordered_taps(problem))
        return packed

    def run_band(self, problem, packed, given, fused, memory):
        cut, swept = self._blocking(problem), geo.sweep(problem)
        workers, addresses, sums = self.split(problem, memory)
        correlate(cut.m_h, cut.m_w, swept.kind, swept.half, fused)(
            workers, cut.items, given.x, packed, given.bias, given.residual, given.out, sums, addresses, given.header,
            cut.starts_h, cut.starts_w, cut.table, cut.sizes, self._shapes[fused](problem), given.parameter,
        )  # fmt: skip
