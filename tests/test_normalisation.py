"""Normalisation and dropout against float64 formulas written out here."""

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from numconv.ops.batch_norm import batch_norm
from numconv.ops.dropout import dropout
from numconv.ops.normalisation import group_norm, layer_norm, local_response_norm

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
RTOL = {np.float32: 3e-6, np.float64: 1e-12}
SHAPES = [(4, 6), (3, 6, 5), (2, 6, 4, 3), (2, 6, 2, 3, 2)]

NORMS = {
    "batch_norm": lambda x, **options: batch_norm(x, *stats(), training=False, **options),
    "batch_norm in training": lambda x, **options: batch_norm(x, *stats(), training=True, **options),
    "group_norm": lambda x, **options: group_norm(x, 3, *affine(), **options),
    "local_response_norm": lambda x, **options: local_response_norm(x, 4, alpha=0.5, **options),
    "layer_norm": lambda x: layer_norm(x, x.shape[-1:]),
    "dropout": lambda x: dropout(x, 0.3, rng=np.random.default_rng(0)),
}
CHANNELLED = ["batch_norm", "batch_norm in training", "group_norm", "local_response_norm"]


def noise(shape, dtype=np.float64, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 3 + 1).astype(dtype)


def stats(dtype=np.float64):
    return noise(6, dtype, 1), np.abs(noise(6, dtype, 2)) + 0.1


def affine(shape=6, dtype=np.float64):
    return noise(shape, dtype, 3), noise(shape, dtype, 4)


def normalised(x, axes, eps=1e-5):
    x = x.astype(np.float64)
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + eps)


