"""Numba's simulator, made strict: what a GPU would leave to chance is an error here.

A block's threads run one at a time, each until it waits or ends: so the first is as far ahead of the last as it can be,
and a missing barrier gives a wrong result each time. Shared and local memory hold NaN, or the largest integer, before
they are written; a negative index is an error, like one past the end; where some threads of a block end without having
come to the barrier that the others wait at, that is an error too.

Where a kernel's code names nothing that waits, its threads are called one after another, which is ten times as fast.

Threads may also wait for their warp (`wait("warp")`), which Numba's simulator does not know: `ptx` needs it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
from numba.cuda.np import numpy_support
from numba.cuda.simulator import kernel, kernelapi
from numba.cuda.types import Type

from numconv.kernels.cuda import emulated
from numconv.kernels.cuda.running import Running, this

WARP = 32
WAITING = {"syncthreads", "syncwarp", *emulated.COLLECTIVE}
_lock = threading.Lock()  # Numba simulates one kernel at a time


class GuardedArray:
    """An array of which indices are from 0 to the size, and of its parts too."""

    __slots__ = ("array", "dtype", "ndim", "shape", "size")

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.size, self.shape, self.dtype = array, array.size, array.shape, array.dtype
        self.ndim = array.ndim

    def __getitem__(self, index: Any) -> Any:
        self._check(index)
        value = self.array[index]
        return GuardedArray(value) if isinstance(value, np.ndarray) else value

    def __setitem__(self, index: Any, value: Any) -> None:
        self._check(index)
        self.array[index] = value

    def __len__(self) -> int:
        return len(self.array)

    def _check(self, index: Any) -> None:
        for i in index if isinstance(index, tuple) else (index,):
            if not isinstance(i, slice) and i < 0:
                raise IndexError(f"index {index} is negative, in an array of shape {self.shape}")


def _poisoned(shape: Any, dtype: Any) -> GuardedArray:
    """Memory that nobody has written yet."""
    dtype = np.dtype(numpy_support.as_dtype(dtype) if isinstance(dtype, Type) else dtype)
    poison = np.nan if dtype.kind in "fc" else np.iinfo(dtype).max
    return GuardedArray(np.full(shape, poison, dtype))


class _Local:
    def array(self, shape: Any, dtype: Any, alignment: Any = None) -> GuardedArray:
        return _poisoned(shape, dtype)


class _Shared:
    """Shared arrays, one for each call in the code."""

    def __init__(self) -> None:
        self._arrays: dict[Any, GuardedArray] = {}

    def array(self, shape: Any, dtype: Any, alignment: Any = None) -> GuardedArray:
        caller = sys._getframe(1)
        place = caller.f_code, caller.f_lasti
        if place not in self._arrays:
            self._arrays[place] = _poisoned(shape, dtype)
        return self._arrays[place]


class Thread(threading.Thread):
    """A thread of a block: it runs while it holds the baton, which it hands back when it waits or ends."""

    def __init__(self, run: Callable[[], None], block: kernelapi.Dim3, at: kernelapi.Dim3, rank: int) -> None:
        super().__init__(daemon=True)
        self.blockIdx, self.threadIdx, self.thread_id = block, at, rank
        self.waits = ""  # for whom: "block" or "warp"
        self.pending: list[list[Callable[[], None]]] = [[]]  # groups of asynchronous copies, the last one open
        self.meetings = 0  # how often it met its warp
        self.met: dict[int, Any] = {}  # what its warp does together, by that number; the warp's threads share it
        self.error: BaseException | None = None
        self._function = run
        self._baton, self._back = threading.Semaphore(0), threading.Semaphore(0)

    def run(self) -> None:
        self._baton.acquire()
        try:
            with np.errstate(all="ignore"):
                self._function()
        except BaseException as error:
            self.error = error
        self._back.release()

    def step(self) -> None:
        """Let it run until it waits or ends."""
        self.waits = ""
        Running.thread = self
        self._baton.release()
        self._back.acquire()
        if self.error is not None:
            where = f"thread {tuple(self.threadIdx)} of block {tuple(self.blockIdx)}"
            raise type(self.error)(f"{where}: {self.error}") from self.error

    def call(self) -> None:
        """Run it here, to its end."""
        Running.thread = self
        try:
            self._function()
        except Exception as error:
            where = f"thread {tuple(self.threadIdx)} of block {tuple(self.blockIdx)}"
            raise type(error)(f"{where}: {error}") from error

    def wait(self, whom: str) -> None:
        self.waits = whom
        self._back.release()
        self._baton.acquire()


def waits(function: Any, seen: set[int] | None = None) -> bool:
    """Whether the code of a function, or of one that it may call, names something that waits."""
    seen = set() if seen is None else seen
    function = getattr(function, "py_func", function)
    if id(function) in seen or not hasattr(function, "__code__"):
        return False
    seen.add(id(function))
    names = function.__code__.co_names
    if WAITING.intersection(names):
        return True
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return any(waits(other, seen) for other in (*cells, *map(function.__globals__.get, names)))


class _Module(kernelapi.FakeCUDAModule):
    """What stands for `numba.cuda` inside of a kernel while a block runs."""

    def __init__(self, grid: Any, block: Any) -> None:
        super().__init__(grid, block, 0)
        self._shared, self._local = _Shared(), _Local()

    @property
    def threadIdx(self) -> kernelapi.Dim3:
        return this().threadIdx

    @property
    def blockIdx(self) -> kernelapi.Dim3:
        return this().blockIdx

    @property
    def laneid(self) -> int:
        return this().thread_id % WARP

    def syncthreads(self) -> None:
        this().wait("block")

    def syncwarp(self, mask: int = 0xFFFFFFFF) -> None:
        this().wait("warp")

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return type(c)(np.float64(a) * np.float64(b) + np.float64(c))


def simulate(body: Callable[..., Any], grid: Any, block: Any, arguments: tuple[Any, ...]) -> None:
    """Run a kernel, block after block."""
    grid, block = kernel.normalize_kernel_dimensions(grid, block)
    given = [_guarded(argument) for argument in arguments]
    waiting = waits(body)
    modules = [m for name, m in sys.modules.items() if name.startswith("numconv.kernels.cuda") and m is not None]
    with _lock:
        for point in np.ndindex(*grid):
            fake = _Module(grid, block)
            with kernel._push_kernel_context(fake), ExitStack() as stack:
                for module in {id(vars(m)): vars(m) for m in modules}.values():
                    stack.enter_context(kernelapi.swapped_cuda_module(_Globals(module), fake))
                stack.enter_context(kernelapi.swapped_cuda_module(body, fake))
                _run_block(lambda: body(*given), waiting, kernelapi.Dim3(*point), block)


class _Globals:
    """What has a module's globals, as a function has."""

    def __init__(self, globals_: dict[str, Any]) -> None:
        self.__globals__ = globals_


