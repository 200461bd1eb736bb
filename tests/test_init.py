"""Initial values: bounds, moments, fans and gains by their formulas; seeds."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from numconv import random
from numconv.autograd import Tensor
from numconv.nn import init

SHAPE = (64, 32, 5, 3)
FAN_IN, FAN_OUT = 32 * 15, 64 * 15


def empty(shape=SHAPE, dtype="float32"):
    return Tensor(np.full(shape, np.nan, dtype))


def generator(seed=0):
    return np.random.default_rng(seed)


def is_even(values, bound):
    """Whether they lie evenly in -bound to bound."""
    assert np.abs(values).max() <= bound * (1 + 1e-6)
    counts, _ = np.histogram(values, 8, (-bound, bound))
    assert_allclose(counts, values.size / 8, rtol=0.1)


def is_normal(values, std, mean=0.0):
    z = (values.astype(float).ravel() - mean) / std
    assert abs(z.mean()) < 5 / math.sqrt(z.size)
    assert z.std() == pytest.approx(1, abs=0.02)
    assert (np.abs(z) > 2).mean() == pytest.approx(0.0455, abs=0.005)


def test_constants():
    assert_array_equal(init.zeros_(empty()).numpy(), 0)
    assert_array_equal(init.ones_(empty()).numpy(), 1)
    assert_array_equal(init.constant_(empty(), 0.5).numpy(), 0.5)


def test_uniform_and_normal():
    values = init.uniform_(empty(), 2, 4, generator()).numpy()
    is_even(values - 3, 1)
    is_normal(init.normal_(empty(), 3, 0.5, generator()).numpy(), 0.5, 3)


@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_xavier(gain):
    is_even(init.xavier_uniform_(empty(), gain, generator()).numpy(), gain * math.sqrt(6 / (FAN_IN + FAN_OUT)))
    is_normal(init.xavier_normal_(empty(), gain, generator()).numpy(), gain * math.sqrt(2 / (FAN_IN + FAN_OUT)))


@pytest.mark.parametrize(
    ("options", "std"),
    [
        ({}, math.sqrt(2 / FAN_IN)),
        ({"mode": "fan_out", "nonlinearity": "relu"}, math.sqrt(2 / FAN_OUT)),
        ({"nonlinearity": "tanh"}, 5 / 3 / math.sqrt(FAN_IN)),
        ({"a": math.sqrt(5)}, math.sqrt(1 / 3 / FAN_IN)),
        ({"nonlinearity": "linear"}, math.sqrt(1 / FAN_IN)),
    ],
    ids=str,
)
def test_kaiming(options, std):
    is_even(init.kaiming_uniform_(empty(), **options, generator=generator()).numpy(), std * math.sqrt(3))
    is_normal(init.kaiming_normal_(empty(), **options, generator=generator()).numpy(), std)


@pytest.mark.parametrize("shape", [(6, 6), (3, 8), (8, 3), (4, 2, 3)])
def test_orthogonal(shape):
    w = init.orthogonal_(empty(shape, "float64"), 2.0, generator()).numpy().reshape(shape[0], -1)
    small = w @ w.T if shape[0] <= w.shape[1] else w.T @ w
    assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_orthogonal_matrices_are_drawn_evenly():
    draws = [init.orthogonal_(empty((2, 2), "float64"), generator=generator(i)).numpy()[0, 0] for i in range(400)]
    angles = np.arccos(np.clip(draws, -1, 1))  # of the first column, spread evenly
    assert abs(np.mean(angles) - math.pi / 2) < 0.2
    assert_allclose(np.histogram(angles, 4, (0, math.pi))[0], 100, atol=40)


def test_truncated_normal():
    values = init.trunc_normal_(empty(), generator=generator()).numpy()
    assert np.abs(values).max() <= 2
    assert values.std() == pytest.approx(0.8796, abs=0.01)  # of a normal distribution cut at 2
    narrow = init.trunc_normal_(empty(), 1.0, 0.02, 0.99, 2, generator()).numpy()
    assert narrow.min() >= 0.99
    with pytest.raises(ValueError, match="distribution"):
        init.trunc_normal_(empty(), 0, 1, 5, 6)


def test_gains():
    assert init.calculate_gain("leaky_relu") == pytest.approx(math.sqrt(2 / 1.0001))
    assert init.calculate_gain("leaky_relu", 0.5) == pytest.approx(math.sqrt(2 / 1.25))
    assert init.calculate_gain("conv_transpose3d") == 1
    with pytest.raises(ValueError, match="nonlinearity"):
        init.calculate_gain("step")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_any_dtype_and_layout(dtype):
    whole = np.zeros((8, 6), dtype)
    init.normal_(Tensor(whole[::2].T), generator=generator())
    assert (whole[::2] != 0).all() and not whole[1::2].any()


def test_what_is_filled_was_changed_in_place():
    w = Tensor(np.ones(3), requires_grad=True)
    loss = (w * w).sum()
    init.zeros_(w)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_seeds_repeat():
    def draw(seed):
        init.seed(seed)
        return [init.normal_(empty((5,))).numpy(), init.uniform_(empty((5,))).numpy()]

    assert_array_equal(draw(3), draw(3))
    assert (np.array(draw(3)) != np.array(draw(4))).all()
    state = random.default_generator().bit_generator.state
    first = init.normal_(empty((5,))).numpy()
    random.default_generator().bit_generator.state = state
    assert_array_equal(first, init.normal_(empty((5,))).numpy())


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: init.kaiming_normal_(empty((3,))), ValueError, "axes"),
        (lambda: init.orthogonal_(empty((3,))), ValueError, "axes"),
        (lambda: init.kaiming_normal_(empty(), mode="fan"), ValueError, "mode"),
        (lambda: init.normal_(empty(), generator=3), TypeError, "generator"),
        (lambda: init.seed(-1), ValueError, "value"),
        (lambda: init.seed(1.5), TypeError, "value"),
    ],
)
def test_errors(call, error, said):
    with pytest.raises(error, match=said):
        call()
