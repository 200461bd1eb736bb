"""Bad input: a ValueError or TypeError that names the argument, what came and what was expected, before any work."""

import numpy as np
import pytest
from passes import arrays_like

import numconv as nc

X = np.ones((2, 6, 9, 11), np.float32)
W = np.ones((8, 3, 3, 3), np.float32)
B = np.ones(8, np.float32)
GRAD = np.ones((2, 8, 7, 9), np.float32)
TW = np.ones((6, 4, 3, 3), np.float32)
OUT = (2, 8, 7, 9)
BASE = {"x": X, "weight": W, "bias": B, "groups": 2}


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def read_only(*shape):
    array = zeros(*shape)
    array.flags.writeable = False
    return array


def strided(*strides):
    return np.lib.stride_tricks.as_strided(zeros(10_000), OUT, strides)


# Arguments in place of those of a good call, the error, and what its message must hold.
FORWARD = {
    "x of two axes": ({"x": zeros(9, 11)}, ValueError, ["x", "4 axes", "(9, 11)"]),
    "x of five axes": ({"x": zeros(1, 2, 6, 9, 11)}, ValueError, ["x", "4 axes", "(1, 2, 6, 9, 11)"]),
    "x a number": ({"x": 3.0}, ValueError, ["x", "()"]),
    "x ragged": ({"x": [[1.0], [2.0, 3.0]]}, ValueError, []),
    "x a string": ({"x": "image"}, TypeError, ["x"]),
    "x None": ({"x": None}, TypeError, ["x", "object"]),
    "x boolean": ({"x": zeros(2, 6, 9, 11, dtype=bool)}, TypeError, ["x", "bool"]),
    "x of objects": ({"x": zeros(2, 6, 9, 11, dtype=object)}, TypeError, ["x", "object"]),
    "x of long doubles": ({"x": zeros(2, 6, 9, 11, dtype=np.longdouble)}, TypeError, ["float", "128"]),
    "weight of three axes": ({"weight": zeros(8, 3, 3)}, ValueError, ["weight", "4 axes", "(8, 3, 3)"]),
    "weight of five axes": ({"weight": zeros(8, 3, 3, 3, 3)}, ValueError, ["weight", "4 axes", "(8, 3, 3, 3, 3)"]),
    "weight boolean": ({"weight": zeros(8, 3, 3, 3, dtype=bool)}, TypeError, ["weight", "bool"]),
    "weight None": ({"weight": None}, TypeError, ["weight", "object"]),
    "channels": ({"x": zeros(2, 5, 9, 11)}, ValueError, ["5", "(8, 3, 3, 3)", "groups=2", "6"]),
    "channels last": ({"data_format": "NHWC"}, ValueError, ["11", "(8, 3, 3, 3)", "6"]),
    "groups of channels": ({"groups": 4}, ValueError, ["groups", "6", "12"]),
    "groups of outputs": ({"weight": zeros(7, 3, 3, 3), "bias": None}, ValueError, ["groups", "7", "2"]),
    "groups 0": ({"groups": 0}, ValueError, ["groups", "at least 1", "0"]),
    "groups negative": ({"groups": -2}, ValueError, ["groups", "at least 1", "-2"]),
    "groups a float": ({"groups": 2.0}, TypeError, ["groups", "2.0"]),
    "groups a tuple": ({"groups": (2, 2)}, TypeError, ["groups", "(2, 2)"]),
    "groups None": ({"groups": None}, TypeError, ["groups", "None"]),
    "bias shape": ({"bias": zeros(7)}, ValueError, ["bias", "(8,)", "(7,)"]),
    "bias a column": ({"bias": zeros(8, 1)}, ValueError, ["bias", "(8,)", "(8, 1)"]),
    "bias a number": ({"bias": 1.0}, ValueError, ["bias", "(8,)", "()"]),
    "bias boolean": ({"bias": zeros(8, dtype=bool)}, TypeError, ["bias", "bool"]),
    "stride 0": ({"stride": 0}, ValueError, ["stride", "at least 1", "0"]),
    "stride negative": ({"stride": (1, -1)}, ValueError, ["stride", "at least 1", "-1"]),
    "stride of three": ({"stride": (1, 1, 1)}, ValueError, ["stride", "2", "(1, 1, 1)"]),
    "stride a float": ({"stride": 1.5}, TypeError, ["stride", "1.5"]),
    "stride a string": ({"stride": "2"}, TypeError, ["stride", "'2'"]),
    "stride boolean": ({"stride": True}, TypeError, ["stride", "True"]),
    "dilation 0": ({"dilation": 0}, ValueError, ["dilation", "at least 1", "0"]),
    "dilation negative": ({"dilation": -3}, ValueError, ["dilation", "at least 1", "-3"]),
    "dilation a float": ({"dilation": 2.0}, TypeError, ["dilation", "2.0"]),
    "padding negative": ({"padding": -1}, ValueError, ["padding", "at least 0", "-1"]),
    "padding of three": ({"padding": (1, 1, 1)}, ValueError, ["padding", "2", "(1, 1, 1)"]),
    "padding pairs of three": ({"padding": ((1, 1),) * 3}, ValueError, ["padding", "2", "pairs"]),
    "padding unknown": ({"padding": "SAME"}, ValueError, ["padding", "'same'", "'SAME'"]),
    "padding a float": ({"padding": 0.5}, TypeError, ["padding", "0.5"]),
    "padding None": ({"padding": None}, TypeError, ["padding", "None"]),
    "kernel too large": ({"weight": zeros(8, 3, 10, 3)}, ValueError, ["kernel_size", "(10, 3)", "(9, 11)"]),
    "dilated kernel too large": ({"dilation": 5}, ValueError, ["kernel_size", "dilation (5, 5)", "(9, 11)"]),
    "kernel of nothing": ({"weight": zeros(8, 3, 0, 3)}, ValueError, ["weight", "at least 1", "(8, 3, 0, 3)"]),
    "data_format unknown": ({"data_format": "HWCN"}, ValueError, ["data_format", "NHWC", "'HWCN'"]),
    "data_format of 3-D": ({"data_format": "NDHWC"}, ValueError, ["data_format", "NHWC", "'NDHWC'"]),
    "data_format a number": ({"data_format": 1}, ValueError, ["data_format", "NHWC", "1"]),
    "padding_mode unknown": ({"padding_mode": "mirror"}, ValueError, ["padding_mode", "reflect", "'mirror'"]),
    "activation unknown": ({"activation": "swish"}, ValueError, ["activation", "relu", "'swish'"]),
    "activation a function": ({"activation": abs}, ValueError, ["activation", "abs"]),
    "activation parameter": ({"activation": ("relu", 0.5)}, ValueError, ["activation", "'relu'", "0.5"]),
    "algorithm unknown": ({"algorithm": "winnograd"}, ValueError, ["algorithm", "direct", "'winnograd'"]),
    "algorithm a number": ({"algorithm": 3}, ValueError, ["algorithm", "direct", "3"]),
    "precision unknown": ({"precision": "exact"}, ValueError, ["precision", "strict", "'exact'"]),
    "residual shape": ({"residual": zeros(2, 8, 7, 8)}, ValueError, ["residual", "(2, 8, 7, 9)", "(2, 8, 7, 8)"]),
    "residual to broadcast": ({"residual": zeros(1, 8, 1, 1)}, ValueError, ["residual", str(OUT), "(1, 8, 1, 1)"]),
    "residual complex": ({"residual": zeros(*OUT, dtype="complex64")}, TypeError, ["residual", "float32", "complex64"]),
    "residual boolean": ({"residual": zeros(*OUT, dtype=bool)}, TypeError, ["residual", "bool"]),
    "out shape": ({"out": zeros(2, 8, 7, 8)}, ValueError, ["out", "(2, 8, 7, 9)", "(2, 8, 7, 8)"]),
    "out unbatched": ({"out": zeros(8, 7, 9)}, ValueError, ["out", "(2, 8, 7, 9)", "(8, 7, 9)"]),
    "out dtype": ({"out": zeros(*OUT, dtype=np.float64)}, TypeError, ["out", "float32", "float64"]),
    "out byte order": ({"out": zeros(*OUT, dtype=np.dtype(np.float32).newbyteorder())}, TypeError, ["out", "float32"]),
    "out read-only": ({"out": read_only(*OUT)}, ValueError, ["out", "read-only"]),
    "out a list": ({"out": [[0.0]]}, TypeError, ["out", "ndarray", "list"]),
    "out broadcast": ({"out": strided(2016, 252, 36, 0)}, ValueError, ["out", "own", "(2016, 252, 36, 0)"]),
    "out overlaps itself": ({"out": strided(2016, 252, 4, 4)}, ValueError, ["out", "own", "(2016, 252, 4, 4)"]),
    "out of parts of elements": ({"out": strided(4032, 504, 72, 6)}, ValueError, ["out", "(4032, 504, 72, 6)"]),
    "out unaligned": ({"out": zeros(4 * 1008 + 1, dtype=np.uint8)[1:].view(np.float32).reshape(OUT)}, ValueError,
                      ["out", "aligned"]),
}  # fmt: skip


