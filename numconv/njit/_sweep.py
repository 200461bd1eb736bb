"""Convolutions of one image after another, on one thread: forward, and transposed by stride phases.

    result[o, p] = sum over channels c and taps t of  weight[o, c, t] * source[place(c, t) + p]

All positions p of a plane lie one after another, the ends of rows among them, whose results are dropped. So a register
tile, rows of result channels by vectors of positions, always reads whole vectors. Of each image and group the source is
the image itself, where there is neither padding nor stride, or a copy with zeros around it, in which positions that a
stride sets apart lie together (the phases of the stride).

Loop order: image, group, phase, depth, blocks of positions, terms by STEPS, tiles of channels, tiles of positions.
"""

from __future__ import annotations

import numpy as np
from numba.extending import overload

from numconv.kernels.cpu import simd
from numconv.kernels.cpu.phased_pooling import AFTER, BEFORE, DILATION, KERNEL, OUT, SIZE, STRIDE
from numconv.njit._flags import compiled

STEPS = simd.STEPS
BLOCK = 4  # tiles of positions that share a panel of weights in first-level cache
_WIDE = simd.vector_bits() == 512
# (rows, vectors) of tiles for many, few and one channel of results in a group: 8 x 3 sums run at 95 % of the peak, as
# 14 x 2 do, and leave no row of the usual numbers of channels empty.
DENSE, NARROW, THIN = ((8, 3), (4, 6), (1, 8)) if _WIDE else ((4, 3), (2, 4), (1, 6))
TRANSPOSED = AFTER + 1  # of the geometry, as that of poolings: 0 or 1 in the first row
# Of the plan of an axis, an array: of the taps, then for each its place in the kernel, its phase and its shift.
TAPS, PLACE, PHASE, SHIFT = range(4)

# Large functions stay apart from their callers, which LLVM would otherwise optimise with them again at each level:
# a caller takes 3 s to compile in place of 11.
_read, _write, _apart = simd.load(0), simd.store(0), simd.keep_apart


def _made(rows, vectors):
    """A tile as a function of its own, so that its sums have all registers."""
    tile = simd.tabled_tile(rows, vectors)

    @compiled
    def multiply(a, ai, b, bi, c, ci, steps, places, pi):
        _apart()
        tile(a, ai, b, bi, c, ci, steps, places, pi)

    return multiply


_dense, _narrow, _thin = _made(*DENSE), _made(*NARROW), _made(*THIN)


def lanes(array):
    """How many numbers of an array a vector holds."""
    return simd.lanes(array.dtype)


@overload(lanes)
def _lanes(array):
    count = simd.lanes(str(array.dtype))
    return lambda array: count


@compiled
def tile_of(rows, array):
    """(rows, width) of the tile for so many result channels."""
    if rows == 1:
        return THIN[0], THIN[1] * lanes(array)
    if rows <= NARROW[0]:
        return NARROW[0], NARROW[1] * lanes(array)
    return DENSE[0], DENSE[1] * lanes(array)


