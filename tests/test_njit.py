"""Convolution and pooling inside compiled functions, against the oracle."""

import numba
import numpy as np
import pytest
from processes import run

import numconv as nc
from numconv import njit as nj
from numconv.lab import reference
from numconv.lab.cases import arrays, conv_cases, pool_cases

BOUNDS = {"float32": 1e-6, "float64": 1e-12}  # of strict precision: sums are direct


def names(cases):
    return [case.name for case in cases]


def error(actual, expected, scale):
    assert actual.shape == expected.shape and actual.flags.c_contiguous
    return np.abs(actual - expected).max(initial=0) / (scale or 1)


def made(n):
    """Every function of n axes, compiled with all arguments; kept, since to compile takes seconds."""
    if n not in _made:
        conv, transpose = getattr(nj, f"conv{n}d"), getattr(nj, f"conv_transpose{n}d")
        largest, mean = getattr(nj, f"max_pool{n}d"), getattr(nj, f"avg_pool{n}d")

        @numba.njit
        def convolve(x, weight, bias, stride, padding, dilation, groups):
            return conv(x, weight, bias, stride, padding, dilation, groups)

        @numba.njit
        def transposed(x, weight, bias, stride, padding, dilation, groups, output_padding):
            return transpose(x, weight, bias, stride, padding, output_padding, groups, dilation=dilation)

        @numba.njit
        def pooled(x, kernel, stride, padding, dilation, ceil_mode, counted):
            top = largest(x, kernel, stride, padding, dilation, ceil_mode)
            return top, mean(x, kernel, stride, padding, ceil_mode, counted, dilation=dilation)

        _made[n] = convolve, transposed, pooled
    return _made[n]


_made: dict = {}


@pytest.mark.parametrize("case", conv_cases(), ids=names(conv_cases()))
def test_convolutions(case):
    x, weight, bias = arrays(case)
    function, oracle = (
        (made(len(case.kernel))[1], reference.conv_transpose)
        if case.transposed
        else (made(len(case.kernel))[0], reference.conv)
    )
    actual = function(x, weight, bias, *case.options.values())
    assert actual.dtype == np.float32
    scale = reference.scale(oracle, x, weight, **case.options) + np.abs(bias).max()
    assert error(actual, oracle(x, weight, bias, **case.options), scale) <= BOUNDS["float32"]


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("case", pool_cases(), ids=names(pool_cases()))
def test_poolings(case, counted):
    (x,) = arrays(case)
    options = (case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode)
    largest, mean = made(len(case.kernel))[2](x, *options, counted)
    assert error(largest, reference.max_pool(x, *options)[0], 1) == 0
    expected = reference.avg_pool(x, *options[:3], case.ceil_mode, counted, None, case.dilation)
    assert error(mean, expected, np.abs(x).max(initial=0)) <= 1e-6


@numba.njit
def placed1(x, kernel, stride, padding, dilation, ceil_mode):
    return nj.max_pool1d(x, kernel, stride, padding, dilation, ceil_mode, True)


@numba.njit
def placed2(x, kernel, stride, padding, dilation, ceil_mode):
    return nj.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode, return_indices=True)


@numba.njit
def placed3(x, kernel, stride, padding, dilation, ceil_mode):
    return nj.max_pool3d(x, kernel, stride, padding, dilation, ceil_mode, return_indices=True)


@pytest.mark.parametrize("case", pool_cases(), ids=names(pool_cases()))
def test_places_of_maxima(case):
    """Of equal numbers the first, of NaNs the last."""
    x = np.round(arrays(case)[0])
    x[..., ::5] = np.nan
    options = (case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode)
    largest, indices = (placed1, placed2, placed3)[len(case.kernel) - 1](x, *options)
    assert largest.dtype == x.dtype and indices.dtype == np.int64
    for actual, expected in zip((largest, indices), reference.max_pool(x, *options)):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("options", [(5000, 1, 0, 1), (3, 5000, 0, 1), (2, 1, 0, 4000), (4, 3, 1, 1)])
def test_rows_and_windows_longer_than_a_buffer(options):
    """They are cut into segments; windows wider than a buffer get a larger one."""
    x = np.random.default_rng(0).standard_normal((2, 3, 11_000), np.float32)
    largest, mean = made(1)[2](x, *options, False, True)
    assert np.array_equal(largest, nc.max_pool1d(x, *options))
    assert error(mean, nc.avg_pool1d(x, *options[:3], dilation=options[3]), np.abs(x).max()) <= 1e-6


@numba.njit
def float64_layers(x, weight, bias):
    return nj.relu(nj.conv2d(x, weight, bias, stride=2, padding=(1, 2), groups=2))


