"""What the intrinsics of `ptx` do, in Python, for the simulator. Wide accesses that are not aligned are errors."""

from __future__ import annotations

from typing import Any

import numpy as np

# What a whole warp does together, by name: the simulator must run its threads as threads.
COLLECTIVE: tuple[str, ...] = ()


def half_to_float(bits: Any) -> np.float32:
    return np.float32(np.uint16(bits).view(np.float16))


def float_to_half(value: Any) -> np.uint16:
    return np.float16(value).view(np.uint16)


def bfloat_to_float(bits: Any) -> np.float32:
    return (np.uint32(bits) << np.uint32(16)).view(np.float32)


def float_to_bfloat(value: Any) -> np.uint16:
    bits = np.float32(value).view(np.uint32)
    if np.isnan(value):
        return np.uint16(0x7FFF)
    rounded = int(bits) + 0x7FFF + (int(bits) >> 16 & 1)  # to nearest, ties to even
    return np.uint16(rounded >> 16 & 0xFFFF)


def _aligned(array: Any, index: Any, count: int) -> slice:
    if index % count:
        raise IndexError(f"an access of {count} elements at index {index}, which is no multiple of it")
    if index < 0 or index + count > array.size:
        raise IndexError(f"an access of {count} elements at index {index} of {array.size}")
    return slice(int(index), int(index) + count)


def load4(array: Any, index: Any) -> tuple[Any, ...]:
    return tuple(array.array[_aligned(array, index, 4)])


def store4(array: Any, index: Any, values: Any) -> None:
    array.array[_aligned(array, index, 4)] = values


def outer(sums: Any, a0: Any, a1: Any, b0: Any, b1: Any) -> None:
    """Of `gemm_tile`: 8 by 8 sums and their products, which are rounded with the sums."""
    products = np.outer(np.array(a0 + a1, np.float64), np.array(b0 + b1, np.float64))
    sums.array[:] = sums.array + products.reshape(-1)
