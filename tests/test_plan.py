"""Plans, the registry of users' algorithms, and explanations."""

import threading
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from passes import arrays_like, cases_of, question

import numconv as nc
from numconv.algorithm import table
from numconv.lab import reference
from numconv.plan import pool

FORWARD = [f"{form}{n}d" for form in ("conv", "conv_transpose") for n in (1, 2, 3)]


def layer(n=2, ci=5, co=6, size=(9, 11), kernel=3, dtype=np.float32):
    return arrays_like((n, ci, *size), (co, ci, kernel, kernel), (co,), dtype)


# plans agree with calls


@pytest.mark.parametrize("data_format", [None, "channels_last"])
@pytest.mark.parametrize("operation", FORWARD)
def test_a_plan_gives_what_the_call_gives(operation, data_format):
    for case in cases_of(operation):
        x, weight, bias = question(case, operation, "float32").operands
        x = x if data_format is None else np.ascontiguousarray(np.moveaxis(x, 1, -1))
        options = case.options | {"activation": "relu", "data_format": data_format}
        for algorithm in nc.algorithms(operation):
            try:
                plan = nc.plan(operation, x.shape, weight, bias, algorithm=algorithm, **options)
            except ValueError as refusal:
                assert "rejects this problem" in str(refusal)
                continue
            assert plan.algorithm == algorithm
            expected = getattr(nc, operation)(x, weight, bias, algorithm=algorithm, **options)
            assert_array_equal(plan(x), expected, err_msg=case.name)


@pytest.mark.parametrize("algorithm", ["auto", "indirect", "direct"])
def test_any_batch_size_and_no_batch(algorithm):
    x, weight, bias = layer(n=5)
    plan = nc.plan("conv2d", x.shape, weight, bias, padding=1, algorithm=algorithm)
    for n in (1, 2, 5, 0):
        assert_array_equal(plan(x[:n]), nc.conv2d(x[:n], weight, bias, padding=1, algorithm=plan.algorithm))
    single = nc.plan("conv2d", x.shape[1:], weight, bias, padding=1, algorithm=algorithm)
    assert_array_equal(single(x[3]), plan(x[3:4])[0])
    assert single(x[3]).shape == (6, 9, 11)


def test_more_batch_sizes_than_are_remembered():
    x, weight, _ = layer(n=80, ci=1, co=1, size=(3, 3))
    plan = nc.plan("conv2d", (1, 1, 3, 3), weight)
    expected = nc.conv2d(x, weight)
    for n in range(1, 81):
        np.testing.assert_allclose(plan(x[:n]), expected[:n], rtol=1e-5, atol=1e-5)


def test_residual_and_out():
    x, weight, bias = layer()
    plan = nc.plan("conv2d", x.shape, weight, bias, activation="relu")
    (residual,) = arrays_like((2, 6, 7, 9), np.float32)
    expected = nc.conv2d(x, weight, bias, activation="relu", residual=residual)
    assert_array_equal(plan(x, residual=residual), expected)
    wide = np.zeros((2, 10, 7, 9), np.float32)
    out = wide[:, 2:8]
    assert plan(x, residual=residual, out=out) is out
    assert_array_equal(out, expected)
    assert plan(x, residual=residual, out=residual) is residual
    assert_array_equal(residual, expected)
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    np.testing.assert_allclose(plan(np.moveaxis(last, -1, 1)), plan(x), rtol=1e-5, atol=1e-5)


def test_a_plan_copies_its_weight_and_bias():
    for algorithm in table("conv2d"):
        _, weight, bias = layer(ci=1, co=1)
        if algorithm.name == "separable":
            weight = np.ones((1, 1, 9, 9), np.float32)
        x, data_format = np.ones((2, 12, 12, 1), np.float32), "NHWC"
        if algorithm.accepts_layout == "first":
            x, data_format = np.ones((2, 1, 12, 12), np.float32), "NCHW"
        plan = nc.plan("conv2d", x.shape, weight, bias, algorithm=algorithm.name, data_format=data_format)
        before = plan(x)
        weight[...], bias[...] = np.nan, np.nan
        assert_array_equal(plan(x), before)


