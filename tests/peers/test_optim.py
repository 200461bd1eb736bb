"""Optimisers, schedules and clipping give PyTorch's numbers."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from numconv import nn, optim
from numconv.autograd import Tensor

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

STEPS = 20
SHAPES = [(7, 5), (33,), (2, 3, 4), ()]
OPTIMISERS = [
    ("SGD", {}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "maximize": True, "momentum": 0.5}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1, "betas": (0.8, 0.95)}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.02, "centered": True, "momentum": 0.3}),
    ("RMSprop", {"lr": 0.02, "centered": True, "alpha": 0.8, "maximize": True}),
]


def both(dtype, shapes=SHAPES):
    rng = np.random.default_rng(0)
    values = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
    ours = [Tensor(value.copy(), requires_grad=True) for value in values]
    theirs = [torch.nn.Parameter(torch.tensor(value)) for value in values]
    return ours, theirs


def set_gradients(ours, theirs, step):
    rng = np.random.default_rng((step, 1))
    for p, q in zip(ours, theirs):
        value = np.asarray(rng.standard_normal(p.shape), p.dtype)
        p.grad, q.grad = Tensor(value.copy()), torch.tensor(value)


@pytest.mark.parametrize(("name", "options"), OPTIMISERS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-13)])
def test_steps(name, options, dtype, tolerance):
    ours, theirs = both(dtype)
    a, b = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(STEPS):
        set_gradients(ours, theirs, step)
        a.step()
        b.step()
    for p, q in zip(ours, theirs):
        assert_allclose(p.numpy(), q.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "options"), OPTIMISERS, ids=str)
def test_pytorchs_state_is_taken(name, options):
    ours, theirs = both("float64")
    a, b = getattr(optim, name)(ours, lr=9.0), getattr(torch.optim, name)(theirs, **options)
    for step in range(3):
        set_gradients(ours, theirs, step)
        b.step()
    for p, q in zip(ours, theirs):
        p.data[...] = q.detach().numpy()
    a.load_state_dict(b.state_dict())
    for step in range(3, 6):
        set_gradients(ours, theirs, step)
        a.step()
        b.step()
    for p, q in zip(ours, theirs):
        assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-12, atol=1e-12)
    assert set(a.state_dict()["param_groups"][0]) <= set(b.state_dict()["param_groups"][0])


SCHEDULES = {
    "step": lambda m, o: m.StepLR(o, 3, 0.5),
    "multistep": lambda m, o: m.MultiStepLR(o, [2, 5, 5, 9], 0.3),
    "lambda": lambda m, o: m.LambdaLR(o, lambda e: 0.9**e),
    "linear": lambda m, o: m.LinearLR(o, 0.1, 0.9, 7),
    "cosine": lambda m, o: m.CosineAnnealingLR(o, 6, 0.01),
    "sequence": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o, 0.1, total_iters=4), m.StepLR(o, 2), m.CosineAnnealingLR(o, 5)], [4, 9]
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    rates = []
    for library, p in ((optim, Tensor(np.ones(1), True)), (torch.optim, torch.nn.Parameter(torch.ones(1)))):
        optimizer = library.SGD([p], lr=0.7)
        schedule = SCHEDULES[name](library.lr_scheduler, optimizer)
        rates.append([])
        for _ in range(30):
            rates[-1].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    assert_allclose(*rates, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("options", [{}, {"mode": "max", "cooldown": 2}, {"threshold": 0.3, "threshold_mode": "abs"}])
def test_plateau(options):
    measures = np.random.default_rng(0).standard_normal(200).cumsum()
    measures[50] = math.nan
    rates = []
    for library, p in ((optim, Tensor(np.ones(1), True)), (torch.optim, torch.nn.Parameter(torch.ones(1)))):
        optimizer = library.SGD([p], lr=1.0)
        schedule = library.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3, factor=0.7, min_lr=1e-4, **options)
        rates.append([])
        for measure in measures:
            schedule.step(measure)
            rates[-1].append(optimizer.param_groups[0]["lr"])
    assert rates[0][-1] < 1
    assert_allclose(*rates, rtol=1e-12)


@pytest.mark.parametrize("norm_type", [1, 2, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clipping_of_norms(norm_type, max_norm):
    ours, theirs = both("float32")
    set_gradients(ours[:3], theirs[:3], 0)
    found = nn.utils.clip_grad_norm_(ours, max_norm, norm_type)
    wanted = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert found == pytest.approx(float(wanted), rel=1e-6)
    for p, q in zip(ours[:3], theirs):
        assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-6)
    with pytest.raises(RuntimeError, match="clipped"):
        ours[0].grad.data[0] = math.nan
        nn.utils.clip_grad_norm_(ours, 1.0, error_if_nonfinite=True)


def test_clipping_of_values():
    ours, theirs = both("float32")
    set_gradients(ours, theirs, 0)
    nn.utils.clip_grad_value_(ours, 0.3)
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    for p, q in zip(ours, theirs):
        assert_allclose(p.grad.numpy(), q.grad.numpy())
