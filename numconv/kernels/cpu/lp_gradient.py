"""The gradient of Lp pooling, by two sums over windows.

With y the pooling's result, k the kernel's positions and s those of a window inside the padded source,

    dy/dx = y^(1 - p) x^(p - 1) k / s

so the gradient is x^(p - 1) times the gradient of an average that is given grad_output y^(1 - p). Where a window sums
to 0 it is 0, as in PyTorch. Powers need range: all of it is done in float64, some images or channels at a time.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from numconv.kernels.cpu.pooling import Arrays, PoolAlgorithm, pieces
from numconv.problem import PoolProblem


class LpGradient(PoolAlgorithm):
    """Both sums by one algorithm."""

    def __init__(self, sums: PoolAlgorithm) -> None:
        self.name = sums.name
        self._sums = sums

    def rejects(self, problem: PoolProblem) -> str | None:
        return self._sums.rejects(problem) or self._sums.rejects(_forward(problem))

    def cost(self, problem: PoolProblem) -> float:
        return self._sums.cost(problem) + self._sums.cost(_forward(problem))

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        p = problem.norm_type or 1.0
        each = 8 * (3 * math.prod(problem.spatial) + 3 * math.prod(problem.out_spatial))
        for piece, cut in pieces(replace(problem, dtype=np.dtype(np.float64)), each):
            x, grad_output = (np.array(cut(array), np.float64, order="C") for array in inputs)
            y = np.empty(piece.output_shape)
            self._sums.run(_forward(piece), (x,), (y,))
            with np.errstate(all="ignore"):
                zero = y == 0
                y **= 1 - p
                y *= grad_output
                y[zero] = 0
                gradient = np.empty(piece.input_shape)
                self._sums.run(piece, (y,), (gradient,))
                if p != 1:
                    x **= p - 1
                    gradient *= x
                cut(outputs[0])[...] = gradient


def _forward(problem: PoolProblem) -> PoolProblem:
    return replace(problem, operation=problem.operation.removesuffix("_input"))
