"""Weights in the order in which register tiles read them: panels of `width` result channels, term after term."""

from __future__ import annotations

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu import sweep as geo


@jit.kernel
def pack_weight(width, half):
    """Pack weight[r, k] as packed[group, phase, tile, k, `width` channels], zeros past the last channel."""
    load, write, fill = simd.load(half), simd.store(0), simd.fill()

    def body(start, stop, worker, weight, packed, header, phases, taps):
        over_r, over_s, sources, channels = header[geo.WEIGHT_R], header[geo.WEIGHT_S], header[geo.S], header[geo.R]
        tiles = -(-channels // width)
        for item in range(start, stop):
            g, tile = divmod(item, tiles)
            to_group = g * tiles * width * len(taps) * sources
            for phase in range(len(phases)):
                first, count = phases[phase, geo.FIRST_TAP], phases[phase, geo.TAP_COUNT]
                to = to_group + (first * tiles + tile * count) * sources * width
                for t in range(first, first + count):
                    at = g * header[geo.WEIGHT_G] + tile * width * over_r + taps[t, geo.TAP]
                    rows = min(width, channels - tile * width)
                    for _ in range(sources):
                        for i in range(rows):
                            write(packed, to + i, load(weight, at + i * over_r))
                        fill(packed, to + rows, to + width, 0)
                        to += width
                        at += over_s

    return body
