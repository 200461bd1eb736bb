"""How an algorithm is chosen: by estimate, by the weight's values, by name, by times remembered; and why."""

import json
import subprocess
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
from passes import LAYOUTS, arranged, arrays_like, call, cases_of, error, question
from processes import REPOSITORY, command, run

import numconv as nc
from numconv import measured
from numconv.algorithm import Algorithm, candidates, select
from numconv.kernels.cpu.tables import TABLES
from numconv.ops import choice, pooling_call

GRADIENTS = ("_input", "_weight")
CONVOLUTIONS = [operation for operation in TABLES if operation.startswith("conv")]


class OnlyOnes(Algorithm):
    """Cheaper than all others, for weights of ones."""

    name = "ones"
    reads_weight = True
    asked = 0

    def __init__(self, cost=1e-12):
        self._cost = cost

    def cost(self, problem):
        return self._cost

    def rejects_weight(self, problem, weight):
        self.asked += 1
        return None if (weight == 1).all() else "takes weights of ones only"


class Clock:
    """Time that passes where an algorithm says so, and a microsecond whenever it is looked at."""

    def __init__(self):
        self.now = 0.0
        self.runs = []

    def look(self):
        self.now += 1e-6
        return self.now


class Paced(Algorithm):
    """Fills the result with its number, takes its time and would be the first or second choice by estimate."""

    refuse = None

    def __init__(self, clock, number, prepare, run, cost=0.0):
        self.name = f"paced{number}"
        self._clock, self._number, self._seconds, self._cost = clock, number, (prepare, run), cost or number * 1e-12

    def rejects(self, problem):
        return self.refuse

    def cost(self, problem):
        return self._cost

    def prepare(self, problem, weight):
        self._clock.now += self._seconds[0]
        return weight

    def run(self, problem, packed, x, bias, residual, out, workspace):
        self._clock.now += self._seconds[1]
        self._clock.runs.append(self._number)
        out[...] = self._number


