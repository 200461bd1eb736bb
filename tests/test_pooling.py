"""Every algorithm of every pooling and its gradient against the oracle; layouts, dtypes, threads, bad arguments."""

import functools
import itertools
import math
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from passes import arranged

import numconv as nc
from numconv.kernels.cpu import windows
from numconv.kernels.cpu.tables import TABLES
from numconv.lab import reference as ref
from numconv.lab.cases import arrays, pool_cases
from numconv.problem import PoolProblem, spatial_axes

OPERATIONS = tuple(sorted(name for name in TABLES if "pool" in name))
ENTRIES = [(operation, algorithm.name) for operation in OPERATIONS for algorithm in TABLES[operation]]
AVERAGES = ({}, {"count_include_pad": False}, {"divisor_override": -3})
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


class Question(NamedTuple):
    """Arguments with channels first, where a tuple is the shape of an input; the oracle's answers; an error's scale."""

    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    expected: tuple[np.ndarray, ...]
    scale: float = 1.0


def ask(operation: str, question: Question, layout: str = "first", **more) -> tuple[np.ndarray, ...]:
    """The public function on the arguments arranged; its results channels first."""
    last = layout.startswith("last")
    arguments = []
    for argument in question.arguments:
        if isinstance(argument, np.ndarray):
            arguments.append(arranged(argument, layout))
        else:
            n, c, *spatial = argument
            arguments.append((n, *spatial, c) if last else argument)
    options = dict(question.options, data_format="channels_last" if last else None, **more)
    results = getattr(nc, operation)(*arguments, **options)
    results = results if isinstance(results, tuple) else (results,)
    assert all(array.flags.c_contiguous and array.flags.writeable for array in results)
    return tuple(np.moveaxis(array, -1, 1) if last else array for array in results)


def asked(operation: str, question: Question, layout: str, algorithm: str) -> tuple[np.ndarray, ...] | None:
    """What one algorithm answers; None where it rejects the problem."""
    with nc.using(algorithm):
        try:
            return ask(operation, question, layout)
        except ValueError as error:
            if "rejects this problem" not in str(error):
                raise
            return None


def agree(results, question: Question, tolerance: float) -> None:
    """Within `tolerance` of the scale, NaN and infinity in the same places; integers and shapes exactly."""
    assert len(results) == len(question.expected)
    for actual, expected in zip(results, question.expected):
        assert actual.shape == expected.shape, question.name
        if expected.dtype.kind in "iu":
            np.testing.assert_array_equal(actual, expected, question.name)
        else:
            bound = tolerance * question.scale
            np.testing.assert_allclose(actual.astype(np.float64), expected, 0, bound, err_msg=question.name)


def read_only(question: Question) -> Question:
    for array in question.arguments:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return question


def gradient_of(array: np.ndarray, dtype) -> np.ndarray:
    rng = np.random.default_rng(3)
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 9, array.shape, dtype)
    return rng.standard_normal(array.shape).astype(dtype)


def gaussian(kernel) -> np.ndarray:
    """exp(-d^2 / 2), d the distance from the middle in quarters of the kernel."""
    axes = np.meshgrid(*((np.arange(k) - (k - 1) / 2) / (k / 4) for k in kernel), indexing="ij")
    return np.exp(-sum(axis**2 for axis in axes) / 2)


@functools.cache
def questions(operation: str, dtype: str) -> tuple[Question, ...]:
    """All named cases that an operation can be asked of."""
    family = operation.removesuffix("_input").rstrip("123d").rstrip("_")
    cases = pool_cases() if family.startswith("global") else pool_cases(f"{spatial_axes(operation)}d")
    make = globals()[f"_{family}"]
    backward = operation.endswith("_input")
    return tuple(read_only(question) for case in cases for question in make(case, np.dtype(dtype), backward))


def _windows(case, **more):
    return dict(kernel_size=case.kernel, stride=case.stride, padding=case.padding, dilation=case.dilation,
                ceil_mode=case.ceil_mode, **more)  # fmt: skip


def _oracle(case):
    return case.kernel, case.stride, case.padding


