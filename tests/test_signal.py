"""convolve, correlate and convolution_matrix against NumPy, SciPy, the oracle and the laws of convolution."""

import itertools

import ml_dtypes
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import numconv as nc
from numconv.lab import reference
from numconv.ops.matrix import convolution_matrix
from numconv.ops.signal import convolve, correlate
from numconv.problem import ConvProblem

MODES = ("full", "same", "valid")
BOUND = {np.float32: 5e-6, np.float64: 1e-12, np.complex64: 5e-6, np.complex128: 1e-12}
INTEGERS = (np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64)

examples = settings(max_examples=40, deadline=None)
shapes = st.integers(1, 5).flatmap(lambda n: st.tuples(*[st.lists(st.integers(1, 5), min_size=n, max_size=n)] * 2))


def random(*shape, dtype=np.float64, seed=0):
    generator = np.random.default_rng((*shape, seed))
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    values = generator.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * generator.standard_normal(shape)
    return values.astype(dtype)


def assert_near(actual, expected, a, v):
    """Within the promised bound of the result's dtype, relative to |a| convolved with |v|."""
    assert actual.shape == expected.shape
    assert actual.flags.c_contiguous
    scale = np.abs(a).max() * np.abs(v).sum()
    assert_allclose(actual, expected, rtol=0, atol=BOUND[actual.dtype.type] * scale)


def fits(m, n):
    return all(i >= j for i, j in zip(m, n)) or all(i <= j for i, j in zip(m, n))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.int8, *BOUND])
@pytest.mark.parametrize(("ours", "numpys"), [(convolve, np.convolve), (correlate, np.correlate)])
def test_two_sequences_give_what_numpy_gives(ours, numpys, dtype, mode):
    for m, n in itertools.product(range(1, 7), repeat=2):
        a, v = random(m, dtype=dtype), random(n, dtype=dtype, seed=1)
        actual, expected = ours(a, v, mode), numpys(a, v, mode)
        assert actual.dtype == expected.dtype
        if np.dtype(dtype).kind == "i":
            assert_array_equal(actual, expected)
        else:
            assert_near(actual, expected, a, v)


def test_defaults_are_numpys():
    a, v = random(9), random(4)
    assert_allclose(convolve(a, v), np.convolve(a, v))
    assert_allclose(correlate(a, v), np.correlate(a, v))


@examples
@given(shapes)
def test_any_number_of_axes_gives_what_scipy_gives(both):
    m, n = map(tuple, both)
    a, v = random(*m, dtype=np.complex128), random(*n, dtype=np.complex128, seed=1)
    axes = tuple(range(len(m)))
    for mode in MODES:
        if mode == "valid" and not fits(m, n):
            with pytest.raises(ValueError, match="valid"):
                convolve(a, v, mode, axes)
            with pytest.raises(ValueError, match="valid"):
                correlate(a, v, mode, axes)
            continue
        # fftconvolve, as SciPy's other methods give shapes of NumPy to one-dimensional operands.
        assert_near(convolve(a, v, mode, axes), scipy.signal.fftconvolve(a, v, mode), a, v)
        turned = scipy.signal.fftconvolve(a, np.flip(v).conj(), mode)
        assert_near(correlate(a, v, mode, axes), turned, a, v)
        if len(m) > 1:
            assert_near(correlate(a, v, mode), scipy.signal.correlate(a, v, mode, "direct"), a, v)


