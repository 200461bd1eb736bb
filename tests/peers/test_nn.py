"""Layers are PyTorch's: how they are shown, their names and shapes of weights, results and gradients."""

import inspect
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from numconv import nn
from numconv.autograd import Tensor

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:Implicit dimension:UserWarning")]

# (make from a library's nn, shapes of the inputs)
LAYERS = {
    "conv1d": (lambda n: n.Conv1d(4, 6, 3, 2, 1, 2, 2), (2, 4, 9)),
    "conv2d": (lambda n: n.Conv2d(2, 3, 3), (1, 2, 6, 5)),
    "conv2d_all": (lambda n: n.Conv2d(4, 8, (3, 2), (2, 1), (1, 2), (1, 2), 2, False, "circular"), (2, 4, 8, 9)),
    "conv2d_same": (lambda n: n.Conv2d(2, 3, 3, padding="same"), (1, 2, 6, 5)),
    "conv2d_valid": (lambda n: n.Conv2d(2, 3, 3, padding="valid"), (2, 6, 5)),
    "conv3d": (lambda n: n.Conv3d(1, 2, 2, padding=1), (1, 1, 3, 4, 3)),
    "conv_transpose1d": (lambda n: n.ConvTranspose1d(2, 3, 3, 2), (1, 2, 4)),
    "conv_transpose2d": (lambda n: n.ConvTranspose2d(4, 4, 3, 2, 1, 1, 2, True, 2), (1, 4, 3, 4)),
    "conv_transpose3d": (lambda n: n.ConvTranspose3d(1, 1, 2, 2, bias=False), (1, 1, 2, 2, 2)),
    "linear": (lambda n: n.Linear(5, 3), (2, 4, 5)),
    "linear_without_bias": (lambda n: n.Linear(5, 3, bias=False), (5,)),
    "batch_norm1d": (lambda n: n.BatchNorm1d(3), (4, 3)),
    "batch_norm2d": (lambda n: n.BatchNorm2d(3, 1e-3, 0.2), (4, 3, 2, 2)),
    "batch_norm2d_mean": (lambda n: n.BatchNorm2d(3, momentum=None), (4, 3, 2, 2)),
    "batch_norm2d_plain": (lambda n: n.BatchNorm2d(3, affine=False, track_running_stats=False), (4, 3, 2, 2)),
    "batch_norm3d": (lambda n: n.BatchNorm3d(3), (4, 3, 2, 2, 2)),
    "group_norm": (lambda n: n.GroupNorm(2, 4), (2, 4, 3, 3)),
    "group_norm_plain": (lambda n: n.GroupNorm(2, 4, affine=False), (2, 4, 3, 3)),
    "layer_norm": (lambda n: n.LayerNorm((3, 2)), (4, 3, 2)),
    "layer_norm_plain": (lambda n: n.LayerNorm(2, elementwise_affine=False), (4, 3, 2)),
    "layer_norm_no_bias": (lambda n: n.LayerNorm([2], 1e-3, bias=False), (4, 3, 2)),
    "local_response_norm": (lambda n: n.LocalResponseNorm(3, 0.1, k=2.0), (1, 5, 2, 2)),
    "max_pool1d": (lambda n: n.MaxPool1d(3, 2, 1), (1, 2, 9)),
    "max_pool2d": (lambda n: n.MaxPool2d((3, 2), 2, (1, 0), ceil_mode=True), (1, 2, 8, 8)),
    "max_pool3d": (lambda n: n.MaxPool3d(2, dilation=2), (1, 1, 6, 6, 6)),
    "avg_pool1d": (lambda n: n.AvgPool1d(3, 1, 1, count_include_pad=False), (1, 2, 5)),
    "avg_pool2d": (lambda n: n.AvgPool2d(2, divisor_override=3), (1, 2, 4, 4)),
    "avg_pool3d": (lambda n: n.AvgPool3d((2, 1, 2)), (1, 1, 4, 4, 4)),
    "lp_pool1d": (lambda n: n.LPPool1d(2, 3), (1, 2, 9)),
    "lp_pool2d": (lambda n: n.LPPool2d(3, 2, 1), (1, 2, 4, 4)),
    "lp_pool3d": (lambda n: n.LPPool3d(2, 2), (1, 1, 4, 4, 4)),
    "adaptive_avg_pool1d": (lambda n: n.AdaptiveAvgPool1d(3), (1, 2, 7)),
    "adaptive_avg_pool2d": (lambda n: n.AdaptiveAvgPool2d((3, None)), (1, 2, 7, 5)),
    "adaptive_avg_pool3d": (lambda n: n.AdaptiveAvgPool3d(1), (1, 2, 3, 4, 5)),
    "adaptive_max_pool1d": (lambda n: n.AdaptiveMaxPool1d(3), (1, 2, 7)),
    "adaptive_max_pool2d": (lambda n: n.AdaptiveMaxPool2d((2, 3)), (1, 2, 7, 5)),
    "adaptive_max_pool3d": (lambda n: n.AdaptiveMaxPool3d(2), (1, 2, 3, 4, 5)),
    "upsample": (lambda n: n.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 3, 4)),
    "upsample_several": (lambda n: n.Upsample(scale_factor=(2, 3)), (1, 2, 3, 4)),
    "upsample_size": (lambda n: n.Upsample((7, 5), mode="bicubic", align_corners=True), (1, 2, 3, 4)),
    "pixel_shuffle": (lambda n: n.PixelShuffle(2), (1, 8, 3, 4)),
    "pixel_unshuffle": (lambda n: n.PixelUnshuffle(2), (1, 2, 4, 4)),
    "unfold": (lambda n: n.Unfold((2, 3)), (1, 2, 4, 4)),
    "fold": (lambda n: n.Fold((4, 4), 2), (1, 8, 9)),
    "constant_pad1d": (lambda n: n.ConstantPad1d((1, 2), 3.5), (1, 2, 4)),
    "constant_pad2d": (lambda n: n.ConstantPad2d((1, 2, 0, -1), 3.5), (1, 2, 4, 4)),
    "constant_pad3d": (lambda n: n.ConstantPad3d(1, 3.5), (1, 2, 4, 4, 2)),
    "zero_pad1d": (lambda n: n.ZeroPad1d(2), (1, 2, 4)),
    "zero_pad2d": (lambda n: n.ZeroPad2d((1, 2, 3, 4)), (1, 2, 4, 3)),
    "zero_pad3d": (lambda n: n.ZeroPad3d(2), (1, 2, 4, 3, 2)),
    "reflection_pad1d": (lambda n: n.ReflectionPad1d(2), (1, 2, 4)),
    "reflection_pad2d": (lambda n: n.ReflectionPad2d((1, 0, 2, 1)), (1, 2, 4, 3)),
    "reflection_pad3d": (lambda n: n.ReflectionPad3d(1), (1, 1, 2, 2, 3)),
    "replication_pad1d": (lambda n: n.ReplicationPad1d(2), (1, 2, 4)),
    "replication_pad2d": (lambda n: n.ReplicationPad2d(1), (1, 2, 4, 3)),
    "replication_pad3d": (lambda n: n.ReplicationPad3d(1), (1, 1, 2, 2, 3)),
    "circular_pad1d": (lambda n: n.CircularPad1d(2), (1, 2, 4)),
    "circular_pad2d": (lambda n: n.CircularPad2d(1), (1, 2, 4, 3)),
    "circular_pad3d": (lambda n: n.CircularPad3d(1), (1, 1, 2, 2, 3)),
    "identity": (lambda n: n.Identity(54, unused=True), (2, 3)),
    "flatten": (lambda n: n.Flatten(), (2, 3, 4)),
    "unflatten": (lambda n: n.Unflatten(1, (2, 3)), (2, 6, 4)),
    "relu": (lambda n: n.ReLU(), (3, 4)),
    "relu_inplace": (lambda n: n.Sequential(n.AvgPool1d(1), n.ReLU(inplace=True)), (1, 3, 4)),
    "relu6": (lambda n: n.ReLU6(), (3, 4)),
    "leaky_relu": (lambda n: n.LeakyReLU(0.2), (3, 4)),
    "elu": (lambda n: n.ELU(0.5), (3, 4)),
    "gelu": (lambda n: n.GELU("tanh"), (3, 4)),
    "sigmoid": (lambda n: n.Sigmoid(), (3, 4)),
    "tanh": (lambda n: n.Tanh(), (3, 4)),
    "silu": (lambda n: n.SiLU(), (3, 4)),
    "hardswish": (lambda n: n.Hardswish(), (3, 4)),
    "softmax_implicit": (lambda n: n.Softmax(), (3, 4, 2)),
    "softmax": (lambda n: n.Softmax(dim=1), (3, 4)),
    "log_softmax": (lambda n: n.LogSoftmax(dim=-1), (3, 4)),
    "dropout": (lambda n: n.Dropout(0.0), (3, 4)),
    "dropout1d": (lambda n: n.Dropout1d(0.0), (3, 4, 2)),
    "dropout2d": (lambda n: n.Dropout2d(0.0, inplace=False), (3, 4, 2, 2)),
    "dropout3d": (lambda n: n.Dropout3d(0.0), (3, 4, 2, 2, 2)),
    "net": (
        lambda n: n.Sequential(
            n.Conv2d(3, 8, 3, padding=1, bias=False), n.BatchNorm2d(8), n.ReLU(inplace=True), n.MaxPool2d(2),
            n.Sequential(n.Conv2d(8, 4, 1), n.Tanh()), n.Flatten(), n.Linear(64, 5),
        ),
        (2, 3, 8, 8),
    ),
}  # fmt: skip
each_layer = pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS)
WITHOUT_PEER = {
    "ChannelShuffle", "DepthwiseSeparableConv2d", "GlobalAvgPool", "GlobalMaxPool", "GraphConv", "WeightedAvgPool1d",
    "WeightedAvgPool2d", "WeightedAvgPool3d", "DiceLoss", "HingeLoss", "L1Penalty", "L2Penalty",
}  # fmt: skip