def refused(function, given, error, words):
    """The error comes, names what it should, and nothing was written."""
    before = {name: a.tobytes() for name, a in given.items() if isinstance(a, np.ndarray) and a.dtype != object}
    with pytest.raises(error) as raised:
        function(**given)
    assert all(word in str(raised.value) for word in words), str(raised.value)
    assert all(given[name].tobytes() == content for name, content in before.items())


@pytest.mark.parametrize("change, error, words", FORWARD.values(), ids=FORWARD)
def test_forward(change, error, words):
    refused(nc.conv2d, BASE | change, error, words)


@pytest.mark.parametrize("change, error, words", FORWARD.values(), ids=FORWARD)
def test_out_is_untouched_when_another_argument_is_wrong(change, error, words):
    """In a call that was remembered a moment ago."""
    out = np.full(OUT, 7, np.float32)
    nc.conv2d(**BASE, out=out)
    out[...] = 7
    refused(nc.conv2d, BASE | {"out": out} | change, error, words)
    assert (out == 7).all()


@pytest.mark.parametrize(
    "name, value", [("stride", True), ("stride", 1.0), ("groups", 2.0), ("dilation", 1.0), ("padding", False)]
)
def test_equal_numbers_of_another_type_are_refused_in_a_remembered_call(name, value):
    """1 == 1.0 == True, but an argument that is refused once is refused always."""
    nc.conv2d(X, W, B, groups=2)
    with pytest.raises(TypeError, match=name):
        nc.conv2d(X, W, B, **{"groups": 2} | {name: value})