def _max_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    expected = ref.max_pool(x, *_oracle(case), case.dilation, case.ceil_mode)
    if not backward:
        yield Question(case.name, (x,), _windows(case), expected[:1])
        yield Question(f"{case.name}, with indices", (x,), _windows(case, return_indices=True), expected)
        return
    grad = gradient_of(expected[0], dtype)
    scale = ref.max_pool_input(x.shape, expected[1], np.abs(grad)).max(initial=0)
    yield Question(
        case.name, (x.shape, expected[1], grad), {}, (ref.max_pool_input(x.shape, expected[1], grad),), scale
    )


def _avg_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    for more in AVERAGES:
        options = (*_oracle(case), case.ceil_mode), dict(more, dilation=case.dilation)
        y = ref.avg_pool(x, *options[0], **options[1])
        oracle, given = functools.partial(ref.avg_pool), (x,)
        if backward:
            grad = gradient_of(y, dtype)
            oracle, given = functools.partial(ref.avg_pool_input, x.shape), (grad,)
            y = oracle(grad, *options[0], **options[1])
        scale = np.abs(oracle(np.abs(given[0]), *options[0], **options[1])).max(initial=0)
        arguments = (x.shape, *given) if backward else given
        yield Question(f"{case.name}, {more}", arguments, _windows(case, **more), (y,), scale)


def _lp_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    for p in (1, 2, 3, 2.5, math.inf, -math.inf):
        given = np.abs(x) if p == 2.5 else x
        geometry = {"padding": case.padding, "dilation": case.dilation}
        y = ref.lp_pool(given, p, case.kernel, case.stride, case.ceil_mode, **geometry)
        arguments = (given,)
        if backward:
            # An odd norm of a sum near zero magnifies what is lost in the sum.
            given = np.abs(x) if p in (1, 3) else given
            grad = gradient_of(y, dtype)
            y = ref.lp_pool_input(given, p, case.kernel, grad, case.stride, case.ceil_mode, **geometry)
            arguments = given, grad
        scale = np.abs(y[np.isfinite(y)]).max(initial=0)
        yield Question(f"{case.name}, p = {p}", arguments, _windows(case, norm_type=p), (y,), scale)


def _weighted_avg_pool(case, dtype, backward):
    if case.ceil_mode or set(case.dilation) != {1}:
        return
    (x,) = arrays(case, dtype)
    for given in ("gaussian", np.random.default_rng(5).random(case.kernel)):
        weights = gaussian(case.kernel) if isinstance(given, str) else given
        y = ref.weighted_avg_pool(x, *_oracle(case), weights=weights)
        arguments, scale = (x,), ref.weighted_avg_pool(np.abs(x), *_oracle(case), weights=weights).max(initial=0)
        if backward:
            grad = gradient_of(y, dtype)
            arguments = x.shape, grad
            y = ref.weighted_avg_pool_input(x.shape, grad, *_oracle(case), weights=weights)
            scale = ref.weighted_avg_pool_input(x.shape, np.abs(grad), *_oracle(case), weights=weights).max(initial=0)
        options = {"kernel_size": case.kernel, "stride": case.stride, "padding": case.padding, "weights": given}
        yield Question(f"{case.name}, {type(given).__name__}", arguments, options, (y,), scale)


