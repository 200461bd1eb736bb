"""Operations on arrays on a GPU that are no convolutions, in the simulator: they agree with those on the CPU."""

import numpy as np
import pytest

import numconv as nc

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv.kernels.cuda import memory  # noqa: E402
from numconv.ops import arrays, indexing  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 8, 3, 4)).astype(np.float32)
LAST = np.ascontiguousarray(np.moveaxis(X, 1, -1))
COLUMN = RNG.standard_normal((8, 1, 1)).astype(np.float32)
ROWS = RNG.standard_normal((3, 100)).astype(np.float32)
VECTORS = [v.astype(np.float32) for v in RNG.random((4, 8)) + 0.1]


def there(value):
    return nc.cuda.to_device(value) if isinstance(value, np.ndarray) else value


def agrees(function, *operands, bound=1e-6, **options):
    """Whether a function gives on the device what it does on the host."""
    expected = np.asarray(function(*operands, **options))
    result = function(*map(there, operands), **{name: there(value) for name, value in options.items()})
    assert isinstance(result, memory.SimulatedArray)
    actual = nc.cuda.to_host(result)
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    scale = max(1, np.abs(expected.astype(float)).max(initial=0))
    np.testing.assert_allclose(actual.astype(float), expected.astype(float), atol=bound * scale, rtol=0)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum", "minimum"])
def test_arithmetic(name):
    function = getattr(arrays, name)
    agrees(function, X, X[::-1].copy())
    agrees(function, X, COLUMN)
    agrees(function, COLUMN, X)
    agrees(function, X[0, 0, 0], 2.5)
    agrees(function, 2, X[0, 0])


def test_what_lies_alike_stays_so():
    turned = memory.transpose(there(LAST), (0, 3, 1, 2))
    total = arrays.add(turned, there(COLUMN))
    assert total.strides == turned.strides
    np.testing.assert_array_equal(nc.cuda.to_host(total), X + COLUMN)
    mixed = arrays.add(turned, there(X))
    np.testing.assert_array_equal(nc.cuda.to_host(mixed), X + X)


def test_an_array_that_begins_between_four_elements():
    part = memory.part(there(ROWS.reshape(-1)), 0, 1, 100)
    assert not memory.aligned(part)
    np.testing.assert_array_equal(nc.cuda.to_host(arrays.add(part, part)), ROWS.reshape(-1)[1:100] * 2)


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "sin", "cos", "abs", "sign", "neg"])
def test_functions_of_an_element(name):
    agrees(getattr(arrays, name), np.abs(X[0]) + np.float32(0.1))


@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "elu", "gelu", "sigmoid", "tanh", "silu", "hardswish"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_activations(name, dtype):
    values = np.concatenate([X[0, 0].reshape(-1) * 3, [0, -0.0, np.inf, -np.inf, np.nan]]).astype(dtype)
    expected = getattr(nc, name)(values)
    actual = nc.cuda.to_host(getattr(nc, name)(there(values)))
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-3 if dtype == "float16" else 2e-6, atol=1e-6)


def test_comparisons_and_choices():
    agrees(arrays.compare, X, 0.1, relation="less")
    agrees(arrays.compare, X, COLUMN, relation="greater_equal")
    agrees(lambda x: arrays.where(arrays.compare(x, 0.0, relation="greater"), x, 0.5), X)
    agrees(arrays.clamp, X, min=-0.5, max=0.5)
    agrees(arrays.clamp, X, min=None, max=0.5)
    agrees(arrays.pow, np.abs(X), 2)
    agrees(arrays.pow, np.abs(X[0]), 0.75)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int32"])
