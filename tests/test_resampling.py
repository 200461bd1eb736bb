"""Padding, im2col, interpolation and shuffles against the oracle, SciPy and figures worked out by hand."""

import math

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy import ndimage

from numconv.lab import reference
from numconv.ops.resampling import channel_shuffle, fold, interpolate, pad, pixel_shuffle, pixel_unshuffle, unfold

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
MOVERS = {
    "pad": lambda x, **options: pad(x, (1, 2, 2, 0), "reflect"),
    "unfold": lambda x, **options: unfold(x, (2, 3), padding=1, **options),
    "nearest": lambda x, **options: interpolate(x, (7, 3), **options),
    "pixel_shuffle": lambda x, **options: pixel_shuffle(x, 2, **options),
    "pixel_unshuffle": lambda x, **options: pixel_unshuffle(x, 2, **options),
    "channel_shuffle": lambda x, **options: channel_shuffle(x, 2, **options),
}


def noise(shape, dtype=np.float64, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 20).astype(dtype)


# What only moves elements.


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, BFLOAT16, np.float32, np.complex128, bool])
@pytest.mark.parametrize("name", MOVERS)
def test_moving_keeps_every_dtype(name, dtype):
    x = np.abs(noise((2, 8, 4, 6))).astype(dtype)
    y = MOVERS[name](x)
    assert y.dtype == dtype
    if dtype != np.complex128:
        assert_array_equal(y.astype(float), MOVERS[name](x.astype(float)))


@pytest.mark.parametrize("name", MOVERS)
def test_moving_takes_any_layout_and_returns_new_arrays(name):
    base = noise((2, 16, 8, 12), np.float32)
    for x in (base[:, ::2, ::-2, ::2], base[:, :8, :4, :6].astype(">f4"), np.asfortranarray(base[:, :8, :4, :6])):
        x.flags.writeable = False
        before = x.copy()
        y = MOVERS[name](x)
        assert_array_equal(y, MOVERS[name](np.ascontiguousarray(x, np.float32)))
        assert_array_equal(x, before)
        assert y.dtype.isnative and y.flags.c_contiguous and y.flags.writeable and not np.may_share_memory(x, y)


@pytest.mark.parametrize("name", [name for name in MOVERS if name not in ("pad", "unfold")])
def test_moving_channels_last(name):
    x = noise((2, 8, 4, 6))
    for data_format in ("NHWC", "channels_last"):
        y = MOVERS[name](np.moveaxis(x, 1, -1), data_format=data_format)
        assert y.flags.c_contiguous
        assert_array_equal(np.moveaxis(y, -1, 1), MOVERS[name](x))
    with pytest.raises(ValueError, match=r"data_format must be .*NHWC.*, got 'NDHWC'"):
        MOVERS[name](x, data_format="NDHWC")


@pytest.mark.parametrize("name", MOVERS)
def test_moving_nothing(name):
    assert MOVERS[name](np.ones((0, 8, 4, 6))).shape[0] == 0
    assert MOVERS[name](np.ones((2, 0, 4, 6))).size == 0


# pad


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("pairs", [((2, 1),), ((0, 3), (2, 0)), ((1, 1), (3, 2), (0, 4)), ((0, 0),), ()])
def test_pad(pairs, mode):
    x = noise((2, 3, 4, 5, 6))
    expected = reference.pad(x, pairs, mode)
    flat = [number for pair in reversed(pairs) for number in pair]
    for form in (flat, tuple(flat), np.array(flat, int), pairs):
        y = pad(x, form, mode)
        assert_array_equal(y, expected)
        assert not np.may_share_memory(x, y)


def test_pad_agrees_with_numpy():
    x = noise((4, 5))
    pairs = ((2, 1), (3, 4))
    for mode, numpys in (("constant", "constant"), ("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")):
        assert_array_equal(pad(x, pairs, mode), np.pad(x, pairs, numpys))
    assert_array_equal(pad(x, pairs, value=-1.5), np.pad(x, pairs, constant_values=-1.5))