@pytest.fixture
def asked():
    """(problem, x, weight) of a small convolution."""
    x, weight = arrays_like((1, 5, 9, 11), (6, 5, 3, 3), "float32")
    return nc.ConvProblem.make("conv2d", x.shape, weight.shape, x.dtype), x, weight


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where times are kept: an empty folder."""
    monkeypatch.setattr(measured, "place", lambda: str(tmp_path / "times"))
    monkeypatch.delenv("NUMCONV_CACHE", raising=False)
    yield tmp_path / "times"
    nc.options.version += 1


@pytest.fixture
def paced(monkeypatch, registry, folder):
    """A function that registers algorithms 1, 2, ... which take (prepare, run) seconds of a clock that it returns."""
    clock = Clock()
    monkeypatch.setattr(choice, "time", SimpleNamespace(perf_counter=clock.look))

    def register(*seconds, operation="conv2d"):
        entries = [Paced(clock, number, *each) for number, each in enumerate(seconds, 1)]
        for algorithm in entries:
            nc.register(operation, algorithm, default=True)
        return clock, entries

    return register


# by the values of the weight


def test_values_of_the_weight_count_where_there_is_one(registry, asked):
    problem, _, weight = asked
    without = select(problem).name
    nc.register("conv2d", OnlyOnes(), default=True)
    assert select(problem).name == "ones"
    assert select(problem, weight=np.ones_like(weight)).name == "ones"
    assert select(problem, weight=weight).name == without
    assert {a.name: reason for a, _, reason in candidates(problem, weight=weight)}["ones"].startswith("takes")
    assert {a.name: reason for a, _, reason in candidates(problem)}["ones"] is None


def test_a_forced_algorithm_raises_its_sentence_on_the_weight(registry, asked):
    problem, _, weight = asked
    nc.register("conv2d", OnlyOnes())
    assert select(problem, "ones", weight=np.ones_like(weight)).name == "ones"
    with pytest.raises(ValueError, match="rejects this problem: takes weights of ones only"):
        select(problem, "ones", weight=weight)
    with nc.using("ones"), pytest.raises(ValueError, match="ones only"):
        select(problem, weight=weight)


def test_values_are_read_only_where_they_can_decide(registry, asked):
    problem, _, weight = asked
    nc.register("conv2d", expensive := OnlyOnes(cost=1e9), default=True)
    assert select(problem, weight=weight).name != "ones" and expensive.asked == 0
    expensive.reads_weight = False
    assert select(problem, "ones", weight=weight) is expensive and expensive.asked == 0


# by times


def test_the_fastest_is_remembered(paced, asked):
    """Estimates say 1; 2 runs fastest, but packs for long; 3 needs no packing."""
    problem, x, weight = asked
    clock, _ = paced((0, 9e-3), (5e-3, 1e-3), (0, 2e-3))
    assert (nc.conv2d(x, weight, algorithm="tuned") == 1).all()
    tuning = nc.tune("conv2d", x, weight, best_of=3, seconds=0.05)
    assert clock.now < 0.2
    assert tuning.times == {
        f"paced{i}": pytest.approx(each, abs=1e-5) for i, each in enumerate(((0, 9e-3), (5e-3, 1e-3), (0, 2e-3)), 1)
    }  # fmt: skip
    assert (tuning.algorithm, tuning.in_calls, tuning.not_kept) == ("paced2", "paced3", "")
    assert nc.plan("conv2d", x.shape, weight, algorithm="tuned").algorithm == "paced2"
    assert (nc.conv2d(x, weight, algorithm="tuned") == 3).all()
    assert select(problem, "tuned").name == "paced3" and select(problem, "tuned", packed=True).name == "paced2"
    assert (nc.conv2d(x, weight) == 1).all() and select(problem).name == "paced1"
    with nc.using("tuned"):
        assert (nc.conv2d(x, weight) == 3).all()
        assert (nc.conv2d(x, weight, algorithm="paced1") == 1).all()
        assert (nc.conv2d(x[..., 1:], weight) == 1).all()
    lines = str(tuning).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["->", "paced3", "paced1"]
    assert "1.0010 ms to run, 5.0010 ms to pack, 0.0000 ms estimated" in lines[1]
    assert "take paced3" in lines[4] and repr(tuning) == str(tuning)


def test_candidates_take_turns_and_losers_leave(paced, asked):
    _, x, weight = asked
    clock, _ = paced((0, 3e-3), (0, 4e-3), (0, 30e-3))
    nc.tune("conv2d", x, weight, best_of=3, seconds=0.1)
    assert clock.runs[:6] == [1, 2, 3, 1, 2, 3]
    assert clock.runs[6:12] == [1, 2] * 3 and 3 not in clock.runs[6:]


def test_time_is_bounded(paced, asked):
    """What is estimated to take longer than all may is not timed, unless it is the first."""
    _, x, weight = asked
    _, (*_, third) = paced((0, 1e-3), (0, 1e-3), (0, 1e-3))
    third._cost = 1e-8
    assert {*nc.tune("conv2d", x, weight, best_of=3, seconds=1e-9).times} == {"paced1", "paced2"}
    assert {*nc.tune("conv2d", x, weight, best_of=3, seconds=1e-13).times} == {"paced1"}


def test_who_rejects_is_not_timed(registry, folder, asked):
    _, x, weight = asked
    nc.register("conv2d", OnlyOnes(), default=True)
    tuning = nc.tune("conv2d", x, weight, seconds=1e-3)
    assert tuning.times and "ones" not in tuning.times
    assert set(tuning.times) <= set(nc.algorithms("conv2d"))


def test_a_winner_that_rejects_now_gives_way(paced, asked):
    problem, x, weight = asked
    _, (_, winner) = paced((0, 3e-3), (0, 1e-3))
    assert nc.tune("conv2d", x, weight, best_of=2).algorithm == "paced2"
    winner.refuse = "it is not my day"
    assert select(problem, "tuned").name == "paced1"
    winner.refuse, winner.reads_weight, winner.rejects_weight = None, True, lambda problem, weight: "not that weight"
    assert select(problem, "tuned").name == "paced2" and select(problem, "tuned", weight=weight).name == "paced1"
    nc.options.version += 1
    winner.name = "another"
    assert select(problem, "tuned").name == "paced1"


@pytest.mark.parametrize(
    "operation, layout",
    [
        (operation, layout)
        for operation in CONVOLUTIONS
        for layout in LAYOUTS
        if "memory" not in layout or not operation.endswith(GRADIENTS)  # tune is not told how a gradient lies in memory
    ],
)
def test_a_call_finds_the_times_of_its_problem(operation, layout, paced):
    """`tune` makes the same problem as the call."""
    paced((0, 2e-3), (0, 1e-3), operation=operation)
    case = cases_of(operation)[1]
    x, weight, bias = question(case, operation.removesuffix("_input").removesuffix("_weight"), "float32").operands
    options = case.options | {"data_format": "channels_last" if LAYOUTS[layout][0] else None}
    tuning = nc.tune(
        operation, arranged(x, layout), weight, None if operation.endswith(GRADIENTS) else bias, best_of=2, **options
    )
    assert tuning.algorithm == tuning.in_calls == "paced2"
    operands = question(case, operation, "float32").operands
    assert (call(case, operation, operands, layout, algorithm="tuned") == 2).all()
    assert (call(case, operation, operands, layout) == 1).all()


def test_epilogues_batches_and_single_images(paced, asked):
    _, x, weight = asked
    paced((0, 2e-3), (0, 1e-3))
    bias, residual = arrays_like((6,), (6, 7, 9), "float32")
    more = {"bias": bias, "residual": residual, "activation": "relu", "precision": "strict"}
    nc.tune("conv2d", x[0], weight, best_of=2, **more)
    assert (nc.conv2d(x[0], weight, algorithm="tuned", **more) == 2).all()
    assert (nc.conv2d(x[0], weight, algorithm="tuned") == 1).all()
    assert nc.plan("conv2d", x.shape, weight, algorithm="tuned").algorithm == "paced1"


def test_what_is_tuned_computes_the_same(folder):
    for operation in ("conv2d", "conv2d_input", "conv2d_weight", "conv_transpose2d"):
        case = cases_of(operation)[0]
        x, weight, bias = question(case, operation.removesuffix("_input").removesuffix("_weight"), "float32").operands
        given = (x, weight) if operation.endswith(GRADIENTS) else (x, weight, bias)
        tuning = nc.tune(operation, *given, seconds=1e-3, **case.options)
        assert 1 <= len(tuning.times) <= 4 and all(min(each) >= 0 for each in tuning.times.values())
        asked = question(case, operation, "float32")
        assert error(call(case, operation, asked.operands, "first", algorithm="tuned"), asked) < 5e-6


def test_nothing_to_compute_is_not_timed(folder, asked):
    _, x, weight = asked
    tuning = nc.tune("conv2d", x[:0], weight)
    assert tuning.times == {} and not folder.exists()
    assert nc.conv2d(x[:0], weight, algorithm="tuned").shape == (0, 6, 7, 9)


def test_what_tune_refuses(folder, registry, asked):
    _, x, weight = asked

    class Untouchable(Algorithm):
        name = "untouchable"

        def cost(self, problem):
            return 0.0

        def prepare(self, problem, weight):
            raise AssertionError("work was done before the error")

    nc.register("conv2d", Untouchable(), default=True)
    for wrong, message in (
        ({"best_of": 0}, "best_of"), ({"seconds": 0}, "seconds"), ({"seconds": float("nan")}, "seconds"),
        ({"padding": -1}, "padding"), ({"padding_mode": "reflect"}, "padding_mode"),
        ({"bias": np.ones(5, np.float32)}, "bias"), ({"residual": x}, "residual"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            nc.tune("conv2d", x, weight, **wrong)
    for operation in ("max_pool2d", "conv4d", "conv2d_bias", "softmax"):
        with pytest.raises(ValueError, match="operation"):
            nc.tune(operation, x, weight)
    with pytest.raises(TypeError, match="bias"):
        nc.tune("conv2d_input", x, weight, bias=np.ones(6, np.float32))
    with pytest.raises(ValueError, match="x must have 4 axes"):
        nc.tune("conv2d", x[0, 0], weight)
    with pytest.raises(ValueError, match="'auto', 'tuned' or one of"):
        nc.conv2d(x, weight, algorithm="turned")
    assert not folder.exists()


# where times are kept


@pytest.fixture
def kept(paced, asked, folder):
    """(problem, file) of a problem for which 2 was found faster than 1, which is the first by estimate."""
    problem, x, weight = asked
    paced((0, 2e-3), (0, 1e-3))
    nc.tune("conv2d", x, weight, best_of=2)
    assert select(problem, "tuned").name == "paced2"
    return problem, folder / "tuned.json"


def test_times_count_for_their_circumstances_only(kept, monkeypatch, threads):
    problem, _ = kept
    threads(nc.get_num_threads() + 1)
    assert select(problem, "tuned").name == "paced1"
    threads(nc.get_num_threads() - 1)
    assert select(problem, "tuned").name == "paced2"
    for owner, name, other in ((nc, "__version__", "0.0.0"), (measured, "cpu_name", lambda: "Z80")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, other)
            assert select(problem, "tuned").name == "paced1"
    assert select(problem, "tuned").name == "paced2"


def test_calls_that_are_remembered_notice_another_number_of_threads(kept, asked, threads):
    _, x, weight = asked
    assert (nc.conv2d(x, weight, algorithm="tuned") == 2).all()
    threads(nc.get_num_threads() + 1)
    assert (nc.conv2d(x, weight, algorithm="tuned") == 1).all()


def test_every_field_of_a_problem_is_in_its_key(asked):
    problem, _, _ = asked
    others = {
        "operation": "conv2d_input", "spatial": (9, 12), "out_spatial": (7, 10), "kernel": (3, 2), "stride": (1, 2),
        "padding": ((0, 0), (0, 1)), "dilation": (1, 2), "dtype": np.dtype("float64"), "layout_in": "channels_last",
        "layout_out": "channels_last", "bias": True, "residual": True, "activation": ("elu", 0.5),
        "precision": "strict", "device": "cuda",
    }  # fmt: skip
    names = [f.name for f in fields(problem) if f.compare]
    assert {*names} == {*others, "n", "ci", "co", "groups"}
    keys = {measured.key(replace(problem, **{name: others.get(name, 7)})) for name in names}
    assert len(keys | {measured.key(problem)}) == len(names) + 1


def test_the_key_is_the_same_in_every_process(asked, tmp_path):
    code = """
