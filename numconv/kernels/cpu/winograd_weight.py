"""Winograd's minimal filtering for the weight's gradient: F(3, m) along axes of 3 taps, with fewer multiplications.

The transpose of the forward pass's F(m, 3) in the weight: tiles of m x m numbers y of the output's gradient and the
squares of (m + 2) x (m + 2) numbers d of the source around them give the gradient of 3 x 3 taps,

    gradient[r, s] = G^T [ sum over tiles of  (A y[r] A^T) * (B^T d[s] B) ] G        (* element by element)

with the points and matrices of `winograd`. First the squares of both images are transformed, vectors along channels,
into panels squares[place][block of channels][tile][channel]. Then an item, a block of source channels s and some blocks
of result channels r, multiplies its panels, which is one matrix product over all tiles for each of the (m + 2)^2
places, and transforms its sums back while they are in the second-level cache. Rows of the register tile are result
channels, its vectors source channels, whose taps lie side by side in the weight. F(3, 4) needs 4 times fewer
multiplications than the definition in two axes, F(3, 2) 2.25 times.

Loops, outside in: band of tiles, tap along depth, item, STEPS tiles, place, block of r, register tile. Panels of a band
lie in the third-level cache; the gradients of bands are added in their order. No item shares results with another, so
they do not depend on the number of threads. Images whose channels do not lie last are laid out first (see `layout`).

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016; its backward filter is computed like this
by cuDNN as well (Winograd, not fused).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import batched_tile, indirect, jit, layout, simd, tiles, transforms
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.memory import flat, whole_lines
from numconv.kernels.cpu.winograd import matrices
from numconv.problem import LAST, ConvProblem, accumulator_dtype, remembered

BAND = 1 << 22  # numbers of a band's panels: 16 MB in float32, half the third level; 4 MB take 14 % longer
LAID = 1 << 20  # numbers of the source laid out at a time: 8.7 ms in place of 9.9 at once (64 channels, 224x224)
SUMS = 1 << 16  # numbers of an item's sums: 256 KB in float32, a quarter of the second-level cache
STEPS = 256  # tiles summed in registers
RUN = 8  # tiles of a transform's item
ITEMS = 8  # items hold fewer blocks until there are so many
# Of a band, an array: its first tile and how many it has, tiles along each axis of an image, blocks of s, of r, and of
# r in an item, places, numbers between two places in the source's panels, in the gradient's and in sums, where the
# gradient's panels begin. And the addresses of the tile and of what stores, the tile's rows and channels.
FIRST, TILES, TILES_D, TILES_H, TILES_W, S_BLOCKS, R_BLOCKS, ITEM_BLOCKS, PLACES = range(9)
S_PITCH, R_PITCH, SUM_PITCH, R_PANELS, TILE, STORE, ROWS, WIDTH = range(9, 17)


@jit.kernel
def transform_tiles(m_h, m_w, of_gradient, dtype):
    """The panels of a band's squares of the source, of which `tap` is the first tap's, or of the output's gradient."""
    lanes = simd.lanes(dtype)
    left, right = (tuple(zip(*matrices(m)[2])) if of_gradient else matrices(m)[0] for m in (m_h, m_w))
    wide, transform = len(right), transforms.transform(left, right)
    strides, extents, channels_of = (geo.OUT_N, geo.STEP_D, geo.R) if of_gradient else (geo.X_N, geo.SOURCE_D, geo.S)

    def body(start, stop, worker, image, panels, header, tap, band):
        channels, count, tiles_h, tiles_w = header[channels_of], band[TILES], band[TILES_H], band[TILES_W]
        over_n, over_d, over_h, over_w = header[strides], header[strides + 2], header[strides + 3], header[strides + 4]
        deep, extent_h, extent_w = header[extents], header[extents + 1], header[extents + 2]
        if of_gradient:
            width, blocks, pitch, panel, step_d = lanes, band[R_BLOCKS], band[R_PITCH], band[R_PANELS], 1
        else:
            width, blocks, pitch, panel, step_d = band[WIDTH], band[S_BLOCKS], band[S_PITCH], 0, header[geo.STRIDE_D]
        # Of the source block after block: who transforms one multiplies it. While lines passed slowly between the
        # cores, 61 us in place of 88 for 64 channels and 56x56.
        vectors, runs = width // lanes, -(-count // RUN)
        together = header[geo.GROUPS] * blocks if of_gradient else vectors
        for item in range(start, stop):
            rest, vector = divmod(item, together)
            vector += rest // runs * together
            run, block, c = rest % runs, vector // vectors, vector % vectors * lanes
            to = panel + block * count * width + c
            g, c = block // blocks, block % blocks * width + c
            rest, tw = divmod(band[FIRST] + run * RUN, tiles_w)
            rest, th = divmod(rest, tiles_h)
            n, d = divmod(rest, band[TILES_D])
            for tile in range(run * RUN, min((run + 1) * RUN, count)):
                in_d, in_h = d * step_d + tap[geo.OFFSET_D], th * m_h + tap[geo.OFFSET_H]
                in_w = tw * m_w + tap[geo.OFFSET_W]
                at = header[strides + 5] + n * over_n + in_d * over_d + in_h * over_h + in_w * over_w
                past_h = extent_h - in_h if 0 <= in_d < deep else 0
                transform(
                    image, at + g * channels + c, (over_h, over_w), (-in_h, past_h, -in_w, extent_w - in_w),
                    channels - c, panels, to + tile * width, (wide * pitch, pitch),
                )  # fmt: skip
                tw += 1
                if tw == tiles_w:
                    tw, th = 0, th + 1
                    if th == tiles_h:
                        th, d = 0, d + 1
                        if d == band[TILES_D]:
                            d, n = 0, n + 1

    return body