def _output_sizes(case):
    """Ones, sizes that divide and that do not, more than there are, and none."""
    return {(1,) * len(case.spatial), tuple(-(-n // 2) for n in case.spatial), tuple(n // 3 + 1 for n in case.spatial),
            tuple(n + 2 for n in case.spatial)}  # fmt: skip


def _adaptive_avg_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    for out in _output_sizes(case) if "large" not in case.tags else [(7, 7)]:
        y = ref.adaptive_avg_pool(x, out)
        scale = np.abs(x).max(initial=0)
        if not backward:
            yield Question(f"{case.name} to {out}", (x,), {"output_size": out}, (y,), scale)
            continue
        grad = gradient_of(y, dtype)
        y, scale = (ref.adaptive_avg_pool_input(x.shape, g) for g in (grad, np.abs(grad)))
        yield Question(f"{case.name} from {out}", (x.shape, grad), {}, (y,), scale.max(initial=0))


def _adaptive_max_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    for out in _output_sizes(case) if "large" not in case.tags else [(7, 7)]:
        expected = ref.adaptive_max_pool(x, out)
        if not backward:
            yield Question(f"{case.name} to {out}", (x,), {"output_size": out}, expected[:1])
            options = {"output_size": out, "return_indices": True}
            yield Question(f"{case.name} to {out}, with indices", (x,), options, expected)
            continue
        grad = gradient_of(expected[0], dtype)
        y, scale = (ref.adaptive_max_pool_input(x.shape, expected[1], g) for g in (grad, np.abs(grad)))
        yield Question(f"{case.name} from {out}", (x.shape, expected[1], grad), {}, (y,), scale.max(initial=0))


def _global_avg_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    y = ref.adaptive_avg_pool(x, (1,) * len(case.spatial))
    if not backward:
        yield Question(case.name, (x,), {}, (y,), np.abs(x).max(initial=0))
        return
    grad = gradient_of(y, dtype)
    yield Question(case.name, (x.shape, grad), {}, (ref.adaptive_avg_pool_input(x.shape, grad),))


def _global_max_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    y, indices = ref.adaptive_max_pool(x, (1,) * len(case.spatial))
    if not backward:
        yield Question(case.name, (x,), {}, (y,))
        return
    grad = gradient_of(y, dtype)
    yield Question(case.name, (x, grad), {}, (ref.adaptive_max_pool_input(x.shape, indices, grad),))


def _max_unpool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    if max(case.spatial) > 20:
        return
    for wider in (0, 1):
        usual = [(n - 1) * s + k - sum(p) for n, k, s, p in zip(case.spatial, case.kernel, case.stride, case.padding)]
        plane = tuple(u + wider * (s > 1) for u, s in zip(usual, case.stride))
        indices = np.random.default_rng(11).integers(0, math.prod(plane), x.shape)  # some are equal
        if not backward:
            options = {"kernel_size": case.kernel, "stride": case.stride, "padding": case.padding}
            options["output_size"] = plane
            yield Question(f"{case.name} to {plane}", (x, indices), options, (ref.max_unpool(x, indices, plane),))
            continue
        grad = gradient_of(np.empty((*x.shape[:2], *plane)), dtype)
        arguments = x.shape, indices, grad
        yield Question(f"{case.name} from {plane}", arguments, {}, (ref.max_unpool_input(indices, grad),))


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
    options = {key: value for key, value in _windows(case).items() if key != "kernel_size"}
    y = getattr(nc, f"lp_pool{n}d")(x, 2, case.kernel, **options)
    gradient = getattr(nc, f"lp_pool{n}d_input")(x, np.ones_like(y), 2, case.kernel, **options)
    wide = x.astype(np.float64)
    expected = ref.lp_pool(wide, 2, *_oracle(case)[:2], case.ceil_mode, padding=case.padding, dilation=case.dilation)
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
        expected = ref.max_pool(x, *_oracle(case), case.dilation, case.ceil_mode)
        for layout, places in itertools.product(("first", "last"), (False, True)):
            question = Question(case.name, (x,), _windows(case, return_indices=places), expected[: 1 + places])
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
        question = Question(case.name, (x,), _windows(case), (), np.abs(x[np.isfinite(x)]).max(initial=0))
        y = ref.avg_pool(x, *_oracle(case), case.ceil_mode, dilation=case.dilation)
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


# long, wide, parallel


@pytest.mark.parametrize("operation", ["max_pool1d", "avg_pool1d", "avg_pool1d_input", "lp_pool1d"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (130, 7), (1500, 400), (2500, 1)])
@pytest.mark.parametrize("channels", [1, 70])
def test_rows_wider_than_a_segment(operation, kernel, stride, channels):
    """More positions than a segment has, and windows wider than the buffer, which only `direct` takes."""
    x = np.random.default_rng(0).standard_normal((1, channels, 3001)).astype(np.float32)
    slices = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), kernel, axis=2)[:, :, ::stride]
    options, layouts = {"kernel_size": kernel, "stride": stride}, ("first", "last")
    if operation == "lp_pool1d":
        question = Question("lp", (x,), options | {"norm_type": 2}, (np.sqrt((slices**2).sum(-1)),), kernel**0.5)
    elif operation == "avg_pool1d":
        question = Question("avg", (x,), options, (slices.mean(-1),))
    elif operation == "max_pool1d":
        found = slices.argmax(-1) + stride * np.arange(slices.shape[2])
        question = Question("max", (x,), options | {"return_indices": True}, (slices.max(-1), found))
    else:
        grad = np.random.default_rng(1).standard_normal(slices.shape[:3]).astype(np.float32)
        total = np.zeros((1, channels, 3002))
        for o in range(grad.shape[2]):
            total[:, :, o * stride] += grad[:, :, o] / kernel
            total[:, :, o * stride + kernel] -= grad[:, :, o] / kernel
        question = Question("gradient", (x.shape, grad), options, (total.cumsum(-1)[:, :, :-1],))
    for algorithm, layout in itertools.product(("separable", "direct"), layouts):
        with nc.using(algorithm):
            if algorithm == "separable" and kernel == 2500 and operation != "avg_pool1d_input":
                with pytest.raises(ValueError, match="wider than the buffer"):
                    ask(operation, question, layout)
            else:
                agree(ask(operation, question, layout), question, 1e-6)


