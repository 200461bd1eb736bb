"""Losses against formulas written out here in float64, and their gradients against finite differences."""

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from test_layer_gradients import check, noise

import numconv as nc
from numconv.autograd import Tensor, gradcheck, gradgradcheck
from numconv.autograd import functional as F

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
REDUCTIONS = ("none", "mean", "sum")
WEIGHT, POSITIVE = noise((4, 1), 7) ** 2, noise(5, 8) ** 2

# name: (options of the loss, its value at one element)
LOSSES = {
    "mse_loss": ({}, lambda x, t: (x - t) ** 2),
    "l1_loss": ({}, lambda x, t: abs(x - t)),
    "smooth_l1_loss": ({"beta": 2.0}, lambda x, t: (x - t) ** 2 / 4 if abs(x - t) < 2 else abs(x - t) - 1),
    "hinge_loss": ({"margin": 1.5}, lambda x, t: max(0, 1.5 - x * t)),
    "binary_cross_entropy_with_logits": (
        {},
        lambda x, t: -t * np.log(special.expit(x)) - (1 - t) * np.log(special.expit(-x)),
    ),
}


def reduced(values, reduction):
    return values if reduction == "none" else getattr(np, reduction)(values)


def pair(name, shape=(3, 4, 5)):
    x, target = noise(shape), noise(shape, 1)
    if name.startswith("binary"):
        target = special.expit(target)
    return x, np.where(target > 0, 1.0, -1.0) if name == "hinge_loss" else target


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_elementwise_losses(name, reduction):
    options, value = LOSSES[name]
    x, target = pair(name)
    loss = getattr(nc, name)(x, target, reduction=reduction, **options)
    assert_allclose(loss, reduced(np.vectorize(value)(x, target), reduction), rtol=1e-12)
    grad = noise(loss.shape, 2)
    got = getattr(nc, f"{name}_input")(x, target, grad, reduction=reduction, **options)
    check(lambda x: getattr(nc, name)(x, target, reduction=reduction, **options), x, grad, got)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weights_of_binary_cross_entropy(reduction):
    x, target = pair("binary")
    options = {"weight": WEIGHT, "pos_weight": POSITIVE, "reduction": reduction}
    loss = nc.binary_cross_entropy_with_logits(x, target, **options)
    values = -POSITIVE * target * np.log(special.expit(x)) - (1 - target) * np.log(special.expit(-x))
    assert_allclose(loss, reduced(values * WEIGHT, reduction), rtol=1e-12)
    grad = noise(loss.shape, 2)
    got = nc.binary_cross_entropy_with_logits_input(x, target, grad, **options)
    check(lambda x: nc.binary_cross_entropy_with_logits(x, target, **options), x, grad, got)


def test_binary_cross_entropy_far_out():
    x = np.array([1e4, -1e4, 1e4, -1e4], np.float32)
    target = np.array([1, 0, 0, 1], np.float32)
    assert_array_equal(nc.binary_cross_entropy_with_logits(x, target, reduction="none"), [0, 0, 1e4, 1e4])
    grads = nc.binary_cross_entropy_with_logits_input(x, target, np.ones(4, "f"), reduction="none")
    assert_array_equal(grads, [0, 0, 1, -1])


def test_smooth_l1_without_a_smooth_part_is_l1():
    x, target = pair("l1")
    assert_allclose(nc.smooth_l1_loss(x, target, beta=0), nc.l1_loss(x, target), rtol=1e-14)
    ours = nc.smooth_l1_loss_input(x, target, 2.0, beta=0)
    assert_array_equal(ours, nc.l1_loss_input(x, target, 2.0))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_dice(reduction):
    x, target = special.expit(noise((3, 2, 4, 5))), (noise((3, 2, 4, 5), 1) > 0).astype(float)
    expected = np.empty((3, 2))
    for n, c in np.ndindex(3, 2):
        expected[n, c] = 1 - (2 * (x[n, c] * target[n, c]).sum() + 0.5) / (x[n, c].sum() + target[n, c].sum() + 0.5)
    loss = nc.dice_loss(x, target, 0.5, reduction)
    assert_allclose(loss, reduced(expected, reduction), rtol=1e-12)
    grad = noise(loss.shape, 2)
    got = nc.dice_loss_input(x, target, grad, 0.5, reduction)
    check(lambda x: nc.dice_loss(x, target, 0.5, reduction), x, grad, got)