T = {"x": X, "weight": TW, "stride": 2}
TRANSPOSED = {
    "channels": ({"weight": zeros(5, 4, 3, 3)}, ValueError, ["weight", "6", "(5, 4, 3, 3)"]),
    "groups": ({"groups": 4}, ValueError, ["groups", "6", "4"]),
    "bias": ({"bias": zeros(6)}, ValueError, ["bias", "(4,)", "(6,)"]),
    "bias of groups": ({"bias": zeros(4), "groups": 2}, ValueError, ["bias", "(8,)", "(4,)"]),
    "output_padding too large": ({"output_padding": 2}, ValueError, ["output_padding", "stride", "(2, 2)"]),
    "output_padding negative": ({"output_padding": -1}, ValueError, ["output_padding", "at least 0", "-1"]),
    "output_padding a float": ({"output_padding": 1.0}, TypeError, ["output_padding", "1.0"]),
    "output_size too small": ({"output_size": (18, 22)}, ValueError, ["(19, 23)", "(20, 24)", "(18, 22)"]),
    "output_size too large": ({"output_size": (21, 23)}, ValueError, ["(19, 23)", "(20, 24)", "(21, 23)"]),
    "output_size of three": ({"output_size": (19, 23, 1)}, ValueError, ["output_size", "(19, 23, 1)"]),
    "output_size with batch": ({"output_size": (2, 4, 19, 23)}, ValueError, ["output_size", "(2, 4, 19, 23)"]),
    "output_size a string": ({"output_size": "big"}, TypeError, ["output_size", "'big'"]),
    "output_size and output_padding": ({"output_size": (20, 24), "output_padding": 1}, ValueError,
                                       ["output_size", "output_padding"]),
    "padding full": ({"padding": "full"}, ValueError, ["padding", "'full'"]),
    "padding leaves nothing": ({"padding": 10}, ValueError, ["padding", "(9, 11)"]),
    "same with output_padding": ({"padding": "same", "output_padding": 1}, ValueError, ["output_padding", "'same'"]),
    "same with another size": ({"padding": "same", "output_size": (19, 22)}, ValueError, ["output_size", "(18, 22)"]),
    "out": ({"out": zeros(2, 4, 18, 23)}, ValueError, ["out", "(2, 4, 19, 23)", "(2, 4, 18, 23)"]),
    "rank": ({"x": zeros(6, 9)}, ValueError, ["x", "4 axes", "(6, 9)"]),
}  # fmt: skip


