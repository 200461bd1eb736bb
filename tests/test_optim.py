"""Optimisers against their formulas written out in float64, schedules against their closed forms."""

import copy
import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from numconv import optim
from numconv.autograd import Tensor
from numconv.ops import device
from numconv.ops.optimizer import norm
from numconv.optim import lr_scheduler

STEPS = 6


def parameters(dtype="float64", shapes=((3, 4), (5,), ()), seed=0):
    rng = np.random.default_rng(seed)
    return [Tensor(np.asarray(rng.standard_normal(shape), dtype), requires_grad=True) for shape in shapes]


def set_gradients(params, step):
    rng = np.random.default_rng((step, 7))
    for p in params:
        p.grad = Tensor(np.asarray(rng.standard_normal(p.shape), p.dtype))


def train(optimizer, params, steps=STEPS, first=0):
    for step in range(first, first + steps):
        set_gradients(params, step)
        optimizer.step()
    return [p.numpy().copy() for p in params]


def sgd(p, g, s, t, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    g = (-g if maximize else g) + weight_decay * p
    if momentum:
        s["b"] = g if t == 1 else momentum * s["b"] + (1 - dampening) * g
        g = g + momentum * s["b"] if nesterov else s["b"]
    return p - lr * g


def adam(
    p, g, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, maximize=False, decoupled=False
):
    g = -g if maximize else g
    if decoupled:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
    s["w"] = np.maximum(s.get("w", 0), s["v"])
    v = (s["w"] if amsgrad else s["v"]) / (1 - betas[1] ** t)
    return p - lr * s["m"] / (1 - betas[0] ** t) / (np.sqrt(v) + eps)


def rmsprop(p, g, s, t, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, maximize=False):
    g = (-g if maximize else g) + weight_decay * p
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g * g
    s["a"] = alpha * s.get("a", 0) + (1 - alpha) * g
    d = g / (np.sqrt(s["v"] - centered * s["a"] ** 2) + eps)
    s["b"] = momentum * s.get("b", 0) + d
    return p - lr * s["b"]


def adamw(p, g, s, t, weight_decay=1e-2, **options):
    return adam(p, g, s, t, weight_decay=weight_decay, decoupled=True, **options)


CASES = [
    (optim.SGD, sgd, {}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    (optim.Adam, adam, {}),
    (optim.Adam, adam, {"lr": 0.1, "betas": (0.5, 0.7), "eps": 1e-2, "weight_decay": 0.1, "amsgrad": True}),
    (optim.Adam, adam, {"maximize": True, "weight_decay": 0.1}),
    (optim.AdamW, adamw, {}),
    (optim.AdamW, adamw, {"lr": 0.1, "weight_decay": 0.2, "amsgrad": True}),
    (optim.RMSprop, rmsprop, {}),
    (optim.RMSprop, rmsprop, {"lr": 0.1, "alpha": 0.8, "weight_decay": 0.1, "momentum": 0.9, "centered": True}),
    (optim.RMSprop, rmsprop, {"momentum": 0.5, "maximize": True}),
    (optim.RMSprop, rmsprop, {"centered": True, "eps": 0.1}),
]
NAMES = [f"{kind.__name__}-{'-'.join(options) or 'defaults'}" for kind, _, options in CASES]
each_case = pytest.mark.parametrize(("kind", "formula", "options"), CASES, ids=NAMES)


def expected(formula, options, params, steps=STEPS):
    values = [np.asarray(p.numpy(), np.float64) for p in params]
    states = [{} for _ in params]
    stand_in = [Tensor(v) for v in values]
    for step in range(steps):
        set_gradients(stand_in, step)
        values = [formula(v, g.grad.numpy(), s, step + 1, **options) for v, g, s in zip(values, stand_in, states)]
    return values


@each_case
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 3e-6)])
def test_steps_follow_the_formula(kind, formula, options, dtype, tolerance):
    params = parameters(dtype)
    wanted = expected(formula, options, params)
    for actual, value in zip(train(kind(params, **options), params), wanted):
        assert actual.dtype == dtype
        assert_allclose(actual, value, rtol=tolerance, atol=tolerance)