def test_for_shape_shares_the_packed_weight():
    x, weight, bias = layer(co=40)
    for algorithm in ("indirect", "direct"):
        plan = nc.plan("conv2d", x.shape, weight, bias, padding="same", algorithm=algorithm)
        other = plan.for_shape((1, 5, 20, 4))
        assert other.algorithm == algorithm
        assert other._packed is plan._packed
        (image,) = arrays_like((1, 5, 20, 4), np.float32)
        assert_array_equal(other(image), nc.conv2d(image, weight, bias, padding="same", algorithm=algorithm))
        assert_array_equal(plan(x), nc.conv2d(x, weight, bias, padding="same", algorithm=algorithm))
    with pytest.raises(ValueError, match="channels"):
        plan.for_shape((1, 4, 20, 4))
    with pytest.raises(ValueError, match="kernel"):
        nc.plan("conv2d", x.shape, weight).for_shape((1, 5, 2, 4))
    with pytest.raises(ValueError, match="axes"):
        plan.for_shape((5, 20, 4))


@pytest.mark.parametrize(
    "x, error, words",
    [
        (np.zeros((2, 5, 9, 11)), TypeError, ["x", "float32", "float64"]),
        (np.zeros((2, 5, 9, 11), np.float16), TypeError, ["x", "float32", "float16"]),
        ([[1.0]], TypeError, ["x", "list"]),
        (np.zeros((5, 9, 11), np.float32), ValueError, ["x", "(5, 9, 11)"]),
        (np.zeros((2, 5, 9, 12), np.float32), ValueError, ["x", "(2, 5, 9, 12)"]),
        (np.zeros((2, 4, 9, 11), np.float32), ValueError, ["x", "(2, 4, 9, 11)"]),
        (np.zeros((1, 2, 5, 9, 11), np.float32), ValueError, ["x", "(1, 2, 5, 9, 11)"]),
    ],
)
def test_a_plan_refuses_another_dtype_rank_or_size(x, error, words):
    _, weight, bias = layer()
    plan = nc.plan("conv2d", (2, 5, 9, 11), weight, bias)
    with pytest.raises(error) as raised:
        plan(x)
    assert all(word in str(raised.value) for word in words)


def test_a_plan_takes_any_byte_order_and_memory():
    x, weight, bias = layer()
    plan = nc.plan("conv2d", x.shape, weight, bias, algorithm="indirect")
    expected = plan(x)
    for other in (x.astype(">f4"), np.asfortranarray(x), np.repeat(x, 2, axis=3)[..., ::2]):
        assert_array_equal(plan(other), expected)


def test_the_dtype_of_a_plan():
    _, weight, bias = layer(dtype=np.float64)
    assert nc.plan("conv2d", (1, 5, 9, 9), weight, bias).problem.dtype == np.float64
    plan = nc.plan("conv2d", (1, 5, 9, 9), weight, bias, dtype="float32")
    y = plan(np.ones((1, 5, 9, 9), np.float32))
    assert y.dtype == np.float32
    half = nc.plan("conv2d", (1, 5, 9, 9), weight.astype(np.float16), bias.astype(np.float16))
    assert half(np.ones((1, 5, 9, 9), np.float16)).dtype == np.float16
    with pytest.raises(TypeError, match="dtype"):
        nc.plan("conv2d", (1, 5, 9, 9), weight, dtype=np.longdouble)


def test_description():
    _, weight, bias = layer()
    plan = nc.plan("conv2d", (2, 5, 9, 11), weight, bias, algorithm="indirect")
    text = plan.describe()
    for part in ("conv2d", "(2, 5, 9, 11)", "(6, 5, 3, 3)", "(2, 6, 7, 9)", "float32", "indirect", str(plan.workspace)):
        assert part in text
    assert text in repr(plan)
    assert nc.plan("conv2d", (2, 5, 9, 11), weight, bias, algorithm="direct").workspace == 0


# workspace


