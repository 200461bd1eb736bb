"""Every algorithm of every pooling and its gradient against the oracle; views, dtypes, NaN, options."""

import itertools
import math

import ml_dtypes
import numpy as np
import pytest
from poolings import ENTRIES, OPERATIONS, Question, agree, ask, asked, positional, questions, window_options

import numconv as nc
from numconv.lab import reference as ref
from numconv.lab.cases import arrays, pool_cases

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def test_every_pooling_and_gradient_has_a_table():
    forward = ["max_pool", "avg_pool", "lp_pool", "weighted_avg_pool", "adaptive_avg_pool", "adaptive_max_pool",
               "max_unpool"]  # fmt: skip
    names = [f"{name}{n}d" for name, n in itertools.product(forward, (1, 2, 3))] + [
        "global_avg_pool",
        "global_max_pool",
    ]
    assert set(OPERATIONS) == {*names, *(f"{name}_input" for name in names)}
    for operation in OPERATIONS:
        assert callable(getattr(nc, operation))
        assert nc.algorithms(operation)[-1] == "direct"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("operation", "algorithm"), ENTRIES)
def test_agrees_with_the_oracle(operation, algorithm, dtype):
    for question in questions(operation, dtype):
        for layout in ("first", "last"):
            results = asked(operation, question, layout, algorithm)
            if algorithm == "separable" and isinstance(question.options.get("weights"), np.ndarray):
                assert results is None
            elif algorithm not in ("tiled", "phased") or results is not None:
                agree(results, question, TOLERANCE[dtype])


# arrays as they come


@pytest.mark.parametrize("operation", OPERATIONS)
def test_takes_views_and_changes_nothing(operation):
    """Reversed, with steps, cut out of NaN, in foreign byte order, unaligned, and in the other layout's memory."""
    for question in questions(operation, "float32")[::5]:
        wanted = ask(operation, question)
        for layout in ("first_in_last_memory", "last_in_first_memory"):
            agree(ask(operation, question, layout), question, 1e-6)
        for view in (reversed_view, cut_out, foreign, unaligned):
            for layout in ("first", "last"):
                given = question._replace(arguments=tuple(view(a, layout) for a in question.arguments))
                before = [a.copy() for a in given.arguments if isinstance(a, np.ndarray)]
                agree(ask(operation, given, layout), question._replace(expected=wanted), 1e-6)
                after = [a for a in given.arguments if isinstance(a, np.ndarray)]
                assert all(np.array_equal(a, b) for a, b in zip(before, after))


def reversed_view(array, layout):
    """The elements of every axis from the last to the first, then turned back by its strides."""
    if not isinstance(array, np.ndarray):
        return array
    turn = (slice(None, None, -1),) * array.ndim
    return array[turn].copy()[turn]


def cut_out(array, layout):
    """Every second element of something larger, whose other elements are NaN or index -7."""
    if not isinstance(array, np.ndarray):
        return array
    larger = np.full([2 * n + 3 for n in array.shape], np.nan if array.dtype.kind == "f" else -7, array.dtype)
    view = larger[tuple(slice(2, 2 + 2 * n, 2) for n in array.shape)]
    view[...] = array
    return view


def foreign(array, layout):
    return array.astype(array.dtype.newbyteorder()) if isinstance(array, np.ndarray) else array


def unaligned(array, layout):
    if not isinstance(array, np.ndarray):
        return array
    raw = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    raw[...] = array
    return raw


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if not name.startswith("global")])
def test_images_without_a_batch(operation):
    for question in questions(operation, "float32")[::4]:
        sizes = [a.shape if isinstance(a, np.ndarray) else a for a in question.arguments]
        if sizes[0][0] == 0:
            continue
        given = [a[0] if isinstance(a, np.ndarray) else a[1:] for a in question.arguments]
        results = getattr(nc, operation)(*given, **question.options)
        results = results if isinstance(results, tuple) else (results,)
        agree(results, question._replace(expected=tuple(e[0] for e in question.expected)), 1e-6)