@pytest.mark.parametrize("operation", ["max_pool2d", "avg_pool2d", "avg_pool2d_input", "weighted_avg_pool2d_input"])
def test_long_axes_are_done_in_parts(operation, monkeypatch):
    monkeypatch.setattr(windows, "LONGEST", 9)
    windows._whole.cache_clear()
    for question in questions(operation, "float32")[::4]:
        given = isinstance(question.options.get("weights"), np.ndarray)
        for layout, algorithm in itertools.product(("first", "last"), ("separable", "direct")):
            with nc.using("direct" if given else algorithm):
                agree(ask(operation, question, layout), question, 1e-6)
    windows._whole.cache_clear()


@pytest.mark.parametrize("operation", ["lp_pool2d_input", "max_pool2d_input"])
@pytest.mark.parametrize("limit", [0, 5_000, 100_000])
def test_gradients_in_pieces_where_workspace_is_scarce(operation, limit, workspace_limit):
    workspace_limit(limit)
    lp = operation == "lp_pool2d_input"
    for question in questions(operation, "float32")[::5]:
        given = question.arguments if lp else (*question.arguments[:-1], question.arguments[-1].astype(np.float16))
        for layout in ("first", "last"):
            results = ask(operation, question._replace(arguments=given), layout)
            agree(results, question, 1e-6 if lp else 1e-3)


@pytest.mark.parametrize(("operation", "algorithm"), ENTRIES)
def test_the_same_bits_with_any_number_of_threads(operation, algorithm, threads, always_parallel):
    for question in questions(operation, "float32"):
        if not question.name.startswith(("large", "pool_1d_padded", "pool_1d_tiled", "pool_3d_padded")):
            continue
        for layout in ("first", "last"):
            threads(1)
            wanted = asked(operation, question, layout, algorithm)
            for number in (2, 3) if wanted else ():
                threads(number)
                for actual, expected in zip(asked(operation, question, layout, algorithm), wanted):
                    assert actual.tobytes() == expected.tobytes(), question.name


@pytest.mark.parametrize(("operation", "algorithm"), ENTRIES)
def test_nothing_is_written_beside_the_result(operation, algorithm, monkeypatch):
    """Results lie between bytes that must stay as they are."""
    fences = []

    def between(make):
        def allocate(shape, dtype=float):
            size, kind = int(np.prod(shape)), np.dtype(dtype)
            raw = np.full(size * kind.itemsize + 512, 0xA5, np.uint8)
            fences.append(raw)
            inside = raw[256:-256].view(kind).reshape(shape)
            inside[...] = make(shape, kind)
            return inside

        return allocate

    from numconv.ops import pooling_call

    class Fenced:
        empty, zeros = staticmethod(between(np.empty)), staticmethod(between(np.zeros))

        def __getattr__(self, name):
            return getattr(np, name)

    monkeypatch.setattr(pooling_call, "np", Fenced())
    for question in questions(operation, "float32")[:: 1 if algorithm == "tiled" else 3]:
        for layout in ("first", "last"):
            results = asked(operation, question, layout, algorithm)
            if results is not None:
                agree(results, question, 1e-6)
    assert fences
    assert all((raw[:256] == 0xA5).all() and (raw[-256:] == 0xA5).all() for raw in fences)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_repeated_calls_give_what_first_calls_give(operation):
    """The kernels of the first call, launched again for arrays that lie elsewhere."""
    for question in questions(operation, "float32")[::5]:
        nc.options.version += 1
        wanted = ask(operation, question)
        moved = [array.copy() if isinstance(array, np.ndarray) else array for array in question.arguments]
        for _ in range(2):
            for actual, expected in zip(ask(operation, question._replace(arguments=tuple(moved))), wanted):
                assert actual.tobytes() == expected.tobytes(), question.name
                assert not np.shares_memory(actual, expected)


