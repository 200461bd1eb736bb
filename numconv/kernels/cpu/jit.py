"""Compiling: the only place for compiler flags, the cache, and a kernel's serial and parallel forms.

A kernel is written as a *factory*: a function of a few integers and strings (a tile's size, a kernel's width)
that returns the *body*, a plain Python function

    body(start, stop, worker, *arrays)

which computes the work items `start <= item < stop` and may use slice `worker` of a workspace.

    @jit.kernel
    def blur(width):
        weigh = weights(width)          # a @jit.function
        def body(start, stop, worker, x, out, geometry): ...
        return body

`blur(3)` gives a `Kernel`, the same one each time; nothing is compiled before its first call:

    k = blur(3)
    workers = jit.workers(seconds)            # 1 where the work is too small to share
    k(workers, items, x, out, geometry)       # items are split evenly over the workers

`@jit.function` does the same for a helper that kernels call: `weights(3)` is a compiled function.
Arrays are of one canonical kind: C-contiguous, writeable, aligned, native (see `memory`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from numconv.options import get_num_threads

# Reordering and contraction give the speed; nnan and ninf would break NaN and Inf.
FASTMATH = {"reassoc", "contract", "nsz"}
# A parallel region costs 2 to 3 us to enter (omp, two cores).
PARALLEL_FROM_SECONDS = 10e-6


def _compile(body: Callable[..., Any], parallel: bool = False) -> Any:
    import numba

    return numba.njit(body, fastmath=FASTMATH, error_model="numpy", nogil=True, parallel=parallel)


class Kernel:
    """A body in its serial and its parallel form, each compiled when first called."""

    def __init__(self, name: str, body: Callable[..., Any]) -> None:
        self.name = name
        self.body = body

    @functools.cached_property
    def serial(self) -> Any:
        return _compile(self.body)

    @functools.cached_property
    def parallel(self) -> Any:
        import numba

        serial = self.serial

        def parallel(workers, items, *arrays):
            for worker in numba.prange(workers):
                serial(worker * items // workers, (worker + 1) * items // workers, worker, *arrays)

        return _compile(parallel, parallel=True)

    def __call__(self, workers: int, items: int, *arrays: Any) -> None:
        if workers == 1:
            self.serial(0, items, 0, *arrays)
        else:
            self.parallel(workers, items, *arrays)


def kernel(factory: Callable[..., Callable[..., Any]]) -> Callable[..., Kernel]:
    """Decorate a factory of kernel bodies: called with its numbers it gives a `Kernel`."""

    @functools.cache
    def make(*numbers: Any) -> Kernel:
        return Kernel(f"{factory.__module__}.{factory.__name__}{numbers}", factory(*numbers))

    return functools.update_wrapper(make, factory)


def function(factory: Callable[..., Callable[..., Any]]) -> Callable[..., Any]:
    """Decorate a factory of helpers that kernels call: called with its numbers it gives a compiled function."""

    @functools.cache
    def make(*numbers: Any) -> Any:
        return _compile(factory(*numbers))

    return functools.update_wrapper(make, factory)


def workers(seconds: float) -> int:
    """How many threads work of an estimated single-thread time is worth."""
    return 1 if seconds < PARALLEL_FROM_SECONDS else get_num_threads()