@pytest.mark.parametrize(("operation", "algorithm"), ENTRIES)
@pytest.mark.parametrize("empty", ["n", "c"])
def test_no_images_and_no_channels(operation, algorithm, empty):
    def without(shape):
        return (0, *shape[1:]) if empty == "n" else (shape[0], 0, *shape[2:])

    for question in questions(operation, "float32")[:2]:
        given = [a[:0] if empty == "n" else a[:, :0] for a in question.arguments if isinstance(a, np.ndarray)]
        given = [without(a) for a in question.arguments if not isinstance(a, np.ndarray)] + given
        if isinstance(question.options.get("weights"), np.ndarray):
            continue
        results = asked(operation, question._replace(arguments=tuple(given)), "first", algorithm)
        for actual, expected in zip(results or (), question.expected):
            assert actual.shape == without(expected.shape)


def test_lists_and_scalars_of_numpy():
    assert nc.max_pool1d([[[1, 5, 2, 3]]], [np.int64(2)], stride=np.array([2])).tolist() == [[[5, 3]]]
    assert nc.avg_pool1d([[[1.0, 5.0, 2.0, 3.0]]], 2, []).tolist() == [[[3.0, 2.5]]]


# dtypes


@pytest.mark.parametrize(("operation", "algorithm"), ENTRIES)
@pytest.mark.parametrize("dtype", [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)], ids=str)
def test_half_types_are_rounded_once(operation, algorithm, dtype):
    """Operands are rounded to begin with; the result is within half a unit in the last place of the oracle's."""
    unit = float(ml_dtypes.finfo(dtype).eps)
    chosen = ("stem", "pool_1d_padded", "pool_3d_padded", "channels_17")
    for question in questions(operation, "float32"):
        if question.name.split(",")[0].split(" ")[0] not in chosen or "p = " in question.name:
            continue
        half = [a.astype(dtype) if is_float(a) else a for a in question.arguments]
        wide = [a.astype(np.float32) if is_float(b) else a for a, b in zip(half, question.arguments)]
        wanted = asked(operation, question._replace(arguments=tuple(wide)), "first", algorithm)
        results = asked(operation, question._replace(arguments=tuple(half)), "first", algorithm)
        for actual, expected in zip(results or (), wanted or ()):
            assert actual.dtype == (dtype if is_float(expected) else np.int64), question.name
            error = np.abs(actual.astype(np.float64) - expected)
            bound = 0.501 * unit * np.abs(expected) + 1e-6 * question.scale
            assert (error <= bound).all(), question.name


def is_float(array) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "f"


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_norms_of_half_types(n, dtype):
    (case,) = (case for case in pool_cases(f"{n}d") if case.name in ("stem", "pool_1d_padded", "pool_3d_padded"))
    x = arrays(case)[0].astype(dtype)
    options = {key: value for key, value in window_options(case).items() if key != "kernel_size"}
    y = getattr(nc, f"lp_pool{n}d")(x, 2, case.kernel, **options)
    gradient = getattr(nc, f"lp_pool{n}d_input")(x, np.ones_like(y), 2, case.kernel, **options)
    wide = x.astype(np.float64)
    expected = ref.lp_pool(wide, 2, *positional(case)[:2], case.ceil_mode, padding=case.padding, dilation=case.dilation)
    unit = float(ml_dtypes.finfo(dtype).eps)
    np.testing.assert_allclose(y.astype(np.float64), expected, 0.501 * unit)
    ones = np.ones_like(expected)
    expected = ref.lp_pool_input(
        wide, 2, case.kernel, ones, case.stride, case.ceil_mode, padding=case.padding, dilation=case.dilation
    )
    np.testing.assert_allclose(gradient.astype(np.float64), expected, 0.501 * unit, 1e-6)
    assert y.dtype == gradient.dtype == np.dtype(dtype)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("algorithm", ["separable", "direct"])
