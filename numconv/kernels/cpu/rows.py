"""One channel to one channel: ROWS rows of the result as the channels of a register tile.

    result[R y + r, x] = sum over i, j of  weight_r[i, j] * source[R y stride + i, x stride + j],
    weight_r[i, j] = weight[i - r stride, j], or 0 outside the kernel

A single channel leaves the register tile with one row, which loads a vector for every multiplication. With R rows of
the result as R channels, whose kernels are the given one shifted down row by row, a vector meets R of them; the zeros
cost (R - 1) stride rows of the kernel, so tall kernels gain most. The problem that this makes is computed by `strip`.

NaN and Inf of the input meet those zeros, and spread up to ROWS - 1 rows further up and down than by the definition.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu.strip import Strip
from numconv.problem import FIRST, ConvProblem, remembered

ROWS = 4  # 4 x 4 vectors of sums: 15x15 on 1024x1024 takes 0.6 times what one row takes, 8 x 2 vectors 0.7 times
_STRIP = Strip()


class Parts(NamedTuple):
    """The problem for rows by ROWS, and the one for what is left of them, if any."""

    whole: ConvProblem
    rest: ConvProblem | None
    rows: int  # of the result in `whole`
    source_row: int  # of the source where `rest` begins


@remembered
def parts(problem: ConvProblem) -> Parts:
    """Cut the result after a multiple of ROWS rows."""
    high, stride, before = problem.out_spatial[-2], problem.stride[-2], problem.padding[-2][0]
    rows = high // ROWS * ROWS

    def with_axis(values: tuple, value: object) -> tuple:
        return (*values[:-2], value, values[-1])

    whole = replace(
        problem, co=ROWS, out_spatial=with_axis(problem.out_spatial, rows // ROWS),
        kernel=with_axis(problem.kernel, problem.kernel[-2] + (ROWS - 1) * stride),
        stride=with_axis(problem.stride, ROWS * stride), layout_in=FIRST, layout_out=FIRST,
    )  # fmt: skip
    if rows == high:
        return Parts(whole, None, rows, 0)
    first = rows * stride - before  # of the source's rows, may lie in the padding
    source_row = max(first, 0)
    rest = replace(
        problem, out_spatial=with_axis(problem.out_spatial, high - rows),
        spatial=with_axis(problem.spatial, problem.spatial[-2] - source_row),
        padding=with_axis(problem.padding, (source_row - first, problem.padding[-2][1])), layout_in=FIRST,
        layout_out=FIRST,
    )  # fmt: skip
    return Parts(whole, rest, rows, source_row)


class Rows(Algorithm):
    """Forward pass."""

    name = "rows"
    replays = True
    accepts = ("conv_3d_one_channel", "rank_1_7x7")

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.direction != "forward" or problem.ci != 1 or problem.co != 1:
            return f"it is not a forward pass from one channel to one: {problem.ci} to {problem.co}"
        if problem.ndim < 2 or problem.dilation[-2] != 1:
            return "there are no neighbouring rows"
        if problem.precision == "strict":
            return "precision 'strict' keeps NaN to the windows that hold it, products with zero rows of weights do not"
        if problem.out_spatial[-2] < ROWS or problem.spatial[-2] < (problem.out_spatial[-2] - 1) * problem.stride[-2]:
            return f"fewer than {ROWS} rows"
        return _STRIP.rejects(parts(problem).whole)

    def _problems(self, problem: ConvProblem) -> list[ConvProblem]:
        cut = parts(problem)
        return [cut.whole] if cut.rest is None else [cut.whole, cut.rest]

    def worker_bytes(self, problem: ConvProblem) -> int:
        return max(_STRIP.worker_bytes(p) for p in self._problems(problem))

    def items(self, problem: ConvProblem) -> int:
        return max(_STRIP.items(p) for p in self._problems(problem))

    def packed_bytes(self, problem: ConvProblem) -> int:
        return _STRIP.packed_bytes(parts(problem).whole) + _STRIP.packed_bytes(problem)

    def cost(self, problem: ConvProblem) -> float:
        return sum(_STRIP.cost(p) for p in self._problems(problem))

    def prepare(self, problem: ConvProblem, weight: np.ndarray) -> np.ndarray:
        whole, high, stride = parts(problem).whole, problem.kernel[-2], problem.stride[-2]
        shifted = np.zeros(whole.weight_shape, weight.dtype)
        for r in range(ROWS):
            shifted[r, 0, ..., r * stride : r * stride + high, :] = weight[0, 0]
        return np.concatenate([_STRIP.prepare(whole, shifted), _STRIP.prepare(problem, weight)])

    def run(self, problem, packed, x, bias, residual, out, workspace):
        cut = parts(problem)
        channel = -1 if problem.layout_in == "channels_last" else 1
        x = np.moveaxis(x, channel, 1)
        channel = -1 if problem.layout_out == "channels_last" else 1
        out = np.moveaxis(out, channel, 1)
        residual = None if residual is None else np.moveaxis(residual, channel, 1)
        size = _STRIP.packed_bytes(cut.whole) // packed.itemsize

        def by_rows(array: np.ndarray | None) -> np.ndarray | None:
            """(n, 1, ..., rows, columns) as (n, ROWS, ..., rows / ROWS, columns), a view."""
            if array is None:
                return None
            *outer, row, column = array.strides
            n, _, *deep, _, wide = array.shape
            shape, strides = (n, ROWS, *deep, cut.rows // ROWS, wide), (outer[0], row, *outer[2:], ROWS * row, column)
            return np.lib.stride_tricks.as_strided(array, shape, strides)

        biases = None if bias is None else np.repeat(bias, ROWS)
        _STRIP.run(cut.whole, packed[:size], x, biases, by_rows(residual), by_rows(out), workspace)
        if cut.rest is not None:
            below = None if residual is None else residual[..., cut.rows :, :]
            _STRIP.run(
                cut.rest, packed[size:], x[..., cut.source_row :, :], bias, below, out[..., cut.rows :, :], workspace
            )
