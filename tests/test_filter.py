"""filter, the kernels for it, and separate, against SciPy, the oracle and sums worked out by hand."""

import itertools
import math

import ml_dtypes
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from numconv import kernels
from numconv.ops import filtering
from numconv.ops.filtering import filter, separate

BOUNDARIES = {"reflect": "reflect", "mirror": "mirror", "nearest": "nearest", "wrap": "wrap", "zeros": "constant"}
BOUND = {np.float32: 5e-6, np.float64: 1e-12, np.complex64: 5e-6, np.complex128: 1e-12}
SIZES = [(3, 3), (1, 1), (2, 2), (4, 3), (1, 5), (6, 1), (7, 8)]


def picture(*shape, dtype=np.float64, seed=0):
    generator = np.random.default_rng((*shape, seed))
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    values = generator.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * generator.standard_normal(shape)
    return values.astype(dtype)


def scipys(image, kernel, mode="reflect"):
    """Correlation of each channel in float64."""
    image = image.astype(np.complex128 if image.dtype.kind == "c" else np.float64)
    return scipy.ndimage.correlate(image, kernel if image.ndim == 2 else kernel[..., None], mode=mode)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(9, 11), (3, 4), (1, 1), (12, 9, 3), (2, 3, 2)])
@pytest.mark.parametrize("dtype", BOUND)
def test_agrees_with_scipy_at_every_size_and_boundary(dtype, shape, boundary):
    image = picture(*shape, dtype=dtype)
    for size in SIZES:
        kernel = picture(*size, seed=1)
        actual, expected = filter(image, kernel, boundary), scipys(image, kernel, BOUNDARIES[boundary])
        assert actual.dtype == dtype
        assert actual.flags.c_contiguous
        scale = np.abs(image).max() * np.abs(kernel).sum()
        assert_allclose(actual, expected, rtol=0, atol=BOUND[dtype] * scale)


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from(list(BOUNDARIES)),
)
def test_channels_are_filtered_alone(shape, size, boundary):
    image, kernel = picture(*shape), picture(*size, seed=1)
    actual = filter(image, kernel, boundary)
    for c in range(shape[2]):
        assert_allclose(actual[..., c], filter(image[..., c], kernel, boundary), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32])
def test_integers_are_rounded_half_to_even_and_clipped(dtype):
    image, limits = picture(20, 21, 3, dtype=dtype), np.iinfo(dtype)
    for kernel in (np.array([[0.5, 0, 0.5]]), np.array([[-2.0], [0.5], [2.0]]), np.ones((3, 3)) / 8, [[3]]):
        exact = scipys(image, np.array(kernel, float))  # of dyadic weights, in float32 too
        actual = filter(image, kernel)
        assert actual.dtype == dtype
        assert_array_equal(actual, np.rint(exact).clip(limits.min, limits.max).astype(dtype))


def test_integers_of_64_bits_are_clipped_where_floats_end():
    image = np.array([[2**62, -(2**62), 5]])
    assert_array_equal(filter(image, [[4]]), [[2**63 - 1, -(2**63), 20]])
    assert_array_equal(filter(np.array([[2**63, 7]], np.uint64), [[2]]), np.array([[2**64 - 1, 14]], np.uint64))
    assert_array_equal(filter(np.array([[7]], np.uint64), [[-2]]), [[0]])


@pytest.mark.parametrize(("dtype", "ulp"), [(np.float16, 2**-11), (ml_dtypes.bfloat16, 2**-8)])
def test_half_precision_is_computed_in_float32(dtype, ulp):
    image = (picture(12, 13) + 8).astype(dtype)
    actual = filter(image, kernels.gaussian(1.2))
    assert actual.dtype == dtype
    expected = scipy.ndimage.gaussian_filter(image.astype(np.float64), 1.2)
    assert_allclose(actual.astype(np.float64), expected, rtol=ulp * 1.001)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(30, 31), (25, 26, 3)])
