"""The rules: gradients of every operation against finite differences, in every layout."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import numconv as nc
from numconv.autograd import Tensor, apply, grad, gradcheck, gradgradcheck, no_grad
from numconv.autograd import functional as F
from numconv.autograd.operations import TABLE
from numconv.lab.cases import arrays, conv_cases, pool_cases

INFINITE = float("inf")


def leaf(*shape, seed=0, low=None):
    x = np.random.default_rng(seed).standard_normal(shape)
    return Tensor(x if low is None else np.abs(x) + low, requires_grad=True)


def last(x):
    """A leaf of the same elements whose channels lie last in memory."""
    moved = np.ascontiguousarray(np.moveaxis(x.data, 1, -1))
    return Tensor(np.moveaxis(moved, -1, 1), requires_grad=True)


def lies_last(array):
    return np.moveaxis(array, 1, -1).flags.c_contiguous


def check(f, *inputs):
    gradcheck(f, inputs)
    gradgradcheck(f, inputs, fast_mode=True)


# --- arrays

ELEMENTWISE = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
    "maximum": F.maximum,
    "minimum": F.minimum,
    "where": lambda a, b: F.where(a.data > b.data, a, b),
}


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (4, 1, 3)), ((), (2,))], ids=str)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_two_operands(name, shapes):
    check(ELEMENTWISE[name], leaf(*shapes[0], low=0.5), leaf(*shapes[1], seed=1, low=0.6))


NUMBERS = {
    "add": lambda a: 2 + a + 3,
    "sub": lambda a: 2 - a - 3,
    "mul": lambda a: 2 * a * 3,
    "div": lambda a: 2 / a / 3,
    "pow": lambda a: 2**a + a**3 + a**0 + a**0.5,
    "neg": lambda a: -a,
    "exp": F.exp,
    "log": F.log,
    "sqrt": F.sqrt,
    "sin": F.sin,
    "cos": F.cos,
    "abs": lambda a: abs(a - 1),
    "clamp": lambda a: a.clamp(0.6, 1.2) + F.clip(a, max=1) + a.clamp(Tensor(np.full(3, 0.7))),
    "sum": lambda a: a.sum() + a.sum(0) * a.sum((0, 1), keepdim=True),
    "mean": lambda a: a.mean() + a.mean(-1, True) * a.mean((0, 1)),
    "var": lambda a: a.var() + a.var(1, correction=0, keepdim=True) + a.std(0),
    "amax": lambda a: a.amax() + a.amax(1, True) * a.amin(0),
    "max": lambda a: a.max() * a.max(1).values.sum() * a.min(0, keepdim=True).values - a.min(),
    "reshape": lambda a: a.reshape(3, -1) * a.flatten().view((3, 2)),
    "permute": lambda a: a.T * a.permute(1, 0) * a.transpose(0, -1),
    "squeeze": lambda a: a.unsqueeze(1).squeeze(1) * a.unsqueeze(-1).squeeze(),
    "expand": lambda a: a.unsqueeze(0).expand(4, -1, 3) * a,
    "flip": lambda a: F.flip(a, (0, 1)) * a,
    "concatenate": lambda a: F.cat([a, a * 2, a[:1]], 0) * F.concatenate([a, a * a, a[:1]]),
    "stack": lambda a: F.stack([a, a * a], -1),
    "split": lambda a: sum(part * (i + 1) for i, part in enumerate(F.split(a, 1, 1))) * F.chunk(a, 2, -1)[1],
    "index": lambda a: a[1, 1:] * a[:, None, 1:] * a[..., -1].sum(),
    "advanced index": lambda a: a[[0, 1, 1]] * a[np.array([1, 0, 0]), :],
    "pairs of indices": lambda a: a[np.array([[0, 1], [1, 1]]), Tensor(np.array([2, 2]))],
    "mask": lambda a: a[a > 0.9] * 2,
    "astype": lambda a: a.astype(np.float64) * a,
    "contiguous": lambda a: a.reshape(1, 2, 3).contiguous(memory_format="channels_last") * a,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_one_operand(name):
    check(NUMBERS[name], leaf(2, 3, low=0.2))


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (3,)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
        ((5, 1, 2, 3), (4, 3, 2)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,)),
    ],
    ids=str,
)  # fmt: skip
def test_matmul(shapes):
    check(lambda a, b: a @ b, leaf(*shapes[0]), leaf(*shapes[1], seed=1))


def test_equal_elements_share():
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([1.0, 1.0], requires_grad=True)
    F.maximum(a, b).sum().backward()
    assert_array_equal(a.grad.data, [0.5, 1])
    assert_array_equal(b.grad.data, [0.5, 0])
    c = Tensor([[3.0, 3.0, 1.0]], requires_grad=True)
    assert_array_equal(grad(c.amax(), c)[0].data, [[0.5, 0.5, 0]])
    values, indices = c.max(1)
    assert_array_equal(indices.data, [0])
    assert_array_equal(grad(values.sum(), c)[0].data, [[1, 0, 0]])
    assert_array_equal(grad(c.clamp(1, 3).sum(), c)[0].data, [[1, 1, 1]])


def test_powers_of_zero():
    a = Tensor([0.0, 2.0], requires_grad=True)
    for power in (0, 1, 2, Tensor([0.0, 0.0])):
        assert np.isfinite(grad((a**power).sum(), a)[0].data).all()
    e = Tensor([1.0, 2.0], requires_grad=True)
    assert_allclose(grad((np.array([0.0, 3.0]) ** e).sum(), e)[0].data, [0, 9 * np.log(3)])


def test_errors_of_shapes():
    x = leaf(2, 3)
    with pytest.raises(ValueError, match="dim must be from -2 to 1"):
        x.sum(2)
    with pytest.raises(ValueError, match="name each of 2 axes once"):
        x.permute(0, 0)
    with pytest.raises(ValueError, match=r"add up to 3.*\[1, 1\]"):
        F.split(x, [1, 1], 1)
    with pytest.raises(ValueError, match="positive"):
        F.split(x, 0)
    with pytest.raises(ValueError, match="start_dim"):
        x.flatten(1, 0)
    with pytest.raises(TypeError, match="length"):
        len(x.sum())


def test_numbers_of_python():
    x = Tensor([[1.5]])
    assert (float(x), int(x), bool(x), x.item(), len(x), x.tolist()) == (1.5, 1, True, 1.5, 1, [[1.5]])
    assert (x.ndim, x.dim(), x.numel(), x.size(), x.size(0)) == (2, 2, 1, (1, 1), 1)
    assert [row.tolist() for row in x] == [[1.5]]
    assert (x == 1.5).item() and (x != 2).item() and (x >= 1.5).item() and not (x < 1).item() and {x: 1}[x]
    assert x.argmax().item() == 0 and x.argmin(1).tolist() == [0]


# --- convolutions


def plain(case):
    """Whether a case is one of many sizes, or large: second derivatives are made of the same operations."""
    return bool({"tail", "large"} & case.tags)


def operands(case):
    x, weight, bias = arrays(case, np.float64)
    return Tensor(x, requires_grad=True), Tensor(weight, requires_grad=True), Tensor(bias, requires_grad=True)


@pytest.mark.parametrize("case", conv_cases(), ids=lambda case: case.name)
def test_convolutions(case):
    ndim = len(case.spatial)
    convolve = getattr(F, f"conv_transpose{ndim}d" if case.transposed else f"conv{ndim}d")

    def f(x, weight, bias):
        return convolve(x, weight, bias, **case.options)

    inputs = operands(case)
    gradcheck(f, inputs, fast_mode=True)
    if plain(case):
        return
    gradgradcheck(f, inputs, fast_mode=True)
    if ndim == 2 and case.n:
        x, *rest = inputs
        of_last = (last(x), *rest)
        y, z = f(*inputs), f(*of_last)
        assert_allclose(z.data, y.data, rtol=1e-9, atol=1e-9)
        seed = np.random.default_rng(5).standard_normal(y.shape)
        for one, other in zip(grad(y, inputs, seed), grad(z, of_last, seed)):
            assert_allclose(other.data, one.data, rtol=1e-9, atol=1e-9)


SMALL = [
    case for case in conv_cases() if case.name in ("strided_unlike", "grouped_2", "conv_1d_strided", "conv_3d_unlike")
]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_gradients_as_operations(case):
    ndim = len(case.spatial)
    x, weight, _ = operands(case)
    y = Tensor(getattr(nc, f"conv{ndim}d")(x.data, weight.data, **case.options), requires_grad=True)
    of_input, of_weight = getattr(F, f"conv{ndim}d_input"), getattr(F, f"conv{ndim}d_weight")
    check(lambda w, g: of_input(x.shape, w, g, **case.options), weight, y)
    check(lambda x, g: of_weight(x, weight.shape, g, **case.options), x, y)


@pytest.mark.parametrize("padding", ["valid", "same", "same_lower", "full", 1, ((0, 2), (1, 0))], ids=str)
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_paddings_and_formats(padding, data_format):
    shape = (2, 3, 6, 5) if data_format == "NCHW" else (2, 6, 5, 3)
    options = {"stride": 2, "padding": padding, "data_format": data_format}
    inputs = leaf(*shape), leaf(4, 3, 3, 2, seed=1), leaf(4, seed=2)
    check(lambda x, w, b: F.conv2d(x, w, b, **options), *inputs)
    if padding != "full":
        check(lambda x, w, b: F.conv_transpose2d(x, w.transpose(0, 1), b, **options), *inputs)


@pytest.mark.parametrize(
    "extra", [{"output_padding": (2, 0)}, {"output_size": (10, 13)}, {"output_padding": 1}], ids=str
)
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_transposed_sizes(extra, data_format):
    """Also beyond the stride, which dilation allows."""
    shape = (2, 3, 3, 4) if data_format == "NCHW" else (2, 3, 4, 3)
    options = {"stride": 2, "dilation": 3, "padding": ((0, 1), (1, 0)), "data_format": data_format, **extra}
    check(lambda x, w: F.conv_transpose2d(x, w, **options), leaf(*shape), leaf(3, 2, 3, 3, seed=1))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_without_a_batch(ndim):
    x, w = leaf(2, *(5, 4, 3)[:ndim]), leaf(3, 2, *(2,) * ndim, seed=1)
    check(getattr(F, f"conv{ndim}d"), x, w)
    check(getattr(F, f"conv_transpose{ndim}d"), leaf(3, *(3, 4, 3)[:ndim]), w)
    check(lambda t: getattr(F, f"max_pool{ndim}d")(t, 2), x)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("data_format", [None, "NHWC"])
def test_padding_modes(mode, data_format):
    shape = (1, 2, 5, 6) if data_format is None else (1, 5, 6, 2)
    x, w = leaf(*shape), leaf(3, 2, 3, 3, seed=1)
    options = {"padding": (1, 2), "padding_mode": mode, "data_format": data_format}
    assert_allclose(F.conv2d(x, w, **options).data, nc.conv2d(x.data, w.data, **options), rtol=1e-12, atol=1e-12)
    check(lambda x, w: F.conv2d(x, w, **options), x, w)


@pytest.mark.parametrize("activation", [*nc.problem.ACTIVATIONS, ("leaky_relu", 0.3), ("elu", 0.5)], ids=str)
def test_fused_activations(activation):
    x, w, b, r = leaf(1, 2, 5, 4), leaf(3, 2, 3, 3, seed=1), leaf(3, seed=2), leaf(1, 3, 5, 4, seed=3)

    def f(x, w, b, r):
        return F.conv2d(x, w, b, padding=1, residual=r, activation=activation)

    with no_grad():
        fused = f(x, w, b, r)
    assert_allclose(f(x, w, b, r).data, fused.data, rtol=1e-9, atol=1e-12)
    gradcheck(f, (x, w, b, r))


def test_a_forced_algorithm_is_forced_on_gradients_that_have_it():
    x, w = leaf(1, 2, 5, 5), leaf(3, 2, 3, 3, seed=1)
    ran = []

    class Mine(nc.Algorithm):
        name = "mine_of_tape"

        def cost(self, problem):
            return 1.0

        def run(self, problem, packed, x, bias, residual, out, workspace):
            ran.append(problem.operation)
            out[...] = 0

    nc.register("conv2d", Mine())
    nc.register("conv2d_weight", Mine())
    F.conv2d(x, w, algorithm="mine_of_tape").sum().backward()
    assert ran == ["conv2d", "conv2d_weight"]
    assert not w.grad.data.any() and x.grad.data.any()


def test_separable():
    x, depthwise, pointwise, bias = (
        leaf(1, 2, 5, 6),
        leaf(4, 1, 3, 3, seed=1),
        leaf(3, 4, 1, 1, seed=2),
        leaf(3, seed=3),
    )
    y = F.separable_conv2d(x, depthwise, pointwise, bias, 2, 1)
    assert_allclose(y.data, nc.separable_conv2d(x.data, depthwise.data, pointwise.data, bias.data, 2, 1), rtol=1e-12)
    check(lambda *t: F.separable_conv2d(*t, stride=2, padding=1), x, depthwise, pointwise, bias)
    with pytest.raises(ValueError, match="depthwise_weight"):
        F.separable_conv2d(x, pointwise, pointwise)
    with pytest.raises(ValueError, match="pointwise_weight"):
        F.separable_conv2d(x, depthwise, depthwise)


# --- poolings


def pools(case):
    """Every pooling that takes a case."""
    ndim, k = len(case.spatial), case.kernel
    windows = {"stride": case.stride, "padding": case.padding}
    full = {**windows, "dilation": case.dilation, "ceil_mode": case.ceil_mode}
    yield lambda x: getattr(F, f"max_pool{ndim}d")(x, k, **full)
    yield lambda x: getattr(F, f"avg_pool{ndim}d")(x, k, **full)
    yield lambda x: getattr(F, f"avg_pool{ndim}d")(x, k, **full, count_include_pad=False)
    yield lambda x: getattr(F, f"lp_pool{ndim}d")(x * x + 0.1, 3, k, **full)
    if not case.ceil_mode and set(case.dilation) == {1}:
        yield lambda x: getattr(F, f"weighted_avg_pool{ndim}d")(x, k, **windows)


@pytest.mark.parametrize("case", pool_cases(), ids=lambda case: case.name)
def test_poolings(case):
    x = Tensor(arrays(case, np.float64)[0], requires_grad=True)
    for pool in pools(case):
        gradcheck(pool, x, fast_mode=True)
        if not plain(case):
            gradgradcheck(pool, x, fast_mode=True)


OTHER_POOLS = {
    "lp of one": lambda x: F.lp_pool2d(x, 1, 2),
    "lp of two": lambda x: F.lp_pool2d(x, 2, (2, 3), ceil_mode=True),
    "lp of one and a half": lambda x: F.lp_pool2d(x * x + 0.1, 1.5, 2, 1, padding=1),
    "lp of infinity": lambda x: F.lp_pool2d(x, INFINITE, 2),
    "lp of minus infinity": lambda x: F.lp_pool2d(x, -INFINITE, 2),
    "weights": lambda x: F.weighted_avg_pool2d(x, 2, weights=Tensor(np.arange(4.0).reshape(2, 2))),
    "divisor": lambda x: F.avg_pool2d(x, 2, divisor_override=3),
    "adaptive average": lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
    "adaptive average of all": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, (3, 2)),
    "global average": F.global_avg_pool,
    "global max": F.global_max_pool,
    "max outside": lambda x: F.max_pool2d(x, 1, 1, ((2, 2), (0, 0))).clamp(min=-100),
    "unpool": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=(6, 7)),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x[..., :6], 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
}


@pytest.mark.parametrize("name", OTHER_POOLS)
def test_other_poolings_and_shuffles(name):
    x = leaf(2, 8, 6, 7)
    f = OTHER_POOLS[name]
    gradcheck(f, x, fast_mode=True)
    gradgradcheck(f, x, fast_mode=True)
    of_last = last(x)
    y, z = f(x), f(of_last)
    assert_allclose(z.data, y.data, rtol=1e-12)
    assert lies_last(z.data)
    one, other = grad((y * y).sum(), x)[0].data, grad((z * z).sum(), of_last)[0].data
    assert_allclose(other, one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["avg_pool", "max_pool", "adaptive_avg_pool", "adaptive_max_pool"])
@pytest.mark.parametrize("ndim, data_format", [(1, "NLC"), (2, "NHWC"), (3, "NDHWC")])
def test_poolings_with_channels_last(name, ndim, data_format):
    pool = getattr(F, f"{name}{ndim}d")
    x = leaf(2, *(5, 4, 4)[:ndim], 3)
    gradcheck(lambda x: pool(x, 2, data_format=data_format), x, fast_mode=True)
    gradgradcheck(lambda x: pool(x, 2, data_format=data_format), x, fast_mode=True)
    for whole in (F.global_avg_pool, F.global_max_pool):
        gradcheck(lambda x, whole=whole: whole(x, data_format=data_format), x, fast_mode=True)
        gradgradcheck(lambda x, whole=whole: whole(x, data_format=data_format), x, fast_mode=True)


def test_weights_of_a_pooling_have_no_gradient():
    with pytest.raises(TypeError, match="weights must not require grad"):
        F.weighted_avg_pool2d(leaf(1, 1, 4, 4), 2, weights=leaf(2, 2))


def test_indices_are_given_where_asked_for():
    x = leaf(1, 2, 4, 4)
    y, indices = F.max_pool2d(x, 2, return_indices=True)
    assert_array_equal(indices.data, nc.max_pool2d(x.data, 2, return_indices=True)[1])
    assert y.requires_grad and not indices.requires_grad
    with no_grad():
        assert isinstance(F.max_pool2d(x, 2), Tensor)


WINDOWS = [
    ((2, 3, 5, 6), {"kernel_size": (3, 2), "dilation": 2, "padding": 1, "stride": 2}),
    ((2, 3, 5, 6), {"kernel_size": 2}),
    ((3, 5, 6), {"kernel_size": 2}),
    ((2, 3, 7), {"kernel_size": (3,), "padding": (1,)}),
    ((2, 2, 3, 4, 3), {"kernel_size": 2}),
    ((2, 5, 6, 3), {"kernel_size": (2, 3), "data_format": "NHWC"}),
]


@pytest.mark.parametrize("shape, options", WINDOWS, ids=str)
def test_unfold_and_fold(shape, options):
    x = leaf(*shape)
    check(lambda x: F.unfold(x, **options), x)
    columns = Tensor(F.unfold(x, **options).data, requires_grad=True)
    if options.get("data_format"):
        size = shape[1:-1]
    else:
        size = shape[-(1 if isinstance(options["kernel_size"], tuple) and len(options["kernel_size"]) == 1 else 2) :]
    if len(shape) == 5:
        size = shape[2:]
    check(lambda c: F.fold(c, size, **options), columns)


# --- signals


@pytest.mark.parametrize("boundary", ["zeros", "reflect", "mirror", "nearest", "wrap"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
@pytest.mark.parametrize(
    "a, v, axes",
    [((7,), (3,), None), ((4,), (6,), None), ((3, 7), (4,), 1), ((5, 6), (2, 3), None), ((5, 2, 6), (3, 4), (2, 0)),
     ((2, 7), (2, 3), 1), ((1, 7), (2, 3), (1,)), ((5, 6), (4, 3), (0, 1))],
    ids=str,
)  # fmt: skip
def test_signals(name, mode, boundary, a, v, axes):
    if boundary != "zeros" and (mode == "valid" or a == (4,)):
        pytest.skip("without effect, or the other operand's")
    a, v = leaf(*a), leaf(*v, seed=1)
    f = getattr(F, name)
    y = f(a, v, mode, axes, boundary=boundary)
    assert_allclose(y.data, getattr(nc, name)(a.data, v.data, mode, axes, boundary=boundary), rtol=1e-10, atol=1e-10)
    gradcheck(lambda a, v: f(a, v, mode, axes, boundary=boundary), (a, v), fast_mode=True)
    gradgradcheck(lambda a, v: f(a, v, mode, axes, boundary=boundary), (a, v), fast_mode=True)


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 3)])
@pytest.mark.parametrize("boundary", ["reflect", "zeros"])
def test_filters(shape, boundary):
    image, kernel = leaf(*shape), leaf(3, 4, seed=1)
    y = F.filter(image, kernel, boundary)
    assert_allclose(y.data, nc.filter(image.data, kernel.data, boundary), rtol=1e-10, atol=1e-10)
    check(lambda i, k: F.filter(i, k, boundary), image, kernel)
    with no_grad():
        assert_allclose(F.filter(image, kernel, boundary).data, y.data, rtol=1e-10, atol=1e-10)


def test_signals_with_a_value_outside_and_errors():
    a, v = leaf(7), leaf(3, seed=1)
    y = F.convolve(a, v, "same", cval=2.5)
    assert_allclose(y.data, nc.convolve(a.data, v.data, "same", cval=2.5), rtol=1e-12)
    gradcheck(lambda a, v: F.convolve(a, v, "same", cval=2.5), (a, v))
    with pytest.raises(ValueError, match="mode"):
        F.convolve(a, v, "middle")
    with pytest.raises(ValueError, match="boundary"):
        F.convolve(a, v, boundary="edgy")
    with pytest.raises(ValueError, match="axes"):
        F.convolve(a, v, axes=3)
    with pytest.raises(ValueError, match="kernel"):
        F.filter(leaf(4, 4), leaf(3))
    with pytest.raises(ValueError, match="image"):
        F.filter(leaf(4), leaf(3, 3))


# --- layouts


def test_a_net_stays_in_one_layout():
    x = last(leaf(2, 3, 9, 8))
    weights = [leaf(8, 3, 3, 3, seed=1), leaf(8, 8, 3, 3, seed=2)]
    inside = []

    def look(name, inputs, attributes, result):
        results = result if isinstance(result, tuple) else (result,)
        inside.extend((name, r.data) for r in results if r.ndim == 4 and r.shape[0] == 2)

    from numconv.autograd import record

    with record(look):
        y = F.conv2d(x, weights[0], padding=1)
        y = F.conv2d(y * 2.0 + 1.0, weights[1], padding=1, residual=y)
        y = F.max_pool2d(y, 2)
        y = F.cat([y, y[:, :3] * 2], 1)
        y = F.avg_pool2d(F.pixel_unshuffle(y, 2), 2)
        (y * y).sum().backward()
    assert len(inside) > 20
    assert [name for name, array in inside if name != "index" and not (lies_last(array) or 0 in array.strides)] == []
    assert lies_last(x.grad.data)


# --- arrays of another kind


class Foreign:
    """An array that NumPy must not be called on."""

    def __init__(self, inside):
        self.inside = inside

    shape, dtype, strides, itemsize = (
        property(lambda self, name=name: getattr(self.inside, name))
        for name in ("shape", "dtype", "strides", "itemsize")
    )
    ndim = property(lambda self: self.inside.ndim)

    def transpose(self, axes):
        return Foreign(self.inside.transpose(axes))

    def __array__(self, *arguments, **options):
        raise AssertionError("NumPy was called on an array of a device")

    __array_ufunc__ = None


def _inside(value):
    return value.inside if isinstance(value, Foreign) else value


def _wrapped(value):
    if isinstance(value, tuple):
        return tuple(map(_wrapped, value))
    return Foreign(np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value


def on_device(function):
    def call(*operands, **options):
        result = function(*map(_inside, operands), **options)
        return _wrapped(result) if any(isinstance(o, Foreign) for o in operands) else result

    return call


@pytest.fixture
def device(monkeypatch):
    from numconv.ops import arrays as entries
    from numconv.ops import channels, device, indexing

    monkeypatch.setitem(device._tables, Foreign, {})
    for module in (entries, indexing, channels):
        for name, function in vars(module).items():
            if hasattr(function, "__wrapped__"):
                device.table(Foreign)[name] = on_device(function.__wrapped__)
    device.table(Foreign)["asarray"] = lambda value, dtype=None: value
    device.table(Foreign)["to_numpy"] = lambda value, readonly=False: value.inside
    from numconv.autograd import rules_conv, rules_pool

    for module in (
        rules_conv.convolution, rules_conv.convolution_gradients, rules_pool.pooling, rules_pool.pooling_gradients,
    ):  # fmt: skip
        for name in TABLE:
            if hasattr(module, name):
                monkeypatch.setattr(TABLE[name], "forward", on_device(TABLE[name].forward))
    return Foreign


def test_a_step_calls_numpy_on_nothing(device):
    rng = np.random.default_rng(0)
    x, w, b, fc = (rng.standard_normal(s) for s in [(2, 3, 8, 8), (4, 3, 3, 3), (4,), (64, 5)])
    target = rng.standard_normal((2, 5))

    def step(make):
        image, weight, bias, head = make(x), make(w), make(b), make(fc)
        for tensor in (weight, bias, head):
            tensor.requires_grad = True
        y = F.max_pool2d(F.maximum(F.conv2d(image, weight, bias, padding=1), 0.0), 2)
        loss = ((y.flatten(1) @ head - make(target)) ** 2).mean()
        loss.backward(create_graph=True)
        slope = (weight.grad * weight.grad).sum() + head.grad[0].mean()
        weight.grad = bias.grad = head.grad = None
        slope.backward()
        with no_grad():
            weight -= weight.grad * 0.1
        return loss, weight, head.grad

    ours = step(lambda a: Tensor(Foreign(a.copy())))
    for value, expected in zip(ours, step(lambda a: Tensor(a.copy()))):
        assert isinstance(value.data, Foreign)
        assert_allclose(value.data.inside, expected.data, rtol=1e-12)


def test_what_has_no_gradient():
    x = leaf(3)
    results = [
        apply("sign", x),
        x < 0,
        x == 0.0,
        x.argmax(),
        x.argmin(0),
        apply("one_hot", [0], size=3, axis=0, dtype=float),
    ]
    assert not any(y.requires_grad for y in results)
