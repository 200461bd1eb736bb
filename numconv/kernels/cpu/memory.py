"""Memory: what kernels get to see of arrays (flat, an offset, strides counted in elements), and the pool.

The pool lends workspace and the memory of large results. Pages are mapped when they are first touched, which takes
longer than to convolve into them: 65 MB are filled in 5.3 ms fresh and in 2.1 ms used again.
"""

from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.options import options

_HALF_BITS = np.dtype(np.uint16)
LARGE = 1 << 20  # bytes of results and packed weights from which on their memory is used again
SMALL = 1 << 16  # bytes of workspace that are not worth a search


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
    size = count * dtype.itemsize
    if size < 4096:  # 0.2 us in place of 1.8
        return np.empty(count, dtype)
    return (_used_again(size) if size >= LARGE else _piece(size)).view(dtype)


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Uninitialised array for a result."""
    size = math.prod(shape) * dtype.itemsize
    return np.empty(shape, dtype) if size < LARGE else np.ndarray(shape, dtype, _used_again(size))


def _piece(size: int) -> np.ndarray:
    raw = np.empty(size + 64, np.uint8)
    skip = -raw.__array_interface__["data"][0] % 64
    return raw[skip : skip + size]


def whole_lines(size: int) -> int:
    """Bytes rounded up to whole cache lines, so that what follows in a workspace is aligned."""
    return -(-size // 64) * 64


class Pool:
    """Memory, lent to one user at a time; what lies idle is kept, at most one workspace limit of it.

    Pieces of `SMALL` bytes, of which there are never more than calls at a time, lie apart: to get one takes no lock.
    """

    def __init__(self) -> None:
        self._small: list[np.ndarray] = []
        self._idle: list[np.ndarray] = []
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it

    def borrow(self, size: int, most: int = 0) -> np.ndarray:
        """At least `size` bytes: the smallest idle piece of that many and at most `most`, or a new one.

        Without `most`, workspace leaves pieces of more than twice its size and a megabyte to results: it would take the
        one that a result came back in, and each call would map new memory for the next, 13 ms in place of 3 for 65 MB.
        """
        if size <= SMALL:
            try:
                return self._small.pop()
            except IndexError:
                return _piece(SMALL)
        most = most or 2 * size + LARGE
        with self._lock:
            best = -1
            for i, piece in enumerate(self._idle):
                if size <= piece.size <= most and (best < 0 or piece.size < self._idle[best].size):
                    best = i
            if best >= 0:
                return self._idle.pop(best)
        return _piece(-(-size // 4096) * 4096)

    def give_back(self, piece: np.ndarray) -> None:
        """Return what was borrowed. The oldest idle pieces are dropped where all are above the limit."""
        if piece.size == SMALL:
            if (len(self._small) + 1) * SMALL <= options.workspace_limit:
                self._small.append(piece)
            return
        with self._lock:
            self._keep(piece)

    def offer(self, piece: np.ndarray) -> None:
        """Return what was borrowed, unless the pool is in use: the caller may be the one who uses it."""
        if self._lock.acquire(blocking=False):
            try:
                self._keep(piece)
            finally:
                self._lock.release()

    def _keep(self, piece: np.ndarray) -> None:
        room = options.workspace_limit - len(self._small) * SMALL
        if piece.size <= room:
            self._idle.append(piece)
        while sum([idle.size for idle in self._idle]) > room:
            self._idle.pop(0)


pool = Pool()


class _Loan:
    """What NumPy holds on to while an array, or a view of it, lies in a piece of the pool."""

    def __init__(self, piece: np.ndarray) -> None:
        self.piece = piece
        address = piece.__array_interface__["data"]
        self.__array_interface__ = {"data": address, "shape": piece.shape, "typestr": "|u1", "version": 3}

    def __del__(self, offer: Callable[[np.ndarray], None] = pool.offer) -> None:
        # Garbage is collected at any time, also while this thread holds the pool's lock.
        offer(self.piece)


def _used_again(size: int) -> np.ndarray:
    """`size` bytes of a piece that goes back to the pool when no array lies in it any more."""
    return np.asarray(_Loan(pool.borrow(size, size + size // 8)))[:size]
