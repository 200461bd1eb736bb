"""TensorFlow's names against the oracle: channels, weights and "SAME" as TensorFlow defines them."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from numconv.interop import tf
from numconv.lab import reference

CONV = {1: tf.conv1d, 2: tf.conv2d, 3: tf.conv3d}
TRANSPOSE = {1: tf.conv1d_transpose, 2: tf.conv2d_transpose, 3: tf.conv3d_transpose}
FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}
AXES = {1: (9,), 2: (9, 8), 3: (5, 6, 4)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 3, 2)}

sizes = st.integers(1, 12)


def random(*shape, seed=0):
    return np.random.default_rng((*shape, seed)).standard_normal(shape)


def first(images):
    return np.moveaxis(images, -1, 1)


def last(images):
    return np.moveaxis(images, 1, -1)


def weight_of(filters):
    """(out, in, *kernel) from (*kernel, in, out)."""
    ndim = filters.ndim - 2
    return filters.transpose(ndim + 1, ndim, *range(ndim))


def pairs(padding, size, kernel, strides, dilations=None):
    """TensorFlow's documented padding: along each axis ceil(size / stride) results, the odd one after."""
    if padding == "VALID":
        return ((0, 0),) * len(size)
    found = []
    for n, k, s, d in zip(size, kernel, strides, dilations or (1,) * len(size)):
        reach = (k - 1) * d + 1
        total = max(reach - s, 0) if n % s == 0 else max(reach - n % s, 0)
        found.append((total // 2, total - total // 2))
    return tuple(found)


def close(actual, expected):
    assert actual.shape == expected.shape
    assert actual.flags.c_contiguous
    assert_allclose(actual, expected, rtol=0, atol=1e-12 * max(np.abs(expected).max(), 1) * 100)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("strides", "dilations"), [(1, None), (2, None), (1, 2), (3, 1)])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_convolutions(ndim, strides, dilations, padding):
    x, filters = random(2, *AXES[ndim], 4), random(*KERNELS[ndim], 4, 6)
    s, d = (strides,) * ndim, (dilations or 1,) * ndim
    pads = pairs(padding, AXES[ndim], KERNELS[ndim], s, d)
    expected = last(reference.conv(first(x), weight_of(filters), None, s, pads, d))
    close(CONV[ndim](x, filters, strides, padding, dilations=dilations), expected)
    close(CONV[ndim](x, filters, [1, *s, 1], padding, FORMATS[ndim][0], [1, *d, 1]), expected)
    close(CONV[ndim](first(x), filters, [1, 1, *s], padding, FORMATS[ndim][1], list(d)), first(expected))


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(1, 5), st.integers(1, 4))
def test_same_has_ceil_of_size_over_stride(size, kernel, stride):
    x, filters = random(1, size, 1), random(kernel, 1, 1)
    expected = last(
        reference.conv(first(x), weight_of(filters), None, (stride,), pairs("SAME", (size,), (kernel,), (stride,)))
    )
    assert expected.shape[1] == -(-size // stride)
    close(tf.conv1d(x, filters, stride, "SAME"), expected)


def test_same_pads_after_where_it_is_odd():
    x = np.arange(1.0, 5.0).reshape(1, 4, 1)
    assert_array_equal(tf.conv1d(x, np.array([1.0, 10.0]).reshape(2, 1, 1), 1, "SAME").ravel(), [21, 32, 43, 4])


def test_explicit_padding_and_groups():
    x, filters = random(2, 7, 8, 6), random(3, 2, 2, 9)
    expected = last(reference.conv(first(x), weight_of(filters), None, (2, 1), ((1, 2), (0, 3)), None, 3))
    close(tf.conv2d(x, filters, [1, 2, 1, 1], [[0, 0], [1, 2], [0, 3], [0, 0]]), expected)
    actual = tf.conv2d(first(x), filters, [1, 1, 2, 1], [[0, 0], [0, 0], [1, 2], [0, 3]], "NCHW")
    close(actual, first(expected))


def depthwise(x, filters, strides, padding):
    """The definition: each input channel with each of its filters, in this order."""
    parts = []
    for c, m in itertools.product(range(x.shape[-1]), range(filters.shape[-1])):
        weight = filters[None, None, :, :, c, m]
        pads = pairs(padding, x.shape[1:3], filters.shape[:2], strides)
        parts.append(reference.conv(first(x[..., c : c + 1]), weight, None, strides, pads))
    return last(np.concatenate(parts, axis=1))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_and_separable(stride, padding):
    x, filters, pointwise = random(2, 8, 7, 3), random(3, 2, 3, 2), random(1, 1, 6, 5)
    between = depthwise(x, filters, (stride, stride), padding)
    strides = [1, stride, stride, 1]
    close(tf.depthwise_conv2d(x, filters, strides, padding), between)
    close(tf.depthwise_conv2d(first(x), filters, stride, padding, "NCHW"), first(between))
    expected = between @ pointwise[0, 0]
    close(tf.separable_conv2d(x, filters, pointwise, strides, padding), expected)
    actual = tf.separable_conv2d(first(x), filters, pointwise, [1, 1, stride, stride], padding, "NCHW")
    close(actual, first(expected))


def test_depthwise_takes_dilations():
    x, filters = random(1, 9, 9, 2), random(3, 3, 2, 1)
    spread = np.zeros((5, 5, 2, 1))
    spread[::2, ::2] = filters
    close(tf.depthwise_conv2d(x, filters, 1, "SAME", dilations=[2, 2]), depthwise(x, spread, (1, 1), "SAME"))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_transposed_convolutions_are_the_gradient(ndim, stride, padding):
    size, kernel, s = AXES[ndim], KERNELS[ndim], (stride,) * ndim
    filters, pads = random(*kernel, 2, 3), pairs(padding, AXES[ndim], KERNELS[ndim], (stride,) * ndim)
    small = reference.conv_size(size, kernel, s, pads)
    value, shape = random(2, *small, 3), (2, *size, 2)
    expected = last(reference.conv_input((2, 2, *size), weight_of(filters), first(value), s, pads))
    close(TRANSPOSE[ndim](value, filters, shape, stride, padding), expected)
    actual = TRANSPOSE[ndim](first(value), filters, (2, 2, *size), [1, 1, *s], padding, FORMATS[ndim][1])
    close(actual, first(expected))
    # <conv(x), y> = <x, conv_transpose(y)>
    x = random(*shape, seed=1)
    forward = np.vdot(CONV[ndim](x, filters, stride, padding), value)
    assert np.vdot(x, expected) == pytest.approx(forward, abs=1e-10)


def test_every_size_that_goes_with_a_value_can_be_asked_for():
    value, filters = random(1, 3, 3, 1), random(3, 3, 1, 1)
    for height, width in itertools.product((5, 6), repeat=2):
        assert tf.conv2d_transpose(value, filters, (1, height, width, 1), 2).shape == (1, height, width, 1)
    for wrong in (4, 7):
        with pytest.raises(ValueError, match=r"output_shape \(1, 6, .*got \(3, 3\)"):
            tf.conv2d_transpose(value, filters, (1, 6, wrong, 1), 2)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("ksize", "strides"), [(2, 2), (3, 2), (3, 1), (2, 3)])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_poolings(ndim, ksize, strides, padding):
    x, k, s = random(2, *AXES[ndim], 3), (ksize,) * ndim, (strides,) * ndim
    pads = pairs(padding, AXES[ndim], k, s)
    largest = last(reference.max_pool(first(x), k, s, pads)[0])
    mean = last(reference.avg_pool(first(x), k, s, pads, count_include_pad=False))
    for kind, expected in (("max_pool", largest), ("avg_pool", mean)):
        by_rank, by_name = getattr(tf, kind), getattr(tf, f"{kind}{ndim}d")
        close(by_rank(x, ksize, strides, padding), expected)
        close(by_rank(x, [1, *k, 1], [1, *s, 1], padding, FORMATS[ndim][0]), expected)
        close(by_name(x, list(k), [strides], padding), expected)
        close(by_name(first(x), [1, 1, *k], s, padding, FORMATS[ndim][1]), first(expected))


