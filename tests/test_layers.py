"""Layers: each computes what the function of its name computes, trains as it should, and says what is wrong."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import numconv as nc
from numconv import nn
from numconv.autograd import Tensor, no_grad

RNG = np.random.default_rng(0)


def image(*shape, dtype="float32"):
    return RNG.standard_normal(shape).astype(dtype)


# layer, shape of its input, what it computes from input and parameters (bare arrays)
LAYERS = [
    (nn.Conv1d(4, 6, 3, 2, 1, 2, 2), (2, 4, 9), lambda x, w, b: nc.conv1d(x, w, b, 2, 1, 2, 2)),
    (nn.Conv2d(2, 3, (3, 2), padding="same"), (1, 2, 6, 5), lambda x, w, b: nc.conv2d(x, w, b, padding="same")),
    (
        nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode="reflect", bias=False), (1, 2, 6, 5),
        lambda x, w: nc.conv2d(x, w, padding=(2, 1), padding_mode="reflect"),
    ),
    (nn.Conv2d(2, 3, 3, padding=((1, 2), (0, 1))), (2, 6, 5), lambda x, w, b: nc.conv2d(x, w, b, 1, ((1, 2), (0, 1)))),
    (nn.Conv3d(1, 2, 2, padding=1), (1, 1, 3, 4, 3), lambda x, w, b: nc.conv3d(x, w, b, padding=1)),
    (nn.ConvTranspose1d(2, 3, 3, 2), (1, 2, 4), lambda x, w, b: nc.conv_transpose1d(x, w, b, 2)),
    (
        nn.ConvTranspose2d(4, 4, 3, 2, 1, 1, 2, dilation=2), (1, 4, 3, 4),
        lambda x, w, b: nc.conv_transpose2d(x, w, b, 2, 1, 1, 2, 2),
    ),
    (nn.ConvTranspose3d(1, 1, 2, 2, bias=False), (1, 1, 2, 2, 2), lambda x, w: nc.conv_transpose3d(x, w, stride=2)),
    (
        nn.DepthwiseSeparableConv2d(3, 5, 3, 2, 1), (1, 3, 7, 7),
        lambda x, d, p, b: nc.separable_conv2d(x, d, p, b, 2, 1),
    ),
    (nn.Linear(5, 3), (2, 4, 5), nc.linear),
    (nn.Linear(5, 3, bias=False), (5,), nc.linear),
    (nn.GroupNorm(2, 4), (2, 4, 3, 3), lambda x, w, b: nc.group_norm(x, 2, w, b)),
    (nn.LayerNorm((3, 2)), (4, 3, 2), lambda x, w, b: nc.layer_norm(x, (3, 2), w, b)),
    (nn.LayerNorm(2, elementwise_affine=False), (4, 3, 2), lambda x: nc.layer_norm(x, 2)),
    (nn.LocalResponseNorm(3, 0.1), (1, 5, 2, 2), lambda x: nc.local_response_norm(x, 3, 0.1)),
    (nn.MaxPool1d(3, 2, 1), (1, 2, 9), lambda x: nc.max_pool1d(x, 3, 2, 1)),
    (nn.MaxPool2d(3, 2, 1, ceil_mode=True), (1, 2, 8, 8), lambda x: nc.max_pool2d(x, 3, 2, 1, ceil_mode=True)),
    (nn.MaxPool3d(2, dilation=2), (1, 1, 6, 6, 6), lambda x: nc.max_pool3d(x, 2, 2, dilation=2)),
    (nn.AvgPool1d(3, 1, 1, count_include_pad=False), (1, 2, 5), lambda x: nc.avg_pool1d(x, 3, 1, 1, False, False)),
    (nn.AvgPool2d(2, divisor_override=3), (1, 2, 4, 4), lambda x: nc.avg_pool2d(x, 2, divisor_override=3)),
    (nn.AvgPool3d(2), (1, 1, 4, 4, 4), lambda x: nc.avg_pool3d(x, 2)),
    (nn.LPPool1d(2, 3), (1, 2, 9), lambda x: nc.lp_pool1d(x, 2, 3)),
    (nn.LPPool2d(3, 2, 1), (1, 2, 4, 4), lambda x: nc.lp_pool2d(x, 3, 2, 1)),
    (nn.LPPool3d(1, 2), (1, 1, 4, 4, 4), lambda x: nc.lp_pool3d(x, 1, 2)),
    (nn.WeightedAvgPool1d(3), (1, 2, 9), lambda x: nc.weighted_avg_pool1d(x, 3)),
    (nn.WeightedAvgPool2d(3, 2, 1), (1, 2, 9, 9), lambda x: nc.weighted_avg_pool2d(x, 3, 2, 1)),
    (nn.WeightedAvgPool3d(3), (1, 2, 6, 6, 6), lambda x: nc.weighted_avg_pool3d(x, 3)),
    (nn.AdaptiveAvgPool1d(3), (1, 2, 7), lambda x: nc.adaptive_avg_pool1d(x, 3)),
    (nn.AdaptiveAvgPool2d((3, None)), (1, 2, 7, 5), lambda x: nc.adaptive_avg_pool2d(x, (3, None))),
    (nn.AdaptiveAvgPool3d(1), (1, 2, 3, 4, 5), lambda x: nc.adaptive_avg_pool3d(x, 1)),
    (nn.AdaptiveMaxPool1d(3), (1, 2, 7), lambda x: nc.adaptive_max_pool1d(x, 3)),
    (nn.AdaptiveMaxPool2d(3), (1, 2, 7, 5), lambda x: nc.adaptive_max_pool2d(x, 3)),
    (nn.AdaptiveMaxPool3d(2), (1, 2, 3, 4, 5), lambda x: nc.adaptive_max_pool3d(x, 2)),
    (nn.GlobalAvgPool(), (1, 2, 7, 5), nc.global_avg_pool),
    (nn.GlobalMaxPool(), (1, 2, 7, 5), nc.global_max_pool),
    (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 3, 4), lambda x: nc.interpolate(x, None, 2.0, "bilinear")),
    (nn.Upsample(7), (1, 2, 3), lambda x: nc.interpolate(x, 7)),
    (nn.PixelShuffle(2), (1, 8, 3, 4), lambda x: nc.pixel_shuffle(x, 2)),
    (nn.PixelUnshuffle(2), (1, 2, 4, 4), lambda x: nc.pixel_unshuffle(x, 2)),
    (nn.ChannelShuffle(2), (1, 6, 2, 2), lambda x: nc.channel_shuffle(x, 2)),
    (nn.Unfold(2), (1, 2, 4, 4), lambda x: nc.unfold(x, 2)),
    (nn.Fold((4, 4), 2), (1, 8, 9), lambda x: nc.fold(x, (4, 4), 2)),
    (nn.ConstantPad1d((1, 2), 3.0), (1, 2, 4), lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2)), constant_values=3)),
    (nn.ConstantPad2d(1, 3.0), (2, 4, 3), lambda x: np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=3)),
    (nn.ConstantPad3d(1, 3.0), (1, 2, 2, 2), lambda x: np.pad(x, ((0, 0), *((1, 1),) * 3), constant_values=3)),
    (nn.ZeroPad1d(2), (1, 4), lambda x: np.pad(x, ((0, 0), (2, 2)))),
    (nn.ZeroPad2d((1, 2, 3, 4)), (1, 2, 4, 3), lambda x: np.pad(x, ((0, 0), (0, 0), (3, 4), (1, 2)))),
    (nn.ZeroPad3d(1), (1, 2, 2, 2), lambda x: np.pad(x, ((0, 0), *((1, 1),) * 3))),
    (nn.ReflectionPad1d(2), (1, 4), lambda x: np.pad(x, ((0, 0), (2, 2)), "reflect")),
    (nn.ReflectionPad2d((1, 0, 2, 1)), (1, 4, 3), lambda x: np.pad(x, ((0, 0), (2, 1), (1, 0)), "reflect")),
    (nn.ReflectionPad3d(1), (1, 2, 2, 3), lambda x: np.pad(x, ((0, 0), *((1, 1),) * 3), "reflect")),
    (nn.ReplicationPad1d(2), (1, 4), lambda x: np.pad(x, ((0, 0), (2, 2)), "edge")),
    (nn.ReplicationPad2d(1), (1, 4, 3), lambda x: np.pad(x, ((0, 0), (1, 1), (1, 1)), "edge")),
    (nn.ReplicationPad3d(1), (1, 2, 2, 3), lambda x: np.pad(x, ((0, 0), *((1, 1),) * 3), "edge")),
    (nn.CircularPad1d(2), (1, 4), lambda x: np.pad(x, ((0, 0), (2, 2)), "wrap")),
    (nn.CircularPad2d(1), (1, 4, 3), lambda x: np.pad(x, ((0, 0), (1, 1), (1, 1)), "wrap")),
    (nn.CircularPad3d(1), (1, 2, 2, 3), lambda x: np.pad(x, ((0, 0), *((1, 1),) * 3), "wrap")),
    (nn.Identity(5, inplace=True), (2, 3), lambda x: x),
    (nn.Flatten(), (2, 3, 4, 5), lambda x: x.reshape(2, 60)),
    (nn.Flatten(0, 1), (2, 3, 4), lambda x: x.reshape(6, 4)),
    (nn.Unflatten(1, (2, -1)), (2, 6, 4), lambda x: x.reshape(2, 2, 3, 4)),
    (nn.ReLU(inplace=True), (3, 4), nc.relu),
    (nn.ReLU6(), (3, 4), nc.relu6),
    (nn.LeakyReLU(0.2), (3, 4), lambda x: nc.leaky_relu(x, 0.2)),
    (nn.ELU(0.5), (3, 4), lambda x: nc.elu(x, 0.5)),
    (nn.GELU(), (3, 4), nc.gelu),
    (nn.GELU("tanh"), (3, 4), lambda x: nc.gelu(x, "tanh")),
    (nn.Sigmoid(), (3, 4), nc.sigmoid),
    (nn.Tanh(), (3, 4), nc.tanh),
    (nn.SiLU(), (3, 4), nc.silu),
    (nn.Hardswish(), (3, 4), nc.hardswish),
    (nn.Softmax(1), (3, 4, 2), lambda x: nc.softmax(x, 1)),
    (nn.LogSoftmax(1), (3, 4, 2), lambda x: nc.log_softmax(x, 1)),
]  # fmt: skip
IDS = [f"{type(layer).__name__}-{'x'.join(map(str, shape))}" for layer, shape, _ in LAYERS]


@pytest.mark.parametrize(("layer", "shape", "function"), LAYERS, ids=IDS)
def test_a_layer_is_its_function(layer, shape, function):
    x = image(*shape)
    kept = x.copy()
    result = layer(Tensor(x))
    with np.errstate(all="ignore"):
        wanted = function(x, *(p.numpy() for p in layer.parameters()))
    assert_array_equal(result.numpy(), wanted)
    assert_array_equal(x, kept)
    with no_grad():
        assert_array_equal(np.asarray(layer.eval()(x)), wanted)  # a bare array
    layer.train()


@pytest.mark.parametrize(("layer", "shape", "function"), LAYERS, ids=IDS)
def test_gradients_reach_input_and_parameters(layer, shape, function):
    x = Tensor(image(*shape), requires_grad=True)
    (layer(x) * 2.0).sum().backward()
    for tensor in (x, *layer.parameters()):
        assert tensor.grad.shape == tensor.shape and tensor.grad.dtype == tensor.dtype
        tensor.grad = None


def test_max_pooling_gives_indices_that_unpooling_takes():
    for pool, unpool, size in (
        (nn.MaxPool1d(2, return_indices=True), nn.MaxUnpool1d(2), (6,)),
        (nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2), (6, 4)),
        (nn.MaxPool3d(2, return_indices=True), nn.MaxUnpool3d(2), (6, 4, 2)),
    ):
        x = image(1, 2, *size)
        values, indices = pool(Tensor(x))
        restored = unpool(values, indices).numpy()
        assert_array_equal(pool(Tensor(restored))[0].numpy(), np.maximum(values.numpy(), 0))
        assert_array_equal(restored[restored != 0], x[restored != 0])
        larger = unpool(values, indices, output_size=(1, 2, *(n + 1 for n in size)))
        assert larger.shape[2:] == tuple(n + 1 for n in size)
    values, indices = nn.AdaptiveMaxPool2d(2, return_indices=True)(Tensor(image(1, 2, 6, 4)))
    assert indices.shape == values.shape == (1, 2, 2, 2)


def test_transposed_convolution_takes_the_size_of_its_result():
    layer = nn.ConvTranspose2d(2, 3, 3, 2, 1)
    x = image(1, 2, 4, 4)
    for size in ((7, 8), (1, 3, 7, 8)):
        assert layer(Tensor(x), output_size=size).shape == (1, 3, 7, 8)
    with pytest.raises(ValueError, match="output_size"):
        layer(Tensor(x), output_size=(20, 20))


# --- batch norm and dropout: what training changes


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (nn.BatchNorm1d, (4, 3)),
        (nn.BatchNorm1d, (4, 3, 5)),
        (nn.BatchNorm2d, (4, 3, 5, 2)),
        (nn.BatchNorm3d, (2, 3, 2, 3, 4)),
    ],
)
def test_batch_norm_keeps_statistics_and_uses_them(kind, shape):
    layer = kind(3, momentum=0.25).double()
    axes = (0, *range(2, len(shape)))
    mean, var = np.zeros(3), np.ones(3)
    across = (3, *(1,) * (len(shape) - 2))
    for _ in range(3):
        x = 3 * image(*shape, dtype="float64") + 1
        y = layer(Tensor(x)).numpy()
        assert_allclose(y.mean(axes), 0, atol=1e-12)
        assert_allclose(y.var(axes), x.var(axes) / (x.var(axes) + 1e-5))
        mean = 0.75 * mean + 0.25 * x.mean(axes)
        var = 0.75 * var + 0.25 * x.var(axes, ddof=1)
    assert_allclose(layer.running_mean.numpy(), mean)
    assert_allclose(layer.running_var.numpy(), var)
    assert layer.num_batches_tracked.item() == 3
    y = layer.eval()(Tensor(x)).numpy()
    assert_allclose(y, (x - mean.reshape(across)) / np.sqrt(var.reshape(across) + 1e-5))
    assert layer.num_batches_tracked.item() == 3
    layer.reset_running_stats()
    assert_array_equal(layer.running_mean.numpy(), 0)
    assert_array_equal(layer.running_var.numpy(), 1)
    assert layer.num_batches_tracked.item() == 0


def test_batch_norm_without_momentum_keeps_the_mean_of_all():
    layer, batches = nn.BatchNorm1d(2, momentum=None).double(), [image(5, 2, dtype="float64") for _ in range(4)]
    for x in batches:
        layer(Tensor(x))
    assert_allclose(layer.running_mean.numpy(), np.mean([x.mean(0) for x in batches], 0))


def test_batch_norm_without_statistics_uses_the_batch_always():
    layer = nn.BatchNorm2d(3, track_running_stats=False).eval()
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert_allclose(layer(Tensor(image(4, 3, 5, 5) + 7)).numpy().mean((0, 2, 3)), 0, atol=1e-5)


def test_batch_norm_of_old_weights():
    layer = nn.BatchNorm2d(2)
    state = {name: array for name, array in layer.state_dict().items() if name != "num_batches_tracked"}
    assert layer.load_state_dict(state).missing_keys == []
    assert nn.Sequential(layer).load_state_dict({f"0.{n}": a for n, a in state.items()}).missing_keys == []


def test_parts_of_normalisations():
    assert [n for n, _ in nn.BatchNorm2d(3, affine=False).named_parameters()] == []
    assert [n for n, _ in nn.BatchNorm2d(3, bias=False).named_parameters()] == ["weight"]
    assert [n for n, _ in nn.GroupNorm(1, 3, affine=False).named_parameters()] == []
    assert [n for n, _ in nn.LayerNorm(3, bias=False).named_parameters()] == ["weight"]
    assert list(nn.BatchNorm2d(3).state_dict()) == [
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked",
    ]  # fmt: skip


def test_dropout_drops_in_training_only():
    nn.init.seed(0)
    layer, x = nn.Dropout(0.25), np.ones((100, 100), "float32")
    y = layer(Tensor(x)).numpy()
    assert (y == 0).mean() == pytest.approx(0.25, abs=0.02)
    assert_allclose(y[y != 0], 1 / 0.75, rtol=1e-6)
    assert_array_equal(np.asarray(layer.eval()(Tensor(x))), x)
    nn.init.seed(0)
    assert_array_equal(layer.train()(Tensor(x)).numpy(), y)
    assert_array_equal(nn.Dropout(1.0)(Tensor(x)).numpy(), 0)


@pytest.mark.parametrize(("kind", "size"), [(nn.Dropout1d, (5,)), (nn.Dropout2d, (5, 4)), (nn.Dropout3d, (2, 3, 4))])
def test_dropout_of_channels(kind, size):
    layer, x = kind(0.5), Tensor(np.ones((20, 30, *size), "float32"), requires_grad=True)
    y = layer(x)
    planes = y.numpy().reshape(20, 30, -1)
    assert (planes == planes[..., :1]).all()
    assert (planes[..., 0] == 0).mean() == pytest.approx(0.5, abs=0.1)
    y.sum().backward()
    assert_array_equal(x.grad.numpy(), y.numpy())
    assert_array_equal(np.asarray(layer.eval()(x).detach()), 1)
    with pytest.raises(ValueError, match="axes"):
        layer.train()(np.ones(3, "float32"))


# --- first values


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [(nn.Conv2d(8, 16, 3, groups=2), 36), (nn.ConvTranspose2d(8, 16, 3, groups=2), 72), (nn.Linear(64, 32), 64)],
    ids=["conv", "transposed", "linear"],
)
def test_first_values(layer, fan_in):
    for p in layer.parameters():
        bound = 1 / math.sqrt(fan_in)
        assert 0.9 * bound < np.abs(p.numpy()).max() <= bound * (1 + 1e-6) or p.numpy().size < 40
        assert np.abs(p.numpy()).max() <= bound * (1 + 1e-6) and p.numpy().std() > bound / 3
    before = layer.weight.numpy().copy()
    layer.reset_parameters()
    assert (layer.weight.numpy() != before).all()


def test_seeds_make_models_repeat():
    def make():
        nn.init.seed(5)
        return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(4, 5)).state_dict()

    first, second = make(), make()
    for name in first:
        assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_layers_of_another_dtype(dtype):
    layer = nn.Sequential(nn.Conv2d(1, 2, 3, dtype=dtype), nn.BatchNorm2d(2, dtype=dtype), nn.Flatten())
    layer.append(nn.Linear(8, 2, dtype=dtype))
    assert layer(Tensor(image(3, 1, 4, 4).astype(dtype))).dtype == dtype


# --- graphs

EDGES = np.array([[0, 1, 0, 0], [1, 0, 2, 0], [0, 2, 0, 0], [0, 0, 0, 0]], "float64")


def spread(a):
    looped = a + np.eye(len(a))
    d = np.diag(looped.sum(1) ** -0.5)
    return d @ looped @ d


@pytest.mark.parametrize("kind", ["dense", "csr", "coo", "matrix", "tensor", "ready"])
def test_graph_convolution(kind):
    sparse = pytest.importorskip("scipy.sparse")
    forms = {
        "dense": EDGES.astype(int), "csr": sparse.csr_array(EDGES), "coo": sparse.coo_array(EDGES),
        "matrix": sparse.csr_matrix(EDGES), "tensor": Tensor(EDGES), "ready": sparse.csr_array(spread(EDGES)),
    }  # fmt: skip
    layer = nn.GraphConv(3, 2, normalize=kind != "ready", dtype="float64")
    x = Tensor(image(4, 3, dtype="float64"), requires_grad=True)
    y = layer(x, forms[kind])
    assert_allclose(y.numpy(), spread(EDGES) @ x.numpy() @ layer.weight.numpy() + layer.bias.numpy())
    grad = image(4, 2, dtype="float64")
    y.backward(grad)
    assert_allclose(x.grad.numpy(), spread(EDGES).T @ grad @ layer.weight.numpy().T)
    assert_allclose(layer.weight.grad.numpy(), (spread(EDGES) @ x.numpy()).T @ grad)


def test_a_sparse_product_has_second_gradients():
    sparse = pytest.importorskip("scipy.sparse")
    from numconv.autograd import apply, grad

    matrix, x = sparse.csr_array(image(3, 4, dtype="float64")), Tensor(image(4, 2, dtype="float64"), True)
    y = apply("sparse_matmul", x, matrix=matrix)
    (first,) = grad((y * y * y).sum(), [x], create_graph=True)
    (second,) = grad(first.sum(), [x])
    assert_allclose(second.numpy(), matrix.T @ (6 * y.numpy() * (matrix @ np.ones((4, 2)))), rtol=1e-10)


# --- losses

X, T = image(4, 3, 5, dtype="float64"), image(4, 3, 5, dtype="float64")
CLASSES, SIDES = RNG.integers(0, 3, (4, 5)), RNG.choice([-1.0, 1.0], (4, 3, 5))
CLASS_WEIGHT = np.array([1.0, 2.0, 0.5])
LOSSES = [
    (nn.MSELoss(), X, T, ((X - T) ** 2).mean()),
    (nn.L1Loss("sum"), X, T, np.abs(X - T).sum()),
    (nn.SmoothL1Loss("none", 0.7), X, T, np.where(np.abs(X - T) < 0.7, (X - T) ** 2 / 1.4, np.abs(X - T) - 0.35)),
    (nn.HingeLoss(0.5), X, SIDES, np.maximum(0, 0.5 - X * SIDES).mean()),
    (nn.DiceLoss(2.0, "none"), X, T, 1 - (2 * (X * T).sum(2) + 2) / (X.sum(2) + T.sum(2) + 2)),
    (
        nn.BCEWithLogitsLoss(pos_weight=np.array(3.0)), X, T > 0,
        np.where(T > 0, 3 * np.log1p(np.exp(-X)), np.log1p(np.exp(X))).mean(),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "x", "target", "wanted"), LOSSES, ids=lambda v: type(v).__name__)
def test_losses(loss, x, target, wanted):
    x = Tensor(x, requires_grad=True)
    value = loss(x, np.asarray(target, float))
    assert_allclose(value.numpy(), wanted)
    value.sum().backward()
    assert x.grad.shape == x.shape and np.abs(x.grad.numpy()).max() > 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_and_likelihood(smoothing):
    logs = X - np.log(np.exp(X).sum(1, keepdims=True))
    goal = np.eye(3)[CLASSES].transpose(0, 2, 1)
    values = -(logs * goal * CLASS_WEIGHT[:, None]).sum(1)
    count = CLASS_WEIGHT[CLASSES].sum()
    if not smoothing:
        assert_allclose(nn.NLLLoss(CLASS_WEIGHT)(Tensor(logs), CLASSES).numpy(), values.sum() / count)
    values = (1 - smoothing) * values - smoothing / 3 * (logs * CLASS_WEIGHT[:, None]).sum(1)
    loss = nn.CrossEntropyLoss(CLASS_WEIGHT, label_smoothing=smoothing)
    assert list(loss.state_dict()) == ["weight"]
    assert_allclose(loss(Tensor(X), CLASSES).numpy(), values.sum() / count)
    ignoring = nn.CrossEntropyLoss(ignore_index=1, reduction="none")(Tensor(X), CLASSES).numpy()
    assert_array_equal(ignoring == 0, CLASSES == 1)


def test_penalties():
    layer = nn.Linear(3, 2, dtype="float64")
    for penalty, size in ((nn.L1Penalty(0.1), np.abs), (nn.L2Penalty(0.1), np.square)):
        value = penalty(layer.parameters())
        assert_allclose(value.numpy(), 0.1 * sum(size(p.numpy()).sum() for p in layer.parameters()))
        value.backward()
    assert_allclose(layer.bias.grad.numpy(), 0.1 * np.sign(layer.bias.numpy()) + 0.2 * layer.bias.numpy())
    assert repr(nn.L1Penalty(0.1)) == "L1Penalty(weight=0.1)"
    assert_allclose(nn.L2Penalty(2)(layer.weight).numpy(), 2 * np.square(layer.weight.numpy()).sum())


# --- errors


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "in_channels must be divisible by groups"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), ValueError, "out_channels must be divisible by groups"),
        (lambda: nn.Conv2d(3, 4, 0), ValueError, "kernel_size"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), ValueError, "kernel_size"),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1), ValueError, "padding"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="wrap"), ValueError, "padding_mode"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"), ValueError, "padding_mode"),
        (lambda: nn.Conv2d(3.0, 4, 3), TypeError, "in_channels"),
        (lambda: nn.Linear(-1, 4), ValueError, "in_features"),
        (lambda: nn.GroupNorm(2, 3), ValueError, "num_channels"),
        (lambda: nn.Dropout(1.5), ValueError, "p must"),
        (lambda: nn.GELU("fast"), ValueError, "approximate"),
        (lambda: nn.MSELoss("max"), ValueError, "reduction"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), ValueError, "label_smoothing"),
        (lambda: nn.L1Penalty(-1), ValueError, "weight"),
        (lambda: nn.L1Penalty(1)([]), ValueError, "parameters"),
        (lambda: nn.MaxUnpool2d((2, 2, 2)), ValueError, "kernel_size"),
        (lambda: nn.ZeroPad2d((1, 2, 3)), ValueError, "padding"),
        (lambda: nn.BatchNorm2d(3)(np.ones((2, 3, 4))), ValueError, "expected 4D input"),
        (lambda: nn.BatchNorm1d(3)(np.ones(3)), ValueError, "expected 2D or 3D input"),
        (lambda: nn.Conv2d(3, 4, 3)(np.ones((1, 2, 5, 5))), ValueError, "channels"),
        (lambda: nn.Linear(3, 4)(np.ones(5)), ValueError, "entries"),
        (lambda: nn.GraphConv(3, 2)(np.ones((4, 2)), EDGES), ValueError, "input must have shape"),
        (lambda: nn.normalized_adjacency(np.ones((3, 2))), ValueError, "square"),
    ],
)
def test_errors(make, error, said):
    with pytest.raises(error, match=said):
        make()


# --- training


def test_training_gives_the_same_bits_for_any_number_of_threads(threads, always_parallel):
    from numconv import optim

    x, target = image(8, 1, 12, 12), RNG.integers(0, 3, 8)

    def train(n):
        threads(n)
        nn.init.seed(1)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.2), nn.Conv2d(4, 8, 3),
            nn.Tanh(), nn.AvgPool2d(3), nn.Flatten(), nn.Dropout(0.1), nn.Linear(8, 3),
        )  # fmt: skip
        optimizer = optim.Adam(model.parameters(), lr=0.02)
        losses = []
        for _ in range(8):
            loss = nn.CrossEntropyLoss()(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        return losses, model.state_dict()

    losses, state = train(1)
    assert min(losses) < losses[0]
    for n in (2, 3):
        again, other = train(n)
        assert again == losses
        for name, array in state.items():
            assert_array_equal(other[name], array)
