"""Compiling: the only place for compiler flags, the cache, and a kernel's serial and parallel forms.

A kernel is written as a *factory*: a function of a few integers and strings (a tile's size, a kernel's width)
that returns the *body*, a plain Python function

    body(start, stop, worker, *arrays)

which computes the work items `start <= item < stop` and may use slice `worker` of a workspace. It is called for several
parts of the items one after another, in each worker, so nothing may depend on where a part begins.

    @jit.kernel
    def blur(width):
        weigh = weights(width)          # a @jit.function
        def body(start, stop, worker, x, out, geometry): ...
        return body

`blur(3)` gives a `Kernel`, the same one each time; nothing is compiled before its first call:

    k = blur(3)
    workers = jit.workers(seconds)            # 1 where the work is too small to share
    k(workers, items, x, out, geometry)       # shared evenly; who is done first helps (see `launch`)

`@jit.function` does the same for a helper that kernels call: `weights(3)` is a compiled function.
Arrays are of one canonical kind: C-contiguous, writeable, aligned, native (see `memory`).

What a factory of this package makes is kept on disk (see `cache`), so it may depend on nothing but its numbers, the
package's source, the processor and settings in `NUMBA_...` and `NUMCONV_...`.

With `NUMBA_DISABLE_JIT=1` nothing is compiled, and bodies run as the plain Python that they are, on one thread: a
debugger steps through them. Those that call register tiles cannot (see `simd`), so tables then hold none of them.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import numpy.ma  # loaded here, once: NumPy and Numba load it where they first meet an array

from numconv import forks
from numconv.kernels.cpu.replay import note, notes
from numconv.kernels.cpu.simd import PLAIN
from numconv.options import Threads, available_cores, get_num_threads

# Reordering and contraction give the speed; nnan and ninf would break NaN and Inf.
FASTMATH = {"reassoc", "contract", "nsz"}
# boundscheck: None leaves it to NUMBA_BOUNDSCHECK. Nothing calls kernels from C.
FLAGS = {
    "nopython": True,
    "boundscheck": None,
    "nogil": True,
    "fastmath": FASTMATH,
    "error_model": "numpy",
    "no_cfunc_wrapper": True,
    "_nrt": False,
}
# To enter a parallel region costs 2 to 3 us with omp and tbb (two cores).
PARALLEL_FROM_SECONDS = 10e-6
# On Python threads it costs 75 us.
PYTHON_THREADS_COST = 40


@functools.cache
def _compiler_lock() -> Any:
    """Numba's lock around all compiling. A fork waits for it and for LLVM's."""
    with forks.loading:
        from llvmlite.binding import ffi
        from numba.core.compiler_lock import global_compiler_lock

        if global_compiler_lock not in forks.locks:
            forks.locks += [global_compiler_lock, ffi.lib._lock]
    return global_compiler_lock


def _compile(name: str, function: Callable[..., Any], cached: bool) -> Any:
    """A dispatcher, or the function itself where kernels are plain Python.

    The name becomes part of the symbols in its machine code. Different functions must not share theirs: code from two
    entries of the cache can meet in one process, and calls between functions go by name.
    """
    if PLAIN:
        return function
    from numba.core.registry import CPUDispatcher

    from numconv.kernels.cpu.cache import KernelCache
    from numconv.kernels.cpu.lowering import WideCompiler

    function.__qualname__ = name
    dispatcher: Any = CPUDispatcher(function, targetoptions=FLAGS.copy(), pipeline_class=WideCompiler)
    dispatcher._cache = KernelCache(f"{function.__module__}.{name}" if cached else "")
    return dispatcher


class Kernel:
    """A body in its serial and its parallel form, compiled when first called."""

    def __init__(self, name: str, body: Callable[..., Any], cached: bool = False) -> None:
        self.name = name
        self.body = body
        self.serial = _compile(name, np.errstate(all="ignore")(body) if PLAIN else body, cached)
        self._entry = (0, 0)  # address and tag of the types that were shared last
        self._entries: dict[int, int] = {}

    def __call__(self, workers: int, items: int, *arrays: Any) -> None:
        if notes.launches is not None:
            note(self, workers, items, arrays)
        if workers == 1:
            self.serial(0, items, 0, *arrays)
        else:
            self.parallel(workers, items, *arrays)

    def launch(self, workers: int, items: int) -> Callable[..., None]:
        """What launches it on arrays."""
        if workers == 1:
            return functools.partial(self.serial, 0, items, 0)
        return functools.partial(self.parallel, workers, items)

    def parallel(self, workers: int, items: int, *arrays: Any) -> None:
        """Share the items among threads: Numba's, or Python's where Numba's cannot be used."""
        launch = _launcher()
        if launch is None:
            _on_python_threads(self.serial, workers, items, arrays)
            return
        status = launch(*self._entry, workers, items, *arrays)
        if status > 1:
            entry = self._entry = self._find(status, arrays), status
            status = launch(*entry, workers, items, *arrays)
        if status:
            self.serial(0, items, 0, *arrays)  # raises what a worker raised
            raise RuntimeError(f"{self.name} failed on one of {workers} workers")

    def bind(self, launch: int, memory: int, workers: int, items: int, arrays: Sequence[Any]) -> None:
        """Write a launch and its arrays to these addresses (see `launch.binder`)."""
        from numba import typeof

        from numconv.kernels.cpu.launch import tag

        entry = self._find(tag([typeof(array) for array in arrays]), arrays)
        _Parallel.binder(launch, memory, entry, workers, items, *arrays)

    def _find(self, tag: int, arrays: Sequence[Any]) -> int:
        """The address of the serial form for arrays of these types."""
        from numba import typeof, types

        with _compiler_lock():
            if tag not in self._entries:
                signature = (types.intp, types.intp, types.intp, *map(typeof, arrays))
                self.serial.compile(signature)
                result = self.serial.overloads[signature]
                if result.signature.return_type != types.none:
                    raise TypeError(f"{self.name} must return nothing, it returns {result.signature.return_type}")
                self._entries[tag] = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
        return self._entries[tag]


