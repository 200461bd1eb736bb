"""Gradients of the layer functions on arrays against finite differences in float64."""

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import numconv as nc
from numconv.problem import ACTIVATIONS

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
OF_RESULT = ("relu", "sigmoid", "tanh")  # their gradients take the result
CORNERS = np.array([0, 6, 3, -3])
VIEWS = (
    lambda a: a[::-2, ::3],
    lambda a: a.T,
    lambda a: a.astype(">f4"),
    lambda a: a[:, :0],
    lambda a: a[0, 0, ...],
)


def noise(shape, seed=0, dtype=np.float64):
    return (np.random.default_rng(seed).standard_normal(shape) * 3 + 0.5).astype(dtype)


def differences(f, x, grad, step=1e-5):
    """The gradient of sum(grad f(x)) with respect to each element of x, by central differences."""
    gradient = np.empty(x.shape)
    for index in np.ndindex(*x.shape):
        above, below = x.copy(), x.copy()
        above[index] += step
        below[index] -= step
        gradient[index] = ((f(above) - f(below)) * grad).sum() / (2 * step)
    return gradient


def check(f, x, grad, got, rtol=1e-6):
    expected = differences(f, x, grad)
    assert got.shape == x.shape
    assert_allclose(got, expected, rtol=rtol, atol=rtol * np.abs(expected).max(initial=0))


def gradient_of(name, x, grad, *options):
    given = getattr(nc, name)(x) if name in OF_RESULT else x
    return getattr(nc, f"{name}_input")(given, grad, *options)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    x, grad = noise((5, 8)), noise((5, 8), 1)
    assert np.abs(x[..., None] - CORNERS).min() > 1e-3
    check(getattr(nc, name), x, grad, gradient_of(name, x, grad))


@pytest.mark.parametrize("name, option", [("leaky_relu", 0.3), ("elu", 0.4), ("gelu", "tanh")])
def test_parameters_of_activations(name, option):
    x, grad = noise((5, 8)), noise((5, 8), 1)
    check(lambda x: getattr(nc, name)(x, option), x, grad, gradient_of(name, x, grad, option))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dtypes_of_activations(name):
    x, grad = noise((9, 50)), noise((9, 50), 1)
    for dtype in (np.float32, np.float16, BFLOAT16):
        narrow_x, narrow_grad = x.astype(dtype), grad.astype(dtype)
        got = gradient_of(name, narrow_x, narrow_grad)
        given = getattr(nc, name)(narrow_x) if name in OF_RESULT else narrow_x
        wide = getattr(nc, f"{name}_input")(given.astype(float), narrow_grad.astype(float))
        assert got.dtype == dtype and wide.dtype == np.float64
        bound = {4: 1e-6, 2: 1e-3 if dtype == np.float16 else 8e-3}[got.dtype.itemsize]
        assert_allclose(got.astype(float), wide, rtol=bound, atol=bound * 10 if bound < 1e-4 else bound)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_any_layout_and_inputs_untouched(name):
    base, others = noise((6, 8), 0, np.float32), noise((6, 8), 1, np.float32)
    gradient = getattr(nc, f"{name}_input")
    for view in (
        lambda a: a[::-2, ::3],
        lambda a: a.T,
        lambda a: a.astype(">f4"),
        lambda a: a[:, :0],
        lambda a: a[0, 0, ...],
    ):
        x, grad = view(base), view(others)
        x.flags.writeable = grad.flags.writeable = False
        before = x.copy(), grad.copy()
        got = gradient(x, grad)
        assert got.flags.c_contiguous and got.dtype == np.float32 and got.dtype.isnative
        assert_array_equal(got, gradient(np.array(x, "f", order="C"), np.array(grad, "f", order="C")))
        assert_array_equal(x, before[0])
        assert_array_equal(grad, before[1])


@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "hardswish"])
def test_corners_and_nan(name):
    x = np.array([0.0, -0.0, 6, 3, -3, np.nan, np.inf, -np.inf])
    expected = {
        "relu": [0, 0, 1, 1, 0, 1, 1, 0],
        "relu6": [0, 0, 0, 1, 0, 1, 0, 0],
        "leaky_relu": [0.01, 0.01, 1, 1, 0.01, 0.01, 1, 0.01],
        "hardswish": [0.5, 0.5, 1, 1, 0, np.nan, 1, 0],
    }[name]
    for dtype in (np.float64, np.float32, np.float16):
        assert_allclose(getattr(nc, f"{name}_input")(x.astype(dtype), np.ones(8, dtype)), expected, rtol=1e-3)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name, axis):
    x, grad = noise((3, 4, 2)), noise((3, 4, 2), 1)
    function, gradient = getattr(nc, name), getattr(nc, f"{name}_input")
    check(lambda x: function(x, axis), x, grad, gradient(function(x, axis), grad, axis))
    assert_array_equal(gradient(function(x, axis), grad, dim=axis), gradient(function(x, axis), grad, axis))
    narrow = gradient(function(x, axis).astype("f"), grad.astype("f"), axis)
    assert narrow.dtype == np.float32 and narrow.flags.c_contiguous
    assert_allclose(narrow, gradient(function(x, axis), grad, axis), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: nc.relu_input(x, x[0]), ValueError, r"grad_output must have the shape of output, \(2, 3\), got"),
        (lambda x: nc.gelu_input(x, x, "fast"), ValueError, "approximate must be"),
        (lambda x: nc.silu_input(x, x > 0), TypeError, "grad_output must be"),
        (lambda x: nc.softmax_input(x, x, 2), ValueError, "axis must be an axis of output"),
        (lambda x: nc.softmax_input(x, x, 0, dim=1), ValueError, "axis and dim"),
    ],
)
def test_judges_its_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(noise((2, 3)))


@pytest.mark.parametrize("name", ["relu", "tanh", "hardswish"])
def test_any_number_of_threads_gives_the_same_bits(name, threads, always_parallel):
    x, grad = noise((3, 5, 7), 0, np.float32), noise((3, 5, 7), 1, np.float32)
    results = []
    for n in (1, 2, 3):
        threads(n)
        results.append(gradient_of(name, x, grad))
    assert_array_equal(results[0], results[1])
    assert_array_equal(results[0], results[2])
