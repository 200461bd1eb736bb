"""Run every convolution kernel with its buffers fenced in by pages that must not be touched.

`main` runs in a process of its own: it prints the name of each case before it runs it, so that the last line tells of
a crash.
"""

import ctypes
import faulthandler
import itertools
import mmap
import sys

import numpy as np
from passes import call, cases_of, error, problem_of, question, takes

import numconv as nc
from numconv.kernels.cpu import jit
from numconv.kernels.cpu.tables import TABLES
from numconv.plan import pool

PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
CANARY = 0xA5


def _close(address: int, size: int) -> None:
    if _libc.mprotect(address, size, 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")


def room(size: int, at_end: bool, align: int = 1) -> tuple[np.ndarray, list[np.ndarray]]:
    """(`size` bytes of 0xFF (NaN) between two forbidden pages, what is left of their pages, before and after).

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
    inside[...] = 0xFF
    return inside, [memory[PAGE:first], memory[first + size : PAGE + pages]]


class Fence:
    """Places arrays in guarded memory and checks afterwards that what is around them in their pages is as it was."""

    def __init__(self, at_end: bool) -> None:
        self.at_end = at_end
        self.around: list[np.ndarray] = []

    def empty(self, shape, dtype, align: int = 1) -> np.ndarray:
        dtype = np.dtype(dtype)
        inside, around = room(int(np.prod(shape)) * dtype.itemsize, self.at_end, align)
        self.around += around
        return inside.view(dtype).reshape(shape)

    def copy(self, array: np.ndarray) -> np.ndarray:
        placed = self.empty(array.shape, array.dtype)
        placed[...] = array
        return placed

    def aligned(self, count: int, dtype) -> np.ndarray:
        """In place of `memory.aligned`."""
        return self.empty((count,), dtype, 64)

    def check(self) -> None:
        assert all((part == CANARY).all() for part in self.around), "bytes beside a buffer were changed"


def fenced(operation: str, algorithm, case, layout: str, at_end: bool) -> None:
    """One call with all its operands, its result, packed weights and workspace in guarded memory."""
    fence = Fence(at_end)
    pool.borrow = lambda size: fence.empty((size,), np.uint8, 64)
    pool.give_back = lambda piece: None
    for name, module in list(sys.modules.items()):
        if name.startswith("numconv.") and hasattr(module, "aligned"):
            module.aligned = fence.aligned
    asked = question(case, operation, "float32")
    last = layout == "last"
    shown = problem_of(case, operation, "float32", layout).result_shape
    out = fence.empty(shown, "float32")
    more = {"algorithm": algorithm.name, "out": out}
    # Operands that are channels last in memory, seen channels first: `call` turns them back without a copy.
    operands = tuple(
        np.moveaxis(fence.copy(np.moveaxis(a, 1, -1)), -1, 1) if last and _is_image(operation, i) else fence.copy(a)
        for i, a in enumerate(asked.operands)
    )
    expected, scale = asked.expected, asked.scale
    if not operation.endswith(("_input", "_weight")):
        residual = fence.copy(np.full(shown, 0.5, np.float32))
        more |= {"residual": residual}
        expected, scale = expected + 0.5, scale + 0.5
    actual = call(case, operation, operands, layout, **more)
    fence.check()
    for given, kept in zip(operands, asked.operands):
        assert np.array_equal(given, kept), "an operand was changed"
    bound = algorithm.error_bound(problem_of(case, operation, "float32", layout))
    assert error(actual, asked._replace(expected=expected, scale=scale)) <= bound, "wrong result"


def _is_image(operation: str, place: int) -> bool:
    """Whether an operand has channels that can come last: weights and biases have not."""
    if operation.endswith("_weight"):
        return True
    return place == (1 if operation.endswith("_input") else 0)


def main() -> None:
    faulthandler.enable()
    nc.set_num_threads(1)
    for operation, layout in itertools.product(TABLES, ("first", "last")):
        if not operation.startswith("conv"):
            continue
        for algorithm, case in itertools.product(TABLES[operation], cases_of(operation)):
            if not takes(algorithm, case, operation, "float32", layout):
                continue
            for at_end in (True, False):
                print(operation, algorithm.name, case.name, layout, "end" if at_end else "start", flush=True)
                fenced(operation, algorithm, case, layout, at_end)
    jit.workers = lambda seconds: nc.get_num_threads()
    nc.set_num_threads(3)
    for operation in ("conv2d", "conv2d_input", "conv2d_weight"):
        for algorithm, name in itertools.product(TABLES[operation], ("large_dense", "large_depthwise")):
            case = next(case for case in cases_of(operation) if case.name == name)
            if takes(algorithm, case, operation, "float32", "first"):
                print(operation, algorithm.name, name, "three threads", flush=True)
                fenced(operation, algorithm, case, "first", True)
    print("all guarded", flush=True)