@compiled
def pack(weight, group, channels, rows, high, geometry, plans, packed):
    """packed[tile, channel, tap, row of the tile], zeros past the last row."""
    _apart()
    kernel_h, kernel_w = geometry[1, KERNEL], geometry[2, KERNEL]
    taps = geometry[0, KERNEL] * kernel_h * kernel_w
    terms = channels * plans[0, TAPS, 0] * plans[1, TAPS, 0] * plans[2, TAPS, 0]
    for r in range(-(-rows // high) * high):
        tile, row = divmod(r, high)
        to = tile * terms * high + row
        if r >= rows:
            for k in range(terms):
                _write(packed, to + k * high, packed.dtype.type(0))
        elif geometry[0, TRANSPOSED] == 0:  # all taps, in the order in which they lie
            first = (group * rows + r) * terms
            for k in range(terms):
                _write(packed, to + k * high, _read(weight, first + k))
        else:
            for c in range(channels):
                first = ((group * channels + c) * rows + r) * taps
                for td in range(plans[0, TAPS, 0]):
                    for th in range(plans[1, TAPS, 0]):
                        line = first + (plans[0, PLACE, td] * kernel_h + plans[1, PLACE, th]) * kernel_w
                        for tw in range(plans[2, TAPS, 0]):
                            _write(packed, to, _read(weight, line + plans[2, PLACE, tw]))
                            to += high


@compiled
def list_places(plans, strides, extents, places, channels):
    """Where each term's numbers lie, from the first position's on."""
    _apart()
    high, wide = extents[1], extents[2]
    plane = extents[0] * high * wide
    at = 0
    for c in range(channels):
        for td in range(plans[0, TAPS, 0]):
            pd, sd = plans[0, PHASE, td], plans[0, SHIFT, td]
            for th in range(plans[1, TAPS, 0]):
                ph, sh = plans[1, PHASE, th], plans[1, SHIFT, th]
                for tw in range(plans[2, TAPS, 0]):
                    pw, sw = plans[2, PHASE, tw], plans[2, SHIFT, tw]
                    phase = ((c * strides[0] + pd) * strides[1] + ph) * strides[2] + pw
                    places[at] = phase * plane + (sd * high + sh) * wide + sw
                    at += 1


@compiled
def inside(first, step, count, size):
    """(low, past): for low <= i < past <= count, 0 <= first + i step < size."""
    low = min(max(-(first // step), 0), count)
    return low, min(max((size - first + step - 1) // step, low), count)


@compiled
def copy_row(target, to, source, row, size, first, step, count):
    """target[to + i] = source[row + first + i step], and 0 where that lies outside the row."""
    low, past = inside(first, step, count, size)
    for i in range(low):
        _write(target, to + i, target.dtype.type(0))
    at = row + first
    if step == 1:
        for i in range(low, past):
            _write(target, to + i, _read(source, at + i))
    elif step == 2:
        for i in range(low, past):
            _write(target, to + i, _read(source, at + 2 * i))
    else:
        for i in range(low, past):
            _write(target, to + i, _read(source, at + step * i))
    for i in range(past, count):
        _write(target, to + i, target.dtype.type(0))


@compiled
def spread(x, shape, plane, channels, strides, begins, extents, used, target):
    """Copy channels, from number `plane` of all images' on, with zeros around them, the strides' phases apart."""
    _apart()
    at = 0
    for c in range(channels):
        for pd in range(strides[0]):
            for ph in range(strides[1]):
                for pw in range(strides[2]):
                    needed = used[0, pd] and used[1, ph] and used[2, pw]
                    for d in range(extents[0]):
                        in_d = begins[0] + pd + d * strides[0]
                        for h in range(extents[1]):
                            in_h = begins[1] + ph + h * strides[1]
                            row = (((plane + c) * shape[2] + in_d) * shape[3] + in_h) * shape[4]
                            size = shape[4] if 0 <= in_d < shape[2] and 0 <= in_h < shape[3] else 0
                            if needed:
                                copy_row(target, at, x, row, size, begins[2] + pw, strides[2], extents[2])
                            at += extents[2]


@compiled
def multiply(high, width, packed, terms, tiles, source, base, sums, places, total, first, last):
    """Sums of all channels for the tiles `first` to `last` of a plane's positions."""
    _apart()
    for i in range((last - first) * tiles * high * width):
        _write(sums, i, sums.dtype.type(0))
    for k in range(0, terms, STEPS):
        steps = min(STEPS, terms - k)
        for t in range(tiles):
            a = (t * terms + k) * high
            for p in range(first, last):
                at = base + min(p * width, max(total - width, 0))
                c = ((p - first) * tiles + t) * high * width
                if high == 1:
                    _thin(packed, a, source, at, sums, c, steps, places, k)
                elif high == NARROW[0]:
                    _narrow(packed, a, source, at, sums, c, steps, places, k)
                else:
                    _dense(packed, a, source, at, sums, c, steps, places, k)


@compiled
def store(sums, at, width, position, pitch, counts, value, out, to, step_h, step_w):
    """A row of a tile to the result: what lies past the ends of the plane's rows is dropped."""
    _apart()
    h, w = divmod(position, pitch)
    j = 0
    while j < width and h < counts[1]:
        run = min(pitch - w, width - j)
        kept = min(run, counts[2] - w)
        place = to + h * step_h + w * step_w
        if step_w == 1:
            for i in range(kept):
                _write(out, place + i, _read(sums, at + j + i) + value)
        else:
            for i in range(kept):
                _write(out, place + i * step_w, _read(sums, at + j + i) + value)
        j, w, h = j + run, 0, h + 1


@compiled
def lay_out(geometry, residues, plans, counts, begins, extents):
    """Fill in the axes' plans, how many positions there are, where the source begins, and its extents in a phase."""
    _apart()
    for axis in range(3):
        kernel, stride, dilation = geometry[axis, KERNEL], geometry[axis, STRIDE], geometry[axis, DILATION]
        before, residue = geometry[axis, BEFORE], residues[axis]
        if geometry[0, TRANSPOSED] == 0:
            for k in range(kernel):
                plans[axis, PLACE, k] = k
                plans[axis, SHIFT, k], plans[axis, PHASE, k] = divmod(k * dilation, stride)
            plans[axis, TAPS, 0] = kernel
            counts[axis], begins[axis] = geometry[axis, OUT], -before
            extents[axis] = counts[axis] + (kernel - 1) * dilation // stride
            continue
        least, most, count = 0, 0, 0
        for k in range(kernel):
            shift, rest = divmod(residue + before - k * dilation, stride)
            if rest == 0:
                plans[axis, PLACE, count], plans[axis, PHASE, count], plans[axis, SHIFT, count] = k, 0, shift
                least = shift if count == 0 else min(least, shift)
                most = shift if count == 0 else max(most, shift)
                count += 1
        for k in range(count):
            plans[axis, SHIFT, k] -= least
        plans[axis, TAPS, 0] = count
        counts[axis] = max((geometry[axis, OUT] - residue + stride - 1) // stride, 0)
        begins[axis], extents[axis] = least, counts[axis] + most - least


@compiled
def convolve(x, shape, weight, bias, results, out, geometry, groups):
    """Fill `out` with a convolution of x, of shape (n, c, d, h, w); all arrays are flat.

    `geometry` has a row an axis; `bias` a number for each of the `results` channels, or none at all.
    """
    _apart()
    n, channels, transposed = shape[0], shape[1] // groups, geometry[0, TRANSPOSED] == 1
    rows = results // groups
    high, width = tile_of(rows, out)
    tiles = -(-rows // high)
    most = max(geometry[0, KERNEL], geometry[1, KERNEL], geometry[2, KERNEL])
    plans = np.zeros((3, 4, most), np.int64)
    counts, begins, extents = np.zeros(3, np.int64), np.zeros(3, np.int64), np.zeros(3, np.int64)
    residues = (geometry[0, STRIDE], geometry[1, STRIDE], geometry[2, STRIDE]) if transposed else (1, 1, 1)
    strides = (1, 1, 1) if transposed else (geometry[0, STRIDE], geometry[1, STRIDE], geometry[2, STRIDE])
    sizes = (geometry[0, SIZE], geometry[1, SIZE], geometry[2, SIZE])
    plane_out = geometry[0, OUT] * geometry[1, OUT] * geometry[2, OUT]
    step_h, step_w = residues[1] * geometry[2, OUT], residues[2]
    sums = np.empty(BLOCK * tiles * high * width, out.dtype)
    for rd in range(residues[0]):
        for rh in range(residues[1]):
            for rw in range(residues[2]):
                lay_out(geometry, (rd, rh, rw), plans, counts, begins, extents)
                if counts[0] * counts[1] * counts[2] == 0:
                    continue
                taps = plans[0, TAPS, 0] * plans[1, TAPS, 0] * plans[2, TAPS, 0]
                terms = channels * taps
                plain = strides == (1, 1, 1) and taps > 0
                for axis in range(3):
                    plain = plain and begins[axis] == 0 and extents[axis] <= sizes[axis]
                if plain:
                    for axis in range(3):
                        extents[axis] = sizes[axis]
                total = (counts[1] - 1) * extents[2] + counts[2]
                in_place = plain and total >= width
                volume = extents[0] * extents[1] * extents[2]
                size = 0 if in_place else channels * strides[0] * strides[1] * strides[2] * volume + width
                copy, packed = np.empty(size, out.dtype), np.empty(tiles * terms * high, out.dtype)
                for i in range(max(size - width, 0), size):
                    copy[i] = 0
                places = np.empty(terms, np.int64)
                list_places(plans, strides, extents, places, channels)
                used = np.zeros((3, max(strides)), np.bool_)
                for axis in range(3):
                    for k in range(plans[axis, TAPS, 0]):
                        used[axis, plans[axis, PHASE, k]] = True
                pieces = -(-total // width)
                for g in range(groups):
                    pack(weight, g, channels, rows, high, geometry, plans, packed)
                    for image in range(n):
                        plane = image * shape[1] + g * channels
                        source, base = x, plane * volume
                        if not in_place:
                            source, base = copy, 0
                            spread(x, shape, plane, channels, strides, begins, extents, used, copy)
                        for d in range(counts[0]):
                            start = base + d * extents[1] * extents[2]
                            to = ((image * results + g * rows) * geometry[0, OUT] + d * residues[0] + rd) * geometry[
                                1, OUT
                            ]
                            to = (to + rh) * geometry[2, OUT] + rw
                            for first in range(0, pieces, BLOCK):
                                last = min(first + BLOCK, pieces)
                                multiply(
                                    high, width, packed, terms, tiles, source, start, sums, places, total, first, last
                                )
                                for p in range(first, last):
                                    position = min(p * width, max(total - width, 0))
                                    for r in range(rows):
                                        value = bias[g * rows + r] if bias.shape[0] else bias.dtype.type(0)
                                        at = ((p - first) * tiles * high + r) * width
                                        store(
                                            sums, at, min(width, total - position), position, extents[2], counts,
                                            value, out, to + r * plane_out, step_h, step_w,
                                        )  # fmt: skip