import json, numpy as np
import numconv as nc
from numconv import measured
nc.set_num_threads(2)
problem = nc.ConvProblem.make("conv2d", (np.int64(1), 5, 9, 11), [6, 5, 3, 3], "<f4", activation="relu")
print(json.dumps(measured.key(problem)))
"""
    (tmp_path / "code.py").write_text(code)
    keys = {run(tmp_path / "code.py", PYTHONHASHSEED=seed) for seed in ("0", "1")}
    (key,) = keys
    assert "conv2d" in key and "0x" not in key and "2 threads" in key and nc.__version__ in key


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"3", b"\xff\xfe\x00", b"[" * 100_000, b"{}", b'{"KEY": null}', b'{"KEY": 3}',
        b'{"KEY": {"paced2": 3}}', b'{"KEY": {"paced2": {}}}', b'{"KEY": {"paced2": {"run": 0}}}',
        b'{"KEY": {"paced2": {"run": "soon", "prepare": 0}}}', b'{"KEY": {"paced2": {"run": null, "prepare": 0}}}',
        b'{"KEY": {"paced2": {"run": 1' + b"0" * 400 + b', "prepare": 0}}}',
        b'{"KEY": {"no such": {"run": 0, "prepare": 0}}}',
    ],
)  # fmt: skip
def test_a_broken_file_is_ignored_and_replaced(kept, content, asked):
    problem, file = kept
    _, x, weight = asked
    file.write_bytes(content.replace(b"KEY", measured.key(problem).encode()))
    nc.options.version += 1
    assert select(problem, "tuned").name == "paced1"
    assert (nc.conv2d(x, weight, algorithm="tuned") == 1).all()
    nc.explain("conv2d", x, weight, algorithm="tuned")
    assert nc.tune("conv2d", x, weight, best_of=2).algorithm == "paced2"
    assert measured.key(problem) in json.loads(file.read_text())


def test_a_file_that_is_cut_off_is_ignored(kept):
    problem, file = kept
    content = file.read_bytes()
    for length in range(0, len(content) - 1, 7):
        file.write_bytes(content[:length])
        assert select(problem, "tuned").name == "paced1"
    file.write_bytes(content)
    assert select(problem, "tuned").name == "paced2"


def test_the_file_is_read_once_and_again_when_it_changes(kept, monkeypatch):
    problem, file = kept
    select(problem, "tuned")
    reads, parse = [], measured._parsed
    monkeypatch.setattr(measured, "_parsed", lambda path: reads.append(path) or parse(path))
    assert [select(problem, "tuned").name for _ in range(3)] == ["paced2"] * 3 and not reads
    text = json.loads(file.read_text())
    text[measured.key(problem)]["paced1"] = {"prepare": 0, "run": 1e-9}
    file.write_text(json.dumps(text))
    assert [select(problem, "tuned").name for _ in range(3)] == ["paced1"] * 3 and len(reads) == 1
    file.unlink()
    assert measured.times(problem) == {}


def test_writing_keeps_what_others_wrote(kept, asked):
    _, file = kept
    _, x, weight = asked
    written = json.loads(file.read_text())
    file.write_text(json.dumps(written | {"of another process": {"a": 1}}))
    nc.tune("conv2d", x, weight, stride=2, best_of=2)
    now = json.loads(file.read_text())
    assert {*now} > {*written, "of another process"} and len(now) == 3
    assert [path.name for path in file.parent.iterdir()] == ["tuned.json"]


def test_threads_and_processes_that_write_at_once_lose_nothing(tmp_path):
    code = """
