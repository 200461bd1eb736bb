"""Arrays of a GPU in the public functions: views, layouts, results, errors."""

import numpy as np
import pytest
from passes import arrays_like

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

import numconv as nc  # noqa: E402
from numconv.kernels.cuda import memory  # noqa: E402

there, here = nc.cuda.to_device, nc.cuda.to_host


@pytest.fixture
def operands():
    return arrays_like((2, 3, 5, 6), (4, 3, 3, 3), (4,), np.float32)


def close(actual, expected):
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6 * max(10, np.abs(expected).max(initial=0)))


def test_a_copy_there_and_back():
    for array in (np.arange(6.0).reshape(2, 3).T, np.zeros((0, 3)), np.array(2.5), np.ones(3, ">f4"), [[1, 2], [3, 4]]):
        back = here(there(array))
        assert back.flags.c_contiguous
        np.testing.assert_array_equal(back, array)
    with pytest.raises(TypeError, match="dtype"):
        there(["a"])


def test_views_of_device_memory():
    x = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    d = there(x)
    turned = memory.transpose(d, (0, 2, 3, 1))
    np.testing.assert_array_equal(here(turned), x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(here(memory.part(turned, 2, 1, 4)), x.transpose(0, 2, 3, 1)[:, :, 1:4])
    np.testing.assert_array_equal(here(memory.reshape(d, (6, 20))), x.reshape(6, 20))
    row = memory.reshape(there(np.arange(3, dtype=np.float32)), (3, 1, 1))
    np.testing.assert_array_equal(here(memory.broadcast_to(row, x.shape)), np.broadcast_to(here(row), x.shape))
    with pytest.raises(ValueError, match="broadcast"):
        memory.broadcast_to(d, (2, 3, 4, 6))
    memory.copy_into(memory.part(d, 1, 0, 1), there(np.zeros((2, 1, 4, 5), np.float32)))
    assert (here(d)[:, :1] == 0).all() and (here(d)[:, 1:] == x[:, 1:]).all()
    assert memory.overlap(d, turned) and not memory.overlap(d, there(x))
    half = there(x.astype(np.float16))
    assert memory.flat(half).dtype == np.uint16 and here(memory.contiguous(half)).dtype == np.float16


def test_the_epilogue_and_a_result_that_is_given(operands):
    x, weight, bias = operands
    residual = arrays_like((2, 4, 5, 6), np.float32)[0]
    options = {"padding": 1, "activation": "silu"}
    expected = nc.conv2d(x, weight, bias, residual=residual, **options)
    more, out = there(residual), memory.empty((2, 4, 5, 6), np.float32)
    given = there(x), there(weight), there(bias)
    assert nc.conv2d(*given, residual=more, out=out, **options) is out
    close(here(out), expected)
    assert nc.conv2d(*given, residual=more, out=more, **options) is more  # out may be the residual itself
    close(here(more), expected)
    whole = there(np.zeros((2, 9, 5, 6), np.float32))
    nc.conv2d(*given, out=memory.part(whole, 1, 2, 6), padding=1)
    close(here(whole)[:, 2:6], nc.conv2d(x, weight, bias, padding=1))
    assert (here(whole)[:, :2] == 0).all() and (here(whole)[:, 6:] == 0).all()


@pytest.mark.parametrize("activation", sorted(nc.problem.ACTIVATIONS))
def test_activations_are_the_hosts(activation):
    x = np.array([-np.inf, -1e4, -90, -3, -2, -1, -0.0, 0, 0.5, 3, 6, 7, 90, 1e4, np.inf, np.nan], np.float32)[
        None, None
    ]
    one = np.ones((1, 1, 1), np.float32)
    for dtype in (np.float32, np.float64):
        actual = here(nc.conv1d(there(x.astype(dtype)), there(one.astype(dtype)), activation=activation))
        expected = nc.conv1d(x.astype(dtype), one.astype(dtype), activation=activation)
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)


def test_an_image_without_a_batch(operands):
    x, weight, bias = operands
    close(here(nc.conv2d(there(x[0]), there(weight), there(bias))), nc.conv2d(x[0], weight, bias))
    g = nc.conv2d(x[0], weight)
    close(here(nc.conv2d_input(x[0].shape, there(weight), there(g))), nc.conv2d_input(x[0].shape, weight, g))
    close(here(nc.conv2d_weight(there(x[0]), weight.shape, there(g))), nc.conv2d_weight(x[0], weight.shape, g))


def test_a_plan_for_any_batch(operands):
    x, weight, bias = operands
    plan = nc.plan("conv2d", x.shape, there(weight), there(bias), padding=1, activation="relu")
    expected = nc.conv2d(x, weight, bias, padding=1, activation="relu")
    close(here(plan(there(x))), expected)
    close(here(plan(there(x[:1]))), expected[:1])
    residual = np.ones_like(expected)
    added = nc.conv2d(x, weight, bias, padding=1, activation="relu", residual=residual)
    close(here(plan(there(x), residual=there(residual))), added)
    assert "cuda" in repr(plan) and plan.workspace >= 0
    for wrong, error in ((x[:, :2], ValueError), (x[0], ValueError), (x.astype(np.float64), TypeError)):
        with pytest.raises(error, match="x must have"):
            plan(there(wrong))
    with pytest.raises(TypeError, match="on the host"):
        plan(x)


