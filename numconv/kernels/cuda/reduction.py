"""Sums, means and extremes along an axis, in a fixed order: results repeat bit for bit.

    out[o, i] = reduction over k of x[o, k, i]        x: (outer, n, inner), contiguous

`columns`: a thread a result, which walks along k; neighbours in a warp read neighbours where `inner` is
large.
`rows`: a block a result, of a long axis that lies in one piece: each thread takes every 256th element, and the threads'
parts are joined by halves. Sums are float64, rounded once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda
from numpy import int64

from numconv.kernels.cuda import launch, values

THREADS = 256
LONG = 64  # from so many elements in one piece on a block takes a row: estimate, not measured


@launch.function
def _join(name: str) -> Any:
    """Two parts of a reduction as one; NaN wins."""
    table = {
        "sum": lambda a, b: a + b,
        "max": lambda a, b: b if b > a or math.isnan(b) else a,
        "min": lambda a, b: b if b < a or math.isnan(b) else a,
    }
    return table["sum" if name == "mean" else name]


def _start(name: str, dtype: str) -> tuple[str, float]:
    """(dtype of computation, value of nothing)."""
    sums = values.sum_dtype(dtype)
    if name in ("sum", "mean"):
        return sums, 0
    if sums == "float64":
        return sums, -math.inf if name == "max" else math.inf
    limits = np.iinfo(np.int64)
    return sums, int(limits.min if name == "max" else limits.max)


@launch.kernel(threads=THREADS)
def columns(name: str, dtype: str, out_dtype: str, n: int, inner: int) -> Any:
    """A thread a result."""
    sums, nothing = _start(name, dtype)
    number, load, store, join = getattr(np, sums), values.load(dtype), values.store(out_dtype), _join(name)
    divisor = number(n if name == "mean" else 1)

    def body(x, out):
        i = int64(cuda.grid(1))
        if i >= out.size:
            return
        at = i // inner * (n * inner) + i % inner
        total = number(nothing)
        for k in range(n):
            total = join(total, number(load(x, at + k * inner)))
        store(out, i, total / divisor if name == "mean" else total)

    return body


@launch.kernel(threads=THREADS)
def rows(name: str, dtype: str, out_dtype: str, n: int) -> Any:
    """A block a result."""
    sums, nothing = _start(name, dtype)
    number, load, store, join = getattr(np, sums), values.load(dtype), values.store(out_dtype), _join(name)
    divisor = number(n if name == "mean" else 1)
    together = joined(name, sums)

    def body(x, out):
        thread, row = int64(cuda.threadIdx.x), int64(cuda.blockIdx.x)
        total = number(nothing)
        for k in range(thread, n, THREADS):
            total = join(total, number(load(x, row * n + k)))
        total = together(total)
        if thread == 0:
            store(out, row, total / divisor if name == "mean" else total)

    return body


@launch.function
def joined(name: str, dtype: str) -> Any:
    """`joined(name, dtype)(part)`: the parts of a block's threads as one, which every thread gets."""
    join, half = _join(name), THREADS // 2

    def together(part):
        parts = cuda.shared.array(THREADS, dtype)
        thread = int64(cuda.threadIdx.x)
        parts[thread] = part
        cuda.syncthreads()
        step = half
        while step > 0:
            if thread < step:
                parts[thread] = join(parts[thread], parts[thread + step])
            cuda.syncthreads()
            step //= 2
        total = parts[0]
        cuda.syncthreads()  # the memory is written again
        return total

    return together
