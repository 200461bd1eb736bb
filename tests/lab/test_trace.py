"""Traces: what they see of calls, plans, layers, gradients and frozen models, and that they leave nothing behind."""

import inspect
import json
import os
import subprocess
import threading

import numpy as np
import pytest
from processes import command, run

import numconv as nc
from numconv import measured, nn
from numconv.autograd import Tensor, no_grad
from numconv.kernels.cpu import cache
from numconv.kernels.cpu.replay import Replay
from numconv.ops import convolution, pooling_call
from numconv.plan import Call, Plan

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((1, 8, 12, 12), np.float32), RNG.standard_normal((8, 8, 3, 3), np.float32)


def asked(trace):
    return [call.problem.operation for call in trace.calls]


def network():
    nn.init.seed(0)
    return nn.Sequential(nn.Conv2d(8, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3))


def test_a_call_and_its_parts():
    nc.conv2d(X, W, padding=1)
    with nc.trace() as trace:
        first = nc.conv2d(X, W, padding=1, algorithm="winograd_4x4")
        again = nc.conv2d(X, W, padding=1, algorithm="winograd_4x4")
    np.testing.assert_array_equal(first, again)
    assert len(trace) == 2
    for call in trace.calls:
        assert call.problem == nc.ConvProblem.make("conv2d", X.shape, W.shape, padding=1)
        assert (call.algorithm, call.way, call.threads, call.error) == (
            "winograd_4x4",
            "call",
            nc.get_num_threads(),
            "",
        )
        assert call.packing > 0 and call.computing > 0
        assert call.packing + call.computing + call.compiling == pytest.approx(call.seconds)
    assert trace.calls[0].choosing > 0 == trace.calls[1].choosing
    assert trace.calls[0].start + trace.calls[0].seconds <= trace.calls[1].start
    assert trace.seconds >= sum(call.seconds for call in trace.calls)


def test_the_reasons_are_those_of_explain(capsys):
    explained = nc.explain("conv2d", X, W)
    with nc.trace() as trace:
        nc.conv2d(X, W)
        nc.plan("conv2d", X.shape, W)(X)
    call, planned = trace.calls
    assert call.algorithm == explained.algorithm
    assert {c.name: c.reason for c in call.candidates if c.reason} == explained.rejected
    assert {c.name: c.estimated for c in call.candidates if c.reason is None} == explained.estimated
    assert (planned.way, planned.algorithm) == ("plan", explained.planned)
    shown = trace.reasons()
    assert all(reason in shown for reason in explained.rejected.values())
    assert f"-> {explained.algorithm:12s}" in shown


def test_reasons_are_those_of_the_weight():
    x = RNG.standard_normal((1, 8, 64, 64), np.float32)
    random, row = RNG.standard_normal((8, 1, 5, 5), np.float32), RNG.standard_normal(5, np.float32)
    separable = np.ascontiguousarray(np.broadcast_to(np.outer(row, row), random.shape))
    with nc.trace() as trace:
        for weight in (random, separable):
            nc.conv2d(x, weight, groups=8, algorithm="auto")
    reasons = [{c.name: c.reason for c in call.candidates}["separable"] for call in trace.calls]
    assert reasons[0] and reasons[1] is None
    assert all(c.reason is None for call in trace.calls for c in call.candidates if c.name == call.algorithm)


def test_a_trace_can_be_opened_again_but_not_twice(tmp_path):
    trace = nc.trace()
    with trace:
        nc.conv2d(X, W)
        with pytest.raises(RuntimeError, match="open already"), trace:
            pass
    with trace:
        nc.conv2d(X, W)
    trace.chrome(tmp_path / "chrome.json")
    events = json.loads((tmp_path / "chrome.json").read_text())["traceEvents"]
    assert len(trace) == 2 and all(event["ts"] >= 0 for event in events if event["ph"] == "X")
    assert trace.seconds >= sum(call.seconds for call in trace.calls)


def test_what_is_seen():
    grad = nc.conv2d(X, W)
    plan = nc.plan("conv_transpose2d", X.shape, W, stride=2)
    out = plan(X)
    bound = plan.bind(X, out)
    with nc.trace() as trace:
        nc.conv2d_input(X.shape, W, grad)
        nc.conv2d_weight(X, W.shape, grad)
        nc.conv1d(X[:, :, 0], W[:, :, 0])
        plan(X)
        bound()
        _, indices = nc.max_pool2d(X, 2, return_indices=True)
        nc.max_pool2d_input(X.shape, indices, nc.max_pool2d(X, 2))
        nc.global_avg_pool(X)
    assert asked(trace) == [
        "conv2d_input", "conv2d_weight", "conv1d", "conv_transpose2d", "conv_transpose2d", "max_pool2d", "max_pool2d",
        "max_pool2d_input", "global_avg_pool",
    ]  # fmt: skip
    assert [call.way for call in trace.calls if call.way != "call"] == ["plan", "plan"]
    assert trace.calls[3].packing == trace.calls[4].packing == 0


