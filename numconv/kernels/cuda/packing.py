"""Weights in the order in which an implicit GEMM reads them: [group][tap, source][result].

Rows of results are padded with zeros to whole tiles, and so are the k's to whole slices: the loads of the main loop are
128 bits each, side by side, and ask nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from numba import cuda
from numpy import float32, uint32

from numconv.kernels.cuda import launch
from numconv.kernels.cuda.gemm_tile import DEPTH, LARGE, SMALL
from numconv.kernels.cuda.sweep import Phase
from numconv.problem import LAST

THREADS = 256


class Terms(NamedTuple):
    """How the k's of a phase are counted: `runs` times `run` of them, of which the first `length` are terms.

    A run is the source channels of a tap; where it is `flat`, of a row of taps, which lie next to each other channels
    last. It is padded to whole slices where that adds at most a quarter: a slice then has one tap. `loads` is the
    kind of the image's (`gemm_tile.Loads`).
    """

    loads: str
    flat: bool
    length: int
    run: int
    runs: int

    @property
    def depth(self) -> int:
        """How many k's there are."""
        return self.run * self.runs

    @property
    def sliced(self) -> bool:
        """Whether a slice lies within one run."""
        return self.run % DEPTH == 0


def terms(phase: Phase, layout: str) -> Terms:
    """Those of a phase whose source has this layout."""
    last = layout == LAST
    if last and phase.sources % 4 == 0:
        return Terms("k4", False, phase.sources, phase.sources, phase.taps)
    found = [(False, phase.sources, phase.taps)]
    if last and phase.w.taps > 1 and phase.w.offset_step == 1 and phase.groups == 1:
        found.append((True, phase.w.taps * phase.sources, phase.d.taps * phase.h.taps))
    ways = [Terms("rows", flat, length, _padded(length), runs) for flat, length, runs in found]
    # Estimate, not measured: to find the tap of each number costs four tenths of the products.
    return min(ways, key=lambda way: way.depth * (1.0 if way.sliced else 1.4))


def _padded(length: int) -> int:
    whole = launch.blocks(length, DEPTH) * DEPTH
    return whole if 4 * whole <= 5 * length else length


def padded_results(phase: Phase) -> int:
    """The length of a packed row: one that narrow tiles divide, and wide ones if there is more than a narrow one."""
    width = SMALL.columns if phase.results <= SMALL.columns else LARGE.columns
    return launch.blocks(phase.results, width) * width


def packed_size(phase: Phase, layout: str) -> int:
    """Numbers of a phase's packed weight."""
    return phase.groups * launch.blocks(terms(phase, layout).depth, DEPTH) * DEPTH * padded_results(phase)


@launch.kernel(threads=THREADS)
def pack(phase: Phase, counted: Terms):
    """A number of the packed weight a thread."""
    d, h, w, groups, sources, results, kernel, _, _, weight_s, _ = phase
    columns, rows = padded_results(phase), launch.blocks(counted.depth, DEPTH) * DEPTH
    size, run, length, runs = groups * rows * columns, counted.run, counted.length, counted.runs
    w_taps = 1 if counted.flat else max(w.taps, 1)
    h_taps = max(h.taps, 1)

    def body(weight, out):
        i = uint32(cuda.grid(1))
        if i >= size:
            return
        result, row = uint32(i % columns), uint32(i // columns)
        group, k = uint32(row // rows), uint32(row % rows)
        at_run, rest = uint32(k // run), uint32(k % run)
        jw, jh, jd = uint32(at_run % w_taps), uint32(at_run // w_taps % h_taps), uint32(at_run // w_taps // h_taps)
        source = rest
        if counted.flat:
            jw, source = uint32(rest // sources), uint32(rest % sources)
        value = float32(0)
        if result < results and rest < length and at_run < runs:
            tap_d, tap_h, tap_w = d.tap + jd * d.tap_step, h.tap + jh * h.tap_step, w.tap + jw * w.tap_step
            tap = (tap_d * kernel[1] + tap_h) * kernel[2] + tap_w
            value = weight[group * weight_s[0] + result * weight_s[1] + source * weight_s[2] + tap]
        out[i] = value

    return body