from concurrent.futures import ThreadPoolExecutor
from numconv import measured

def write(thread):
    for i in range(20):
        name = f"{NAME} {thread} {i}"
        assert not measured.keep("tuned.json", {name: {"x": list(range(50))}})
        assert name in measured.entries("tuned.json")

with ThreadPoolExecutor() as pool:
    list(pool.map(write, range(2)))
"""
    started = []
    for name in range(3):
        path = tmp_path / f"code{name}.py"
        path.write_text(f"NAME = {name}\n{code}")
        started.append(subprocess.Popen(**command(path, REPOSITORY, NUMCONV_CACHE_DIR=str(tmp_path / "c"))))
    for process in started:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert len(json.loads((tmp_path / "c/tuned.json").read_text())) == 120
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["tuned.json"]


@pytest.mark.parametrize("trouble", ["switched off", "a folder in place of the file", "a file in place of the folder"])
def test_a_process_remembers_what_it_cannot_write(trouble, paced, asked, folder, monkeypatch):
    problem, x, weight = asked
    paced((0, 2e-3), (0, 1e-3))
    if trouble == "switched off":
        monkeypatch.setenv("NUMCONV_CACHE", "0")
    elif trouble == "a folder in place of the file":
        (folder / "tuned.json").mkdir(parents=True)
    else:
        folder.write_text("")
    tuning = nc.tune("conv2d", x, weight, best_of=2)
    assert tuning.not_kept and tuning.not_kept in str(tuning)
    assert tuning.algorithm == select(problem, "tuned").name == "paced2"
    assert not (folder / "tuned.json").is_file()


# explanations


def test_explain_says_what_was_measured(paced, asked, capsys):
    _, x, weight = asked
    paced((0, 2e-3), (5e-4, 1e-3))
    before = nc.explain("conv2d", x, weight, algorithm="tuned")
    assert before.algorithm == "paced1" and before.measured == {} and "measured and" not in str(before)
    nc.tune("conv2d", x, weight, best_of=2)
    explanation = nc.explain("conv2d", x, weight, algorithm="tuned")
    assert (explanation.algorithm, explanation.planned) == ("paced2", "paced2") and explanation.measured[
        "paced1"
    ] == pytest.approx((0, 2e-3), abs=1e-5)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("-> paced2"))
    assert "1.0010 ms measured and 0.5010 ms to pack" in line
    assert nc.explain("conv2d", x, weight).algorithm == "paced1"


def test_explain_names_what_a_plan_takes(paced, asked):
    _, x, weight = asked
    _, (packs, _) = paced((5e-3, 1e-3), (0, 2e-3))
    packs.packing = lambda problem: 1e-9
    explanation = nc.explain("conv2d", x, weight)
    assert (explanation.algorithm, explanation.planned) == ("paced2", "paced1")
    assert nc.plan("conv2d", x.shape, weight).algorithm == "paced1" and (nc.conv2d(x, weight) == 2).all()
    assert "packs the weight once, takes paced1" in str(explanation)
    gradient = nc.explain("conv2d_input", x, weight)
    assert gradient.planned == gradient.algorithm and "a plan" not in str(gradient)


def test_explain_gives_reasons_of_the_weight(registry, folder, asked):
    _, x, weight = asked
    nc.register("conv2d", OnlyOnes(), default=True)
    explanation = nc.explain("conv2d", x, weight)
    assert explanation.rejected["ones"] == "takes weights of ones only" in str(explanation)
    assert nc.explain("conv2d", x, np.ones_like(weight)).algorithm == "ones"
    assert set(explanation.estimated) | set(explanation.rejected) == set(nc.algorithms("conv2d"))
    assert not set(explanation.estimated) & set(explanation.rejected)


@pytest.mark.parametrize("dtype, work", [("float32", 1), ("float16", 1), ("float64", 2), ("complex64", 4), ("int8", 0)])
def test_the_floor_of_a_problem(dtype, work, folder, asked, threads, monkeypatch):
    _, x, weight = asked
    x, weight = x.astype(dtype), weight.astype(dtype)
    unknown = nc.explain("conv2d", x, weight)
    assert unknown.floor is None and "not measured: run numconv bench --roofline" in str(unknown)
    rates = {"fma_1": 1e-3, "fma_all": 1.5e-3, "bandwidth_1": 1e-4, "bandwidth_all": 1.5e-4}
    measured.keep("machine.json", {measured.cpu_name(): rates})
    for count, factor in ((1, 1), (2, 1.5), (3, 1.5)):
        threads(count)
        seconds = nc.explain("conv2d", x, weight)
        problem = seconds.problem
        arithmetic, memory = work * problem.flops / 1e6 / factor, problem.bytes / 1e5 / factor
        assert seconds.floor == pytest.approx(max(arithmetic, memory))
        assert f"{seconds.floor * 1e3:.4f} ms by the roofline on {count} thread" in str(seconds)
    for wrong in ({}, rates | {"fma_1": 0}, rates | {"fma_1": "fast"}, 3, None):
        measured.keep("machine.json", {measured.cpu_name(): wrong})
        assert nc.explain("conv2d", x, weight).floor is None


X = np.random.default_rng(3).standard_normal((2, 3, 8, 9), np.float32)
LAST = {"data_format": "NHWC"}
POOLINGS = {
    "max_pool2d": (
        {"kernel_size": 2},
        {"kernel_size": (3, 2), "stride": 2, "padding": 1, "return_indices": True},
        {"kernel_size": 2} | LAST,
    ),
    "avg_pool2d": ({"kernel_size": 3, "padding": 1, "count_include_pad": False},),
    "lp_pool2d": ({"norm_type": 2.0, "kernel_size": 2}, {"norm_type": np.inf, "kernel_size": 2}),
    "weighted_avg_pool2d": ({"kernel_size": 3}, {"kernel_size": 2, "weights": np.ones((2, 2))}),
    "adaptive_avg_pool2d": ({"output_size": (3, None)}, {"output_size": 1}, {"output_size": 1} | LAST),
    "adaptive_max_pool2d": ({"output_size": 2, "return_indices": True},),
    "global_avg_pool": ({}, LAST),
    "global_max_pool": ({},),
}  # fmt: skip


@pytest.mark.parametrize("operation", POOLINGS)
def test_explain_sees_a_pooling_as_its_call_does(operation, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(pooling_call, "_calls", {})
    monkeypatch.setattr(pooling_call, "select", lambda *given: seen.append(given[0]) or select(*given))
    for options in POOLINGS[operation]:
        getattr(nc, operation)(X, **options)
        explanation = nc.explain(operation, X, **options)
        assert explanation.problem == seen[-1]
        assert explanation.algorithm == select(seen[-1]).name
        assert str(explanation) in capsys.readouterr().out


def test_explain_sees_gradients_of_poolings_as_their_calls_do(monkeypatch):
    seen = []
    monkeypatch.setattr(pooling_call, "_calls", {})
    monkeypatch.setattr(pooling_call, "select", lambda *given: seen.append(given[0]) or select(*given))
    windows = {"kernel_size": 3, "stride": 2, "padding": 1}
    y, indices = nc.max_pool2d(X, **windows, return_indices=True)
    small, places = nc.max_pool2d(X[..., :8], 2, return_indices=True)
    nc.max_pool2d_input(X.shape, indices, y)
    assert nc.explain("max_pool2d_input", X, **windows).problem == seen[-1]
    nc.avg_pool2d_input(X.shape, y, **windows)
    assert nc.explain("avg_pool2d_input", X, **windows).problem == seen[-1]
    nc.lp_pool2d_input(X, y, 2.0, **windows)
    assert nc.explain("lp_pool2d_input", X, norm_type=2.0, **windows).problem == seen[-1]
    nc.global_avg_pool_input(X.shape, X[:, :, :1, :1])
    assert nc.explain("global_avg_pool_input", X).problem == seen[-1]
    nc.max_unpool2d(small, places, 2)
    assert nc.explain("max_unpool2d", small, kernel_size=2).problem == seen[-1]
    nc.max_unpool2d_input(small.shape, places, X[..., :8])
    assert nc.explain("max_unpool2d_input", small, kernel_size=2).problem == seen[-1]


def test_what_explain_refuses(asked):
    _, x, weight = asked
    with pytest.raises(TypeError, match="weight and bias must be left out for max_pool2d"):
        nc.explain("max_pool2d", x, 2)
    with pytest.raises(TypeError, match="norm_type"):
        nc.explain("lp_pool2d", x, kernel_size=2)
    with pytest.raises(TypeError, match="weight"):
        nc.explain("conv2d", x)
    for operation in ("softmax", "conv4d"):
        with pytest.raises(ValueError, match="operation"):
            nc.explain(operation, x, weight)