@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_an_index_outside_is_seen_in_repeated_calls(layout):
    grad = np.ones((1, 2, 2, 3) if layout else (1, 3, 2, 2), np.float32)
    size = (1, 4, 4, 3) if layout else (1, 3, 4, 4)
    for index, wrong in itertools.product((5, -1, 16, -2, 2**40, 7), (0, 11)):
        indices = np.zeros(grad.shape, np.int64)
        indices.flat[wrong] = index
        if index in (16, -2, 2**40):
            with pytest.raises(ValueError, match=f"indices must be from -1 to 15, got {index}"):
                nc.max_pool2d_input(size, indices, grad, data_format=layout)
        else:
            assert nc.max_pool2d_input(size, indices, grad, data_format=layout).sum() == 12 - (index == -1)
        if not 0 <= index < 16:
            with pytest.raises(ValueError, match=f"indices must be from 0 to 15, got {index}"):
                nc.max_unpool2d(grad, indices, 2, data_format=layout)


# choice


def test_choice():
    def chosen(operation, shape, **options):
        return nc.algorithm.select(PoolProblem.make(operation, shape, **options)).name

    for operation in ("max_pool2d", "avg_pool2d"):
        assert chosen(operation, (1, 64, 112, 112), kernel_size=3, stride=2, padding=1) == "phased"
    assert chosen("max_pool2d", (1, 112, 112, 64), kernel_size=3, stride=2, data_format="NHWC") == "separable"
    assert chosen("avg_pool2d", (1, 56, 56, 64), kernel_size=2, data_format="NHWC") == "separable"
    for operation in ("avg_pool2d", "avg_pool2d_input", "max_pool2d"):
        assert chosen(operation, (1, 64, 112, 112), kernel_size=2) == "tiled"
        assert chosen(operation, (1, 64, 113, 112), kernel_size=2) != "tiled"  # a row is left over
    assert chosen("global_avg_pool", (1, 2048, 49)) == "direct"


@pytest.mark.parametrize(("operation", "algorithm"), [entry for entry in ENTRIES if entry[0].endswith("pool2d")])
def test_takes_the_cases_it_names(operation, algorithm):
    (entry,) = (entry for entry in TABLES[operation] if entry.name == algorithm)
    for case in pool_cases():
        if case.name in entry.accepts and not operation.startswith(("adaptive", "weighted")):
            n = len(case.kernel)
            options = _windows(case, norm_type=2 if operation.startswith("lp") else None)
            problem = PoolProblem.make(operation.replace("2d", f"{n}d"), case.x_shape, **options)
            assert entry.rejects(problem) is None, case.name


def test_a_name_that_is_not_there():
    x = np.ones((1, 1, 4, 4), np.float32)
    with pytest.raises(ValueError, match="'fastest'"):
        nc.max_pool2d(x, 2, algorithm="fastest")


# errors

