"""The steps of overlap-save beside its transforms: gather blocks, multiply them, store their useful results.

Two blocks share one complex number: a pair holds the first as real and the second as imaginary parts.
"""

from __future__ import annotations

from numconv.kernels.cpu import epilogue, jit, simd
from numconv.kernels.cpu import sweep as geo

RUN = 256  # results that pass through a buffer
# Of the cut, an array: numbers of a block, useful results of a block and blocks along each axis, the lowest offsets,
# pairs of an image.
SIZE_D, SIZE_H, SIZE_W, USEFUL_D, USEFUL_H, USEFUL_W, BLOCKS_D, BLOCKS_H, BLOCKS_W, LOW_D, LOW_H, LOW_W, PAIRS = range(
    13
)


@jit.function
def place():
    """(image, first result along each axis; -1 where there is none) of one block of a pair."""

    def placed(pair, part, cut):
        n, block = divmod(pair, cut[PAIRS])
        rest, w = divmod(2 * block + part, cut[BLOCKS_W])
        d, h = divmod(rest, cut[BLOCKS_H])
        first = d * cut[USEFUL_D] if d < cut[BLOCKS_D] else -1
        return n, first, h * cut[USEFUL_H], w * cut[USEFUL_W]

    return placed


@jit.kernel
def gather():
    """Fill blocks[item] = source of one pair and channel, two numbers interleaved; items are (group, pair, channel)."""
    load, write, clip, placed = simd.load(0), simd.store(0), geo.valid_range(), place()

    def body(start, stop, worker, x, blocks, header, cut):
        sources, pairs = header[geo.S], header[geo.N] * cut[PAIRS]
        x_w, source_w, wide = header[geo.X_W], header[geo.SOURCE_W], cut[SIZE_W]
        to = 0
        for item in range(start, stop):
            rest, s = divmod(item, sources)
            g, pair = divmod(rest, pairs)
            for part in range(2):
                n, d, h, w = placed(pair, part, cut)
                low, high = clip(w + cut[LOW_W], 1, wide, source_w)
                at = header[geo.X_0] + n * header[geo.X_N] + (g * sources + s) * header[geo.X_C]
                at += (w + cut[LOW_W]) * x_w
                row = to + part
                for i in range(cut[SIZE_D]):
                    in_d = d + cut[LOW_D] + i
                    for j in range(cut[SIZE_H]):
                        in_h = h + cut[LOW_H] + j
                        inside = d >= 0 and 0 <= in_d < header[geo.SOURCE_D] and 0 <= in_h < header[geo.SOURCE_H]
                        first, last = (low, high) if inside else (0, 0)
                        source = at + in_d * header[geo.X_D] + in_h * header[geo.X_H]
                        for k in range(first):
                            write(blocks, row + 2 * k, 0)
                        if x_w == 1:
                            for k in range(first, last):
                                write(blocks, row + 2 * k, load(x, source + k))
                        else:
                            for k in range(first, last):
                                write(blocks, row + 2 * k, load(x, source + k * x_w))
                        for k in range(last, wide):
                            write(blocks, row + 2 * k, 0)
                        row += 2 * wide
            to += 2 * cut[SIZE_D] * cut[SIZE_H] * wide

    return body


@jit.kernel
def multiply():
    """products[item] = sum over s of blocks[pair, s] * weight[r, s]; items are (pair, channel of the result)."""
    load, write = simd.load(0), simd.store(0)

    def body(start, stop, worker, blocks, packed, first, channels, sources, points, products):
        for item in range(start, stop):
            pair, r = divmod(item, channels)
            for f in range(0, points, RUN):
                to, last = 2 * (item * points + f), min(RUN, points - f)
                for s in range(sources):
                    a, b = 2 * ((pair * sources + s) * points + f), 2 * ((first + r * sources + s) * points + f)
                    if s == 0:
                        for k in range(0, 2 * last, 2):
                            x, y, u, v = (
                                load(blocks, a + k),
                                load(blocks, a + k + 1),
                                load(packed, b + k),
                                load(packed, b + k + 1),
                            )
                            write(products, to + k, x * u - y * v)
                            write(products, to + k + 1, x * v + y * u)
                    else:
                        for k in range(0, 2 * last, 2):
                            x, y, u, v = (
                                load(blocks, a + k),
                                load(blocks, a + k + 1),
                                load(packed, b + k),
                                load(packed, b + k + 1),
                            )
                            write(products, to + k, load(products, to + k) + (x * u - y * v))
                            write(products, to + k + 1, load(products, to + k + 1) + (x * v + y * u))

    return body


@jit.kernel
def scatter(dtype):
    """Store the useful results of channels `first` to `past`, with the epilogue; items are (group, pair)."""
    load, write, placed, buffer = simd.load(0), simd.store(0), place(), simd.stack(RUN, dtype)
    add, activate, store = epilogue.add_run(0), epilogue.activate_run(), epilogue.store_run(0, dtype)

    def body(start, stop, worker, products, first, past, bias, residual, out, header, phases, cut, parameter):
        sums = buffer()
        pairs, channels, wide = header[geo.N] * cut[PAIRS], header[geo.R], cut[SIZE_W]
        high, points = cut[SIZE_H], cut[SIZE_D] * cut[SIZE_H] * cut[SIZE_W]
        has_residual = header[geo.HAS_RESIDUAL] != 0
        at = 0
        for item in range(start, stop):
            g, pair = divmod(item, pairs)
            for r in range(first, past):
                channel = g * channels + r
                for part in range(2):
                    n, d, h, w = placed(pair, part, cut)
                    if d < 0:
                        continue
                    o = header[geo.OUT_0] + n * header[geo.OUT_N] + channel * header[geo.OUT_C]
                    q = header[geo.RESIDUAL_0] + n * header[geo.RESIDUAL_N] + channel * header[geo.RESIDUAL_C]
                    for i in range(min(cut[USEFUL_D], phases[0, geo.COUNT_D] - d)):
                        for j in range(min(cut[USEFUL_H], phases[0, geo.COUNT_H] - h)):
                            row = at + 2 * (i * high + j) * wide + part
                            to = o + (d + i) * header[geo.OUT_D] + (h + j) * header[geo.OUT_H] + w * header[geo.OUT_W]
                            more = q + (d + i) * header[geo.RESIDUAL_D] + (h + j) * header[geo.RESIDUAL_H]
                            more += w * header[geo.RESIDUAL_W]
                            useful = min(cut[USEFUL_W], phases[0, geo.COUNT_W] - w)
                            for k in range(0, useful, RUN):
                                count = min(RUN, useful - k)
                                for c in range(count):
                                    write(sums, c, load(products, row + 2 * (k + c)) + bias[channel])
                                if has_residual:
                                    add(
                                        sums,
                                        0,
                                        count,
                                        residual,
                                        more + k * header[geo.RESIDUAL_W],
                                        header[geo.RESIDUAL_W],
                                    )
                                activate(sums, 0, count, header, parameter)
                                store(out, to + k * header[geo.OUT_W], header[geo.OUT_W], sums, 0, count)
                at += 2 * points

    return body