def test_layers_and_gradients_of_the_tape():
    model = network()
    with nc.trace() as trace:
        model(Tensor(X, requires_grad=True)).sum().backward()
    assert asked(trace) == [
        "conv2d", "max_pool2d", "conv2d", "conv2d_input", "conv2d_weight", "max_pool2d_input", "conv2d_input",
        "conv2d_weight",
    ]  # fmt: skip
    assert [call.layer for call in trace.calls] == ["0", "2", "3", "", "", "", "", ""]
    spans = {(span.kind, span.name) for span in trace.spans}
    assert {("layer", "Sequential"), ("layer", "1"), ("gradient", "gradient of relu")} <= spans


def test_a_frozen_model_runs_one_by_one_to_the_same_result():
    frozen = nn.freeze(network().eval(), X)
    expected = [frozen(X) for _ in range(2)][1]
    with nc.trace() as trace:
        np.testing.assert_array_equal(frozen(X), expected)
    assert asked(trace) == ["conv2d", "max_pool2d", "conv2d"]
    assert {call.way for call in trace.calls} == {"frozen"}
    assert [span.name for span in trace.spans if span.kind == "model"] == ["frozen model"]
    np.testing.assert_array_equal(frozen(X), expected)


def hooked():
    """What a trace replaces."""
    from numconv.graph.executor import Frame

    places = (
        (Call, "run"), (Call, "_pack"), (Replay, "__call__"), (pooling_call.Call, "run"), (Plan, "_checked"),
        (convolution, "_checked"), (convolution, "make_plan"), (Frame, "run"), (nn.Module, "__call__"),
    )  # fmt: skip
    return [inspect.getattr_static(owner, name) for owner, name in places]


def test_nothing_is_left_behind():
    before = hooked()
    with nc.trace() as outer:
        within = hooked()
        with nc.trace():
            assert hooked() == within
        assert hooked() == within
    assert hooked() == before and not any(old is new for old, new in zip(before, within))
    nc.conv2d(X, W)
    assert len(outer) == 0


def test_nested_traces_each_have_what_was_in_them():
    with nc.trace() as outer:
        nc.conv2d(X, W)
        with nc.trace() as inner:
            nc.max_pool2d(X, 2)
        nc.avg_pool2d(X, 2)
    assert asked(inner) == ["max_pool2d"]
    assert asked(outer) == ["conv2d", "max_pool2d", "avg_pool2d"]


def test_traces_may_close_in_any_order():
    before = hooked()
    first, second = nc.trace(), nc.trace()
    first.__enter__()
    second.__enter__()
    first.__exit__()
    nc.max_pool2d(X, 2)
    second.__exit__()
    assert (len(first), len(second)) == (0, 1) and hooked() == before


def test_errors_leave_it_consistent(registry):
    def raises(x, w, out, stride, padding, dilation, groups):
        raise OverflowError("mine")

    nc.register("conv2d", raises, name="raises")
    before = hooked()
    with pytest.raises(OverflowError), nc.trace() as trace:
        nc.conv2d(X, W, algorithm="raises")
    assert hooked() == before
    (call,) = trace.calls
    assert (call.algorithm, call.error) == ("raises", "OverflowError") and "raises, OverflowError" in str(trace)
    with nc.trace() as trace:
        with pytest.raises(ValueError, match="channels"):
            nc.conv2d(X, W[:, :5])
        with pytest.raises(ValueError, match="out must"):
            nc.conv2d(X, W, padding=2, out=np.empty(3, np.float32))
        nc.conv2d(X, W)
    (call,) = trace.calls
    assert call.error == "" and call.problem.padding == ((0, 0), (0, 0))


