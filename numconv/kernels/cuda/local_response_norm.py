"""Local response normalisation over neighbouring channels (Krizhevsky, Sutskever and Hinton 2012).

    y = x / (k + alpha / size * sum over the window of x^2)^beta

A thread an element, which reads its window of channels again: neighbours' reads hit the cache.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda
from numpy import uint32, uint64

from numconv.kernels.cuda import launch, values

THREADS = 256


@launch.kernel(threads=THREADS)
def normalise(
    channels: int, length: int, size: int, alpha: float, beta: float, k: float, dtype: str, wide: bool
) -> Any:
    """`count` elements in memory's order, of which `length` follow each other in one channel."""
    index = uint64 if wide else uint32
    number = np.float64 if dtype == "float64" else np.float32
    load, store = values.load(dtype), values.store(dtype)
    before, after = size // 2, (size - 1) // 2
    factor, offset, power = number(alpha / size), number(k), number(-beta)

    def body(x, out, count):
        i = index(cuda.grid(1))
        if i < count:
            c = index(index(i // index(length)) % index(channels))
            total = number(0)
            for j in range(before + after + 1):
                near = index(c + index(j))  # the channel, plus `before`
                if near >= index(before) and near < index(before + channels):
                    v = number(load(x, index(index(i + index(j * length)) - index(before * length))))
                    total += v * v
            store(out, i, number(load(x, i)) * number(math.pow(offset + factor * total, power)))

    return body