@each_layer
def test_repr_to_the_letter(make, shape):
    assert repr(make(nn)) == repr(make(torch.nn))


def test_repr_of_lists():
    def make(n):
        layers = [n.Linear(2, 2), n.Linear(2, 2), n.Sequential(n.ReLU(), n.ReLU()), n.Sequential(n.ReLU(), n.ReLU())]
        return n.ModuleDict({"a": n.ModuleList(layers), "b": n.ModuleList(), "c": n.ModuleDict(), "d": n.Sequential()})

    assert repr(make(nn)) == repr(make(torch.nn))


@each_layer
@pytest.mark.parametrize("training", [True, False])
def test_results_and_gradients(make, shape, training):
    ours, theirs = make(nn).double().train(training), make(torch.nn).double().train(training)
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    assert {n: a.shape for n, a in ours.state_dict().items()} == {n: tuple(t.shape) for n, t in state.items()}
    ours.load_state_dict({name: tensor.numpy() for name, tensor in state.items()})
    rng = np.random.default_rng(0)
    value = rng.standard_normal(shape)
    x, y = Tensor(value, requires_grad=True), torch.tensor(value, requires_grad=True)
    a, b = ours(x), theirs(y)
    assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12)
    grad = rng.standard_normal(a.shape)
    a.backward(grad)
    b.backward(torch.tensor(grad))
    assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-9, atol=1e-11)
    for p, q in zip(ours.parameters(), theirs.parameters()):
        assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-9, atol=1e-11)
    for name, tensor in theirs.state_dict().items():  # running statistics
        assert_allclose(ours.state_dict()[name], tensor.numpy(), rtol=1e-12)