@pytest.mark.parametrize("change, error, words", TRANSPOSED.values(), ids=TRANSPOSED)
def test_transposed(change, error, words):
    refused(nc.conv_transpose2d, T | change, error, words)


I = {"input_size": X.shape, "weight": W, "grad_output": GRAD, "groups": 2}  # noqa: E741
INPUT = {
    "grad shape": ({"grad_output": zeros(2, 8, 7, 8)}, ValueError, ["grad_output", "(2, 8, 7, 9)", "(2, 8, 7, 8)"]),
    "grad unbatched": ({"grad_output": zeros(8, 7, 9)}, ValueError, ["grad_output", "(2, 8, 7, 9)", "(8, 7, 9)"]),
    "grad boolean": ({"grad_output": zeros(*OUT, dtype=bool)}, TypeError, ["grad_output", "bool"]),
    "size of two": ({"input_size": (9, 11)}, ValueError, ["input_size", "4 axes", "(9, 11)"]),
    "size negative": ({"input_size": (2, 6, -9, 11)}, ValueError, ["input_size", "-9"]),
    "size of floats": ({"input_size": (2, 6, 9.0, 11)}, TypeError, ["input_size", "9.0"]),
    "size a number": ({"input_size": 9}, TypeError, ["input_size", "9"]),
    "channels": ({"input_size": (2, 5, 9, 11)}, ValueError, ["5", "(8, 3, 3, 3)", "6"]),
    "too small": ({"input_size": (2, 6, 2, 11)}, ValueError, ["kernel_size", "(2, 11)"]),
    "weight rank": ({"weight": zeros(8, 3, 3)}, ValueError, ["weight", "(8, 3, 3)"]),
    "out": ({"out": zeros(2, 6, 9, 10)}, ValueError, ["out", "(2, 6, 9, 11)", "(2, 6, 9, 10)"]),
    "out read-only": ({"out": read_only(2, 6, 9, 11)}, ValueError, ["out", "read-only"]),
    "algorithm": ({"algorithm": "fast"}, ValueError, ["algorithm", "'fast'"]),
}
V = {"input": X, "weight_size": W.shape, "grad_output": GRAD, "groups": 2}
WEIGHT = {
    "grad shape": ({"grad_output": zeros(2, 8, 7, 8)}, ValueError, ["grad_output", "(2, 8, 7, 9)", "(2, 8, 7, 8)"]),
    "grad channels": ({"grad_output": zeros(2, 7, 7, 9)}, ValueError, ["grad_output", "(2, 8, 7, 9)", "(2, 7, 7, 9)"]),
    "input rank": ({"input": zeros(9, 11)}, ValueError, ["input", "4 axes", "(9, 11)"]),
    "input boolean": ({"input": zeros(2, 6, 9, 11, dtype=bool)}, TypeError, ["input", "bool"]),
    "size of three": ({"weight_size": (8, 3, 3)}, ValueError, ["weight", "4 axes", "(8, 3, 3)"]),
    "size negative": ({"weight_size": (8, 3, 3, -3)}, ValueError, ["weight_size", "-3"]),
    "size a number": ({"weight_size": 3}, TypeError, ["weight_size", "3"]),
    "groups": ({"groups": 3}, ValueError, ["groups", "9", "6"]),
    "out": ({"out": zeros(8, 3, 3, 2)}, ValueError, ["out", "(8, 3, 3, 3)", "(8, 3, 3, 2)"]),
    "out dtype": ({"out": zeros(8, 3, 3, 3, dtype=np.float16)}, TypeError, ["out", "float32", "float16"]),
}