def test_threads_are_seen_and_told_apart():
    expected, count = nc.conv2d(X, W), 30
    wrong = []

    def work():
        for _ in range(count):
            with nc.trace():
                if not np.array_equal(nc.conv2d(X, W), expected):
                    wrong.append(1)

    with nc.trace() as trace:
        threads = [threading.Thread(target=work, name=f"worker {i}") for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong and len(trace) == 3 * count
    identities = [call.thread for call in trace.calls]
    assert len(set(identities)) == 3 and all(identities.count(each) == count for each in identities)
    assert set(trace.threads.values()) == {"worker 0", "worker 1", "worker 2"}


def test_the_fraction_of_the_roofline(monkeypatch):
    with nc.trace() as unknown:
        nc.conv2d(X, W)
    monkeypatch.setattr(measured, "ceilings", lambda: measured.Ceilings(10.0, 10.0, 5.0, 5.0))
    with nc.trace() as trace:
        nc.conv2d(X, W)
    (call,) = trace.calls
    problem = call.problem
    assert call.floor == pytest.approx(max(problem.flops / 10e9, problem.bytes / 5e9))
    assert call.attained == call.floor / call.computing
    assert "roof" in str(trace).splitlines()[0]
    if unknown.calls[0].floor is None:
        assert "bench --roofline" in str(unknown)


def test_alike_calls_are_one_line():
    with nc.trace() as trace:
        for _ in range(3):
            nc.conv2d(X, W)
        nc.max_pool2d(X, 2)
    header, first, second, *_ = str(trace).splitlines()
    assert header.split()[1:3] == ["algorithm", "calls"]
    assert first.startswith("conv2d 3x3 1x8x12x12 -> 8x10x10") and " 3 " in first
    assert second.startswith("max_pool2d 2x2/2 1x8x12x12 -> 8x6x6")
    assert trace._repr_html_().startswith("<pre>") and "-&gt;" in trace._repr_html_()


def test_the_files(tmp_path):
    with nc.trace() as trace:
        network()(Tensor(X, requires_grad=True)).sum().backward()
    trace.json(tmp_path / "calls.json")
    found = json.loads((tmp_path / "calls.json").read_text())
    assert [call["problem"]["operation"] for call in found["calls"]] == asked(trace)
    assert all(
        call["start"] >= 0 and call["candidates"] and call["problem"]["dtype"] == "float32" for call in found["calls"]
    )
    trace.chrome(tmp_path / "chrome.json")
    events = json.loads((tmp_path / "chrome.json").read_text())["traceEvents"]
    complete = [event for event in events if event["ph"] == "X"]
    assert len(complete) == len(trace.spans)
    assert all({"name", "cat", "pid", "tid", "ts", "dur", "args"} <= set(event) for event in complete)
    assert [e["args"]["name"] for e in events if e["ph"] == "M"] == ["MainThread"]
    calls = [event for event in complete if event["cat"] == "call"]
    assert all(event["args"]["problem"].startswith(event["name"]) and event["args"]["candidates"] for event in calls)
    stack = []  # of ends: events of a thread lie within each other or apart
    for event in sorted(complete, key=lambda event: (event["ts"], -event["dur"])):
        while stack and stack[-1] <= event["ts"]:
            stack.pop()
        assert not stack or event["ts"] + event["dur"] <= stack[-1] + 1
        stack.append(event["ts"] + event["dur"])


PROGRAM = """
import json, sys
import numpy as np, numconv as nc
with nc.trace() as trace:
    for _ in range(2):
        nc.avg_pool1d(np.ones((1, 4, 32), np.float32), 2)
first, second = trace.calls
names = [span.name for span in trace.spans if span.kind == "compile"]
print(json.dumps([first.compiled, first.compiling > 0, first.compiling < first.seconds, second.compiled,
                  second.compiling, len(names), [span.kind for span in trace.spans if span.kind == "load"]]))
"""


def test_compiling_is_told_apart(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    compiled, some, part, again, time_again, named, loads = run(tmp_path / "program.py", NUMCONV_CACHE="0")
    assert compiled > 0 and some and part and named == compiled
    assert (again, time_again) == (0, 0)
    assert loads  # the kernels, and Numba with them


SHORT = "import numpy as np, numconv as nc; nc.max_pool1d(np.ones((1, 2, 8), np.float32), 2)"


def test_a_process_is_traced_by_its_environment(tmp_path):
    (tmp_path / "short.py").write_text(SHORT)
    place = str(tmp_path / "trace-%p.json")
    for setting in ("1", "0", place):
        arguments = command(tmp_path / "short.py", os.getcwd(), NUMCONV_TRACE=setting)
        arguments |= {"stderr": subprocess.PIPE}
        done = subprocess.run(**arguments, timeout=120, check=True)
        assert done.stdout == ""
        assert ("max_pool1d 2/2 1x2x8 -> 2x4" in done.stderr) == (setting == "1")
    (file,) = tmp_path.glob("trace-*.json")
    assert file.name != "trace-%p.json"
    assert "max_pool1d" in {event["name"] for event in json.loads(file.read_text())["traceEvents"]}


def test_compiled_kernels_do_not_depend_on_it(monkeypatch):
    before = cache._settings()
    monkeypatch.setenv("NUMCONV_TRACE", "1")
    assert cache._settings() == before


def test_no_grad_and_eval_change_nothing():
    with nc.trace() as trace, no_grad():
        network().eval()(Tensor(X))
    assert asked(trace) == ["conv2d", "max_pool2d", "conv2d"]
