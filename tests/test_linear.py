"""The fully connected layer against its definition."""

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from numconv.lab import reference
from numconv.ops import arrays
from numconv.ops.linear import linear, linear_input, linear_weight

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def noise(shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def defined(x, weight, bias=0.0):
    return np.einsum("...i,oi->...o", x.astype(np.float64), weight.astype(np.float64)) + bias


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (2, 1, 3, 5), (0, 5)])
def test_agrees_with_its_definition(shape, dtype):
    x, weight, bias = noise(shape, dtype), noise((4, 5), dtype, 1), noise(4, dtype, 2)
    rtol = 1e-6 if dtype == np.float32 else 1e-14
    for offset in (None, bias, bias[:1], bias[0]):
        y = linear(x, weight, offset)
        assert y.dtype == dtype and y.shape == (*shape[:-1], 4) and y.flags.c_contiguous
        assert_allclose(y, defined(x, weight, 0 if offset is None else offset), rtol=rtol, atol=rtol * 4)


def test_a_weight_of_one_axis_gives_one_number():
    x, weight = noise((2, 3, 5)), noise(5, seed=1)
    assert_allclose(linear(x, weight), x @ weight, rtol=1e-14)
    assert_allclose(linear(x[0, 0], weight, 1.5), x[0, 0] @ weight + 1.5, rtol=1e-14)
    assert linear(x[0, 0], weight).shape == ()


@pytest.mark.parametrize("activation", ["relu", "gelu", ("elu", 0.5), ("leaky_relu", 0.2)])
def test_activation(activation):
    x, weight, bias = noise((3, 5)), noise((4, 5), seed=1), noise(4, seed=2)
    expected = reference.activate(activation, defined(x, weight, bias))
    assert_allclose(linear(x, weight, bias, activation), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16])
def test_half_types_are_rounded_once(dtype):
    x, weight, bias = (noise(shape).astype(dtype) for shape in ((3, 500), (4, 500), (4,)))
    y = linear(x, weight, bias, "silu")
    wide = linear(*(a.astype(np.float32) for a in (x, weight, bias)), "silu")
    assert y.dtype == dtype
    assert_array_equal(y.view(np.uint16), wide.astype(dtype).view(np.uint16))


def test_promotion():
    x, weight = noise((3, 5), np.float32), noise((4, 5))
    assert linear(x, weight).dtype == np.float64
    assert linear(x.astype(np.float16), weight.astype(np.float32)).dtype == np.float32
    assert linear(x, weight + 1j * weight).dtype == np.complex128
    assert_allclose(linear(x, 1j * weight), 1j * defined(x, weight), rtol=1e-14)
    integers = linear(np.array([[100, 27]], np.int8), np.array([[2, 1], [0, 1]], np.int8))
    assert integers.dtype == np.int8
    assert_array_equal(integers, [[-29, 27]])


def test_any_layout_and_inputs_untouched():
    base = noise((6, 8, 10), np.float32)
    weight = np.asfortranarray(noise((4, 5), np.float32, 1))
    for x in (base[::-2, ::3, ::2], base[:, :, :5].astype(">f4"), np.asfortranarray(base[:, :, 5:])):
        x.flags.writeable = False
        before = x.copy()
        y = linear(x, weight[:, ::-1], np.float32(1))
        assert_allclose(y, defined(x, weight[:, ::-1], 1), rtol=1e-6, atol=4e-6)
        assert_array_equal(x, before)
        assert y.dtype.isnative and y.flags.c_contiguous


def test_empty_sums():
    assert_array_equal(linear(np.ones((2, 0)), np.ones((3, 0)), [1, 2, 3]), [[1, 2, 3]] * 2)
    assert linear(np.ones((2, 5)), np.ones((0, 5))).shape == (2, 0)