@examples
@given(shapes, st.sampled_from(MODES), st.sampled_from(INTEGERS), st.sampled_from(INTEGERS))
def test_integers_are_exact_and_wrap(both, mode, kind, other):
    m, n = map(tuple, both)
    assume(np.result_type(kind, other).kind != "f" and (mode != "valid" or fits(m, n)))
    a, v = random(*m, dtype=kind), random(*n, dtype=other, seed=1)
    axes = range(len(m))
    for ours, oracle in ((convolve, reference.convolve), (correlate, reference.correlate)):
        actual, expected = ours(a, v, mode, axes), oracle(a, v, mode, numpy_shapes=False)
        assert actual.dtype == expected.dtype == np.result_type(kind, other)
        assert_array_equal(actual, expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("axes", [c for n in (1, 2, 3, 4) for c in itertools.combinations(range(4), n)])
def test_other_axes_are_a_batch(axes, mode):
    a = random(3, 5, 4, 2)
    for longer, of_each in itertools.product((False, True), repeat=2):
        sizes = [a.shape[i] if of_each else 1 for i in range(4)]
        for i in axes:
            sizes[i] = a.shape[i] + i if longer else max(a.shape[i] - 1 - i % 2, 1)
        v = random(*sizes, seed=1)
        assert_near(convolve(a, v, mode, axes), scipy.signal.fftconvolve(a, v, mode, axes), a, v)
        expected = scipy.signal.fftconvolve(a, np.flip(v, axes), mode, axes)
        assert_near(correlate(a, v, mode, axes), expected, a, v)
        if not of_each:
            alone = v.reshape([sizes[i] for i in axes])
            assert_near(convolve(a, alone, mode, axes), scipy.signal.fftconvolve(a, v, mode, axes), a, v)


def test_a_batch_of_kernels_broadcasts():
    a, v = random(1, 4, 9), random(3, 1, 2)
    expected = np.stack([[np.convolve(row, kernel[0]) for row in a[0]] for kernel in v])
    assert_near(convolve(a, v, axes=-1), expected, a, v)


def test_axes_name_those_of_a_in_the_order_of_v():
    a, v = random(4, 5, 6), random(3, 2)
    assert_array_equal(convolve(a, v, axes=(2, 0)), convolve(a, v.T, axes=(0, 2)))
    assert_array_equal(convolve(a, v, axes=(-2, -1)), convolve(a, v))
    assert_array_equal(convolve(a, v[0], axes=-3), convolve(a, v[0], axes=[0]))


def test_v_with_fewer_axes_goes_along_the_last_ones():
    a, v = random(3, 4, 7), random(3)
    assert_near(correlate(a, v, "same"), scipy.ndimage.correlate1d(a, v, mode="constant"), a, v)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("boundary", "scipys", "cval"), [("wrap", "wrap", 0), ("symm", "symm", 0), ("fill", "fill", -2)]
)
@pytest.mark.parametrize(("m", "n"), [((6, 7), (3, 5)), ((3, 4), (5, 3)), ((5, 6), (4, 2)), ((2, 3), (6, 9))])
def test_boundaries_of_two_axes_are_scipys(m, n, boundary, scipys, cval, mode):
    a, v = random(*m), random(*n)
    if mode == "valid" and not fits(m, n):
        with pytest.raises(ValueError, match="valid"):
            convolve(a, v, mode, boundary=boundary, cval=cval)
        return
    expected = scipy.signal.convolve2d(a, v, mode, scipys, cval)
    assert_near(convolve(a, v, mode, boundary=boundary, cval=cval), expected, a, v)


@pytest.mark.parametrize(
    ("names", "pad"),
    [
        (("zeros", "constant", "fill"), "constant"),
        (("reflect", "symmetric", "symm"), "symmetric"),
        (("mirror",), "reflect"),
        (("nearest", "replicate", "edge"), "edge"),
        (("wrap", "circular"), "wrap"),
    ],
)
@pytest.mark.parametrize("shape", [(5,), (1,), (3, 1, 2), (2, 2, 3, 2)])
def test_boundaries_are_paddings(names, pad, shape):
    """Far wider than the array, with every alias and in any number of axes."""
    a, v = random(*shape), random(*[7] * len(shape))
    padded = np.pad(a, 3, pad)
    for name in names:
        actual = correlate(a, v, "same", axes=range(a.ndim), boundary=name)
        assert_near(actual, scipy.signal.correlate(padded, v, "valid", "direct"), a, v)