@pytest.mark.parametrize("change, error, words", INPUT.values(), ids=INPUT)
def test_input_gradient(change, error, words):
    refused(nc.conv2d_input, I | change, error, words)


@pytest.mark.parametrize("change, error, words", WEIGHT.values(), ids=WEIGHT)
def test_weight_gradient(change, error, words):
    refused(nc.conv2d_weight, V | change, error, words)


# overlapping out


def test_out_overlaps_an_operand():
    store = np.ones(20_000, np.float32)
    x, weight = store[: 2 * 6 * 9 * 11].reshape(X.shape), store[5000 : 5000 + 216].reshape(W.shape)
    bias, residual = store[6000:6008], store[7000 : 7000 + 1008].reshape(OUT)
    free = store[10_000 : 10_000 + 1008].reshape(OUT)
    expected = nc.conv2d(x, weight, bias, groups=2, residual=residual)
    np.testing.assert_array_equal(nc.conv2d(x, weight, bias, groups=2, residual=residual, out=free), expected)
    store[10_000:] = 1
    for name, start in (("x", 1000), ("x", 0), ("weight", 4500), ("bias", 5500), ("residual", 7001)):
        out = store[start : start + 1008].reshape(OUT)
        with pytest.raises(ValueError, match=f"out must not overlap {name}"):
            nc.conv2d(x, weight, bias, groups=2, residual=residual, out=out)
        assert (store == 1).all()


def test_out_beside_an_operand_in_one_array():
    """Interleaved channels: the same bounds in memory, no common element."""
    both = np.ones((2, 12, 9, 11), np.float32)
    x, out = both[:, ::2], both[:, 1::2]
    one = np.ones((6, 6, 1, 1), np.float32)
    nc.conv2d(x, one, out=out)
    assert (out == 6).all() and (x == 1).all()


def test_out_overlaps_in_the_other_passes():
    x = X.copy()
    with pytest.raises(ValueError, match="out must not overlap x"):
        nc.conv_transpose2d(x, np.ones((6, 6, 1, 1), np.float32), out=x)
    with pytest.raises(ValueError, match="out must not overlap grad_output"):
        nc.conv2d_input(x.shape, np.ones((6, 6, 1, 1), np.float32), x, out=x)
    with pytest.raises(ValueError, match="out must not overlap input"):
        nc.conv2d_weight(x, (6, 6, 1, 1), x[:1].repeat(2, 0), out=x[0, :, 0, :6].reshape(6, 6, 1, 1, copy=False))
    with pytest.raises(ValueError, match="out must not overlap x"):
        nc.conv2d(x, np.ones((6, 1, 3, 3), np.float32), padding=1, groups=6, padding_mode="reflect", out=x)
    plan = nc.plan("conv2d", x.shape, np.ones((6, 6, 1, 1), np.float32))
    with pytest.raises(ValueError, match="out must not overlap x"):
        plan(x, out=x)
    assert (x == 1).all()


