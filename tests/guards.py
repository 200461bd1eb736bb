"""Run every convolution kernel with its buffers fenced in by pages that must not be touched.

`main` runs in a process of its own: it prints the name of each case before it runs it, so that the last line tells of
a crash.
"""

import faulthandler
import itertools
import sys

import numpy as np
from passes import call, cases_of, error, problem_of, question, takes

import numconv as nc
from numconv.kernels.cpu import jit
from numconv.kernels.cpu.tables import TABLES
from numconv.lab.guards import Fence
from numconv.plan import pool


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
