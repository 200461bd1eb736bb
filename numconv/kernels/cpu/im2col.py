"""im2col a panel at a time: a matrix product of the weight, read where it lies, with columns of the image.

    result[r, p] = sum over terms k = (source s, tap t) of  weight[r, k] * panel[k, p]

An item copies what some positions need, TERMS terms at a time, to a panel in the second-level cache (a term's positions
side by side, zeros outside the image) and multiplies it with rows of the weight by the register tile of `panel_tile`:
rows of result channels by vectors of positions. Weights are not packed and results not turned, so this suits
channels-first arrays, and calls that meet a weight once.

Loops, outside in: item (channel block, image, group, block of positions), terms, position tiles, channel tiles,
register tile. The lowering to a matrix product is Chellapilla, Puri and Simard's (2006), a panel at a time as in cuDNN
(Chetlur et al., 2014).
"""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import jit, layout, simd
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.indirect import SET
from numconv.kernels.cpu.memory import flat, whole_lines
from numconv.kernels.cpu.panel_tile import ROWS, address_of
from numconv.kernels.cpu.tiles import FIRST, LAST, RESIDUAL
from numconv.options import available_cores
from numconv.problem import FIRST as CHANNELS_FIRST
from numconv.problem import ConvProblem, accumulator_dtype, remembered

TERMS = 256  # added in registers before they join the sums in memory
PANEL = 1 << 15  # numbers of a panel: 128 KB, an eighth of the second-level cache
# Of the blocking, an array: positions of a tile and of an item, items of positions, channels of an item, whether planes
# of the image are the panel, numbers of a panel and of a worker; then rows and address of the tile of each number of
# vectors, of which the first has none.
OF_TILE, OF_ITEM, POSITION_ITEMS, CHANNELS, IN_PLACE, SUMS, MEMORY, TILES = range(8)


@jit.function
def fill_panel(dtype):
    """Copy terms first <= k < last of `count` positions, of which (d, h, w) is the first, side by side."""
    clip, move, load, write = geo.valid_range(), simd.move(dtype), simd.load(0), simd.store(0)

    def filled(panel, to, pitch, x, base, header, taps, first, last, d, h, w, high, wide, count):
        stride_d, stride_h, stride_w = header[geo.STRIDE_D], header[geo.STRIDE_H], header[geo.STRIDE_W]
        x_d, x_h = header[geo.X_D], header[geo.X_H]
        s, t = divmod(first, len(taps))
        for _ in range(first, last):
            i, at_d, at_h, at_w = 0, d, h, w
            while i < count:
                run = min(wide - at_w, count - i)
                in_d, in_h = at_d * stride_d + taps[t, geo.OFFSET_D], at_h * stride_h + taps[t, geo.OFFSET_H]
                in_w = at_w * stride_w + taps[t, geo.OFFSET_W]
                low, past = 0, 0
                if 0 <= in_d < header[geo.SOURCE_D] and 0 <= in_h < header[geo.SOURCE_H]:
                    low, past = clip(in_w, stride_w, run, header[geo.SOURCE_W])
                row = base + s * header[geo.X_C] + in_d * x_d + in_h * x_h + in_w
                if stride_w == 1:
                    move(panel, to + i, x, row, low, past, run)
                else:
                    for j in range(low):
                        write(panel, to + i + j, 0)
                    if stride_w == 2:  # a constant, so that pairs are loaded whole and parted
                        for j in range(low, past):
                            write(panel, to + i + j, load(x, row + 2 * j))
                    else:
                        for j in range(low, past):
                            write(panel, to + i + j, load(x, row + stride_w * j))
                    for j in range(past, run):
                        write(panel, to + i + j, 0)
                i, at_w, at_h = i + run, 0, at_h + 1
                if at_h == high:
                    at_h, at_d = 0, at_d + 1
            to, t = to + pitch, t + 1
            if t == len(taps):
                s, t = s + 1, 0

    return filled


