"""Calls from many threads, from forked and spawned children, under each of Numba's threading layers."""

import ctypes
import os
import sys

import numpy as np
import pytest
from processes import run

from numconv.kernels.cpu import jit

POSIX = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


def _loads(*names):
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


@pytest.fixture(params=["omp", "tbb", "workqueue"])
def layer(request):
    """Each of Numba's layers that can be had here."""
    if request.param == "omp" and not _loads("libgomp.so.1", "vcomp140.dll"):
        pytest.skip("there is no libgomp")
    folder = os.path.join(sys.prefix, "lib")
    if request.param == "tbb" and not _loads(os.path.join(folder, "libtbb.so.12"), "libtbb.so.12", "tbb12.dll"):
        pytest.skip("there is no tbb: pip install tbb")
    return request.param


PRELUDE = """
import json, multiprocessing, os, sys, threading
import numba
import numpy as np
from numconv.kernels.cpu import jit
from numconv.kernels.cpu.program import Program
from numconv.kernels.cpu.replay import Launch

@jit.kernel
def scale(factor):
    def body(start, stop, worker, x, out):
        for i in range(start, stop):
            out[i] = x[i] * factor
    return body

x = np.arange(4000.0)

def right(workers=4, factor=3, dtype=float):
    given = x.astype(dtype)
    out = np.zeros_like(given)
    scale(factor)(workers, len(x), given, out)
    return bool((out == factor * given).all())

@numba.njit(parallel=True)
def users_own(x):
    total = 0.0
    for i in numba.prange(len(x)):
        total += x[i]
    return total

def forked(function):
    # whether a forked child gave True: 0 where it ended well
    child = os.fork()
    if not child:
        try:
            os._exit(0 if function() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

def chained(workers):
    # five launches in one program, each on what the last one gave, on more workers and on fewer
    rows = np.zeros((6, len(x)))
    rows[0] = x
    of = enumerate((workers, 1, workers, 2, workers))
    program = Program([Launch(scale(3), some, len(x), (rows[i], rows[i + 1])) for i, some in of])
    answers = []
    for _ in range(3):
        rows[1:] = 0
        program()
        answers.append((rows[5] == 243 * x).all())
    return all(answers)

def in_threads(*functions):
    answers = []
    def answer(function):
        answers.append(all(function() for _ in range(40)))
    threads = [threading.Thread(target=answer, args=(f,)) for f in functions]
    for t in threads: t.start()
    for t in threads: t.join()
    return len(answers) == len(functions) and all(answers)
"""


@pytest.fixture
def program(tmp_path):
    """Runs code after the prelude in a process of its own; gives what it printed last."""

    def run_code(code, layer=None, **environment):
        path = tmp_path / "code.py"
        path.write_text(PRELUDE + code)
        if layer:
            environment["NUMBA_THREADING_LAYER"] = layer
        return run(path, **{"NUMBA_NUM_THREADS": "3", "NUMCONV_CACHE": "0", **environment})

    return run_code


def test_many_threads_at_once(program, layer):
    code = """
answers = [in_threads(*[right] * 8)]                  # none has started the layer
answers += [in_threads(*[right] * 6, lambda: bool(users_own(x) == x.sum())), right(1), right(50)]
answers += [in_threads(*[lambda dtype=dtype: right(dtype=dtype) for dtype in ("f4", "f8", "i4", "i8") * 2])]
print(json.dumps([answers, jit.threading_layer()]))
"""
    answers, used = program(code, layer)
    assert answers == [True] * 5
    assert used == {"workqueue": "python"}.get(layer, layer)


@POSIX
def test_children_forked_after_threads_were_used(program, layer):
    code = """
answers = [right(), forked(right), forked(lambda: forked(right))]
answers += [forked(lambda: in_threads(right, right)), right()]
thread = threading.Thread(target=lambda: answers.append(forked(right)))
thread.start()
thread.join()
with multiprocessing.get_context("fork").Pool(2) as pool:
    answers += pool.map(right, [2, 3, 4])
print(json.dumps(answers))
"""
    answers = program(code, layer)
    assert len(answers) == 9 and all(answers)


@POSIX
def test_children_forked_after_the_user_used_threads(program, layer):
    code = """
import ctypes
tbb = os.path.join(sys.prefix, "lib", "libtbb.so.12")
if os.environ["NUMBA_THREADING_LAYER"] == "tbb" and os.path.exists(tbb):
    ctypes.CDLL(tbb, mode=ctypes.RTLD_GLOBAL)         # Numba alone does not find it there
answers = [bool(users_own(x) == x.sum()), forked(right), right(), jit.threading_layer()]
print(json.dumps(answers))
"""
    assert program(code, layer) == [True, True, True, {"workqueue": "python"}.get(layer, layer)]


@POSIX
def test_a_child_that_imports_numconv_after_the_fork(tmp_path):
    code = (
        PRELUDE.replace(
            "from numconv.kernels.cpu import jit",
            """
@numba.njit(parallel=True)
def warm(n):
    total = 0
    for i in numba.prange(n):
        total += i
    return total

warm(100)
assert "numconv" not in sys.modules
child = os.fork()
if child:
    status = os.waitpid(child, 0)[1]
    os._exit(os.waitstatus_to_exitcode(status) & 127)
from numconv.kernels.cpu import jit
""",
        )
        + "print(json.dumps(right()))"
    )
    (tmp_path / "code.py").write_text(code)
    assert run(tmp_path / "code.py", NUMCONV_CACHE="0") is True


@POSIX
def test_children_forked_before_threads_are_used_have_them(program, layer):
    code = """
def layer():
    return right() and jit.threading_layer() == os.environ["EXPECTED"]
print(json.dumps([forked(layer), right(), forked(right)]))
"""
    assert all(program(code, layer, EXPECTED={"workqueue": "python"}.get(layer, layer)))