X = np.ones((1, 2, 6, 6), np.float32)
I = np.zeros((1, 2, 3, 3), np.int64)  # noqa: E741
G = np.ones((1, 2, 3, 3), np.float32)
BAD: list[tuple[str, Any, type[Exception], list[str]]] = [
    ("rank", lambda: nc.max_pool2d(X[0, 0], 2), ValueError, ["x", "4 axes", "(6, 6)"]),
    ("rank above", lambda: nc.avg_pool1d(X, 2), ValueError, ["x", "3 axes", "(1, 2, 6, 6)"]),
    ("no space", lambda: nc.max_pool2d(X[:, :, :0], 1), ValueError, ["x", "spatial", "(1, 2, 0, 6)"]),
    ("bool", lambda: nc.max_pool2d(X > 0, 2), TypeError, ["x", "bool"]),
    ("complex", lambda: nc.avg_pool2d(X.astype(complex), 2), TypeError, ["x", "complex128"]),
    ("strings", lambda: nc.avg_pool2d(np.array([[["a"]]]), 1), TypeError, ["x", "<U1"]),
    ("kernel 0", lambda: nc.max_pool2d(X, 0), ValueError, ["kernel_size", "0"]),
    ("kernel -1", lambda: nc.max_pool2d(X, (2, -1)), ValueError, ["kernel_size", "-1"]),
    ("kernel float", lambda: nc.max_pool2d(X, 2.0), TypeError, ["kernel_size", "2.0"]),
    ("kernel bool", lambda: nc.max_pool2d(X, True), TypeError, ["kernel_size", "True"]),
    ("kernel too long", lambda: nc.max_pool2d(X, (2, 2, 2)), ValueError, ["kernel_size", "(2, 2, 2)"]),
    ("kernel too large", lambda: nc.max_pool2d(X, 7), ValueError, ["kernel_size", "(7, 7)", "(6, 6)"]),
    ("kernel dilated", lambda: nc.max_pool2d(X, 3, dilation=3), ValueError, ["kernel_size", "dilation (3, 3)"]),
    ("kernel huge", lambda: nc.avg_pool2d(X, 2**40), ValueError, ["kernel_size", str(2**40)]),
    ("stride 0", lambda: nc.avg_pool2d(X, 2, 0), ValueError, ["stride", "0"]),
    ("stride text", lambda: nc.avg_pool2d(X, 2, "2"), TypeError, ["stride", "'2'"]),
    ("stride huge", lambda: nc.avg_pool2d(X, 2, 2**70), ValueError, ["stride", str(2**70)]),
    ("dilation 0", lambda: nc.max_pool2d(X, 2, dilation=0), ValueError, ["dilation", "0"]),
    ("padding -1", lambda: nc.max_pool2d(X, 2, padding=-1), ValueError, ["padding", "-1"]),
    ("padding 2", lambda: nc.max_pool2d(X, 3, padding=2), ValueError, ["padding", "half", "(2, 2)", "(3, 3)"]),
    ("padding name", lambda: nc.max_pool2d(X, 2, padding="some"), ValueError, ["padding", "'some'"]),
    ("padding pairs", lambda: nc.max_pool2d(X, 2, padding=((1, 1),) * 3), ValueError, ["padding", "2 (before, after)"]),
    ("divisor 0", lambda: nc.avg_pool2d(X, 2, divisor_override=0), ValueError, ["divisor_override", "0"]),
    ("divisor 1.5", lambda: nc.avg_pool2d(X, 2, divisor_override=1.5), TypeError, ["divisor_override", "1.5"]),
    ("norm 0", lambda: nc.lp_pool2d(X, 0, 2), ValueError, ["norm_type", "0"]),
    ("norm nan", lambda: nc.lp_pool2d(X, math.nan, 2), ValueError, ["norm_type", "nan"]),
    ("norm text", lambda: nc.lp_pool2d(X, "2", 2), TypeError, ["norm_type", "'2'"]),
    ("weights name", lambda: nc.weighted_avg_pool2d(X, 2, weights="box"), ValueError, ["weights", "'box'"]),
    ("weights none", lambda: nc.weighted_avg_pool2d(X, 2, weights=None), ValueError, ["weights", "None"]),
    ("weights shape", lambda: nc.weighted_avg_pool2d(X, 2, weights=[1, 2]), ValueError, ["weights", "(2, 2)", "(2,)"]),
    ("weights bool", lambda: nc.weighted_avg_pool2d(X, 1, weights=[[True]]), TypeError, ["weights", "bool"]),
    ("format", lambda: nc.max_pool2d(X, 2, data_format="NLC"), ValueError, ["data_format", "'NLC'", "NHWC"]),
    ("output size", lambda: nc.adaptive_avg_pool2d(X, -1), ValueError, ["output_size", "-1"]),
    ("output size ()", lambda: nc.adaptive_max_pool2d(X, ()), ValueError, ["output_size", "()"]),
    ("output size 1.5", lambda: nc.adaptive_max_pool2d(X, (1.5, 2)), TypeError, ["output_size", "1.5"]),
    ("global", lambda: nc.global_avg_pool(X[0, 0]), ValueError, ["x", "three", "(6, 6)"]),
    (
        "global format",
        lambda: nc.global_avg_pool(X[None, None], data_format="NHWC"),
        ValueError,
        ["data_format", "NHWC"],
    ),
    ("unpool shape", lambda: nc.max_unpool2d(G, I[:, :1], 2), ValueError, ["indices", "(1, 2, 3, 3)", "(1, 1, 3, 3)"]),
    ("unpool float", lambda: nc.max_unpool2d(G, I * 1.0, 2), TypeError, ["indices", "float64"]),
    ("unpool 36", lambda: nc.max_unpool2d(G, I + 36, 2), ValueError, ["indices", "35", "36"]),
    ("unpool -1", lambda: nc.max_unpool2d(G, I - 1, 2), ValueError, ["indices", "-1"]),
    (
        "unpool size",
        lambda: nc.max_unpool2d(G, I, 2, output_size=(8, 6)),
        ValueError,
        ["output_size", "(6, 6)", "(8, 6)"],
    ),
    ("unpool rank", lambda: nc.max_unpool2d(G, I, 2, output_size=(6,) * 5), ValueError, ["output_size"]),
    ("unpool none", lambda: nc.max_unpool2d(G, I, 1, padding=2), ValueError, ["padding", "leaves no output"]),
    ("max gradient", lambda: nc.max_pool2d_input(X.shape, I + 36, G), ValueError, ["indices", "35", "36"]),
    ("max gradient -2", lambda: nc.max_pool2d_input(X.shape, I - 2, G), ValueError, ["indices", "-2"]),
    ("max gradient n", lambda: nc.max_pool2d_input((2, 2, 6, 6), I, G), ValueError, ["grad_output", "(1, 2, 3, 3)"]),
    ("max gradient rank", lambda: nc.max_pool2d_input(X.shape, I[0], G[0]), ValueError, ["grad_output", "axes"]),
    ("size text", lambda: nc.max_pool2d_input("abcd", I, G), TypeError, ["input_size", "'abcd'"]),
    ("size float", lambda: nc.avg_pool2d_input((1, 2, 6.0, 6), G, 2), TypeError, ["input_size", "6.0"]),
    ("size -1", lambda: nc.avg_pool2d_input((1, 2, -6, 6), G, 2), ValueError, ["input_size", "-6"]),
    ("avg gradient", lambda: nc.avg_pool2d_input(X.shape, X, 2), ValueError, ["grad_output", "(1, 2, 3, 3)"]),
    ("lp gradient", lambda: nc.lp_pool2d_input(X, X, 2, 2), ValueError, ["grad_output", "(1, 2, 3, 3)"]),
    ("lp gradient bool", lambda: nc.lp_pool2d_input(X, G > 0, 2, 2), TypeError, ["grad_output", "bool"]),
    ("adaptive", lambda: nc.adaptive_avg_pool2d_input(X.shape, G[:, :1]), ValueError, ["grad_output", "(1, 1, 3, 3)"]),
    ("global gradient", lambda: nc.global_avg_pool_input(X.shape, G), ValueError, ["grad_output", "(1, 2, 1, 1)"]),
    ("global max", lambda: nc.global_max_pool_input(X, G), ValueError, ["grad_output", "(1, 2, 1, 1)"]),
    ("unpool gradient", lambda: nc.max_unpool2d_input(I.shape, I + 36, X), ValueError, ["indices", "35", "36"]),
    ("unpool gradient n", lambda: nc.max_unpool2d_input(I.shape, I, X[:, :1]), ValueError, ["grad_output"]),
]


@pytest.mark.parametrize(("call", "kind", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_arguments(call, kind, words):
    for _ in range(2):  # a refused call is not remembered as a good one
        with pytest.raises(kind) as caught:
            call()
        assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_good_call_does_not_open_the_door_to_a_bad_one():
    nc.max_pool2d(X, 2)
    with pytest.raises(TypeError, match="kernel_size"):
        nc.max_pool2d(X, 2.0)
    nc.max_pool2d(X, 1)
    with pytest.raises(TypeError, match="kernel_size"):
        nc.max_pool2d(X, True)