def test_a_plans_out_and_residual_are_checked():
    plan = nc.plan("conv2d", X.shape, W, B, groups=2)
    for given, error, words in (
        ({"out": zeros(2, 8, 7, 8)}, ValueError, ["out", "(2, 8, 7, 9)", "(2, 8, 7, 8)"]),
        ({"out": zeros(*OUT, dtype=np.float64)}, TypeError, ["out", "float32", "float64"]),
        ({"out": read_only(*OUT)}, ValueError, ["out", "read-only"]),
        ({"residual": zeros(2, 8, 7, 8)}, ValueError, ["residual", "(2, 8, 7, 9)", "(2, 8, 7, 8)"]),
        ({"residual": zeros(*OUT, dtype=bool)}, TypeError, ["residual", "bool"]),
    ):
        refused(lambda **given: plan(X, **given), given, error, words)


@pytest.mark.parametrize(
    "given, error, words",
    [
        ({"operation": "conv2d_input"}, ValueError, ["operation", "'conv2d_input'"]),
        ({"operation": "max_pool2d"}, ValueError, ["operation", "'max_pool2d'"]),
        ({"operation": "convolve"}, ValueError, ["operation", "'convolve'"]),
        ({"x_shape": (9, 11)}, ValueError, ["x_shape", "(9, 11)"]),
        ({"x_shape": (2, 6, 9, -1)}, ValueError, ["x_shape", "-1"]),
        ({"x_shape": (2, 6, 9, 1.5)}, TypeError, ["x_shape", "1.5"]),
        ({"x_shape": X}, TypeError, ["x_shape"]),
        ({"weight": zeros(8, 3, 3)}, ValueError, ["weight", "(8, 3, 3)"]),
        ({"bias": zeros(7)}, ValueError, ["bias", "(8,)", "(7,)"]),
        ({"dtype": "bool"}, TypeError, ["dtype", "bool"]),
        ({"dtype": "float99"}, TypeError, []),
        ({"stride": 0}, ValueError, ["stride"]),
        ({"padding_mode": "reflect"}, ValueError, ["padding_mode"]),
        ({"strides": 1}, TypeError, ["strides"]),
        ({"algorithm": "nothing"}, ValueError, ["algorithm", "'nothing'"]),
    ],
)
def test_plans_are_checked_when_they_are_made(given, error, words):
    good = {"operation": "conv2d", "x_shape": X.shape, "weight": W, "bias": B, "groups": 2}
    nc.plan(**good)
    refused(nc.plan, good | given, error, words)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"depthwise_weight": zeros(6, 2, 3, 3)}, ["depthwise_weight", "(6, 2, 3, 3)"]),
        ({"depthwise_weight": zeros(6, 1, 3)}, ["depthwise_weight", "(6, 1, 3)"]),
        ({"depthwise_weight": zeros(7, 1, 3, 3), "pointwise_weight": zeros(4, 7, 1, 1)}, ["7", "6"]),
        ({"pointwise_weight": zeros(4, 5, 1, 1)}, ["pointwise_weight", "6", "(4, 5, 1, 1)"]),
        ({"pointwise_weight": zeros(4, 6, 3, 3)}, ["pointwise_weight", "(4, 6, 3, 3)"]),
        ({"pointwise_weight": zeros(4, 6)}, ["pointwise_weight", "(4, 6)"]),
        ({"bias": zeros(6)}, ["bias", "(4,)", "(6,)"]),
        ({"x": zeros(9, 11)}, ["x", "(9, 11)"]),
    ],
)
def test_separable(given, words):
    good = {"x": X, "depthwise_weight": zeros(6, 1, 3, 3), "pointwise_weight": zeros(4, 6, 1, 1)}
    nc.separable_conv2d(**good)
    refused(nc.separable_conv2d, good | given, ValueError, words)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_every_rank_names_its_axes(ndim):
    x, weight = arrays_like((1, 2, *(5,) * (ndim + 1)), (3, 2, *(3,) * ndim), np.float32)
    for form in ("conv{}d", "conv_transpose{}d"):
        with pytest.raises(ValueError, match=f"x must have {ndim + 2} axes"):
            getattr(nc, form.format(ndim))(x, weight)