def across(vector, ndim):
    """A vector over the channels of an array of so many axes."""
    return vector.reshape(-1, *(1,) * (ndim - 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_in_evaluation(shape, dtype):
    x, (mean, var), (weight, bias) = noise(shape, dtype), stats(dtype), affine(dtype=dtype)
    y = batch_norm(x, mean, var, weight, bias, eps=1e-3)
    n = x.ndim
    expected = (x.astype(float) - across(mean, n)) / np.sqrt(across(var, n).astype(float) + 1e-3)
    assert y.dtype == dtype
    assert_allclose(y, expected * across(weight, n) + across(bias, n), rtol=RTOL[dtype], atol=RTOL[dtype] * 10)
    assert_allclose(batch_norm(x, list(mean), list(var), eps=1e-3), expected, rtol=RTOL[dtype], atol=RTOL[dtype])
    assert_array_equal(mean, stats(dtype)[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_in_training(shape, dtype):
    x, (mean, var), (weight, bias) = noise(shape, dtype), stats(dtype), affine(dtype=dtype)
    y = batch_norm(x, mean, var, weight, bias, True, 0.3)
    axes = (0, *range(2, x.ndim))
    expected = normalised(x, axes) * across(weight, x.ndim) + across(bias, x.ndim)
    assert_allclose(y, expected, rtol=RTOL[dtype], atol=RTOL[dtype])
    old_mean, old_var = stats(dtype)
    wide = x.astype(float)
    assert mean.dtype == var.dtype == dtype
    assert_allclose(mean, 0.7 * old_mean + 0.3 * wide.mean(axes), rtol=RTOL[dtype])
    assert_allclose(var, 0.7 * old_var + 0.3 * wide.var(axes, ddof=1), rtol=RTOL[dtype])
    assert_allclose(batch_norm(x, None, None, training=True), normalised(x, axes), rtol=RTOL[dtype], atol=RTOL[dtype])


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_group_norm(shape, dtype, groups):
    x, (weight, bias) = noise(shape, dtype), affine(dtype=dtype)
    plain = normalised(x.reshape(shape[0], groups, -1), -1, 1e-4).reshape(shape)
    y = group_norm(x, groups, weight, bias, 1e-4)
    assert y.dtype == dtype
    expected = plain * across(weight, x.ndim) + across(bias, x.ndim)
    assert_allclose(y, expected, rtol=RTOL[dtype], atol=RTOL[dtype])
    assert_allclose(group_norm(x, groups, eps=1e-4), plain, rtol=RTOL[dtype], atol=RTOL[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_layer_norm(count, dtype):
    x = noise((4, 3, 5), dtype)
    shape = x.shape[-count:]
    weight, bias = affine(shape, dtype)
    plain = normalised(x, tuple(range(3 - count, 3)), 1e-3)
    y = layer_norm(x, shape, weight, bias, 1e-3)
    assert y.dtype == dtype
    assert_allclose(y, plain * weight + bias, rtol=RTOL[dtype], atol=RTOL[dtype])
    assert_allclose(layer_norm(x, shape, eps=1e-3), plain, rtol=RTOL[dtype], atol=RTOL[dtype])
    assert_allclose(layer_norm(x, shape, bias=bias, eps=1e-3), plain + bias, rtol=RTOL[dtype], atol=RTOL[dtype])


def test_layer_norm_takes_an_integer():
    assert_allclose(layer_norm([[1, 3]], 2, eps=0), [[-1, 1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 5, 9, 30])
def test_local_response_norm(size, dtype):
    x = noise((2, 6, 3, 2), dtype)
    window = ndimage.correlate1d(x.astype(float) ** 2, np.ones(size), axis=1, mode="constant")
    y = local_response_norm(x, size, 0.3, 0.6, 1.5)
    assert y.dtype == dtype
    assert_allclose(y, x / (1.5 + 0.3 / size * window) ** 0.6, rtol=RTOL[dtype])
    assert_allclose(local_response_norm(x, size), x / (1 + 1e-4 / size * window) ** 0.75, rtol=RTOL[dtype])


def test_an_even_window_reaches_further_back():
    x = np.zeros((1, 4, 1))
    x[0, 1] = 1
    probe = local_response_norm(np.ones((1, 4, 1)) * 1e-8 + x, 2, alpha=2.0, beta=1.0)
    assert_allclose(probe[0, :, 0] / (x[0, :, 0] + 1e-8), [1, 0.5, 0.5, 1], rtol=1e-6)


@pytest.mark.parametrize("offset", [1e4, 3e6])
def test_statistics_far_from_zero(offset):
    x = (noise((8, 6, 20)) * 100 + offset).astype(np.float32)
    assert_allclose(batch_norm(x, None, None, training=True), normalised(x, (0, 2)), rtol=1e-6, atol=1e-6)
    assert_allclose(group_norm(x, 6), normalised(x, 2), rtol=1e-6, atol=1e-6)
    assert_allclose(layer_norm(x, 20), normalised(x, 2), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CHANNELLED)
def test_channels_last(name, shape):
    x = noise(shape)
    if name == "local_response_norm" and x.ndim == 2:
        shape = (*shape, 1)
        x = x.reshape(shape)
    formats = ["channels_last", {3: "NLC", 4: "NHWC", 5: "NDHWC"}.get(x.ndim, "channels_last")]
    for data_format in formats:
        y = NORMS[name](np.moveaxis(x, 1, -1), data_format=data_format)
        assert y.flags.c_contiguous
        assert_allclose(np.moveaxis(y, -1, 1), NORMS[name](x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CHANNELLED)
def test_an_unfit_data_format(name):
    with pytest.raises(ValueError, match=r"data_format must be .*, got 'NLC'"):
        NORMS[name](noise((2, 6, 4, 4)), data_format="NLC")


@pytest.mark.parametrize("name", NORMS)
def test_half_types_are_rounded_once(name):
    for dtype in (np.float16, BFLOAT16):
        x = noise((2, 6, 4, 3)).astype(dtype)
        y, wide = NORMS[name](x), NORMS[name](x.astype(np.float32))
        assert y.dtype == dtype and wide.dtype == np.float32
        assert_array_equal(y.view(np.uint16), wide.astype(dtype).view(np.uint16))


@pytest.mark.parametrize("name", NORMS)
def test_integers_and_unfit_dtypes(name):
    x = noise((2, 6, 4, 3)).astype(np.int16)
    assert NORMS[name](x).dtype == np.float64
    assert_array_equal(NORMS[name](x), NORMS[name](x.astype(float)))
    for dtype in (bool, complex, object):
        with pytest.raises(TypeError, match="x must be"):
            NORMS[name](x.astype(dtype))


@pytest.mark.parametrize("name", NORMS)
def test_any_layout_and_inputs_untouched(name):
    base = noise((4, 12, 4, 6), np.float32)
    for x in (base[::-2, ::2, :, ::2], base[:, :6].astype(">f4"), np.asfortranarray(base[:, 6:])):
        x.flags.writeable = False
        before = x.copy()
        y = NORMS[name](x)
        assert_allclose(y, NORMS[name](np.ascontiguousarray(x, np.float32)), rtol=1e-6, atol=1e-6)
        assert_array_equal(x, before)
        assert y.dtype == np.float32 and y.dtype.isnative and y.flags.c_contiguous


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("shape", [(0, 6, 4), (2, 6, 0)])
def test_empty_arrays(name, shape):
    y = NORMS[name](np.ones(shape, np.float32))
    assert y.shape == shape and y.dtype == np.float32


@pytest.mark.parametrize("name", [name for name in NORMS if name != "dropout"])
def test_non_finite_values_stay_in_their_group_and_do_not_warn(name):
    x = noise((2, 6, 4))
    x[0, 0, 0], x[1, 5, 1] = np.nan, np.inf
    y, clean = NORMS[name](x), NORMS[name](noise((2, 6, 4)))
    assert np.isnan(y[0, 0, 0])
    assert_allclose(y[1, 2], clean[1, 2])


def test_batch_norm_leaves_running_statistics_alone_where_the_batch_is_empty():
    mean, var = stats()
    batch_norm(np.ones((0, 6)), mean, var, training=True)
    assert_array_equal(mean, stats()[0])


def frozen(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: batch_norm(x[0, 0], *stats()), ValueError, r"x must have at least 2 axes, got shape \(3,\)"),
        (lambda x: batch_norm(x, None, None), ValueError, "must be given in evaluation"),
        (lambda x: batch_norm(x, stats()[0], None, training=True), ValueError, "given together"),
        (
            lambda x: batch_norm(x, np.ones(5), np.ones(6)),
            ValueError,
            r"running_mean must have shape \(6,\), got \(5,\)",
        ),
        (lambda x: batch_norm(x, *stats(), weight=np.ones((6, 1))), ValueError, "weight must have shape"),
        (lambda x: batch_norm(x, *stats(), bias=np.ones(6, bool)), TypeError, "bias must be"),
        (lambda x: batch_norm(x, *stats(), eps=-1), ValueError, "eps must be at least 0"),
        (lambda x: batch_norm(x, None, None, training=True, eps=0), ValueError, "eps must be positive"),
        (lambda x: batch_norm(x[:1, :, 0], *stats(), training=True), ValueError, "more than one value a channel"),
        (lambda x: batch_norm(x, [0.0] * 6, [1.0] * 6, training=True), TypeError, "running_mean must be a writable"),
        (lambda x: batch_norm(x, frozen(np.zeros(6)), np.ones(6), training=True), TypeError, "running_mean"),
        (lambda x: batch_norm(x, np.zeros(6), np.ones(6, int), training=True), TypeError, "running_var"),
        (lambda x: group_norm(x, 4), ValueError, "num_groups must divide x's 6 channels, got 4"),
        (lambda x: group_norm(x, 0), ValueError, "num_groups must be at least 1"),
        (lambda x: group_norm(x[0, 0], 1), ValueError, "x must have at least 2 axes"),
        (lambda x: group_norm(x[:1, :, :1], 6), ValueError, "more than one value a group"),
        (lambda x: group_norm(x, 2, np.ones(2)), ValueError, r"weight must have shape \(6,\)"),
        (lambda x: layer_norm(x, (6,)), ValueError, r"normalized_shape must be x's last axes, got \(6,\)"),
        (lambda x: layer_norm(x, ()), ValueError, "normalized_shape"),
        (lambda x: layer_norm(x, (1, 2, 6, 3)), ValueError, "normalized_shape"),
        (lambda x: layer_norm(x, (6, 3), np.ones(3)), ValueError, r"weight must have shape \(6, 3\)"),
        (lambda x: local_response_norm(x[0], 2), ValueError, "x must have at least 3 axes"),
        (lambda x: local_response_norm(x, 0), ValueError, "size must be at least 1"),
        (lambda x: local_response_norm(x, 1.5), TypeError, "size must be an integer"),
        (lambda x: dropout(x, 1.1), ValueError, "p must be between 0 and 1, got 1.1"),
        (lambda x: dropout(x, -0.1), ValueError, "p must be between 0 and 1"),
        (lambda x: dropout(x, float("nan")), ValueError, "p must be between 0 and 1"),
        (lambda x: dropout(x, rng=0), TypeError, "rng must be a numpy.random.Generator, got int"),
    ],
)
def test_judges_its_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(noise((2, 6, 3)))


def test_an_error_in_training_writes_nothing():
    mean, var = stats()
    with pytest.raises(ValueError, match="weight"):
        batch_norm(noise((4, 6)), mean, var, np.ones(5), training=True)
    assert_array_equal(mean, stats()[0])
    assert_array_equal(var, stats()[1])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout(p):
    x = np.full((300, 400), 2.0, np.float32)
    y = dropout(x, p, rng=np.random.default_rng(5))
    assert y.dtype == np.float32
    assert_array_equal(np.unique(y), np.array([0, 2 / (1 - p)], np.float32))
    assert abs((y == 0).mean() - p) < 5 * np.sqrt(p * (1 - p) / x.size)
    assert_array_equal(y, dropout(x, p, rng=np.random.default_rng(5)))
    assert (y != dropout(x, p, rng=np.random.default_rng(6))).any()


def test_dropout_at_its_limits():
    x = np.array([1.0, np.nan, np.inf])
    assert_array_equal(dropout(x, 1.0), [0, 0, 0])
    x = np.asfortranarray(noise((2, 3)))
    for y in (dropout(x, 0.0), dropout(x, 0.7, training=False)):
        assert_array_equal(y, x)
        assert y.flags.c_contiguous
        assert not np.may_share_memory(x, y)
