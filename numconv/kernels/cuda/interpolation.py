"""Resizing along one axis: a weighted sum over the taps of each position (see `ops.taps`).

    out[o, t, i] = sum over taps j of weight[t, j] x[o, index[t, j], i]        x: (outer, n, inner), contiguous

A thread an element; neighbours in a warp share their taps where `inner` is large, which the cache serves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda
from numpy import int64

from numconv.kernels.cuda import launch, values

THREADS = 256


@launch.kernel(threads=THREADS)
def resize(n: int, positions: int, inner: int, taps: int, dtype: str) -> Any:
    """`count` elements of the result."""
    number = np.float64 if dtype == "float64" else np.float32
    load, store = values.load(dtype), values.store(dtype)

    def body(x, index, weight, out, count):
        i = int64(cuda.grid(1))
        if i >= count:
            return
        t = i // inner % positions
        start = i // (inner * positions) * (n * inner) + i % inner
        total = number(0)
        for j in range(taps):
            total += number(weight[t * taps + j]) * number(load(x, start + int64(index[t * taps + j]) * inner))
        store(out, i, total)

    return body


@launch.kernel(threads=THREADS)
def pick(n: int, positions: int, inner: int) -> Any:
    """One tap of weight 1."""

    def body(x, index, out, count):
        i = int64(cuda.grid(1))
        if i < count:
            start = i // (inner * positions) * (n * inner) + i % inner
            out[i] = x[start + int64(index[i // inner % positions]) * inner]

    return body
