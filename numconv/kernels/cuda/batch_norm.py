"""Batch normalisation by running statistics, with a residual and an activation in the store.

    y = activation((x - mean) scale + shift + residual)        scale = weight / sqrt(var + eps)

for each channel. `coefficients` makes mean, scale and shift of the layer's vectors, a thread a channel. `normalise` is
bound by memory: each thread takes four neighbours at once, by 128-bit loads of float32, which are four channels where
these come last, and lie in one plane of a channel where planes are a multiple of four. The mean is subtracted first, so
that data far from zero keep their digits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda
from numpy import uint32, uint64

from numconv.kernels.cuda import epilogue, launch, ptx, values

THREADS = 256
WIDTH = 4
FOURFOLD = ("float32", "float16", "bfloat16")  # what is accessed by fours


@launch.kernel(threads=THREADS)
def coefficients(channels: int, eps: float, dtype: str, weight: bool, bias: bool) -> Any:
    """(mean, scale, shift), one after the other; arrays that are missing are given as `mean`."""
    load = values.load(dtype)
    has_weight, has_bias = weight, bias

    def body(mean, var, weight, bias, out):
        c = cuda.grid(1)
        if c < channels:
            scale = 1.0 / math.sqrt(np.float64(load(var, c)) + eps)
            if has_weight:
                scale = np.float64(load(weight, c)) * scale
            out[c] = load(mean, c)
            out[channels + c] = scale
            out[2 * channels + c] = load(bias, c) if has_bias else 0.0

    return body


@launch.kernel(threads=THREADS)
def normalise(
    channels: int, length: int, dtype: str, vector: bool, wide: bool, residual: bool, activation: str, parameter: float
) -> Any:
    """Elements in memory's order, of which `length` follow each other in one channel; four a thread where `vector`."""
    index = uint64 if wide else uint32
    number = np.float64 if dtype == "float64" else np.float32
    load, store = values.load(dtype), values.store(dtype)
    activate = epilogue.activate(activation, parameter, number.__name__)
    has_residual, last = residual, length == 1

    def value(v, residual, i, c, vectors):
        scaled = (v - vectors[c]) * vectors[index(c + index(channels))] + vectors[index(c + index(2 * channels))]
        if has_residual:
            scaled += number(load(residual, i))
        return activate(scaled)

    one = launch.inlined(value)

    def single(x, vectors, residual, out, size):
        i = index(cuda.grid(1))
        if i < size:
            c = index(index(i // index(length)) % index(channels))
            store(out, i, one(number(load(x, i)), residual, i, c, vectors))

    def fourfold(x, vectors, residual, out, size):
        i = index(index(cuda.grid(1)) * index(WIDTH))
        if i < size:
            c = index(index(i // index(length)) % index(channels))
            v = load4(x, i)
            if has_residual:
                r = load4(residual, i)
            else:
                r = (number(0), number(0), number(0), number(0))
            if last:
                mean, scale = ptx.load4(vectors, c), ptx.load4(vectors, index(c + index(channels)))
                shift = ptx.load4(vectors, index(c + index(2 * channels)))
            else:
                m, s = vectors[c], vectors[index(c + index(channels))]
                t = vectors[index(c + index(2 * channels))]
                mean, scale, shift = (m, m, m, m), (s, s, s, s), (t, t, t, t)
            store4(out, i, (
                activate((v[0] - mean[0]) * scale[0] + shift[0] + r[0]),
                activate((v[1] - mean[1]) * scale[1] + shift[1] + r[1]),
                activate((v[2] - mean[2]) * scale[2] + shift[2] + r[2]),
                activate((v[3] - mean[3]) * scale[3] + shift[3] + r[3]),
            ))  # fmt: skip

    load4, store4 = (values.load4(dtype), values.store4(dtype)) if vector else (None, None)
    body = launch.inlined(fourfold if vector else single)

    def added(x, vectors, residual, out, size):
        body(x, vectors, residual, out, size)

    def plain(x, vectors, out, size):
        body(x, vectors, x, out, size)

    return added if has_residual else plain
