"""The windows of a pooling in three dimensions, as kernels get them: a header and tables.

One and two spatial axes enter as three. The header is a flat array read by the names below; the tables hold the
windows along each axis (see `window_axes`), and how a row of the result is cut into segments.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu.memory import element_strides
from numconv.kernels.cpu.window_axes import Axis, absent, extent, most, row_order, windows_along
from numconv.problem import LAST, PoolProblem

# Header. The work items are the result's rows, cut into segments along the row and blocks of lanes. Lanes are
# channels next to each other in the source; where they are not, there is one lane, and the channels are planes.
IMAGES, PLANES, LANES, BLOCK, BLOCKS, ROWS_D, ROWS_H, PERIOD, SHIFT = range(9)
X_N, X_C, X_D, X_H, X_W, X_0, X_LANE = range(9, 16)
OUT_N, OUT_C, OUT_D, OUT_H, OUT_W, OUT_0, OUT_LANE = range(16, 23)
# Of each axis: positions of the source, from one position of a window to the next, from one weight to the next.
SIZE_D, SIZE_H, SIZE_W, STEP_D, STEP_H, STEP_W, NEXT_D, NEXT_H, NEXT_W = range(23, 32)
PLACES_H, PLACES_W, BY_D, BY_H, BY_W, BEGIN_D, BEGIN_H, BEGIN_W = range(32, 40)  # where tables and the part begin
GATHERS, LENGTH = 40, 41  # whether the source is an output's gradient
# Columns of the places, a row for each position of the result; the weight's is an index into the factors.
FIRST, COUNT, WEIGHT = range(3)
# Columns of the segments. The source's positions that it looks at are `low` to `high`. From `regular` to `irregular`,
# each window is that of PERIOD positions before, moved by SHIFT.
START, TARGETS, LOW, HIGH, REGULAR, IRREGULAR = range(6)

ROOM = 2048  # numbers in a kernel's buffer of source positions: 8 KB of float32
WIDEST = 1024  # positions of the result in a segment
LANES_AT_ONCE = 64
LONGEST = 1 << 16  # positions of the result along an axis in one launch: what the tables may take


class Windows:
    """Header and tables of a part of a problem, for arrays with or without lanes.

    Attributes
    ----------
    places, segments : numpy.ndarray of int64
    factors : numpy.ndarray of float64
        The exponent p of an Lp pooling and 1 / p, then divisors and weights of each axis.
    items : int
        Work items.
    """

    def __init__(self, problem: PoolProblem, lanes: bool, part: tuple[tuple[int, int], ...]) -> None:
        self._order = row_order(problem)
        self._last, self._lanes = problem.layout == LAST, lanes
        missing, last = 3 - problem.ndim, self._order[-1]
        axes = [absent() for _ in range(missing)] + [windows_along(problem, a, *part[a]) for a in self._order]
        header = np.zeros(LENGTH, np.int64)
        header[PERIOD], header[SHIFT] = (problem.stride[last], 1) if problem.backward else (1, problem.stride[last])
        planes, lane_count = (1, problem.channels) if lanes else (problem.channels, 1)
        wide = extent(problem)
        block = min(lane_count, LANES_AT_ONCE, max(1, ROOM // (2 * wide)))
        header[: BLOCKS + 1] = problem.n, planes, lane_count, block, -(-lane_count // block)
        room = ROOM // block if wide <= ROOM else 0
        self.segments = _segments(axes[2], int(header[PERIOD]), int(header[SHIFT]), room, min(WIDEST, ROOM // block))
        exponent = problem.norm_type or 1.0
        factors, filled = [np.array([exponent, 1 / exponent])], 2
        for a, axis in enumerate(axes):
            header[BY_D + a] = filled
            if problem.weights != "array":
                axis.weight[...] += filled + len(axis.by)
            factors += [axis.by, axis.weights.ravel()]
            filled += len(axis.by) + axis.weights.size
        self.factors = np.concatenate(factors)
        self.places = np.concatenate([np.stack([axis.first, axis.looks, axis.weight], 1) for axis in axes])
        header[GATHERS] = problem.backward
        sizes = problem.out_spatial if problem.backward else problem.spatial
        header[SIZE_D : SIZE_W + 1] = (*(1,) * missing, *(sizes[a] for a in self._order))
        header[STEP_D : STEP_W + 1] = [axis.step for axis in axes]
        header[NEXT_D : NEXT_W + 1] = [axis.next_weight for axis in axes]
        header[BEGIN_D : BEGIN_W + 1] = (*(0,) * missing, *(part[a][0] for a in self._order))
        rows_d, rows_h = len(axes[0].first), len(axes[1].first)
        header[ROWS_D], header[ROWS_H], header[PLACES_H], header[PLACES_W] = rows_d, rows_h, rows_d, rows_d + rows_h
        self.items = len(self.segments) * int(header[BLOCKS]) * problem.n * planes * rows_d * rows_h
        self._header = header
        self._contiguous: np.ndarray | None = None

    def header(self, x: np.ndarray, x0: int, out: np.ndarray, out0: int) -> np.ndarray:
        """The header for arrays with their first elements at `x0` and `out0` of their flat windows."""
        contiguous = x.flags.c_contiguous and out.flags.c_contiguous
        if contiguous and self._contiguous is not None:
            return self._contiguous
        header = self._header.copy()
        for at, array, offset in ((X_N, x, x0), (OUT_N, out, out0)):
            n, *rest = element_strides(array)
            c, spatial = (rest[-1], rest[:-1]) if self._last else (rest[0], rest[1:])
            placed = [spatial[a] for a in self._order]
            header[at : at + 7] = n, c, *(0,) * (3 - len(placed)), *placed, offset, c if self._lanes else 0
        header[OUT_0] += header[BEGIN_D : BEGIN_W + 1] @ header[OUT_D : OUT_W + 1]
        if contiguous:
            self._contiguous = header
        return header


def _segments(axis: Axis, period: int, shift: int, room: int, widest: int) -> np.ndarray:
    """Cut a row into segments of at most `widest` positions that look at no more than `room`, where that is not 0."""
    targets, seeing = len(axis.first), axis.looks > 0
    low = np.where(seeing, axis.first, np.iinfo(np.int64).max)
    high = np.where(seeing, axis.first + (axis.looks - 1) * axis.step + 1, 0)
    unlike = np.zeros(targets, bool)
    now, before = slice(period, None), slice(0, max(0, targets - period))  # a window, and that `period` before it
    unlike[now] = (axis.first[now] != axis.first[before] + shift) | (axis.looks[now] != axis.looks[before])
    if axis.weights.ndim == 2:
        unlike[now] |= (axis.weights[now] != axis.weights[before]).any(1)
    else:
        unlike[now] |= axis.weight[now] != axis.weight[before]
    segments, begin = [], 0
    while begin < targets:
        lowest = np.minimum.accumulate(low[begin : begin + widest])
        highest = np.maximum.accumulate(high[begin : begin + widest])
        length = len(lowest)
        if room:
            length = max(1, int(np.count_nonzero(highest - np.minimum(lowest, highest) <= room)))
        breaks = np.flatnonzero(unlike[begin + period : begin + length]) + period
        starts, stops = np.append(0, breaks - period + 1), np.append(breaks, length)
        longest = np.argmax(stops - starts)
        first, last = lowest[length - 1], highest[length - 1]
        segments.append((begin, length, min(first, last), last, starts[longest], stops[longest]))
        begin += length
    return np.array(segments, np.int64).reshape(-1, 6)


def _longest(problem: PoolProblem) -> list[int]:
    """Positions of the result along each axis in one launch."""
    return [LONGEST // most(problem, axis) if problem.backward else LONGEST for axis in range(problem.ndim)]


@functools.lru_cache(maxsize=256)
def _whole(problem: PoolProblem, lanes: bool) -> Windows | None:
    """The windows of a problem, where no axis is too long for one launch."""
    sizes = problem.spatial if problem.backward else problem.out_spatial
    if any(size > longest for size, longest in zip(sizes, _longest(problem))):
        return None
    return Windows(problem, lanes, tuple((0, size) for size in sizes))


def parts(problem: PoolProblem, lanes: bool) -> Iterable[Windows]:
    """The windows of a problem, remembered; of very long axes in parts, made anew."""
    whole = _whole(problem, lanes)
    return _in_parts(problem, lanes) if whole is None else (whole,)


def _in_parts(problem: PoolProblem, lanes: bool) -> Iterator[Windows]:
    sizes = problem.spatial if problem.backward else problem.out_spatial
    longest = [max(1, most) for most in _longest(problem)]
    cuts = [[(b, min(size, b + most)) for b in range(0, size, most)] for size, most in zip(sizes, longest)]
    for part in itertools.product(*cuts):
        yield Windows(problem, lanes, part)


def has_lanes(problem: PoolProblem, x: np.ndarray) -> bool:
    """Whether a source has eight or more channels next to each other, and not the positions of a row.

    With three, an RGB picture, loops over channels are so short that strided planes are faster.
    """
    size, channel = x.dtype.itemsize, -1 if problem.layout == LAST else 1
    if problem.channels < 8 or x.strides[channel] != size:
        return False
    return problem.layout == LAST or x.strides[-1] != size


@jit.function
def locate():
    """A function (header, row) -> (segment, block, n, plane, d) of a work item over the rows along h."""

    def find(header, row):
        rest, d = divmod(row, header[ROWS_D])
        rest, plane = divmod(rest, header[PLANES])
        rest, n = divmod(rest, header[IMAGES])
        segment, block = divmod(rest, header[BLOCKS])
        return segment, block, n, plane, d

    return find


@jit.function
def put(half):
    """A function that stores `count` numbers `apart` from each other."""
    store = simd.store(half)

    def away(out, at, apart, values, begin, count):
        at, apart, begin, count = np.uint64(at), np.uint64(apart), np.uint64(begin), np.uint64(count)
        if apart == 1:
            for i in range(count):
                store(out, at + i, values[begin + i])
        else:
            for i in range(count):
                store(out, at + i * apart, values[begin + i])

    return away