@each_case
def test_a_run_resumes_to_the_same_bits(kind, formula, options):
    params = parameters("float32")
    whole = train(kind(params, **options), params, 2 * STEPS)
    params = parameters("float32")
    optimizer = kind(params, **options)
    half = train(optimizer, params)
    saved = copy.deepcopy(optimizer.state_dict())
    train(optimizer, params)
    again = [Tensor(value, requires_grad=True) for value in half]
    resumed = kind(again, lr=5.0)
    resumed.load_state_dict(saved)
    for actual, value in zip(train(resumed, again, first=STEPS), whole):
        assert_array_equal(actual, value)
    assert resumed.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


@each_case
def test_large_parameters_do_not_depend_on_the_number_of_threads(kind, formula, options, threads, always_parallel):
    found = []
    for n in (1, 2, 3):
        threads(n)
        params = parameters("float32", [(4, 5000)])
        found.append(train(kind(params, **options), params, 2)[0])
    wanted = expected(formula, options, parameters("float32", [(4, 5000)]), 2)
    assert_allclose(found[0], wanted[0], rtol=1e-5, atol=1e-5)
    assert_array_equal(found[0], found[1])
    assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    p = Tensor(np.ones(4, dtype), requires_grad=True)
    p.grad = Tensor(np.full(4, 1e-4, dtype))  # its square is no float16
    optimizer = optim.Adam([p], lr=0.25)
    optimizer.step()
    assert p.dtype == dtype
    assert_allclose(p.numpy().astype(float), 0.75, rtol=1e-2)
    assert optimizer.state[p]["exp_avg_sq"].dtype == np.float32


@pytest.mark.parametrize("layout", ["transposed", "strided", "reversed"])
def test_any_layout_of_parameter_and_gradient(layout):
    whole = np.arange(24.0).reshape(4, 6)
    view = {"transposed": whole.T, "strided": whole[:, ::2], "reversed": whole[::-1]}[layout]
    before = view.copy()
    p = Tensor(view, requires_grad=True)
    p.grad = Tensor(np.broadcast_to(np.arange(view.shape[1], dtype=float), view.shape))
    optim.SGD([p], lr=0.5).step()
    assert_array_equal(view, before - 0.5 * p.grad.numpy())


def test_what_is_frozen_or_has_no_gradient_stays():
    a, b, c = parameters(shapes=[(2,)] * 3)
    before = [p.numpy().copy() for p in (a, b, c)]
    optimizer = optim.Adam([a, b, c], lr=1.0)
    set_gradients([a, b], 0)
    b.requires_grad_(False)
    optimizer.step()
    assert (a.numpy() != before[0]).all()
    assert_array_equal(b.numpy(), before[1])
    assert_array_equal(c.numpy(), before[2])
    assert set(optimizer.state) == {a}


def test_a_step_is_seen_by_the_tape():
    w = Tensor(np.ones(3), requires_grad=True)
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    optim.SGD([w]).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_groups_have_their_own_options():
    a, b = parameters(shapes=[(2,), (2,)])
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 1.0}], lr=0.0)
    set_gradients([a, b], 0)
    before = [p.numpy().copy() for p in (a, b)]
    optimizer.step()
    assert_array_equal(a.numpy(), before[0])
    assert_allclose(b.numpy(), before[1] - b.grad.numpy())
    (c,) = parameters(shapes=[(3,)])
    optimizer.add_param_group({"params": [c], "momentum": 0.5})
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 1.0, 0.0]
    assert optimizer.param_groups[2]["momentum"] == 0.5


def test_zero_grad_and_closure():
    (p,) = parameters(shapes=[(2,)])
    optimizer = optim.SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    before = p.numpy().copy()
    loss = optimizer.step(closure)
    assert_allclose(loss.numpy(), (before**2).sum())
    assert_allclose(p.numpy(), 0.8 * before)
    optimizer.zero_grad(set_to_none=False)
    assert_array_equal(p.grad.numpy(), 0)
    optimizer.zero_grad()
    assert p.grad is None


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda p: optim.SGD([]), ValueError, "params"),
        (optim.SGD, TypeError, "params"),
        (lambda p: optim.SGD([np.ones(2)]), TypeError, "ndarray"),
        (lambda p: optim.SGD([p, p]), ValueError, "twice"),
        (lambda p: optim.SGD([{"params": [p]}, {"params": [p]}]), ValueError, "twice"),
        (lambda p: optim.SGD([p * 2]), ValueError, "leaves"),
        (lambda p: optim.SGD([p], lr=-1), ValueError, "lr"),
        (lambda p: optim.SGD([p], lr=math.nan), ValueError, "lr"),
        (lambda p: optim.SGD([p], nesterov=True), ValueError, "nesterov"),
        (lambda p: optim.SGD([{"params": [p], "momentum": -1}]), ValueError, "momentum"),
        (lambda p: optim.Adam([p], betas=(1.0, 0.9)), ValueError, "betas"),
        (lambda p: optim.RMSprop([p], alpha=-1), ValueError, "alpha"),
    ],
)
def test_errors(make, error, said):
    (p,) = parameters(shapes=[(2,)])
    with pytest.raises(error, match=said):
        make(p)


