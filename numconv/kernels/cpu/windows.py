"""The windows of a pooling: which positions of the source each position of the result looks at.

Along one axis, the window of a result's position is `count` positions of the source, `first`, `first + step`, ...,
those outside the source already left out; `tap` is the kernel's tap of the first and changes by `tap_step` from one
to the next. With kernel k, stride s, dilation d, padding p before, n positions in and T out:

    forward    position o looks at o s + t d - p, for the taps t < k that lie inside
    adaptive   position o looks at floor(o n / T) to ceil((o + 1) n / T)
    backward   position i looks at the outputs o with o s + t d - p = i, which lie d / gcd(s, d) apart

The gradient of an average is so a pooling of its own, by gathering: it needs no atomics, and a sum has one order.
The transpose of an adaptive pooling is adaptive again, with n and T exchanged.

One and two spatial axes enter as three. Kernels get the header, a flat array read by the names below.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu.memory import element_strides
from numconv.problem import LAST, PoolProblem

# Header. The work items are the result's rows, cut into segments along the row and blocks of lanes. Lanes are
# channels next to each other in the source; where they are not, there is one lane, and the channels are planes.
# PERIOD and SHIFT are of the last axis, see `survey`.
IMAGES, PLANES, LANES, BLOCK, BLOCKS, SEGMENT, GATHERS, PERIOD, SHIFT = range(9)
X_N, X_C, X_D, X_H, X_W, X_0, X_LANE = range(9, 16)
OUT_N, OUT_C, OUT_D, OUT_H, OUT_W, OUT_0, OUT_LANE = range(16, 23)
D, H, W, LENGTH = 23, 41, 59, 77  # where the fields of each axis begin
# Fields of an axis: sizes of source and result and of the pooling's two sides, then its options.
SOURCES, TARGETS, INPUTS, OUTPUTS, MODE, KERNEL, STRIDE, BEFORE, AFTER, DILATION = range(10)
GCD, INVERSE, STEP, TAP_STEP, DIVISION, DIVISOR, TAPS, WEIGHTED = range(10, 18)
FORWARD, ADAPTIVE, BACKWARD = range(3)
# What a window is divided by along an axis: DIVISOR alone; its taps in the padded source or in the source, over
# DIVISOR; the sum of their weights.
GIVEN, PADDED, INSIDE, WEIGHED = range(4)

ROOM = 2048  # numbers in a kernel's buffer of source positions: 16 KB of float64
WIDEST = 1024  # positions of the result in a segment
LANES_AT_ONCE = 64


@jit.function
def locate():
    """A function (header, item) -> (segment, n, plane, d, h, block), the last changing fastest."""

    def find(header, item):
        rest, block = divmod(item, header[BLOCKS])
        rest, h = divmod(rest, header[H + TARGETS])
        rest, d = divmod(rest, header[D + TARGETS])
        rest, plane = divmod(rest, header[PLANES])
        segment, n = divmod(rest, header[IMAGES])
        return segment, n, plane, d, h, block

    return find


@jit.function
def following():
    """A function (header, segment, n, plane, d, h, block) -> the item after it, found without a division."""

    def step(header, segment, n, plane, d, h, block):
        if block + 1 < header[BLOCKS]:
            return segment, n, plane, d, h, block + 1
        if h + 1 < header[H + TARGETS]:
            return segment, n, plane, d, h + 1, 0
        if d + 1 < header[D + TARGETS]:
            return segment, n, plane, d + 1, 0, 0
        if plane + 1 < header[PLANES]:
            return segment, n, plane + 1, 0, 0, 0
        if n + 1 < header[IMAGES]:
            return segment, n + 1, 0, 0, 0, 0
        return segment + 1, 0, 0, 0, 0, 0

    return step


@jit.function
def put(half):
    """A function that stores `count` numbers `apart` from each other."""
    store = simd.store(half)

    def away(out, at, apart, values, count):
        at, apart, count = np.uint64(at), np.uint64(apart), np.uint64(count)
        if apart == 1:
            for i in range(count):
                store(out, at + i, values[i])
        else:
            for i in range(count):
                store(out, at + i * apart, values[i])

    return away


@jit.function
def window():
    """A function (header, axis, target) -> (first, count, tap)."""

    def find(header, axis, target):
        sources, targets = header[axis + SOURCES], header[axis + TARGETS]
        if header[axis + MODE] == ADAPTIVE:
            first = target * sources // targets
            return first, -(-(target + 1) * sources // targets) - first, 0
        k, s, d = header[axis + KERNEL], header[axis + STRIDE], header[axis + DILATION]
        if header[axis + MODE] == FORWARD:
            start = target * s - header[axis + BEFORE]
            if start >= 0 and start + (k - 1) * d < sources:  # no division inside the source
                return start, k, 0
            tap = max(0, -(start // d))
            count = min(k, (sources - 1 - start) // d + 1) - tap
            return start + tap * d, max(0, count), tap * header[axis + WEIGHTED]
        place = target + header[axis + BEFORE]
        g, apart = header[axis + GCD], header[axis + STEP]
        low = max(0, -(((k - 1) * d - place) // s))
        first = low + (place // g % apart * header[axis + INVERSE] - low) % apart
        last = min(sources - 1, place // s)
        if place % g != 0 or last < first:
            return low, 0, 0
        return first, (last - first) // apart + 1, (place - first * s) // d * header[axis + WEIGHTED]

    return find


@jit.function
def divisor():
    """A function (header, axis, weights, output) -> what the pooling's output is divided by along the axis."""

    def divide(header, axis, weights, output):
        by, n = header[axis + DIVISOR], header[axis + INPUTS]
        if header[axis + DIVISION] == GIVEN:
            return float(by)
        if header[axis + MODE] == ADAPTIVE:
            outputs = header[axis + OUTPUTS]
            return float(-(-(output + 1) * n // outputs) - output * n // outputs)
        k, d = header[axis + KERNEL], header[axis + DILATION]
        start = output * header[axis + STRIDE] - header[axis + BEFORE]
        if header[axis + DIVISION] != WEIGHED and start >= 0 and start + (k - 1) * d < n:
            return k / by
        if header[axis + DIVISION] == PADDED:
            return min(k, (n + header[axis + AFTER] - 1 - start) // d + 1) / by
        tap, stop = max(0, -(start // d)), min(k, (n - 1 - start) // d + 1)
        if stop <= tap:
            return 1.0
        if header[axis + DIVISION] == INSIDE:
            return (stop - tap) / by
        total = 0.0
        for t in range(tap, stop):
            total += weights[header[axis + TAPS] + t]
        return total

    return divide


@jit.function
def survey():
    """A function that finds the windows of a segment.

    It fills `first`, `count` and `tap` of the positions `begin` to `begin + targets` and gives the range of source
    positions that they look at, and a range of the segment in which each window is that of PERIOD positions before,
    moved by SHIFT.
    """
    find = window()

    def look(header, begin, targets, first, count, tap):
        period, shift = header[PERIOD], header[SHIFT]
        low, high = header[W + SOURCES], 0
        step = header[W + STEP]
        for j in range(targets):
            f, c, t = find(header, W, begin + j)
            first[j], count[j], tap[j] = f, c, t
            if c > 0:
                low, high = min(low, f), max(high, f + (c - 1) * step + 1)
        start, best_start, best_stop = 0, 0, 0
        for j in range(targets + 1):
            p = j - period
            if j < targets and p < start:
                continue
            if j < targets and first[j] == first[p] + shift and count[j] == count[p] and tap[j] == tap[p]:
                continue
            if j - start > best_stop - best_start:
                best_start, best_stop = start, j
            start = p + 1
        return low, max(low, high), best_start, best_stop

    return look


def _divide_by(problem: PoolProblem, axis: int) -> tuple[int, int]:
    """(DIVISION, DIVISOR) of an axis."""
    operation = problem.operation
    if "max" in operation or problem.weights == "array":
        return GIVEN, 1
    if problem.weights == "gaussian":
        return WEIGHED, 1
    if problem.divisor_override is not None:
        return GIVEN, problem.divisor_override if axis == 0 else 1
    if problem.norm_type is not None:
        return PADDED, problem.kernel[axis]
    return PADDED if problem.count_include_pad and not problem.adaptive else INSIDE, 1


def gaussian(kernel: int) -> np.ndarray:
    """Weights that fall with the distance from the middle of a kernel: sigma is a quarter of it."""
    distance = np.arange(kernel) - (kernel - 1) / 2
    return np.exp(-0.5 * (distance / (kernel / 4)) ** 2)


class Windows:
    """Header and weights of a problem, for arrays with or without lanes.

    Attributes
    ----------
    weights : numpy.ndarray of float64
        The exponent p of an Lp pooling and 1 / p, a one, then the taps of each axis that has some.
    items : int
        Work items.
    extent : int
        From the first to the last position that a window looks at along a row.
    depth : int
        Additions on the way from an element to the result, if the axes are summed one after the other.
    """

    def __init__(self, problem: PoolProblem, lanes: bool) -> None:
        # An axis of one position goes first, so that rows are as long as can be.
        self._order = sorted(range(problem.ndim), key=lambda a: problem.spatial[a] > 1 or problem.out_spatial[a] > 1)
        self._last, self._lanes = problem.layout == LAST, lanes
        header = np.ones(LENGTH, np.int64)
        p = problem.norm_type or 1.0
        weights = [np.array([p, 1 / p, 1.0])]
        for at, axis in zip((W, H, D), [*reversed(self._order), None, None]):
            header[at : at + 18] = self._axis(problem, axis, sum(map(len, weights)))
            if axis is not None and problem.weights == "gaussian":
                weights.append(gaussian(problem.kernel[axis]))
        self.weights = np.concatenate(weights)
        planes, lanes_count = (1, problem.channels) if lanes else (problem.channels, 1)
        block, segment = self._sizes(header, lanes_count)
        blocks, segments = -(-lanes_count // block), -(-int(header[W + TARGETS]) // segment)
        header[: SEGMENT + 1] = problem.n, planes, lanes_count, block, blocks, segment
        header[GATHERS] = problem.backward
        self.depth = sum(self._most(header[at:]) - 1 for at in (D, H, W))
        rows = int(header[D + TARGETS]) * int(header[H + TARGETS])
        self.items = problem.n * planes * rows * segments * blocks
        self._header = header
        self._contiguous: np.ndarray | None = None

    @staticmethod
    def _axis(problem: PoolProblem, axis: int | None, taps: int) -> tuple[int, ...]:
        """The fields of an axis; None is one that is not there."""
        if axis is None:
            return (1, 1, 1, 1, ADAPTIVE, 1, 1, 0, 0, 1, 1, 0, 1, 0, GIVEN, 1, 2, 0)
        n, outputs, k = problem.spatial[axis], problem.out_spatial[axis], problem.kernel[axis]
        s, d, (before, after) = problem.stride[axis], problem.dilation[axis], problem.padding[axis]
        sides = (outputs, n, n, outputs) if problem.backward else (n, outputs, n, outputs)
        weighted = int(problem.weights is not None)
        place = taps if problem.weights == "gaussian" else 2
        mode = ADAPTIVE if problem.adaptive else BACKWARD if problem.backward else FORWARD
        g = math.gcd(s, d)
        if mode != BACKWARD:
            step, tap_step, inverse = (1 if mode == ADAPTIVE else d), weighted, 0
        else:
            step, tap_step = d // g, -(s // g) * weighted
            inverse = pow(s // g, -1, step) if step > 1 else 0
        division = _divide_by(problem, axis)
        return (*sides, mode, k, s, before, after, d, g, inverse, step, tap_step, *division, place, weighted)

    @staticmethod
    def _most(fields: np.ndarray) -> int:
        """Most positions that a window looks at along an axis."""
        k, s, d, mode = (int(fields[f]) for f in (KERNEL, STRIDE, DILATION, MODE))
        wide = -(-k // (s // math.gcd(s, d))) if mode == BACKWARD else k + 1 if mode == ADAPTIVE else k
        return min(wide, int(fields[SOURCES]))

    def _sizes(self, header: np.ndarray, lanes: int) -> tuple[int, int]:
        """Lanes of a block and positions of a segment, so that the source's positions fit into ROOM."""
        sources, targets, mode, k, s, d = (int(header[W + f]) for f in (SOURCES, TARGETS, MODE, KERNEL, STRIDE, DILATION))
        each = -(-sources // max(targets, 1)) if mode == ADAPTIVE else s
        reach = (k - 1) * d
        extent = {ADAPTIVE: each + 1, FORWARD: reach + 1, BACKWARD: reach // s + 2}[mode]
        self.extent = extent = min(extent, sources)
        block = min(lanes, LANES_AT_ONCE, max(1, ROOM // (2 * extent)))
        more = max(0, ROOM // block - extent)
        segment = more * s + 1 if mode == BACKWARD else more // each + 1
        header[PERIOD], header[SHIFT] = (s, 1) if mode == BACKWARD else (1, s)
        if mode == ADAPTIVE:
            header[SHIFT] = sources // max(targets, 1)
        return block, max(1, min(segment, WIDEST, targets))

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
        if contiguous:
            self._contiguous = header
        return header


@functools.lru_cache(maxsize=1024)
def windows(problem: PoolProblem, lanes: bool) -> Windows:
    """The windows of a problem, remembered."""
    return Windows(problem, lanes)


def has_lanes(problem: PoolProblem, x: np.ndarray) -> bool:
    """Whether a source has eight or more channels next to each other, and not the positions of a row.

    With three, an RGB picture, loops over channels are so short that strided planes are faster.
    """
    size, channel = x.dtype.itemsize, -1 if problem.layout == LAST else 1
    if problem.channels < 8 or x.strides[channel] != size:
        return False
    return problem.layout == LAST or x.strides[-1] != size