@pytest.mark.parametrize("channels", [3, 20])
def test_a_plan_for_either_layout_and_another_size(channels):
    # The order of packed weights depends on the layout: a stem's rows of taps, or channels filled up to slices.
    x, weight = arrays_like((1, channels, 5, 6), (4, channels, 3, 3), np.float32)
    plan = nc.plan("conv2d", x.shape, there(weight), algorithm="implicit_gemm")
    last = memory.transpose(there(np.moveaxis(x, 1, -1)), (0, 3, 1, 2))
    for given in (there(x), last, there(x)):
        close(here(plan(given)), nc.conv2d(x, weight))
    other = plan.for_shape((2, channels, 4, 3))
    wider = arrays_like((2, channels, 4, 3), np.float32)[0]
    close(here(other(there(wider))), nc.conv2d(wider, weight))
    with pytest.raises(TypeError, match="dtype"):
        plan(there(x.astype(np.int32)))
    with pytest.raises(ValueError, match="channels"):
        plan.for_shape((2, channels + 1, 4, 3))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int32", "uint8", "complex64"])
def test_other_dtypes(operands, dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    x, weight, bias = (np.round(a * 3).astype(np.int64).astype(dtype) for a in map(np.abs, operands))
    actual = here(nc.conv2d(there(x), there(weight), there(bias), padding=1))
    expected = nc.conv2d(x, weight, bias, padding=1)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


def test_empty_arrays(operands):
    x, weight, bias = operands
    assert here(nc.conv2d(there(x[:0]), there(weight), there(bias))).shape == (0, 4, 3, 4)
    only_bias = nc.conv2d(there(x[:, :0]), there(weight[:, :0]), there(bias))
    close(here(only_bias), nc.conv2d(x[:, :0], weight[:, :0], bias))
    g = np.zeros((0, 4, 3, 4), np.float32)
    assert (here(nc.conv2d_weight(there(x[:0]), weight.shape, there(g))) == 0).all()


def test_inputs_are_left_as_they_are(operands):
    x, weight, bias = operands
    given = there(x), there(weight), there(bias)
    nc.conv2d(*given, padding=1, activation="relu")
    for array, before in zip(given, operands):
        np.testing.assert_array_equal(here(array), before)


def test_errors_come_before_any_work(operands):
    x, weight, bias = operands
    d, w = there(x), there(weight)
    for function in (
        lambda: nc.conv2d(x, w),
        lambda: nc.conv2d(d, weight),
        lambda: nc.conv2d(d, w, bias),
        lambda: nc.conv2d(d, w, out=np.zeros((2, 4, 3, 4), np.float32)),
        lambda: nc.conv2d(x, weight, out=memory.empty((2, 4, 3, 4), np.float32)),
        lambda: nc.conv2d_weight(d, weight.shape, np.zeros((2, 4, 3, 4), np.float32)),
        lambda: nc.plan("conv2d", x.shape, w, bias),
    ):
        with pytest.raises(TypeError, match=r"on a GPU.*on the host"):
            function()
    with pytest.raises(TypeError, match="one dtype"):
        nc.conv2d(d, there(weight.astype(np.float64)))
    with pytest.raises(ValueError, match="expects"):
        nc.conv2d(d, there(weight[:, :2]))
    with pytest.raises(ValueError, match="out must not overlap x"):
        nc.conv2d(d, there(np.ones((3, 3, 1, 1), np.float32)), out=d)
    with pytest.raises(ValueError, match="residual must have the result's shape"):
        nc.conv2d(d, w, residual=d)
    with pytest.raises(TypeError, match="out must be of"):
        nc.conv2d(d, w, out=memory.empty((2, 4, 3, 4), np.float64))
    with pytest.raises(ValueError, match="algorithm must be"):
        nc.conv2d(d, w, algorithm="winograd_4x4")
    with pytest.raises(TypeError, match=r"on a GPU.*CPU"):
        nc.convolve(d, w)


def test_an_array_of_a_gpu_is_none_of_numpys_calls(operands):
    x, weight, _ = operands
    close(here(nc.conv2d(there(x), there(weight))), nc.conv2d(x, weight))
    assert isinstance(nc.conv2d(x, weight), np.ndarray)  # remembered calls of the one are not the other's
    assert not isinstance(nc.conv2d(there(x), there(weight)), np.ndarray)


def test_what_could_run_is_explained(operands, capsys):
    x, weight, bias = map(there, operands)
    for operation in ("conv2d", "conv2d_input", "conv2d_weight"):
        found = nc.explain(operation, x, weight, **({"bias": bias} if operation == "conv2d" else {}), padding=1)
        assert found.problem.device == "cuda" and found.algorithm in nc.algorithms(operation, "cuda")
        assert {*found.estimated, *found.rejected} == set(nc.algorithms(operation, "cuda"))
    text = capsys.readouterr().out
    assert "-> " in text and "not known of a GPU" in text and "thread" not in text
    with pytest.raises(TypeError, match=r"on a GPU.*CPU"):
        nc.tune("conv2d", x, weight)