def test_max_pool_takes_explicit_padding_and_never_picks_it():
    x = -np.abs(random(1, 4, 5, 2)) - 1
    expected = last(reference.max_pool(first(x), (2, 2), (2, 2), ((1, 1), (0, 1)))[0])
    close(tf.max_pool2d(x, 2, 2, [[0, 0], [1, 1], [0, 1], [0, 0]]), expected)
    assert expected.max() < -1


def test_keywords_of_both_versions():
    x, filters = random(1, 5, 5, 2), random(2, 2, 2, 3)
    expected = tf.conv2d(x, filters, 1, "SAME")
    assert_array_equal(tf.conv2d(input=x, filter=filters, strides=1, padding="SAME"), expected)
    assert_array_equal(tf.conv2d(input=x, filters=filters, strides=1, padding="SAME", data_format="NHWC"), expected)
    transposed = tf.conv2d_transpose(expected, filters, (1, 5, 5, 2), 1)
    for image, weight in itertools.product(("value", "input"), ("filter", "filters")):
        asked = {image: expected, weight: filters, "output_shape": [1, 5, 5, 2], "strides": [1, 1, 1, 1]}
        assert_array_equal(tf.conv2d_transpose(**asked), transposed)
    assert_array_equal(tf.avg_pool(value=x, ksize=2, strides=2, padding="SAME"), tf.avg_pool(x, 2, 2, "SAME"))
    assert_array_equal(
        tf.conv1d(x[0], filters=filters[0], stride=1, padding="SAME"), tf.conv1d(x[0], filters[0], 1, "SAME")
    )
    with pytest.raises(TypeError, match="weights"):
        tf.conv2d(x, weights=filters, strides=1, padding="SAME")


