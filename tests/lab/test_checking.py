"""What a check finds: kernels that are right, and each way to be wrong, with the problem that shows it."""

import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import njit, prange
from numba import prange as turns
from numba.extending import intrinsic

import numconv as nc
from numconv import lab
from numconv.kernels.cpu.tables import TABLES
from numconv.lab import checking, examining, questions
from numconv.lab.cases import ConvCase
from numconv.lab.judging import Failure, bound_of, judged
from numconv.lab.plain_python import recorded
from numconv.lab.recording import Turns, watched
from numconv.lab.shrinking import smaller

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a check forks")
FEW = {"random": 6}


def one(report, kind):
    """The only failure, and the report as text, its lines joined."""
    text = " ".join(str(report).split())
    assert not report.ok and not report, text
    (failure,) = report.failures
    assert failure.kind == kind, text
    assert str(report).splitlines()[0].endswith("WRONG") and str(failure.question) in text
    return failure, text


@njit
def at(x, n, c, i):
    return x[n, c, i]


def convolve(x, w, out, stride, padding, dilation, groups):
    """The definition along one axis; what is wrong in the tests is a line of this."""
    each = w.shape[0] // groups
    for n in range(out.shape[0]):
        for o in range(out.shape[1]):
            for i in range(out.shape[2]):
                for c in range(w.shape[1]):
                    for k in range(w.shape[2]):
                        v = at(x, n, o // each * w.shape[1] + c, i * stride[0] + k * dilation[0])
                        out[n, o, i] += w[o, c, k] * v


def test_a_right_kernel(registry):
    @lab.kernel("conv1d", dtypes=("float32", "float64"), when=lambda p: p.groups == 1 or "it takes one group")
    def mine(x, w, out, stride, padding, dilation, groups):
        for item in prange(out.shape[0] * w.shape[0]):
            n, o = item // w.shape[0], item % w.shape[0]
            for i in range(out.shape[2]):
                total = 0.0
                for c in range(w.shape[1]):
                    for k in range(w.shape[2]):
                        total += w[o, c, k] * at(x, n, c, i * stride[0] + k * dilation[0])
                out[n, o, i] = total

    report = lab.check(mine, **FEW)
    assert report.ok and report, report
    assert list(report.asked) == ["python", "serial", "parallel"] and min(report.asked.values()) > 5
    assert report.refused["it takes one group"] > 0
    text = str(report)
    assert "mine (conv1d, " in text and "test_checking.py:" in text and "one group" in text
    assert report._repr_html_().startswith("<pre>mine")
    assert json.loads(json.dumps(report.to_dict()))["ok"]


def test_off_by_one_at_the_border(registry):
    @lab.kernel("conv1d")
    def mine(x, w, out, stride, padding, dilation, groups):
        for n in range(out.shape[0]):
            for o in range(out.shape[1]):
                for i in range(out.shape[2] - 1):
                    for c in range(w.shape[1]):
                        for k in range(w.shape[2]):
                            v = x[n, o // (w.shape[0] // groups) * w.shape[1] + c, i * stride[0] + k * dilation[0]]
                            out[n, o, i] += w[o, c, k] * v

    failure, text = one(lab.check(mine, **FEW), "never written")
    case = failure.question.case
    assert case.x_shape == (1, 1, 1) and case.weight_shape == (1, 1, 1)
    assert "conv1d: x (1, 1, 1), w (1, 1, 1)" in text and "1 of 1 elements of out are never written" in text
    assert "expected [0, :, :]" in text and "0!" in text


def test_a_write_past_the_end(registry):
    @lab.kernel("conv1d")
    def mine(x, w, out, stride, padding, dilation, groups):
        compiled(x, w, out, stride, padding, dilation, groups)
        out.reshape(-1)[out.size] = 1

    compiled = njit(convolve)
    failure, text = one(lab.check(mine, **FEW), "out of bounds")
    assert "writes a part of out[1]" in text and "index 1 of axis 0 is beyond the last, 0" in text
    assert failure.place[0] == __file__ and "out.reshape(-1)[out.size] = 1" in text


def test_a_race_between_threads(registry):
    @lab.kernel("conv1d")
    @njit(parallel=True)
    def mine(x, w, out, stride, padding, dilation, groups):
        for c in numba.prange(w.shape[1]):
            for n in range(out.shape[0]):
                for o in range(out.shape[1]):
                    for i in range(out.shape[2]):
                        for k in range(w.shape[2]):
                            v = x[n, o // (w.shape[0] // groups) * w.shape[1] + c, i * stride[0] + k * dilation[0]]
                            out[n, o, i] += w[o, c, k] * v

    failure, text = one(lab.check(mine, **FEW), "race")
    assert "turn 1 of the prange reads out[0, 0, 0]" in text and "turn 0 of the prange writes it" in text
    assert failure.question.case.ci == 2 and "out[n, o, i] += w[o, c, k] * v" in text


def test_turns_that_share_a_buffer(registry):
    @lab.kernel("global_avg_pool")
    def mine(x, out):
        sums = np.zeros(1, np.float32)
        for n in prange(x.shape[0] * x.shape[1]):
            sums[0] = 0
            for i in range(x.shape[2]):
                sums[0] += x[n // x.shape[1], n % x.shape[1], i]
            out[n // x.shape[1], n % x.shape[1], 0] = sums[0] / x.shape[2]

    _, text = one(lab.check(mine, **FEW), "race")
    assert "turn 1 of the prange writes the array of line" in text


def test_a_part_of_a_buffer_that_turns_share(registry):
    @lab.kernel("adaptive_avg_pool1d_input")
    def mine(x, out):
        row = np.zeros(out.shape[2], np.float32)
        for n in prange(x.shape[0] * x.shape[1]):
            row[:] = 0
            for o in range(x.shape[2]):
                first, end = o * out.shape[2] // x.shape[2], -(-(o + 1) * out.shape[2] // x.shape[2])
                row[first:end] += x[n // x.shape[1], n % x.shape[1], o] / (end - first)
            out[n // x.shape[1], n % x.shape[1]] = row

    _, text = one(lab.check(mine, **FEW), "race")
    assert "the array of line" in text


def test_what_numba_adds_up_is_no_race():
    def sums(x, out):
        total = np.zeros(x.shape[1], np.float32)
        for i in prange(x.shape[0]):
            total += x[i]
        out[...] = total

    turns, x, out = Turns(), np.ones((3, 2), np.float32), np.zeros(2, np.float32)
    recorded(sums, turns, True)(watched(x, "x", turns, readonly=True), watched(out, "out", turns))
    assert out.tolist() == [3, 3]


def test_parts_of_a_sum_that_turns_share(registry):
    @lab.kernel("global_avg_pool")
    def mine(x, out):
        total = np.zeros(x.shape[:2], np.float32)
        for i in prange(x.shape[2]):
            total[:] += x[:, :, i]
        out[:, :, 0] = total / x.shape[2]

    _, text = one(lab.check(mine, **FEW), "race")
    assert "turn 1 of the prange" in text and "total[:] += x[:, :, i]" in text


@pytest.mark.parametrize("number, right", [("numba.get_thread_id()", True), ("0", False)])
def test_a_buffer_for_each_thread(number, right, registry):
    names = {"lab": lab, "np": np, "numba": numba, "threads": numba.config.NUMBA_NUM_THREADS}
    exec(
        "@lab.kernel('global_avg_pool')\n"
        "def mine(x, out):\n"
        "    sums = np.zeros((threads, x.shape[1]), np.float32)\n"
        "    for n in numba.prange(x.shape[0]):\n"
        f"        row = sums[{number}]\n"
        "        row[:] = 0\n"
        "        for i in range(x.shape[2]):\n"
        "            row += x[n, :, i]\n"
        "        out[n, :, 0] = row / x.shape[2]\n",
        names,
    )
    report = lab.check(names["mine"], **FEW)
    assert report.ok if right else report.failures[0].kind == "race", report


def test_a_loop_that_numba_does_not_share(registry):
    @lab.kernel("global_avg_pool")
    @njit
    def mine(x, out, step=2):
        for first in prange(step):
            for i in range(first, x.shape[2], step):
                out[:, :, 0] += x[:, :, i] / x.shape[2]

    report = lab.check(mine, **FEW)
    assert report.ok and list(report.asked) == ["python", "serial"], report


def test_prange_by_another_name(registry):
    @lab.kernel("global_avg_pool")
    def mine(x, out):
        for i in turns(x.shape[2]):
            out[:, :, 0] += x[:, :, i] / x.shape[2]

    assert mine.parallel
    one(lab.check(mine, **FEW), "race")


def test_memory_that_is_not_set(registry):
    @lab.kernel("global_avg_pool")
    def mine(x, out):
        total = np.empty(1, np.float32)
        for n in range(x.shape[0]):
            for c in range(x.shape[1]):
                for i in range(x.shape[2]):
                    total[0] += x[n, c, i]
                out[n, c, 0] = total[0] / x.shape[2]
                total[0] = 0

    failure, text = one(lab.check(mine, **FEW), "unset memory")
    assert "to which nothing was written before" in text and "1 of 1 elements of out are wrong, 1 of them NaN" in text
    assert failure.place[0] == __file__ and "total[0] += x[n, c, i]" in text


@pytest.mark.parametrize("index, words", [("i + 1", "is beyond the last, "), ("i - 1", "is negative: it would")])
def test_a_read_beside_an_array(index, words, registry):
    names = {"lab": lab}
    exec(  # has no file: as in a notebook
        "@lab.kernel('conv1d')\n"
        "def mine(x, w, out, stride, padding, dilation, groups):\n"
        "    for i in range(x.shape[2]):\n"
        f"        out[0, 0, 0] += x[0, 0, {index}]\n",
        names,
    )
    failure, text = one(lab.check(names["mine"], **FEW), "out of bounds")
    assert "reads x[0, 0, " in text and words in text
    assert failure.place == ("<string>", 4)


def test_an_operand_is_changed(registry):
    @lab.kernel("conv1d")
    def mine(x, w, out, stride, padding, dilation, groups):
        w[...] = 0

    failure, _ = one(lab.check(mine, **FEW), "changes its input")
    assert "writes w[0, 0, 0]" in failure.message


def test_an_operand_is_filled_afterwards(registry):
    @lab.kernel("global_avg_pool")
    def mine(x, out):
        for n in range(x.shape[0]):
            for c in range(x.shape[1]):
                out[n, c, 0] = x[n, c].mean()
        x.fill(0)

    _, text = one(lab.check(mine, **FEW), "changes its input")
    assert "writes x[0, 0, 0], an operand" in text and "x.fill(0)" in text


def test_a_result_that_is_returned(registry):
    @lab.kernel("global_avg_pool")
    def mine(x, out):
        return x * 2

    _, text = one(lab.check(mine, **FEW), "never written")
    assert "What a kernel returns is not looked at: it is to fill out" in text


@pytest.mark.parametrize("operation, axis, number", [("conv1d", 1, 64), ("conv3d", 1, 64), ("conv1d", 2, 128)])
def test_wrong_for_large_numbers_only(operation, axis, number, registry):
    def mine(x, w, out, stride, padding, dilation, groups):
        whole = np.zeros(out.shape, out.dtype)
        for k in np.ndindex(w.shape[2:]):
            for o in np.ndindex(out.shape[2:]):
                part = x[:, :, *(i * s + j * d for i, s, j, d in zip(o, stride, k, dilation))]
                whole[:, :, *o] += part @ w[:, :, *k].T
        most = tuple(slice(number if a == axis else None) for a in range(out.ndim))
        out[most] = whole[most]

    kernel = examining.Examined(
        operation, mine, "mine", grid=None, block=None, default=False, when=lambda problem: problem.groups == 1
    )
    nc.register(operation, kernel)
    kernel.run_once = lambda problem, handed: mine(*handed.arrays.values(), *handed.numbers)
    asked = [q for q in questions.questions(operation, ("float32",), False, 9, 0) if q.case.groups == 1]
    wrong = [q for q in asked if q.work < examining.WORK["python"] and judged(kernel, q)]
    assert wrong and {q.case.name for q in wrong} == {"large"}


def test_wrong_for_stride_2_only(registry):
    @lab.kernel("conv1d")
    def mine(x, w, out, stride, padding, dilation, groups):
        for n in range(out.shape[0]):
            for o in range(out.shape[1]):
                for i in range(out.shape[2]):
                    for c in range(w.shape[1]):
                        for k in range(w.shape[2]):
                            v = x[n, o // (w.shape[0] // groups) * w.shape[1] + c, i + k * dilation[0]]
                            out[n, o, i] += w[o, c, k] * v

    failure, text = one(lab.check(mine, **FEW), "wrong result")
    assert failure.question.case.stride[0] > 1 and failure.question.case.kernel == (1,) and "stride (" in text
    assert "1 of 2 elements of out are wrong" in text and "got (! where it differs)" in text


def test_sums_in_too_small_a_dtype(registry):
    @lab.kernel("conv1d")
    def mine(x, w, out, stride, padding, dilation, groups):
        for n in range(out.shape[0]):
            for o in range(out.shape[1]):
                for i in range(out.shape[2]):
                    total = 0.0
                    for c in range(w.shape[1]):
                        for k in range(w.shape[2]):
                            v = x[n, o // (w.shape[0] // groups) * w.shape[1] + c, i * stride[0] + k * dilation[0]]
                            total += round(w[o, c, k] * v * 4096) / 4096
                    out[n, o, i] = total

    _, text = one(lab.check(mine, **FEW), "wrong result")
    assert "too small a dtype" in text


def test_a_maximum_that_begins_at_zero(registry):
    @lab.kernel("max_pool1d")
    def mine(x, out, kernel, stride, padding, dilation):
        for n in range(out.shape[0]):
            for c in range(out.shape[1]):
                for i in range(out.shape[2]):
                    for k in range(kernel[0]):
                        out[n, c, i] = max(out[n, c, i], x[n, c, i * stride[0] + k * dilation[0]])

    one(lab.check(mine, **FEW), "wrong result")


def test_an_error_is_shown_with_its_line(registry):
    @lab.kernel("conv1d")
    def mine(x, w, out, stride, padding, dilation, groups):
        if stride[0] == 2:
            raise ValueError("stride 2 is not written yet")
        convolve_compiled(x, w, out, stride, padding, dilation, groups)

    convolve_compiled = njit(convolve)
    failure, text = one(lab.check(mine, **FEW), "raises")
    assert "ValueError: stride 2 is not written yet" in text and failure.question.case.stride == (2,)
    assert 'raise ValueError("stride 2 is not written yet")' in text


def test_what_a_kernel_prints_is_not_shown(registry, capfd):
    @lab.kernel("global_avg_pool")
    def mine(x, out):
        print("printed")

    one(lab.check(mine, **FEW), "never written")
    assert capfd.readouterr() == ("", "")


def test_a_signature_that_does_not_fit(registry):
    @lab.kernel("global_avg_pool")
    @njit("void(float64[:,:,::1], float64[:,:,::1])")
    def mine(x, out):
        for n in range(x.shape[0]):
            for c in range(x.shape[1]):
                out[n, c, 0] = x[n, c].mean()

    _, text = one(lab.check(mine, **FEW), "raises")
    assert "No matching definition for argument type(s)" in text


def test_what_numba_refuses_is_shown_as_it_says_it(registry):
    @lab.kernel("conv1d")
    def mine(x, w, out, stride, padding, dilation, groups):
        out[0] = x.no_such_thing

    _, text = one(lab.check(mine, **FEW), "does not compile")
    assert "TypingError" in text and "no_such_thing" in text and "test_checking.py" in text


def test_a_loop_without_an_end(registry):
    @lab.kernel("conv1d")
    def mine(x, w, out, stride, padding, dilation, groups):
        i = 0
        while i < 10:
            i = (i + 1) % 5

    failure, text = one(lab.check(mine, timeout=0.3, **FEW), "does not end")
    assert "0.3 s of processor time" in text or "s of processor time" in failure.message


@intrinsic
def store(typing, array, place, value):
    """A store that no index is checked of, and that plain Python has not."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        builder.store(arguments[2], builder.gep(data, [arguments[1]]))
        return context.get_dummy_value()

    return numba.types.none(array, numba.types.intp, numba.types.float32), generate


def test_compiled_code_that_changes_an_operand(registry):
    @lab.kernel("global_avg_pool")
    def mine(x, out):
        store(x, 0, np.float32(1))

    _, text = one(lab.check(mine, **FEW), "changes its input")
    assert "changes elements of x, an operand" in text


@pytest.mark.parametrize("place, kind", [(0, "writes beside a buffer"), (1 << 24, "out of bounds")])
def test_compiled_code_that_leaves_its_arrays(place, kind, registry):
    @lab.kernel("conv1d")
    def mine(x, w, out, stride, padding, dilation, groups):
        store(out, out.size + place, np.float32(1))

    failure, text = one(lab.check(mine, **FEW), kind)
    assert failure.mode == "serial" and "between guard pages" in text
    assert ("SIGSEGV" if place else "out were changed, such as the one 1 after") in text
    assert "does not run as plain Python" in text and "<intrinsic store>" in text


def test_a_kernel_that_takes_nothing(registry):
    mine = lab.kernel("conv1d", name="mine", when=lambda p: p.n == 77 or "it takes 77 images")(convolve)
    report = lab.check(mine, **FEW)
    (failure,) = report.failures
    assert failure.kind == "takes nothing" and "it takes 77 images" in failure.message


def test_an_error_in_what_packs_the_weight(registry):
    mine = lab.kernel("conv1d", name="mine", prepare=lambda w: w.no_such_thing)(convolve)
    failure, text = one(lab.check(mine, **FEW), "raises")
    assert "AttributeError" in text and failure.place[0] == __file__


def _without_end(w):
    while True:
        pass


def _leaving(w):
    raise SystemExit(3)


@pytest.mark.parametrize("prepare, kind, words", [
    (_without_end, "does not end", "s of processor time"),
    (_leaving, "raises", "SystemExit: 3"),
    (lambda w: None, "raises", "prepare must return an array, got NoneType"),
    (lambda w: os.kill(os.getpid(), 9), "died", "the process was ended by SIGKILL"),
])  # fmt: skip
def test_what_packs_the_weight_goes_wrong(prepare, kind, words, registry):
    mine = lab.kernel("conv1d", name="mine", prepare=prepare)(convolve)
    _, text = one(lab.check(mine, timeout=0.5, **FEW), kind)
    assert words in text and "when `when` and `prepare` were called" in text


def test_a_condition_without_return(registry):
    mine = lab.kernel("conv1d", name="mine", when=lambda p: None)(convolve)
    _, text = one(lab.check(mine, **FEW), "takes nothing")
    assert "its `when` returns None" in text and "is a `return` missing?" in text


def test_a_kernel_that_cannot_be_handed_on(registry):
    lock = threading.Lock()
    mine = lab.kernel("conv1d", name="mine", when=lambda p: lock.locked())(convolve)
    with pytest.raises(TypeError, match=r"'mine' uses something that another process cannot be given: .*lock"):
        lab.check(mine)


def test_a_device_function_is_handed_on(registry):
    pytest.importorskip("numba_cuda")
    from numba import cuda

    @cuda.jit(device=True)
    def first(x, n, c):
        return x[n, c, 0]

    @lab.kernel("global_avg_pool", device="cuda")
    @cuda.jit
    def mine(x, out):
        out[0, 0, 0] = first(x, 0, 0)

    handed = pickle.loads(checking._pickled(checking._spec(mine)))["kernel"]["function"]
    (cell,) = handed.__closure__
    assert cell.cell_contents.py_func.__name__ == "first"


def test_a_check_is_of_a_kernel():
    with pytest.raises(TypeError, match=r"numconv\.lab\.kernel"):
        lab.check(convolve)


def test_a_check_within_a_check_is_refused(registry, monkeypatch):
    mine = lab.kernel("conv1d", name="mine")(convolve)
    monkeypatch.setenv(checking.INSIDE, "1")
    with pytest.raises(RuntimeError, match="__main__"):
        lab.check(mine)
    monkeypatch.delenv(checking.INSIDE)
    with pytest.raises(ValueError, match="timeout"):
        lab.check(mine, timeout=0)


# questions


# Every kind of operation; those of one and three axes go the same way.
ASKED = [name for name in sorted(TABLES) if "1d" not in name and "3d" not in name] + ["conv3d", "avg_pool1d"]


@pytest.mark.parametrize("operation", ASKED)
def test_our_own_algorithms_answer_every_question(operation):
    """The oracle's answers in `questions` are those of the public functions."""
    asked = list(questions.questions(operation, ("float32",), "max" in operation, 12, 3))
    assert len(asked) > 8
    name, wrong = TABLES[operation][-1].name, []
    for q in asked[:: max(1, len(asked) // 25)]:
        try:
            posed = questions.pose(q)
            results = posed.ask(operation, name)
        except ValueError:  # an unpooling to no such size
            assert "unpool" in operation
            continue
        for got, expected in zip(results, posed.expected, strict=True):
            bound = bound_of(q) * max(posed.scale, 1e-30)
            assert got.shape == expected.shape, str(q)
            if not (np.isclose(got, expected, rtol=0, atol=bound)).all():
                wrong.append(str(q))
    assert not wrong


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_a_maximum_is_asked_low_numbers(dtype):
    asked = list(questions.questions("max_pool1d", (dtype,), False, 0, 0))
    assert min(questions.pose(q).expected[0].min(initial=0, where=q.case.padding == ((0, 0),)) for q in asked) < -1000


def test_smaller_questions_are_smaller():
    for operation in ("conv2d", "conv_transpose1d", "max_pool2d"):
        for q in list(questions.questions(operation, ("float32",), False, 5, 0))[:40:4]:
            for candidate in smaller(q):
                assert candidate != q
                parts = [v for v in vars(candidate.case).values() if isinstance(v, (int, tuple))]
                before = [v for v in vars(q.case).values() if isinstance(v, (int, tuple))]
                assert np.sum(_flat(parts)) <= np.sum(_flat(before)) or candidate.case.__class__ is ConvCase


def _flat(value):
    if isinstance(value, (tuple, list)):
        return [number for part in value for number in _flat(part)]
    return [int(value)]


def test_a_large_difference_is_shown_in_part():
    expected = np.arange(400.0).reshape(1, 1, 20, 20)
    got = expected.copy()
    got[0, 0, 15, 17] = -1
    failure = Failure("wrong result", "one", "serial", None, None, expected, got, got != expected)
    lines = list(checking._said(failure))
    assert any("-1!" in line for line in lines) and any("rows from 11, columns from 12" in line for line in lines)
    assert all(len(line) <= 100 for line in lines) and len(lines) < 14


# files


FILE = """
from numconv import lab

FACTOR = 1

def helper(p):
    return p.groups == 1 or "one group only"

@lab.kernel("conv1d", when=helper)
def mine(x, w, out, stride, padding, dilation, groups):
    for n in range(out.shape[0]):
        for o in range(out.shape[1]):
            for i in range(out.shape[2]):
                for c in range(w.shape[1]):
                    for k in range(w.shape[2]):
                        out[n, o, i] += FACTOR * w[o, c, k] * x[n, c, i * stride[0] + k * dilation[0]]

if __name__ == "__main__":
    report = lab.check(mine, random=4)
    print(report.ok, report)
"""


def test_a_script_checks_its_own_kernel(tmp_path):
    file = tmp_path / "script.py"
    file.write_text(FILE)
    paths = os.pathsep.join([str(Path(nc.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, cwd=tmp_path, check=False,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert done.stdout.startswith("True mine (conv1d"), done.stdout + done.stderr