def test_unpooling():
    value = np.random.default_rng(0).standard_normal((1, 2, 6, 5))
    a = nn.MaxUnpool2d(2)(*nn.MaxPool2d(2, return_indices=True)(Tensor(value)), output_size=(6, 5))
    b = torch.nn.MaxUnpool2d(2)(
        *torch.nn.MaxPool2d(2, return_indices=True)(torch.tensor(value)), output_size=(6, 5)
    )  # fmt: skip
    assert_allclose(a.numpy(), b.numpy())
    for n in (nn, torch.nn):
        assert repr(n.MaxUnpool2d(2, 3)) == "MaxUnpool2d(kernel_size=(2, 2), stride=(3, 3), padding=(0, 0))"


LOSSES = {
    "cross_entropy": lambda n, a: n.CrossEntropyLoss(a([1.0, 2.0, 0.5]), label_smoothing=0.1, ignore_index=2),
    "nll": lambda n, a: n.NLLLoss(a([1.0, 2.0, 0.5]), reduction="sum"),
    "mse": lambda n, a: n.MSELoss(),
    "l1": lambda n, a: n.L1Loss(reduction="none"),
    "smooth_l1": lambda n, a: n.SmoothL1Loss(beta=0.3),
    "bce": lambda n, a: n.BCEWithLogitsLoss(a([[1.0], [2.0], [3.0]]), pos_weight=a([2.0, 1.0, 1.0, 0.5, 3.0])),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    rng = np.random.default_rng(0)
    ours, theirs = LOSSES[name](nn, np.array), LOSSES[name](torch.nn, lambda v: torch.tensor(v, dtype=torch.float64))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    value = rng.standard_normal((4, 3, 5))
    target = rng.integers(0, 3, (4, 5)) if name in ("cross_entropy", "nll") else rng.random((4, 3, 5))
    x, y = Tensor(value, requires_grad=True), torch.tensor(value, requires_grad=True)
    a, b = ours(x, target), theirs(y, torch.tensor(target))
    assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12)
    a.sum().backward()
    b.sum().backward()
    assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-11, atol=1e-13)


def classes(module):
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, (nn.Module, torch.nn.Module)) and name != "Module"
    }


