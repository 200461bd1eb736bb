"""What kernels get to see of arrays: flat memory, an offset and strides counted in elements."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

_HALF_BITS = np.dtype(np.uint16)


class _Window:
    """Memory given to NumPy by its address, so that a read-only array has the type of a writeable one."""

    def __init__(self, address: int, count: int, dtype: np.dtype, owner: np.ndarray) -> None:
        self.owner = owner
        self.__array_interface__ = {"data": (address, False), "shape": (count,), "typestr": dtype.str, "version": 3}


def native(array: np.ndarray) -> np.ndarray:
    """The array in native byte order, aligned, with strides of whole elements: itself or a copy."""
    size = array.dtype.itemsize
    if array.dtype.isnative and array.flags.aligned and all(s % size == 0 for s in array.strides):
        return array
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=True)


def flat(array: np.ndarray) -> tuple[np.ndarray, int]:
    """(one-dimensional writeable window over the array's memory, offset of its first element in it).

    Half-precision types are seen as their bits. The array has been through `native`.
    """
    if array.dtype.itemsize == 2 and array.dtype.kind in "fV":
        array = array.view(_HALF_BITS)
    flags = array.flags
    if flags.c_contiguous and flags.writeable:
        return array.reshape(-1), 0
    if array.size == 0:
        return np.empty(0, array.dtype), 0
    size = array.dtype.itemsize
    low = sum((n - 1) * s for n, s in zip(array.shape, array.strides) if s < 0)
    high = sum((n - 1) * s for n, s in zip(array.shape, array.strides) if s > 0)
    address = array.__array_interface__["data"][0] + low
    return np.asarray(_Window(address, (high - low) // size + 1, array.dtype, array)), -low // size


def element_strides(array: np.ndarray) -> tuple[int, ...]:
    """Strides counted in elements."""
    size = array.dtype.itemsize
    return tuple(s // size for s in array.strides)


@functools.cache
def half_kind(dtype: np.dtype) -> int:
    """0 for types that Numba computes with, 1 for float16, 2 for bfloat16 (both seen as uint16)."""
    return {"float16": 1, "bfloat16": 2}.get(dtype.name, 0)


def aligned(count: int, dtype: Any) -> np.ndarray:
    """Uninitialised one-dimensional array, which starts on a cache line if it is longer than a page."""
    dtype = np.dtype(dtype)
    if count * dtype.itemsize < 4096:  # 0.2 us in place of 1.8
        return np.empty(count, dtype)
    raw = np.empty(count * dtype.itemsize + 64, np.uint8)
    skip = -raw.__array_interface__["data"][0] % 64
    return raw[skip : skip + count * dtype.itemsize].view(dtype)


def whole_lines(size: int) -> int:
    """Bytes rounded up to whole cache lines, so that what follows in a workspace is aligned."""
    return -(-size // 64) * 64