@pytest.mark.parametrize(
    ("mode", "pairs", "expected"),
    [
        ("constant", (-1, 2), [1, 2, 3, 4, 9, 9]),
        ("constant", (-2, -2), [2]),
        ("constant", (1, -5), [9]),
        ("reflect", (-3, 4), [3, 4, 3, 2, 1, 0]),
        ("replicate", (-3, 2), [3, 4, 4, 4]),
        ("replicate", (2, -4), [0, 0, 0]),
        ("circular", (-1, 3), [1, 2, 3, 4, 1, 2, 3]),
        ("circular", (2, -2), [1, 2, 0, 1, 2]),
    ],
)
def test_pad_crops(mode, pairs, expected):
    assert_array_equal(pad(np.arange(5), pairs, mode, 9 if mode == "constant" else None), expected)


def test_pad_of_empty_axes():
    assert_array_equal(pad(np.ones((2, 0)), (1, 1)), np.zeros((2, 2)))
    assert pad(np.ones((0, 3)), (2, 2), "reflect").shape == (0, 7)
    assert pad(np.ones((3, 0)), (0, 0), "circular").shape == (3, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((1,),), ValueError, "pad must have an even length"),
        (((1, 1, 1, 1, 1, 1),), ValueError, "pad must have at most 2 pairs"),
        ((((1, 2, 3),),), ValueError, "pad must be an integer or have 2 entries"),
        (((1.5, 1),), TypeError, "pad must be an integer"),
        (((-3, -3),), ValueError, r"pad must take away no more .*\(-3, -3\).*\(4, 5\)"),
        (((-6, 3),), ValueError, "pad must take away no more"),
        (((5, 0), "reflect"), ValueError, "pad must be at most 4 in mode 'reflect'.*length 5"),
        (((0, 6), "circular"), ValueError, "pad must be at most 5 in mode 'circular'"),
        (((1, 1), "edge"), ValueError, "mode must be one of .*'edge'"),
        (((1, 1), "reflect", 2.0), ValueError, "value must not be given in mode 'reflect'"),
    ],
)
def test_pad_judges_its_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        pad(np.ones((4, 5)), *arguments)


@pytest.mark.parametrize("value", [0.5, 300, -1, np.nan])
def test_pad_refuses_a_value_that_the_dtype_lacks(value):
    with pytest.raises(ValueError, match="value must be one of x's dtype uint8"):
        pad(np.ones(3, np.uint8), (1, 1), value=value)


def test_pad_replicates_from_one_element_on():
    with pytest.raises(ValueError, match="pad must be at most 0 in mode 'replicate'"):
        pad(np.ones((2, 0)), (1, 1), "replicate")


# unfold and fold

