"""Every algorithm of every pooling and its gradient on the named small cases in the simulator, against the oracle."""

import functools
import math

import numpy as np
import poolings
import pytest
from gpu.elsewhere import arranged
from passes import LAYOUTS
from poolings import Question, agree, questions

import numconv as nc
from numconv.algorithm import table
from numconv.lab import reference as ref
from numconv.lab.cases import PoolCase

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv.kernels.cuda import memory, unpooling, windows  # noqa: E402
from numconv.kernels.cuda.tables import TABLES  # noqa: E402
from numconv.problem import PoolProblem, spatial_axes  # noqa: E402

OPERATIONS = sorted(name for name in TABLES if "pool" in name)
ALL = [(operation, algorithm.name) for operation in OPERATIONS for algorithm in TABLES[operation]]
MOST = 270  # elements that are written, and read: each takes 10 to 100 us
# Of the named cases with channels by fours all are larger.
FOURS = (
    PoolCase("four_1d", 2, 4, (9,), (3,), (2,), ((1, 1),), (1,), False, frozenset()),
    PoolCase("eight_padded", 1, 8, (5, 4), (3, 3), (2, 1), ((1, 1), (2, 0)), (1, 1), False, frozenset()),
    PoolCase("four_ceil_dilated", 1, 4, (6, 5), (2, 2), (3, 3), ((1, 1), (1, 1)), (2, 2), True, frozenset()),
    PoolCase("twelve_whole", 1, 12, (3, 4), (3, 4), (3, 4), ((0, 0), (0, 0)), (1, 1), False, frozenset()),
    PoolCase("four_3d", 1, 4, (3, 2, 3), (2, 2, 2), (1, 1, 2), ((0, 1), (1, 0), (0, 0)), (1, 1, 1), False, frozenset()),
)  # fmt: skip


def small(question: Question) -> bool:
    sizes = [math.prod(a.shape if isinstance(a, np.ndarray) else a) for a in (*question.arguments, *question.expected)]
    return max(sizes) <= MOST


def on_device(question: Question, layout: str, dtype=None) -> list:
    last, given = LAYOUTS[layout][0], []
    for argument in question.arguments:
        if isinstance(argument, np.ndarray):
            array = argument.astype(dtype) if dtype is not None and argument.dtype.kind == "f" else argument
            given.append(arranged(array, layout))
        else:
            n, c, *spatial = argument
            given.append((n, *spatial, c) if last else argument)
    return given


def ask(operation: str, question: Question, layout: str = "first", dtype=None, **more) -> tuple[np.ndarray, ...]:
    """The public function on the arguments, copied to the device; its results on the host, channels first."""
    last = LAYOUTS[layout][0]
    options = dict(question.options, data_format="channels_last" if last else None, **more)
    results = getattr(nc, operation)(*on_device(question, layout, dtype), **options)
    results = results if isinstance(results, tuple) else (results,)
    assert all(isinstance(array, memory.array_type()) for array in results)
    results = [nc.cuda.to_host(array) for array in results]
    return tuple(np.moveaxis(array, -1, 1) if last else array for array in results)


@functools.cache
def chosen(operation: str) -> list[Question]:
    """Of the small questions each sixth, and those whose names tell of an edge; then those of channels by fours."""
    edges = ("ceil", "asymmetric", "dilated", "3d", "no_images", "whole", "unlike", "pixel_padded")
    found = [question for question in questions(operation, "float32") if small(question)]
    found = [q for i, q in enumerate(found) if i % 6 == 0 or any(edge in q.name for edge in edges)]
    family = operation.removesuffix("_input").rstrip("123d").rstrip("_")
    make = getattr(poolings, f"_{family}")
    for case in FOURS:
        if family.startswith("global") or spatial_axes(operation) == len(case.spatial):
            found += make(case, np.dtype(np.float32), operation.endswith("_input"))
    return found


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize(("operation", "algorithm"), ALL)
def test_agrees_with_the_oracle(operation, algorithm, layout):
    taken = 0
    for question in chosen(operation):
        with nc.using(algorithm):
            try:
                results = ask(operation, question, layout)
            except ValueError as refusal:
                assert "rejects this problem" in str(refusal), question.name
                continue
        agree(results, question, 1e-6)
        taken += 1
    assert taken


def test_what_is_covered():
    """Kernels of four channels, of one, of one to three axes, of windows that leave the image on either side."""
    names = {question.name.split(",")[0].split(" ")[0] for op in OPERATIONS for question in chosen(op)}
    assert {"asymmetric", "ceil_padded", "dilated_padded", "one_pixel_padded", "no_images"} <= names
    assert {case.name for case in FOURS} <= names