def test_separable_kernels_stay_within_the_bound(shape, dtype, boundary):
    image = picture(*shape, dtype=dtype)
    for kernel in (kernels.gaussian(2), kernels.box((8, 7)), np.outer([1, -2, 3, 0, 5, 1, 1], [1, 2, -7, 1, 1, 1, 1])):
        assert len(filtering._passes(kernel, np.dtype(dtype))) == 2
        expected = scipys(image, np.asarray(kernel, float), BOUNDARIES[boundary])
        scale = np.abs(image).max() * np.abs(kernel).sum()
        assert_allclose(filter(image, kernel, boundary), expected, rtol=0, atol=BOUND[dtype] * scale)


def test_only_large_kernels_that_are_products_are_taken_apart():
    double = np.dtype(np.float64)
    for kernel in (kernels.box(3), np.ones((1, 60)), kernels.gabor(8, 0.5), np.full((7, 7), np.nan)):
        (alone,) = filtering._passes(kernel, double)
        assert alone is kernel
    nearly = kernels.gaussian(1)
    nearly[0, 0] += 1e-8
    assert len(filtering._passes(nearly, double)) == 1


@pytest.mark.parametrize("make", [np.asfortranarray, lambda a: a[::-1], lambda a: a.astype(">f8"), np.ndarray.tolist])
def test_any_memory_is_taken_and_left_as_it_is(make):
    given_image = make(picture(8, 9, 3))
    plain = np.array(given_image, np.float64)
    kernel = picture(3, 3)
    for boundary in BOUNDARIES:
        assert_array_equal(filter(given_image, kernel, boundary), filter(plain, kernel, boundary))
    assert_array_equal(given_image, plain)


def test_a_result_is_never_the_picture():
    image = picture(5, 6)
    for boundary in BOUNDARIES:
        assert not np.shares_memory(filter(image, [[1.0]], boundary), image)


def test_empty_pictures_stay_empty():
    for shape in ((0, 5), (5, 0), (4, 4, 0)):
        assert filter(np.ones(shape, np.uint8), kernels.box(3)).shape == shape


@pytest.mark.parametrize(
    ("image", "kernel", "boundary", "error", "words"),
    [
        (np.ones(5), [[1]], "reflect", ValueError, r"image must have shape.*\(5,\)"),
        (np.ones((1, 2, 3, 4)), [[1]], "reflect", ValueError, "image must have shape"),
        (np.ones((5, 5)), [1, 2], "reflect", ValueError, r"kernel must have two axes.*\(2,\)"),
        (np.ones((5, 5)), np.ones((0, 3)), "reflect", ValueError, r"kernel must have.*\(0, 3\)"),
        (np.ones((5, 5)), [[1]], "bounce", ValueError, "boundary must be one of.*bounce"),
        (np.ones((5, 5), bool), [[1]], "reflect", TypeError, "image must be.*bool"),
        (np.ones((5, 5)), [[True]], "reflect", TypeError, "kernel must be.*bool"),
        (np.ones((5, 5)), kernels.sobel, "reflect", TypeError, "kernel must be"),
        (np.ones((5, 5)), [[1j]], "reflect", TypeError, "kernel must be real"),
        (np.ones((5, 5), np.uint8), [[np.nan]], "reflect", ValueError, "kernel must be finite"),
        (np.ones((5, 5), np.longdouble), [[1]], "reflect", TypeError, "image must be"),
    ],
)
def test_errors(image, kernel, boundary, error, words):
    with pytest.raises(error, match=words):
        filter(image, kernel, boundary)


@pytest.mark.parametrize("name", ["sobel", "prewitt"])
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_gradients_are_scipys(name, axis):
    image = picture(9, 10)
    expected = getattr(scipy.ndimage, name)(image, axis)
    assert_allclose(filter(image, getattr(kernels, name)(axis)), expected, atol=1e-12)


