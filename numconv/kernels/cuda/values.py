"""Elements of an array as numbers to compute with: 16-bit floats are widened to float32, and rounded once.

Indices are taken as unsigned: Numba lets signed ones count from the end, which costs four instructions an access.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import uint64

from numconv.kernels.cuda import launch, ptx


def sum_dtype(dtype: str) -> str:
    """What direct summation sums in, of the name of a dtype: float64, int64 or complex128."""
    kind = "f" if dtype == "bfloat16" else np.dtype(dtype).kind
    return {"c": "complex128", "i": "int64", "u": "int64"}.get(kind, "float64")


@launch.function
def load(dtype: str) -> Any:
    """`load(dtype)(array, i)`: the element as a number."""
    if dtype == "float16":
        widen = ptx.half_to_float
    elif dtype == "bfloat16":
        widen = ptx.bfloat_to_float
    else:
        return lambda array, i: array[uint64(i)]

    def loaded(array, i):
        return widen(array[uint64(i)])

    return loaded


@launch.function
def store(dtype: str) -> Any:
    """`store(dtype)(array, i, value)`: the number rounded to the element's type."""
    if dtype in ("float16", "bfloat16"):
        narrow = ptx.float_to_half if dtype == "float16" else ptx.float_to_bfloat

        def stored(array, i, value):
            array[uint64(i)] = narrow(np.float32(value))

    else:
        kind = getattr(np, dtype)

        def stored(array, i, value):
            array[uint64(i)] = kind(value)

    return stored


@launch.function
def load4(dtype: str) -> Any:
    """`load4(dtype)(array, i)`: four neighbouring floats as float32, by one load; `i` is a multiple of 4."""
    widen = ptx.half_to_float if dtype == "float16" else ptx.bfloat_to_float

    def whole(array, i):
        return ptx.load4(array, i)

    def widened(array, i):
        a, b, c, d = ptx.load4_bits(array, i)
        return widen(a), widen(b), widen(c), widen(d)

    return whole if dtype == "float32" else widened


@launch.function
def store4(dtype: str) -> Any:
    """`store4(dtype)(array, i, values)`: four float32 rounded to neighbouring elements, by one store."""
    narrow = ptx.float_to_half if dtype == "float16" else ptx.float_to_bfloat

    def whole(array, i, values):
        ptx.store4(array, i, values)

    def narrowed(array, i, values):
        a, b, c, d = values
        ptx.store4_bits(array, i, (narrow(a), narrow(b), narrow(c), narrow(d)))

    return whole if dtype == "float32" else narrowed