def test_penalties():
    x = noise((3, 4))
    assert_allclose(nc.l1_penalty(x), np.abs(x).sum(), rtol=1e-14)
    assert_allclose(nc.l2_penalty(x), (x**2).sum(), rtol=1e-14)
    check(nc.l1_penalty, x, 2.0, nc.l1_penalty_input(x, 2.0))
    check(nc.l2_penalty, x, 2.0, nc.l2_penalty_input(x, 2.0))
    total = F.l2_penalty([Tensor(x), Tensor(x[0])])
    assert_allclose(total.data, (x**2).sum() + (x[0] ** 2).sum(), rtol=1e-14)
    with pytest.raises(ValueError, match="parameters must hold a Tensor"):
        F.l1_penalty([])


def scores(shape):
    """(scores, class indices with some to be ignored, class weights, probabilities) of five classes."""
    rng = np.random.default_rng(3)
    axis = min(1, len(shape) - 1)
    target = rng.integers(0, 5, (*shape[:axis], *shape[axis + 1 :]))
    if target.ndim:
        target.flat[::4] = -7
    return noise(shape), target, rng.random(5) + 0.1, rng.random(shape)


def entropy(x, target, weight, smoothing, reduction):
    """Cross entropy as Szegedy et al. define it, a position at a time."""
    axis = min(1, x.ndim - 1)
    logs = np.moveaxis(np.log(special.softmax(x, axis)), axis, -1)
    losses, counts = np.zeros(logs.shape[:-1]), np.zeros(logs.shape[:-1])
    for place in np.ndindex(*losses.shape):
        if target.shape == x.shape:
            goal, counts[place] = np.moveaxis(target, axis, -1)[place], 1
        elif target[place] == -7:
            continue
        else:
            goal, counts[place] = np.eye(5)[target[place]], weight[target[place]]
        losses[place] = -(((1 - smoothing) * goal + smoothing / 5) * weight * logs[place]).sum()
    return losses.sum() / counts.sum() if reduction == "mean" else reduced(losses, reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (3, 5, 2), (2, 5, 2, 3)])
def test_cross_entropy(shape, smoothing, reduction):
    x, target, weight, probabilities = scores(shape)
    for goal in (target, probabilities):
        for scale in (None, weight):
            options = {"weight": scale, "reduction": reduction, "label_smoothing": smoothing, "ignore_index": -7}
            loss = nc.cross_entropy(x, goal, **options)
            expected = entropy(x, goal, np.ones(5) if scale is None else scale, smoothing, reduction)
            assert_allclose(loss, expected, rtol=1e-12)
            grad = noise(loss.shape, 2)
            got = nc.cross_entropy_input(x, goal, grad, **options)
            check(lambda x, goal=goal, options=options: nc.cross_entropy(x, goal, **options), x, grad, got)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 5, 2, 3)])
def test_nll(shape, reduction):
    x, target, weight, _ = scores(shape)
    logs = nc.log_softmax(x, min(1, x.ndim - 1))
    for scale in (None, weight):
        options = {"weight": scale, "reduction": reduction, "ignore_index": -7}
        loss = nc.nll_loss(logs, target, **options)
        assert_allclose(loss, nc.cross_entropy(x, target, **options), rtol=1e-12)
        grad = noise(loss.shape, 2)
        got = nc.nll_loss_input(logs, target, grad, **options)
        check(lambda logs, options=options: nc.nll_loss(logs, target, **options), logs, grad, got)


