"""Races and traces of calls on a GPU, in the simulator, with a clock of our own."""

import functools

import numpy as np
import pytest

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

import numconv as nc  # noqa: E402
from numconv import lab, nn  # noqa: E402
from numconv.lab import device_race  # noqa: E402
from numconv.problem import ConvProblem, PoolProblem  # noqa: E402

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((1, 4, 5, 6), np.float32), RNG.standard_normal((4, 4, 3, 3), np.float32)


@pytest.fixture
def clock(monkeypatch):
    """Every call takes a millisecond, a copy moves a megabyte a second."""
    timed = functools.partial(device_race.device_race, clock=lambda call, budget: call() is None or 1e-3)
    monkeypatch.setattr(device_race, "device_race", timed)
    monkeypatch.setattr(device_race, "copy_bandwidth", lambda: 1e6)


def test_a_race(clock):
    problem = ConvProblem.make("conv2d", X.shape, W.shape, padding=1)
    layers = [problem, problem.with_operation("conv2d_weight"), PoolProblem.make("max_pool2d", X.shape, kernel_size=2)]
    layers = [lab.race((), _there(each), compare=False, rounds=1).heats[0] for each in layers]
    assert [[r.packed for r in heat.results] for heat in layers] == [[False, True], [False], [False]]
    for heat in layers:
        assert all(r.right and r.seconds == 1e-3 and r.error < 1e-6 for r in heat.results)
        assert heat.floor == heat.problem.bytes / 1e6 and heat.by == "memory"


def _there(problem):
    from dataclasses import replace

    return replace(problem, device="cuda")


def test_a_trace():
    x, w = nc.cuda.to_device(X), nc.cuda.to_device(W)
    plan = nc.plan("conv2d", X.shape, w)
    grad = nc.cuda.to_host(plan(x))
    with nc.trace() as trace:
        nc.conv2d(x, w)
        plan(x)
        nc.conv2d_weight(x, W.shape, nc.cuda.to_device(grad))
        nc.max_pool2d(x, 2)
    assert [(call.problem.operation, call.way) for call in trace.calls] == [
        ("conv2d", "call"), ("conv2d", "plan"), ("conv2d_weight", "call"), ("max_pool2d", "call"),
    ]  # fmt: skip
    assert {call.problem.device for call in trace.calls} == {"cuda"}
    assert all(call.algorithm in nc.algorithms(call.problem.operation, "cuda") for call in trace.calls)
    assert trace.calls[0].packing > 0 == trace.calls[1].packing
    assert {call.floor for call in trace.calls} == {None}


def test_a_trace_of_a_frozen_model():
    nn.init.seed(0)
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.MaxPool2d(2)).eval()
    x = nc.cuda.to_device(X)
    frozen = nn.freeze(model, x)
    expected = nc.cuda.to_host(frozen(x))
    with nc.trace() as trace:
        np.testing.assert_array_equal(nc.cuda.to_host(frozen(x)), expected)
    assert [(call.problem.operation, call.way) for call in trace.calls] == [
        ("conv2d", "frozen"), ("max_pool2d", "frozen"),
    ]  # fmt: skip
    np.testing.assert_array_equal(nc.cuda.to_host(frozen(x)), expected)
