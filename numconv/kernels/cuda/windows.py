"""The windows of a pooling as numbers and functions that are built into kernels; one and two axes enter as three.

The window of a result's position t is up to `taps` positions of the source: the j-th of them, and whether there is one.
With kernel k, stride s, dilation d, padding p before, n positions of the input and T of the output:

    forward    position t looks at t s + j d - p
    adaptive   position t looks at floor(t n / T) + j, below ceil((t + 1) n / T)
    backward   position i looks at the outputs o with o s + u d - p = i for a tap u: where d = 1 these are the last
               ceil(k / s) up to (i + p) / s; otherwise each tap is tried

So the gradient of an average gathers: it needs no atomics, and a sum has one order. The transpose of an adaptive
pooling is adaptive again, with n and T exchanged.

Channels first, each channel of each image is a picture of one channel: kernels know pictures with channels last only.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from numpy import int64, uint32, uint64

from numconv.kernels.cuda import launch
from numconv.problem import LAST, PoolProblem, remembered


class Axis(NamedTuple):
    """One axis of a pooling."""

    size: int  # of the input
    positions: int  # of the output
    kernel: int
    stride: int
    before: int
    after: int
    dilation: int
    adaptive: bool


class Geometry(NamedTuple):
    """What kernels are built for. The number of pictures is not part of it."""

    d: Axis
    h: Axis
    w: Axis
    channels: int
    backward: bool
    wide: bool  # whether an index or a position may need more than 31 bits

    @property
    def axes(self) -> tuple[Axis, Axis, Axis]:
        """d, h and w."""
        return self.d, self.h, self.w

    @property
    def sources(self) -> tuple[int, ...]:
        """Positions along each axis of what is read."""
        return tuple(axis.positions if self.backward else axis.size for axis in self.axes)

    @property
    def targets(self) -> tuple[int, ...]:
        """Positions along each axis of what is written."""
        return tuple(axis.size if self.backward else axis.positions for axis in self.axes)

    @property
    def taps(self) -> tuple[int, ...]:
        """Positions of a window along each axis, at most."""
        return tuple(map(_taps_backward if self.backward else _taps, self.axes))

    @property
    def lanes(self) -> int:
        """Channels that a thread of float32 takes: four, where that leaves none over."""
        return 1 if self.channels % 4 else 4


_POINT = Axis(1, 1, 1, 1, 0, 0, 1, False)


def _taps(axis: Axis) -> int:
    if axis.adaptive:
        n, t = axis.size, max(axis.positions, 1)
        return min(-(-n // t) + (n % t != 0), n)
    return axis.kernel


def _taps_backward(axis: Axis) -> int:
    if axis.adaptive:
        return _taps(axis._replace(size=axis.positions, positions=axis.size))
    return -(-axis.kernel // axis.stride) if axis.dilation == 1 else axis.kernel


@remembered
def geometry(problem: PoolProblem) -> Geometry:
    """That of a pooling or a gradient of one."""
    parts: Any = zip(
        problem.spatial, problem.out_spatial, problem.kernel, problem.stride, problem.padding, problem.dilation
    )
    axes = [Axis(n, t, k, s, pad[0], pad[1], d, problem.adaptive) for n, t, k, s, pad, d in parts]
    reach = [max(a.positions * a.stride, a.size) + a.before + a.after + a.kernel * a.dilation for a in axes]
    large = max(math.prod(problem.input_shape), math.prod(problem.output_shape), *reach) >= 1 << 31
    channels = problem.channels if problem.layout == LAST else 1
    d, h, w = [_POINT] * (3 - len(axes)) + axes
    return Geometry(d, h, w, channels, problem.backward, large)


@launch.function
def locate(targets: tuple[int, ...], groups: int, wide: bool) -> Any:
    """`(item) -> (picture, d, h, w, group of channels)`, the last fastest."""
    index = uint64 if wide else uint32
    depth, height, width = targets

    def find(item):
        rest, group = item, index(0)
        if groups > 1:
            group = index(rest % index(groups))
            rest = index(rest // index(groups))
        w = index(rest % index(width))
        rest = index(rest // index(width))
        h = index(rest % index(height))
        rest = index(rest // index(height))
        if depth == 1:
            return int64(rest), int64(0), int64(h), int64(w), int64(group)
        d = index(rest % index(depth))
        rest = index(rest // index(depth))
        return int64(rest), int64(d), int64(h), int64(w), int64(group)

    return find


@launch.function
def looks(axis: Axis, backward: bool, wide: bool) -> Any:
    """`(t, j) -> (position, whether there is one)`: the j-th position of the source that t looks at."""
    index = uint64 if wide else uint32
    size, positions, kernel, stride, before, _, dilation, adaptive = axis
    if adaptive:
        n, t = (positions, size) if backward else (size, positions)
        short = uint32 if (n + 1) * (t + 1) < 1 << 32 else uint64

        def region(target, j):
            position = short(short(target * n) // short(t)) + j
            return int64(position), position < short(short((target + 1) * n + t - 1) // short(t))

        return region
    if not backward:

        def window(target, j):
            position = target * stride - before + j * dilation
            return position, index(position) < index(size)

        return window
    taps = _taps_backward(axis)

    def outputs(target, j):
        place = index(target + before)
        output = int64(index(place // index(stride))) - (taps - 1 - j)
        near = index(int64(place) - output * stride) < index(kernel)
        return output, near and index(output) < index(positions)

    def each_tap(target, j):
        place = target + before - (kernel - 1 - j) * dilation
        output = int64(index(index(place) // index(stride)))
        there = place >= 0 and output * stride == place and output < positions
        return output, there

    return outputs if dilation == 1 else each_tap


@launch.function
def divisor(axis: Axis, padded: bool) -> Any:
    """`(o) -> ` how many positions count in an output's average along an axis: those in the padding too, or not."""
    size, positions, kernel, stride, before, after, dilation, adaptive = axis

    def region(o):
        return ((o + 1) * size + positions - 1) // positions - o * size // positions

    def all_taps(o):
        return min(kernel, (size + after - 1 - (o * stride - before)) // dilation + 1)

    def inside(o):
        start = o * stride - before
        first = (dilation - 1 - start) // dilation if start < 0 else 0
        return max(min(kernel, (size - 1 - start) // dilation + 1) - first, 1)

    return region if adaptive else all_taps if padded else inside


def same_divisor(axes: tuple[Axis, ...], padded: bool) -> int:
    """What every output of an average is divided by; 0 where they differ."""
    return math.prod(_same(axis, padded) for axis in axes)


def _same(axis: Axis, padded: bool) -> int:
    if axis.adaptive:
        return axis.size // axis.positions if axis.positions and axis.size % axis.positions == 0 else 0
    before, after = (0, axis.after) if padded else (axis.before, 0)
    end = (axis.positions - 1) * axis.stride - axis.before + (axis.kernel - 1) * axis.dilation
    return axis.kernel if before == 0 and end < axis.size + after else 0