def test_a_state_of_other_shapes_is_refused_and_changes_nothing():
    params = parameters(shapes=[(2,), (3,)])
    optimizer = optim.Adam(params)
    train(optimizer, params, 1)
    saved = optimizer.state_dict()
    others = parameters(shapes=[(2,), (4,)])
    other = optim.Adam(others)
    with pytest.raises(ValueError, match="shape"):
        other.load_state_dict(saved)
    assert not other.state
    with pytest.raises(ValueError, match="groups"):
        optim.Adam(others[:1]).load_state_dict(saved)


def test_repr_lists_the_options():
    text = repr(optim.SGD(parameters(), lr=0.5))
    assert text.startswith("SGD (\nParameter Group 0\n    dampening: 0\n    lr: 0.5\n") and text.endswith("\n)")


# --- schedules


def rates(make, epochs=20, lr=1.0):
    optimizer = optim.SGD(parameters(shapes=[(1,)]), lr=lr)
    schedule = make(optimizer)
    found = []
    for _ in range(epochs):
        assert schedule.get_last_lr() == [optimizer.param_groups[0]["lr"]]
        found.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("make", "formula"),
    [
        (lambda o: lr_scheduler.StepLR(o, 3, 0.5), lambda e: 0.5 ** (e // 3)),
        (lambda o: lr_scheduler.MultiStepLR(o, [2, 5, 5]), lambda e: 0.1 ** ((e >= 2) + 2 * (e >= 5))),
        (lambda o: lr_scheduler.LambdaLR(o, lambda e: 0.9**e), lambda e: 0.9**e),
        (lambda o: lr_scheduler.LinearLR(o, 0.25, total_iters=4), lambda e: min(0.25 + 0.75 * e / 4, 1)),
        (lambda o: lr_scheduler.LinearLR(o, 1, 0, 4), lambda e: max(1 - e / 4, 0)),
        (
            lambda o: lr_scheduler.CosineAnnealingLR(o, 5, 0.1),
            lambda e: 0.1 + 0.9 * (1 + math.cos(math.pi * e / 5)) / 2,
        ),
    ],
    ids=["step", "multistep", "lambda", "warmup", "linear-to-zero", "cosine"],
)
def test_schedules(make, formula):
    assert_allclose(rates(make), [formula(e) for e in range(20)], rtol=1e-12, atol=1e-12)


def warm_up_then_cosine(o):
    parts = [lr_scheduler.LinearLR(o, 0.1, total_iters=4), lr_scheduler.CosineAnnealingLR(o, 6)]
    return lr_scheduler.SequentialLR(o, parts, [4])


def test_one_schedule_after_the_other():
    wanted = [0.1 + 0.9 * e / 4 for e in range(4)] + [(1 + math.cos(math.pi * e / 6)) / 2 for e in range(6)]
    assert_allclose(rates(warm_up_then_cosine, 10), wanted, rtol=1e-12)


def test_two_schedules_multiply():
    def both(o):
        lr_scheduler.StepLR(o, 2, 0.5)
        return lr_scheduler.LinearLR(o, 0.5, total_iters=2)

    assert_allclose(rates(both, 3), [0.5, 0.75, 1.0])


@pytest.mark.parametrize(
    "make", [warm_up_then_cosine, lambda o: lr_scheduler.StepLR(o, 3), lambda o: lr_scheduler.CosineAnnealingLR(o, 7)]
)
def test_a_schedule_resumes(make):
    whole = rates(make, 12)
    optimizer = optim.SGD(parameters(), lr=1.0)
    schedule = make(optimizer)
    for _ in range(5):
        schedule.step()
    saved = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
    again = optim.SGD(parameters(), lr=1.0)
    resumed = make(again)
    again.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    found = []
    for _ in range(7):
        found.append(again.param_groups[0]["lr"])
        resumed.step()
    assert found == whole[5:]


def test_plateau():
    optimizer = optim.SGD(parameters(), lr=1.0)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1, min_lr=0.2)
    found = []
    for loss in (1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, math.nan, 0.5, 0.1, 0.1):
        schedule.step(loss)
        found.append(optimizer.param_groups[0]["lr"])
    assert found == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25]
    best = lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=0, threshold=0.5, threshold_mode="abs")
    for score in (1.0, 1.6, 2.0):
        best.step(score)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda o: lr_scheduler.StepLR(None, 3), TypeError, "optimizer"),
        (lambda o: lr_scheduler.StepLR(o, 3, last_epoch=4), ValueError, "last_epoch"),
        (lambda o: lr_scheduler.LinearLR(o, 0), ValueError, "start_factor"),
        (lambda o: lr_scheduler.LinearLR(o, 1, 2), ValueError, "end_factor"),
        (lambda o: lr_scheduler.LambdaLR(o, [abs, abs]), ValueError, "lr_lambda"),
        (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [3]), ValueError, "milestones"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), ValueError, "factor"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, mode="up"), ValueError, "mode"),
    ],
)
def test_errors_of_schedules(make, error, said):
    with pytest.raises(error, match=said):
        make(optim.SGD(parameters()))


