"""What the algorithms of pooling share: how they are called, what they are estimated to cost."""

from __future__ import annotations

from typing import Any

from numconv.algorithm import Algorithm
from numconv.problem import PoolProblem

Arrays = tuple[Any, ...]
THREADS = 256


class PoolAlgorithm(Algorithm):
    """How a pooling, one of its gradients or an unpooling is computed.

    `run(problem, inputs, outputs)` gets tuples of batched, contiguous device arrays that begin at a multiple of 16
    bytes. Indices outside of the plane are passed over.

    =================  =====================  ======================
    operation          inputs                 outputs
    =================  =====================  ======================
    max_pool           x                      maxima, or with indices
    avg_pool           x                      result
    max_pool_input     indices, grad_output   gradient
    avg_pool_input     grad_output            gradient
    max_unpool         x, indices             result
    max_unpool_input   indices, grad_output   gradient
    =================  =====================  ======================
    """

    efficiency = 0.8  # of the memory's bandwidth; estimate, not measured

    def cost(self, problem: PoolProblem) -> float:
        """That of 3 TB/s, an H100's memory; estimate, not measured."""
        return 3e-6 + problem.bytes / (3e12 * self.efficiency)

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        """Compute into `outputs`."""
        raise NotImplementedError