WINDOWS = [
    ((9,), (3,), (1,), ((0, 0),), (1,)),
    ((9,), (2,), (3,), ((1, 2),), (4,)),
    ((6, 7), (3, 2), (1, 2), ((1, 1), (0, 0)), (1, 1)),
    ((6, 7), (2, 4), (2, 1), ((0, 3), (2, 1)), (2, 3)),
    ((5, 5), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((1, 1), (2, 2), (1, 1), ((1, 1), (1, 0)), (5, 5)),
    ((3, 4, 5), (2, 1, 3), (1, 1, 2), ((0, 1), (0, 0), (2, 2)), (2, 1, 1)),
]
FORMATS = {1: "NLC", 2: "NHWC", 3: "NDHWC"}


@pytest.mark.parametrize(("size", "kernel", "dilation", "padding", "stride"), WINDOWS)
def test_unfold_and_fold(size, kernel, dilation, padding, stride):
    x = noise((2, 3, *size))
    options = {"dilation": dilation, "padding": padding, "stride": stride}
    columns = unfold(x, kernel, **options)
    assert_array_equal(columns, reference.unfold(x, kernel, **options))
    image = fold(noise(columns.shape), size, kernel, **options)
    assert_allclose(image, reference.fold(noise(columns.shape), size, kernel, **options), rtol=1e-13, atol=1e-13)
    assert_array_equal(unfold(x[0], kernel, **options), columns[0])
    assert_array_equal(fold(noise(columns.shape)[0], size, kernel, **options), image[0])


@pytest.mark.parametrize(("size", "kernel", "dilation", "padding", "stride"), WINDOWS)
def test_unfold_and_fold_channels_last(size, kernel, dilation, padding, stride):
    x = noise((2, 3, *size))
    options = {"dilation": dilation, "padding": padding, "stride": stride}
    columns = unfold(x, kernel, **options)
    image = fold(columns, size, kernel, **options)
    options["data_format"] = FORMATS[len(size)]
    rows = unfold(np.moveaxis(x, 1, -1), kernel, **options)
    assert_array_equal(rows, columns.swapaxes(1, 2))
    last = fold(rows, size, kernel, **options)
    assert last.flags.c_contiguous and rows.flags.c_contiguous
    assert_array_equal(last, np.moveaxis(image, 1, -1))
    assert_array_equal(fold(rows[1], size, kernel, **options), last[1])


def test_unfold_makes_a_convolution_a_product():
    x, weight = noise((2, 3, 7, 6)), noise((4, 3, 3, 2), seed=1)
    y = weight.reshape(4, -1) @ unfold(x, (3, 2), stride=(2, 1))
    assert_allclose(y.reshape(2, 4, 3, 5), reference.conv(x, weight, stride=(2, 1)), rtol=1e-12, atol=1e-10)


def test_integers_say_how_many_axes():
    assert unfold(noise((3, 8)), 2).shape == (6, 7)
    assert unfold(noise((3, 4, 4)), 2).shape == (12, 9)
    assert unfold(noise((3, 4, 8)), 2, data_format="NCL").shape == (3, 8, 7)
    assert unfold(noise((3, 4, 8)), (2,)).shape == (3, 8, 7)
    assert unfold(noise((2, 3, 4, 4)), 2).shape == (2, 12, 9)
    assert unfold(noise((2, 3, 4, 4)), (2, 2, 2)).shape == (16, 18)
    assert unfold(noise((2, 3, 4, 4, 4)), 2).shape == (2, 24, 27)
    assert fold(noise((12, 9)), 4, 2).shape == (3, 4, 4)
    assert fold(noise((6, 7)), (8,), 2).shape == (3, 8)
    assert fold(noise((24, 27)), 4, (2, 2, 2)).shape == (3, 4, 4, 4)


def test_fold_dtypes():
    columns = np.full((9, 9), 100, np.uint8)
    assert fold(columns, 5, 3)[0, 2, 2] == 900 % 256
    half = noise((2 * 9, 9), np.float16)
    for dtype in (np.float16, BFLOAT16):
        expected = fold(half.astype(dtype).astype(np.float32), 5, 3).astype(dtype)
        assert_array_equal(fold(half.astype(dtype), 5, 3).view(np.uint16), expected.view(np.uint16))
    assert_array_equal(fold(half.astype(">f4"), 5, 3), fold(half.astype(np.float32), 5, 3))
    with pytest.raises(TypeError, match="bool"):
        fold(columns.astype(bool), 5, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: unfold(np.ones((1, 2, 3, 3, 3, 3)), 2), ValueError, "x must have 3 or 4 axes"),
        (lambda: unfold(np.ones((2, 3, 3)), (2, 2, 2)), ValueError, "x must have 4 or 5 axes for 3 spatial axes"),
        (lambda: unfold(np.ones((2, 3, 3)), 4), ValueError, r"kernel_size \(4, 4\) .* larger than the padded image"),
        (lambda: unfold(np.ones((2, 0, 3)), 1), ValueError, "larger than the padded image"),
        (lambda: unfold(np.ones((2, 3, 3)), 0), ValueError, "kernel_size must be at least 1, got 0"),
        (lambda: unfold(np.ones((2, 3, 3)), 2, padding=-1), ValueError, "padding must be at least 0"),
        (lambda: unfold(np.ones((2, 3, 3)), 2, stride=0.5), TypeError, "stride must be an integer"),
        (lambda: unfold(np.ones((2, 3, 3)), 2, dilation=(1, 2, 3)), ValueError, "dilation"),
        (lambda: unfold(np.ones((2, 3, 3)), (1,) * 4), ValueError, "1 to 3 spatial axes"),
        (lambda: fold(np.ones((7, 9)), 4, 2), ValueError, r"rows a channel, got 7 for \(2, 2\)"),
        (lambda: fold(np.ones((8, 8)), 4, 2), ValueError, r"each of the \(3, 3\) windows, got 8"),
        (lambda: fold(np.ones((2, 2, 8, 9)), 4, 2), ValueError, "x must have 2 or 3 axes"),
        (lambda: fold(np.ones((8, 9)), 0, 2), ValueError, "output_size must be at least 1"),
    ],
)
def test_unfold_and_fold_judge_their_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