def test_float64_and_keywords():
    x, weight, bias = (
        np.random.default_rng(k).standard_normal(s) for k, s in enumerate(((3, 4, 11, 9), (6, 2, 3, 5), 6))
    )
    expected = reference.conv(x, weight, bias, (2, 2), ((1, 1), (2, 2)), groups=2)
    assert error(float64_layers(x, weight, bias), np.maximum(expected, 0), 10) <= BOUNDS["float64"]


@numba.njit
def plain(x, weight):
    return nj.conv2d(x, weight)


@pytest.mark.parametrize("view", [
    lambda a: a.transpose(0, 3, 1, 2), lambda a: a.transpose(0, 3, 2, 1)[:, ::2, ::-1, 1::2],
    lambda a: np.broadcast_to(a[:1, :, :, :3], (2, 30, 20, 3)).transpose(0, 3, 1, 2),
])  # fmt: skip
def test_views_are_read_where_they_are(view):
    x = view(np.random.default_rng(0).standard_normal((2, 30, 20, 6), np.float32))
    x.flags.writeable = False
    weight = np.random.default_rng(1).standard_normal((5, x.shape[1], 3, 3), np.float32)
    weight = np.asfortranarray(weight)
    scale = reference.scale(reference.conv, x, weight)
    assert error(plain(x, weight), reference.conv(x, weight), scale) <= BOUNDS["float32"]


@numba.njit
def unbatched(x, weight):
    return nj.max_pool1d(nj.conv1d(x, weight, padding="same"), 2)


def test_unbatched_and_named_padding():
    x = np.random.default_rng(0).standard_normal((3, 33), np.float32)
    weight = np.random.default_rng(1).standard_normal((4, 3, 4), np.float32)
    expected = nc.max_pool1d(nc.conv1d(x, weight, padding="same"), 2)
    assert error(unbatched(x, weight), expected, 10) <= BOUNDS["float32"]


@numba.njit
def named(x, weight, padding):
    return nj.conv2d(x, weight, None, 2, padding)


@pytest.mark.parametrize("padding", ["valid", "same", "same_lower", "full"])
def test_padding_by_name(padding):
    x = np.random.default_rng(0).standard_normal((1, 2, 9, 12), np.float32)
    weight = np.random.default_rng(1).standard_normal((3, 2, 4, 3), np.float32)
    assert error(named(x, weight, padding), nc.conv2d(x, weight, None, 2, padding), 10) <= BOUNDS["float32"]


@numba.njit(parallel=True)
def each_image(x, weight):
    out = np.empty((x.shape[0], weight.shape[0], x.shape[2], x.shape[3]), x.dtype)
    for i in numba.prange(x.shape[0]):
        out[i] = nj.conv2d(x[i], weight, padding=1)
    return out


def test_calls_in_a_parallel_loop():
    x = np.random.default_rng(0).standard_normal((9, 3, 12, 13), np.float32)
    weight = np.random.default_rng(1).standard_normal((4, 3, 3, 3), np.float32)
    assert error(each_image(x, weight), nc.conv2d(x, weight, padding=1), 20) <= BOUNDS["float32"]


@numba.njit(fastmath=True)
def fast_pool(x):
    return nj.max_pool2d(x, 2), nj.relu(x)


def test_nan_is_kept_whatever_the_callers_flags():
    x = np.zeros((1, 1, 4, 4), np.float32)
    x[0, 0, 1, 2] = np.nan
    largest, kept = fast_pool(x)
    assert np.isnan(largest).ravel().tolist() == [False, True, False, False]
    assert np.isnan(kept).sum() == np.isnan(x).sum() == 1 and kept.shape == x.shape
    with pytest.raises(numba.TypingError, match="x must be an array of float32 or float64"):
        numba.njit(rectified)(1)


def rectified(x):
    return nj.relu(x)


def test_plain_python_is_numconv():
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)
    weight = np.random.default_rng(1).standard_normal((3, 3, 3, 3), np.float32)
    assert np.array_equal(nj.conv2d(x, weight, padding=1), nc.conv2d(x, weight, padding=1))
    assert np.array_equal(nj.conv_transpose2d(x, weight, stride=2), nc.conv_transpose2d(x, weight, stride=2))
    assert np.array_equal(nj.max_pool2d(x, 2), nc.max_pool2d(x, 2))
    assert np.array_equal(nj.avg_pool2d(x, 2, dilation=2), nc.avg_pool2d(x, 2, dilation=2))
    assert np.array_equal(nj.relu(x), nc.relu(x))
    assert np.array_equal(plain.py_func(x, weight), nc.conv2d(x, weight))


X, W = np.zeros((1, 4, 6, 6), np.float32), np.zeros((2, 4, 3, 3), np.float32)