def test_spawned_children(program, layer):
    code = """
if __name__ == "__main__":
    answers = [right()]
    multiprocessing.set_start_method("spawn")         # Numba's threads have not decided it
    with multiprocessing.Pool(2) as pool:
        answers += pool.map(right, [2, 3])
    print(json.dumps(answers))
"""
    assert all(program(code, layer))


@POSIX
def test_a_fork_while_another_thread_compiles(program):
    code = """
started, forks_done = threading.Event(), threading.Event()
def compile_until_then():
    factor = 1000
    while not forks_done.is_set():
        started.set()
        right(factor=factor)
        factor += 1
thread = threading.Thread(target=compile_until_then)
thread.start()
started.wait()
print(json.dumps([forked(lambda: right(factor=f)) for f in (20, 21, 22)] + [thread.is_alive()]))
forks_done.set()
thread.join()
"""
    *answers, compiling = program(code)
    assert all(answers)
    assert compiling


@POSIX
@pytest.mark.parametrize("module", ["numba", "numpy.ma", "numconv.kernels.cpu.tables"])
def test_a_fork_while_another_thread_loads(tmp_path, module):
    # The first convolution loads each module, and here slowly: the fork finds it half loaded.
    code = """
import importlib.util, json, os, sys, threading, time
import numpy as np
import numconv as nc

half_loaded = threading.Event()

class Slowly:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE and not half_loaded.is_set():
            half_loaded.set()
            time.sleep(0.5)

sys.meta_path.insert(0, Slowly())
ones = np.ones((1, 1, 4, 4), np.float32)
def right():
    return bool((nc.conv2d(ones, ones) == 16).all())

thread = threading.Thread(target=right)
thread.start()
assert half_loaded.wait(60)
child = os.fork()
if not child:
    os._exit(0 if right() else 1)
print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0))
thread.join()
"""
    (tmp_path / "code.py").write_text(code.replace("MODULE", repr(module)))
    assert run(tmp_path / "code.py") is True


def test_numbas_own_setting_is_left_as_found(program, layer):
    code = """
import numconv as nc
right()
answers = []
for own in 1, 2, 3:
    numba.set_num_threads(own)
    nc.set_num_threads(2)
    answers.append(right(nc.get_num_threads()) and numba.get_num_threads() == own)
print(json.dumps(answers))
"""
    assert all(program(code, layer))


def test_a_worker_that_raises(program, layer):
    code = """
def raises(workers):
    try:
        scale(2)(workers, len(x) + 1, x, np.zeros(len(x) + 1))
    except IndexError:
        return right(workers)
    return False
print(json.dumps([raises(1), raises(3), in_threads(*[lambda: raises(3)] * 3)]))
"""
    assert all(program(code, layer, NUMBA_BOUNDSCHECK="1"))


def test_programs_of_launches(program, layer):
    code = """
answers = [chained(2), chained(4), forked(lambda: chained(3)), in_threads(*[lambda: chained(3)] * 3)]
numba.set_num_threads(1)  # fewer threads than workers
print(json.dumps([*answers, chained(4), numba.get_num_threads() == 1]))
"""
    assert all(program(code, layer))


def test_a_program_is_made_in_the_parent_and_runs_in_its_child(program, layer):
    code = """
out = np.zeros_like(x)
made = Program([Launch(scale(2), 3, len(x), (x, out))])
def runs():
    out[:] = 0
    made()
    return bool((out == 2 * x).all())
print(json.dumps([runs(), forked(runs), runs()]))
"""
    assert all(program(code, layer))


def test_a_worker_of_a_program_that_raises(program, layer):
    code = """
rows = [x.copy() for _ in range(4)]
sizes = len(x), len(x) + 1, len(x)
made = Program([Launch(scale(2), 3, size, (rows[i], rows[i + 1])) for i, size in enumerate(sizes)])
def raises():
    try:
        made()
    except IndexError:
        return bool((rows[1] == 2 * x).all() and (rows[3] == x).all())  # what comes later has not run
    return False
print(json.dumps([raises(), raises(), chained(3)]))
"""
    assert all(program(code, layer, NUMBA_BOUNDSCHECK="1"))


def test_a_layer_that_is_not_there(program):
    code = """
from numba.np.ufunc import parallel
def missing():
    raise ValueError("No threading layer could be loaded.")
parallel._launch_threads = missing
print(json.dumps([right(), jit.threading_layer()]))
"""
    assert program(code) == [True, "python"]


def test_a_call_while_python_shuts_down(program, layer):
    code = """
import atexit
atexit.register(lambda: print(json.dumps(right())))
right()
"""
    assert program(code, layer) is True


def test_small_work_is_not_shared(threads):
    threads(3)
    assert jit.workers(1e-6) == 1
    assert jit.workers(1.0) == 3


def test_workers_compute_each_item_once_in_parts_of_even_shares(always_parallel):
    @jit.kernel
    def mark():
        def body(start, stop, worker, count, who, starts):
            starts[start] += 1
            for i in range(start, stop):
                count[i] += 1
                who[i] = worker

        return body

    for items, workers in (7, 2), (8, 4), (3, 5), (0, 2), (1000, 7):
        count, who, starts = np.zeros(items, np.int64), np.full(items, -1), np.zeros(items + 1, np.int64)
        mark()(workers, items, count, who, starts)
        assert count.tolist() == [1] * items
        assert set(who.tolist()) <= set(range(workers))
        shares = [(w * items // workers, (w + 1) * items // workers) for w in range(workers)]
        bounds = {high - ((high - low) * 8 >> piece) // 8 for low, high in shares for piece in range(4)}
        assert set(np.flatnonzero(starts).tolist()) <= bounds