def test_other_kernels_are_scipys():
    image = picture(16, 17)
    assert_allclose(filter(image, kernels.laplacian()), scipy.ndimage.laplace(image), atol=1e-12)
    for size in (3, 4, (2, 5), (9, 8)):
        assert_allclose(filter(image, kernels.box(size)), scipy.ndimage.uniform_filter(image, size), atol=1e-12)
    for sigma, truncate in ((1.5, 4), (0.3, 4), ((0.8, 2.1), 3), (3, 2.5)):
        expected = scipy.ndimage.gaussian_filter(image, sigma, truncate=truncate)
        assert_allclose(filter(image, kernels.gaussian(sigma, truncate=truncate)), expected, atol=1e-12)


EVERY = {
    "sobel": (kernels.sobel(), 0),
    "prewitt": (kernels.prewitt(0), 0),
    "scharr": (kernels.scharr(), 0),
    "laplacian": (kernels.laplacian(), 0),
    "laplacian of 8": (kernels.laplacian(diagonal=True), 0),
    "box": (kernels.box((4, 5)), 1),
    "gaussian": (kernels.gaussian(1.7), 1),
    "gaussian of a size": (kernels.gaussian(4, size=(4, 5)), 1),
    "sharpen": (kernels.sharpen(0.7), 1),
    "emboss": (kernels.emboss(2), 1),
    "odd gabor": (kernels.gabor(5, 0.4, psi=math.pi / 2), 0),
}


@pytest.mark.parametrize("name", EVERY)
def test_sums(name):
    kernel, total = EVERY[name]
    assert kernel.dtype == np.float64
    assert kernel.flags.c_contiguous
    assert kernel.sum() == pytest.approx(total, abs=1e-12)


