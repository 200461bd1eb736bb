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


def products(depth: int, a_row: int, b_row: int) -> Any:
    """Of `gemm_tile`: a thread's products of a slice, added up in float64."""
    place = np.array((0, 1, 2, 3, 16, 17, 18, 19)), np.array((0, 1, 2, 3, 32, 33, 34, 35))
    from_a, from_b = (row * np.arange(depth)[:, None] + at for row, at in zip((a_row, b_row), place))

    def multiply(a: Any, b: Any, i: Any, j: Any, sums: Any) -> None:
        left, right = (v.array[at + start].astype(np.float64) for v, at, start in ((a, from_a, i), (b, from_b, j)))
        sums.array[:] += (left.T @ right).reshape(-1)

    return multiply