def test_other_dtypes(dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    values = (X[0] * 3).astype(dtype)
    agrees(arrays.add, values, values)
    agrees(arrays.mul, values, values)
    agrees(nc.relu, values)
    assert arrays.mul(there(values), 2).dtype == values.dtype
    assert arrays.mul(there(values), 2.0).dtype == (values.dtype if dtype != "int32" else np.float64)
    agrees(lambda x: arrays.astype(x, dtype=np.float32), values)


@pytest.mark.parametrize("axis", [None, 0, 1, (2, 3), (0, 2, 3), -1])
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin"])
def test_reductions(name, axis):
    agrees(getattr(arrays, name), X, axis=axis)
    agrees(getattr(arrays, name), X, axis=axis, keepdims=True)


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin"])
def test_reductions_of_long_rows(name):
    wide = np.tile(ROWS, 3)[:, :290]  # more than a block has threads
    agrees(getattr(arrays, name), wide, axis=1)


def test_nan_wins():
    values = ROWS.copy()
    values[1, 70], values[2, 0] = np.nan, np.nan
    for name in ("amax", "amin"):
        result = nc.cuda.to_host(getattr(arrays, name)(there(values), axis=1))
        assert np.isnan(result).tolist() == [False, True, True]
    assert np.isnan(nc.cuda.to_host(nc.softmax(there(values)))).all(1).tolist() == [False, True, True]


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name):
    function = getattr(nc, name)
    agrees(function, X)
    agrees(function, X, 1)
    agrees(function, ROWS)
    agrees(function, ROWS * np.float32(100))
    agrees(function, ROWS, 0)


def test_parts_and_joins():
    agrees(lambda x: indexing.index(x, index=(slice(None), 1, ..., slice(None, None, -1))), X)
    agrees(lambda x: indexing.index(x, index=(1, 2, 1, 1)), X)
    agrees(lambda x: indexing.flip(x, axes=(0, 2)), X)
    agrees(lambda x: indexing.reshape(indexing.permute(x, axes=(0, 2, 3, 1)), shape=(2, -1)), X)
    agrees(lambda x, y: indexing.concatenate(x, y, axis=1), X, X[:, :4].copy())
    agrees(lambda x, y: indexing.concatenate(x, y, axis=3), X, X[..., :3].copy())
    agrees(lambda x, y: indexing.stack(x, y, axis=-1), X, X)
    agrees(arrays.matmul, ROWS, ROWS.T.copy(), bound=1e-5)
    first = memory.transpose(there(LAST), (0, 3, 1, 2))
    joined = indexing.concatenate(first, first, axis=1)
    assert joined.strides[1] == 4
    np.testing.assert_array_equal(nc.cuda.to_host(joined), np.concatenate([X, X], 1))


