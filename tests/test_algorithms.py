"""The registry, enumerated: every algorithm of every pass on every named case, against the oracle."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from passes import LAYOUTS, arrays_like, call, cases_of, error, problem_of, question, takes

import numconv as nc
from numconv.algorithm import select
from numconv.kernels.cpu.tables import TABLES

CONVOLUTIONS = [operation for operation in TABLES if operation.startswith("conv")]
ALL = [(operation, algorithm) for operation in CONVOLUTIONS for algorithm in TABLES[operation]]
NAMES = [f"{operation}-{algorithm.name}" for operation, algorithm in ALL]
PROMISED = {"float32": {"strict": 1e-6, "default": 5e-6}, "float64": {"strict": 1e-12, "default": 1e-12}}

every_algorithm = pytest.mark.parametrize("operation, algorithm", ALL, ids=NAMES)


def test_tables_hold_every_pass():
    forms = ("conv{}d", "conv{}d_input", "conv{}d_weight", "conv_transpose{}d")
    assert set(CONVOLUTIONS) == {form.format(n) for n in (1, 2, 3) for form in forms}
    for operation in CONVOLUTIONS:
        assert nc.algorithms(operation)[-1] == "direct"
        assert cases_of(operation)


@pytest.mark.parametrize("dtype", PROMISED)
@pytest.mark.parametrize("layout", LAYOUTS)
@every_algorithm
def test_agrees_with_the_oracle(operation, algorithm, layout, dtype):
    failures = {}
    for case in cases_of(operation):
        asked = question(case, operation, dtype)
        try:
            actual = call(case, operation, asked.operands, layout, algorithm=algorithm.name)
        except ValueError as refusal:
            if "rejects this problem" not in str(refusal):
                failures[case.name] = refusal
            continue
        bound = algorithm.error_bound(problem_of(case, operation, dtype, layout))
        if actual.dtype != dtype or not error(actual, asked) <= bound:
            failures[case.name] = (actual.dtype, error(actual, asked))
    assert not failures


@pytest.mark.parametrize("dtype", PROMISED)
@every_algorithm
def test_takes_some_case(operation, algorithm, dtype):
    """In one layout at least: the test against the oracle above would pass without a case."""
    assert any(takes(algorithm, case, operation, dtype, layout) for case in cases_of(operation) for layout in LAYOUTS)


@every_algorithm
def test_error_bounds_keep_the_promise(operation, algorithm):
    for dtype, promised in PROMISED.items():
        for case in cases_of(operation):
            problem = problem_of(case, operation, dtype, "first")
            if algorithm.rejects(problem) is None:
                assert 0 < algorithm.error_bound(problem) <= promised["default"], case.name


@pytest.mark.parametrize("layout", ["first", "last"])
@every_algorithm
def test_a_rejection_is_a_sentence_and_is_raised(operation, algorithm, layout):
    for case in cases_of(operation):
        problem = problem_of(case, operation, "float32", layout)
        reason = algorithm.rejects(problem)
        if reason is None or 0 in problem.result_shape:
            continue
        assert len(reason.split()) > 2, case.name
        with pytest.raises(ValueError, match="rejects this problem") as raised:
            call(case, operation, question(case, operation, "float32").operands, layout, algorithm=algorithm.name)
        assert reason in str(raised.value), case.name


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint64", "complex64"])
@pytest.mark.parametrize("operation", CONVOLUTIONS)
def test_the_last_entry_takes_everything_without_workspace(operation, dtype):
    last = TABLES[operation][-1]
    for case in cases_of(operation):
        for layout in ("first", "last"):
            problem = problem_of(case, operation, dtype, layout)
            assert last.rejects(problem) is None, case.name
            assert last.workspace(problem) == last.packed_bytes(problem) == 0, case.name


def test_the_cases_that_algorithms_name_exist():
    names = {case.name for operation in CONVOLUTIONS for case in cases_of(operation)}
    for operation, algorithm in ALL:
        assert set(algorithm.accepts) <= names, (operation, algorithm.name)


@every_algorithm
def test_takes_the_cases_it_names(operation, algorithm):
    named = {case.name: case for case in cases_of(operation)}
    listed = [named[name] for name in algorithm.accepts if name in named]
    for case in listed or (list(named.values()) if algorithm.name == "direct" else []):
        for dtype in ("float32", "float64"):
            problem = problem_of(case, operation, dtype, algorithm.accepts_layout)
            assert algorithm.rejects(problem) is None, case.name


@pytest.mark.parametrize("operation", CONVOLUTIONS)
def test_costs_are_positive_seconds(operation):
    for case in cases_of(operation):
        problem = problem_of(case, operation, "float32", "first")
        for algorithm in TABLES[operation]:
            if algorithm.rejects(problem) is None:
                assert 0 < algorithm.cost(problem) < 10, (algorithm.name, case.name)


@pytest.mark.parametrize("layout", ["first", "last"])
@every_algorithm
def test_any_number_of_threads_gives_the_same_bits(operation, algorithm, layout, threads, always_parallel):
    different = []
    for case in cases_of(operation):
        if not takes(algorithm, case, operation, "float32", layout):
            continue
        results = []
        for count in (1, 2, 3):
            threads(count)
            operands = question(case, operation, "float32").operands
            results.append(call(case, operation, operands, layout, algorithm=algorithm.name).tobytes())
        if len(set(results)) > 1:
            different.append(case.name)
    assert not different


@pytest.mark.parametrize("limit", [0, 40_000, 100_000, 400_000, 64 << 20])
def test_the_choice_depends_on_no_number_of_threads(limit, threads, workspace_limit):
    workspace_limit(limit)
    different = []
    for operation in CONVOLUTIONS:
        for case in cases_of(operation):
            problem = problem_of(case, operation, "float32", "first")
            chosen = set()
            for count in (1, 2, 16):
                threads(count)
                chosen.add(select(problem).name)
            if len(chosen) > 1:
                different.append((operation, case.name))
    assert not different


@pytest.mark.parametrize("dtype", PROMISED)
def test_a_larger_problem_crosses_every_block(dtype):
    """Deeper than a panel, wider than a block of channels, more positions than a block: the sizes of real layers."""
    cases = {
        "panels": ((1, 300, 9, 11), (70, 300, 3, 3), 1),
        "channels": ((1, 8, 6, 7), (1100, 8, 1, 1), 1),
        "positions": ((2, 5, 45, 47), (6, 5, 3, 3), 1),
        "groups": ((1, 96, 14, 15), (128, 3, 3, 3), 32),
    }
    for name, (x_shape, weight_shape, groups) in cases.items():
        x, weight = arrays_like(x_shape, weight_shape, "float64")
        expected = shifted_sum(x, weight, groups)
        scale = shifted_sum(np.abs(x), np.abs(weight), groups).max()
        x, weight = x.astype(dtype), weight.astype(dtype)
        exact = shifted_sum(x.astype("float64"), weight.astype("float64"), groups) if dtype == "float32" else expected
        for algorithm in TABLES["conv2d"]:
            for data_format in ("NCHW", "NHWC"):
                last = data_format == "NHWC"
                image = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
                try:
                    actual = nc.conv2d(image, weight, groups=groups, data_format=data_format, algorithm=algorithm.name)
                except ValueError as refusal:
                    assert "rejects this problem" in str(refusal)
                    continue
                actual = np.moveaxis(actual, -1, 1) if last else actual
                assert np.abs(actual - exact).max() <= PROMISED[dtype]["strict"] * scale, (name, algorithm.name)


def shifted_sum(x, weight, groups):
    """An unpadded convolution as a sum of matrix products, one a tap: quick where the oracle is slow."""
    kh, kw = weight.shape[2:]
    oh, ow = x.shape[2] - kh + 1, x.shape[3] - kw + 1
    x = x.reshape(len(x), groups, -1, *x.shape[2:])
    weight = weight.reshape(groups, -1, *weight.shape[1:])
    out = 0.0
    for i in range(kh):
        for j in range(kw):
            out = out + np.einsum("ngchw,gkc->ngkhw", x[..., i : i + oh, j : j + ow], weight[..., i, j], optimize=True)
    return out.reshape(len(x), -1, oh, ow)


def guarded(code):
    """The end of a process that runs `code` with tests/guards.py and what it uses imported."""
    here = Path(__file__).parent
    path = os.pathsep.join(p for p in (str(here), str(here.parent), os.environ.get("PYTHONPATH")) if p)
    command = [sys.executable, "-c", f"import ctypes, guards\nfrom numconv.lab.guards import Fence, room\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, check=False)


@pytest.mark.parametrize("at_end, offset", [(True, 100), (False, -1)])
def test_the_guard_bites(at_end, offset):
    place = f"r = room(100, {at_end})[0]; a = r.__array_interface__['data'][0]"
    assert guarded(f"{place}; ctypes.string_at(a, 100); ctypes.memset(a, 0, 100)").returncode == 0
    assert guarded(f"{place}; ctypes.string_at(a + {offset}, 1)").returncode == -signal.SIGSEGV
    beside = f"f = Fence({at_end}); r = f.empty((100,), 'u1'); a = r.__array_interface__['data'][0]"
    done = guarded(f"{beside}; ctypes.memset(a + {100 if not at_end else -1}, 0, 1); f.check()")
    assert done.returncode == 1 and "beside a buffer were changed, such as the one 1 " in done.stderr


def test_buffers_are_never_overrun():
    """Every operand ends, then begins, at a page that must not be touched; a crash names its case."""
    done = guarded("guards.main()")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1] if lines else 'start'}: exit {done.returncode}\n{done.stderr[-2000:]}"
    assert lines[-1] == "all guarded"