def _guarded(argument: Any) -> Any:
    array = getattr(argument, "_ary", argument)
    return GuardedArray(array) if type(array) is np.ndarray else argument


def _ranks(block: tuple[int, int, int]) -> Iterator[kernelapi.Dim3]:
    for z, y, x in np.ndindex(*reversed(block)):
        yield kernelapi.Dim3(x, y, z)


def _run_block(
    body: Callable[[], None], waiting: bool, point: kernelapi.Dim3, block: tuple[int, int, int]
) -> None:  # fmt: skip
    threads = [Thread(body, point, at, rank) for rank, at in enumerate(_ranks(block))]
    if not waiting:
        with np.errstate(all="ignore"):
            for thread in threads:
                thread.call()
        return
    groups = [threads[i : i + WARP] for i in range(0, len(threads), WARP)]
    for group in groups:
        for thread in group:
            thread.met = group[0].met
    for thread in threads:
        thread.start()
    while True:
        for group in groups:
            _advance(group)
        waiting_for = {thread.waits for thread in threads}
        if waiting_for == {""}:
            return
        if waiting_for != {"block"}:
            stuck = [f"{tuple(t.threadIdx)} waits for its {t.waits}" for t in threads if t.waits]
            raise RuntimeError(f"block {tuple(point)} is stuck while other threads have ended: {', '.join(stuck[:9])}")


def _advance(group: list[Thread]) -> None:
    """Let a warp run until it waits for the block or has ended: far ahead of the next one."""
    for thread in group:
        thread.step()
    while all(thread.waits == "warp" for thread in group):
        for thread in group:
            thread.step()
