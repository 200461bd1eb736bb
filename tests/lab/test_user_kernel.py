"""Functions of users as kernels: what they are handed, for every operation, and where they run."""

import contextlib
import math
import types
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from passes import LAYOUTS, call, cases_of, error, question

import numconv as nc
from numconv import algorithm, lab, nn
from numconv.autograd import Tensor
from numconv.autograd import functional as F
from numconv.kernels.cpu import jit
from numconv.kernels.cpu.tables import TABLES
from numconv.lab import reference
from numconv.lab.cases import arrays, pool_cases

SKIPPED = {"large", "long"}
ALL = (slice(None), slice(None))


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# convolutions: the oracle as a kernel, which is handed no padding


def forward(x, w, out, stride, padding, dilation, groups):
    assert not any(padding) and not out.any()
    assert all(a.flags.c_contiguous and a.flags.writeable and a.dtype == np.float32 for a in (x, w, out))
    out[...] = reference.conv(x, w, None, stride, None, dilation, groups)


def backward(x, w, out, stride, padding, dilation, groups):
    out[...] = reference.conv_input(out.shape, w, x, stride, None, dilation, groups)


def weights(x, w, out, stride, padding, dilation, groups):
    out[...] = reference.conv_weight(x, out.shape, w, stride, None, dilation, groups)


def turned(function, weight_pass):
    """The function for arrays with channels last."""

    def last(x, w, out, *numbers):
        if weight_pass:
            function(np.moveaxis(x, -1, 1), np.moveaxis(w, -1, 1), out, *numbers)
            return
        result = np.zeros(np.moveaxis(out, -1, 1).shape, out.dtype)
        function(np.moveaxis(x, -1, 1).copy(), w, result, *numbers)
        out[...] = np.moveaxis(result, 1, -1)

    return last


PASSES = {"conv{}d": forward, "conv{}d_input": backward, "conv_transpose{}d": backward, "conv{}d_weight": weights}


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("form", PASSES)
def test_every_pass_of_a_convolution(form, layout, registry):
    for n in (1, 2, 3):
        operation, function = form.format(n), PASSES[form]
        if layout == "channels_last":
            function = turned(function, form.endswith("weight"))
        add = algorithm.add
        add(operation, nc.ops.custom.FunctionAlgorithm(operation, function, "mine", layout=layout), False, "cpu")
        for i, case in enumerate(case for case in cases_of(operation) if not case.tags & SKIPPED):
            dtype, given = ("float32", "float16")[i % 7 == 0], list(LAYOUTS)[i % len(LAYOUTS)]
            asked = question(case, operation, dtype)
            actual = call(case, operation, asked.operands, given, algorithm="mine")
            assert error(actual, asked) <= (1e-6 if dtype == "float32" else 1e-3), case.name


def test_the_epilogue_is_added(registry):
    x, w, b, r = normal(2, 4, 7, 8), normal(6, 4, 3, 3, seed=1), normal(6, seed=2), normal(2, 6, 7, 8, seed=3)
    mine = nc.register("conv2d", forward)
    assert mine.rejects(nc.ConvProblem.make("conv2d", x.shape, w.shape)) is None
    options = {"padding": 1, "activation": ("leaky_relu", 0.2)}
    expected = reference.activate(("leaky_relu", 0.2), reference.conv(x, w, b, None, ((1, 1), (1, 1))) + r)
    out = np.empty_like(r)
    nc.conv2d(x, w, b, residual=r, algorithm="forward", out=out, **options)
    assert_allclose(out, expected, atol=1e-5)
    again = r.copy()
    nc.conv2d(x, w, b, residual=again, algorithm="forward", out=again, **options)
    assert_array_equal(again, out)
    wide = np.zeros((2, 10, 7, 8), np.float32)
    nc.conv2d(x, w, b, residual=r, algorithm="forward", out=wide[:, 2:8], **options)
    assert_array_equal(wide[:, 2:8], out)
    plan = nc.plan("conv2d", x.shape, w, b, algorithm="forward", **options)
    assert_array_equal(plan(x, residual=r), out)


# poolings: textbook loops over windows, which lie in what they are handed


