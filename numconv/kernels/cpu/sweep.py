"""The geometry that the forward and the input pass share: result positions that sweep over a source.

Both passes are, for each of a few *phases*, a correlation at a fixed step:

    result[r, start + t * step] = sum over the phase's taps and s of  weight[r, s, tap] * source[s, t * stride + offset]

Forward: one phase, step 1, offset = k * dilation - padding. Input gradient and transposed convolution: one phase for
each residue q of the result's position modulo the stride; its taps are the k with (q + padding - k * dilation) a
multiple of the stride, and offset is that quotient. So no zeros are inserted and each phase has stride 1
(the stride phases are those of the polyphase filter bank: Vaidyanathan, Multirate Systems and Filter Banks, 1993).

One and two spatial axes enter as three. Kernels get the header, a flat array read by the names below, and the tables
of phases and taps.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from numconv.kernels.cpu import jit
from numconv.kernels.cpu.memory import flat, half_kind
from numconv.kernels.phases import axis_phases
from numconv.problem import ACTIVATIONS, LAST, ConvProblem, accumulator_dtype, remembered

Strides = tuple[tuple[int, ...] | None, ...]

# Header: sizes, the source's extent and stride, weight strides, then strides and offsets of the arrays.
N, GROUPS, S, R, TAPS = 0, 1, 2, 3, 4
SOURCE_D, SOURCE_H, SOURCE_W = 5, 6, 7
STRIDE_D, STRIDE_H, STRIDE_W = 8, 9, 10
STEP_D, STEP_H, STEP_W = 11, 12, 13
WEIGHT_G, WEIGHT_R, WEIGHT_S = 14, 15, 16
X_N, X_C, X_D, X_H, X_W, X_0 = 17, 18, 19, 20, 21, 22
OUT_N, OUT_C, OUT_D, OUT_H, OUT_W, OUT_0 = 23, 24, 25, 26, 27, 28
RESIDUAL_N, RESIDUAL_C, RESIDUAL_D, RESIDUAL_H, RESIDUAL_W, RESIDUAL_0 = 29, 30, 31, 32, 33, 34
HAS_RESIDUAL, ACTIVATION, LINEAR = 35, 36, 37
LENGTH = 38
# Columns of the phases: where it starts in the result, how many positions, and its taps.
START_D, START_H, START_W, COUNT_D, COUNT_H, COUNT_W, FIRST_TAP, TAP_COUNT, FIRST_ROW = range(9)
# Columns of the taps: offset into the source, and the tap's place in the weight.
OFFSET_D, OFFSET_H, OFFSET_W, TAP = range(4)


@jit.function
def valid_range():
    """(low, high): the i of 0 <= i < length for which start + i * step lies in 0 <= . < size."""

    def clip(start, step, length, size):
        low = 0 if start >= 0 else min(-(start // step), length)
        high = 0 if start >= size else min((size - 1 - start) // step + 1, length)
        return low, max(high, low)

    return clip


class Sweep:
    """Header, phases and taps of a problem's forward or input pass.

    Attributes
    ----------
    source_channels, result_channels : int
        In each group.
    phases, taps : numpy.ndarray of int64
    rows : int
        Of one image's result along the last axis, over all phases.
    accumulator, kind, half
        The dtype that is summed in, its name, and `half_kind` of the problem's dtype.
    """

    def __init__(self, problem: ConvProblem) -> None:
        forward = problem.direction != "input"
        missing = 3 - problem.ndim
        groups = problem.groups
        co, ci = problem.co // groups, problem.ci // groups
        self.source_channels, self.result_channels = (ci, co) if forward else (co, ci)
        taps_of_kernel = math.prod(problem.kernel)
        axes: list[list[tuple[int, int, list[tuple[int, int]]]]] = [[(0, 1, [(0, 0)])] for _ in range(missing)]
        axes += [axis_phases(problem, axis) for axis in range(problem.ndim)]
        kernel = (1,) * missing + problem.kernel
        phases: list[tuple[int, ...]] = []
        taps: list[tuple[int, ...]] = []
        rows = 0
        for d, h, w in itertools.product(*axes):
            here = [
                (od, oh, ow, (kd * kernel[1] + kh) * kernel[2] + kw)
                for (od, kd), (oh, kh), (ow, kw) in itertools.product(d[2], h[2], w[2])
            ]
            phases.append((d[0], h[0], w[0], d[1], h[1], w[1], len(taps), len(here), rows))
            taps += here
            rows += d[1] * h[1]
        self.phases = np.array(phases, np.int64).reshape(-1, 9)
        self.taps = np.array(taps, np.int64).reshape(-1, 4)
        self.rows = rows
        self.row_count = np.array([rows], np.int64)
        header = np.zeros(LENGTH, np.int64)
        header[[N, GROUPS, S, R, TAPS]] = problem.n, groups, self.source_channels, self.result_channels, taps_of_kernel
        source = problem.spatial if forward else problem.out_spatial
        stride = problem.stride if forward else (1,) * problem.ndim
        step = (1,) * problem.ndim if forward else problem.stride
        header[SOURCE_D : SOURCE_W + 1] = (1,) * missing + source
        header[STRIDE_D : STRIDE_W + 1] = (1,) * missing + stride
        header[STEP_D : STEP_W + 1] = (1,) * missing + step
        header[WEIGHT_G] = co * ci * taps_of_kernel
        over_ci, over_co = taps_of_kernel, ci * taps_of_kernel
        header[WEIGHT_R], header[WEIGHT_S] = (over_co, over_ci) if forward else (over_ci, over_co)
        header[HAS_RESIDUAL] = problem.residual
        if problem.activation is not None:
            header[ACTIVATION] = 1 + list(ACTIVATIONS).index(problem.activation[0])
        self.fixed_header = header
        self._layouts = (problem.layout_in, problem.layout_out)
        self.accumulator = accumulator = accumulator_dtype(problem.dtype)
        self.half, self.kind = half_kind(problem.dtype), accumulator.name
        self.no_bias = np.zeros(groups * self.result_channels, accumulator)
        self.parameter = np.full(1, problem.activation[1] if problem.activation else 0, accumulator)
        self.headers: dict[Any, np.ndarray] = {}

    def header(self, strides: Strides, offsets: tuple[int, int, int], itemsize: int) -> np.ndarray:
        """The header for source, result and residual of these strides, in bytes, and offsets, in elements."""
        header = self.fixed_header.copy()
        layouts = (self._layouts[0], self._layouts[1], self._layouts[1])
        for first, along, offset, layout in zip((X_N, OUT_N, RESIDUAL_N), strides, offsets, layouts):
            if along is not None:
                n, *rest = (s // itemsize for s in along)
                channels, spatial = (rest[-1], rest[:-1]) if layout == LAST else (rest[0], rest[1:])
                header[first : first + 6] = (n, channels, *(0,) * (3 - len(spatial)), *spatial, offset)
        header[LINEAR] = (
            len(self.phases) == 1
            and self._rows_join(header, OUT_N)
            and (strides[2] is None or self._rows_join(header, RESIDUAL_N))
        )
        return header

    def _rows_join(self, header: np.ndarray, first: int) -> bool:
        """Whether the rows of the only phase follow each other at one stride."""
        depth, height, width = (int(c) for c in self.phases[0, COUNT_D : COUNT_W + 1])
        over_d, over_h, over_w = (int(s) for s in header[first + 2 : first + 5])
        steps = header[STEP_D : STEP_W + 1]
        return bool(
            (steps == 1).all()
            and (height * depth == 1 or over_h == width * over_w)
            and (depth == 1 or over_d == height * width * over_w)
        )


@remembered
def sweep(problem: ConvProblem) -> Sweep:
    """The sweep of a problem, remembered."""
    return Sweep(problem)


class Operands(NamedTuple):
    """What kernels of a sweep are called with, flat."""

    x: np.ndarray
    bias: np.ndarray
    residual: np.ndarray
    out: np.ndarray
    header: np.ndarray
    parameter: np.ndarray


def operands(
    problem: ConvProblem, x: np.ndarray, bias: np.ndarray | None, residual: np.ndarray | None, out: np.ndarray
) -> Operands:
    """Arrays as kernels see them; without a bias there are zeros, without a residual `out` stands for it."""
    swept = sweep(problem)
    x_flat, x_at = flat(x)
    out_flat, out_at = flat(out)
    more, more_at = (out_flat, 0) if residual is None else flat(residual)
    bias = swept.no_bias if bias is None else flat(np.ascontiguousarray(bias, swept.no_bias.dtype))[0]
    strides = (x.strides, out.strides, None if residual is None else residual.strides)
    given = (strides, x_at, out_at, more_at)
    header = swept.headers.get(given)
    if header is None:
        header = swept.header(strides, (x_at, out_at, more_at), x.itemsize)
        if len(swept.headers) < 256:
            swept.headers[given] = header
    return Operands(x_flat, bias, more, out_flat, header, swept.parameter)


@remembered
def _joined(problem: ConvProblem) -> ConvProblem | None:
    plain = set(problem.kernel) == set(problem.stride) == {1} and not any(map(any, problem.padding))
    if problem.ndim == 1 or not plain or problem.spatial != problem.out_spatial:
        return None
    size = (math.prod(problem.spatial),)
    return replace(
        problem, operation=problem.operation.replace(f"{problem.ndim}d", "1d"), spatial=size, out_spatial=size,
        kernel=(1,), stride=(1,), padding=((0, 0),), dilation=(1,),
    )  # fmt: skip


def joined(
    problem: ConvProblem, x: np.ndarray, residual: np.ndarray | None, out: np.ndarray
) -> tuple[ConvProblem, np.ndarray, np.ndarray | None, np.ndarray]:
    """A pointwise problem on contiguous arrays as one with a single spatial axis, so that runs do not end at rows."""
    line = _joined(problem)
    arrays = [a for a in (x, residual, out) if a is not None]
    if line is None or not all(a.flags.c_contiguous for a in arrays):
        return problem, x, residual, out

    def join(array: np.ndarray, layout: str) -> np.ndarray:
        shape = array.shape
        return array.reshape((shape[0], -1, shape[-1]) if layout == LAST else (*shape[:2], -1))

    more = None if residual is None else join(residual, problem.layout_out)
    return line, join(x, problem.layout_in), more, join(out, problem.layout_out)
