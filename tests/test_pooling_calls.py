"""How poolings run: in segments, parts and threads, again from what is remembered, by choice; bad arguments."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from poolings import ENTRIES, OPERATIONS, Question, agree, ask, asked, questions, window_options

import numconv as nc
from numconv.kernels.cpu import windows
from numconv.kernels.cpu.tables import TABLES
from numconv.lab.cases import pool_cases
from numconv.problem import PoolProblem

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
            options = window_options(case, norm_type=2 if operation.startswith("lp") else None)
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