def test_of_two_sequences_the_longer_one_is_continued():
    a, v = random(3), random(8)
    expected = scipy.ndimage.convolve1d(v, a, mode="wrap")
    assert_near(convolve(a, v, "same", boundary="wrap"), expected, a, v)
    assert_near(convolve(v, a, "same", boundary="wrap"), expected, a, v)
    around = correlate(v, a, "same", boundary="nearest")
    assert_array_equal(correlate(a, v, "same", boundary="nearest"), around[::-1])


@examples
@given(st.integers(1, 3), st.data())
def test_laws(ndim, data):
    sizes = st.lists(st.integers(1, 4), min_size=ndim, max_size=ndim)
    f, g, h = (random(*data.draw(sizes), seed=i) for i in range(3))
    scale = np.abs(f).sum() * np.abs(g).sum() * np.abs(h).sum()
    assert_allclose(convolve(f, g), convolve(g, f), rtol=0, atol=1e-12 * np.abs(f).sum() * np.abs(g).sum())
    assert_allclose(convolve(convolve(f, g), h), convolve(f, convolve(g, h)), rtol=0, atol=1e-12 * scale)
    other = random(*f.shape, seed=3)
    both = convolve(2 * f - other, g)
    assert_allclose(both, 2 * convolve(f, g) - convolve(other, g), rtol=0, atol=1e-11)
    unit = np.ones((1,) * ndim)
    assert_array_equal(convolve(f, unit), f)


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ((np.float32, np.float32), np.float32),
        ((np.float32, np.int8), np.float32),
        ((np.float32, np.float64), np.float64),
        ((np.int64, np.float32), np.float64),
        ((np.uint8, np.int8), np.int16),
        ((np.float16, np.float16), np.float16),
        ((np.complex64, np.float32), np.complex64),
        ((np.complex64, np.float64), np.complex128),
    ],
)
def test_dtypes_are_promoted_as_numpys(dtypes, expected):
    a, v = np.arange(6).astype(dtypes[0]), np.array([1, 2]).astype(dtypes[1])
    for ours in (convolve, correlate):
        actual = ours(a, v, "full")
        assert actual.dtype == expected
        assert_array_equal(actual, getattr(np, ours.__name__)(np.arange(6), [1, 2], "full"))


def test_half_precision_is_rounded_once():
    for dtype, ulp in ((np.float16, 2**-11), (ml_dtypes.bfloat16, 2**-8)):
        for shape in ((300,), (2, 3, 2, 4)):
            a, v = np.full(shape, 1.01).astype(dtype), np.full(shape, 0.1).astype(dtype)
            actual = convolve(a, v, axes=range(len(shape)))
            expected = reference.convolve(a, v)
            assert actual.dtype == dtype
            assert_allclose(actual.astype(np.float64), expected, rtol=ulp * 1.01)


def test_lists_scalars_and_strange_memory_are_taken():
    assert_array_equal(convolve([1, 2, 3], [0, 1]), [0, 1, 2, 3])
    assert_array_equal(convolve(3, 4), np.convolve(3, 4))
    a, v = random(9, 8, 7), random(3, 2)
    expected = convolve(a, v)
    assert_array_equal(convolve(a.astype(">f8"), v), expected)
    assert_array_equal(convolve(np.asfortranarray(a), v[::-1, ::-1][::-1, ::-1]), expected)
    wide = np.zeros((9, 8, 14))
    wide[..., ::2] = a
    assert_array_equal(convolve(wide[..., ::2], v), expected)
    a.flags.writeable = v.flags.writeable = False
    assert_array_equal(convolve(a, v), expected)


@pytest.mark.parametrize("boundary", ["zeros", "mirror"])
def test_operands_are_left_as_they_are(boundary):
    a, v = random(6, 7), random(3, 2)
    before = a.copy(), v.copy()
    result = convolve(a, np.ones((1, 1)), "same", boundary=boundary)
    result += 1
    correlate(a, v, boundary=boundary)
    assert_array_equal(a, before[0])
    assert_array_equal(v, before[1])