def test_kernels_as_they_are_written():
    assert_array_equal(kernels.sobel(1), [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    assert_array_equal(kernels.sobel(0), [[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
    assert_array_equal(kernels.prewitt(), [[-1, 0, 1]] * 3)
    assert_array_equal(kernels.scharr(), [[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]])
    assert_array_equal(kernels.laplacian(), [[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    assert_array_equal(kernels.laplacian(True), [[1, 1, 1], [1, -8, 1], [1, 1, 1]])
    assert_array_equal(kernels.box((1, 2)), [[0.5, 0.5]])
    assert_array_equal(kernels.sharpen(), [[0, -1, 0], [-1, 5, -1], [0, -1, 0]])
    assert_array_equal(kernels.emboss(), [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    assert kernels.gaussian((1, 2)).shape == (9, 17)
    assert kernels.gaussian(9, size=4).shape == (4, 4)


def test_gabor_is_a_wave_under_a_bell():
    kernel = kernels.gabor(6, sigma=2, gamma=0.5, size=(5, 7))
    for y, x in itertools.product(range(-2, 3), range(-3, 4)):
        expected = math.exp(-(x**2 + (0.5 * y) ** 2) / 8) * math.cos(2 * math.pi * x / 6)
        assert kernel[y + 2, x + 3] == pytest.approx(expected, abs=1e-15)
    upright = kernels.gabor(6, sigma=2, gamma=0.5, theta=math.pi / 2, size=(7, 5))
    assert_allclose(upright, kernel.T, atol=1e-15)
    odd = kernels.gabor(6, 0.3, psi=math.pi / 2)
    assert_allclose(odd, -odd[::-1, ::-1], atol=1e-15)
    wide = kernels.gabor(6, 0.3, truncate=2)
    assert all(n % 2 and n < m for n, m in zip(wide.shape, odd.shape))


@pytest.mark.parametrize(
    ("make", "arguments", "error", "words"),
    [
        (kernels.sobel, (2,), ValueError, "axis"),
        (kernels.scharr, (0.5,), TypeError, "axis"),
        (kernels.box, (0,), ValueError, "size"),
        (kernels.box, (2.5,), TypeError, "size"),
        (kernels.box, ((1, 2, 3),), ValueError, "size"),
        (kernels.gaussian, (0,), ValueError, "sigma must be a positive number, got 0"),
        (kernels.gaussian, (-1,), ValueError, "sigma"),
        (kernels.gaussian, ((1, 2, 3),), ValueError, "sigma"),
        (kernels.gaussian, ("1",), TypeError, "sigma"),
        (kernels.gaussian, (math.nan,), ValueError, "sigma"),
        (kernels.gaussian, (1, 0), ValueError, "size"),
        (kernels.gaussian, (1, None, 0), ValueError, "truncate"),
        (kernels.gabor, (0,), ValueError, "wavelength"),
        (kernels.gabor, (5, 0, -1), ValueError, "sigma"),
        (kernels.gabor, (5, 0, 1, 0), ValueError, "gamma"),
        (kernels.gabor, (5, math.inf), ValueError, "theta must be a finite number"),
        (kernels.sharpen, (math.inf,), ValueError, "amount"),
        (kernels.emboss, (None,), TypeError, "strength"),
    ],
)
def test_kernel_errors(make, arguments, error, words):
    with pytest.raises(error, match=words):
        make(*arguments)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.sampled_from(list(BOUND)))
def test_factors_give_the_kernel_back(shape, dtype):
    kernel = np.ones((), dtype)
    for axis, size in enumerate(shape):
        kernel = np.multiply.outer(kernel, picture(size, dtype=dtype, seed=axis))
    factors = separate(kernel)
    assert [f.shape for f in factors] == [(size,) for size in shape]
    assert all(f.dtype == dtype for f in factors)
    product = np.ones(())
    for factor in factors:
        product = np.multiply.outer(product, factor)
    assert_allclose(product, kernel, rtol=0, atol=64 * np.finfo(dtype).eps * np.linalg.norm(kernel))
    norms = [np.linalg.norm(f) for f in factors]
    assert_allclose(norms, norms[0], rtol=1e-4)


def test_sobel_takes_six_numbers_instead_of_nine():
    column, row = separate(kernels.sobel())
    assert_allclose(column / column[0], [1, 2, 1], atol=1e-14)
    assert_allclose(row / row[2], [-1, 0, 1], atol=1e-14)
    assert column[0] > 0
    assert column.size + row.size == 6


def test_a_gaussian_separates_into_its_bells():
    column, row = separate(kernels.gaussian(1.3))
    bell = np.exp(-0.5 * (np.arange(-5, 6) / 1.3) ** 2)
    assert_allclose(column, bell / bell.sum(), atol=1e-15)
    assert_allclose(row, bell / bell.sum(), atol=1e-15)


def test_integers_separate_in_float64_and_nothing_into_nothing():
    column, row = separate(np.array([[2, 4], [3, 6]]))
    assert column.dtype == row.dtype == np.float64
    assert_allclose(np.outer(column, row), [[2, 4], [3, 6]])
    assert [f.tolist() for f in separate(np.zeros((2, 3), np.float32))] == [[0, 0], [0, 0, 0]]


def test_what_is_no_product_is_refused_with_how_far_it_is():
    # Its singular values are sqrt(6) + 2, sqrt(6) - 2 and 0: the second over sqrt(20) is left.
    with pytest.raises(ValueError, match=r"\(3, 3\) is not separable.*off by 0\.101 of its norm"):
        separate(kernels.laplacian())
    nearly = np.outer([1.0, 2, 1], [1.0, 2, 1])
    nearly[0, 0] += 1e-3
    with pytest.raises(ValueError, match="not separable"):
        separate(nearly)
    column, row = separate(nearly, tolerance=1e-3)
    assert np.linalg.norm(np.outer(column, row) - nearly) <= 1e-3 * np.linalg.norm(nearly)


@pytest.mark.parametrize(
    ("kernel", "error", "words"),
    [
        (np.ones((0, 3)), ValueError, "at least one entry"),
        (3.0, ValueError, "an axis"),
        ([[np.inf]], ValueError, "finite"),
        ([[True]], TypeError, "bool"),
    ],
)
def test_separate_errors(kernel, error, words):
    with pytest.raises(error, match=words):
        separate(kernel)