@pytest.mark.parametrize("spatial", [4, 3])  # planes of 12 elements, and of 9
@pytest.mark.parametrize("channels", [8, 5])
@pytest.mark.parametrize("last", [False, True])
def test_batch_norm(last, channels, spatial):
    x = np.ascontiguousarray(X[:, :channels, :, :spatial] + np.float32(100))
    mean, var, weight, bias = (v[:channels] for v in VECTORS)
    mean = mean + np.float32(100)
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    options = {"data_format": "NHWC" if last else None}
    agrees(nc.batch_norm, x, mean, var, weight, bias, **options)
    agrees(nc.batch_norm, x, mean, var, None, None, activation="relu", residual=x, **options, bound=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_bias_and_residual_of_a_direct_convolution(dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    x, weight, bias, residual = (
        RNG.standard_normal(s).astype(dtype) for s in [(1, 2, 3, 3), (4, 2, 2, 2), (4,), (1, 4, 2, 2)]
    )
    expected = nc.conv2d(x, weight, bias, residual=residual, algorithm="direct")
    x, weight, bias, residual = map(there, (x, weight, bias, residual))
    for result in (
        nc.conv2d(x, weight, bias, residual=residual, algorithm="direct"),
        nc.plan("conv2d", x.shape, weight, bias, algorithm="direct")(x, residual=residual),
    ):
        np.testing.assert_allclose(nc.cuda.to_host(result).astype(float), expected.astype(float), rtol=1e-2, atol=1e-6)


def test_linear():
    weight, bias = ROWS[:, :50].copy(), VECTORS[0][:3]
    x = np.ascontiguousarray(ROWS[:2, 50:])
    agrees(nc.linear, x, weight, bias, "relu", bound=1e-5)
    agrees(nc.linear, x.astype(float), weight.astype(float), None, "gelu", bound=1e-5)
    agrees(nc.linear, x.reshape(1, 2, 50), weight[0], bound=1e-5)


@pytest.mark.parametrize("x, last", [(X, None), (LAST, "NHWC")])
def test_what_knows_layouts(x, last):
    agrees(nc.local_response_norm, x, 5, data_format=last)
    agrees(nc.local_response_norm, x, 4, data_format=last)
    agrees(nc.channel_shuffle, x, 2, data_format=last)
    agrees(nc.pixel_shuffle, x, 2, data_format=last)
    even = np.ascontiguousarray(x[:, :2, :2] if last else x[..., :2, :2])
    agrees(nc.pixel_unshuffle, even, 2, data_format=last)


@pytest.mark.parametrize("size", [(5, 7), (2, 4)])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_interpolate(mode, size):
    agrees(nc.interpolate, X, size, mode=mode)
    agrees(nc.interpolate, LAST, size, mode=mode, data_format="NHWC")


def test_the_host_is_not_mixed_in():
    with pytest.raises(TypeError, match="operand 1 is on the host: copy with"):
        arrays.add(there(X), X)
    with pytest.raises(TypeError, match="weight is on the host"):
        nc.linear(there(ROWS), ROWS)
    with pytest.raises(TypeError, match="x is on the host"):
        nc.batch_norm(X, *map(there, VECTORS))
    with pytest.raises(TypeError, match="argmax runs on the CPU only"):
        arrays.argmax(there(X))
    with pytest.raises(TypeError, match="x is on a GPU, and this operation runs on the CPU"):
        nc.unfold(there(X), 2)
    with pytest.raises(TypeError, match="grad_output is on a GPU"):
        nc.relu_input(X, there(X))
    with pytest.raises(TypeError, match="group_norm runs on the CPU only"):
        nc.group_norm(there(X), 2)
    with pytest.raises(TypeError, match=r"call model.eval\(\)"):
        nc.batch_norm(there(X), *map(there, VECTORS), training=True)
    with pytest.raises(TypeError, match="integers, slices"):
        indexing.index(there(X), index=[0, 1])


def test_numpy_gets_no_array_of_a_gpu():
    with pytest.raises(TypeError, match="would have to copy to the host"):
        np.asarray(there(X))
    with pytest.raises(TypeError):
        there(X) + 1


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("pad", [(1, 2), (2, 0, 1, 3), ((0, 0), (1, 2), (2, 1)), (-1, 2), (0, -2, -1, 0)], ids=str)
def test_pad(pad, mode):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5), np.float32)
    value = 1.5 if mode == "constant" else 0
    for given in (nc.cuda.to_device(x), memory.transpose(nc.cuda.to_device(x.T), (3, 2, 1, 0))):
        actual = nc.cuda.to_host(nc.pad(given, pad, mode, value))
        np.testing.assert_array_equal(actual, nc.pad(x, pad, mode, value))


def test_pad_takes_what_the_cpu_takes():
    x = nc.cuda.to_device(np.zeros((1, 1, 3, 3), np.float32))
    with pytest.raises(ValueError, match="at most 2 in mode 'reflect'"):
        nc.pad(x, (3, 0), "reflect")
    with pytest.raises(ValueError, match="no more than there is"):
        nc.pad(x, (-2, -2))


@pytest.mark.parametrize("data_format", [None, "NHWC"])
def test_padding_modes_and_separable_convolutions(data_format):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 4, 6, 5), np.float32)
    x = x if data_format is None else np.moveaxis(x, 1, -1)
    depthwise, pointwise = rng.standard_normal((4, 1, 3, 3), np.float32), rng.standard_normal((2, 4, 1, 1), np.float32)
    there = nc.cuda.to_device
    for mode in ("reflect", "replicate", "circular"):
        options = {"padding": ((1, 2), (2, 0)), "padding_mode": mode, "groups": 4, "data_format": data_format}
        actual = nc.cuda.to_host(nc.conv2d(there(x), there(depthwise), **options))
        np.testing.assert_allclose(actual, nc.conv2d(x, depthwise, **options), atol=1e-5)
    actual = nc.separable_conv2d(there(x), there(depthwise), there(pointwise), padding=1, data_format=data_format)
    expected = nc.separable_conv2d(x, depthwise, pointwise, padding=1, data_format=data_format)
    np.testing.assert_allclose(nc.cuda.to_host(actual), expected, atol=1e-5)