def test_non_finite_values_do_not_warn():
    y = linear(np.array([[np.inf, -np.inf], [np.nan, 1], [3e38, 3e38]], np.float32), np.ones((1, 2), np.float32))
    assert_array_equal(y, [[np.nan], [np.nan], [np.inf]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.ones((3, 4)), np.ones((2, 5))), ValueError, r"x must have weight's 5 entries .*\(3, 4\)"),
        ((np.float64(1), np.ones((2, 5))), ValueError, "x must have weight's 5 entries"),
        ((np.ones((3, 5)), np.ones((2, 5, 1))), ValueError, r"weight must have shape \(out, in\) or \(in,\)"),
        ((np.ones((3, 5)), np.float64(1)), ValueError, "weight must have shape"),
        ((np.ones((3, 5)), np.ones((2, 5)), np.ones(3)), ValueError, r"bias must broadcast .*\(3, 2\), got \(3,\)"),
        ((np.ones((3, 5)), np.ones((2, 5)), np.ones((4, 3, 2))), ValueError, "bias must broadcast"),
        ((np.ones((3, 5)), np.ones((2, 5)), None, "swish"), ValueError, "activation"),
        ((np.ones((3, 5), int), np.ones((2, 5), int), None, "relu"), TypeError, "activation needs a float dtype"),
        ((np.ones((3, 5), bool), np.ones((2, 5))), TypeError, "x must be"),
        ((np.ones((3, 5)), np.ones((2, 5), object)), TypeError, "weight must be"),
        ((np.ones((3, 5), np.float16), np.ones((2, 5), BFLOAT16)), TypeError, "common dtype"),
    ],
)
def test_judges_its_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        linear(*arguments)


@pytest.mark.parametrize(
    "m, n, k",
    [
        (1, 1, 1), (5, 3, 7), (33, 65, 130), (3, 2, 1030), (6, 2500, 3), (2, 5, 0), (0, 3, 4), (9, 1100, 50),
        (600, 9, 250),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_threads_gives_the_same_bits(m, n, k, dtype, threads, always_parallel):
    x, weight, grad = noise((m, k), dtype), noise((n, k), dtype, 1), noise((m, n), dtype, 2)
    wide = [a.astype(float) for a in (x, weight, grad)]
    pairs = [(wide[0], wide[1].T), (wide[2], wide[1]), (wide[2].T, wide[0])]
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append([linear(x, weight), linear_input(weight, grad), linear_weight(x, grad)])
    for one, two, three, (a, b) in zip(*results, pairs):
        assert_array_equal(one, two)
        assert_array_equal(one, three)
        assert one.dtype == dtype
        bound = (1e-6 if dtype == np.float32 else 1e-14) * (np.abs(a) @ np.abs(b)).max(initial=0)
        assert_allclose(one, a @ b, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", [np.int32, np.complex64, np.float16, BFLOAT16])
def test_gradients_in_other_dtypes(dtype):
    x, weight, grad = ((noise(s, seed=i) * 4).astype(dtype) for i, s in enumerate([(3, 5), (4, 5), (3, 4)]))
    wide = [a.astype(np.complex128 if dtype == np.complex64 else float) for a in (x, weight, grad)]
    for got, exact in ((linear_input(weight, grad), wide[2] @ wide[1]), (linear_weight(x, grad), wide[2].T @ wide[0])):
        assert got.dtype == dtype
        assert_allclose(got.astype(exact.dtype), exact, rtol=1e-2, atol=0.3 if dtype == BFLOAT16 else 0.03)


def test_strided_operands():
    x, weight, grad = noise((6, 10))[::2, ::2], noise((5, 4), seed=1).T, noise((4, 3), seed=2).T
    assert_allclose(linear(x, weight), x @ weight.T, rtol=1e-12)
    assert_allclose(linear_input(weight, grad), grad @ weight, rtol=1e-12)
    assert_allclose(linear_weight(x, grad), grad.T @ x, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shapes", [((70, 33), (33, 5)), ((33,), (33, 5)), ((3, 2, 4, 33), (2, 33, 5)), ((0, 3), (3, 2)), ((3, 0), (0, 2))],
    ids=str,
)  # fmt: skip
def test_matmul_is_numpys_with_the_same_bits_for_any_number_of_threads(shapes, dtype, threads, always_parallel):
    a, b = (np.random.default_rng(0).standard_normal(shape).astype(dtype) for shape in shapes)
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append(arrays.matmul(a, b))
    assert len({result.tobytes() for result in results}) == 1
    assert results[0].shape == (a @ b).shape and results[0].dtype == dtype
    np.testing.assert_allclose(results[0], a @ b, rtol=0, atol={"float32": 2e-5, "float64": 1e-12}[dtype])


def test_matmul_names_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 3\)"):
        arrays.matmul(np.ones((2, 3)), np.ones((2, 3)))