def test_dtypes_and_lists():
    x, filters = random(1, 5, 5, 2).astype(np.float32), random(2, 2, 2, 3).astype(np.float32)
    assert tf.conv2d(x, filters, 1, "SAME").dtype == np.float32
    assert tf.conv2d(x.tolist(), filters, 1, "SAME").dtype == np.float64
    assert tf.max_pool(np.arange(8).reshape(1, 8, 1), 2, 2, "VALID").tolist() == [[[1], [3], [5], [7]]]


def test_operands_are_left_as_they_are():
    x, filters = random(1, 5, 5, 2), random(2, 2, 2, 3)
    before = x.copy(), filters.copy()
    for operand in (x, filters):
        operand.flags.writeable = False
    tf.conv2d_transpose(tf.conv2d(x, filters, 1, "SAME"), filters, x.shape, 1)
    assert_array_equal(x, before[0])
    assert_array_equal(filters, before[1])


X, F = np.ones((1, 5, 5, 4)), np.ones((2, 2, 4, 6))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tf.conv2d(X[0], F, 1, "SAME"), ValueError, r"input must have 4 axes, NHWC, got shape \(5, 5, 4\)"),
        (lambda: tf.conv2d(X, F[0], 1, "SAME"), ValueError, "filter must have 4 axes"),
        (lambda: tf.conv2d(X, np.ones((2, 2, 3, 6)), 1, "SAME"), ValueError, r"\(2, 2, 3, 6\).*4 channels"),
        (lambda: tf.conv2d(X, np.ones((2, 2, 2, 5)), 1, "SAME"), ValueError, "multiple of output channels"),
        (lambda: tf.conv2d(X, F, 0, "SAME"), ValueError, "strides"),
        (lambda: tf.conv2d(X, F, [1, 2, 2, 2], "SAME"), ValueError, "strides must be 1 for batch and channels"),
        (lambda: tf.conv2d(X, F, [1, 2, 2, 1], "SAME", "NCHW"), ValueError, "strides must be 1 for batch"),
        (lambda: tf.conv2d(X, F, [1, 2, 2], "SAME"), ValueError, "strides"),
        (lambda: tf.conv2d(X, F, 1, "SAME", dilations=[2, 1, 1, 1]), ValueError, "dilations must be 1"),
        (lambda: tf.conv2d(X, F, 1, "FULL"), ValueError, "padding must be 'SAME', 'VALID' or nested pairs, got 'FULL'"),
        (lambda: tf.conv2d(X, F, 1, 1), ValueError, "padding"),
        (lambda: tf.conv2d(X, F, 1, [[0, 0], [1, 1]]), ValueError, "4 .before, after. pairs"),
        (lambda: tf.conv2d(X, F, 1, [[1, 0], [0, 0], [0, 0], [0, 0]]), ValueError, "padding must be 0 for batch"),
        (lambda: tf.conv2d(X, F, 1, "SAME", "NWC"), ValueError, "data_format"),
        (lambda: tf.conv2d(X, np.ones((6, 6, 4, 1)), 1, "VALID"), ValueError, "larger than the padded input"),
        (lambda: tf.conv2d(X.astype(bool), F, 1, "SAME"), TypeError, "input must be .*bool"),
        (lambda: tf.conv2d(X, F.astype(object), 1, "SAME"), TypeError, "filter must be .*object"),
        (lambda: tf.depthwise_conv2d(X, np.ones((2, 2, 3, 1)), 1, "SAME"), ValueError, "4 channels"),
        (lambda: tf.separable_conv2d(X, np.ones((2, 2, 3, 1)), F, 1, "SAME"), ValueError, "depthwise_filter"),
        (
            lambda: tf.separable_conv2d(X, np.ones((2, 2, 4, 2)), F, 1, "SAME"),
            ValueError,
            r"pointwise.*\(1, 1, 8, out\)",
        ),
        (lambda: tf.conv2d_transpose(X, F, (1, 5, 5, 4), 1), ValueError, "value has 4 channels"),
        (lambda: tf.conv2d_transpose(X, np.ones((2, 2, 6, 4)), (5, 5), 1), ValueError, "output_shape must be NHWC"),
        (lambda: tf.conv2d_transpose(X, np.ones((2, 2, 6, 4)), (2, 5, 5, 6), 1), ValueError, "batch of 1"),
        (lambda: tf.conv2d_transpose(X, np.ones((2, 2, 6, 4)), (1, 5, 5, 5), 1), ValueError, "6 output channels"),
        (lambda: tf.max_pool(np.ones((2, 2)), 2, 2, "SAME"), ValueError, r"3 to 5 axes, got shape \(2, 2\)"),
        (lambda: tf.max_pool(X, [2, 2, 2, 1], 2, "SAME"), ValueError, "ksize must be 1 for batch"),
        (lambda: tf.avg_pool(X, 2, 2, [[0, 0]] * 4), ValueError, "average must be 'SAME' or 'VALID'"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_tensorflow_and_numba_are_not_imported_with_it():
    code = "import sys, numconv.interop.tf; assert not {'tensorflow', 'numba'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
