"""Compiling and launching: the only place for compiler flags, streams, and what stands in for a GPU.

A kernel is written as a *factory*: a function of integers and strings (a tile's size, a problem's geometry) that
returns the *body*, a function as `cuda.jit` takes it, of flat arrays and integers.

    @launch.kernel(threads=256)
    def scale(factor):
        def body(x, out):
            i = cuda.grid(1)
            if i < out.size:
                out[i] = x[i] * factor
        return body

`scale(3)` gives a `Kernel`, the same one each time; nothing is compiled before its first call:

    scale(3)(blocks, 256, x, out)             # on the current stream

`@launch.function` does the same for a helper that kernels call. Arrays are one-dimensional (see `memory.flat`); 16-bit
floats are seen as uint16. `threads` are the most that a block has: the compiler then knows how many registers it may
use; with `(threads, blocks)` so many blocks share a multiprocessor. They may be given as a function of the numbers.

Integers: Numba computes with 64 bits. `uint32(...)` around an expression of unsigned 32-bit parts lets the compiler do
it in 32, and what is unsigned needs no signed division: one kernel had 32 instructions where the signed one had 48.

Loops: of a `range` that is not unrolled completely the compiler keeps Numba's two counters, which cost 8 instructions a
turn: a dot product had 192 for 16 products, and 67 as a `while` loop. What runs often and long is a `while` loop.

There are two stand-ins for a GPU. With `NUMBA_ENABLE_CUDASIM=1` kernels run in Numba's simulator (see `simulator`).
Within `recorded()` nothing runs: launches are noted, so that every kernel that a problem needs can be compiled
(`Kernel.ptx`) and looked at on a machine without a GPU.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

from numconv import forks
from numconv.kernels.cuda import toolkit

toolkit.load()

from numba import cuda  # noqa: E402
from numba.cuda.core import config  # noqa: E402

_LIMIT = 256  # grids that a kernel remembers
simulated = toolkit.simulated()
# What kernels run on: 0 is the default stream.
stream: ContextVar[Any] = ContextVar("numconv_stream", default=0)
_launches: ContextVar[list[Launch] | None] = ContextVar("numconv_launches", default=None)
_listener: ContextVar[Callable[..., None] | None] = ContextVar("numconv_listener", default=None)


class Launch(NamedTuple):
    """A launch that was noted in place of being done: `types` are those of the arguments."""

    kernel: Kernel
    grid: Any
    block: Any
    types: tuple[Any, ...]


@contextlib.contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Note the launches of the block, in order, and do none of them."""
    launches: list[Launch] = []
    token = _launches.set(launches)
    try:
        yield launches
    finally:
        _launches.reset(token)


def recording() -> bool:
    """Whether launches are noted and not done."""
    return _launches.get() is not None


@contextlib.contextmanager
def heard(listener: Callable[..., None]) -> Iterator[None]:
    """Call `listener(kernel, grid, block, *arguments)` after each launch of the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextlib.contextmanager
def on(other: Any) -> Iterator[None]:
    """Launch on another stream within the block."""
    token = stream.set(other)
    try:
        yield
    finally:
        stream.reset(token)


class Kernel:
    """A body, compiled when first called.

    Attributes
    ----------
    name : str
    body : callable
    threads : int or (int, int)
        The most threads of a block, or those and the blocks of a multiprocessor.
    """

    def __init__(self, name: str, body: Callable[..., Any], threads: Any) -> None:
        self.name, self.body, self.threads = name, body, threads
        self._launchers: dict[Any, Any] = {}

    @functools.cached_property
    def dispatcher(self) -> Any:
        from numconv.kernels.cuda.cache import KernelCache

        dispatcher = cuda.jit(self.body, launch_bounds=self.threads, lto=False)
        name = f"{self.body.__module__}.{self.name}"
        dispatcher._cache = KernelCache("" if " at 0x" in name else name)
        return dispatcher

    def __call__(self, grid: Any, block: Any, *arguments: Any) -> None:
        """Launch blocks on the current stream: `grid` and `block` are integers or tuples of up to three."""
        if 0 in (grid if isinstance(grid, tuple) else (grid,)):
            return
        launches = _launches.get()
        if launches is not None:
            launches.append(Launch(self, grid, block, tuple(map(_type_of, arguments))))
        elif simulated:
            from numconv.kernels.cuda.simulator import simulate

            simulate(self.body, grid, block, arguments)
        else:
            self._configured(grid, block, stream.get())(*arguments)
        listener = _listener.get()
        if listener is not None:
            listener(self, grid, block, *arguments)

    def _configured(self, grid: Any, block: Any, on_stream: Any) -> Any:
        """Numba's launcher for these. It warns of every grid below 128 blocks, which small problems have."""
        key = grid, block, int(on_stream)
        launcher = self._launchers.get(key)
        if launcher is None:
            with forks.loading, patch.object(config, "CUDA_LOW_OCCUPANCY_WARNINGS", 0):
                if len(self._launchers) >= _LIMIT:
                    self._launchers.clear()
                launcher = self._launchers[key] = self.dispatcher[grid, block, on_stream]
        return launcher

    def ptx(self, types: tuple[Any, ...], cc: tuple[int, int]) -> str:
        """The PTX for arguments of these types and a compute capability such as (9, 0); no GPU is needed."""
        with as_if(cc):
            return cuda.compile_ptx(self.body, types, cc=cc, launch_bounds=self.threads)[0]


@contextlib.contextmanager
def as_if(cc: tuple[int, int]) -> Iterator[None]:
    """Let Numba compile device functions, for which it asks what device there is, where there is none."""
    from numba.cuda import dispatcher

    device = SimpleNamespace(compute_capability=cc)
    with patch.object(dispatcher, "get_current_device", lambda: device):
        yield


def _type_of(argument: Any) -> Any:
    from numba import typeof

    return getattr(argument, "_numba_type_", None) or typeof(argument)


def _memoised(decorated: Callable[..., Any], make: Callable[[Callable[..., Any], tuple[Any, ...]], Any]) -> Any:
    @functools.cache
    def build(*numbers: Any) -> Any:
        return make(decorated(*numbers), numbers)

    return functools.update_wrapper(build, decorated)


def kernel(threads: Any) -> Callable[[Callable[..., Any]], Callable[..., Kernel]]:
    """Decorate a factory of kernel bodies: called with its numbers it gives a `Kernel`."""

    def decorate(factory: Callable[..., Any]) -> Callable[..., Kernel]:
        def make(body: Callable[..., Any], numbers: tuple[Any, ...]) -> Kernel:
            name = f"{factory.__qualname__}({', '.join(map(repr, numbers))})"
            return Kernel(name, body, threads(*numbers) if callable(threads) else threads)

        return _memoised(factory, make)

    return decorate


def function(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a factory of helpers that kernels call: called with its numbers it gives a device function."""

    return _memoised(factory, lambda body, numbers: inlined(body))


def inlined(body: Callable[..., Any]) -> Callable[..., Any]:
    """A function that another one calls as if it stood there."""
    return body if simulated else cuda.jit(body, device=True, forceinline=True)


def blocks(items: int, size: int) -> int:
    """How many blocks of `size` hold so many items."""
    return -(-items // size)
