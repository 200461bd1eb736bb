"""The oracle itself, against SciPy, NumPy, figures worked out by hand, and the laws that gradients obey."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage, signal, special

from numconv.lab import reference as ref
from numconv.lab.cases import arrays, conv_cases, pool_cases
from numconv.lab.shapes import FAMILIES, RESNET50

CONVOLUTIONS = [case for case in conv_cases() if not case.transposed]
POOLS = pool_cases()


def close(actual, expected):
    """Equal shapes, and equal numbers to within float64's rounding."""
    assert np.shape(actual) == np.shape(expected)
    assert_allclose(actual, expected, rtol=1e-11, atol=1e-11)


def inner(a, b):
    assert a.shape == b.shape
    return (a * b).sum()


def noise(shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def named(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


def difference_quotient(function, x, direction, step=1e-6):
    return (function(x + step * direction) - function(x - step * direction)) / (2 * step)


# convolution


def test_conv_by_hand():
    x = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    weight = np.array([[[[1.0, 0.0], [0.0, -1.0]]]])
    assert_array_equal(ref.conv(x, weight)[0, 0], [[-4, -4], [-4, -4]])
    assert_array_equal(ref.conv(x, weight, np.array([10.0]))[0, 0], [[6, 6], [6, 6]])
    assert_array_equal(ref.conv(x, weight, padding=((1, 0), (0, 0)))[0, 0], [[-2, -3], [-4, -4], [-4, -4]])
    assert_array_equal(ref.conv(x, weight, stride=(2, 1), padding=((0, 1), (0, 0)))[0, 0], [[-4, -4], [7, 8]])
    assert_array_equal(ref.conv(x, weight, dilation=(2, 2))[0, 0], [[-8]])


def test_conv_groups_by_hand():
    x = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    weight = np.array([[[10.0]], [[100.0]], [[1.0]], [[-1.0]]])
    assert_array_equal(ref.conv(x, weight, groups=2)[0], [[10, 20], [100, 200], [3, 4], [-3, -4]])


def scipy_conv(x, weight, bias, stride, padding, dilation, groups):
    """scipy.signal.correlate of every padded channel with kernels that carry the dilation as zeros."""
    x = np.pad(x, [(0, 0), (0, 0), *padding])
    spread = np.zeros((*weight.shape[:2], *[d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:])]))
    spread[(..., *[slice(None, None, d) for d in dilation])] = weight
    y = np.zeros((x.shape[0], len(weight), *[m - k + 1 for m, k in zip(x.shape[2:], spread.shape[2:])]))
    for n, o, c in np.ndindex(x.shape[0], *spread.shape[:2]):
        channel = o // (len(weight) // groups) * spread.shape[1] + c
        y[n, o] += signal.correlate(x[n, channel], spread[o, c], "valid", method="direct")
    return y[(..., *[slice(None, None, s) for s in stride])] + bias.reshape(-1, *[1] * len(stride))


@named(CONVOLUTIONS)
def test_conv_is_scipys(case):
    x, weight, bias = arrays(case, np.float64)
    close(ref.conv(x, weight, bias, **case.options), scipy_conv(x, weight, bias, **case.options))


@named(CONVOLUTIONS)
def test_conv_gradients_are_adjoint(case):
    x, weight, _ = arrays(case, np.float64)
    y = ref.conv(x, weight, **case.options)
    grad = noise(y.shape)
    close(inner(ref.conv_input(x.shape, weight, grad, **case.options), x), inner(y, grad))
    close(inner(ref.conv_weight(x, weight.shape, grad, **case.options), weight), inner(y, grad))


@named(conv_cases("transposed"))
def test_conv_transpose_is_the_transpose_of_conv(case):
    x, weight, bias = arrays(case, np.float64)
    y = ref.conv_transpose(x, weight, **case.options)
    grad = noise(y.shape)
    options = {name: value for name, value in case.options.items() if name != "output_padding"}
    close(inner(ref.conv(grad, weight, **options), x), inner(y, grad))
    close(ref.conv_transpose(x, weight, bias, **case.options) - y, y * 0 + bias.reshape(-1, *[1] * len(case.spatial)))


