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
        (lambda x: nc.batch_norm_gradients(x, x, x[:1]), ValueError, r"statistics must have shape \(2, 3\)"),
        (lambda x: nc.batch_norm_gradients(x, x, x, activation="tanh"), ValueError, "None or 'relu', got 'tanh'"),
        (lambda x: nc.batch_norm_gradients(x[0], x[0], x), ValueError, "x must have at least 2 axes"),
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


def affine(channels=3):
    return noise(channels, 5), noise(channels, 6)


@pytest.mark.parametrize("data_format", [None, "channels_last"])
@pytest.mark.parametrize("shape", [(4, 3), (3, 3, 4), (2, 3, 2, 3), (2, 3, 1, 2, 2)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_batch_norm(shape, training, activation, data_format):
    weight, bias = affine()
    running = noise(3, 7), np.abs(noise(3, 8)) + 0.5
    x, grad = noise(shape), noise(shape, 1)
    if data_format:
        x, grad = np.moveaxis(x, 1, -1).copy(), np.moveaxis(grad, 1, -1).copy()

    def forward(x, weight=weight, bias=bias):
        means = tuple(r.copy() for r in running)
        return nc.batch_norm(x, *means, weight, bias, training, data_format=data_format, activation=activation)

    assert (forward(x) >= 0).all() == (activation == "relu")
    axes = tuple(axis for axis in range(x.ndim) if axis != (x.ndim - 1 if data_format else 1))
    mean, var = (x.mean(axes), x.var(axes)) if training else running
    statistics = np.stack([mean, 1 / np.sqrt(var + 1e-5)])
    options = {"data_format": data_format, "activation": activation}
    got = nc.batch_norm_gradients(x, grad, statistics, weight, bias, training, **options)
    check(forward, x, grad, got[0])
    check(lambda weight: forward(x, weight), weight, grad, got[1])
    check(lambda bias: forward(x, weight, bias), bias, grad, got[2])
    _, *parameters = nc.batch_norm_gradients(x, grad, statistics, weight, bias, training, **options, input_too=False)
    assert_array_equal(parameters, got[1:])
    for dtype in (np.float32, np.float16):
        short = x.astype(dtype), grad.astype(dtype)
        narrow = nc.batch_norm_gradients(*short, statistics, weight, bias, training, **options)
        bound = 1e-5 if dtype == np.float32 else 0.02
        for ours, wide in zip(narrow, got):
            assert ours.dtype == dtype
            assert_allclose(ours.astype(float), wide, rtol=bound, atol=bound * np.abs(wide).max())


def test_batch_norm_in_many_pieces(threads, always_parallel):
    for shape, data_format in (((2, 3, 300, 301), None), ((1, 301, 300, 2), "NHWC"), ((70_000, 3), None)):
        x, grad = noise(shape, 0, np.float32), noise(shape, 1, np.float32)
        results = []
        for n in (1, 3):
            threads(n)
            y = nc.batch_norm(x, None, None, training=True, data_format=data_format)
            axes = (0, 1, 2) if data_format else (0, *range(2, x.ndim))
            wide = x.astype(float)
            statistics = np.stack([wide.mean(axes), 1 / np.sqrt(wide.var(axes) + 1e-5)])
            results.append([y, *nc.batch_norm_gradients(x, grad, statistics, data_format=data_format)])
        for one, three in zip(*results):
            assert_array_equal(one, three)
        keep = [n if axis not in axes else 1 for axis, n in enumerate(shape)]
        mean, inverse = (s.reshape(keep) for s in statistics)
        centred = (wide - mean) * inverse
        assert_allclose(results[0][0], centred, rtol=2e-6, atol=2e-6)
        total, product = grad.sum(axes, dtype=float), (grad * centred).sum(axes)
        assert_allclose(results[0][3], total, rtol=1e-6)
        assert_allclose(results[0][2], product, rtol=1e-6)
        count = x.size / total.size
        expected = inverse * (grad - total.reshape(keep) / count - centred * product.reshape(keep) / count)
        assert_allclose(results[0][1], expected, rtol=1e-5, atol=1e-5)


def test_batch_norm_gradients_far_from_zero():
    x = (noise((8, 6, 20)) * 100 + 3e6).astype(np.float32)
    grad, wide = noise(x.shape, 1, np.float32), x.astype(float)
    statistics = np.stack([wide.mean((0, 2)), 1 / np.sqrt(wide.var((0, 2)) + 1e-5)])
    got = nc.batch_norm_gradients(x, grad, statistics)
    for ours, expected in zip(got, nc.batch_norm_gradients(wide, grad.astype(float), statistics)):
        assert_allclose(ours, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_batch_norm_gradients_of_nothing():
    got = nc.batch_norm_gradients(np.ones((0, 3), "f"), np.ones((0, 3), "f"), np.ones((2, 3)))
    assert [g.shape for g in got] == [(0, 3), (3,), (3,)] and not np.any(got[1])


@pytest.mark.parametrize("activation", ["relu", "tanh", ("leaky_relu", 0.3)])
def test_batch_norm_has_the_epilogue_of_convolutions(activation):
    x = noise((4, 3, 5))
    plain = nc.batch_norm(x, None, None, training=True)
    name, *parameter = activation if isinstance(activation, tuple) else (activation,)
    expected = getattr(nc, name)(plain, *parameter)
    assert_allclose(nc.batch_norm(x, None, None, training=True, activation=activation), expected, rtol=1e-14)


@pytest.mark.parametrize("data_format", [None, "channels_last"])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_norm(groups, data_format):
    shape = (2, 3, 2, 4) if data_format else (2, 4, 3, 2)
    x, grad, (weight, bias) = noise(shape), noise(shape, 1), affine(4)
    got = nc.group_norm_gradients(x, grad, groups, weight, 1e-3, data_format=data_format)

    def forward(x, weight=weight, bias=bias):
        return nc.group_norm(x, groups, weight, bias, 1e-3, data_format=data_format)

    check(forward, x, grad, got[0])
    check(lambda weight: forward(x, weight), weight, grad, got[1])
    check(lambda bias: forward(x, weight, bias), bias, grad, got[2])
    plain = nc.group_norm_gradients(x, grad, groups, data_format=data_format)[0]
    check(lambda x: nc.group_norm(x, groups, data_format=data_format), x, grad, plain)


@pytest.mark.parametrize("count", [1, 2])
def test_layer_norm(count):
    x, grad = noise((3, 4, 5)), noise((3, 4, 5), 1)
    shape = x.shape[-count:]
    weight, bias = noise(shape, 5), noise(shape, 6)
    got = nc.layer_norm_gradients(x, grad, shape, weight, 1e-3)
    check(lambda x: nc.layer_norm(x, shape, weight, bias, 1e-3), x, grad, got[0])
    check(lambda weight: nc.layer_norm(x, shape, weight, bias, 1e-3), weight, grad, got[1])
    check(lambda bias: nc.layer_norm(x, shape, weight, bias, 1e-3), bias, grad, got[2])
    check(lambda x: nc.layer_norm(x, shape), x, grad, nc.layer_norm_gradients(x, grad, shape)[0])


@pytest.mark.parametrize("size", [1, 2, 3, 9])
@pytest.mark.parametrize("data_format", [None, "channels_last"])
def test_local_response_norm(size, data_format):
    x, grad = noise((2, 3, 4)), noise((2, 3, 4), 1)
    got = nc.local_response_norm_input(x, grad, size, 0.3, 0.6, 1.5, data_format=data_format)
    check(lambda x: nc.local_response_norm(x, size, 0.3, 0.6, 1.5, data_format=data_format), x, grad, got)


def test_dropout():
    x, grad = noise((6, 7)), noise((6, 7), 1)
    mask = nc.dropout(np.ones_like(x), 0.3, rng=np.random.default_rng(2)) > 0
    got = nc.dropout_input(mask, grad, 0.3)
    check(lambda x: nc.dropout(x, 0.3, rng=np.random.default_rng(2)), x, grad, got)
    assert_array_equal(nc.dropout_input(mask, grad.astype("f"), 0.3).dtype, np.float32)
    assert not nc.dropout_input(np.zeros_like(mask), np.full_like(x, np.inf), 1.0).any()


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
@pytest.mark.parametrize("outs", [(), (4,)])
def test_linear(lead, outs):
    x, weight = noise((*lead, 5)), noise((*outs, 5), 1)
    grad = noise((*lead, *outs), 2)
    check(lambda x: nc.linear(x, weight), x, grad, nc.linear_input(weight, grad))
    check(lambda weight: nc.linear(x, weight), weight, grad, nc.linear_weight(x, grad))
    for dtype in (np.float32, np.float16):
        narrow = nc.linear_weight(x.astype(dtype), grad.astype(dtype))
        assert narrow.dtype == dtype
        assert_allclose(narrow.astype(float), nc.linear_weight(x, grad), rtol=0.02, atol=0.1)


def test_linear_gradients_of_nothing():
    assert_array_equal(nc.linear_weight(np.ones((0, 5)), np.ones((0, 4))), np.zeros((4, 5)))
    assert nc.linear_input(np.ones((4, 5)), np.ones((0, 4))).shape == (0, 5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int16])
@pytest.mark.parametrize("shape, axis", [((7, 3), 1), ((2, 3, 40, 50), 1), ((3, 4, 5), 0), ((9, 8, 3), -1), ((3,), 0)])
def test_channel_sum(shape, axis, dtype):
    x = noise(shape).astype(dtype)
    got = nc.channel_sum(x, axis)
    assert got.dtype == (np.float64 if dtype == np.int16 else dtype)
    expected = np.moveaxis(x, axis, 0).reshape(shape[axis], -1).sum(1, np.float64)
    assert_allclose(got.astype(float), expected, rtol=1e-3 if dtype == np.float16 else 1e-6, atol=1e-12)
    assert_array_equal(nc.channel_sum(np.zeros((0, 3, 4), np.float32)), np.zeros(3))


def test_channel_sum_in_many_pieces(threads, always_parallel):
    for shape, axis in (((3, 2, 70_000), 1), ((70_000, 3), 1), ((2, 40, 50, 60), -1)):
        x = noise(shape, 0, np.float32)
        results = []
        for n in (1, 2, 3):
            threads(n)
            results.append(nc.channel_sum(x, axis))
        assert_array_equal(results[0], results[1])
        assert_array_equal(results[0], results[2])
        others = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
        assert_allclose(results[0], x.sum(others, dtype=float), rtol=1e-6)


NORM_GRADIENTS = {
    "group_norm": lambda x, g: nc.group_norm_gradients(x, g, 2),
    "layer_norm": lambda x, g: nc.layer_norm_gradients(x, g, x.shape[-1]),
    "local_response_norm": lambda x, g: (nc.local_response_norm_input(x, g, 3),),
    "batch_norm": lambda x, g: nc.batch_norm_gradients(x, g, np.ones((2, 4))),
    "dropout": lambda x, g: (nc.dropout_input(x > 0, g, 0.3),),
}


@pytest.mark.parametrize("name", NORM_GRADIENTS)
def test_norms_in_any_dtype_and_layout(name):
    gradients = NORM_GRADIENTS[name]
    x, grad = noise((6, 4, 5)), noise((6, 4, 5), 1)
    wide = gradients(x, grad)
    for dtype, bound in ((np.float32, 1e-5), (np.float16, 0.03), (">f4", 1e-5)):
        for narrow in (gradients(x.astype(dtype), grad.astype(dtype)),):
            for ours, expected in zip(narrow, wide):
                assert ours.dtype == np.dtype(dtype).newbyteorder("=") and ours.flags.c_contiguous
                assert_allclose(ours.astype(float), expected, rtol=bound, atol=bound * np.abs(expected).max())
    views = x[::-2, :, ::2], np.asfortranarray(grad[::-2, :, ::2])
    for view in views:
        view.flags.writeable = False
    for ours, expected in zip(gradients(*views), gradients(*(v.copy(order="C") for v in views))):
        assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)
    empty = gradients(np.ones((0, 4, 5), "f"), np.ones((0, 4, 5), "f"))
    assert empty[0].shape == (0, 4, 5) and not any(map(np.any, empty[1:]))


PADS = [("constant", (1, 2, 0, 3)), ("constant", (-1, 2, 3, -2)), ("constant", ((1, 0), (0, 2), (-1, -1)))]
PADS += [(mode, (2, 1, 3, 0)) for mode in ("reflect", "replicate", "circular")]
PADS += [(mode, (-1, 2, 1, -2)) for mode in ("reflect", "replicate", "circular")]
PADS += [("replicate", (7, 9)), ("circular", (5, 5))]


@pytest.mark.parametrize("mode, pad", PADS)
def test_pad(mode, pad):
    x = noise((2, 4, 5))
    grad = noise(nc.pad(x, pad, mode).shape, 1)
    got = nc.pad_input(x.shape, grad, pad, mode)
    check(lambda x: nc.pad(x, pad, mode), x, grad, got)
    for dtype, bound in ((np.float32, 1e-6), (np.float16, 5e-3)):
        narrow = nc.pad_input(x.shape, grad.astype(dtype), pad, mode)
        assert narrow.dtype == dtype
        assert_allclose(narrow.astype(float), got, rtol=bound, atol=bound * 10)


RESIZES = [
    ((2, 2, 5), "nearest", {"size": 8}),
    ((2, 2, 5), "nearest", {"scale_factor": 0.6}),
    ((2, 2, 5), "nearest-exact", {"size": 3}),
    ((2, 2, 5), "linear", {"size": 8, "align_corners": True}),
    ((2, 2, 4, 5), "nearest", {"size": (7, 3)}),
    ((2, 2, 4, 5), "bilinear", {"scale_factor": 2}),
    ((2, 2, 4, 5), "bilinear", {"size": (3, 9), "align_corners": True}),
    ((2, 2, 6, 5), "bilinear", {"size": (3, 9), "antialias": True}),
    ((2, 2, 4, 5), "bicubic", {"scale_factor": (1.5, 0.7)}),
    ((2, 2, 4, 5), "bicubic", {"size": (4, 3), "antialias": True}),
    ((2, 2, 4, 5), "area", {"size": (3, 8)}),
    ((2, 2, 3, 4, 2), "trilinear", {"scale_factor": 1.5, "recompute_scale_factor": True}),
    ((2, 2, 3, 4, 2), "area", {"size": 2}),
]


@pytest.mark.parametrize("shape, mode, options", RESIZES)
def test_interpolate(shape, mode, options):
    x = noise(shape)
    grad = noise(nc.interpolate(x, mode=mode, **options).shape, 1)
    got = nc.interpolate_input(shape, grad, mode=mode, **options)
    check(lambda x: nc.interpolate(x, mode=mode, **options), x, grad, got)
    last = np.moveaxis(grad, 1, -1).copy()
    size = (shape[0], *shape[2:], shape[1])
    channels_last = nc.interpolate_input(size, last, mode=mode, data_format="channels_last", **options)
    assert_allclose(np.moveaxis(channels_last, -1, 1), got, rtol=1e-12, atol=1e-12)
    narrow = nc.interpolate_input(shape, grad.astype("f"), mode=mode, **options)
    assert narrow.dtype == np.float32
    assert_allclose(narrow, got, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda g: nc.linear_input(np.ones((3, 4)), g[0, 0]),
            ValueError,
            "grad_output must have a last axis of weight's",
        ),
        (lambda g: nc.linear_input(np.ones((2, 4)), g), ValueError, r"a last axis of weight's 2, got \(2, 3\)"),
        (lambda g: nc.linear_weight(np.ones((3, 4)), g), ValueError, r"leading axes of x, \(3,\), got \(2, 3\)"),
        (lambda g: nc.channel_sum(g, 2), ValueError, r"axis must be an axis of x, got 2 for shape \(2, 3\)"),
        (lambda g: nc.pad_input((2, 3), g, (1, 1)), ValueError, r"grad_output must have shape \(2, 5\), got \(2, 3\)"),
        (lambda g: nc.pad_input((2, 3), g, (1, 1), "mirror"), ValueError, "mode must be one of"),
        (lambda g: nc.pad_input((2, 1), g, (1, 1), "reflect"), ValueError, "pad must be at most 0"),
        (lambda g: nc.pad_input((2, 3), g > 0, (0, 0)), TypeError, "bool"),
        (lambda g: nc.interpolate_input((2, 3, 4), g, 5), ValueError, r"grad_output must have shape \(2, 3, 5\), got"),
        (lambda g: nc.interpolate_input((2, 3), g, 5), ValueError, "input_size must have 3 to 5 axes"),
        (lambda g: nc.interpolate_input((2, 3, 4), g, 5, mode="cubic"), ValueError, "mode must be one of"),
        (lambda g: nc.dropout_input(g > 0, g[0], 0.5), ValueError, r"mask must have the shape of grad_output, \(3,\)"),
        (lambda g: nc.dropout_input(g > 0, g, 1.5), ValueError, "p must be between 0 and 1"),
        (lambda g: nc.group_norm_gradients(g, g, 2), ValueError, "num_groups must divide x's 3 channels"),
        (lambda g: nc.layer_norm_gradients(g, g, 2), ValueError, "normalized_shape must be x's last axes"),
        (lambda g: nc.local_response_norm_input(g, g, 2), ValueError, "x must have at least 3 axes"),
    ],
)
def test_gradients_judge_their_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(noise((2, 3)))