def _factory(decorated: Callable[..., Any], make: Callable[..., Any]) -> Callable[..., Any]:
    """A memoised `make(name, made, cached)` of what `decorated` returns for its numbers."""
    known: dict[tuple[Any, ...], Any] = {}
    ours = decorated.__module__.partition(".")[0] == __name__.partition(".")[0]

    @functools.cache
    def build(*numbers: Any) -> Any:
        with _compiler_lock():
            if numbers not in known:
                name = f"{decorated.__qualname__}({', '.join(map(repr, numbers))})"
                known[numbers] = make(name, decorated(*numbers), ours and " at 0x" not in name)
            return known[numbers]

    return functools.update_wrapper(build, decorated)


def kernel(factory: Callable[..., Callable[..., Any]]) -> Callable[..., Kernel]:
    """Decorate a factory of kernel bodies: called with its numbers it gives a `Kernel`."""
    return _factory(factory, Kernel)


def function(factory: Callable[..., Callable[..., Any]]) -> Callable[..., Any]:
    """Decorate a factory of helpers that kernels call: called with its numbers it gives a compiled function."""
    return _factory(factory, _compile)


def address(compiled: Any, count: int) -> int:
    """The address of what a `@jit.function` factory gave, for a tuple of `count` integers: to call by `simd.call`.

    A kernel that calls its tile by address is compiled once for all tiles.
    """
    from numba import types

    with _compiler_lock():
        signature = (types.UniTuple(types.intp, count),)
        compiled.compile(signature)
        result = compiled.overloads[signature]
        found = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
        called[found] = compiled
        return found


called: dict[int, Any] = {}  # what stands at the addresses that were asked for


def workers(seconds: float) -> int:
    """How many threads work of an estimated single-thread time is worth."""
    return 1 if PLAIN or seconds < PARALLEL_FROM_SECONDS * _Parallel.cost else get_num_threads()


class _Parallel:
    """How this process runs parallel forms; a forked child finds out anew."""

    cost = 1
    layer = ""  # not started yet
    launcher: Any = None
    binder: Any = None
    runner: Any = None
    pool: ThreadPoolExecutor | None = None

    @classmethod
    def forget(cls) -> None:
        cls.cost, cls.layer, cls.launcher, cls.binder, cls.runner, cls.pool = 1, "", None, None, None, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Parallel.forget)


def threading_layer() -> str:
    """What runs parallel forms: "omp" or "tbb" of Numba, or "python" threads. Starts it."""
    if not _Parallel.layer:
        with _compiler_lock():
            if not _Parallel.layer:
                _start()
    return _Parallel.layer


def _launcher() -> Any:
    return _Parallel.launcher if _Parallel.layer else threading_layer() and _Parallel.launcher


def runner() -> Any:
    """What runs tables of launches (see `launch.runner`): None on Python threads."""
    return _launcher() and _Parallel.runner


def _start() -> None:
    layer = "python" if Threads.inherited or PLAIN else _start_numba_threads()
    if layer in ("omp", "tbb"):
        from numconv.kernels.cpu.launch import binder, launcher, runner

        _Parallel.binder, _Parallel.runner = _compile("binder", binder, True), _compile("runner", runner, True)
        _Parallel.launcher = _compile("launcher", launcher, True)
    else:
        layer = "python"
        _Parallel.cost = PYTHON_THREADS_COST
    _Parallel.layer = layer


def _start_numba_threads() -> str:
    """Start Numba's threading layer and name it. Its workqueue, which aborts when two threads use it, is not used."""
    from numba.core import config
    from numba.np.ufunc import parallel

    if vars(config)["THREADING_LAYER"] in ("tbb", "safe", "threadsafe", "forksafe"):
        # What pip installs is not on the loader's path (numba#9740).
        for name in ("libtbb.so.12", "libtbb.12.dylib"):
            path = os.path.join(sys.prefix, "lib", name)
            if os.path.exists(path):
                ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    undecided = multiprocessing.get_start_method(allow_none=True) is None
    try:
        parallel._launch_threads()
    except ValueError:  # the layer that was asked for is not there
        return ""
    if undecided:  # Numba's look at it has decided it
        multiprocessing.set_start_method(None, force=True)
    return parallel.threading_layer()


def _on_python_threads(serial: Any, workers: int, items: int, arrays: Sequence[Any]) -> None:
    pool = _Parallel.pool
    if pool is None:
        pool = _Parallel.pool = ThreadPoolExecutor(available_cores(), "numconv")
    bounds = [worker * items // workers for worker in range(workers + 1)]
    chunks = [(start, stop, worker, *arrays) for worker, (start, stop) in enumerate(itertools.pairwise(bounds))]
    try:
        pending = [pool.submit(serial, *chunk) for chunk in chunks[1:]]
    except RuntimeError:  # Python is shutting down
        serial(0, items, 0, *arrays)
        return
    try:
        serial(*chunks[0])
    finally:
        wait(pending)
    for future in pending:
        future.result()


def compilations() -> int:
    """How many functions were compiled in this process: those that the cache did not hold."""
    from numconv.kernels.cpu.cache import Counts

    return Counts.compilations


def cache_info() -> dict[str, Any]:
    """The cache's state; see `cache.info`."""
    from numconv.kernels.cpu.cache import info

    return info()