def _window(o, kernel, stride, dilation):
    for tap in np.ndindex(*kernel):
        yield tap, ALL + tuple(i * s + t * d for i, s, t, d in zip(o, stride, tap, dilation))


def max_pool(x, out, indices, kernel, stride, padding, dilation):
    for o in np.ndindex(*out.shape[2:]):
        places = [place for _, place in _window(o, kernel, stride, dilation)]
        taps = np.stack([x[place] for place in places], -1)
        out[ALL + o] = taps.max(-1)
        indices[ALL + o] = np.array([np.ravel_multi_index(p[2:], x.shape[2:]) for p in places])[taps.argmax(-1)]


def avg_pool(x, out, kernel, stride, padding, dilation):
    for o in np.ndindex(*out.shape[2:]):
        out[ALL + o] = sum(x[place] for _, place in _window(o, kernel, stride, dilation)) / math.prod(kernel)


def avg_pool_input(x, out, kernel, stride, padding, dilation):
    for o in np.ndindex(*x.shape[2:]):
        for _, place in _window(o, kernel, stride, dilation):
            out[place] += x[ALL + o] / math.prod(kernel)


def lp_pool(x, out, kernel, stride, padding, dilation, norm_type):
    for o in np.ndindex(*out.shape[2:]):
        out[ALL + o] = sum(x[place] ** norm_type for _, place in _window(o, kernel, stride, dilation)) ** (
            1 / norm_type
        )


def lp_pool_input(x, grad, out, kernel, stride, padding, dilation, norm_type):
    for o in np.ndindex(*grad.shape[2:]):
        total = sum(x[place] ** norm_type for _, place in _window(o, kernel, stride, dilation))
        for _, place in _window(o, kernel, stride, dilation):
            out[place] += grad[ALL + o] * total ** (1 / norm_type - 1) * x[place] ** (norm_type - 1)


def weighted_avg_pool(x, weights, out, kernel, stride, padding, dilation):
    for o in np.ndindex(*out.shape[2:]):
        out[ALL + o] = sum(weights[tap] * x[place] for tap, place in _window(o, kernel, stride, dilation))


def weighted_avg_pool_input(x, weights, out, kernel, stride, padding, dilation):
    for o in np.ndindex(*x.shape[2:]):
        for tap, place in _window(o, kernel, stride, dilation):
            out[place] += weights[tap] * x[ALL + o]