def test_cross_entropy_of_extremes():
    x = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0], [np.inf, 0, 0], [np.nan, 0, 0], [0, -np.inf, 0]])
    target = np.array([0, 0, 1, 1, 0])
    losses = nc.cross_entropy(x, target, reduction="none")
    assert_allclose(losses, [0, 2e4, np.nan, np.nan, np.log(2)])
    grads = nc.cross_entropy_input(x, target, np.ones(5), reduction="none")
    assert_allclose(grads[[0, 1, 4]], [[0, 0, 0], [-1, 1, 0], [-0.5, 0, 0.5]])


def test_nothing_but_what_is_ignored():
    x, target = noise((2, 3)), np.array([1, 1])
    for name in ("cross_entropy", "nll_loss"):
        assert np.isnan(getattr(nc, name)(x, target, ignore_index=1))
        assert getattr(nc, name)(x, target, ignore_index=1, reduction="sum") == 0
        gradient = getattr(nc, f"{name}_input")
        assert_array_equal(gradient(x, target, 1.0, ignore_index=1), np.zeros((2, 3)))
    assert np.isnan(nc.mse_loss(np.ones(0), np.ones(0)))
    assert nc.cross_entropy(np.ones((0, 3)), np.ones(0, int), reduction="none").shape == (0,)


def call(name, x, dtype=np.float64):
    """(loss, gradient) of a loss at scores of a dtype."""
    target = np.arange(len(x)) % x.shape[1] if name in ("cross_entropy", "nll_loss") else np.abs(x).round()
    target = target if target.ndim == 1 else target.astype(dtype)
    x = x.astype(dtype)
    return getattr(nc, name)(x, target), getattr(nc, f"{name}_input")(x, target, np.ones((), dtype))


@pytest.mark.parametrize("name", [*LOSSES, "cross_entropy", "nll_loss"])
def test_dtypes(name):
    x = noise((8, 5)) * 0.3
    for dtype, bound in ((np.float32, 1e-6), (np.float16, 2e-3), (BFLOAT16, 2e-2), (">f4", 1e-6)):
        wide = call(name, x.astype(dtype).astype(float))
        for ours, expected in zip(call(name, x, dtype), wide):
            assert ours.dtype == np.dtype(dtype).newbyteorder("=") and isinstance(ours, np.ndarray)
            assert_allclose(ours.astype(float), expected, rtol=bound * 3, atol=bound)
    integers = np.round(x).astype(np.int32)
    if name not in ("cross_entropy", "nll_loss"):
        assert getattr(nc, name)(integers, integers).dtype == np.float64


def test_any_layout_and_inputs_untouched():
    base, target = noise((10, 4, 12), 0, np.float32), np.arange(20).reshape(5, 4).T.copy().T % 4
    x = base[::2, :, ::3].transpose(0, 2, 1)
    x.flags.writeable = target.flags.writeable = False
    before = x.copy()
    for name in ("cross_entropy", "nll_loss"):
        got = getattr(nc, f"{name}_input")(x, target, np.float32(1))
        assert got.flags.c_contiguous and got.dtype == np.float32
        assert_array_equal(got, getattr(nc, f"{name}_input")(before, target.copy(), np.float32(1)))
        assert_array_equal(getattr(nc, name)(x, target), getattr(nc, name)(before, target))
    assert_array_equal(x, before)


