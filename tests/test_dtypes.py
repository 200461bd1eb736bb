"""Dtypes and the ways in which arrays lie in memory: promotion, exact integers, one rounding, and inputs left alone."""

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from passes import arrays_like

import numconv as nc
from numconv.lab import reference
from numconv.problem import ACTIVATIONS

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HALF = [np.dtype(np.float16), BFLOAT16]
INTEGERS = [np.dtype(name) for name in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]]
FLOATS = [np.dtype(np.float32), np.dtype(np.float64)]
COMPLEX = [np.dtype(np.complex64), np.dtype(np.complex128)]
OPTIONS = {"stride": (2, 1), "padding": ((1, 0), (1, 2)), "dilation": (1, 2)}

named = {"ids": lambda value: getattr(value, "name", str(value))}


def images(dtype, n=2, ci=4, co=6, groups=1):
    """x, weight, bias: small numbers with signs for floats, all of the range for integers."""
    shapes = (n, ci, 7, 19), (co, ci // groups, 3, 2), (co,)
    if dtype.kind in "iu":
        rng = np.random.default_rng(5)
        info = np.iinfo(dtype)
        return tuple(rng.integers(info.min, info.max, shape, dtype, endpoint=True) for shape in shapes)
    arrays = arrays_like(*shapes, *shapes, np.float64)
    if dtype.kind == "c":
        return tuple((a + 1j * b).astype(dtype) for a, b in zip(arrays, arrays[3:]))
    return tuple(a.astype(dtype) for a in arrays[:3])


def spacing(values, dtype):
    """Distance to the next number of a half type, at float64 values."""
    info = ml_dtypes.finfo(dtype)
    exponent = np.floor(np.log2(np.maximum(np.abs(values), float(info.smallest_normal))))
    return np.exp2(exponent - info.nmant)


def rounded_once(actual, expected, dtype, slack):
    """`actual` is `expected` rounded once to a half type, where sums may be `slack` apart before."""
    assert actual.dtype == dtype and actual.shape == expected.shape
    allowed = 0.5 * spacing(np.abs(expected) + slack, dtype) + slack
    assert (np.abs(actual.astype(np.float64) - expected) <= allowed).all()


# half precision


@pytest.mark.parametrize("dtype", HALF, **named)
@pytest.mark.parametrize("algorithm", ["auto", "indirect", "direct"])
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_half_types_are_rounded_once(dtype, algorithm, data_format):
    x, weight, bias = images(dtype, ci=20, co=20)
    wide = [a.astype(np.float64) for a in (x, weight, bias)]
    expected = reference.conv(*wide, **OPTIONS)
    residual = arrays_like(expected.shape, np.float64)[0].astype(dtype)
    slack = 1e-6 * reference.scale(reference.conv, *wide[:2], **OPTIONS)
    last = data_format == "NHWC"
    shown, more = (np.moveaxis(a, 1, -1) if last else a for a in (x, residual))
    options = OPTIONS | {"data_format": data_format, "algorithm": algorithm}
    actual = nc.conv2d(np.ascontiguousarray(shown), weight, bias, **options)
    rounded_once(np.moveaxis(actual, -1, 1) if last else actual, expected, dtype, slack)
    actual = nc.conv2d(np.ascontiguousarray(shown), weight, bias, residual=more, **options)
    wanted = expected + residual.astype(np.float64)
    rounded_once(np.moveaxis(actual, -1, 1) if last else actual, wanted, dtype, slack)
    for activation in ACTIVATIONS:
        actual = nc.conv2d(np.ascontiguousarray(shown), weight, bias, residual=more, activation=activation, **options)
        actual = np.moveaxis(actual, -1, 1) if last else actual
        rounded_once(actual, reference.activate(activation, wanted), dtype, 2 * slack)


@pytest.mark.parametrize("dtype", HALF, **named)
def test_half_types_in_the_other_passes(dtype):
    x, weight, _ = images(dtype)
    wide = x.astype(np.float64), weight.astype(np.float64)
    grad = nc.conv2d(x, weight, **OPTIONS)
    g = grad.astype(np.float64)
    for algorithm in nc.algorithms("conv2d_input"):
        if algorithm in ("indirect", "direct"):
            expected = reference.conv_input(x.shape, wide[1], g, **OPTIONS)
            slack = 1e-6 * reference.scale(reference.conv_input, x.shape, wide[1], g, **OPTIONS)
            actual = nc.conv2d_input(x.shape, weight, grad, algorithm=algorithm, **OPTIONS)
            rounded_once(actual, expected, dtype, slack)
    for algorithm in ("auto", "direct"):
        expected = reference.conv_weight(wide[0], weight.shape, g, **OPTIONS)
        slack = 1e-6 * reference.scale(reference.conv_weight, wide[0], weight.shape, g, **OPTIONS)
        rounded_once(nc.conv2d_weight(x, weight.shape, grad, algorithm=algorithm, **OPTIONS), expected, dtype, slack)
    options = {"stride": (2, 2), "padding": ((1, 1), (0, 1))}
    expected = reference.conv_transpose(wide[0], wide[1][:4], **options)
    slack = 1e-6 * reference.scale(reference.conv_transpose, wide[0], wide[1][:4], **options)
    rounded_once(nc.conv_transpose2d(x, weight[:4], **options), expected, dtype, slack)


@pytest.mark.parametrize("dtype", HALF, **named)
@pytest.mark.parametrize("algorithm", ["indirect", "direct"])
def test_half_types_round_as_numpy_and_keep_special_numbers(dtype, algorithm):
    """A pointwise kernel of one weight, so that every result is one product."""
    bits = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    with np.errstate(all="ignore"):
        for factor in (1, 1 / 3, 3e4, 1e-3):
            weight = np.full((1, 1, 1, 1), factor, dtype)
            actual = nc.conv2d(bits.reshape(1, 1, 256, 256), weight, algorithm=algorithm).ravel().astype(np.float32)
            product = bits.astype(np.float32) * weight.astype(np.float32).ravel()
            assert_array_equal(actual, product.astype(dtype).astype(np.float32))


# integers


@pytest.mark.parametrize("dtype", INTEGERS, **named)
def test_integers_are_exact_and_wrap(dtype):
    x, weight, bias = images(dtype)
    expected = reference.conv(x, weight, bias, **OPTIONS)
    assert expected.dtype == dtype
    actual = nc.conv2d(x, weight, bias, **OPTIONS)
    assert actual.dtype == dtype
    assert_array_equal(actual, expected)
    residual = np.full(expected.shape, np.iinfo(dtype).max, dtype)
    with np.errstate(over="ignore"):
        assert_array_equal(nc.conv2d(x, weight, bias, residual=residual, **OPTIONS), expected + residual)
    last = nc.conv2d(np.moveaxis(x, 1, -1), weight, bias, data_format="NHWC", **OPTIONS)
    assert_array_equal(np.moveaxis(last, -1, 1), expected)
    assert_array_equal(nc.conv2d_input(x.shape, weight, expected, **OPTIONS),
                       reference.conv_input(x.shape, weight, expected, **OPTIONS))  # fmt: skip
    options = {"stride": (2, 2)}
    assert_array_equal(
        nc.conv_transpose2d(x, weight[:4], **options), reference.conv_transpose(x, weight[:4], **options)
    )


@pytest.mark.parametrize("dtype", [np.dtype(np.int8), np.dtype(np.uint64)], **named)
def test_the_weight_gradient_of_integers_wraps(dtype):
    x, weight, _ = images(dtype)
    grad = nc.conv2d(x, weight, **OPTIONS)
    actual = nc.conv2d_weight(x, weight.shape, grad, **OPTIONS)
    assert actual.dtype == dtype
    assert_array_equal(actual, reference.conv_weight(x, weight.shape, grad, **OPTIONS))


def test_integers_have_no_activation():
    x, weight, bias = images(np.dtype(np.int32))
    with pytest.raises(TypeError, match="activation"):
        nc.conv2d(x, weight, bias, activation="relu")


# complex


@pytest.mark.parametrize("dtype", COMPLEX, **named)
@pytest.mark.parametrize("groups", [1, 2])
def test_complex_numbers(dtype, groups):
    x, weight, bias = images(dtype, groups=groups)
    options = OPTIONS | {"groups": groups}
    bound = 1e-6 if dtype == np.complex64 else 1e-12

    def agree(actual, expected, scale):
        assert actual.dtype == dtype and actual.shape == expected.shape
        assert np.abs(actual - expected).max() <= bound * scale

    scale = reference.scale(reference.conv, x, weight, **options) + np.abs(bias).max()
    y = nc.conv2d(x, weight, bias, **options)
    agree(y, reference.conv(x, weight, bias, **options), scale)
    agree(nc.conv2d_input(x.shape, weight, y, **options), reference.conv_input(x.shape, weight, y, **options),
          reference.scale(reference.conv_input, x.shape, weight, y, **options))  # fmt: skip
    agree(nc.conv2d_weight(x, weight.shape, y, **options), reference.conv_weight(x, weight.shape, y, **options),
          reference.scale(reference.conv_weight, x, weight.shape, y, **options))  # fmt: skip


def test_a_real_image_and_a_complex_kernel():
    x, _, _ = images(np.dtype(np.float32))
    _, weight, _ = images(np.dtype(np.complex64))
    y = nc.conv2d(x, weight)
    assert y.dtype == np.complex64
    expected = reference.conv(x, weight)
    assert np.abs(y - expected).max() <= 1e-6 * reference.scale(reference.conv, x, weight)


# promotion


@pytest.mark.parametrize(
    "x, weight, bias, expected",
    [
        ("float32", "float32", "float32", "float32"),
        ("float32", "int8", None, "float32"),
        ("float32", "int16", None, "float32"),
        ("float32", "int32", None, "float64"),
        ("float32", "float64", None, "float64"),
        ("float32", "float32", "float64", "float64"),
        ("float16", "float32", "float16", "float32"),
        ("float16", "int8", None, "float16"),
        ("int8", "uint8", None, "int16"),
        ("uint8", "int64", None, "int64"),
        ("int64", "uint64", None, "float64"),
        ("int32", "float32", None, "float64"),
        ("float32", "complex64", None, "complex64"),
        ("float64", "complex64", None, "complex128"),
    ],
)
def test_promotion_is_numpys(x, weight, bias, expected):
    image, kernel = np.ones((1, 2, 4, 5), x), np.ones((3, 2, 2, 2), weight)
    added = None if bias is None else np.ones(3, bias)
    y = nc.conv2d(image, kernel, added)
    assert y.dtype == expected == np.result_type(*(np.dtype(d) for d in (x, weight, bias or weight)))
    assert (y == 8 + (bias is not None)).all()
    if bias is None:
        assert nc.conv2d_input(image.shape, kernel, np.ones((1, 3, 3, 4), x)).dtype == expected
        assert nc.conv2d_weight(image, kernel.shape, np.ones((1, 3, 3, 4), weight)).dtype == expected


@pytest.mark.parametrize("other, expected", [(np.float32, np.float32), (BFLOAT16, BFLOAT16), (np.int8, BFLOAT16)])
def test_bfloat16_meets_others(other, expected):
    x, weight = np.ones((1, 2, 4, 5), BFLOAT16), np.ones((3, 2, 2, 2), other)
    if np.result_type(BFLOAT16, other) != expected:
        pytest.skip("this ml_dtypes promotes otherwise")
    y = nc.conv2d(x, weight)
    assert y.dtype == expected and (y.astype(np.float32) == 8).all()


def test_float16_and_bfloat16_have_no_common_dtype_or_it_is_float32():
    x, weight = np.ones((1, 2, 4, 5), np.float16), np.ones((3, 2, 2, 2), BFLOAT16)
    try:
        common = np.result_type(x, weight)
    except TypeError:
        with pytest.raises(TypeError, match=r"x \(float16\), weight \(bfloat16\)"):
            nc.conv2d(x, weight)
    else:
        assert nc.conv2d(x, weight).dtype == common == np.float32


def test_lists_are_taken():
    x = [[[1.0, 2.0, 3.0, 4.0]]]
    y = nc.conv1d(x, [[[1, 10]]], [100])
    assert y.dtype == np.float64
    assert_array_equal(y, [[[121, 132, 143]]])
    y = nc.conv1d(np.array(x, np.float32), np.ones((1, 1, 2), np.float32), residual=[[[1, 1, 1]]])
    assert y.dtype == np.float32
    assert_array_equal(y, [[[4, 6, 8]]])
    assert nc.conv1d([[[1, 2, 3]]], [[[1, 1]]]).dtype == np.int64
    assert_array_equal(nc.conv1d_input([1, 1, 4], [[[1, 10]]], [[[1, 1, 1]]]), [[[1, 11, 11, 10]]])


@pytest.mark.parametrize("place", ["x", "weight", "bias", "residual", "out"])
@pytest.mark.parametrize("dtype", [np.bool_, object, np.longdouble, np.clongdouble, "U3", "M8[s]", "m8[s]", "V4"])
def test_other_dtypes_are_refused(place, dtype):
    given = {
        "x": np.zeros((1, 2, 4, 5), np.float32),
        "weight": np.zeros((3, 2, 2, 2), np.float32),
        "bias": np.zeros(3, np.float32),
        "residual": np.zeros((1, 3, 3, 4), np.float32),
        "out": np.zeros((1, 3, 3, 4), np.float32),
    }
    nc.conv2d(**given)
    given[place] = np.zeros(given[place].shape, dtype)
    with pytest.raises(TypeError):
        nc.conv2d(**given)


# memory


def disguises(array):
    """Arrays equal to one, lying otherwise in memory."""
    yield "Fortran order", np.asfortranarray(array)
    yield "byte-swapped", array.astype(array.dtype.newbyteorder())
    raw = np.zeros(array.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(array.dtype).reshape(array.shape)
    unaligned[...] = array
    assert not unaligned.flags.aligned
    yield "unaligned", unaligned
    backwards = (slice(None, None, -1),) * array.ndim
    yield "backwards", array[backwards].copy()[backwards]
    apart = np.zeros([2 * n for n in array.shape], array.dtype)[(slice(None, None, 2),) * array.ndim]
    apart[...] = array
    yield "every other", apart
    record = np.zeros(array.shape, [("flag", "i1"), ("value", array.dtype)])
    record["value"] = array
    yield "field of a record", record["value"]
    frozen = array.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen
    if array.ndim == 4:
        yield "channels last", np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        yield "batch last", np.ascontiguousarray(array.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
    yield "masked", np.ma.masked_array(array)


@pytest.mark.parametrize("algorithm", ["auto", "indirect", "direct"])
@pytest.mark.parametrize("place", ["x", "weight", "bias", "residual"])
def test_any_memory_gives_the_same_and_is_left_alone(place, algorithm):
    x, weight, bias = images(FLOATS[0])
    given = {"x": x, "weight": weight, "bias": bias}
    (given["residual"],) = arrays_like(nc.conv2d(x, weight, **OPTIONS).shape, np.float32)
    expected = nc.conv2d(**given, algorithm=algorithm, **OPTIONS)
    scale = reference.scale(reference.conv, x, weight, **OPTIONS)
    for name, array in disguises(given[place]):
        before = array.tobytes()
        for _ in range(2):  # the second call is remembered
            actual = nc.conv2d(**given | {place: array}, algorithm=algorithm, **OPTIONS)
            assert type(actual) is np.ndarray and actual.flags.c_contiguous, name
            if algorithm == "auto":  # another memory can have another choice
                np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6 * scale, err_msg=name)
            else:
                assert_array_equal(actual, expected, err_msg=name)
        assert array.tobytes() == before, name


@pytest.mark.parametrize("operation", ["conv_transpose2d", "conv2d_input", "conv2d_weight"])
def test_any_memory_in_the_other_passes(operation):
    x, weight, _ = images(FLOATS[0])
    weight = weight[:4]
    grad = nc.conv2d(x, weight)
    if operation == "conv_transpose2d":
        first, second, function = x, weight, nc.conv_transpose2d
    elif operation == "conv2d_input":
        first, second, function = weight, grad, lambda w, g: nc.conv2d_input(x.shape, w, g)
    else:
        first, second, function = x, grad, lambda a, g: nc.conv2d_weight(a, weight.shape, g)
    expected = function(first, second)
    for name, array in disguises(first):
        before = array.tobytes()
        assert_array_equal(function(array, second), expected, err_msg=name)
        assert array.tobytes() == before, name
    for name, array in disguises(second):
        before = array.tobytes()
        assert_array_equal(function(first, array), expected, err_msg=name)
        assert array.tobytes() == before, name


def test_broadcast_arrays():
    x = np.broadcast_to(np.arange(19, dtype=np.float32), (2, 4, 7, 19))
    weight = np.broadcast_to(np.float32(0.5), (6, 4, 3, 2))
    bias = np.broadcast_to(np.float32(2), (6,))
    residual = np.broadcast_to(np.float32(-1), nc.conv2d(x.copy(), weight.copy(), **OPTIONS).shape)
    expected = reference.conv(x, weight, bias, **OPTIONS) - 1
    for algorithm in ("indirect", "direct"):
        actual = nc.conv2d(x, weight, bias, residual=residual, algorithm=algorithm, **OPTIONS)
        np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert_array_equal(nc.conv2d_input(x.shape, weight, residual, **OPTIONS),
                       nc.conv2d_input(x.shape, weight.copy(), residual.copy(), **OPTIONS))  # fmt: skip
    assert_array_equal(nc.conv2d_weight(x, weight.shape, residual, **OPTIONS),
                       nc.conv2d_weight(x.copy(), weight.shape, residual.copy(), **OPTIONS))  # fmt: skip


def test_a_remembered_call_looks_at_the_alignment_anew():
    """An unaligned array after an aligned one of the same shape, dtype and strides."""
    x, weight, bias = images(FLOATS[0])
    raw = np.zeros(x.nbytes + 1, np.uint8)
    shifted = raw[1:].view(np.float32).reshape(x.shape)
    shifted[...] = x
    expected = nc.conv2d(x, weight, bias, algorithm="direct", padding=2)
    assert_array_equal(nc.conv2d(shifted, weight, bias, algorithm="direct", padding=2), expected)
    other = np.zeros(weight.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(weight.shape)
    other[...] = weight
    assert_array_equal(nc.conv2d(x, other, bias, algorithm="direct", padding=2), expected)
