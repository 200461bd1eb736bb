"""Memory between pages that must not be touched: reading or writing past a buffer ends the process there and then."""

from __future__ import annotations

import ctypes
import functools
import math
import mmap
import os
from typing import Any

import numpy as np

PAGE = mmap.PAGESIZE
CANARY = 0xA5  # what lies beside a buffer in its pages
POISON = 0xFF  # what lies in one: NaN, and -1


class Trespass(Exception):
    """Bytes beside a buffer were changed."""


@functools.cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


def _close(address: int, size: int) -> None:
    if _libc().mprotect(address, size, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def room(size: int, at_end: bool, align: int = 1) -> tuple[np.ndarray, list[np.ndarray]]:
    """(`size` bytes of poison between two forbidden pages, what is left of their pages, before and after).

    They end at the second forbidden page, or begin after the first; with `align`, at a multiple of it. What is left
    holds the canary.
    """
    pages = max(-(-size // PAGE), 1) * PAGE
    memory = np.frombuffer(mmap.mmap(-1, pages + 2 * PAGE), np.uint8)
    start = memory.__array_interface__["data"][0]
    memory[PAGE : PAGE + pages] = CANARY
    _close(start, PAGE)
    _close(start + PAGE + pages, PAGE)
    first = PAGE + ((pages - size) // align * align if at_end else 0)
    inside = memory[first : first + size]
    inside[...] = POISON
    return inside, [memory[PAGE:first], memory[first + size : PAGE + pages]]


class Fence:
    """Places arrays in guarded memory and checks afterwards that what is around them in their pages is as it was."""

    def __init__(self, at_end: bool) -> None:
        self.at_end = at_end
        self.around: list[tuple[str, np.ndarray, np.ndarray]] = []

    def empty(self, shape: tuple[int, ...], dtype: Any, align: int = 1, name: str = "a buffer") -> np.ndarray:
        dtype = np.dtype(dtype)
        inside, (before, after) = room(math.prod(shape) * dtype.itemsize, self.at_end, align)
        self.around.append((name, before, after))
        return inside.view(dtype).reshape(shape)

    def copy(self, array: np.ndarray, name: str = "a buffer") -> np.ndarray:
        placed = self.empty(array.shape, array.dtype, name=name)
        placed[...] = array
        return placed

    def aligned(self, count: int, dtype: Any) -> np.ndarray:
        """In place of `memory.aligned`."""
        return self.empty((count,), dtype, 64)

    def check(self) -> None:
        """Raise `Trespass` if bytes beside a buffer were changed."""
        for name, before, after in self.around:
            if not (before == CANARY).all():
                at = before.size - int(np.flatnonzero(before != CANARY)[-1])
                raise Trespass(f"bytes beside {name} were changed, such as the one {at} before its first")
            if not (after == CANARY).all():
                at = int(np.flatnonzero(after != CANARY)[0]) + 1
                raise Trespass(f"bytes beside {name} were changed, such as the one {at} after its last")