def test_any_number_of_threads_gives_the_same_bits(threads, always_parallel):
    x, target = noise((33, 7), 0, np.float32), np.arange(33) % 7
    results = []
    for n in (1, 3):
        threads(n)
        results.append((nc.cross_entropy(x, target), nc.cross_entropy_input(x, target, np.float32(1))))
    for one, three in zip(*results):
        assert_array_equal(one, three)


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda x: nc.mse_loss(x, x[0]), ValueError, r"target must have the shape of input, \(2, 3\), got \(3,\)"),
        (lambda x: nc.mse_loss(x, x, "max"), ValueError, "reduction must be one of"),
        (lambda x: nc.mse_loss(x, x > 0), TypeError, "target must be"),
        (lambda x: nc.mse_loss_input(x, x, x), ValueError, r"grad_output must have shape \(\) with reduction 'mean'"),
        (lambda x: nc.l1_loss_input(x, x, 1.0, "none"), ValueError, r"grad_output must have shape \(2, 3\)"),
        (lambda x: nc.smooth_l1_loss(x, x, beta=-1), ValueError, "beta must be at least 0"),
        (
            lambda x: nc.binary_cross_entropy_with_logits(x, x, pos_weight=np.ones(2)),
            ValueError,
            r"pos_weight must broadcast to the shape of input, \(2, 3\), got \(2,\)",
        ),
        (lambda x: nc.dice_loss(x, x), ValueError, "input must have at least 3 axes"),
        (lambda x: nc.cross_entropy(x, [0, 3]), ValueError, "target must be from 0 to 2, or ignore_index -100, got 3"),
        (lambda x: nc.cross_entropy_input(x, [-1, 0], 1.0), ValueError, "target must be from 0 to 2"),
        (lambda x: nc.nll_loss(x, [0, 3]), ValueError, "target must be from 0 to 2"),
        (lambda x: nc.cross_entropy(x, [0]), ValueError, r"target must have shape \(2,\) for input of shape \(2, 3\)"),
        (lambda x: nc.cross_entropy(x, [0.5, 1]), TypeError, "target must be class indices, or probabilities"),
        (lambda x: nc.nll_loss(x, x), TypeError, "target must be class indices of an integer dtype"),
        (lambda x: nc.cross_entropy(x, [0, 1], np.ones(2)), ValueError, r"weight must have shape \(3,\)"),
        (lambda x: nc.cross_entropy(x, [0, 1], label_smoothing=2), ValueError, "label_smoothing must be between"),
        (lambda x: nc.cross_entropy(x[0, 0], 0), ValueError, "input must have shape"),
        (lambda x: nc.cross_entropy_input(x, [0, 1], x[0]), ValueError, r"grad_output must have shape \(\)"),
    ],
)
def test_judges_its_arguments(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt(noise((2, 3)))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", [*LOSSES, "dice_loss"])
def test_elementwise_losses_on_the_tape(name, reduction):
    x, target = (Tensor(array, requires_grad=True) for array in pair(name, (2, 2, 3)))

    def loss(x, target):
        return getattr(F, name)(x, target, reduction=reduction)

    assert gradcheck(loss, (x, target))
    assert gradcheck(loss, (x, target.data))
    assert gradgradcheck(loss, (x, target), fast_mode=True)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_of_scores_on_the_tape(reduction):
    x, target, weight, probabilities = scores((2, 5, 3))
    x, probabilities = Tensor(x, requires_grad=True), Tensor(probabilities, requires_grad=True)
    options = {"reduction": reduction, "ignore_index": -7}
    calls = (
        lambda x: F.cross_entropy(x, target, weight, label_smoothing=0.1, **options),
        lambda x: F.cross_entropy(x, Tensor(target), Tensor(weight), **options),
        lambda x: F.cross_entropy(x, probabilities.data, weight, **options),
        lambda x: F.nll_loss(x, target, weight, **options),
    )
    for loss in calls:
        assert gradcheck(loss, x)
        assert gradgradcheck(loss, x, fast_mode=True)
    assert gradcheck(lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1, **options), (x, probabilities))


def test_penalties_on_the_tape():
    x, y = Tensor(noise((2, 3)), requires_grad=True), Tensor(noise(4, 1), requires_grad=True)
    for penalty in (F.l1_penalty, F.l2_penalty):
        assert gradcheck(lambda x, y, penalty=penalty: penalty([x, y]), (x, y))
    assert gradgradcheck(F.l2_penalty, x)