def test_maxima_of_integers_are_exact(dtype, algorithm):
    edge = np.iinfo(dtype)
    x = np.random.default_rng(1).integers(edge.min, edge.max, (2, 9, 6, 7), dtype, endpoint=True)
    options = {"kernel_size": (3, 3), "stride": (2, 1), "padding": ((2, 0), (1, 1))}
    expected = ref.max_pool(x, *options.values())
    for places in (False, True) if dtype in ("int8", "uint64") else (True,):  # a kernel each
        question = Question(dtype, (x,), options | {"return_indices": places}, expected[: 1 + places])
        for layout in ("first", "last"):
            with nc.using(algorithm):
                results = ask("max_pool2d", question, layout)
            agree(results, question, 0)
            assert results[0].dtype == dtype


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("algorithm", ["separable", "direct"])
def test_means_of_integers_are_float64(dtype, algorithm):
    edge = np.iinfo(dtype)
    x = np.random.default_rng(1).integers(edge.min, edge.max, (2, 9, 6, 7), dtype, endpoint=True)
    with nc.using(algorithm):
        mean = nc.avg_pool2d(x, 2)
    assert mean.dtype == np.float64
    np.testing.assert_allclose(mean, ref.avg_pool(x, (2, 2)), 0, 1e-15 * np.abs(x.astype(float)).max())


@pytest.mark.parametrize("n", [1, 2, 3])
def test_norms_of_integers_are_float64(n):
    x = np.random.default_rng(1).integers(-99, 99, (2, 9, *(5, 6, 7)[:n]), np.int16)
    y = getattr(nc, f"lp_pool{n}d")(x, 2, 2)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, ref.lp_pool(x, 2, (2,) * n), 1e-14)
    gradient = getattr(nc, f"lp_pool{n}d_input")(x, np.ones(y.shape, np.int16), 2, 2)
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, ref.lp_pool_input(x, 2, (2,) * n, np.ones(y.shape)), 1e-14)
    for p in (math.inf, -math.inf):
        y = getattr(nc, f"lp_pool{n}d")(x, p, 2)
        assert y.dtype == np.float64
        np.testing.assert_array_equal(y, ref.lp_pool(x, p, (2,) * n))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_move_by_indices(dtype):
    x = np.random.default_rng(1).integers(0, 100, (2, 3, 4, 5), dtype)
    indices = np.random.default_rng(2).integers(0, 80, x.shape)
    up = nc.max_unpool2d(x, indices, 2)
    assert up.dtype == dtype
    np.testing.assert_array_equal(up, ref.max_unpool(x, indices, (8, 10)))
    back = nc.max_unpool2d_input(x.shape, indices.astype(np.uint8), up)
    np.testing.assert_array_equal(back, ref.max_unpool_input(indices, up))
    gradient = nc.max_pool2d_input(up.shape, indices, x)
    assert back.dtype == gradient.dtype == dtype
    np.testing.assert_array_equal(gradient, ref.max_pool_input(up.shape, indices, x).astype(dtype))