def test_conv_transpose_by_hand():
    x = np.array([[[1.0, 2.0]]])
    weight = np.array([[[1.0, 10.0, 100.0]]])
    assert_array_equal(ref.conv_transpose(x, weight, stride=(2,))[0, 0], [1, 10, 102, 20, 200])
    assert_array_equal(ref.conv_transpose(x, weight, stride=(2,), padding=((1, 0),))[0, 0], [10, 102, 20, 200])
    assert_array_equal(ref.conv_transpose(x, weight, None, (4,), ((0, 1),), (2,))[0, 0], [1, 10, 100, 0, 2, 20, 200, 0])
    assert_array_equal(ref.conv_transpose(x, weight, dilation=(2,))[0, 0], [1, 2, 10, 20, 100, 200])


def test_integers_wrap_and_keep_their_type():
    x = np.full((1, 1, 4), 100, np.int8)
    y = ref.conv(x, np.full((1, 1, 2), 3, np.int8))
    assert y.dtype == np.int8
    assert_array_equal(y[0, 0], [88, 88, 88])
    assert ref.conv(x, np.ones((1, 1, 2), np.int16)).dtype == np.int16
    large = np.array([[[2**63 + 5]]], np.uint64)
    assert_array_equal(ref.conv(large, np.array([[[3]]], np.uint64)), np.array([[[2**63 + 15]]], np.uint64))
    assert ref.conv(x, np.ones((1, 1, 2), np.float32)).dtype == np.float64


def test_complex_is_not_conjugated():
    x, weight = np.array([[[1j, 2.0]]]), np.array([[[1j]]])
    y = ref.conv(x, weight)
    assert_array_equal(y[0, 0], [-1, 2j])
    assert_array_equal(ref.conv_input(x.shape, weight, y)[0, 0], [-1j, -2])
    assert_array_equal(ref.conv_weight(x, weight.shape, y)[0, 0], [3j])


def test_scale_is_the_sum_of_absolute_products():
    x, weight = np.array([[[1.0, -2.0, 3.0]]]), np.array([[[1.0, -1.0]]])
    assert ref.scale(ref.conv, x, weight) == 5
    assert ref.scale(ref.conv_input, x.shape, weight, np.array([[[1.0, -4.0]]])) == 5
    assert ref.scale(ref.conv, np.zeros((0, 1, 3)), weight) == 0


def test_convolution_matrix_and_its_transpose():
    x, weight = noise((1, 4, 5, 6)), noise((6, 2, 3, 2), seed=2)
    options = {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 2}
    y = ref.conv(x, weight, **options)
    matrix = ref.convolution_matrix(x.shape[1:], weight, **options)
    close(matrix @ x.ravel(), y.ravel())
    close(matrix.T @ y.ravel(), ref.conv_input(x.shape, weight, y, **options).ravel())


# activations


def test_activations():
    y = np.array([-8.0, -3.0, -1.0, -0.0, 0.5, 3.0, 7.0, 800.0])
    expected = {
        "relu": np.maximum(y, 0),
        "relu6": np.clip(y, 0, 6),
        "leaky_relu": np.where(y < 0, 0.01 * y, y),
        ("leaky_relu", 0.3): np.where(y < 0, 0.3 * y, y),
        "elu": np.where(y < 0, np.expm1(np.minimum(y, 0)), y),
        ("elu", 2.0): np.where(y < 0, 2 * np.expm1(np.minimum(y, 0)), y),
        "gelu": y * special.ndtr(y),
        "sigmoid": special.expit(y),
        "tanh": np.tanh(y),
        "silu": y * special.expit(y),
        "hardswish": y * np.clip(y + 3, 0, 6) / 6,
    }
    for activation, values in expected.items():
        close(ref.activate(activation, y), values)
        assert np.isnan(ref.activate(activation, np.array([np.nan]))).all()


# pooling


def windows(case, x, fill):
    """All windows of the padded image, (n, c, *out, *kernel), of a case without `ceil_mode`."""
    x = np.pad(x, [(0, 0), (0, 0), *case.padding], constant_values=fill)
    span = tuple(d * (k - 1) + 1 for d, k in zip(case.dilation, case.kernel))
    axes = tuple(range(2, x.ndim))
    view = np.lib.stride_tricks.sliding_window_view(x, span, axes)
    strides = [slice(None, None, s) for s in case.stride]
    return view[(slice(None), slice(None), *strides, ..., *[slice(None, None, d) for d in case.dilation])]