@pytest.mark.parametrize("order", [1, 2, 3, math.inf])
def test_the_norm_of_an_array(order, threads, always_parallel):
    rng = np.random.default_rng(0)
    for array in (np.zeros((0, 3)), np.array(-2.0), rng.standard_normal((90, 200)).astype("float32").T):
        found = []
        for n in (1, 2, 3):
            threads(n)
            found.append(norm(array, order))
        assert found[0] == pytest.approx(np.linalg.norm(array.astype(float).ravel(), order), rel=1e-12)
        assert found[0] == found[1] == found[2]
    assert math.isnan(norm(np.array([1.0, math.nan, 2.0]), order))


def test_steps_are_those_of_the_arrays_device():
    class Elsewhere:
        """An array that NumPy cannot read."""

        shape, dtype, ndim = (2,), np.dtype("float32"), 1

        def __array__(self, *arguments, **options):
            raise AssertionError("NumPy was called on an array of a device")

    done = []
    entries = device.table(Elsewhere)
    entries |= {
        "asarray": lambda x, *rest, **options: x, "state_like": lambda x: Elsewhere(),
        "adam": lambda *arrays, **options: done.append((arrays, options)),
    }  # fmt: skip
    try:
        p = Tensor(Elsewhere(), requires_grad=True)
        p.grad = Tensor(Elsewhere())
        optim.Adam([p]).step()
    finally:
        device._tables.pop(Elsewhere)
    ((arrays, options),) = done
    assert arrays[0][0] is p.data and arrays[1][0] is p.grad.data and options["step"] == 1


def test_parameters_of_one_memory_take_their_steps_in_turn(threads):
    threads(3)
    start, gradient = np.random.default_rng(0).standard_normal((2, 1 << 16)).astype("float32")
    memory = start.copy()
    params = [Tensor(memory, requires_grad=True) for _ in range(3)]
    for p in params:
        p.grad = Tensor(gradient)
    optim.SGD(params, lr=0.5).step()
    expected = start
    for _ in params:
        expected = expected - np.float32(0.5) * gradient
    assert_array_equal(memory, expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copied_optimizer_changes_its_own_parameters(copied):
    p = Tensor(np.ones(5, np.float32), requires_grad=True)
    optimizer = optim.Adam([p])
    p.grad = Tensor(np.ones(5, np.float32))
    optimizer.step()
    before = p.numpy().copy()
    twin, other = copied((optimizer, p))
    other.grad = Tensor(np.ones(5, np.float32))
    twin.step()
    assert_array_equal(p.numpy(), before)
    assert (other.numpy() < before).all()


def test_a_parameter_whose_array_is_replaced_is_found_again():
    p = Tensor(np.zeros(3, np.float32), requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0)
    for _ in range(2):
        old, p.data = p.data, np.ones(3, np.float32)
        p.grad = Tensor(np.ones(3, np.float32))
        optimizer.step()
        assert_array_equal(p.data, 0)
        assert_array_equal(old, 0)
