"""Activations and softmax against the oracle, SciPy and figures worked out by hand."""

import math

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from numconv.lab import reference
from numconv.ops import activation as act
from numconv.ops import bell
from numconv.problem import ACTIVATIONS

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# Relative, and absolute for arguments of order one.
TOLERANCE = {np.float32: {"rtol": 1e-6, "atol": 1e-7}, np.float64: {"rtol": 1e-14, "atol": 1e-15}}
REAL = sorted(set(ACTIVATIONS))


def samples(dtype=np.float64):
    near = np.random.default_rng(3).standard_normal(60) * 3
    return np.concatenate([near, [0, -0.0, 0.46875, 4, -4, 6, -3, 1e-30, -30, 30]]).astype(dtype).reshape(7, 10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", REAL)
def test_agrees_with_the_oracle(name, dtype):
    x = samples(dtype)
    y = getattr(act, name)(x)
    assert y.dtype == dtype
    assert_allclose(y, reference.activate(name, x), **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16])
@pytest.mark.parametrize("name", REAL)
def test_half_types_are_rounded_once(name, dtype):
    x = samples(np.float32).astype(dtype)
    y = getattr(act, name)(x)
    assert y.dtype == dtype
    once = getattr(act, name)(x.astype(np.float32)).astype(dtype)
    assert_array_equal(y.view(np.uint16), once.view(np.uint16))


@pytest.mark.parametrize("name", REAL)
def test_extremes_neither_warn_nor_overflow(name):
    x = np.array([np.nan, np.inf, 3e38, -3e38, 1e-45], np.float32)
    y = getattr(act, name)(x)
    assert np.isnan(y[0])
    assert not np.isnan(y[1:]).any()
    limit = {"relu6": 6, "sigmoid": 1, "tanh": 1}.get(name, np.inf)
    assert y[1] == limit
    assert y[3] == {"leaky_relu": x[3] * np.float32(0.01), "elu": -1, "tanh": -1}.get(name, 0)


def test_parameters():
    x = np.array([-2.0, -1.0, 3.0])
    assert_allclose(act.leaky_relu(x, 0.5), [-1, -0.5, 3])
    assert_allclose(act.elu(x, 2.0), [2 * np.expm1(-2), 2 * np.expm1(-1), 3])
    cube = x + 0.044715 * x**3
    assert_allclose(act.gelu(x, "tanh"), 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * cube)), rtol=1e-14)
    assert_allclose(act.gelu(x), x * special.ndtr(x), rtol=1e-14)
    with pytest.raises(ValueError, match="approximate"):
        act.gelu(x, "fast")


@np.errstate(all="ignore")
def test_erfc_keeps_its_relative_accuracy_in_the_tail():
    x = np.linspace(-6, 26, 3201)
    assert_allclose(bell.erfc(x), [math.erfc(v) for v in x], rtol=1e-15)
    assert_allclose(bell.erfc(x.astype(np.float32))[x < 9], [math.erfc(np.float32(v)) for v in x[x < 9]], rtol=1e-6)


@pytest.mark.parametrize("name", REAL)
def test_integers(name):
    x = np.array([-7, 0, 2, 9], np.int16)
    y = getattr(act, name)(x)
    assert y.dtype == (np.int16 if name in ("relu", "relu6") else np.float64)
    assert_allclose(y, reference.activate(name, x), rtol=1e-14)


@pytest.mark.parametrize("function", [*(getattr(act, name) for name in REAL), act.softmax, act.log_softmax])
@pytest.mark.parametrize("dtype", [bool, np.complex64, object])
def test_refuses_what_is_not_real(function, dtype):
    with pytest.raises(TypeError, match="x must be"):
        function(np.ones(3, dtype))


@pytest.mark.parametrize("name", REAL)
def test_any_layout_and_inputs_untouched(name):
    base = samples(np.float32)
    for x in (base[::-2, ::3], base.T, np.asfortranarray(base), base.astype(">f4"), base[:, :0], base[0, 0, ...]):
        x.flags.writeable = False
        before = x.copy()
        y = getattr(act, name)(x)
        assert y.shape == x.shape and y.dtype == np.float32 and y.dtype.isnative and y.flags.c_contiguous
        assert_array_equal(x, before)
        assert_allclose(y, reference.activate(name, x), **TOLERANCE[np.float32])