@named([case for case in POOLS if not case.ceil_mode])
def test_pooling_is_that_of_sliding_windows(case):
    (x,) = arrays(case, np.float64)
    taps = tuple(range(-len(case.kernel), 0))
    options = {"stride": case.stride, "padding": case.padding, "dilation": case.dilation}
    values, indices = ref.max_pool(x, case.kernel, **options)
    close(values, windows(case, x, -np.inf).max(taps))
    close(ref.max_unpool_input(indices, x), values)
    total, inside = windows(case, x, 0).sum(taps), windows(case, np.ones_like(x), 0).sum(taps)
    close(ref.avg_pool(x, case.kernel, **options), total / math.prod(case.kernel))
    close(ref.avg_pool(x, case.kernel, count_include_pad=False, **options), total / inside)
    close(ref.avg_pool(x, case.kernel, divisor_override=3, **options), total / 3)
    close(ref.lp_pool(x, 2, case.kernel, **options), np.sqrt((windows(case, x, 0) ** 2).sum(taps)))
    close(ref.lp_pool(x, math.inf, case.kernel, **options), np.abs(windows(case, x, 0)).max(taps))


@named(POOLS)
def test_pooling_gradients(case):
    (x,) = arrays(case, np.float64)
    options = {"stride": case.stride, "padding": case.padding, "dilation": case.dilation, "ceil_mode": case.ceil_mode}
    values, indices = ref.max_pool(x, case.kernel, **options)
    grad, direction = noise(values.shape), noise(x.shape, seed=2)
    close(inner(ref.max_pool_input(x.shape, indices, grad), x), inner(values, grad))
    for divisor in ({}, {"count_include_pad": False}, {"divisor_override": 5}):
        y = ref.avg_pool(x, case.kernel, **options, **divisor)
        assert y.shape == values.shape
        close(inner(ref.avg_pool_input(x.shape, grad, case.kernel, **options, **divisor), x), inner(y, grad))
    for norm in (2, 4, math.inf):
        slope = difference_quotient(
            lambda v, p=norm: inner(ref.lp_pool(v, p, case.kernel, **options), grad), x, direction
        )
        gradient = ref.lp_pool_input(x, norm, case.kernel, grad, **options)
        assert_allclose(inner(gradient, direction), slope, rtol=1e-5, atol=1e-5)


def test_max_pool_ties_nans_and_padding():
    x = np.array([[[1.0, 3.0, 3.0, np.nan, 0.0, np.nan, -np.inf, -np.inf]]])
    values, indices = ref.max_pool(x, (3,), (1,), ((1, 1),))
    assert_array_equal(values[0, 0], [3, 3, np.nan, np.nan, np.nan, np.nan, np.nan, -np.inf])
    assert_array_equal(indices[0, 0], [1, 1, 3, 3, 5, 5, 5, 6])
    values, indices = ref.max_pool(np.array([[[5, 7]]], np.int16), (1,), (1,), ((1, 0),))
    assert values.dtype == np.int16
    assert_array_equal(values[0, 0], [-(2**15), 5, 7])
    assert_array_equal(indices[0, 0], [-1, 0, 1])
    assert_array_equal(ref.max_pool_input((1, 1, 2), indices, np.ones((1, 1, 3))), [[[1, 1]]])
    assert_array_equal(ref.max_pool(np.array([[[1, 2**63]]], np.uint64), (2,))[1], [[[1]]])


def test_ceil_mode_by_hand():
    x = np.arange(1.0, 6.0).reshape(1, 1, 5)
    assert_array_equal(ref.max_pool(x, (2,), ceil_mode=True)[0][0, 0], [2, 4, 5])
    assert_array_equal(ref.avg_pool(x, (2,), ceil_mode=True)[0, 0], [1.5, 3.5, 5])
    # The padding behind the image counts, what the last window covers beyond it does not.
    x = np.arange(1.0, 7.0).reshape(1, 1, 6)
    assert_array_equal(ref.avg_pool(x, (3,), (3,), ((1, 1),), ceil_mode=True)[0, 0], [1, 4, 3])
    assert_array_equal(ref.avg_pool(x, (3,), (3,), ((1, 1),), True, False)[0, 0], [1.5, 4, 6])
    # A window that would start behind the image is left out.
    assert ref.pool_size((4,), (2,), (3,), ((1, 1),), ceil_mode=True) == (2,)