# NaN, infinity, ties


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("algorithm", ["separable", "direct"])
def test_ties_nan_and_infinity_in_maxima(dtype, algorithm):
    """The first of equal elements; the last NaN."""
    rng = np.random.default_rng(4)
    for case in pool_cases("2d") + pool_cases("3d"):
        x = rng.integers(-1, 2, case.x_shape).astype(dtype)
        x[rng.random(x.shape) < 0.05] = np.nan
        x[rng.random(x.shape) < 0.3] = -np.inf
        expected = ref.max_pool(x, *positional(case), case.dilation, case.ceil_mode)
        for layout, places in itertools.product(("first", "last"), (False, True)):
            question = Question(case.name, (x,), window_options(case, return_indices=places), expected[: 1 + places])
            with nc.using(algorithm):
                agree(ask(f"max_pool{len(case.kernel)}d", question, layout), question, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_windows_of_all_sizes_that_tile_the_image(dtype, threads, always_parallel):
    """Rows shorter and longer than vectors; the first of equal maxima, the last NaN, the same bits of averages."""
    rng = np.random.default_rng(5)
    for kernel, size in itertools.product(itertools.product(range(1, 5), repeat=2), ((3, 1), (2, 21))):
        x = rng.standard_normal((2, 3, kernel[0] * size[0], kernel[1] * size[1])).astype(dtype)
        ties = np.round(x)
        ties[rng.random(x.shape) < 0.1] = np.nan
        expected, mean = ref.max_pool(ties, kernel, kernel), ref.avg_pool(x, kernel, kernel)
        averages = []
        for number in (1, 2, 3):
            threads(number)
            found = nc.max_pool2d(ties, kernel, return_indices=True, algorithm="tiled")
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])
            np.testing.assert_array_equal(nc.max_pool2d(ties, kernel, algorithm="tiled"), expected[0])
            averages.append(nc.avg_pool2d(x, kernel, algorithm="tiled"))
            assert averages[-1].tobytes() == averages[0].tobytes()
        np.testing.assert_allclose(averages[0], mean, rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8", "int64"])
def test_rows_in_runs_by_phases_of_the_stride(dtype, threads, always_parallel):
    """Many short rows, segments of long ones, NaN: maxima as they are, the same bits of averages for any threads."""
    rng, dtype = np.random.default_rng(6), np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    shapes = ((2, 3, 5, 4), (1, 2, 23, 37), (1, 1, 3, 5000))
    for shape, options in itertools.product(shapes, ((3, 1, 1), (3, 2, 1), ((2, 4), (1, 3), (1, 2)), (2, 2, 0))):
        x = (9 * rng.standard_normal(shape)).astype(dtype)
        if dtype.kind != "i":
            x[rng.random(shape) < 0.02] = np.nan
        averages = []
        for number in (1, 2, 3):
            threads(number)
            with nc.using("phased"):
                averages.append(nc.avg_pool2d(x, *options))
                largest = nc.max_pool2d(x, *options)
            assert largest.dtype == dtype
            assert averages[-1].tobytes() == averages[0].tobytes()
            expected = nc.max_pool2d(x, *options, algorithm="direct")
            np.testing.assert_array_equal(largest.astype(np.float64), expected.astype(np.float64))
        mean = nc.avg_pool2d(x.astype(np.float64), *options, algorithm="direct")
        bound = {"f2": 2e-2, "V2": 2e-1, "f4": 1e-5}.get(f"{dtype.kind}{dtype.itemsize}", 1e-13)
        np.testing.assert_allclose(averages[0].astype(np.float64), mean, rtol=0, atol=bound)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("algorithm", ["separable", "direct"])
@pytest.mark.parametrize("layout", ["first", "last"])
def test_nan_and_infinity_stay_in_their_windows(value, algorithm, layout):
    for case in pool_cases("2d"):
        (x,) = arrays(case)
        if x.size == 0:
            continue
        x[0, 0, case.spatial[0] // 2, case.spatial[1] // 2] = value
        question = Question(case.name, (x,), window_options(case), (), np.abs(x[np.isfinite(x)]).max(initial=0))
        y = ref.avg_pool(x, *positional(case), case.ceil_mode, dilation=case.dilation)
        with nc.using(algorithm):
            agree(ask("avg_pool2d", question, layout), question._replace(expected=(y,)), 1e-6)


def test_a_window_without_any_position():
    x = np.arange(1.0, 5.0, dtype=np.float32).reshape(1, 1, 4)
    y, indices = nc.max_pool1d(x, 2, padding=((3, 0),), return_indices=True)
    assert y.tolist() == [[[-np.inf, 1.0, 3.0]]]
    assert indices.tolist() == [[[-1, 0, 2]]]
    assert nc.max_pool1d(x.astype(np.int8), 2, padding=((3, 0),)).tolist() == [[[-128, 1, 3]]]
    assert nc.max_pool1d_input(x.shape, indices, np.ones_like(y)).tolist() == [[[1.0, 0.0, 1.0, 0.0]]]
    for options in ({}, {"count_include_pad": False}):
        assert nc.avg_pool1d(x, 2, padding=((3, 0),), **options)[0, 0, 0] == 0
    assert nc.weighted_avg_pool1d(x, 2, padding=((3, 0),))[0, 0, 0] == 0
    assert nc.weighted_avg_pool1d(x, 2, padding=((3, 0),), weights=[1, 2])[0, 0, 0] == 0


def test_the_mean_of_equal_integers_is_exact():
    for k in (3, 7, 49):
        assert (nc.avg_pool1d(np.full((1, 2, 100), 5), k) == 5).all()
        assert (nc.avg_pool1d(np.full((1, 2, 100), 5.0), k) == 5).all()


# options


@pytest.mark.parametrize("operation", ["max_pool2d", "avg_pool2d", "lp_pool2d", "weighted_avg_pool2d"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (2, 2), ((2, 5), (3, 2)), (1, 2)])
@pytest.mark.parametrize("name", ["same", "same_lower", "valid"])
def test_named_paddings(operation, kernel, stride, name):
    (x,) = arrays(pool_cases("2d")[0])
    x = np.random.default_rng(0).standard_normal((1, 2, 8, 11)).astype(np.float32)
    more = (2,) if operation == "lp_pool2d" else ()
    y = getattr(nc, operation)(x, *more, kernel, stride, padding=name)
    kernel, stride = np.broadcast_to(kernel, 2).tolist(), np.broadcast_to(stride, 2).tolist()
    pairs = []
    for n, k, s in zip(x.shape[2:], kernel, stride):
        total = 0 if name == "valid" else max((math.ceil(n / s) - 1) * s + k - n, 0)
        pairs.append((total // 2, total - total // 2) if name == "same" else (total - total // 2, total // 2))
    np.testing.assert_array_equal(y, getattr(nc, operation)(x, *more, kernel, stride, padding=pairs))
    if name != "valid":
        assert y.shape[2:] == tuple(math.ceil(n / s) for n, s in zip(x.shape[2:], stride))


def test_output_size_keeps_where_it_is_none():
    x = np.random.default_rng(0).standard_normal((1, 2, 8, 11))
    assert nc.adaptive_avg_pool2d(x, (None, 3)).shape == (1, 2, 8, 3)
    assert nc.adaptive_max_pool2d(x, (2, None), True)[1].shape == (1, 2, 2, 11)
    np.testing.assert_array_equal(nc.adaptive_max_pool2d(x, None), x)


def test_adaptive_to_nothing():
    x = np.ones((1, 2, 8, 11))
    assert nc.adaptive_avg_pool2d(x, (0, 2)).shape == (1, 2, 0, 2)
    assert (nc.adaptive_avg_pool2d_input(x.shape, np.ones((1, 2, 0, 2))) == 0).all()
    y, indices = nc.adaptive_max_pool2d(x, (0, 2), True)
    assert (nc.adaptive_max_pool2d_input(x.shape, indices, y) == 0).all()


@pytest.mark.parametrize("ndim", [1, 2, 3, 4, 5])
def test_global_pooling_of_any_rank(ndim):
    x = np.random.default_rng(0).standard_normal((2, 9, *range(2, 2 + ndim)))
    axes, ones = tuple(range(2, 2 + ndim)), (1,) * ndim
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    for function, expected in ((nc.global_avg_pool, x.mean(axes)), (nc.global_max_pool, x.max(axes))):
        np.testing.assert_allclose(function(x), expected.reshape(2, 9, *ones), 1e-13, 1e-15)
        np.testing.assert_allclose(function(x[:, ::-1])[:, ::-1], expected.reshape(2, 9, *ones), 1e-13, 1e-15)
        y = function(last, data_format="channels_last")
        np.testing.assert_allclose(y, expected.reshape(2, *ones, 9), 1e-13, 1e-15)
    grad = np.arange(18.0).reshape(2, 9, *ones)
    np.testing.assert_allclose(nc.global_avg_pool_input(x.shape, grad) * x[0, 0].size, np.broadcast_to(grad, x.shape))
    np.testing.assert_array_equal(
        nc.global_max_pool_input(x, grad), np.where(x == x.max(axes, keepdims=True), grad, 0)
    )  # fmt: skip


def test_global_max_gradient_goes_to_one_of_equals():
    gradient = nc.global_max_pool_input(np.ones((1, 1, 2, 3)), np.full((1, 1, 1, 1), 6.0))
    assert gradient.ravel().tolist() == [6, 0, 0, 0, 0, 0]


def test_of_equal_indices_the_last_wins():
    x, indices = np.arange(1.0, 9.0).reshape(1, 2, 4), np.array([[[0, 7, 0, 7], [3, 3, 3, 3]]])
    for layout in ("first", "last"):
        question = Question("equal", (x, indices), {"kernel_size": 2}, (ref.max_unpool(x, indices, (8,)),))
        agree(ask("max_unpool1d", question, layout), question, 0)


def test_unpooling_undoes_pooling():
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 9))
    y, indices = nc.max_pool2d(x, 2, return_indices=True)
    up = nc.max_unpool2d(y, indices, 2, output_size=x.shape)
    np.testing.assert_array_equal(up[up != 0], x[up != 0])
    np.testing.assert_array_equal(nc.max_pool2d(np.where(up == 0, -np.inf, up), 2), y)