@pytest.mark.parametrize("shapes", [((9,), (3,)), ((3,), (9,)), ((4, 5), (2, 3)), ((2, 3), (4, 5))])
def test_what_is_not_finite_spreads_by_the_definition(shapes):
    for which, value in itertools.product((0, 1), (np.nan, np.inf)):
        operands = [np.abs(random(*shape, seed=1)) for shape in shapes]
        operands[which][(1,) * len(shapes[0])] = value
        with np.errstate(invalid="ignore"):
            expected = reference.convolve(*operands)
        finite = np.isfinite(expected)
        actual = convolve(*operands, precision="strict")
        assert_array_equal(np.isnan(actual), np.isnan(expected))
        assert_array_equal(np.isposinf(actual), np.isposinf(expected))
        assert_allclose(actual[finite], expected[finite])
        assert not finite.all()


def test_empty_batches_give_empty_results():
    assert convolve(np.ones((0, 5)), [1.0, 2.0]).shape == (0, 6)
    assert convolve(np.ones((5, 0, 2)), [1.0, 2.0], "valid", axes=0).shape == (4, 0, 2)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (([], [1]), {}, ValueError, "a must have at least one"),
        (([1], []), {}, ValueError, "v must have at least one"),
        ((np.ones((2, 0)), [1]), {}, ValueError, "a must have at least one"),
        (([1], np.ones((1, 1))), {}, ValueError, r"v must have at most as many axes.*\(1,\).*\(1, 1\)"),
        ((np.ones((2, 2, 2)), np.ones((2, 2))), {"axes": 0}, ValueError, "v must have 1 axes"),
        ((np.ones((2, 3)), np.ones((4, 3))), {"axes": 1}, ValueError, r"broadcast.*\(2, 3\).*\(4, 3\)"),
        (([1], [1]), {"axes": 1}, ValueError, "axes must be one or more axes of a, from -1 to 0, got 1"),
        (([1], [1]), {"axes": ()}, ValueError, "axes must be"),
        ((np.ones((2, 2)), np.ones((2, 2))), {"axes": (0, -2)}, ValueError, "once"),
        (([1], [1]), {"axes": 0.5}, TypeError, "axes must be an integer"),
        (([1], [1]), {"mode": "circular"}, ValueError, "mode must be one of.*circular"),
        (([1], [1]), {"boundary": "edges"}, ValueError, "boundary must be one of.*edges"),
        (([1], [1]), {"boundary": "wrap", "cval": 1}, ValueError, "cval must not be given.*wrap"),
        (([1], [1]), {"cval": 0.5}, ValueError, "cval must be a value of dtype int64, got 0.5"),
        ((np.ones(1, np.int8), np.ones(1, np.int8)), {"cval": 128}, ValueError, "cval"),
        (([1.0], [1.0]), {"cval": 1j}, TypeError, "cval must be a number"),
        (([1.0], [1.0]), {"cval": "0"}, TypeError, "cval must be a number"),
        (([1.0], [1.0]), {"precision": "exact"}, ValueError, "precision"),
        (([True], [True]), {}, TypeError, "a must be of a float, integer or complex dtype, got bool"),
        (([1], np.array([1], object)), {}, TypeError, "v must be .*object"),
        (([1], ["one"]), {}, TypeError, "v must be"),
        ((np.ones(2, np.longdouble), [1]), {}, TypeError, "longdouble|float128"),
    ],
)
@pytest.mark.parametrize("ours", [convolve, correlate])
def test_errors(ours, arguments, options, error, words):
    with pytest.raises(error, match=words):
        ours(*arguments, **options)


GEOMETRIES = [
    {},
    {"stride": (2, 1), "padding": ((1, 2), (0, 1))},
    {"stride": (2, 3), "padding": ((1, 1), (2, 2)), "dilation": (2, 1), "groups": 2},
]