def test_a_small_workspace_limit_falls_back_to_direct(workspace_limit):
    x, weight, bias = arrays_like((1, 32, 28, 28), (64, 32, 3, 3), (64,), np.float32)
    assert nc.plan("conv2d", x.shape, weight, bias).algorithm != "direct"
    expected = nc.conv2d(x, weight, bias)
    workspace_limit(1000)
    plan = nc.plan("conv2d", x.shape, weight, bias)
    assert plan.algorithm == "direct" and plan.workspace == 0
    explanation = nc.explain("conv2d", x, weight)
    assert explanation.algorithm == "direct" and "workspace" in explanation.rejected["indirect"]
    np.testing.assert_allclose(nc.conv2d(x, weight, bias), expected, rtol=1e-4, atol=1e-4)


def test_calls_stay_within_the_workspace_limit(workspace_limit):
    """Everything that a call allocates beyond its result, measured."""
    x, weight, bias = arrays_like((1, 64, 56, 56), (64, 64, 3, 3), (64,), np.float32)
    out = nc.conv2d(x, weight, bias, padding=1)
    for limit in (0, 1 << 20, 64 << 20):
        workspace_limit(limit)
        pool._idle.clear()
        nc.conv2d(x, weight, bias, padding=1, out=out)
        pool._idle.clear()
        assert peak(lambda: nc.conv2d(x, weight, bias, padding=1, out=out)) <= limit + 20_000