PLAIN = Question(
    "plain", (np.random.default_rng(0).standard_normal((2, 4, 6, 7)).astype(np.float32),), {"kernel_size": 3}, ()
)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("operation", ["max_pool2d", "avg_pool2d", "global_avg_pool", "global_max_pool"])
def test_other_floats(operation, dtype, layout):
    """The host's result, of operands rounded to begin with, within half a unit in the last place."""
    import ml_dtypes

    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    options = {} if operation.startswith("global") else {"kernel_size": 3, "stride": 2, "padding": 1}
    x = PLAIN.arguments[0].astype(kind)
    (actual,) = ask(operation, PLAIN._replace(options=options), layout, kind)
    expected = getattr(nc, operation)(x.astype(np.float64), **options)
    assert actual.dtype == kind
    unit = float(ml_dtypes.finfo(kind).eps)
    assert (np.abs(actual.astype(np.float64) - expected) <= 0.501 * unit * np.abs(expected) + 1e-7).all()


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint64"])
@pytest.mark.parametrize("layout", ["first", "last"])
def test_integers(dtype, layout):
    edge = np.iinfo(dtype)
    x = np.random.default_rng(1).integers(edge.min, edge.max, (2, 4, 5, 6), dtype, endpoint=True)
    options = {"kernel_size": (3, 2), "stride": (2, 1), "padding": ((2, 0), (1, 1))}
    expected = ref.max_pool(x, *options.values())
    question = Question(dtype, (x,), options | {"return_indices": True}, expected)
    results = ask("max_pool2d", question, layout)
    agree(results, question, 0)
    assert results[0].dtype == dtype
    (mean,) = ask("avg_pool2d", Question(dtype, (x,), {"kernel_size": 2}, ()), layout)
    assert mean.dtype == np.float64
    np.testing.assert_allclose(mean, ref.avg_pool(x, (2, 2)), 0, 1e-15 * np.abs(x.astype(float)).max())
    small = np.random.default_rng(1).integers(0, 9, expected[1].shape, dtype)
    gradient = ref.max_pool_input(x.shape, expected[1], small)
    agree(ask("max_pool2d_input", Question(dtype, (x.shape, expected[1], small), {}, ()), layout), question._replace(
        expected=(gradient,)), 0)  # fmt: skip


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("operation", ["max_pool2d", "adaptive_max_pool2d", "global_max_pool"])
def test_ties_nan_and_infinity_in_maxima(operation, layout):
    """The first of equal elements; the last NaN."""
    rng = np.random.default_rng(4)
    for channels in (3, 8):
        x = rng.integers(-1, 2, (2, channels, 5, 6)).astype(np.float32)
        x[rng.random(x.shape) < 0.1] = np.nan
        x[rng.random(x.shape) < 0.3] = -np.inf
        x[0, :2] = -np.inf
        if operation == "max_pool2d":
            options = {"kernel_size": (3, 2), "stride": (2, 1), "padding": ((2, 3), (0, 2))}
            expected = ref.max_pool(x, *options.values())
        else:
            size = (1, 1) if operation.startswith("global") else (2, 4)
            options, expected = {"output_size": size}, ref.adaptive_max_pool(x, size)
        if operation.startswith("global"):
            agree(ask(operation, Question("ties", (x,), {}, ()), layout), Question("", (), {}, expected[:1]), 0)
            operation_, options = "adaptive_max_pool2d", {"output_size": 1}
        else:
            operation_ = operation
        question = Question("ties", (x,), options | {"return_indices": True}, expected)
        agree(ask(operation_, question, layout), question, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("layout", ["first", "last"])
def test_nan_and_infinity_stay_in_their_windows(value, layout):
    x = np.random.default_rng(0).standard_normal((1, 4, 6, 7)).astype(np.float32)
    x[0, 0, 3, 3] = value
    options = {"kernel_size": (3, 2), "stride": (2, 1), "padding": ((1, 1), (1, 1))}
    question = Question("", (x,), options, (ref.avg_pool(x, *options.values()),), 3)
    agree(ask("avg_pool2d", question, layout), question, 1e-6)


def test_a_window_without_any_position():
    x = nc.cuda.to_device(np.arange(1.0, 5.0, dtype=np.float32).reshape(1, 1, 4))
    y, indices = map(nc.cuda.to_host, nc.max_pool1d(x, 2, padding=((3, 0),), return_indices=True))
    assert y.tolist() == [[[-np.inf, 1.0, 3.0]]]
    assert indices.tolist() == [[[-1, 0, 2]]]
    for options in ({}, {"count_include_pad": False}):
        assert nc.cuda.to_host(nc.avg_pool1d(x, 2, padding=((3, 0),), **options))[0, 0, 0] == 0


def test_the_mean_of_equal_numbers_is_exact():
    for k in (3, 7):
        assert (nc.cuda.to_host(nc.avg_pool1d(nc.cuda.to_device(np.full((1, 2, 30), 5.0, np.float32)), k)) == 5).all()


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("room", [unpooling.ROOM, 9])
def test_any_indices(layout, room, monkeypatch):
    """None, outside of the plane, many alike, all over the plane; notes for one output each or for several."""
    monkeypatch.setattr(unpooling, "ROOM", room)
    rng = np.random.default_rng(3)
    for spatial, channels in (((4, 5), 4), ((2, 3, 4), 3), ((11,), 4)):
        plane = tuple(2 * n - 1 for n in spatial)
        size = math.prod(plane)
        indices = rng.integers(-1, size, (2, channels, *spatial))
        indices[0, 0] = rng.integers(0, 2, spatial)
        values = rng.standard_normal(indices.shape).astype(np.float32)
        strange = indices.copy()
        strange[indices == -1] = rng.choice([-1, -9, size, size + 3, 1 << 40], indices.shape)[indices == -1]
        gradient = ref.max_pool_input((2, channels, *plane), indices, values)
        scale = ref.max_pool_input((2, channels, *plane), indices, np.abs(values)).max()
        question = Question(str(spatial), ((2, channels, *plane), strange, values), {}, (gradient,), scale)
        _fresh_kernels()
        agree(ask(f"max_pool{len(spatial)}d_input", question, layout), question, 1e-6)
        _fresh_kernels()


def _fresh_kernels():
    for factory in (unpooling.measure, unpooling.turned, unpooling.gather):
        factory.cache_clear()


@pytest.mark.parametrize("layout", ["first", "last"])
def test_sums_of_many_have_one_order(layout):
    """A maximum that many windows share: its gradient is the sum in the order of the outputs, bit for bit."""
    x = np.zeros((1, 4, 5, 5), np.float32)
    x[..., 2, 2] = 1
    _, indices = nc.max_pool2d(x, 3, 1, 1, return_indices=True)
    grad = np.random.default_rng(0).standard_normal(indices.shape).astype(np.float32)
    question = Question("", (x.shape, indices, grad), {}, (nc.max_pool2d_input(x.shape, indices, grad),))
    agree(ask("max_pool2d_input", question, layout), question, 0)


@pytest.mark.parametrize("operation", ["max_pool2d", "avg_pool2d", "avg_pool2d_input", "max_pool2d_input",
                                       "global_avg_pool", "max_unpool2d_input"])  # fmt: skip
def test_indices_of_64_bits(operation, monkeypatch):
    narrow = windows.geometry
    monkeypatch.setattr(windows, "geometry", lambda problem: narrow(problem)._replace(wide=True))
    for question in chosen(operation)[-6:]:
        agree(ask(operation, question, "last"), question, 1e-6)


def test_images_without_a_batch_and_other_memory():
    x = PLAIN.arguments[0]
    expected = nc.max_pool2d(x, 3)
    there = nc.cuda.to_device(x)
    single = nc.max_pool2d(memory.reshape(memory.part(there, 0, 1, 2), x.shape[1:]), 3)
    np.testing.assert_array_equal(nc.cuda.to_host(single), expected[1])
    for layout in ("first_in_last_memory", "last_in_first_memory"):
        for options in ({"kernel_size": 3}, {"kernel_size": 3, "return_indices": True}):
            question = PLAIN._replace(options=options)
            wanted = nc.max_pool2d(x, **options)
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            agree(ask("max_pool2d", question, layout), question._replace(expected=wanted), 0)
    room = nc.cuda.to_device(np.concatenate([np.zeros(1, np.float32), np.moveaxis(x, 1, -1).ravel()]))
    shifted = memory.reshape(memory.part(room, 0, 1, x.size + 1), np.moveaxis(x, 1, -1).shape)
    assert memory._span(shifted)[0] % 16 == 4 and memory._span(memory.realigned(shifted))[0] % 16 == 0
    actual = nc.max_pool2d(shifted, 3, data_format="NHWC")
    np.testing.assert_array_equal(np.moveaxis(nc.cuda.to_host(actual), -1, 1), expected)


def test_global_pooling_of_many_axes_and_to_nothing():
    x = np.random.default_rng(0).standard_normal((2, 3, 2, 2, 1, 3)).astype(np.float32)
    there = nc.cuda.to_device(x)
    for function in (nc.global_avg_pool, nc.global_max_pool):
        np.testing.assert_allclose(nc.cuda.to_host(function(there)), function(x), 1e-6)
    grad = np.arange(6.0, dtype=np.float32).reshape(2, 3, 1, 1, 1, 1)
    actual = nc.global_max_pool_input(there, nc.cuda.to_device(grad))
    np.testing.assert_array_equal(nc.cuda.to_host(actual), nc.global_max_pool_input(x, grad))
    actual = nc.cuda.to_host(nc.adaptive_avg_pool1d_input((1, 2, 5), nc.cuda.to_device(np.ones((1, 2, 0)))))
    assert actual.shape == (1, 2, 5) and not actual.any()


def test_arguments_that_do_not_fit():
    x, there = PLAIN.arguments[0], nc.cuda.to_device(PLAIN.arguments[0])
    y, indices = nc.max_pool2d(there, 2, return_indices=True)
    with pytest.raises(TypeError, match="indices is on a GPU, grad_output is on the host"):
        nc.max_pool2d_input(x.shape, indices, nc.cuda.to_host(y))
    with pytest.raises(TypeError, match="indices on a GPU must be of dtype int64"):
        nc.max_pool2d_input(x.shape, nc.cuda.to_device(np.zeros(y.shape, np.int32)), y)
    with pytest.raises(ValueError, match="indices must have the shape of grad_output"):
        nc.max_pool2d_input(x.shape, nc.cuda.to_device(np.zeros((1, 4, 3, 3), np.int64)), y)
    with pytest.raises(ValueError, match="kernel_size"):
        nc.max_pool2d(there, 0)
    with pytest.raises(ValueError, match="grad_output must have shape"):
        nc.avg_pool2d_input(x.shape, there, 2)
    for call in (lambda: nc.lp_pool2d(there, 2, 2), lambda: nc.lp_pool2d(there, math.inf, 2),
                 lambda: nc.weighted_avg_pool2d(there, 2), lambda: nc.lp_pool2d_input(there, y, 2, 2)):  # fmt: skip
        with pytest.raises(TypeError, match=r"GPU.*copy it to the host first"):
            call()


@pytest.mark.parametrize("layout", ["first", "first_in_last_memory"])
def test_on_the_tape(layout):
    """Operations of the tape run on the device's arrays, and keep the layout of their memory."""
    from numconv.autograd import apply

    x = PLAIN.arguments[0]
    there = arranged(x, layout)
    options = {"kernel_size": 2, "stride": None, "padding": 0, "data_format": None, "algorithm": "auto"}
    y = apply("max_pool2d", there, return_indices=False, dilation=1, ceil_mode=False, **options)
    assert memory.is_contiguous(y.data) == (layout == "first")
    np.testing.assert_array_equal(nc.cuda.to_host(y.data), nc.max_pool2d(x, 2))
    expected, places = nc.max_pool2d(x, 2, return_indices=True)
    gradient = apply("max_pool2d_input", y.data, nc.cuda.to_device(places), input_size=x.shape, data_format=None).data
    assert memory.is_contiguous(gradient) == (layout == "first")
    np.testing.assert_array_equal(nc.cuda.to_host(gradient), nc.max_pool2d_input(x.shape, places, expected))
    y = apply("adaptive_avg_pool2d", there, output_size=1, data_format=None, algorithm="auto")
    np.testing.assert_allclose(nc.cuda.to_host(y.data), nc.adaptive_avg_pool2d(x, 1), 1e-5, 1e-6)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_costs_are_positive_seconds_and_the_last_entry_takes_everything(operation):
    size = (4,) * next((n for n in (1, 3) if f"{n}d" in operation), 2)
    output_size = None if "unpool" in operation and not operation.endswith("_input") else 2
    problem = PoolProblem.make(operation, (2, 4, *size), np.float32, kernel_size=2, output_size=output_size)
    for algorithm in table(operation, "cuda"):
        assert 0 < algorithm.cost(problem) < 1
        assert algorithm.rejects(problem) is None or len(algorithm.rejects(problem).split()) > 2
    assert table(operation, "cuda")[-1].rejects(problem) is None