def test_average_of_integers_is_exact():
    assert_array_equal(ref.avg_pool(np.array([[[1, 2, 4]]], np.uint8), (3,)), [[[7 / 3]]])


def test_average_of_padding_alone_is_zero():
    x = np.ones((1, 1, 1))
    assert_array_equal(ref.avg_pool(x, (1,), (1,), ((1, 1),), False, False)[0, 0], [0, 1, 0])
    assert_array_equal(ref.weighted_avg_pool(x, (1,), (1,), ((1, 1),), weights=np.ones(1))[0, 0], [0, 1, 0])


def test_lp_pool_keeps_signs_and_scales_uneven_windows():
    x = np.array([[[1.0, -3.0, 2.0]]])
    assert_array_equal(ref.lp_pool(x, 1, (2,), ceil_mode=True)[0, 0], [-2, 4])
    assert_array_equal(ref.lp_pool(x, -math.inf, (3,))[0, 0], [1])
    assert_array_equal(ref.lp_pool_input(x, -math.inf, (3,), np.array([[[5.0]]]))[0, 0], [5, 0, 0])
    assert_array_equal(ref.lp_pool_input(x * 0, 2, (3,), np.array([[[5.0]]]))[0, 0], [0, 0, 0])
    assert np.isnan(ref.lp_pool(x, 3, (2,))).all()


def test_weighted_average():
    x, weights = noise((2, 3, 6, 7)), np.random.default_rng(3).random((3, 2)) + 0.1
    options = {"kernel": (3, 2), "stride": (2, 1), "padding": ((1, 1), (0, 1)), "weights": weights}
    y = ref.weighted_avg_pool(x, **options)
    kernel, geometry = weights[None, None], {"stride": (2, 1), "padding": options["padding"]}
    one_by_one = x.reshape(6, 1, 6, 7)
    expected = ref.conv(one_by_one, kernel, **geometry) / ref.conv(np.ones_like(one_by_one), kernel, **geometry)
    close(y, expected.reshape(y.shape))
    grad = noise(y.shape, seed=2)
    close(inner(ref.weighted_avg_pool_input(x.shape, grad, **options), x), inner(y, grad))


@pytest.mark.parametrize("out", [(1, 1), (2, 3), (3, 5), (6, 7), (8, 9)])
def test_adaptive_pooling(out):
    x = noise((2, 3, 6, 7))
    mean, (largest, indices) = ref.adaptive_avg_pool(x, out), ref.adaptive_max_pool(x, out)
    for i, j in np.ndindex(*out):
        rows = slice(math.floor(i * 6 / out[0]), math.ceil((i + 1) * 6 / out[0]))
        columns = slice(math.floor(j * 7 / out[1]), math.ceil((j + 1) * 7 / out[1]))
        close(mean[:, :, i, j], x[:, :, rows, columns].mean((2, 3)))
        close(largest[:, :, i, j], x[:, :, rows, columns].max((2, 3)))
    grad = noise(mean.shape, seed=2)
    close(inner(ref.adaptive_avg_pool_input(x.shape, grad), x), inner(mean, grad))
    close(inner(ref.adaptive_max_pool_input(x.shape, indices, grad), x), inner(largest, grad))


def test_max_unpool():
    x = noise((2, 3, 6, 8))
    values, indices = ref.max_pool(x, (2, 2))
    y = ref.max_unpool(values, indices, (6, 8))
    assert_array_equal(y, np.where(np.isin(x, values), x, 0))
    grad = noise(y.shape, seed=2)
    close(inner(ref.max_unpool_input(indices, grad), values), inner(y, grad))
    assert_array_equal(ref.max_unpool(np.array([[[4.0, 5.0]]]), np.array([[[1, 1]]]), (3,))[0, 0], [0, 5, 0])


# unfold, pad, resampling


