"""Weights in the order in which register tiles read them: panels of `width` result channels, term after term."""

from __future__ import annotations

import numpy as np

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.memory import aligned, flat
from numconv.problem import ConvProblem, remembered

# Columns of the places: of a tap, its phase's first tap and how many it has, and its own number among them.
FIRST, COUNT, INDEX = range(3)


@jit.kernel
def pack_panels(width, dtype, half):
    """packed[group, phase, tile, tap, source, `width` channels], zeros past the last channel.

    Weights of a channel lie in a run, over sources and taps (forward) or over taps alone (input pass). Squares of
    channels by numbers of the run are turned in registers.
    """
    lanes = simd.lanes(dtype)
    load, write, fill, move = simd.load(half), simd.store(0), simd.fill(), simd.move(dtype)
    turn, square = simd.transpose(dtype), simd.stack(lanes * lanes, dtype)

    def body(start, stop, worker, weight, packed, header, places):
        block = square()
        sources, channels, taps = header[geo.S], header[geo.R], len(places)
        over_r, over_s = header[geo.WEIGHT_R], header[geo.WEIGHT_S]
        tiles = -(-channels // width)
        run, runs = (sources * taps, 1) if over_s == taps else (taps, sources)
        for item in range(start, stop):
            g, tile = divmod(item, tiles)
            to_group = g * tiles * width * taps * sources
            for n in range(runs):
                for j in range(0, run, lanes):
                    here = min(lanes, run - j)
                    for v in range(0, width, lanes):
                        first = tile * width + v
                        some = max(min(lanes, channels - first), 0)
                        at = g * header[geo.WEIGHT_G] + first * over_r + n * over_s + j
                        if half == 0 and over_r > 1:
                            turn(weight, at, over_r, some, here, block)
                        s, tap = divmod(j, taps)
                        for i in range(here):
                            to = (places[tap, FIRST] * tiles + tile * places[tap, COUNT] + places[tap, INDEX]) * sources
                            to = to_group + (to + n + s) * width + v
                            tap += 1
                            if tap == taps:
                                s, tap = s + 1, 0
                            if half == 0 and over_r > 1:
                                move(packed, to, block, i * lanes, 0, lanes, lanes)
                            elif half == 0:
                                move(packed, to, weight, at + i, 0, some, lanes)
                            else:
                                for r in range(some):
                                    write(packed, to + r, load(weight, at + i + r * over_r))
                                fill(packed, to + some, to + lanes, 0)

    return body


@remembered
def places(problem: ConvProblem) -> np.ndarray:
    """For each tap of the weight, where its phase packs it."""
    swept = geo.sweep(problem)
    found = np.zeros((len(swept.taps), 3), np.int64)
    for phase in swept.phases:
        first, count = int(phase[geo.FIRST_TAP]), int(phase[geo.TAP_COUNT])
        for index in range(count):
            found[swept.taps[first + index, geo.TAP]] = first, count, index
    # FIRST counts terms of all tiles before the phase: a multiple of the number of tiles.
    return found


def packed_size(problem: ConvProblem, width: int) -> int:
    """Numbers of the packed weight."""
    swept = geo.sweep(problem)
    return problem.groups * -(-swept.result_channels // width) * width * len(swept.taps) * swept.source_channels


def pack(problem: ConvProblem, weight: np.ndarray, width: int) -> np.ndarray:
    """The weight in panels of `width` channels."""
    swept, size = geo.sweep(problem), packed_size(problem, width)
    packed = aligned(size, swept.accumulator)
    items = problem.groups * -(-swept.result_channels // width)
    workers = min(jit.workers(size * 2e-10), max(items, 1))
    pack_panels(width, swept.kind, swept.half)(
        workers, items, flat(weight)[0], packed, swept.fixed_header, places(problem)
    )
    return packed
