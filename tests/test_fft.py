"""Transforms: long and large kernels against the oracle, block borders, workspace, and NumPy's transforms too."""

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from passes import arrays_like

import numconv as nc
from numconv.kernels.cpu import fft
from numconv.kernels.cpu.overlap_save import USEFUL_W
from numconv.lab import reference
from numconv.plan import pool

BOUND = {"float32": 5e-6, "float64": 1e-12}


@pytest.fixture(params=["scipy", "numpy"])
def library(request, monkeypatch):
    """Which transforms are used: scipy's, or NumPy's as where there is no scipy."""
    if request.param == "scipy":
        pytest.importorskip("scipy")
    monkeypatch.setattr(fft, "has_scipy", lambda: request.param == "scipy")


def check(x, weight, operation="conv1d", bound=None, **options):
    oracle = reference.conv_transpose if "transpose" in operation else reference.conv
    expected, scale = oracle(x, weight, **options), reference.scale(oracle, x, weight, **options)
    actual = getattr(nc, operation)(x, weight, algorithm="fft", **options)
    assert actual.dtype == x.dtype and actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= (bound or BOUND[x.dtype.name]) * scale


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("operation", ["conv1d", "conv_transpose1d"])
def test_long_kernels(operation, dtype, library):
    x, weight = arrays_like((2, 2, 900), (2, 3, 200) if "transpose" in operation else (3, 2, 200), dtype)
    check(x, weight, operation, padding=((30, 190),))


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("positive", [False, True])
def test_large_kernels(positive, dtype, library):
    x, weight = arrays_like((1, 2, 34, 41), (2, 1, 13, 18), dtype)
    if positive:
        x, weight = np.abs(x), np.abs(weight)
    check(x, weight, "conv2d", padding=((6, 6), (9, 8)), groups=2)


def test_volumes(library):
    x, weight = arrays_like((1, 2, 6, 7, 9), (3, 2, 3, 1, 4), "float32")
    check(x, weight, "conv3d", padding=((1, 1), (0, 0), (2, 1)))


@pytest.mark.parametrize("beside", [-1, 0, 1])
@pytest.mark.parametrize("blocks", [1, 2, 3, 24])
def test_signals_that_end_at_a_block(blocks, beside):
    """Twelve pairs or so are an item: more than one of them, and pairs that lack their second block."""
    problem = nc.ConvProblem.make("conv1d", (1, 1, 100), (1, 1, 30))
    useful = int(fft.cut_up(problem).table[USEFUL_W])
    x, weight = arrays_like((2, 1, blocks * useful + 29 + beside), (1, 1, 30), "float64")
    expected = np.stack([np.correlate(image[0], weight[0, 0], "valid")[None] for image in x])
    actual = nc.conv1d(x, weight, algorithm="fft")
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= 1e-13 * np.abs(weight).sum()


def test_channels_that_are_transformed_back_by_parts():
    x, weight = arrays_like((1, 3, 60), (400, 3, 40), "float32")
    problem = nc.ConvProblem.make("conv1d", x.shape, weight.shape)
    assert fft.cut_up(problem).channels < 400
    check(x, weight)


def test_dilation_strided_views_and_the_epilogue(library):
    x, weight, bias = arrays_like((2, 4, 3, 260), (6, 2, 2, 5), (6,), "float32")
    x = x[..., ::-2]
    options = {"groups": 2, "dilation": (1, 7), "padding": ((1, 0), (9, 4))}
    plain = reference.conv(x, weight, bias, **options)
    scale = reference.scale(reference.conv, x, weight, **options) + 3
    (residual,) = arrays_like(plain.shape, "float32")
    for shown, more in ((x, residual), (np.ascontiguousarray(np.moveaxis(x, 1, -1)), np.moveaxis(residual, 1, -1))):
        last = shown is not x
        out = np.full((*more.shape, 2), 7, np.float32)[..., 0]
        actual = nc.conv2d(
            shown, weight, bias, activation="hardswish", residual=more, out=out, algorithm="fft",
            data_format="NHWC" if last else None, **options,
        )  # fmt: skip
        expected = reference.activate("hardswish", plain + residual)
        assert np.abs((np.moveaxis(actual, -1, 1) if last else actual) - expected).max() <= 1.5 * 5e-6 * scale


def test_one_packed_weight_serves_images_of_all_sizes():
    (weight,) = arrays_like((2, 1, 9, 14), "float32")
    plan = nc.plan("conv2d", (1, 1, 20, 20), weight, algorithm="fft")
    for size in ((9, 14), (50, 300)):
        (x,) = arrays_like((1, 1, *size), "float32")
        expected = nc.conv2d(x, weight, algorithm="direct")
        assert np.abs(plan.for_shape(x.shape)(x) - expected).max() <= 5e-6 * np.abs(weight).sum() * 4


@pytest.mark.parametrize("threads_used", [1, 2])
@pytest.mark.parametrize(
    "x_shape, weight_shape",
    [((1, 1, 100_000), (1, 1, 300)), ((1, 8, 90, 200), (16, 8, 20, 20)), ((3, 2, 700), (2, 2, 90))],
)
def test_calls_allocate_no_more_than_they_state(
    x_shape, weight_shape, threads_used, library, threads, always_parallel, monkeypatch
):
    threads(threads_used)
    x, weight = arrays_like(x_shape, weight_shape, "float32")
    operation = f"conv{len(x_shape) - 2}d"
    plan = nc.plan(operation, x_shape, weight, algorithm="fft")
    out = plan(x)
    plan(x, out=out)
    packing = fft.Fft().packed_bytes(plan.problem)
    little = 32 << 10  # Python's objects, and pages made full

    def peak(function):
        tracemalloc.start()
        function()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(lambda: plan(x, out=out)) <= little
    call = getattr(nc, operation)
    monkeypatch.setattr(pool, "_idle", [])
    assert (
        peak(lambda: call(x, weight, algorithm="fft", out=out)) <= plan.workspace + packing + 2 * weight.nbytes + little
    )


def test_nan_spreads_over_two_blocks_and_no_further():
    (weight,) = arrays_like((1, 1, 40), "float32")
    useful = int(fft.cut_up(nc.ConvProblem.make("conv1d", (1, 1, 99), weight.shape)).table[USEFUL_W])
    (x,) = arrays_like((2, 1, 6 * useful + 39), "float32")
    x[0, 0, 2 * useful + useful // 2] = np.nan
    wrong = np.isnan(nc.conv1d(x, weight, algorithm="fft"))
    assert wrong[0, 0, 2 * useful : 4 * useful].all() and wrong.sum() == 2 * useful


def test_pointless_problems_are_refused():
    for options, sentence in (
        ({"stride": 2}, "drops results"),
        ({"precision": "strict"}, "direct summation only"),
        ({"dtype": np.int16}, "not int16"),
    ):
        assert sentence in fft.Fft().rejects(nc.ConvProblem.make("conv1d", (1, 1, 300), (1, 1, 200), **options))
    pointwise = nc.ConvProblem.make("conv2d", (1, 3, 9, 9), (4, 3, 1, 1))
    assert "one tap" in fft.Fft().rejects(pointwise)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_long_kernel_is_chosen_and_threads_change_no_bit(count, threads, always_parallel):
    x, weight = arrays_like((1, 1, 60_000), (1, 1, 2000), "float32")
    plan = nc.plan("conv1d", x.shape, weight)
    assert plan.algorithm == "fft"
    threads(1)
    expected = plan(x)
    threads(count)
    assert_array_equal(plan(x), expected)