@pytest.mark.parametrize("size", [40_000, 400_000])
def test_the_pool_keeps_at_most_the_limit(workspace_limit, size):
    workspace_limit(size * 5 // 2)
    pool._small.clear()
    pool._idle.clear()
    pieces = [pool.borrow(size) for _ in range(5)]
    assert all(piece.size >= size for piece in pieces)
    starts = {piece.__array_interface__["data"][0] for piece in pieces}
    assert len(starts) == 5 and all(start % 64 == 0 for start in starts)
    for piece in pieces:
        pool.give_back(piece)
    assert 0 < sum(piece.size for piece in pool._small + pool._idle) <= size * 5 // 2


def peak(function):
    """Most bytes that a call has allocated at a time; NumPy reports its own."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_threads_share_a_plan():
    x, weight, bias = arrays_like((1, 24, 30, 31), (40, 24, 3, 3), (40,), np.float32)
    plans = [
        nc.plan("conv2d", x.shape, weight, bias, padding=1, algorithm=algorithm) for algorithm in ("indirect", "direct")
    ]
    images = [x * (i + 1) for i in range(8)]
    expected = [[plan(image) for image in images] for plan in plans]
    wrong = []
    barrier = threading.Barrier(8)

    def work(i):
        barrier.wait()
        for _ in range(10):
            for plan, results in zip(plans, expected):
                for n in (1, 2):
                    batch = np.concatenate([images[i]] * n)
                    if not all(np.array_equal(result, results[i][0]) for result in plan(batch)):
                        wrong.append((i, plan.algorithm, n))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# users' algorithms


def slow(x, weight, out, stride, padding, dilation, groups):
    """A plain function in place of a kernel."""
    assert x.flags.c_contiguous and weight.flags.c_contiguous and all(p == 0 for p in padding)
    out[...] = reference.conv(x, weight, None, stride, None, dilation, groups)


@pytest.mark.parametrize("operation", ["conv1d", "conv2d", "conv3d"])
def test_a_function_as_a_kernel(operation, registry):
    nc.register(operation, slow)
    assert nc.algorithms(operation)[-1] == "slow"
    for case in cases_of(operation):
        if "large" in case.tags or "empty" in case.tags:
            continue
        asked = question(case, operation, "float32")
        x, weight, bias = asked.operands
        actual = getattr(nc, operation)(x, weight, bias, algorithm="slow", **case.options)
        assert np.abs(actual - asked.expected).max() <= 1e-6 * asked.scale, case.name
        last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        options = case.options | {"data_format": "channels_last", "activation": "relu"}
        with nc.using("slow"):
            actual = getattr(nc, operation)(last, weight, bias, **options)
        positive = np.maximum(asked.expected, 0)
        assert np.abs(np.moveaxis(actual, -1, 1) - positive).max() <= 1e-6 * asked.scale, case.name
    x, weight, bias = layer()
    if operation == "conv2d":
        (residual,) = arrays_like((2, 6, 7, 9), np.float32)
        plan = nc.plan("conv2d", x.shape, weight, bias, algorithm="slow", activation="tanh")
        np.testing.assert_allclose(
            plan(x, residual=residual), np.tanh(reference.conv(x, weight, bias) + residual), atol=1e-5
        )


class Constant(nc.Algorithm):
    """Fills the result with a number: easy to recognise."""

    def __init__(self, name="constant", value=7.0, refuse=None, seconds=1e-12):
        self.name, self.value, self.refuse, self.seconds = name, value, refuse, seconds

    def rejects(self, problem):
        return self.refuse

    def cost(self, problem):
        return self.seconds

    def run(self, problem, packed, x, bias, residual, out, workspace):
        out[...] = self.value


def test_a_registered_algorithm_runs_where_it_is_named(registry):
    x, weight, bias = layer()
    plain = nc.conv2d(x, weight, bias)
    mine = Constant()
    assert nc.register("conv2d", mine) is mine
    assert_array_equal(nc.conv2d(x, weight, bias), plain)
    assert (nc.conv2d(x, weight, bias, algorithm="constant") == 7).all()
    with nc.using("constant"):
        assert (nc.conv2d(x, weight, bias) == 7).all()
        assert (nc.plan("conv2d", x.shape, weight)(x) == 7).all()
        with nc.using("direct"):
            assert not (nc.conv2d(x, weight, bias) == 7).any()
        assert (nc.conv2d(x, weight, bias) == 7).all()
        assert not (nc.conv2d(x, weight, bias, algorithm="direct") == 7).any()
        # The name is not registered for the gradients: they choose by themselves.
        assert not (nc.conv2d_input(x.shape, weight, plain) == 7).any()
        assert not (nc.conv2d_weight(x, weight.shape, plain) == 7).any()
    assert_array_equal(nc.conv2d(x, weight, bias), plain)
    for operation in ("conv2d_input", "conv2d_weight", "conv_transpose2d"):
        nc.register(operation, Constant())
    with nc.using("constant"):
        assert (nc.conv2d_input(x.shape, weight, plain) == 7).all()
        assert (nc.conv2d_weight(x, weight.shape, plain) == 7).all()
        assert (nc.conv_transpose2d(x, weight[:5]) == 7).all()


def test_an_error_inside_using_puts_the_choice_back(registry):
    x, weight, _ = layer()
    nc.register("conv2d", Constant())
    with pytest.raises(ZeroDivisionError), nc.using("constant"):
        raise ZeroDivisionError
    assert not (nc.conv2d(x, weight) == 7).any()


def test_using_is_of_its_thread(registry):
    x, weight, _ = layer()
    nc.register("conv2d", Constant())
    results = []
    with nc.using("constant"):
        thread = threading.Thread(target=lambda: results.append(nc.conv2d(x, weight)))
        thread.start()
        thread.join()
    assert not (results[0] == 7).any()


def test_default_joins_the_automatic_choice(registry):
    x, weight, _ = layer()
    nc.register("conv2d", Constant(seconds=1e-12), default=True)
    assert (nc.conv2d(x, weight) == 7).all()
    nc.register("conv2d", Constant(seconds=1e3), default=True)
    assert not (nc.conv2d(x, weight) == 7).any()
    nc.register("conv2d", Constant(seconds=1e-12, refuse="it is not my day"), default=True)
    assert not (nc.conv2d(x, weight) == 7).any()


def test_a_forced_algorithm_that_rejects_raises_its_sentence(registry):
    x, weight, _ = layer()
    nc.register("conv2d", Constant(refuse="it is not my day"))
    for call in (
        lambda: nc.conv2d(x, weight, algorithm="constant"),
        lambda: nc.plan("conv2d", x.shape, weight, algorithm="constant"),
    ):
        with pytest.raises(ValueError, match=r"'constant'.*it is not my day"):
            call()
    with nc.using("constant"), pytest.raises(ValueError, match="it is not my day"):
        nc.conv2d(x, weight)


def test_the_last_registration_of_a_name_counts(registry):
    x, weight, _ = layer()
    nc.register("conv2d", Constant(value=1.0))
    assert (nc.conv2d(x, weight, algorithm="constant") == 1).all()
    nc.register("conv2d", Constant(value=2.0))
    assert nc.algorithms("conv2d").count("constant") == 1
    assert (nc.conv2d(x, weight, algorithm="constant") == 2).all()
    nc.register("conv2d", Constant(), name="renamed")
    assert nc.algorithms("conv2d")[-2:] == ("constant", "renamed")


def test_registration_is_checked(registry):
    for name in ("direct", "indirect", "auto", "tuned"):
        with pytest.raises(ValueError, match=rf"{name}.*taken"):
            nc.register("conv2d", slow, name=name)
    with pytest.raises(TypeError, match=r"algorithm.*int"):
        nc.register("conv2d", 7)
    with pytest.raises(TypeError, match=r"<lambda>\(x, out\) must take .*conv2d.*\(x, w, out, stride"):
        nc.register("conv2d", lambda x, out: None)
    with pytest.raises(ValueError, match="conv7d"):
        nc.register("conv7d", slow)
    with pytest.raises(ValueError, match=r"device.*'tpu'"):
        nc.register("conv2d", slow, device="tpu")
    with pytest.raises(ValueError, match="name"):
        nc.register("conv2d", Constant(name=""))
    assert nc.algorithms("conv2d")[-1] == "direct"


def test_the_workspace_of_a_users_algorithm(registry):
    class Greedy(Constant):
        def workspace(self, problem):
            return 12345

        def run(self, problem, packed, x, bias, residual, out, workspace):
            assert workspace.nbytes >= 12345 and workspace.flags.writeable
            out[...] = 3

    x, weight, _ = layer()
    nc.register("conv2d", Greedy())
    assert (nc.conv2d(x, weight, algorithm="constant") == 3).all()
    assert nc.plan("conv2d", x.shape, weight, algorithm="constant").workspace == 12345


# explanations


@pytest.mark.parametrize("operation", [*FORWARD, "conv2d_input", "conv2d_weight", "conv1d_input", "conv3d_weight"])
def test_explain_names_every_algorithm(operation, capsys):
    case = cases_of(operation)[0]
    x, weight, _ = question(
        case, operation.split("d_")[0] + "d" if "d_" in operation else operation, "float32"
    ).operands
    explanation = nc.explain(operation, x, weight, **case.options)
    printed = capsys.readouterr().out
    assert str(explanation) in printed
    for name in nc.algorithms(operation):
        assert name in printed
    assert explanation.algorithm in nc.algorithms(operation)
    assert explanation.algorithm not in explanation.rejected
    assert explanation.algorithm in repr(explanation)


def test_explain_gives_the_reasons(registry, capsys):
    x, weight, _ = layer()
    nc.register("conv2d", Constant(refuse="it is not my day"))
    explanation = nc.explain("conv2d", x, weight)
    assert explanation.rejected["constant"] == "it is not my day"
    assert "it is not my day" in capsys.readouterr().out
    assert nc.explain("conv2d", x, weight, algorithm="direct").algorithm == "direct"
    integers = nc.explain("conv2d", x.astype(np.int32), weight.astype(np.int32))
    assert integers.algorithm == "direct" and "int32" in integers.rejected["indirect"]


def test_names_of_algorithms():
    assert nc.algorithms("conv2d")[-1] == "direct" and "indirect" in nc.algorithms("conv2d")
    for wrong in ("conv4d", "convolution", "max_pool9d"):
        with pytest.raises(ValueError, match="operation"):
            nc.algorithms(wrong)
    with pytest.raises(ValueError, match="device"):
        nc.algorithms("conv2d", device="tpu")