def test_every_layer_is_compared():
    compared = {type(layer).__name__ for make, _ in LAYERS.values() for layer in make(nn).modules()}
    losses = {name for name in classes(nn) if name.endswith("Loss")}
    others = {"ModuleList", "ModuleDict", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"}
    assert set(classes(nn)) <= compared | losses | others | WITHOUT_PEER


@pytest.mark.parametrize("name", sorted(set(classes(nn)) - WITHOUT_PEER))
def test_arguments_are_pytorchs(name):
    ours = inspect.signature(classes(nn)[name].__init__).parameters
    theirs = inspect.signature(classes(torch.nn)[name].__init__).parameters
    gone = {"device", "size_average", "reduce", "_random_samples"}
    wanted = [p for p in theirs.values() if p.name not in gone]
    for a, b in zip(ours.values(), wanted):
        assert a.name == b.name or a.kind is a.VAR_POSITIONAL
        if a.default is not a.empty and b.default is not b.empty:
            assert a.default == b.default


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda n: n.Conv2d(16, 32, 3, groups=4), "weight"),
        (lambda n: n.Conv2d(16, 640, 3), "bias"),
        (lambda n: n.ConvTranspose2d(16, 32, 3, groups=4), "weight"),
        (lambda n: n.ConvTranspose2d(16, 640, 3, groups=4), "bias"),
        (lambda n: n.Linear(300, 40), "weight"),
        (lambda n: n.Linear(300, 400), "bias"),
    ],
)
def test_first_values_are_spread_alike(make, name):
    nn.init.seed(0)
    torch.manual_seed(0)
    a = getattr(make(nn), name).numpy().ravel()
    b = getattr(make(torch.nn), name).detach().numpy().ravel()
    assert np.abs(a).max() == pytest.approx(np.abs(b).max(), rel=0.1)
    assert a.std() == pytest.approx(b.std(), rel=0.2)
    assert a.dtype == b.dtype


@pytest.mark.parametrize("name", ["linear", "conv2d", "tanh", "relu", "leaky_relu", "selu", "sigmoid"])
def test_gains(name):
    assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)


@pytest.mark.parametrize(
    "fill",
    [
        lambda n, w: n.init.xavier_uniform_(w, 2.0),
        lambda n, w: n.init.xavier_normal_(w),
        lambda n, w: n.init.kaiming_uniform_(w, 0.3),
        lambda n, w: n.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
        lambda n, w: n.init.trunc_normal_(w, 0.5, 2.0, 0.0, 3.0),
        lambda n, w: n.init.orthogonal_(w, 3.0),
        lambda n, w: n.init.uniform_(w, -3, 2),
        lambda n, w: n.init.normal_(w, -3, 2),
    ],
)
def test_fillings_have_the_same_moments(fill):
    shape = (60, 50, 3, 3)
    a = fill(nn, Tensor(np.zeros(shape, "float32"))).numpy()
    b = fill(torch.nn, torch.zeros(shape)).numpy()
    near = 6 / math.sqrt(a.size)
    assert abs(a.mean() - b.mean()) < near * b.std() * 2
    assert a.std() == pytest.approx(b.std(), rel=3 * near)
    assert np.abs(a).max() == pytest.approx(np.abs(b).max(), rel=0.3)


@pytest.mark.parametrize("optimiser", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_training_is_pytorchs(optimiser):
    from numconv import optim

    make = LAYERS["net"][0]
    ours, theirs = make(nn).double(), make(torch.nn).double()
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    options = {"lr": 0.02, "momentum": 0.9} if optimiser == "SGD" else {"lr": 0.002}
    a = getattr(optim, optimiser)(ours.parameters(), **options)
    b = getattr(torch.optim, optimiser)(theirs.parameters(), **options)
    schedule, other = optim.lr_scheduler.StepLR(a, 4, 0.5), torch.optim.lr_scheduler.StepLR(b, 4, 0.5)
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((8, 3, 8, 8)), rng.integers(0, 5, 8)
    losses = []
    for _ in range(10):
        a.zero_grad()
        loss = nn.CrossEntropyLoss()(ours(x), target)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(ours.parameters(), 0.5)
        a.step()
        schedule.step()
        b.zero_grad()
        wanted = torch.nn.CrossEntropyLoss()(theirs(torch.tensor(x)), torch.tensor(target))
        wanted.backward()
        wanted_norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        b.step()
        other.step()
        losses.append(loss.item())
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-9)
        assert norm == pytest.approx(wanted_norm.item(), rel=1e-8)
    assert losses[-1] < losses[0]
    for name, tensor in theirs.eval().state_dict().items():
        assert_allclose(ours.eval().state_dict()[name], tensor.numpy(), rtol=1e-6, atol=1e-9)