# interpolate

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
SIZES = [((7,), (11,)), ((9,), (4,)), ((5, 8), (9, 3)), ((6, 1), (1, 5)), ((4, 4), (8, 12)), ((3, 4, 5), (5, 2, 9))]


def modes(ndim):
    return ["nearest", "nearest-exact", "area", LINEAR[ndim], *(["bicubic"] if ndim == 2 else [])]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("size", "out"), SIZES)
def test_interpolate_to_a_size(size, out, dtype):
    x = noise((2, 3, *size), dtype)
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    for mode in modes(len(size)):
        for corners in (False, True) if mode in (*LINEAR.values(), "bicubic") else (None,):
            y = interpolate(x, out, mode=mode, align_corners=corners)
            expected = reference.interpolate(
                x, out, mode=LINEAR[1] if "linear" in mode else mode, align_corners=corners
            )
            assert y.dtype == dtype
            assert_allclose(y, expected, rtol=rtol, atol=rtol * 20, err_msg=mode)
            last = interpolate(
                np.moveaxis(x, 1, -1), out, mode=mode, align_corners=corners, data_format="channels_last"
            )
            assert last.flags.c_contiguous
            assert_array_equal(np.moveaxis(last, -1, 1), y)


@pytest.mark.parametrize("scale", [2, 0.5, 1.7, 1 / 3, (0.6, 2.3)])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area", "bilinear", "bicubic"])
def test_interpolate_by_a_factor(mode, scale):
    x = noise((2, 2, 9, 10))
    factors = scale if isinstance(scale, tuple) else (scale, scale)
    plain = LINEAR[1] if mode == "bilinear" else mode
    expected = reference.interpolate(x, scale_factor=factors, mode=plain)
    assert_allclose(interpolate(x, scale_factor=scale, mode=mode), expected, rtol=1e-12, atol=1e-11)
    out = tuple(math.floor(n * s) for n, s in zip(x.shape[2:], factors))
    expected = reference.interpolate(x, out, mode=plain)
    y = interpolate(x, scale_factor=scale, mode=mode, recompute_scale_factor=True)
    assert_allclose(y, expected, rtol=1e-12, atol=1e-11)


def test_interpolate_by_hand():
    x = np.array([[[0.0, 10, 20]]])
    assert_array_equal(interpolate(x, 6)[0, 0], [0, 0, 10, 10, 20, 20])
    assert_array_equal(interpolate(x, 2)[0, 0], [0, 10])
    assert_array_equal(interpolate(x, 2, mode="nearest-exact")[0, 0], [0, 20])
    assert_array_equal(interpolate(x, 2, mode="area")[0, 0], [5, 15])
    assert_array_equal(interpolate(x, 6, mode="linear")[0, 0], [0, 2.5, 7.5, 12.5, 17.5, 20])
    assert_array_equal(interpolate(x, 5, mode="linear", align_corners=True)[0, 0], [0, 5, 10, 15, 20])
    assert_array_equal(interpolate(x, 1, mode="linear", align_corners=True)[0, 0], [0])


def test_a_factor_scales_coordinates_even_where_the_size_stays():
    x = np.arange(4.0).reshape(1, 1, 4)
    assert_array_equal(interpolate(x, scale_factor=1.2)[0, 0], [0, 0, 1, 2])
    assert_array_equal(interpolate(x, scale_factor=2.2)[0, 0], [0, 0, 0, 1, 1, 2, 2, 3])
    assert_array_equal(interpolate(x, scale_factor=1.2, mode="nearest-exact")[0, 0], [0, 1, 2, 2])
    assert_array_equal(interpolate(x, scale_factor=1.2, mode="linear")[0, 0], [0, 1, 2, 3])  # PyTorch copies
    assert_array_equal(interpolate(x, scale_factor=1.2, recompute_scale_factor=True)[0, 0], [0, 1, 2, 3])


