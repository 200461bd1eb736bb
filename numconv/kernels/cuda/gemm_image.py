"""The image as a matrix that is never built: a row for each position of each image, a column for each tap and source.

    image[m, k] = source[n, s, t * stride + offset + tap]        zero where that lies outside

Where a row's window begins is found once. A slice of k's then costs a thread one place of a tap, which all its rows
share, one addition a row, and one test a row of whether the tap lies inside.
"""

from __future__ import annotations

from numpy import int32, int64, uint32, uint64

from numconv.kernels.cuda import gemm_tile, launch
from numconv.kernels.cuda.gemm_tile import DEPTH, Loads
from numconv.kernels.cuda.packing import Terms
from numconv.kernels.cuda.sweep import Axis, Phase


@launch.function
def position(phase: Phase):
    """`position(phase)(row)`: (n, td, th, tw) of a row of the image's matrix."""
    d, h, w = phase.d.positions, phase.h.positions, phase.w.positions

    def of_row(row):
        rest = uint32(row // uint32(w))
        above = uint32(rest // uint32(h))
        return (
            uint32(above // uint32(d)), uint32(above % uint32(d)), uint32(rest % uint32(h)), uint32(row % uint32(w))
        )  # fmt: skip

    return of_row


@launch.function
def origin(phase: Phase, counted: Terms, wide: bool):
    """`origin(...)(row, group, bases, places, i)`: where a row's window begins, in memory and along each axis.

    Where there are few taps, `places` holds a bit for each, which says whether it lies inside: one register a row.
    """
    d, h, w, x_s, sources = phase.d, phase.h, phase.w, phase.x, phase.sources
    index, of_row, width = uint64 if wide else uint32, position(phase), phase.sources if counted.flat else 1
    bits = by_bits(phase, counted)

    def begin(row, group, bases, places, i):
        n, td, th, tw = of_row(row)
        in_d = int32(int32(td) * d.stride + d.offset)
        in_h = int32(int32(th) * h.stride + h.offset)
        in_w = int32(int32(tw) * w.stride + w.offset)
        start = int64(n) * x_s.n + int64(group) * (sources * x_s.c)
        bases[i] = index(start + int64(in_d) * x_s.d + int64(in_h) * x_s.h + int64(in_w) * x_s.w)
        if bits:
            inside, bit = uint32(0), uint32(1)
            for jd in range(d.taps):
                for jh in range(h.taps):
                    for jw in range(w.taps):
                        within = uint32(in_d + int32(jd) * d.offset_step) < d.size
                        within = within and uint32(in_h + int32(jh) * h.offset_step) < h.size
                        if within and uint32(in_w + int32(jw) * w.offset_step) < w.size:
                            inside = uint32(inside | bit)
                        bit = uint32(bit << uint32(1))
            places[i] = int32(inside)
        else:
            places[3 * i], places[3 * i + 1], places[3 * i + 2] = in_d, in_h, int32(in_w * width)

    return begin


def by_bits(phase: Phase, counted: Terms) -> bool:
    """Whether a word has a bit for each tap of a window."""
    return counted.runs <= 32 and not counted.flat


@launch.function
def fetch_image(loads: Loads, phase: Phase, counted: Terms, wide: bool):
    """Of the image's matrix: `state` is the origins of the thread's rows and its first k in a slice."""
    d, h, w, x_s = phase.d, phase.h, phase.w, phase.x
    times, k_step, each, take = loads.times, loads.k_step, 1 if loads.row_step else 0, gemm_tile.load(loads)
    index, signed = (uint64, int64) if wide else (uint32, int32)
    run, runs, depth = counted.run, counted.runs, counted.depth
    sliced, whole, exact, flattened = counted.sliced, depth % DEPTH == 0, run == counted.length, counted.flat
    length, w_taps, h_taps = counted.length, 1 if counted.flat else w.taps, h.taps
    bits = by_bits(phase, counted)
    padded, in_d, in_h, in_w = bits and phase.padded, *(not bits and leaves(axis) for axis in (d, h, w))
    row_size = w.size * phase.sources if flattened else w.size
    d_jump, h_jump, w_jump = d.offset_step * x_s.d, h.offset_step * x_s.h, w.offset_step * x_s.w

    def fetch(x, state, k, values):
        bases, places, k0 = state
        for i in range(times):
            r, inner = i * each, uint32(k0 + i * k_step)
            term = uint32(k + inner)
            at_run = uint32((k if sliced else term) // uint32(run)) if runs > 1 else uint32(0)
            beyond = i * k_step if sliced else 0  # of a source that all loads of the thread start from
            source = uint32(uint32(term - uint32(at_run * uint32(run))) - uint32(beyond))
            jw, rest = uint32(at_run % uint32(w_taps)), uint32(at_run // uint32(w_taps))
            jh, jd = uint32(rest % uint32(h_taps)), uint32(rest // uint32(h_taps))
            offset = int64(jd) * d_jump + int64(jh) * h_jump + int64(jw) * w_jump + int64(source) * x_s.c
            here = (whole or term < depth) and (exact or uint32(source + beyond) < length)
            if padded:
                here = here and uint32(uint32(places[r]) >> at_run) & uint32(1) == uint32(1)
            if in_d:
                here = here and uint32(places[3 * r] + int32(jd) * d.offset_step) < d.size
            if in_h:
                here = here and uint32(places[3 * r + 1] + int32(jh) * h.offset_step) < h.size
            if in_w:
                along = int32(uint32(source + beyond)) if flattened else int32(jw) * w.offset_step
                here = here and uint32(places[3 * r + 2] + along) < row_size
            # Signed: before a flat run that begins left of the image there may be nothing.
            at = uint64(int64(signed(index(bases[r] + index(offset))))) + uint64(beyond * x_s.c)
            take(x, at, here, values, i)

    return fetch


def leaves(axis: Axis) -> bool:
    """Whether a tap may lie outside of the source along an axis."""
    ends = [axis.offset, axis.offset + (axis.taps - 1) * axis.offset_step]
    return min(ends) < 0 or max(ends) + (axis.positions - 1) * axis.stride >= axis.size


@launch.function
def place_of(phase: Phase, wide: bool):
    """`place_of(phase, wide)(row)`: where the result of a row lies, in channel 0."""
    d, h, w, out_s = phase.d, phase.h, phase.w, phase.out
    index, of_row = uint64 if wide else uint32, position(phase)
    whole, positions, channels = dense(phase), phase.positions, phase.groups * phase.results

    def locate(row):
        if whole and out_s.c == 1:
            return index(index(row) * index(channels))
        if whole:
            n = uint32(row // uint32(positions))
            return index(index(n) * index(out_s.n) + index(row - uint32(n * uint32(positions))))
        n, td, th, tw = of_row(row)
        at = int64(n) * out_s.n + (d.start + int64(td) * d.step) * out_s.d
        return index(at + (h.start + int64(th) * h.step) * out_s.h + (w.start + int64(tw) * w.step) * out_s.w)

    return locate


def dense(phase: Phase) -> bool:
    """Whether the positions of the phase are all of the result's, in order."""
    return phase.out.n == phase.positions * phase.groups * phase.results
