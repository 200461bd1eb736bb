"""The public convolutions: layouts, padding, epilogue, results into `out`, and the choice of an algorithm."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from passes import arrays_like

import numconv as nc
from numconv import problem as problems
from numconv.lab import reference

CONV = {1: nc.conv1d, 2: nc.conv2d, 3: nc.conv3d}
TRANSPOSED = {1: nc.conv_transpose1d, 2: nc.conv_transpose2d, 3: nc.conv_transpose3d}
INPUT = {1: nc.conv1d_input, 2: nc.conv2d_input, 3: nc.conv3d_input}
WEIGHT = {1: nc.conv1d_weight, 2: nc.conv2d_weight, 3: nc.conv3d_weight}
SIZE = {1: (19,), 2: (9, 11), 3: (5, 6, 7)}
FORMATS = {1: ("NLC", "NWC"), 2: ("NHWC",), 3: ("NDHWC",)}

dimensions = pytest.mark.parametrize("ndim", [1, 2, 3])
algorithms = pytest.mark.parametrize("algorithm", ["auto", "indirect", "direct"])


def close(actual, expected, scale=None, bound=1e-6):
    """Equal shapes and at most `bound` apart, as a part of the scale (of the largest expected number)."""
    assert actual.shape == expected.shape
    scale = max(np.abs(expected).max(initial=0), 1e-30) if scale is None else scale
    assert np.abs(actual - expected).max(initial=0) <= bound * scale


def operands(ndim, ci=5, co=6, groups=1, n=2, kernel=3, dtype=np.float32):
    return arrays_like((n, ci, *SIZE[ndim]), (co, ci // groups, *(kernel,) * ndim), (co,), dtype)


def every(value, ndim):
    return (value,) * ndim


# ranks, data formats, unbatched


@dimensions
def test_an_image_without_a_batch(ndim):
    x, weight, bias = operands(ndim)
    assert_array_equal(CONV[ndim](x[1], weight, bias), CONV[ndim](x[1:], weight, bias)[0])
    last = np.moveaxis(x[1], 0, -1)
    assert_array_equal(
        CONV[ndim](last, weight, bias, data_format="channels_last"),
        CONV[ndim](last[None], weight, bias, data_format="channels_last")[0],
    )
    swapped = weight.swapaxes(0, 1)
    assert_array_equal(TRANSPOSED[ndim](x[1], swapped), TRANSPOSED[ndim](x[1:], swapped)[0])
    grad = CONV[ndim](x, weight)
    assert_array_equal(INPUT[ndim](x.shape[1:], weight, grad[1]), INPUT[ndim](x[1:].shape, weight, grad[1:])[0])
    assert_array_equal(WEIGHT[ndim](x[1], weight.shape, grad[1]), WEIGHT[ndim](x[1:], weight.shape, grad[1:]))


@dimensions
def test_data_formats_are_names_of_two_layouts(ndim):
    x, weight, bias = operands(ndim)
    first = CONV[ndim](x, weight, bias, padding=1, stride=2)
    letters = {1: ("NCL", "NCW"), 2: ("NCHW",), 3: ("NCDHW",)}[ndim]
    for name in (*letters, "channels_first", None):
        assert_array_equal(CONV[ndim](x, weight, bias, padding=1, stride=2, data_format=name), first)
    moved = np.moveaxis(x, 1, -1)
    for name in (*FORMATS[ndim], "channels_last"):
        last = CONV[ndim](moved, weight, bias, padding=1, stride=2, data_format=name)
        assert last.flags.c_contiguous and first.flags.c_contiguous
        close(np.moveaxis(last, -1, 1), first)


# padding


@dimensions
@pytest.mark.parametrize("stride, dilation, kernel", [(1, 1, 3), (2, 1, 4), (1, 2, 3), (3, 1, 2), (2, 2, 3)])
def test_named_padding(ndim, stride, dilation, kernel):
    x, weight, bias = operands(ndim, kernel=kernel)
    options = {"stride": every(stride, ndim), "dilation": every(dilation, ndim)}
    reach = dilation * (kernel - 1)
    total = [max((-(-n // stride) - 1) * stride + reach + 1 - n, 0) for n in SIZE[ndim]]
    pads = {
        "valid": [(0, 0)] * ndim,
        "full": [(reach, reach)] * ndim,
        "same": [(t // 2, t - t // 2) for t in total],
        "same_lower": [(t - t // 2, t // 2) for t in total],
    }
    for name, pairs in pads.items():
        actual = CONV[ndim](x, weight, bias, padding=name, **options)
        expected = reference.conv(x, weight, bias, padding=tuple(pairs), **options)
        close(actual, expected)
        if name.startswith("same"):
            assert actual.shape[2:] == tuple(-(-n // stride) for n in SIZE[ndim])


@dimensions
def test_forms_of_padding_that_mean_the_same(ndim):
    x, weight, _ = operands(ndim)
    expected = CONV[ndim](x, weight, padding=2)
    for form in ((2,) * ndim, [2] * ndim, np.full(ndim, 2), np.int64(2), (2,), ((2, 2),), [[2, 2]] * ndim, "full"):
        assert_array_equal(CONV[ndim](x, weight, padding=form), expected)
    assert_array_equal(CONV[ndim](x, weight, stride=np.array([2]), padding="valid"), CONV[ndim](x, weight, stride=2))


@dimensions
@pytest.mark.parametrize("data_format", [None, "channels_last"])
@pytest.mark.parametrize("mode, numpys", [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
def test_padding_modes(ndim, mode, numpys, data_format):
    x, weight, bias = operands(ndim)
    shown = x if data_format is None else np.moveaxis(x, 1, -1)
    for padding in (1, tuple(range(1, ndim + 1)), ((2, 1),) * ndim, "same", "full", 0):
        pads = problems.conv_padding(padding, SIZE[ndim], every(3, ndim), every(1, ndim), every(1, ndim))
        expected = reference.conv(np.pad(x, ((0, 0), (0, 0), *pads), mode=numpys), weight, bias)
        actual = CONV[ndim](shown, weight, bias, padding=padding, padding_mode=mode, data_format=data_format)
        close(actual if data_format is None else np.moveaxis(actual, -1, 1), expected)
    unbatched = CONV[ndim](shown[1], weight, bias, padding=1, padding_mode=mode, data_format=data_format)
    whole = CONV[ndim](shown, weight, bias, padding=1, padding_mode=mode, data_format=data_format)
    close(unbatched, whole[1].astype(np.float64))


@dimensions
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_named_padding_of_transposed_convolutions(ndim, stride):
    x, weight = arrays_like((1, 4, *SIZE[ndim]), (4, 3, *(4,) * ndim), np.float32)
    options = {"stride": every(stride, ndim)}
    same = TRANSPOSED[ndim](x, weight, padding="same", **options)
    assert same.shape[2:] == tuple(n * stride for n in SIZE[ndim])
    whole = reference.conv_transpose(x, weight, **options)
    total = max(4 - stride, 0)
    cut = tuple(slice(total // 2, total // 2 + n * stride) for n in SIZE[ndim])
    close(same, whole[(..., *cut)])
    close(TRANSPOSED[ndim](x, weight, padding="valid", **options), whole)


@dimensions
def test_output_size_of_transposed_convolutions(ndim):
    x, weight = arrays_like((1, 4, *SIZE[ndim]), (4, 3, *(3,) * ndim), np.float32)
    for extra in (0, 1, 2):
        expected = reference.conv_transpose(x, weight, stride=every(3, ndim), output_padding=every(extra, ndim))
        size = expected.shape[2:]
        close(TRANSPOSED[ndim](x, weight, stride=3, output_padding=extra), expected)
        close(TRANSPOSED[ndim](x, weight, stride=3, output_size=size), expected)


# epilogue


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@algorithms
@pytest.mark.parametrize("dtype, bound", [(np.float32, 1e-6), (np.float64, 1e-12)])
def test_activation_of_convolution_plus_bias_plus_residual(algorithm, data_format, dtype, bound):
    x, weight, bias = operands(2, dtype=dtype)
    options = {"stride": (2, 1), "padding": ((1, 1), (1, 1))}
    plain = reference.conv(x, weight, bias, **options)
    (residual,) = arrays_like(plain.shape, dtype)
    scale = reference.scale(reference.conv, x, weight, **options) + 3
    named = [*problems.ACTIVATIONS, ("leaky_relu", 0.3), ("elu", 0.5)]
    for activation in named:
        for added in (None, residual):
            shown, more = (x, added) if data_format == "NCHW" else (moved(x), moved(added))
            actual = nc.conv2d(
                shown, weight, bias, activation=activation, residual=more, data_format=data_format,
                algorithm=algorithm, **options,
            )  # fmt: skip
            assert actual.dtype == dtype
            expected = reference.activate(activation, plain if added is None else plain + added)
            # Hardswish is the steepest: 1.5.
            close(actual if data_format == "NCHW" else np.moveaxis(actual, -1, 1), expected, scale, 1.5 * bound)


def moved(x):
    return None if x is None else np.ascontiguousarray(np.moveaxis(x, 1, -1))


@dimensions
@algorithms
def test_epilogue_of_transposed_convolutions(ndim, algorithm):
    x, weight, bias = arrays_like((2, 4, *SIZE[ndim]), (4, 3, *(3,) * ndim), (3,), np.float32)
    plain = reference.conv_transpose(x, weight, bias, stride=every(2, ndim))
    (residual,) = arrays_like(plain.shape, np.float32)
    actual = TRANSPOSED[ndim](
        x, weight, bias, 2, activation=("leaky_relu", 0.2), residual=residual, algorithm=algorithm
    )
    close(actual, reference.activate(("leaky_relu", 0.2), plain + residual))


@algorithms
def test_activations_keep_nan_and_bear_large_arguments(algorithm):
    x = np.array([-1e30, -200.0, -0.0, 0.0, 200.0, 1e30, np.inf, -np.inf, np.nan], np.float32).reshape(1, 1, 1, -1)
    one = np.ones((1, 1, 1, 1), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in problems.ACTIVATIONS:
            actual = nc.conv2d(x, one, activation=name, algorithm=algorithm)[0, 0, 0]
            assert np.isnan(actual[-1]), name
            with np.errstate(all="ignore"):
                expected = reference.activate(name, x[0, 0, 0, :-1])
            assert_allclose(actual[:-1], expected, rtol=5e-7, atol=1e-30, err_msg=name)


# out


@algorithms
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_out_is_filled_and_returned(algorithm, data_format):
    x, weight, bias = operands(2)
    shown = x if data_format == "NCHW" else moved(x)
    expected = nc.conv2d(shown, weight, bias, data_format=data_format, algorithm=algorithm)
    out = np.full_like(expected, np.nan)
    assert nc.conv2d(shown, weight, bias, data_format=data_format, algorithm=algorithm, out=out) is out
    assert_array_equal(out, expected)
    unbatched = np.full_like(expected[0], np.nan)
    assert nc.conv2d(shown[0], weight, bias, data_format=data_format, algorithm=algorithm, out=unbatched) is unbatched
    if algorithm == "auto":  # another batch, perhaps another algorithm
        assert_allclose(unbatched, expected[0], rtol=1e-5, atol=1e-5)
    else:
        assert_array_equal(unbatched, expected[0])


def views(shape):
    """Arrays of a shape that are parts of larger ones, with the larger one."""
    n, c, h, w = shape
    whole = np.full((n, c + 4, h, w), 7.0, np.float32)
    yield "channel slice", whole[:, 2:-2], whole
    whole = np.full((n, h, w, c + 3), 7.0, np.float32)
    yield "channel slice of channels last", np.moveaxis(whole[..., 1:-2], -1, 1), whole
    whole = np.full((n, c, h + 2, 2 * w), 7.0, np.float32)
    yield "every other column", whole[:, :, 1:-1, ::2], whole
    whole = np.full((n, c, h, w), 7.0, np.float32)
    yield "backwards", whole[::-1, ::-1, ::-1, ::-1], whole
    whole = np.full((w, h, c, n), 7.0, np.float32)
    yield "Fortran order", whole.T, whole


@algorithms
def test_out_can_be_a_part_of_a_larger_array(algorithm):
    x, weight, bias = operands(2)
    calls = {
        "forward": lambda **more: nc.conv2d(x, weight, bias, algorithm=algorithm, padding=1, stride=2, **more),
        "transposed": lambda **more: nc.conv_transpose2d(x, weight[:5], None, 2, algorithm=algorithm, **more),
        "input": lambda **more: nc.conv2d_input((2, 5, 11, 13), weight, x[:, [0, 1, 2, 3, 4, 0]], **more),
        "weight": lambda **more: nc.conv2d_weight(x, (3, 5, 2, 3), x[:, :3, :-1, :-2], **more),
    }
    for kind, function in calls.items():
        expected = function()
        for name, view, whole in views(expected.shape):
            assert function(out=view) is view
            assert_array_equal(view, expected, err_msg=f"{kind} into {name}")
            view[...] = 7
            assert (whole == 7).all(), f"{kind} into {name}: written outside of out"


def test_out_can_have_axes_of_length_one_at_any_stride():
    """A new axis has stride 0 in NumPy."""
    x, weight, bias = operands(2, n=1)
    image = np.zeros((6, 7, 9), np.float32)
    nc.conv2d(x, weight, bias, out=image[None])
    assert_array_equal(image[None], nc.conv2d(x, weight, bias))
    plane = np.zeros((1, 7, 9), np.float32)
    nc.conv2d(x, weight[:1], out=plane[:, None])
    assert_array_equal(plane[:, None], nc.conv2d(x, weight[:1]))


@algorithms
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_out_may_be_the_residual_itself(algorithm, data_format):
    x, weight, bias = operands(2)
    shown = x if data_format == "NCHW" else moved(x)
    plain = nc.conv2d(shown, weight, bias, data_format=data_format, algorithm=algorithm)
    (residual,) = arrays_like(plain.shape, np.float32)
    options = {"activation": "relu", "data_format": data_format, "algorithm": algorithm}
    expected = nc.conv2d(shown, weight, bias, residual=residual.copy(), **options)
    out = nc.conv2d(shown, weight, bias, residual=residual, out=residual, **options)
    assert out is residual
    assert_array_equal(out, expected)
    whole = np.ones((*plain.shape[:-1], 2 * plain.shape[-1]), np.float32)
    part = whole[..., ::2]
    part[...] = expected
    again = nc.conv2d(shown, weight, bias, residual=expected.copy(), **options)
    assert_array_equal(nc.conv2d(shown, weight, bias, residual=part, out=part, **options), again)
    assert (whole[..., 1::2] == 1).all()


# separable


@pytest.mark.parametrize("data_format", [None, "NHWC"])
def test_separable_is_depthwise_then_pointwise(data_format):
    x, depthwise, pointwise, bias = arrays_like((2, 4, 9, 11), (8, 1, 3, 3), (5, 8, 1, 1), (5,), np.float32)
    options = {"stride": (2, 1), "padding": ((1, 1), (2, 2)), "dilation": (1, 2)}
    expected = reference.conv(reference.conv(x, depthwise, groups=4, **options), pointwise, bias)
    shown = x if data_format is None else moved(x)
    actual = nc.separable_conv2d(shown, depthwise, pointwise, bias, data_format=data_format, **options)
    close(actual if data_format is None else np.moveaxis(actual, -1, 1), expected)
    one = nc.separable_conv2d(shown[1], depthwise, pointwise, bias, data_format=data_format, **options)
    close(one, actual[1].astype(np.float64))


# special numbers


@algorithms
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("operation", ["conv2d", "conv_transpose2d", "conv2d_input", "conv2d_weight"])
def test_nan_and_inf_spread_by_the_definition(operation, algorithm, value):
    if algorithm not in ("auto", *nc.algorithms(operation)):
        pytest.skip(f"{operation} has no {algorithm}")
    x, weight, _ = operands(2)
    options = {"stride": (2, 1), "padding": ((1, 1), (1, 1))}
    x[0, 2, 4, 5] = value
    if operation == "conv2d":
        given, oracle = (x, weight), reference.conv
    elif operation == "conv_transpose2d":
        given, oracle = (x, weight[:5]), reference.conv_transpose
    elif operation == "conv2d_input":
        grad = nc.conv2d(np.zeros_like(x), weight, **options)
        grad[0, 2, 1, 3] = value
        given, oracle = (x.shape, weight, grad), reference.conv_input
    else:
        grad = nc.conv2d(np.zeros_like(x), weight, **options) + 1
        given, oracle = (x, weight.shape, grad), reference.conv_weight
    with np.errstate(invalid="ignore"):
        expected = oracle(*given, **options)
    actual = getattr(nc, operation)(*given, algorithm=algorithm, precision="strict", **options)
    assert 0 < np.isfinite(expected).sum() < expected.size
    assert_array_equal(np.isnan(actual), np.isnan(expected))
    assert_array_equal(np.isposinf(actual), np.isposinf(expected))
    assert_array_equal(np.isneginf(actual), np.isneginf(expected))
    sound = np.isfinite(expected)
    close(actual[sound], expected[sound])


def test_one_channel_keeps_nan_to_its_windows():
    x, weight = np.zeros((1, 1, 12, 12), np.float32), np.ones((1, 1, 3, 3), np.float32)
    x[0, 0, 5, 6] = np.nan
    rejected = nc.explain("conv2d", x, weight, precision="strict").rejected
    taken = set(nc.algorithms("conv2d")) - set(rejected)
    assert {"strip", "direct"} <= taken
    for name in taken:
        assert np.isnan(nc.conv2d(x, weight, algorithm=name, precision="strict")).sum() == 9, name


@algorithms
def test_nan_filled_data_gives_nan(algorithm):
    x, weight, bias = operands(2)
    x[...] = np.nan
    assert np.isnan(nc.conv2d(x, weight, bias, algorithm=algorithm)).all()
    assert np.isnan(nc.conv2d(operands(2)[0], np.full_like(weight, np.nan), algorithm=algorithm)).all()
    assert np.isnan(nc.conv2d(operands(2)[0], weight, np.full_like(bias, np.nan), algorithm=algorithm)).all()


@algorithms
def test_denormals_are_not_flushed(algorithm):
    x, weight, _ = operands(2)
    tiny = (x * np.float32(1e-39)).astype(np.float32)
    assert 0 < np.abs(tiny).max() < np.finfo(np.float32).tiny
    expected = reference.conv(tiny, weight)
    actual = nc.conv2d(tiny, weight, algorithm=algorithm)
    steps = np.abs(actual - expected).max() / np.finfo(np.float32).smallest_subnormal
    assert steps <= 45  # at most half a step for each of the 45 terms and sums
    assert np.abs(actual).max() > 0


# beyond 2**31


def sparse(count, dtype):
    """`count` zeros in memory that is only there where it is touched."""
    return np.zeros(count, dtype)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_positions_beyond_2_to_the_31(dtype):
    step, length = 1 << 30, (1 << 31) + 64
    x = sparse(length, dtype).reshape(1, 1, length)
    x[0, 0, [1, step + 2, 2 * step, 2 * step + 1, 2 * step + 2]] = 2, 3, 5, 7, 11
    weight = np.array([1, 2, 4], dtype).reshape(1, 1, 3)
    for algorithm in ("direct", "auto"):
        y = nc.conv1d(x, weight, stride=step, algorithm=algorithm)
        assert_array_equal(y[0, 0], [4, 12, 5 + 14 + 44])
        far = nc.conv1d(x, weight, dilation=step, algorithm=algorithm)
        assert far.shape == (1, 1, 64)
        assert_array_equal(far[0, 0, :3], [20, 2 + 28, 2 * 3 * 0 + 6 + 44 - 0])
    grad = np.array([1, 2, 3], dtype).reshape(1, 1, 3)
    assert_array_equal(nc.conv1d_weight(x, (1, 1, 3), grad, step)[0, 0], [15, 2 + 21, 2 * 3 + 33])


def test_channels_beyond_2_to_the_31():
    rows = (1 << 31) // 4096 + 3
    x = sparse(rows * 4096, np.int8).reshape(1, rows, 64, 64)[:, :: rows - 1]
    assert x.strides[1] > 1 << 31
    x[0, :, 5, 7] = 3, 4
    y = nc.conv2d(x, np.array([10, 1], np.int8).reshape(1, 2, 1, 1))
    assert y[0, 0, 5, 7] == 34 and np.count_nonzero(y) == 1