def test_aligned_corners_agree_with_scipy():
    x = noise((1, 1, 6, 7))
    y = interpolate(x, (11, 15), mode="bilinear", align_corners=True)
    assert_allclose(y[0, 0], ndimage.zoom(x[0, 0], (11 / 6, 15 / 7), order=1), rtol=1e-12)


@pytest.mark.parametrize("out", [(5, 9), (20, 7), (40, 31), (1, 1)])
@pytest.mark.parametrize(("mode", "filter"), [("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)])
def test_antialias_agrees_with_pillow(mode, filter, out):
    x = noise((1, 1, 23, 19), np.float32)
    expected = np.asarray(Image.fromarray(x[0, 0]).resize(out[::-1], filter))
    assert_allclose(interpolate(x, out, mode=mode, antialias=True)[0, 0], expected, rtol=1e-5, atol=1e-4)


def test_antialias_keeps_constants_and_axes_of_unchanged_size():
    x = np.full((1, 2, 50, 7), 3.0)
    assert_allclose(interpolate(x, (3, 4), mode="bicubic", antialias=True), 3, rtol=1e-14)
    x[0, 0, 0, 3] = np.nan
    y = interpolate(x, (5, 7), mode="bilinear", antialias=True)
    assert np.isnan(y).sum() == 1 and np.isnan(y[0, 0, 0, 3])


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "area"])
def test_interpolate_dtypes(mode):
    x = noise((1, 2, 5, 6), np.float32)
    for dtype in (np.float16, BFLOAT16):
        expected = interpolate(x.astype(dtype).astype(np.float32), (7, 4), mode=mode).astype(dtype)
        assert_array_equal(interpolate(x.astype(dtype), (7, 4), mode=mode).view(np.uint16), expected.view(np.uint16))
    integers = x.astype(np.int8)
    assert interpolate(integers, (7, 4), mode=mode).dtype == np.float64
    assert_array_equal(interpolate(integers, (7, 4), mode=mode), interpolate(integers.astype(float), (7, 4), mode=mode))
    for dtype in (bool, complex):
        with pytest.raises(TypeError, match="x must be"):
            interpolate(x.astype(dtype), (7, 4), mode=mode)


def test_area_keeps_infinities_to_the_windows_that_hold_them():
    x = np.zeros((1, 1, 7))
    x[0, 0, 3] = np.inf
    assert_array_equal(np.isinf(interpolate(x, 3, mode="area")[0, 0]), [False, True, False])
    assert not np.isnan(interpolate(x, 3, mode="area")).any()


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area", "bilinear", "bicubic"])
def test_interpolate_to_the_same_size_copies(mode):
    x = np.asfortranarray(noise((2, 3, 4, 5)))
    y = interpolate(x, (4, 5), mode=mode)
    assert_allclose(y, x, rtol=1e-14)
    assert y.flags.c_contiguous and not np.may_share_memory(x, y)


def test_interpolate_of_empty_batches():
    for mode in modes(2):
        assert interpolate(np.ones((0, 3, 4, 5)), 7, mode=mode).shape == (0, 3, 7, 7)
        assert interpolate(np.ones((2, 0, 4, 5)), 7, mode=mode).shape == (2, 0, 7, 7)


@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        ((2, 3), {"size": 4}, ValueError, "x must have 3 to 5 axes in mode 'nearest'"),
        ((1, 1, 4), {"size": 4, "mode": "bilinear"}, ValueError, "x must have 4 axes in mode 'bilinear'"),
        ((1, 1, 4), {"size": 4, "mode": "cubic"}, ValueError, "mode must be one of .*'cubic'"),
        ((1, 1, 4), {}, ValueError, "exactly one of size and scale_factor"),
        ((1, 1, 4), {"size": 4, "scale_factor": 2}, ValueError, "exactly one of size and scale_factor"),
        ((1, 1, 4), {"size": 0}, ValueError, "size must be at least 1"),
        ((1, 1, 0), {"size": 3}, ValueError, "x must not be empty"),
        ((1, 1, 4), {"scale_factor": 0.2}, ValueError, "size must be at least 1"),
        ((1, 1, 4), {"size": (4, 4)}, ValueError, "size"),
        ((1, 1, 4), {"size": 4.0}, TypeError, "size must be an integer"),
        ((1, 1, 4), {"scale_factor": (2, 2)}, ValueError, "scale_factor must be a number or 1 numbers"),
        ((1, 1, 4), {"scale_factor": "2"}, TypeError, "scale_factor must be"),
        ((1, 1, 4), {"scale_factor": -1}, ValueError, "scale_factor must be positive"),
        ((1, 1, 4), {"scale_factor": np.inf}, ValueError, "scale_factor must be positive and finite"),
        ((1, 1, 4), {"size": 4, "align_corners": True}, ValueError, "align_corners must not be given"),
        ((1, 1, 4), {"size": 4, "recompute_scale_factor": True}, ValueError, "recompute_scale_factor"),
        ((1, 1, 4), {"size": 4, "mode": "linear", "antialias": True}, ValueError, "antialias must be used with"),
        ((1, 1, 4), {"size": 4, "data_format": "NHWC"}, ValueError, "data_format must be one of"),
    ],
)
def test_interpolate_judges_its_arguments(shape, options, error, message):
    with pytest.raises(error, match=message):
        interpolate(np.ones(shape), **options)


