"""Separable: low ranks against the oracle, at every border of its tiles; kernels of no low rank are refused."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from passes import arrays_like

import numconv as nc
from numconv.kernels.cpu.low_rank import factors
from numconv.kernels.cpu.separable import Separable, most_rank
from numconv.lab import reference

BOUND = {"float32": 5e-6, "float64": 1e-12}


def kernels(channels, shape, rank, dtype="float32", seed=0):
    """(channels, 1, *shape), each of the given rank."""
    rng = np.random.default_rng(seed)
    down, along = (rng.standard_normal((channels, rank, k)) for k in shape)
    return np.einsum("cri,crj->cij", down, along)[:, None].astype(dtype)


def check(x, weight, dtype="float32", operation="conv2d", **options):
    oracle = reference.conv if operation == "conv2d" else reference.conv_transpose
    groups, padding = len(weight), options.pop("padding", ((0, 0), (0, 0)))
    expected = oracle(x, weight, padding=padding, groups=groups, **options)
    scale = reference.scale(oracle, x, weight, padding=padding, groups=groups, **options)
    actual = getattr(nc, operation)(x, weight, padding=padding, groups=groups, algorithm="separable", **options)
    assert actual.dtype == dtype and actual.shape == expected.shape
    assert np.abs(actual - expected).max(initial=0) <= BOUND[dtype] * scale


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("operation", ["conv2d", "conv_transpose2d"])
def test_low_ranks(operation, rank, dtype):
    (x,) = arrays_like((2, 2, 9, 13), dtype)
    check(x, kernels(2, (9, 11), rank, dtype), dtype, operation, padding=((4, 3), (2, 6)))


@pytest.mark.parametrize("width", [5, 62, 64, 65, 127, 128, 130, 260])
@pytest.mark.parametrize("height", [1, 4, 5, 17])
def test_every_border_of_tiles_and_strips(height, width):
    (x,) = arrays_like((1, 1, height, width), "float32")
    check(x, kernels(1, (5, 5), 1), padding=((2, 2), (2, 2)))


@pytest.mark.parametrize(
    "options",
    [
        {"stride": (3, 2), "padding": ((2, 2), (3, 3))},
        {"dilation": (2, 3), "padding": ((4, 4), (6, 6))},
        {"stride": (2, 3), "dilation": (3, 2), "padding": ((0, 9), (11, 0))},
        {"padding": ((20, 0), (90, 30))},
    ],
)
@pytest.mark.parametrize("operation", ["conv2d", "conv_transpose2d"])
def test_strides_dilations_and_much_padding(operation, options):
    if operation == "conv_transpose2d" and max(map(max, options["padding"])) > 11:
        options = {"padding": ((5, 0), (0, 6)), "stride": (7, 8)}
    (x,) = arrays_like((1, 2, 25, 17), "float32")
    check(x, kernels(2, (5, 6), 1), operation=operation, **options)


def test_more_taps_than_a_sum_in_registers_holds():
    (x,) = arrays_like((1, 1, 3, 150), "float32")
    check(x, kernels(1, (4, 140), 1), padding=((2, 1), (70, 69)))
    check(np.ascontiguousarray(x.swapaxes(2, 3)), kernels(1, (140, 4), 1), padding=((70, 69), (2, 1)))


@pytest.mark.parametrize("dtype", BOUND)
def test_positive_numbers_stay_within_the_bound(dtype):
    x = np.abs(arrays_like((1, 1, 40, 40), dtype)[0])
    check(x, np.abs(kernels(1, (31, 31), 1, dtype)), dtype, padding=((15, 15), (15, 15)))


@pytest.mark.parametrize("view", [np.s_[..., ::2], np.s_[..., ::-1], np.s_[:, :, ::-3], np.s_[:, 1:, :, 3:40]])
def test_views_of_images_are_read_in_place(view):
    (x,) = arrays_like((2, 3, 20, 90), "float32")
    seen = x[view]
    weight = kernels(seen.shape[1], (7, 7), 2)
    groups = len(weight)
    expected = nc.conv2d(seen.copy(), weight, groups=groups, algorithm="separable")
    assert_array_equal(nc.conv2d(seen, weight, groups=groups, algorithm="separable"), expected)


def test_epilogue_and_strided_results():
    x, bias = arrays_like((1, 3, 12, 140), (3,), "float32")
    weight = kernels(3, (5, 5), 1)
    options = {"padding": ((2, 2), (2, 2)), "groups": 3}
    plain = reference.conv(x, weight, bias, **options)
    (residual,) = arrays_like(plain.shape, "float32")
    scale = reference.scale(reference.conv, x, weight, **options) + 3
    for more in (None, residual):
        whole = np.full((1, 3, 12, 300), 7, np.float32)
        expected = reference.activate("silu", plain if more is None else plain + more)
        for out in (None, whole[..., 10:150], whole[..., ::-2][..., :140]):
            actual = nc.conv2d(
                x, weight, bias, activation="silu", residual=more, out=out, algorithm="separable", **options
            )
            assert np.abs(actual - expected).max() <= 5e-6 * scale


# what is refused


@pytest.mark.parametrize("dtype", BOUND)
def test_ranks_are_found_and_the_highest_that_pays_is_held(dtype):
    most = most_rank((9, 9))
    assert most >= 2
    for rank in range(1, most + 1):
        down, along = factors(kernels(3, (9, 9), rank, dtype), most)
        assert down.shape == along.shape == (3, rank, 9)
    assert factors(kernels(3, (9, 9), most + 1, dtype), most) is None


@pytest.mark.parametrize("dtype, noise", [("float32", 1e-5), ("float64", 1e-11)])
def test_kernels_that_are_nearly_of_low_rank_are_refused(dtype, noise):
    (x,) = arrays_like((1, 2, 20, 20), dtype)
    weight = kernels(2, (9, 9), 1, dtype)
    weight[1, 0, 4, 5] += noise * np.abs(weight[1]).max()
    weight[1, 0, 6, 1] -= noise * np.abs(weight[1]).max()
    weight[1, 0, 2, 7] += noise * np.abs(weight[1]).max()
    with pytest.raises(ValueError, match=r"rejects this problem.*products of a column and a row"):
        nc.conv2d(x, weight, groups=2, algorithm="separable")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    weight = kernels(1, (7, 7), 1)
    weight[0, 0, 3, 3] = value
    with pytest.raises(ValueError, match="rejects this problem"):
        nc.conv2d(np.ones((1, 1, 9, 9), np.float32), weight, algorithm="separable")


@pytest.mark.parametrize(
    "x_shape, weight_shape, options, sentence",
    [
        ((1, 1, 9, 9), (1, 1, 7, 7), {"precision": "strict"}, "direct summation only"),
        ((1, 2, 9, 9), (2, 2, 7, 7), {}, "one to one"),
        ((1, 2, 9, 9), (4, 1, 7, 7), {"groups": 2}, "one to one"),
        ((1, 1, 9, 9), (1, 1, 3, 3), {}, "too few taps"),
        ((1, 1, 3000, 9), (1, 1, 1100, 9), {}, "at most 1024"),
    ],
)
def test_problems_that_are_refused(x_shape, weight_shape, options, sentence):
    reason = Separable().rejects(nc.ConvProblem.make("conv2d", x_shape, weight_shape, **options))
    assert sentence in reason
    integers = nc.ConvProblem.make("conv2d", (1, 1, 9, 9), (1, 1, 7, 7), np.int32)
    assert "not int32" in Separable().rejects(integers)


def test_the_choice_reads_the_weight():
    x = np.zeros((1, 1, 512, 512), np.float32)
    full = arrays_like((1, 1, 15, 15), "float32")[0]
    assert nc.plan("conv2d", x.shape, kernels(1, (15, 15), 1)).algorithm == "separable"
    assert nc.plan("conv2d", x.shape, full).algorithm != "separable"


def test_a_nan_spreads_no_further_than_stated():
    (x,) = arrays_like((1, 1, 60, 90), "float32")
    x[0, 0, 30, 40] = np.nan
    actual = nc.conv2d(x, kernels(1, (7, 7), 1), padding=3, algorithm="separable")
    wrong = np.argwhere(np.isnan(actual[0, 0]))
    assert np.isnan(actual[0, 0, 27:34, 37:44]).all()
    assert (np.abs(wrong - [30, 40]) <= [6, 3]).all()