def test_unfold_makes_a_matrix_product_of_a_convolution():
    x, weight = noise((2, 3, 6, 7)), noise((4, 3, 3, 2), seed=2)
    options = {"stride": (2, 1), "padding": ((1, 0), (1, 2)), "dilation": (1, 2)}
    columns = ref.unfold(x, (3, 2), **options)
    y = ref.conv(x, weight, **options)
    close((weight.reshape(4, -1) @ columns).reshape(y.shape), y)
    grad = noise(columns.shape, seed=3)
    close(inner(ref.fold(grad, (6, 7), (3, 2), **options), x), inner(columns, grad))


@pytest.mark.parametrize("pairs", [((1, 2), (3, 0)), ((0, 0), (0, 0)), ((9, 14), (13, 7))])
def test_pad_is_numpys(pairs):
    x = noise((2, 4, 5))
    modes = {"constant": "constant", "replicate": "edge", "reflect": "reflect", "symmetric": "symmetric"}
    for mode, numpys in (modes | {"circular": "wrap"}).items():
        assert_array_equal(ref.pad(x, pairs, mode), np.pad(x, ((0, 0), *pairs), numpys))
    assert_array_equal(ref.pad(x, pairs, value=7), np.pad(x, ((0, 0), *pairs), constant_values=7))


def test_pad_crops_empties_and_single_elements():
    x = np.arange(12).reshape(3, 4)
    assert_array_equal(ref.pad(x, ((-1, 0), (1, -2))), [[0, 4, 5], [0, 8, 9]])
    assert_array_equal(ref.pad(np.zeros((2, 0)), ((1, 2),), value=5), np.full((2, 3), 5))
    assert_array_equal(ref.pad(np.array([4]), ((2, 1),), "reflect"), [4, 4, 4, 4])