@jit.kernel
def multiply(dtype):
    """Products of a band's panels, transformed back into the gradient from tap `tap` on."""
    lanes, call, address = simd.lanes(dtype), simd.call, simd.address

    def body(start, stop, worker, panels, out, sums, header, tap, band):
        tile, store, rows, width = band[TILE], band[STORE], band[ROWS], band[WIDTH]
        sources, channels, count, places = header[geo.S], header[geo.R], band[TILES], band[PLACES]
        s_blocks, r_blocks, most = band[S_BLOCKS], band[R_BLOCKS], band[ITEM_BLOCKS]
        s_pitch, r_pitch, pitch = band[S_PITCH], band[R_PITCH], band[SUM_PITCH]
        over_r, over_s = header[geo.WEIGHT_R], header[geo.WEIGHT_S]
        total = worker * places * pitch
        for item in range(start, stop):
            rest, part = divmod(item, -(-r_blocks // most))
            g, s_block = divmod(rest, s_blocks)
            blocks = min(most, r_blocks - part * most)
            x0 = band[R_PANELS] + (g * r_blocks + part * most) * count * lanes
            y0 = (g * s_blocks + s_block) * count * width
            for k in range(0, count, STEPS):
                for place in range(places):
                    for r in range(0, lanes, rows):
                        call(
                            tile,
                            (
                                address(panels, x0 + place * r_pitch + k * lanes + r),
                                address(panels, y0 + place * s_pitch + k * width),
                                address(sums, total + place * pitch + r * width), blocks, count * lanes, 0,
                                lanes * width, min(STEPS, count - k), lanes, k == 0,
                            ),
                        )  # fmt: skip
            first_s, first_r = s_block * width, part * most * lanes
            to = g * header[geo.WEIGHT_G] + first_r * over_r + first_s * over_s + tap[geo.TAP]
            for s in range(0, min(width, sources - first_s), lanes):
                call(
                    store,
                    (
                        address(sums, total + s), address(out, to + s * over_s), pitch,
                        min(blocks * lanes, channels - first_r), width, over_r, over_s, sources - first_s - s,
                    ),
                )  # fmt: skip

    return body


@jit.function
def store_back(m_h: int, m_w: int, dtype: str, adds: bool) -> Any:
    """The tile that transforms sums back into taps (`transforms.transform_turned`)."""
    left, right = (tuple(zip(*matrices(m)[1])) for m in (m_h, m_w))
    return tiles.body(transforms.transform_turned(left, right, dtype, adds))


class Blocking(NamedTuple):
    """How a problem is cut."""

    m_h: int
    m_w: int
    vectors: int
    shared: tuple[int, int, int]  # numbers of the laid-out source and output's gradient, and of a band's panels
    sums: int  # for each worker
    bands: list[np.ndarray]
    taps: list[np.ndarray]  # the first of each tap along depth
    items: int
    seconds: float  # estimate for one thread


def _blocking(problem: ConvProblem, m: int) -> Blocking:
    swept, dtype = geo.sweep(problem), accumulator_dtype(problem.dtype)
    lanes, channels, sources = simd.lanes(dtype), swept.result_channels, swept.source_channels
    kernel = (1,) * (3 - problem.ndim) + problem.kernel
    m_h, m_w = (m if k == 3 else 1 for k in kernel[1:])
    places = math.prod(len(matrices(k)[0]) for k in (m_h, m_w))
    in_place = problem.layout_in == LAST
    taps = swept.taps if in_place else layout.frame(problem).taps
    vectors = indirect.tile_vectors(sources, dtype)
    width, groups = vectors * lanes, problem.groups
    s_blocks, r_blocks = -(-sources // width), -(-channels // lanes)
    depth, rows = kernel[0], min(batched_tile.ROWS, lanes)  # a tile's rows lie in one vector
    deep, high, wide = (int(c) for c in swept.phases[0, geo.COUNT_D : geo.COUNT_W + 1])
    of_image = [deep, -(-high // m_h), -(-wide // m_w)]
    count = problem.n * math.prod(of_image)
    of_tile = places * groups * (s_blocks * width + r_blocks * lanes)
    bands = -(-count // max(BAND * 4 // dtype.itemsize // of_tile, 1))
    step = -(-count // bands)
    most = min(max(SUMS // (places * lanes * width), 1), r_blocks)
    while most > 1 and groups * s_blocks * -(-r_blocks // most) < ITEMS:
        most = -(-most // 2)
    pitch = most * lanes * width + lanes  # the odd line spreads the places over the cache's sets
    tables = []
    for first in range(0, count, step):
        of_band = min(step, count - first)
        s_pitch, r_pitch = (groups * b * of_band + lanes for b in (s_blocks * width, r_blocks * lanes))
        sizes = [s_blocks, r_blocks, most, places, s_pitch, r_pitch, pitch, places * s_pitch]
        tables.append(np.array([first, of_band, *of_image, *sizes, 0, 0, rows, width], np.int64))
    laid = (0, 0) if in_place else (layout.frame(problem).size, problem.n * problem.co * math.prod(problem.out_spatial))
    items = groups * s_blocks * -(-r_blocks // most)
    # Squares at 70 ns, 220 where panels take more than 8 MB; products at 240 GF/s in float32; 3 ns a tile of sums and
    # 25 to transform a square of 36 back.
    size, pairs = dtype.itemsize / 4, groups * s_blocks * r_blocks * vectors
    square = (70e-9 if of_tile * step * size < 1 << 21 else 220e-9) * size * places / 36
    products = places * pairs * lanes * lanes * (2.5 if vectors == 1 else 2) / 2.4e11 * size
    each = groups * (depth * s_blocks * vectors + r_blocks) * square + depth * products
    of_sums = places * pairs * (lanes // rows * 3e-9 / vectors + lanes * 7e-10 * size)
    seconds = count * each + bands * (5e-6 + depth * (5e-6 + of_sums)) + sum(laid) * 3e-10
    return Blocking(
        m_h, m_w, vectors, (*laid, of_tile * step + 2 * places * lanes), places * pitch, tables,
        [taps[k] for k in range(0, len(taps), kernel[1] * kernel[2])], items, seconds,
    )  # fmt: skip


def _parts(problem: ConvProblem, m: int) -> tuple[layout.Band, ...]:
    """The parts of a problem that are laid out one after another."""
    everything = slice(None)
    if problem.layout_in == LAST:
        return (layout.Band(problem, everything, everything, everything),)
    return layout.cut_bands(problem, LAID, m)


def _with_tiles(problem: ConvProblem, blocking: Callable[[ConvProblem], Blocking], adds: bool) -> list[np.ndarray]:
    """The bands as kernels read them, with their tiles, compiled: all of them add, or all but the first."""
    cut = blocking(problem)
    bands, kind = [band.copy() for band in cut.bands], geo.sweep(problem).kind
    for k, band in enumerate(bands):
        band[TILE] = tiles.address(batched_tile.batched, 10, int(band[ROWS]), cut.vectors, kind)
        band[STORE] = tiles.address(store_back, 8, cut.m_h, cut.m_w, kind, adds or k > 0)
    return bands


def _kept(function: Callable[..., Any], *arguments: Any) -> Callable[[ConvProblem], Any]:
    """`function(problem, *arguments)`, remembered."""
    return remembered(lambda problem: function(problem, *arguments))


class WinogradWeight(Algorithm):
    """Weight pass with F(3, m)."""

    replays = True
    accepts = ("many_3x3", "same_3x3", "deep_600_taps", "conv_1d_3_taps", "conv_3d", "conv_3d_grouped")

    def __init__(self, m: int) -> None:
        self.name = f"winograd_{m}x{m}"
        self._blocking = _kept(_blocking, m)
        self._parts = _kept(_parts, m)
        self._bands = [_kept(_with_tiles, self._blocking, adds) for adds in (False, True)]

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.precision == "strict":
            return "precision 'strict' allows direct summation only"
        if problem.dtype.name not in ("float32", "float64"):
            return f"the transforms read float32 and float64, not {problem.dtype}"
        axes = problem.kernel[-2:]
        if set(axes) - {1, 3} or 3 not in axes:
            return f"it takes 3 taps along one or both of the last axes, not {axes}"
        if any(s != 1 for s in problem.stride[-2:] + problem.dilation[-2:]):
            return f"it takes stride and dilation 1, not {problem.stride} and {problem.dilation}"
        if problem.n * problem.ci * problem.co * math.prod(problem.out_spatial) * math.prod(problem.spatial) == 0:
            return "there is nothing to transform"
        return None

    def shared_bytes(self, problem: ConvProblem) -> int:
        cuts = [self._blocking(part.problem) for part in self._parts(problem)]
        return max(sum(whole_lines(k * problem.dtype.itemsize) for k in cut.shared) for cut in cuts)

    def worker_bytes(self, problem: ConvProblem) -> int:
        cuts = [self._blocking(part.problem) for part in self._parts(problem)]
        return max(whole_lines(cut.sums * problem.dtype.itemsize) for cut in cuts)

    def items(self, problem: ConvProblem) -> int:
        return self._blocking(problem).items

    def cost(self, problem: ConvProblem) -> float:
        return sum(self._blocking(part.problem).seconds for part in self._parts(problem))

    def error_bound(self, problem: ConvProblem) -> float:
        return 1e-12 if problem.dtype.itemsize >= 8 else 5e-6

    def run(self, problem, packed, x, bias, residual, out, workspace):
        in_place, gradient = problem.layout_in == LAST, packed
        if in_place:
            x, gradient = (a if a.strides[-1] == a.itemsize else np.ascontiguousarray(a) for a in (x, gradient))
        for k, part in enumerate(self._parts(problem)):
            images, along = part.images, (part.source, part.result)
            source, y = (a if in_place else a[images, :, s] for a, s in zip((x, gradient), along))
            self._run_part(part.problem, source, y, flat(out)[0], workspace, k > 0)

    def _run_part(self, problem, x, gradient, out, workspace, adds):
        """Sum over a part's tiles into `out`."""
        cut, swept, pieces, at = self._blocking(problem), geo.sweep(problem), [], 0
        for numbers in cut.shared:
            pieces.append(workspace[at : at + numbers * x.itemsize].view(x.dtype))
            at += whole_lines(numbers * x.itemsize)
        x_laid, y_laid, panels = pieces
        sums = workspace[at:].view(x.dtype)
        given = geo.operands(problem, x, None, None, gradient)
        y = given.out
        if x_laid.size:
            given = layout.laid(problem, given, x_laid)
        header = given.header.copy()
        if y_laid.size:
            layout.lay_out_result(problem, y, header, y_laid)
            y = y_laid
        header[geo.STEP_D : geo.STEP_W + 1] = swept.phases[0, geo.COUNT_D : geo.COUNT_W + 1]
        workers = min(jit.workers(cut.seconds), sums.size // cut.sums)
        no_tap = np.zeros(4, np.int64)
        of_source, of_gradient = (transform_tiles(cut.m_h, cut.m_w, of, swept.kind) for of in (False, True))
        for band in self._bands[adds](problem):
            items = problem.groups * -(-int(band[TILES]) // RUN) * int(band[R_BLOCKS])
            of_gradient(min(workers, items), items, y, panels, header, no_tap, band)
            for tap in cut.taps:
                items = problem.groups * -(-int(band[TILES]) // RUN) * int(band[S_BLOCKS]) * cut.vectors
                of_source(min(workers, items), items, given.x, panels, header, tap, band)
                items = cut.items
                multiply(swept.kind)(min(workers, items), items, panels, out, sums, header, tap, band)
