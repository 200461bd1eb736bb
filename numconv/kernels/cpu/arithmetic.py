"""Sums of two arrays of one shape: bound by memory, shared between threads."""

from __future__ import annotations

import numpy as np

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu.activation import SECONDS


@jit.kernel
def sums():
    read, write = simd.load(0), simd.store(0)

    def body(start, stop, worker, a, b, out):
        for i in range(start, stop):
            write(out, i, read(a, i) + read(b, i))

    return body


def add(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """out = a + b: flat arrays of one dtype, float32 or float64; `out` may be `a` or `b`."""
    sums()(jit.workers(3 * a.nbytes * SECONDS), a.size, a, b, out)