@pytest.mark.parametrize("arguments, message", [
    ((X.astype(np.float16), W), "x must be an array of float32 or float64"),
    ((X.astype(np.int64), W), "x must be an array of float32 or float64"),
    ((X[0, 0], W), "x must have 3 or 4 axes, got 2"),
    ((X, W.astype(np.float64)), "weight must have the dtype of x"),
    ((X, W, np.zeros((2, 1), np.float32)), "bias must have 1 axes"),
    ((X, W, None, 1.5), "stride must be an integer or a tuple of 2 integers"),
    ((X, W, None, (1, 2, 3)), "stride must be an integer or a tuple of 2 integers"),
    ((X, W, None, 1, 0, 1, 1.0), "groups must be an integer"),
    ((X, W, None, 1, ((1, 2, 3),)), "pairs of integers"),
    ((X, W, None, 1, ((1, 2.5), (1, 2))), "pairs of integers"),
])  # fmt: skip
def test_wrong_types_are_refused_when_the_caller_is_compiled(arguments, message):
    @numba.njit
    def caller(*arguments):
        return nj.conv2d(*arguments)

    with pytest.raises(numba.TypingError, match=message):
        caller(*arguments)


@pytest.mark.parametrize("changes, message", [
    ({"weight": W[:, :3]}, "x must have as many channels"), ({"groups": 0}, "groups must be at least 1"),
    ({"stride": (0, 1)}, "stride must be at least 1"), ({"padding": ((-1, 0), (0, 0))}, "padding must be at least 0"),
    ({"weight": np.zeros((2, 4, 7, 7), np.float32)}, "larger than the padded input"),
    ({"weight": W[:, :2][:1], "groups": 2}, "groups must divide"),
    ({"bias": np.zeros(3, np.float32)}, "bias must have a number for each channel"),
    ({"dilation": (1, 9)}, "larger than the padded input"), ({"dilation": (1, 2**62)}, "dilation must .* below 2"),
    ({"padding": ((2**62, 0), (0, 0))}, "padding must .* below 2"),
])  # fmt: skip
def test_wrong_sizes_are_refused_when_it_is_called(changes, message):
    given = {"x": X, "weight": W, "bias": np.zeros(2, np.float32), "stride": (1, 1), "padding": ((0, 0), (0, 0))}
    given |= {"dilation": (1, 1), "groups": 1} | changes
    if given["weight"].shape[0] == 1:
        given["bias"] = np.zeros(1, np.float32)
    with pytest.raises(ValueError, match=message):
        made(2)[0](*given.values())


@numba.njit
def mixed(x, weight, stride, padding, groups):
    return nj.conv3d(x, weight, None, stride, padding, (1,), groups)


def test_integers_of_any_kind():
    """Unsigned ones make floats of signed ones in Numba; a tuple of several kinds has no element that is not known."""
    x = np.random.default_rng(0).standard_normal((1, 4, 4, 5, 6), np.float32)
    weight = np.random.default_rng(1).standard_normal((6, 2, 2, 2, 3), np.float32)
    stride, padding = (np.uint8(1), np.int32(2), 1), ((np.uint64(1), 0), (0, 2), (np.int16(1), np.uint8(1)))
    expected = nc.conv3d(x, weight, None, stride, padding, 1, 2)
    assert error(mixed(x, weight, stride, padding, np.uint64(2)), expected, 20) <= BOUNDS["float32"]


def test_wrong_poolings_are_refused():
    pooled = made(2)[2]
    with pytest.raises(ValueError, match="larger than the padded input"):
        pooled(X, (7, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), False, True)

    @numba.njit
    def padded(x, padding):
        return nj.avg_pool2d(x, 2, padding=padding)

    with pytest.raises(ValueError, match="at most half"):
        padded(X, 2)

    @numba.njit
    def placed(x, wanted):
        return nj.max_pool2d(x, 2, return_indices=wanted)

    with pytest.raises(numba.TypingError, match="return_indices must be written out as True or False"):
        placed(X, True)


CACHED = """
import json
import numba
import numpy as np
import numconv.njit as nj

@numba.njit(cache=True)
def features(x, w):
    return nj.max_pool1d(nj.conv1d(x, w, padding=1), 2)

x, w = np.ones((1, 2, 12), np.float32), np.ones((3, 2, 3), np.float32)
total = float(features(x, w).sum())
print(json.dumps([total, sum(features.stats.cache_hits.values())]))
"""


def test_callers_are_cached(tmp_path):
    (tmp_path / "code.py").write_text(CACHED)
    settings = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert run(tmp_path / "code.py", **settings) == [108.0, 0]
    assert run(tmp_path / "code.py", **settings) == [108.0, 1]


def test_it_is_not_loaded_with_numconv(tmp_path):
    (tmp_path / "code.py").write_text("""
import json, sys
import numconv as nc
before = "numba" in sys.modules
print(json.dumps([before, nc.njit.conv2d.__name__, "numba" in sys.modules]))
""")
    assert run(tmp_path / "code.py") == [False, "conv2d", True]