def test_reflection_needs_room():
    with pytest.raises(ValueError, match="pad"):
        nc.conv1d(np.ones((1, 1, 3)), np.ones((1, 1, 3)), padding=3, padding_mode="reflect")
    with pytest.raises(ValueError, match="pad"):
        nc.conv1d(np.ones((1, 1, 3)), np.ones((1, 1, 3)), padding=4, padding_mode="circular")


def test_empty_axes_are_results_or_errors():
    assert nc.conv2d(zeros(0, 3, 5, 5), zeros(4, 3, 3, 3)).shape == (0, 4, 3, 3)
    assert nc.conv2d(zeros(2, 3, 5, 5), zeros(0, 3, 3, 3)).shape == (2, 0, 3, 3)
    y = nc.conv2d(zeros(2, 0, 5, 5), zeros(4, 0, 3, 3), np.arange(4, dtype=np.float32))
    assert (y == np.arange(4).reshape(4, 1, 1)).all() and y.shape == (2, 4, 3, 3)
    padded = nc.conv2d(zeros(1, 2, 0, 4), zeros(3, 2, 3, 3), np.ones(3, np.float32), padding=2)
    assert padded.shape == (1, 3, 2, 6) and (padded == 1).all()
    with pytest.raises(ValueError, match="kernel_size"):
        nc.conv2d(zeros(1, 2, 0, 4), zeros(3, 2, 3, 3))
    assert (nc.conv2d_weight(zeros(0, 3, 5, 5), (4, 3, 3, 3), zeros(0, 4, 3, 3)) == 0).all()
    assert nc.conv2d_weight(zeros(0, 3, 5, 5), (4, 3, 3, 3), zeros(0, 4, 3, 3)).shape == (4, 3, 3, 3)
    assert (nc.conv2d_input((2, 3, 5, 5), zeros(0, 3, 3, 3), zeros(2, 0, 3, 3)) == 0).all()
    assert nc.conv_transpose2d(zeros(0, 3, 5, 5), zeros(3, 4, 3, 3)).shape == (0, 4, 7, 7)
    assert (nc.conv_transpose2d(zeros(1, 0, 5, 5), zeros(0, 4, 3, 3), np.ones(4, np.float32)) == 1).all()


def test_positions_that_no_tap_reaches_hold_the_bias():
    """A stride larger than the kernel leaves gaps in a transposed convolution, and in the gradient of the input."""
    for algorithm in ("auto", "indirect", "direct"):
        y = nc.conv_transpose1d(np.ones((1, 1, 3)), np.ones((1, 1, 1)), np.array([5.0]), 3, algorithm=algorithm)
        np.testing.assert_array_equal(y[0, 0], [6, 5, 5, 6, 5, 5, 6])
        grad = nc.conv1d_input((1, 1, 9), np.ones((1, 1, 2)), np.ones((1, 1, 2)), 4, algorithm=algorithm)
        np.testing.assert_array_equal(grad[0, 0], [1, 1, 0, 0, 1, 1, 0, 0, 0])


def test_strides_far_beyond_the_image():
    """The work follows the result, not the stride: no table of a million phases."""
    weight = np.arange(9.0).reshape(1, 1, 3, 3)
    y = nc.conv_transpose2d(np.full((1, 1, 1, 1), 2.0), weight, stride=3000)
    np.testing.assert_array_equal(y, 2 * weight)
    grad = nc.conv2d_input((1, 1, 5, 5), weight, np.full((1, 1, 1, 1), 2.0), stride=3000)
    np.testing.assert_array_equal(grad[0, 0, :3, :3], 2 * weight[0, 0])
    assert (grad[0, 0, 3:] == 0).all() and (grad[0, 0, :, 3:] == 0).all()
    np.testing.assert_array_equal(nc.conv2d(grad, weight, stride=10**12)[0, 0, 0, 0], 2 * (weight**2).sum())


@pytest.mark.parametrize("option", ["stride", "padding", "dilation"])
def test_numbers_that_leave_64_bits_are_refused(option):
    with pytest.raises(ValueError, match=option):
        nc.conv2d(np.ones((1, 1, 5, 5)), np.ones((1, 1, 3, 3)), **{option: 2**70})
