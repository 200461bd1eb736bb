"""A few channels at once: what a thread reads into, and writes from, an array in its registers.

Four neighbours go by accesses of up to 128 bits; anything else goes one by one, by unsigned indices: of a signed one
Numba asks whether it is to be counted from the end, 10 instructions for each load. 16-bit floats are widened.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import uint64

from numconv.kernels.cuda import launch, memory, ptx, values


def number_dtype(dtype: str) -> str:
    """What tiles multiply and sum in, of the name of a floating dtype."""
    return "float64" if dtype == "float64" else "float32"


def aligned(*arrays: Any) -> bool:
    """Whether four channels at once can be read and written of these arrays, those that are there."""
    return all(array is None or memory.aligned(array) for array in arrays)


def _converters(dtype: str) -> tuple[Any, Any]:
    """(element to number, number to element)."""
    if dtype == "float16":
        return ptx.half_to_float, ptx.float_to_half
    if dtype == "bfloat16":
        return ptx.bfloat_to_float, ptx.float_to_bfloat
    kind = getattr(np, dtype)
    return kind, kind


@launch.function
def read(lanes: int, stride: int, dtype: str) -> Any:
    """`read(lanes, stride, dtype)(into, i, array, index)`: into[i + v] = array[index + v * stride]."""
    if lanes == 4 and stride == 1:
        widen = _converters(dtype)[0]

        def read4(into, i, array, index):
            a, b, c, d = ptx.load4(array, index)
            into[i], into[i + 1], into[i + 2], into[i + 3] = widen(a), widen(b), widen(c), widen(d)

        return read4
    load = values.load(dtype)

    def each(into, i, array, index):
        for v in range(lanes):
            into[i + v] = load(array, uint64(index + v * stride))

    return each


@launch.function
def write(lanes: int, stride: int, dtype: str) -> Any:
    """`write(lanes, stride, dtype)(array, index, given, i)`: array[index + v * stride] = given[i + v], rounded."""
    if lanes == 4 and stride == 1:
        narrow = _converters(dtype)[1]

        def write4(array, index, given, i):
            a, b, c, d = given[i], given[i + 1], given[i + 2], given[i + 3]
            ptx.store4(array, index, (narrow(a), narrow(b), narrow(c), narrow(d)))

        return write4
    store = values.store(dtype)

    def each(array, index, given, i):
        for v in range(lanes):
            store(array, uint64(index + v * stride), given[i + v])

    return each
