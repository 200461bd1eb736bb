"""Device memory for results and workspace, used again: to map memory waits for all that the device does.

A piece goes back to the pool when no array lies in it any more, and is lent again on the stream it was lent on before,
where whoever has it next comes after all that was done with it. (An array that is also used on another stream must be
kept until that stream is done with it, as with PyTorch's allocator.)
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

LEAST = 512  # bytes of a piece: the alignment of CUDA's allocator
COARSE = 1 << 20  # pieces above are a multiple of this, those below a power of two
SHARE = 4  # at most one part in so many of the device's memory lies idle

Key = tuple[int, int, int]


def rounded(size: int) -> int:
    """The size of the piece that `size` bytes are cut from."""
    if size > COARSE:
        return -(-size // COARSE) * COARSE
    return max(LEAST, 1 << (size - 1).bit_length()) if size else LEAST


class Pool:
    """Pieces that lie idle, by device, stream and size."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finaliser may run while this thread holds it
        self._idle: dict[Key, list[Any]] = defaultdict(list)
        self.idle_bytes = 0

    def borrow(self, context: Any, stream: int, size: int) -> tuple[Key, Any]:
        """(key to give it back by, memory of Numba) of at least `size` bytes."""
        key = context.device.id, stream, rounded(size)
        with self._lock:
            if self._idle[key]:
                self.idle_bytes -= key[2]
                return key, self._idle[key].pop()
        try:
            return key, context.memalloc(key[2])
        except Exception:
            if not self.idle_bytes:
                raise
            self.drop()
            return key, context.memalloc(key[2])

    def give_back(self, key: Key, piece: Any, most: float) -> None:
        """Return what was borrowed; where more than `most` bytes would lie idle, it goes back to the driver."""
        with self._lock:
            if self.idle_bytes + key[2] <= most:
                self.idle_bytes += key[2]
                self._idle[key].append(piece)

    def drop(self) -> None:
        """Return all that is idle to the driver."""
        with self._lock:
            self._idle.clear()
            self.idle_bytes = 0


class PrivatePool(Pool):
    """A pool of one user, which may keep addresses of it: nothing goes back to the driver while it lives."""

    def __init__(self) -> None:
        super().__init__()
        self._spans: list[tuple[int, int]] = []

    def borrow(self, context: Any, stream: int, size: int) -> tuple[Key, Any]:
        key, piece = super().borrow(context, stream, size)
        span = int(piece.device_pointer), int(piece.device_pointer) + key[2]
        if span not in self._spans:
            self._spans.append(span)
        return key, piece

    def give_back(self, key: Key, piece: Any, most: float) -> None:
        super().give_back(key, piece, math.inf)

    def drop(self) -> None:
        """Keep everything: addresses are known elsewhere."""

    def holds(self, address: int) -> bool:
        """Whether an address lies in a piece of the pool."""
        return any(start <= address < stop for start, stop in self._spans)


shared = Pool()
_lending: ContextVar[Pool] = ContextVar("numconv_pool", default=shared)


@contextlib.contextmanager
def lending(pool: Pool) -> Iterator[None]:
    """Lend from this pool within the block."""
    token = _lending.set(pool)
    try:
        yield
    finally:
        _lending.reset(token)


def lend(size: int, stream: int) -> Any:
    """Memory of Numba for an array on a stream of the current device, from a pool and back to it."""
    from numba import cuda
    from numba.cuda.cudadrv.driver import MemoryPointer

    context, pool = cuda.current_context(), _lending.get()
    key, piece = pool.borrow(context, stream, size)
    most = context.get_memory_info().total // SHARE if key[2] > COARSE else 1 << 62
    back = partial(pool.give_back, key, piece, most)
    return MemoryPointer(context, piece.device_pointer, size, finalizer=back)
