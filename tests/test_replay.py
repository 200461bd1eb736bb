"""Repeated calls, which launch the kernels of the first one again, and memory that is used again."""

import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from passes import arrays_like, call, cases_of, problem_of, question
from processes import run

import numconv as nc
from numconv.kernels.cpu import memory
from numconv.kernels.cpu.memory import LARGE, Pool, empty, pool
from numconv.kernels.cpu.replay import note, noting, replay
from numconv.kernels.cpu.tables import TABLES


def anew(function, *arguments, **options):
    """The result of a call that nothing is remembered for."""
    nc.options.version += 1
    return function(*arguments, **options)


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("operation", [name for name in TABLES if "conv" in name])
def test_repeated_calls_give_what_first_calls_give(operation, layout):
    """Each algorithm on the cases that it must accept, or on the first that it does not reject."""
    cases = [case for case in cases_of(operation) if "large" not in case.tags]
    for algorithm in TABLES[operation]:
        taken = [c for c in cases if algorithm.rejects(problem_of(c, operation, "float32", layout)) is None]
        for case in [case for case in taken if case.name in algorithm.accepts] or taken[:1]:
            operands = question(case, operation, "float32").operands
            others = tuple(np.flip(a) * np.float32(0.7) for a in operands)
            try:
                expected = anew(call, case, operation, others, layout, algorithm=algorithm.name)
            except ValueError as refusal:  # of the weight's values
                assert "rejects this problem" in str(refusal)
                continue
            anew(call, case, operation, operands, layout, algorithm=algorithm.name)
            for given in (others, tuple(map(np.copy, others))):  # of another layout, of the same
                actual = call(case, operation, given, layout, algorithm=algorithm.name)
                assert_array_equal(actual, expected, err_msg=f"{case.name} by {algorithm.name}")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "complex64"])
def test_repeated_plans_with_bias_residual_and_out(dtype):
    x, weight, bias, residual = arrays_like((2, 5, 9, 11), (6, 5, 3, 3), (6,), (2, 6, 9, 11), dtype)
    plan = nc.plan("conv2d", x.shape, weight, bias, padding=1)
    for factor in (1, 2, 3):
        image, more = x * x.dtype.type(factor), residual * x.dtype.type(factor)
        expected = anew(nc.conv2d, image, weight, bias, padding=1, residual=more, algorithm=plan.algorithm)
        assert_array_equal(plan(image, residual=more), expected)
        wide = np.zeros((2, 8, 9, 11), dtype)
        assert_array_equal(plan(image, residual=more, out=wide[:, 1:7]), expected)
        assert_array_equal(wide[:, 1:7], expected)
        assert plan(image, residual=more, out=more) is more
        assert_array_equal(more, expected)


def test_operands_that_share_memory():
    (x,) = arrays_like((1, 3, 3, 3), np.float32)
    (other,) = arrays_like((1, 3, 3, 3), np.float32)
    other = other[:, ::-1].copy()
    for image, weight in ((x, other), (x, x), (other, x), (other, other)):
        for _ in (1, 2):
            assert_array_equal(nc.conv2d(image, weight, padding=1), nc.conv2d(image.copy(), weight.copy(), padding=1))
        residual = arrays_like((1, 1, 3, 3), np.float32)[0]
        both = np.concatenate([image, residual], axis=1)
        assert_array_equal(
            nc.conv2d(both[:, :3], weight, padding=1, residual=both[:, 3:]),
            nc.conv2d(image, weight, padding=1, residual=residual),
        )


class Toy:
    """A kernel of a Python function, as far as it is noted."""

    def __init__(self, function):
        self.function = function

    def launch(self, workers, items):
        return self.function


def fill(function, arrays):
    """A launch as kernels note it."""
    note(Toy(function), 1, 1, arrays)
    function(*arrays)


def test_only_safe_launches_are_made_again():
    x, out, table = np.ones(4, np.float32), np.zeros(4, np.float32), np.array([2, 3, 4, 5])
    alive = np.full(4, 3, np.float32)

    def multiply(x, out, factors):
        out[...] = x * factors

    def again(*operands, factors, pieces=()):
        with noting() as launches:
            fill(multiply, (operands[0], out, factors()))
        return replay(launches, operands, pieces)

    launches, size = again(x, out, factors=lambda: alive)
    assert size == 0
    launches(x * 2, out, None)
    assert_array_equal(out, [6, 6, 6, 6])
    launches, _ = again(x, out, factors=table.copy)  # tables may be made for the call
    other = np.zeros(4, np.float32)
    launches(x * 2, other, None)
    assert_array_equal(other, [4, 6, 8, 10])
    assert again(x, out, factors=lambda: alive * 2) is None  # numbers may not
    assert again(x, out, None, factors=lambda: x[::-1]) is None  # nor operands backwards
    assert again(x, x, factors=lambda: alive) is None
    assert again(table, out, factors=lambda: alive) is None
    with noting() as launches:
        pass
    assert replay(launches, (x, out), ()) is None