# shuffles


@pytest.mark.parametrize("shape", [(8, 3, 2), (2, 12, 1, 4), (2, 1, 4, 5, 3), (2, 3, 0, 4, 4)])
def test_pixel_shuffle(shape):
    x = noise(shape)
    y = pixel_shuffle(x, 2)
    *batch, c, h, w = shape
    assert y.shape == (*batch, c // 4, 2 * h, 2 * w)
    for i in range(2):
        for j in range(2):
            assert_array_equal(y[..., i::2, j::2], x[..., 2 * i + j :: 4, :, :])
    assert_array_equal(pixel_unshuffle(y, 2), x)
    last = pixel_unshuffle(np.moveaxis(y, -3, -1), 2, data_format="NHWC")
    assert_array_equal(last, np.moveaxis(x, -3, -1))


def test_channel_shuffle():
    x = noise((2, 6, 3, 2))
    assert_array_equal(channel_shuffle(x, 2), x[:, [0, 3, 1, 4, 2, 5]])
    assert_array_equal(channel_shuffle(x, 3), x[:, [0, 2, 4, 1, 3, 5]])
    assert_array_equal(channel_shuffle(x[:, :, 0], 2), x[:, [0, 3, 1, 4, 2, 5], 0])
    assert_array_equal(channel_shuffle(channel_shuffle(x, 2), 3), x)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pixel_shuffle(np.ones((4, 4)), 2), ValueError, "x must have at least 3 axes"),
        (lambda: pixel_shuffle(np.ones((6, 4, 4)), 2), ValueError, r"multiple of upscale_factor\*\*2 = 4"),
        (lambda: pixel_shuffle(np.ones((4, 4, 4)), 0), ValueError, "upscale_factor must be at least 1"),
        (lambda: pixel_shuffle(np.ones((4, 4, 4)), 2.0), TypeError, "upscale_factor must be an integer"),
        (lambda: pixel_unshuffle(np.ones((1, 4, 5)), 2), ValueError, "downscale_factor 2 divides"),
        (lambda: pixel_unshuffle(np.ones((1, 4, 4)), -1), ValueError, "downscale_factor must be at least 1"),
        (lambda: channel_shuffle(np.ones((4, 4)), 2), ValueError, "x must have at least 3 axes"),
        (lambda: channel_shuffle(np.ones((1, 4, 4)), 3), ValueError, "groups must divide x's 4 channels, got 3"),
        (lambda: channel_shuffle(np.ones((1, 4, 4)), True), TypeError, "groups must be an integer"),
    ],
)
def test_shuffles_judge_their_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