@pytest.mark.parametrize("options", GEOMETRIES)
def test_a_matrix_does_what_the_convolution_does(options):
    weight = random(4, 4 // options.get("groups", 1), 3, 2)
    x = random(4, 6, 7)
    matrix = convolution_matrix(x.shape, weight, **options)
    y = nc.conv2d(x[None], weight, **options)
    assert_array_equal(matrix, reference.convolution_matrix(x.shape, weight, **options))
    assert_allclose(matrix @ x.ravel(), y.ravel(), atol=1e-12)

    gradient = random(*y.shape, seed=1)
    expected = nc.conv_transpose2d(gradient, weight, output_size=(6, 7), **options)
    assert_allclose(matrix.T @ gradient.ravel(), expected.ravel(), atol=1e-12)


def test_a_matrix_takes_problems_of_one_to_three_axes():
    for shape, kernel in (((2, 9), (3,)), ((2, 5, 4), (3, 2)), ((2, 3, 4, 3), (2, 1, 3))):
        weight, ndim = random(4, 1, *kernel), len(kernel)
        problem = ConvProblem.make(f"conv{ndim}d", (5, *shape), weight.shape, stride=2, padding=1, groups=2)
        matrix = convolution_matrix(problem, weight)
        options = {"stride": (2,) * ndim, "padding": ((1, 1),) * ndim, "groups": 2}
        assert_array_equal(matrix, reference.convolution_matrix(shape, weight, **options))
        assert_array_equal(convolution_matrix((5, *shape), weight, stride=2, padding=1, groups=2), matrix)
        gradient = problem.with_operation(f"conv{ndim}d_input")
        assert_array_equal(convolution_matrix(gradient, weight), matrix.T)


def test_the_matrix_of_a_transposed_problem_makes_the_larger_image():
    weight, x = random(2, 3, 3, 3), random(2, 2, 2)
    problem = ConvProblem.make("conv_transpose2d", (1, 2, 2, 2), weight.shape)
    matrix = convolution_matrix(problem, weight)
    assert problem.spatial == (4, 4)
    assert_allclose(matrix @ x.ravel(), nc.conv_transpose2d(x, weight).ravel(), atol=1e-13)


def test_a_matrix_keeps_the_dtype():
    for dtype in (np.int8, np.float32, np.complex128):
        assert convolution_matrix((1, 4), np.ones((1, 1, 2), dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("problem", "weight", "options", "error", "words"),
    [
        ((1, 320, 280), np.ones((1, 1, 1, 2)), {}, ValueError, "89280 x 89600 = 7,999,488,000 entries"),
        ((2, 4), np.ones((1, 1, 2)), {}, ValueError, "2 channels"),
        ((4,), np.ones((1, 1, 2)), {}, ValueError, "problem must be"),
        ((4, 4), np.ones((2, 2)), {}, ValueError, "problem must be"),
        ((1, 4), np.ones((1, 1, 5)), {}, ValueError, "larger than the padded input"),
        ((1, 4), np.ones((1, 1, 2), bool), {}, TypeError, "weight"),
        ((1, 4), np.ones((1, 1, 2)), {"bias": 1}, TypeError, "bias"),
        (ConvProblem.make("conv1d", (1, 1, 4), (1, 1, 3)), np.ones((1, 1, 2)), {}, ValueError, "problem's shape"),
        (ConvProblem.make("conv1d", (1, 1, 4), (1, 1, 2)), np.ones((1, 1, 2)), {"stride": 1}, TypeError, "stride"),
        (
            ConvProblem.make("conv1d", (1, 1, 4), (1, 1, 2)).with_operation("conv1d_weight"),
            np.ones((1, 1, 2)),
            {},
            ValueError,
            "conv1d_weight",
        ),
    ],
)
def test_matrix_errors(problem, weight, options, error, words):
    with pytest.raises(error, match=words):
        convolution_matrix(problem, weight, **options)