def test_more_than_one_block():
    x = np.random.default_rng(0).standard_normal((3, 40_001)).astype(np.float32)
    assert_allclose(act.gelu(x[:, ::-1]), x[:, ::-1] * special.ndtr(x[:, ::-1].astype(float)), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("activation", [*REAL, ("leaky_relu", 0.3), ("elu", 0.5)])
def test_apply_in_place_and_into_another_array(activation):
    y = samples(np.float32)
    expected = reference.activate(activation, y)
    assert_allclose(act.apply(y, activation), expected, **TOLERANCE[np.float32])
    out = np.empty((10, 7), np.float32).T
    assert act.apply(y, activation, out) is out
    assert_allclose(out, expected, **TOLERANCE[np.float32])
    assert act.apply(y, activation, y) is y
    assert_allclose(y, expected, **TOLERANCE[np.float32])


@pytest.mark.parametrize("activation", [None, *REAL, ("elu", 0.5)])
def test_parse_takes_what_it_gives(activation):
    parsed = act.parse(activation)
    assert act.parse(parsed) == parsed
    assert parsed == (None if activation is None else act.parse_activation(activation))


def test_apply_without_an_activation():
    y = samples()
    out = np.empty_like(y)
    assert act.apply(y, None) is y
    assert act.apply(y, None, out) is out
    assert_array_equal(out, y)


def test_apply_judges_its_arguments():
    y = np.ones((2, 3), np.float32)
    frozen = y.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match=r"activation .*relu.*got 'swish'"):
        act.apply(y, "swish")
    with pytest.raises(ValueError, match=r"relu.* takes no parameter"):
        act.apply(y, ("relu", 2))
    with pytest.raises(ValueError, match=r"out .*\(2, 3\).*\(3, 2\)"):
        act.apply(y, "relu", np.empty((3, 2), np.float32))
    with pytest.raises(ValueError, match="out must be writable"):
        act.apply(y, "relu", frozen)
    with pytest.raises(TypeError, match=r"out .*float32.*float64"):
        act.apply(y, "relu", np.empty((2, 3)))
    with pytest.raises(TypeError, match="float"):
        act.apply(np.ones(3, int), "sigmoid")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [0, 1, -1, -3])
def test_softmax(axis, dtype):
    x = (np.random.default_rng(1).standard_normal((4, 5, 3)) * 20).astype(dtype)
    wide = x.astype(np.float64)
    for function, expected in ((act.softmax, special.softmax), (act.log_softmax, special.log_softmax)):
        y = function(x, axis)
        assert y.dtype == dtype
        assert_allclose(y, expected(wide, axis), **TOLERANCE[dtype])
        assert_array_equal(function(x, dim=axis), y)


def test_softmax_of_extremes():
    x = np.array([[1e4, 1e4, -1e4], [-np.inf, 0, 0], [np.nan, 0, 0], [-np.inf] * 3, [np.inf, 0, 0]])
    y = act.softmax(x)
    assert_array_equal(y[:2], [[0.5, 0.5, 0], [0, 0.5, 0.5]])
    assert np.isnan(y[2:]).all()
    assert_allclose(act.log_softmax(x)[0], [-np.log(2), -np.log(2), -2e4 - np.log(2)])


def test_softmax_dtypes_and_shapes():
    half = np.array([[1, 2, 3]], np.float16)
    assert_array_equal(act.softmax(half), act.softmax(half.astype(np.float32)).astype(np.float16))
    assert act.softmax(half, dtype=np.float64).dtype == np.float64
    assert_allclose(act.softmax(half, dtype=np.float64), special.softmax(half.astype(float), 1), rtol=1e-14)
    assert act.softmax(np.arange(3)).dtype == np.float64
    assert act.softmax(np.float32(3)) == 1 and act.log_softmax(5.0, 0) == 0
    assert act.softmax(np.ones((2, 0, 3)), 1).shape == (2, 0, 3)
    assert act.log_softmax(np.ones((0, 3))).shape == (0, 3)


def test_softmax_of_any_layout():
    base = samples(np.float32)
    for x in (base[::-2, ::3], base.T, base.astype(">f4")):
        x.flags.writeable = False
        before = x.copy()
        for function in (act.softmax, act.log_softmax):
            y = function(x, 0)
            assert y.flags.c_contiguous and y.dtype.isnative
            assert_allclose(y, function(np.ascontiguousarray(x, np.float32), 0), rtol=1e-6)
        assert_array_equal(x, before)


def test_softmax_judges_its_axis():
    with pytest.raises(ValueError, match=r"axis .*2.*shape"):
        act.softmax(np.ones((2, 3)), 2)
    with pytest.raises(ValueError, match="axis=0 and dim=1"):
        act.softmax(np.ones((2, 3)), 0, dim=1)
    with pytest.raises(TypeError, match="axis"):
        act.softmax(np.ones((2, 3)), 0.5)


def test_softmax_sums_many_terms_of_float32_accurately():
    x = np.zeros((200_000, 2), np.float32)
    assert_allclose(act.log_softmax(x, 0), -np.log(200_000), rtol=1e-7)