def _region(o, size, out):
    return ALL + tuple(slice(i * n // m, -(-(i + 1) * n // m)) for i, n, m in zip(o, size, out))


def adaptive_avg_pool(x, out):
    assert x.ndim == out.ndim
    for o in np.ndindex(*out.shape[2:]):
        out[ALL + o] = x[_region(o, x.shape[2:], out.shape[2:])].mean(tuple(range(2, x.ndim)))


def adaptive_avg_pool_input(x, out):
    for o in np.ndindex(*x.shape[2:]):
        region = _region(o, out.shape[2:], x.shape[2:])
        out[region] += (x[ALL + o] / np.prod([part.stop - part.start for part in region[2:]])).reshape(
            *x.shape[:2], *(1,) * (x.ndim - 2)
        )


def adaptive_max_pool(x, out, indices):
    plane = np.arange(math.prod(x.shape[2:])).reshape(x.shape[2:])
    for o in np.ndindex(*out.shape[2:]):
        region = _region(o, x.shape[2:], out.shape[2:])
        flat = x[region].reshape(*x.shape[:2], -1)
        out[ALL + o], indices[ALL + o] = flat.max(-1), plane[region[2:]].reshape(-1)[flat.argmax(-1)]


def add_at(x, indices, out):
    for n, c, o in np.ndindex(*x.shape):
        if indices[n, c, o] >= 0:
            out[n, c, indices[n, c, o]] += x[n, c, o]


def put(x, indices, out):
    np.put_along_axis(out, indices, x, 2)


def take(x, indices, out):
    out[...] = np.take_along_axis(x, indices, 2)


POOLINGS = {
    "max_pool{}d": max_pool, "max_pool{}d_input": add_at, "avg_pool{}d": avg_pool, "avg_pool{}d_input": avg_pool_input,
    "lp_pool{}d": lp_pool, "lp_pool{}d_input": lp_pool_input, "weighted_avg_pool{}d": weighted_avg_pool,
    "weighted_avg_pool{}d_input": weighted_avg_pool_input, "adaptive_avg_pool{}d": adaptive_avg_pool,
    "adaptive_avg_pool{}d_input": adaptive_avg_pool_input, "adaptive_max_pool{}d": adaptive_max_pool,
    "adaptive_max_pool{}d_input": add_at, "max_unpool{}d": put, "max_unpool{}d_input": take,
    "global_avg_pool": adaptive_avg_pool, "global_avg_pool_input": adaptive_avg_pool_input,
    "global_max_pool": adaptive_max_pool, "global_max_pool_input": add_at,
}  # fmt: skip


def test_there_is_a_function_for_every_pooling():
    assert {form.format(n) for form in POOLINGS for n in (1, 2, 3)} == {name for name in TABLES if "pool" in name}


def pooled(case, last):
    """What every pooling and gradient of a case gives, by name, with whatever algorithm is asked for around it."""
    n, (x,) = len(case.spatial), arrays(case)
    if last:
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    data_format = {"data_format": "channels_last" if last else None}
    window = {"kernel_size": case.kernel, "stride": case.stride, "padding": case.padding} | data_format
    free = window | {"dilation": case.dilation, "ceil_mode": case.ceil_mode}

    def ask(name, *operands, **options):
        return getattr(nc, name.format(n))(*operands, **options)

    y, indices = yield "max", ask("max_pool{}d", x, return_indices=True, **free)
    yield "max alone", ask("max_pool{}d", x, **free)
    gradient = normal(*y.shape, seed=1)
    yield "max input", ask("max_pool{}d_input", x.shape, indices, gradient, **data_format)
    for more in ({}, {"count_include_pad": False}, {"divisor_override": 5}):
        yield f"avg {more}", ask("avg_pool{}d", x, **free, **more)
        yield f"avg input {more}", ask("avg_pool{}d_input", x.shape, gradient, **free, **more)
    positive = np.abs(x) + 0.5
    for norm_type in (2.0, -1.0):
        yield f"lp {norm_type}", ask("lp_pool{}d", positive, norm_type, **free)
        yield f"lp input {norm_type}", ask("lp_pool{}d_input", positive, gradient, norm_type, **free)
    if case.dilation == (1,) * n and not case.ceil_mode:
        for weights in ("gaussian", 1.0 + np.arange(math.prod(case.kernel)).reshape(case.kernel)):
            yield "weighted", ask("weighted_avg_pool{}d", x, weights=weights, **window)
            yield "weighted input", ask("weighted_avg_pool{}d_input", x.shape, gradient, weights=weights, **window)
    for size in (1, case.spatial):
        mean = yield "adaptive avg", ask("adaptive_avg_pool{}d", x, size, **data_format)
        yield "adaptive avg input", ask("adaptive_avg_pool{}d_input", x.shape, mean, **data_format)
        top, at = yield "adaptive max", ask("adaptive_max_pool{}d", x, size, return_indices=True, **data_format)
        yield "adaptive max input", ask("adaptive_max_pool{}d_input", x.shape, at, top, **data_format)
        shape = {"kernel_size": 1, "output_size": case.spatial} | data_format
        back = yield "unpool", ask("max_unpool{}d", top, at, stride=1 if size == case.spatial else 100, **shape)
        yield "unpool input", ask("max_unpool{}d_input", top.shape, at, back, **data_format)
    mean = yield "global avg", nc.global_avg_pool(x, **data_format)
    yield "global avg input", nc.global_avg_pool_input(x.shape, mean, **data_format)
    top = yield "global max", nc.global_max_pool(x, **data_format)
    yield "global max input", nc.global_max_pool_input(x, top, **data_format)


def walk(case, last, algorithm_name):
    """All of `pooled`, by one algorithm."""
    steps, answer, found = pooled(case, last), None, []
    with nc.using(algorithm_name), contextlib.suppress(StopIteration):
        while True:
            name, answer = steps.send(answer)
            found.append((name, answer))
    return found


NAMES = (
    "unlike_axes", "asymmetric", "dilated_padded", "dilated_ceil", "ceil_padded", "ceil_asymmetric",
    "one_pixel_padded", "pool_1d_padded", "pool_3d_unlike", "stride_beyond_kernel",
)  # fmt: skip


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_pooling(name, last, registry):
    for form, function in POOLINGS.items():
        for n in (1, 2, 3):
            nc.register(form.format(n), function, name="mine")
    (case,) = (case for case in pool_cases() if case.name == name)
    for (what, actual), (_, expected) in zip(walk(case, last, "mine"), walk(case, last, "direct"), strict=True):
        for ours, theirs in zip(*((r if isinstance(r, tuple) else (r,)) for r in (actual, expected)), strict=True):
            assert ours.dtype == theirs.dtype
            assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6, err_msg=f"{name}: {what}")


def test_padding_never_wins_a_maximum_and_has_no_index(registry):
    nc.register("max_pool2d", max_pool)
    x = np.full((1, 1, 3, 3), -np.inf, np.float32)
    y, indices = nc.max_pool2d(x, 2, 2, ((1, 2), (1, 2)), return_indices=True, algorithm="max_pool")
    expected, places = reference.max_pool(x, (2, 2), (2, 2), ((1, 2), (1, 2)))
    assert_array_equal(y, expected)
    assert_array_equal(indices, places)
    whole = np.array([[[-128, -128]]], np.int8)
    nc.register("max_pool1d", max_pool)
    y, indices = nc.max_pool1d(whole, 2, 2, 1, return_indices=True, algorithm="max_pool")
    assert_array_equal(indices, [[[0, 1]]])


def test_an_index_outside_of_the_plane_is_refused_before_the_function_runs(registry):
    nc.register("max_unpool1d", lambda x, indices, out: pytest.fail("it ran"), name="mine")
    with nc.using("mine"), pytest.raises(ValueError, match="indices must be from 0 to 3, got 9"):
        nc.max_unpool1d(np.ones((1, 1, 2)), np.array([[[0, 9]]]), 2)


def test_integers_are_averaged_in_float64(registry):
    seen = []
    nc.register("avg_pool1d", lambda x, out, *n: (seen.append((x.dtype, out.dtype)), avg_pool(x, out, *n)), name="mine")
    y = nc.avg_pool1d(np.array([[[1, 2, 3]]], np.int32), 3, 1, 1, algorithm="mine")
    assert seen == [(np.float64, np.float64)]
    assert_allclose(y, [[[1, 2, 5 / 3]]])


# lab.kernel


def convolve(x, w, out, stride, padding, dilation, groups):
    """The definition, two axes."""
    for n in range(out.shape[0]):
        for o in range(out.shape[1]):
            first = o // (w.shape[0] // groups) * w.shape[1]
            for i in range(out.shape[2]):
                for j in range(out.shape[3]):
                    total = 0.0
                    for c in range(w.shape[1]):
                        for u in range(w.shape[2]):
                            for v in range(w.shape[3]):
                                row, column = i * stride[0] + u * dilation[0], j * stride[1] + v * dilation[1]
                                total += w[o, c, u, v] * x[n, first + c, row, column]
                    out[n, o, i, j] = total


def test_a_kernel_runs_wherever_it_is_named(registry):
    mine = lab.kernel("conv2d", name="mine")(convolve)
    assert isinstance(mine, lab.UserKernel) and mine.python is convolve and not mine.parallel
    assert (mine.name, mine.operation, mine.device, mine.layout) == ("mine", "conv2d", "cpu", "channels_first")
    assert nc.algorithms("conv2d")[-1] == "mine"
    x, w, b = normal(2, 4, 6, 7), normal(6, 2, 3, 3, seed=1), normal(6, seed=2)
    options = {"padding": 1, "groups": 2}
    expected = nc.conv2d(x, w, b, **options)
    ran = []
    compiled, mine.compiled = mine.compiled, lambda *a: (ran.append(1), compiled(*a))
    assert_allclose(mine(x, w, b, **options), expected, atol=1e-5)
    assert_allclose(nc.conv2d(x, w, b, algorithm="mine", **options), expected, atol=1e-5)
    plan = nc.plan("conv2d", x.shape, w, b, algorithm="mine", **options)
    assert plan.algorithm == "mine"
    assert_allclose(plan(x), expected, atol=1e-5)
    layer = nn.Conv2d(4, 6, 3, padding=1, groups=2)
    layer.load_state_dict({"weight": w, "bias": b})
    with nc.using("mine"):
        assert_allclose(layer(x).data, expected, atol=1e-5)
        frozen = nn.freeze(nn.Sequential(layer, nn.ReLU()).eval(), x)
    assert "mine" in frozen.describe()
    assert_allclose(frozen(x), np.maximum(expected, 0), atol=1e-5)
    leaf = Tensor(w, requires_grad=True)
    F.conv2d(Tensor(x), leaf, None, 1, 1, 1, 2, algorithm="mine").sum().backward()
    assert leaf.grad is not None
    assert len(ran) >= 6
    assert nc.explain("conv2d", x, w, **options).rejected["mine"].startswith("registered without default")


def test_default_runs_also_where_it_is_not_named(registry):
    lab.kernel("conv2d", name="mine", default=True, when=lambda p: p.ci == 4 or "it takes 4 channels")(convolve)
    assert nc.explain("conv2d", normal(1, 4, 9, 9), normal(5, 4, 3, 3)).algorithm == "mine"
    other = nc.explain("conv2d", normal(1, 3, 9, 9), normal(5, 3, 3, 3))
    assert other.algorithm != "mine" and other.rejected["mine"] == "it takes 4 channels"


def test_a_kernel_that_raises_disturbs_no_call_that_does_not_name_it(registry):
    lab.kernel("conv1d", when=lambda problem: 1 // 0)(forward)
    x, w = normal(1, 2, 9), normal(3, 2, 3)
    assert_allclose(nc.conv1d(x, w), reference.conv(x, w), atol=1e-5)
    with pytest.raises(ZeroDivisionError):
        nc.conv1d(x, w, algorithm="forward")


def test_prepare_packs_once(registry):
    packed = []

    def prepare(weight):
        packed.append(weight.dtype)
        return np.ascontiguousarray(np.moveaxis(weight, 0, -1))

    @lab.kernel("conv2d", prepare=prepare, layout="channels_last")
    def mine(x, w, out, stride, padding, dilation, groups):
        for n, i, j in np.ndindex(*out.shape[:3]):
            for c, u, v in np.ndindex(*w.shape[:3]):
                out[n, i, j] += w[c, u, v] * x[n, i + u, j + v, c]

    x, w = normal(2, 3, 6, 7), normal(5, 3, 3, 3, seed=1)
    plan = nc.plan("conv2d", x.shape, w, algorithm="mine", padding=1)
    for _ in range(3):
        assert_allclose(plan(x), nc.conv2d(x, w, padding=1), atol=1e-5)
    assert packed == [np.float32]
    with pytest.raises(ValueError, match=r"prepare.*conv2d_weight"):
        lab.kernel("conv2d_weight", prepare=prepare)(convolve)


def test_a_parallel_kernel_uses_as_many_threads_as_it_may(registry, threads):
    numba = pytest.importorskip("numba")

    @lab.kernel("conv1d")
    def mine(x, w, out, stride, padding, dilation, groups):
        for i in numba.prange(out.shape[2]):
            out[0, 0, i] = numba.get_num_threads()

    assert mine.parallel
    x = np.ones((1, 1, 8), np.float32)
    for count in (1, 2):
        threads(count)
        most = min(count, numba.config.NUMBA_NUM_THREADS)
        if jit.threading_layer() != "python":
            assert (mine(x, x[..., :1]) == most).all()
    out = np.zeros_like(x)
    mine.serial(x, x[..., :1].copy(), out, (1,), (0,), (1,), 1)
    assert out.all()


def test_dtypes(registry):
    seen = []
    nc.register("conv1d", forward)
    mine = lab.kernel("conv2d", name="mine")(convolve)
    mine.compiled = lambda x, w, out, *rest: (seen.append((x.dtype, w.dtype, out.dtype)), convolve(x, w, out, *rest))
    x, w = normal(1, 2, 4, 4, dtype=np.float16), normal(1, 2, 2, 2, seed=1, dtype=np.float16)
    assert mine(x, w).dtype == np.float16
    assert set(seen[0]) == {np.dtype(np.float32)}
    with pytest.raises(ValueError, match="it takes float32, not float64"):
        mine(x.astype(float), w.astype(float))
    for wrong in ("float32", (), ("float33",)):
        with pytest.raises(ValueError, match="dtypes"):
            lab.kernel("conv2d", dtypes=wrong)


def test_what_is_wrong_with_a_kernel_is_said_when_it_is_made(registry):
    with pytest.raises(ValueError, match="operation"):
        lab.kernel("conv4d")
    for options in ({"when": True}, {"prepare": 3}, {"device": "cuda", "grid": 1.5}, {"device": "cuda", "block": 0}):
        with pytest.raises(TypeError, match=f"{list(options)[-1]} must be"):
            lab.kernel("conv2d", **options)
    with pytest.raises(TypeError, match="operation must be given, as in @kernel"):
        lab.kernel(forward)
    with pytest.raises(ValueError, match="layout"):
        lab.kernel("conv2d", layout="NHWC")
    with pytest.raises(ValueError, match="device"):
        lab.kernel("conv2d", device="tpu")
    with pytest.raises(ValueError, match="grid and block"):
        lab.kernel("conv2d", block=32)
    with pytest.raises(ValueError, match="taken"):
        lab.kernel("conv2d", name="direct")(convolve)
    with pytest.raises(TypeError, match=r"\(x, out, kernel, stride, padding, dilation\)"):
        lab.kernel("max_pool2d")(convolve)
    with pytest.raises(TypeError, match="avg_pool2d gives none"):
        lab.kernel("avg_pool2d")(max_pool)
    with pytest.raises(TypeError, match="decorates a function"):
        lab.kernel("conv2d")(np.add)
    assert nc.algorithms("conv2d")[-1] == "direct"


def test_errors_are_the_kernels_own_with_its_line(registry):
    @lab.kernel("conv2d")
    def mine(x, w, out, stride, padding, dilation, groups):
        out[0] = x.no_such_thing

    with pytest.raises(Exception, match="no_such_thing") as caught:
        mine(normal(1, 1, 3, 3), normal(1, 1, 2, 2))
    (note,) = caught.value.__notes__
    line = mine.python.__code__.co_firstlineno
    assert "'mine'" in note and f"test_user_kernel.py:{line}" in note and "spatial=(3, 3)" in note
    assert f"({line + 2})" in str(caught.value)


def test_one_function_for_several_operations(registry):
    mine = lab.kernel("conv2d", name="a")(lab.kernel("conv2d", name="b")(convolve))
    assert mine.python is convolve and nc.algorithms("conv2d")[-2:] == ("b", "a")


# entry points


class Entry:
    """What importlib.metadata gives of one."""

    def __init__(self, name, load):
        self.name, self.load, self.value = name, load, "package:thing"
        self.dist = types.SimpleNamespace(name=f"package-of-{name}")


def offering(monkeypatch, *entries):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [e for e in entries if group])
    monkeypatch.setattr(algorithm._Installed, "sought", False)


def test_kernels_of_packages_are_registered_when_a_table_is_first_used(registry, monkeypatch):
    class Offered(nc.Algorithm):
        name, operation = "offered", "conv2d"

    loaded = []

    def register():
        lab.kernel("conv2d", name="by_function")(convolve)

    def made():
        loaded.append(1)
        return lab.kernel("conv2d", name="decorated")(convolve)

    offering(monkeypatch, Entry("a", Offered), Entry("b", made), Entry("c", lambda: register))
    assert nc.algorithms("conv2d")[-3:] == ("offered", "decorated", "by_function")
    nc.algorithms("conv2d")
    assert loaded == [1]


def test_a_broken_package_gives_a_warning_that_names_it(registry, monkeypatch):
    def broken():
        raise ImportError("no module named torch")

    offering(monkeypatch, Entry("bad", broken), Entry("nothing", nc.Algorithm))
    with pytest.warns(RuntimeWarning) as caught:
        assert nc.algorithms("conv2d")[-1] == "direct"
    said = [str(warning.message) for warning in caught]
    assert len(said) == 2 and "package-of-bad" in said[0] and "no module named torch" in said[0]
    assert "package-of-nothing" in said[1] and "operation" in said[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nc.algorithms("conv2d")
