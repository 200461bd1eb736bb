"""Separable: a 2-D kernel of low rank as passes along its two axes, channel by channel.

    weight[i, j] = sum over r < rank of  down[r, i] * along[r, j]
    between[r, h, x] = sum over i of  down[r, i] * source[h * stride + offset(i), x]
    result[h, w] = sum over r, j of  along[r, j] * between[r, h, w * stride + offset(j)]

rank * (kh + kw) products a position in place of kh * kw. The factors are the singular vectors of each channel's kernel
(Treitel and Shanks, The design of multistage separable planar filters, IEEE Trans. Geoscience Electronics, 1971).

The pass down the columns comes first, so that it reads the image in place and its results are needed by one row only:
they stay in the first-level cache. Its register tile makes ROWS rows of the result at once from every source row that
one of them needs, with zeros in the band of weights where another row needs it: 18 loads in place of 60 for 15 taps.
The pass along a row is a tile of 8 vectors that starts anywhere in the row's buffer, padding included.

Loops, outside in: item (image, channel, phase, strip of rows), ROWS rows, tiles of columns, rank; then each of these
rows, tiles of positions. Any stride and dilation; forward and input pass (see `sweep`).

NaN and Inf of the input spread ROWS - 1 rows (times the dilation) further up and down than by the definition, and an
Inf may arrive as NaN. Sums between the passes can overflow only where products with the factors do.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import epilogue, jit, simd
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.low_rank import TOLERANCE, factors
from numconv.kernels.cpu.memory import aligned
from numconv.kernels.cpu.placed_tile import placed_tile
from numconv.problem import LAST, ConvProblem, remembered

ROWS = 4  # of the result, made at once by the pass down
DOWN_VECTORS = 4 if simd.vector_bits() == 512 else 2
ALONG_VECTORS = 8
STRIP = 16  # rows of an item, at least
MOST_ROWS = 1024  # source rows that ROWS rows of the result may need
STEPS = simd.STEPS
# Of the layout, an array: rows between two of a tile, rows of a strip, strips of a phase, numbers of a phase of a row's
# buffer, numbers of all of them, source rows of the largest tile.
GAP, CUT, STRIPS, WIDE, PITCH, TALLEST = range(6)
# Columns of the bands, one line a phase: source rows of a tile and the place of the first in `reach`, taps along and
# the place of the first in `places`, the source column of the buffer's first number, how many columns it needs, and
# the place of the phase's weights for rank 1.
TALL, FIRST_REACH, TAPS, FIRST_PLACE, LOW, EXTENT, WEIGHTS = range(7)


@jit.kernel
def correlate(dtype):
    """Both passes in float32 or float64."""
    down, along = placed_tile(ROWS, DOWN_VECTORS), placed_tile(1, ALONG_VECTORS)
    width, run = DOWN_VECTORS * simd.lanes(dtype), ALONG_VECTORS * simd.lanes(dtype)
    load, write, fill = simd.load(0), simd.store(0), simd.fill()
    add, activate, store = epilogue.add_run(0), epilogue.activate_run(), epilogue.store_run(0, dtype)
    distances, number = simd.stack(MOST_ROWS, "int64"), getattr(np, dtype)

    def body(
        start, stop, worker, x, packed, bias, residual, out, workspace, header, phases, bands, reach, places, layout,
        parameter,
    ):  # fmt: skip
        apart, zero = distances(), number(0)
        channels, source_h, source_w = header[geo.GROUPS], header[geo.SOURCE_H], header[geo.SOURCE_W]
        stride_h, stride_w, x_h, x_w = header[geo.STRIDE_H], header[geo.STRIDE_W], header[geo.X_H], header[geo.X_W]
        out_w, more_w = header[geo.STEP_W] * header[geo.OUT_W], header[geo.STEP_W] * header[geo.RESIDUAL_W]
        out_h, more_h = header[geo.STEP_H] * header[geo.OUT_H], header[geo.STEP_H] * header[geo.RESIDUAL_H]
        has_residual, activated = header[geo.HAS_RESIDUAL] != 0, header[geo.ACTIVATION] != 0
        gap, wide, pitch, tallest = layout[GAP], layout[WIDE], layout[PITCH], layout[TALLEST]
        per_rank = bands[-1, WEIGHTS] + bands[-1, TALL] * ROWS + bands[-1, TAPS]
        rank = len(packed) // (per_rank * channels)
        buffers = worker * (rank * ROWS * pitch + (tallest + ROWS) * width + run)
        patch = buffers + rank * ROWS * pitch
        scratch = patch + tallest * width
        sums = scratch + ROWS * width
        for item in range(start, stop):
            rest, cut = divmod(item, layout[STRIPS])
            rest, phase = divmod(rest, len(phases))
            n, c = divmod(rest, channels)
            tall, taps, low = bands[phase, TALL], bands[phase, TAPS], bands[phase, LOW]
            first_reach, first_place = bands[phase, FIRST_REACH], bands[phase, FIRST_PLACE]
            column_weights = (c * per_rank + bands[phase, WEIGHTS]) * rank
            row_weights = column_weights + rank * tall * ROWS
            first_row, past_row = cut * layout[CUT], min((cut + 1) * layout[CUT], phases[phase, geo.COUNT_H])
            positions = phases[phase, geo.COUNT_W]
            left, right = max(low, 0), min(low + bands[phase, EXTENT], source_w)
            patched = x_w != 1 or right - left < width
            image = header[geo.X_0] + n * header[geo.X_N] + c * header[geo.X_C]
            o = header[geo.OUT_0] + n * header[geo.OUT_N] + c * header[geo.OUT_C]
            o += phases[phase, geo.START_H] * header[geo.OUT_H] + phases[phase, geo.START_W] * header[geo.OUT_W]
            more = header[geo.RESIDUAL_0] + n * header[geo.RESIDUAL_N] + c * header[geo.RESIDUAL_C]
            more += phases[phase, geo.START_H] * header[geo.RESIDUAL_H]
            more += phases[phase, geo.START_W] * header[geo.RESIDUAL_W]
            fill(workspace, buffers, buffers + rank * ROWS * pitch, 0)
            for tile_row in range(first_row, past_row, ROWS * gap):
                for h0 in range(tile_row, min(tile_row + gap, past_row)):
                    above, below = 0, tall
                    while above < below and h0 * stride_h + reach[first_reach + above] < 0:
                        above += 1
                    while above < below and h0 * stride_h + reach[first_reach + below - 1] >= source_h:
                        below -= 1
                    for k in range(above, below):
                        apart[k] = k * width if patched else reach[first_reach + k] * x_h
                    for column in range(left, right, width):
                        # The last tile is moved back to end with the row.
                        at = column if patched else min(column, right - width)
                        source = image + h0 * stride_h * x_h + at * x_w
                        some = min(width, right - at)
                        if patched:
                            for k in range(above, below):
                                row, to = source + reach[first_reach + k] * x_h, patch + k * width
                                for j in range(some):
                                    write(workspace, to + j, load(x, row + j * x_w))
                                fill(workspace, to + some, to + width, 0)
                        image_now, source = (workspace, patch) if patched else (x, source)
                        for r in range(rank):
                            to, apart_to = (
                                (buffers + r * pitch + at - low, rank * pitch) if stride_w == 1 else (scratch, width)
                            )
                            for k in range(above, max(below, above + 1), STEPS):
                                down(
                                    packed, column_weights + (r * tall + k) * ROWS, image_now, source, workspace, to,
                                    apart_to, min(STEPS, below - k), apart, k, zero, k - above,
                                )  # fmt: skip
                            if stride_w > 1:
                                for i in range(ROWS):
                                    row = buffers + (i * rank + r) * pitch
                                    for first in range(min(stride_w, some)):
                                        over, of_phase = divmod(at - low + first, stride_w)
                                        into = row + of_phase * wide + over
                                        for j in range(-(-(some - first) // stride_w)):
                                            value = load(workspace, to + i * width + first + j * stride_w)
                                            write(workspace, into + j, value)
                    for i in range(min(ROWS, -(-(past_row - h0) // gap))):
                        h, row = h0 + i * gap, buffers + i * rank * pitch
                        for q in range(0, positions, run):
                            some = min(run, positions - q)
                            place = o + h * out_h + q * out_w
                            there = out_w == 1 and some == run and not has_residual
                            target, to = (out, place) if there else (workspace, sums)
                            for k in range(0, max(rank * taps, 1), STEPS):
                                along(
                                    packed, row_weights + k, workspace, row + q, target, to, 0,
                                    min(STEPS, rank * taps - k), places, first_place + k,
                                    bias[c] if k == 0 else zero, k,
                                )  # fmt: skip
                            if has_residual:
                                add(target, to, some, residual, more + h * more_h + q * more_w, more_w)
                            if activated:
                                activate(target, to, to + some, header, parameter)
                            if not there:
                                store(out, place, out_w, workspace, sums, some)

    return body


class Layout(NamedTuple):
    """How a problem is cut, the tables that the kernel reads, and sizes."""

    rank: int  # the highest that is taken
    table: np.ndarray
    bands: np.ndarray
    reach: np.ndarray
    places: np.ndarray
    taps: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]]  # for each phase (offset, tap) along both axes
    per_rank: int  # numbers of a channel's packed weights for each rank
    items: int


def most_rank(kernel: tuple[int, ...]) -> int:
    """The highest rank for which two passes pay: half as many products again as direct summation may be saved.

    The pass along loads a vector for each product and so runs at two thirds of the speed of direct tiles, and each
    position goes once more through the first-level cache, which costs about four products.
    """
    return int((math.prod(kernel) - 4) / (1.5 * sum(kernel)))


@remembered
def cut_up(problem: ConvProblem) -> Layout:
    """Strips of rows, and the tables of each phase."""
    swept = geo.sweep(problem)
    stride_h, stride_w = (int(swept.fixed_header[k]) for k in (geo.STRIDE_H, geo.STRIDE_W))
    phase_taps = []
    for phase in swept.phases:
        own = swept.taps[phase[geo.FIRST_TAP] : phase[geo.FIRST_TAP] + phase[geo.TAP_COUNT]].tolist()
        column = dict.fromkeys((offset, tap // problem.kernel[1]) for _, offset, _, tap in own)
        row = dict.fromkeys((offset, tap % problem.kernel[1]) for _, _, offset, tap in own)
        phase_taps.append((list(column), list(row)))
    apart = [abs(b[0] - a[0]) for down, _ in phase_taps for a, b in itertools.pairwise(down)]
    between = math.gcd(*apart) or 1
    gap = between // math.gcd(between, stride_h)
    high, wide = (max((int(c) for c in swept.phases[:, k]), default=0) for k in (geo.COUNT_H, geo.COUNT_W))
    lows = [min((o for o, _ in along), default=0) for _, along in phase_taps]
    reaches = [max((o for o, _ in along), default=0) - low for (_, along), low in zip(phase_taps, lows)]
    run = ALONG_VECTORS * simd.lanes(problem.dtype)
    # Tiles of the pass along read, and those of the pass down write, up to a tile beyond what is needed.
    phase_wide = -(-wide // run) * run + -(-max(reaches, default=0) // stride_w) + 1 + run
    pitch = -(-phase_wide * stride_w // 16) * 16
    rank = most_rank(problem.kernel)
    bands: list[tuple[int, ...]] = []
    reach: list[int] = []
    places: list[int] = []
    weights = 0
    for (down, along), low, beyond, counts in zip(phase_taps, lows, reaches, swept.phases.tolist()):
        rows = sorted({i * gap * stride_h + offset for i in range(ROWS) for offset, _ in down})
        extent = (counts[geo.COUNT_W] - 1) * stride_w + beyond + 1 if along and counts[geo.COUNT_W] > 0 else 0
        bands.append((len(rows), len(reach), len(along), len(places), low, extent, weights))
        reach += rows
        for r in range(rank):
            places += [r * pitch + (o - low) % stride_w * phase_wide + (o - low) // stride_w for o, _ in along]
        weights += len(rows) * ROWS + len(along)
    cut = -(-STRIP // (ROWS * gap)) * ROWS * gap
    strips = -(-high // cut)
    tallest = max((band[TALL] for band in bands), default=0)
    table = np.array([gap, cut, strips, phase_wide, pitch, tallest], np.int64)
    return Layout(
        rank, table, np.array(bands, np.int64), np.array(reach, np.int64), np.array(places, np.int64), phase_taps,
        weights, problem.n * problem.groups * len(bands) * strips,
    )  # fmt: skip


class Separable(Algorithm):
    """Forward and input pass of one-channel and depthwise 2-D convolutions."""

    name = "separable"
    replays = True
    accepts = ("rank_1_7x7", "rank_1_depthwise", "rank_1_dilated", "transposed_rank_1")
    reads_weight = True

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.precision == "strict":
            return "precision 'strict' allows direct summation only"
        if problem.dtype.name not in TOLERANCE:
            return f"the register tile multiplies float32 and float64, not {problem.dtype}"
        if not problem.groups == problem.ci == problem.co:
            return f"channels must be one to one: {problem.ci} in and {problem.co} out in {problem.groups} groups"
        if most_rank(problem.kernel) < 1:
            return f"a kernel of {problem.kernel} has too few taps for two passes to pay"
        rows = int(cut_up(problem).table[TALLEST])
        return f"{ROWS} rows of the result need {rows} of the image: at most {MOST_ROWS}" if rows > MOST_ROWS else None

    def rejects_weight(self, problem: ConvProblem, weight: np.ndarray) -> str | None:
        most = most_rank(problem.kernel)
        if factors(weight, most) is None:
            return f"the weight is no sum of at most {most} products of a column and a row"
        return None

    def worker_bytes(self, problem: ConvProblem) -> int:
        layout, width = cut_up(problem), DOWN_VECTORS * simd.lanes(problem.dtype)
        rows = layout.rank * ROWS * int(layout.table[PITCH])
        tiles = (int(layout.table[TALLEST]) + ROWS) * width + ALONG_VECTORS * simd.lanes(problem.dtype)
        return (rows + tiles) * problem.dtype.itemsize

    def items(self, problem: ConvProblem) -> int:
        return cut_up(problem).items

    def packed_bytes(self, problem: ConvProblem) -> int:
        layout = cut_up(problem)
        return problem.groups * layout.rank * layout.per_rank * problem.dtype.itemsize

    def cost(self, problem: ConvProblem) -> float:
        return seconds(problem)

    def error_bound(self, problem: ConvProblem) -> float:
        return 1e-12 if problem.dtype.itemsize >= 8 else 2e-6

    def prepare(self, problem: ConvProblem, weight: np.ndarray) -> np.ndarray:
        found, layout = factors(weight, most_rank(problem.kernel)), cut_up(problem)
        if found is None:
            reason = self.rejects_weight(problem, weight)
            raise ValueError(f"algorithm {self.name!r} rejects this problem: {reason}")
        down, along = found
        channels, rank = down.shape[:2]
        packed = aligned(channels * rank * layout.per_rank, problem.dtype).reshape(channels, -1)
        gap = int(layout.table[GAP] * geo.sweep(problem).fixed_header[geo.STRIDE_H])
        for (column, row), band in zip(layout.taps, layout.bands.tolist()):
            places = {r: k for k, r in enumerate(layout.reach[band[FIRST_REACH] :][: band[TALL]].tolist())}
            weights = np.zeros((channels, rank, band[TALL], ROWS))
            for i in range(ROWS):
                for offset, tap in column:
                    weights[:, :, places[i * gap + offset], i] = down[:, :, tap]
            first = band[WEIGHTS] * rank
            second = first + rank * band[TALL] * ROWS
            packed[:, first:second] = weights.reshape(channels, -1)
            packed[:, second : second + rank * len(row)] = along[:, :, [tap for _, tap in row]].reshape(channels, -1)
        return packed.reshape(-1)

    def run(self, problem, packed, x, bias, residual, out, workspace):
        layout, swept = cut_up(problem), geo.sweep(problem)
        given = geo.operands(problem, x, bias, residual, out)
        workers = min(jit.workers(seconds(problem)), workspace.size // self.worker_bytes(problem), max(layout.items, 1))
        correlate(swept.kind)(
            workers, layout.items, given.x, packed, given.bias, given.residual, given.out,
            workspace.view(swept.accumulator), given.header, swept.phases, layout.bands, layout.reach, layout.places,
            layout.table, given.parameter,
        )  # fmt: skip


@remembered
def seconds(problem: ConvProblem) -> float:
    """Estimate for one thread and rank 1.

    In float32 a position takes 0.15 ns, 18 ps a tap along and 50 ps a source row and row of a tile; 0.5 ns for each
    number that a tile copies, where rows are narrow or strided, and that it sorts by phases of the stride; an item
    0.3 us (15x15 and 5x5 on 256^2 and 1024^2).
    """
    layout, swept = cut_up(problem), geo.sweep(problem)
    run, width = (v * simd.lanes(problem.dtype) for v in (ALONG_VECTORS, DOWN_VECTORS))
    source_wide = int(swept.fixed_header[geo.SOURCE_W])
    copied = source_wide < width or (problem.layout_in == LAST and problem.groups > 1)
    total = 0.0
    for band, counts in zip(layout.bands.tolist(), swept.phases.tolist()):
        loads = band[TALL] / ROWS * -(-source_wide // width) * width
        along = -(-counts[geo.COUNT_W] // run) * run * (1.5e-10 + 1.8e-11 * band[TAPS])
        sorted_numbers = source_wide if swept.fixed_header[geo.STRIDE_W] > 1 else 0
        total += counts[geo.COUNT_H] * (along + loads * (5.5e-10 if copied else 5e-11) + sorted_numbers * 5e-10)
    return 8e-6 + layout.items * 3e-7 + total * problem.n * problem.groups * problem.dtype.itemsize / 4
