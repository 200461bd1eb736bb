"""What the algorithms of pooling share: how they are called and what they are estimated to cost."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import jit
from numconv.kernels.cpu import windows as win
from numconv.kernels.cpu.memory import flat
from numconv.kernels.cpu.replay import TABLE, noting, replay
from numconv.kernels.cpu.window_axes import most, row_order
from numconv.options import options
from numconv.problem import LAST, PoolProblem

Arrays = tuple[np.ndarray, ...]


def _operands(*arrays: np.ndarray) -> list[np.ndarray]:
    """Arrays as kernels get them. Indices stand apart from tables by their type."""
    return [array.view(np.uint64) if array.dtype == TABLE else array for array in arrays]


class PoolAlgorithm(Algorithm):
    """How a pooling, one of its gradients or an unpooling is computed.

    `run(problem, inputs, outputs)` gets tuples of batched, native arrays. Outputs are C-contiguous. Where indices come
    in, `outside` is one number, 0, to be set to 1 if one of them is outside its plane: such are passed over.

    =====================  ==============================  ======================
    operation              inputs                          outputs
    =====================  ==============================  ======================
    max_pool               x                               maxima, or with indices
    avg_pool, lp_pool      x                               result
    weighted_avg_pool      x, or x and weights             result
    max_pool_input         indices, grad_output            gradient, outside
    avg_pool_input         grad_output                     gradient
    weighted..._input      grad_output, or with weights    gradient
    lp_pool_input          x, grad_output                  gradient
    max_unpool             x, indices                      result, outside
    max_unpool_input       indices, grad_output            gradient, outside
    =====================  ==============================  ======================
    """

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        """Compute into `outputs`."""
        raise NotImplementedError

    def first_run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> Callable[..., None] | None:
        """Run, and give what launches the kernels again for (*inputs, *outputs) that lie alike, where that is safe.

        Asked only where `replays`.
        """
        with noting() as launches:
            self.run(problem, inputs, outputs)
        again = replay(launches, _operands(*inputs, *outputs), ())
        return None if again is None else lambda *arrays: again[0](*_operands(*arrays), None)

    def launch(self, problem: PoolProblem, kernel: Any, x: np.ndarray, out: np.ndarray, *others: Any) -> None:
        """Call a kernel (x, out, header, places, segments, factors, *others) on each part of a problem's windows."""
        (source, x0), (target, out0) = flat(x), flat(out)
        workers = jit.workers(self.cost(problem))
        for part in win.parts(problem, win.has_lanes(problem, x)):
            header = part.header(x, x0, out, out0)
            kernel(workers, part.items, source, target, header, part.places, part.segments, part.factors, *others)


def pieces(problem: PoolProblem, each: int) -> Iterator[tuple[PoolProblem, Callable[[np.ndarray], np.ndarray]]]:
    """A problem in pieces that fit into half of the workspace, at `each` bytes a channel: images, or channels of one.

    Yields the problem of a piece and a function that cuts it out of an array.
    """
    most, channels = max(1, options.workspace_limit // 2 // each), problem.channels
    images, some = max(1, most // max(channels, 1)), min(channels, most)
    for n in range(0, problem.n, images):
        for c in range(0, channels, some):
            some_n, some_c = slice(n, n + images), slice(c, c + some)
            here = (some_n, ..., some_c) if problem.layout == LAST else (some_n, some_c)
            count = min(images, problem.n - n), min(some, channels - c)
            yield replace(problem, n=count[0], channels=count[1]), operator.itemgetter(here)


@functools.lru_cache(maxsize=1024)
def estimate(problem: PoolProblem) -> tuple[float, float]:
    """Seconds that the separable and the direct sum of windows take on one core.

    Fitted to single-threaded times from 5 us to 1 ms of 3x3, 2x2, 10x10 to 50x50 and whole-image windows in both
    layouts, to a factor of two where it decides; maxima take twice as long.
    """
    row = row_order(problem)[-1]
    sources, targets = problem.spatial, problem.out_spatial
    if problem.backward:
        sources, targets = targets, sources
    taps = [most(problem, axis) for axis in range(problem.ndim)]
    results = problem.n * problem.channels * math.prod(targets)
    rows = results // max(targets[row], 1)
    above = math.prod(taps) // taps[row]
    if problem.layout == LAST and problem.channels >= 8:
        separable = 0.04 * rows * above * sources[row] + results * (0.3 + 0.1 * taps[row])
        direct = results * (1.2 + 0.1 * math.prod(taps))
    else:
        separable = rows * (60 + 1.6 * taps[row] + above * (8 + 0.06 * sources[row])) + results * (
            0.6 + 0.12 * taps[row]
        )
        direct = results * (12 + above * (4 + 0.14 * taps[row]))
    return separable * 1e-9, direct * 1e-9