def test_interpolate_nearest_by_hand():
    x = np.arange(5.0).reshape(1, 1, 5)
    assert_array_equal(ref.interpolate(x, (3,))[0, 0], [0, 1, 3])
    assert_array_equal(ref.interpolate(x, (3,), mode="nearest-exact")[0, 0], [0, 2, 4])
    assert_array_equal(ref.interpolate(x, None, (2,))[0, 0], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    assert_array_equal(ref.interpolate(x, None, (0.5,))[0, 0], [0, 2])
    assert_array_equal(ref.interpolate(x, (1,), mode="nearest-exact")[0, 0], [2])


def test_interpolate_linear_is_scipys():
    x = noise((1, 1, 5, 7))
    rows, columns = np.linspace(0, 4, 9), np.linspace(0, 6, 4)
    expected = ndimage.map_coordinates(x[0, 0], np.meshgrid(rows, columns, indexing="ij"), order=1)
    close(ref.interpolate(x, (9, 4), mode="bilinear", align_corners=True)[0, 0], expected)
    half_pixels = np.meshgrid((np.arange(8) + 0.5) * 5 / 8 - 0.5, (np.arange(3) + 0.5) * 7 / 3 - 0.5, indexing="ij")
    expected = ndimage.map_coordinates(x[0, 0], half_pixels, order=1, mode="nearest")
    close(ref.interpolate(x, (8, 3), mode="bilinear")[0, 0], expected)
    expected = np.interp((np.arange(12) + 0.5) / 2.5 - 0.5, np.arange(5), x[0, 0, :, 0])
    close(ref.interpolate(x[:, :, :, 0], None, (2.5,), mode="linear")[0, 0], expected)


def test_interpolate_bicubic_by_hand():
    # Half-way between two points Keys' kernel with a = -3/4 weighs four neighbours by -3/32, 19/32, 19/32, -3/32.
    x = np.array([1.0, 5.0, -3.0, 7.0]).reshape(1, 1, 1, 4)
    y = ref.interpolate(x, (1, 7), mode="bicubic", align_corners=True)[0, 0, 0]
    close(y[[0, 2, 4, 6]], [1, 5, -3, 7])
    close(y[3], (-3 * 1 + 19 * 5 + 19 * -3 - 3 * 7) / 32)
    close(y[1], (-3 * 1 + 19 * 1 + 19 * 5 - 3 * -3) / 32)
    # Between the points the kernel reproduces no more than its weights, whose sum is 1 everywhere.
    close(ref.interpolate(np.ones((1, 1, 5, 4)), (11, 3), mode="bicubic"), np.ones((1, 1, 11, 3)))


def test_interpolate_area_is_the_adaptive_mean():
    x = noise((2, 1, 6, 8))
    close(ref.interpolate(x, (3, 2), mode="area"), x.reshape(2, 1, 3, 2, 2, 4).mean((3, 5)))


# convolve and correlate


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_one_axis_as_numpy_and_as_scipy(mode):
    for m in range(1, 7):
        for n in range(1, 7):
            a, v = noise(m) + 1j * noise(m, seed=2), noise(n, seed=3) + 1j * noise(n, seed=4)
            close(ref.convolve(a, v, mode), np.convolve(a, v, mode))
            close(ref.correlate(a, v, mode), np.correlate(a, v, mode))
            close(ref.convolve(a, v, mode, numpy_shapes=False), signal.convolve(a, v, mode, "direct"))
            close(ref.correlate(a, v, mode, numpy_shapes=False), signal.correlate(a, v, mode, "direct"))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(
    ("a_shape", "v_shape"),
    [((5, 6), (3, 2)), ((3, 2), (5, 6)), ((4, 4), (4, 4)), ((3, 4, 5), (2, 3, 1)), ((2, 1, 1), (2, 3, 4))],
)
def test_more_axes_as_scipy(a_shape, v_shape, mode):
    a, v = noise(a_shape), noise(v_shape, seed=2)
    close(ref.convolve(a, v, mode), signal.convolve(a, v, mode, "direct"))
    close(ref.correlate(a, v, mode), signal.correlate(a, v, mode, "direct"))


def test_boundaries_by_padding_are_ndimages():
    a, v = noise((7, 8)), noise((3, 5), seed=2)
    names = {"symmetric": "reflect", "reflect": "mirror", "replicate": "nearest", "circular": "wrap"}
    for mode, ndimages in names.items():
        padded = ref.pad(a, ((1, 1), (2, 2)), mode)
        close(ref.correlate(padded, v, "valid"), ndimage.correlate(a, v, mode=ndimages))


def test_integers_are_convolved_exactly():
    a = np.array([2**62, 3], np.int64)
    assert_array_equal(ref.convolve(a, a), np.convolve(a, a))
    assert ref.convolve(np.ones(2, np.uint8), np.ones(2, np.int8)).dtype == np.int16


# the lists of cases and shapes


def test_case_names_are_unique_and_results_not_empty():
    for cases in (conv_cases(), POOLS):
        assert len({case.name for case in cases}) == len(cases)
    for case in conv_cases():
        size = ref.conv_transpose_size if case.transposed else ref.conv_size
        options = {name: value for name, value in case.options.items() if name != "groups"}
        assert min(size(case.spatial, case.kernel, **options)) > 0
    for case in POOLS:
        assert (
            min(ref.pool_size(case.spatial, case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode)) > 0
        )


def test_arrays_are_the_same_for_a_seed():
    case = conv_cases("grouped")[0]
    for dtype in (np.float16, np.float64, np.complex64, np.uint8, np.int64):
        for a, b in zip(arrays(case, dtype, 3), arrays(case, dtype, 3)):
            assert a.dtype == dtype
            assert_array_equal(a, b)
    assert not np.array_equal(arrays(case, seed=3)[0], arrays(case, seed=4)[0])


def multiply_adds(shape):
    pairs = tuple((p, p) for p in shape.padding)
    size = ref.conv_size(shape.x[2:], shape.kernel, shape.stride, pairs, shape.dilation)
    return math.prod(shape.weight) * math.prod(shape.x[2:] if shape.transposed else size)


def test_resnet50_has_its_published_size():
    assert sum(shape.count for shape in RESNET50) == 53
    assert sum(shape.count * multiply_adds(shape) for shape in RESNET50) == 4_087_136_256
    assert sum(shape.count * math.prod(shape.weight) for shape in RESNET50) == 23_454_912


def test_shapes_have_unique_names_and_results():
    shapes = [*RESNET50, *(shape for family in FAMILIES.values() for shape in family)]
    assert len({shape.name for shape in shapes}) == len(shapes)
    for shape in shapes:
        assert multiply_adds(shape) > 0
        assert shape.batch(4).x == (4, *shape.x[1:])