@jit.kernel
def multiply(dtype):
    """The pass, with the tiles of `blocking`."""
    lanes, call, address, fill = simd.lanes(dtype), simd.call, simd.address, fill_panel(dtype)
    first_bit, last_bit, residual_bit, size = FIRST, LAST, RESIDUAL, np.dtype(dtype).itemsize

    def body(start, stop, worker, x, weight, bias, residual, out, memory, header, phases, taps, blocking, parameter):
        groups, channels = header[geo.GROUPS], header[geo.R]
        terms = header[geo.S] * len(taps)
        counts = phases[0]
        high, wide = counts[geo.COUNT_H], counts[geo.COUNT_W]
        positions = counts[geo.COUNT_D] * high * wide
        of_tile, of_item, of_channels = blocking[OF_TILE], blocking[OF_ITEM], blocking[CHANNELS]
        panel = worker * blocking[MEMORY]
        sums, in_place = panel + blocking[SUMS], blocking[IN_PLACE] != 0
        residual_mode = residual_bit * header[geo.HAS_RESIDUAL]
        for item in range(start, stop):
            rest, block = divmod(item, blocking[POSITION_ITEMS])
            rest, g = divmod(rest, groups)
            channel_block, n = divmod(rest, header[geo.N])
            p0, r0 = block * of_item, channel_block * of_channels
            some, past_r = min(of_item, positions - p0), min(r0 + of_channels, channels)
            line, w = divmod(p0, wide)
            d, h = divmod(line, high)
            base = header[geo.X_0] + n * header[geo.X_N] + g * header[geo.S] * header[geo.X_C]
            for k in range(0, max(terms, 1), TERMS):
                here = min(TERMS, terms - k)
                panel_at, pitch = address(memory, panel), of_item
                if in_place:
                    panel_at, pitch = address(x, base + k * header[geo.X_C] + p0), header[geo.X_C]
                else:
                    fill(memory, panel, of_item, x, base, header, taps, k, k + here, d, h, w, high, wide, some)
                mode = residual_mode
                if k == 0:
                    mode |= first_bit
                if k + here == terms:
                    mode |= last_bit
                at_sums = sums
                for p in range(0, some, of_tile):
                    vectors = min(-(-(some - p) // lanes), of_tile // lanes)
                    rows, tile = blocking[TILES + 2 * vectors], blocking[TILES + 2 * vectors + 1]
                    for r in range(r0, past_r, rows):
                        channel = g * channels + r
                        o = header[geo.OUT_0] + n * header[geo.OUT_N] + channel * header[geo.OUT_C] + p0 + p
                        q = header[geo.RESIDUAL_0] + n * header[geo.RESIDUAL_N] + channel * header[geo.RESIDUAL_C]
                        call(
                            tile,
                            (
                                address(weight, channel * terms + k), terms, panel_at + p * size, pitch, here,
                                address(memory, at_sums), mode, address(bias, channel), address(parameter, 0),
                                address(out, o), header[geo.OUT_C], address(residual, q + p0 + p),
                                header[geo.RESIDUAL_C], min(rows, past_r - r), some - p,
                            ),
                        )  # fmt: skip
                        at_sums += rows * vectors * lanes

    return body


class Blocking(NamedTuple):
    """How a problem is cut, as kernels read it, and sizes."""

    table: np.ndarray
    items: int
    memory: int  # numbers for each worker
    seconds: float  # estimate for one thread


def best_rows(channels: int, vectors: int, few: bool) -> int:
    """Rows of a tile of so many vectors with the least waste, or the fewest; a tile costs about half a row more."""
    return ROWS[vectors][-1] if few else min(ROWS[vectors], key=lambda r: -(-channels // r) * (r + 0.5))


def cycles(rows: int, vectors: int) -> float:
    """Of a tile for each term, in multiplications: it has at least those in flight, and waits for single vectors."""
    return (max(rows * vectors, 12) + vectors / 2) * {1: 1.25, 2: 1.05}.get(vectors, 1)


@remembered
def blocking(problem: ConvProblem) -> Blocking:
    """Items that cores share evenly, panels that fit the second-level cache, tiles with little waste."""
    swept, dtype = geo.sweep(problem), accumulator_dtype(problem.dtype)
    lanes, channels, width = simd.lanes(dtype), swept.result_channels, max(problem.out_spatial[-1], 1)
    positions, terms = math.prod(problem.out_spatial), swept.source_channels * len(swept.taps)
    needed, each, cores = max(-(-positions // lanes), 1), problem.n * problem.groups, available_cores()
    # Rows of the weight that share a set of the first-level cache push each other out of it: 43 GF/s in place of 110
    # where 1024 terms met tiles of 28 rows.
    few = terms * dtype.itemsize % (SET // 2) == 0
    # Planes of the image are panels as they are, unless they share a set.
    in_place = {*problem.kernel, *problem.stride} == {1} and not any(map(any, problem.padding))
    in_place = in_place and positions * dtype.itemsize % (SET // 2) != 0
    room = PANEL // (lanes * min(max(terms, 1), TERMS))
    # Products at 240 GF/s in float32; copies at 0.2 ns a number, 0.6 strided, and 6 ns a run; an item 0.3 us; sums in
    # memory 50 ps.
    product = terms * 2 * lanes * dtype.itemsize / 960e9
    copy = 0.0 if in_place else (2e-10 if problem.stride[-1] == 1 else 6e-10) + 6e-9 / min(width, room * lanes)

    def seconds_of(part: int, vectors: int, at_once: int) -> tuple[float, float]:
        """(time with all cores, with one) for items of so many channels and vectors of positions."""

        def item(count: int) -> float:
            tiles = [(v, n) for v, n in ((vectors, count // vectors), (count % vectors, 1)) if v and n]
            rows = {v: best_rows(part, v, few) for v, _ in tiles}
            multiplied = sum(n * -(-part // rows[v]) * cycles(rows[v], v) for v, n in tiles)
            return multiplied * product + count * lanes * terms * copy + 3e-7

        parts, (whole, rest) = each * -(-channels // part), divmod(needed, at_once)
        every = [item(at_once)] * (parts * whole) + [item(rest)] * (parts if rest else 0)
        total, busy = sum(every), [0.0] * cores
        if len(every) > 16 * cores:
            return total / cores + every[0] / 2, total
        for seconds in every:  # each goes to the core that is free first
            heapq.heapreplace(busy, busy[0] + seconds)
        return max(busy), total

    sizes = {max(-(-channels // n), 1) for n in range(1, 9)}
    cuts = [
        (part, v, at_once)
        for part in sizes
        for v in ROWS
        for at_once in {min(n, needed) for n in range(v, max(room, v) + 1)}
    ]
    part, vectors, at_once = min(cuts, key=lambda cut: seconds_of(*cut))
    rows = [best_rows(part, v, few) for v in ROWS]
    of_item, position_items, items = at_once * lanes, -(-needed // at_once), each * -(-channels // part)
    sums = 0 if in_place else whole_lines(min(max(terms, 1), TERMS) * of_item)
    memory = sums + max((of_item + lanes * vectors) * (part + max(rows)) if terms > TERMS else 0, lanes)
    tiles = [number for r in rows for number in (r, 0)]
    table = np.array([vectors * lanes, of_item, position_items, part, in_place, sums, memory, 0, 0, *tiles], np.int64)
    seconds = seconds_of(part, vectors, at_once)[1]
    seconds += math.prod(problem.result_shape) * 5e-11
    return Blocking(table, items * position_items, memory, seconds)


@remembered
def tabled(problem: ConvProblem) -> np.ndarray:
    """The blocking's table with the addresses of its tiles."""
    table, kind = blocking(problem).table.copy(), geo.sweep(problem).kind
    for v in ROWS:
        table[TILES + 2 * v + 1] = address_of(int(table[TILES + 2 * v]), v, kind, layout.activation_of(problem))
    return table


class Im2col(Algorithm):
    """Forward pass between channels-first arrays."""

    name = "im2col"
    accepts = ("pointwise_wide", "deep_600_taps", "grouped_uneven", "conv_1d_strided", "conv_3d_grouped")
    accepts_layout = "first"
    replays = True

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.direction != "forward":
            return "the weight's terms lie side by side for the forward pass only"
        if problem.dtype.name not in ("float32", "float64"):
            return f"the register tile multiplies float32 and float64, not {problem.dtype}"
        if not problem.layout_in == problem.layout_out == CHANNELS_FIRST:
            return "positions do not lie side by side"
        if problem.activation is not None and problem.activation[0] not in layout.FUSED:
            return f"activation {problem.activation[0]!r} is not applied in registers"
        return None

    def worker_bytes(self, problem: ConvProblem) -> int:
        return whole_lines(blocking(problem).memory * problem.dtype.itemsize)

    def items(self, problem: ConvProblem) -> int:
        return blocking(problem).items

    def cost(self, problem: ConvProblem) -> float:
        return 4e-6 + blocking(problem).seconds

    def run(self, problem, packed, x, bias, residual, out, workspace):
        if not planes_lie(out):
            whole = np.empty(out.shape, out.dtype)
            self.run(problem, packed, x, bias, residual, whole, workspace)
            out[...] = whole
            return
        cut, swept = blocking(problem), geo.sweep(problem)
        if x.strides[-1] != x.itemsize or (cut.table[IN_PLACE] and not planes_lie(x)):
            x = np.ascontiguousarray(x)
        if residual is not None and not planes_lie(residual):
            residual = np.ascontiguousarray(residual)
        given = geo.operands(problem, x, bias, residual, out)
        workers = min(jit.workers(cut.seconds), workspace.size // self.worker_bytes(problem), max(cut.items, 1))
        multiply(swept.kind)(
            workers, cut.items, given.x, flat(packed)[0], given.bias, given.residual, given.out,
            workspace.view(swept.accumulator), given.header, swept.phases, swept.taps, tabled(problem), given.parameter,
        )  # fmt: skip


def planes_lie(array: np.ndarray) -> bool:
    """Whether the positions of each channel lie side by side."""
    reach = array.itemsize
    for stride, n in zip(array.strides[:1:-1], array.shape[:1:-1]):
        if n > 1 and stride != reach:
            return False
        reach *= n
    return True
