"""The geometry of a pass as numbers that are built into kernels: one `Phase` for each launch.

    result[n, r, start + t * step] = sum over taps j and s of
        weight[r, s, tap + j * tap_step] * source[n, s, t * stride + offset + j * offset_step]

along each of three axes; one and two spatial axes enter as three. Within a phase taps and offsets are regular (see
`kernels.phases`), so that no table is read. The weight pass sums over n and t, and has the forward pass's only phase.
Everything but the batch is built in. Arrays are contiguous in their layout.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

from numconv.kernels.phases import axis_phases
from numconv.problem import LAST, ConvProblem, remembered


class Axis(NamedTuple):
    """One axis of a phase."""

    positions: int
    start: int  # where they lie in the result
    step: int
    size: int  # of the source
    stride: int
    taps: int
    offset: int  # into the source, of the first tap
    offset_step: int
    tap: int  # place of the first tap in the kernel
    tap_step: int


class Strides(NamedTuple):
    """Strides of an array of images, in elements."""

    n: int
    c: int
    d: int
    h: int
    w: int


class Phase(NamedTuple):
    """One phase of a pass. Channels are those of one group."""

    d: Axis
    h: Axis
    w: Axis
    groups: int
    sources: int
    results: int
    kernel: tuple[int, int, int]
    x: Strides
    out: Strides
    weight: tuple[int, int, int]  # strides of group, result channel and source channel; taps lie next to each other
    wide: bool  # whether an index may need more than 31 bits

    @property
    def positions(self) -> int:
        """Of one image."""
        return self.d.positions * self.h.positions * self.w.positions

    @property
    def taps(self) -> int:
        """Of a result's window."""
        return self.d.taps * self.h.taps * self.w.taps

    @property
    def padded(self) -> bool:
        """Whether a tap may lie outside the source."""
        return any(_leaves(axis) for axis in (self.d, self.h, self.w))


def _leaves(axis: Axis) -> bool:
    ends = [axis.offset, axis.offset + (axis.taps - 1) * axis.offset_step]
    return axis.taps > 0 and axis.positions > 0 and (
        min(ends) < 0 or max(ends) + (axis.positions - 1) * axis.stride >= axis.size
    )  # fmt: skip


_POINT = Axis(1, 0, 1, 1, 1, 1, 0, 1, 0, 1)


def _axes(problem: ConvProblem, axis: int) -> list[Axis]:
    forward = problem.direction != "input"
    size = problem.spatial[axis] if forward else problem.out_spatial[axis]
    stride, step = (problem.stride[axis], 1) if forward else (1, problem.stride[axis])
    found = []
    for start, count, hits in axis_phases(problem, axis):
        (offset, tap), (next_offset, next_tap) = (*hits, (0, 0), (1, 1))[:2] if len(hits) != 1 else (hits[0], hits[0])
        steps = (next_offset - offset, next_tap - tap) if len(hits) > 1 else (1, 1)
        found.append(Axis(count, start, step, size, stride, len(hits), offset, steps[0], tap, steps[1]))
    return found


def strides(layout: str, channels: int, spatial: tuple[int, ...]) -> Strides:
    """Those of a contiguous array of images, of three spatial axes."""
    d, h, w = (1,) * (3 - len(spatial)) + spatial
    if layout == LAST:
        return Strides(d * h * w * channels, 1, h * w * channels, w * channels, channels)
    return Strides(channels * d * h * w, d * h * w, h * w, w, 1)


@remembered
def phases(problem: ConvProblem) -> tuple[Phase, ...]:
    """The phases of a pass, those that have positions; those without taps write the epilogue of zeros."""
    forward = problem.direction != "input"
    groups, taps = problem.groups, math.prod(problem.kernel)
    co, ci = problem.co // groups, problem.ci // groups
    over = (ci * taps, taps) if forward else (taps, ci * taps)  # the weight's strides of result and source channel
    source = (problem.ci, problem.spatial), (problem.co, problem.out_spatial)
    (source_channels, source_size), (result_channels, result_size) = source if forward else source[::-1]
    sizes = (math.prod(problem.input_shape), math.prod(problem.output_shape), math.prod(problem.weight_shape))
    rest: Any = (
        groups, *((ci, co) if forward else (co, ci)), (1,) * (3 - problem.ndim) + problem.kernel,
        strides(problem.layout_in, source_channels, source_size),
        strides(problem.layout_out, result_channels, result_size),
        (co * ci * taps, *over), max(sizes) >= 1 << 31,
    )  # fmt: skip
    axes: list[list[Axis]] = [[_POINT]] * (3 - problem.ndim) + [_axes(problem, axis) for axis in range(problem.ndim)]
    found: list[Phase] = [Phase(d, h, w, *rest) for d, h, w in itertools.product(*axes)]
    return tuple(phase for phase in found if phase.positions or problem.direction == "weight")