def test_pieces_of_memory_become_one():
    x, out = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
    workspace, packed = np.zeros(100, np.uint8), np.zeros(4, np.float32)

    def copy(source, target):
        target[...] = source

    with noting() as launches:
        fill(copy, (x, packed))
        fill(copy, (packed, workspace[16:32].view(np.float32)))
        fill(copy, (workspace[16:32].view(np.float32), out))
    launch, size = replay(launches, (x, out), (workspace, packed))
    assert size >= workspace.nbytes + packed.nbytes
    result, lent = np.zeros(4, np.float32), np.zeros(size, np.uint8)
    launch(x + 1, result, lent)
    assert_array_equal(result, x + 1)
    assert_array_equal(lent[16:32].view(np.float32), x + 1)
    assert not (out == result).any() and not (packed == result).any()


def test_notes_are_of_their_thread():
    found = []
    with noting() as launches:
        thread = threading.Thread(target=lambda: found.append(fill(lambda a, b: None, (np.zeros(1), np.zeros(1)))))
        thread.start()
        thread.join()
    assert found == [None] and launches == []


def test_plans_pickle_after_calls():
    x, weight, bias = arrays_like((1, 3, 8, 8), (4, 3, 3, 3), (4,), np.float32)
    plan = nc.plan("conv2d", x.shape, weight, bias)
    assert_array_equal(pickle.loads(pickle.dumps(plan))(x), plan(x))


# large results


def address(array):
    return array.__array_interface__["data"][0]


def large(value=0.0):
    result = empty((3, LARGE // 4), np.dtype(np.float32))
    result[...] = value
    return result


def test_memory_of_results_is_used_again_when_no_view_is_left():
    pool._idle.clear()
    result = large(1)
    at, view = address(result), result[1:, ::2]
    del result
    other = large(2)
    assert address(other) != at and (view == 1).all()
    del view
    assert address(large()) == at
    assert (other == 2).all()


def test_results_are_ordinary_arrays():
    result = large(3)
    assert type(result) is np.ndarray and result.flags.c_contiguous and result.flags.writeable and result.flags.aligned
    assert address(result) % 64 == 0
    assert_array_equal(pickle.loads(pickle.dumps(result)), result)
    assert result.copy().flags.owndata and (result.astype(np.float64).sum() == 3 * result.size)
    assert memory.aligned(LARGE, np.float32).shape == (LARGE,)


def test_results_of_large_calls_stay_as_they_are():
    x, weight = arrays_like((1, 1, 700, 700), (4, 1, 3, 3), np.float32)
    plan = nc.plan("conv2d", x.shape, weight)
    first, second, third = plan(x), plan(2 * x), nc.conv2d(3 * x, weight)
    assert first.nbytes > LARGE
    np.testing.assert_allclose(second, 2 * first, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(third, 3 * first, rtol=1e-5, atol=1e-5)


def test_at_most_the_limit_lies_idle(workspace_limit):
    workspace_limit(8 * LARGE)
    pool._idle.clear()
    results = [large(i) for i in range(5)]
    del results
    assert 0 < sum(piece.nbytes for piece in pool._idle) <= 8 * LARGE
    workspace_limit(LARGE)
    large()
    assert not [piece for piece in pool._idle if piece.nbytes > LARGE]


def test_a_result_may_die_while_the_pool_is_in_use():
    busy = Pool()
    with busy._lock:  # as where garbage is collected within `borrow`
        busy.offer(np.zeros(LARGE, np.uint8))
    assert not busy._idle
    busy.offer(np.zeros(LARGE, np.uint8))
    assert len(busy._idle) == 1


def test_results_in_cycles_come_back():
    pool._idle.clear()
    cycle = [large()]
    cycle.append(cycle)
    at, gone = address(cycle[0]), weakref.ref(cycle[0])
    del cycle
    gc.collect()
    assert gone() is None and address(large()) == at


def test_threads_never_share_memory():
    wrong, barrier = [], threading.Barrier(4)

    def work(number):
        barrier.wait()
        for step in range(100):
            result, piece = large(number), pool.borrow(3 << 16)
            piece[...] = number
            if not ((result == number).all() and (piece == number).all()):
                wrong.append((number, step))
            pool.give_back(piece)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_large_results_at_exit(tmp_path):
    code = """
import json, os
import numpy as np
import numconv as nc
result = nc.conv2d(np.ones((1, 1, 700, 700), np.float32), np.ones((4, 1, 3, 3), np.float32))
loop = [result]; loop.append(loop)
child = os.fork() if hasattr(os, "fork") else 0
if child:
    assert os.waitpid(child, 0)[1] == 0
    print(json.dumps(float(result.mean())))
else:
    again = nc.conv2d(np.ones((1, 1, 700, 700), np.float32), np.ones((4, 1, 3, 3), np.float32))
    assert (again == 9).all() and (result == 9).all()
    if hasattr(os, "fork"):
        os._exit(0)
    print(json.dumps(9.0))
"""
    (tmp_path / "code.py").write_text(code)
    assert run(tmp_path / "code.py") == 9
