"""Models on a GPU, in the simulator: they give what they give on the CPU, and nothing goes through the host."""

import importlib.util

import numpy as np
import pytest

import numconv as nc
from numconv import models, nn
from numconv.autograd import Tensor
from numconv.autograd import functional as F

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv.kernels.cuda import memory  # noqa: E402


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + x)


class Dense(nn.Module):
    """What is joined goes on through a batch norm that nothing can take in, and is joined again."""

    def __init__(self):
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)
        self.next, self.last = nn.Conv2d(8, 1, 1), nn.BatchNorm2d(9)

    def forward(self, x):
        y = self.conv(F.relu(self.bn(x)))
        z = self.next(F.concatenate([x, y], 1))
        return F.relu(self.last(F.concatenate([x, y, z], 1)))


class Scores(nn.Module):
    """Upsampling, as segmentation does it, and a choice of pixels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 3, 1)
        self.up = nn.ConvTranspose2d(4, 3, 2, 2)

    def forward(self, x):
        size = (x.shape[2] * 2, x.shape[3] * 2)
        scores = F.interpolate(self.conv(x), size, mode="bilinear", align_corners=False)
        return {"scores": F.softmax(scores + self.up(x), 1), "pixel": x[:, :, -1, 0] * 2.0 - 1.0}


def net(*layers):
    return nn.Sequential(*layers)


MODELS = {
    "residual": (lambda: net(nn.Conv2d(3, 4, 3, stride=2, padding=1), Residual(4), nn.Flatten(), nn.Linear(36, 5)),
                 (2, 3, 6, 6)),
    "depthwise": (lambda: net(nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8), nn.ReLU6(),
                              nn.Conv2d(8, 8, 3, 2, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
                              nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4)), (2, 4, 5, 5)),
    "dense": (Dense, (2, 4, 5, 5)),
    "shuffle": (lambda: net(nn.Conv2d(4, 6, 1, groups=2), nn.ChannelShuffle(2), nn.Tanh(), nn.LocalResponseNorm(3),
                            nn.Dropout(), nn.Conv2d(6, 4, 1, groups=2), nn.PixelShuffle(2), nn.LeakyReLU(0.2)),
                (2, 4, 4, 4)),
    "segmentation": (Scores, (2, 4, 3, 4)),
    "sequence": (lambda: net(nn.Conv1d(2, 4, 3, dilation=2, padding=((4, 0),)), nn.BatchNorm1d(4), nn.GELU(),
                             nn.Flatten(), nn.Linear(36, 2), nn.LogSoftmax(1)), (3, 2, 9)),
    "volume": (lambda: net(nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2), nn.Sigmoid()), (2, 1, 3, 3, 3)),
}  # fmt: skip


def made(name):
    """(model in use, an input) with statistics and weights that are no ones and zeros."""
    build, shape = MODELS[name]
    rng = np.random.default_rng(1)
    model = build().eval()
    for module in model.modules():
        if hasattr(module, "running_mean"):
            for vector in (module.running_mean, module.running_var, module.weight, module.bias):
                vector.data[...] = rng.random(vector.shape) + 0.5
    return model, rng.standard_normal(shape).astype(np.float32)


def on_host(result):
    """A model's result in NumPy's arrays."""
    if isinstance(result, dict):
        return {key: on_host(value) for key, value in result.items()}
    return result.numpy() if isinstance(result, Tensor) else nc.cuda.to_host(result)


def assert_close(actual, expected):
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for key in expected:
            assert_close(actual[key], expected[key])
        return
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


@pytest.fixture
def nothing_moves(monkeypatch):
    """Copies to the host, and from it, are errors after it is called."""

    def forbidden(*arguments, **options):
        raise AssertionError("an array went through the host")

    def forbid():
        for name in ("to_host", "to_device"):
            monkeypatch.setattr(memory, name, forbidden)
        monkeypatch.setattr(memory.FakeCUDAArray, "copy_to_host", forbidden)

    yield forbid


@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_the_same(name, nothing_moves, monkeypatch):
    model, x = made(name)
    expected, shown = on_host(model(Tensor(x))), repr(model)
    model.to("cuda")
    assert repr(model) == shown
    image = Tensor(nc.cuda.to_device(x))
    model(image)  # tables of positions are made the first time
    with monkeypatch.context() as patch:
        nothing_moves()
        result = model(image)
        patch.undo()
    monkeypatch.undo()
    assert_close(on_host(result), expected)


@pytest.mark.parametrize("name", MODELS)
def test_a_frozen_model_gives_the_same(name, nothing_moves, monkeypatch):
    model, x = made(name)
    other = np.concatenate([x[::-1], x]) * np.float32(0.5)  # another batch size
    expected = [on_host(model(Tensor(a))) for a in (x, x[::-1].copy(), other)]
    inputs = [nc.cuda.to_device(a) for a in (x, x[::-1], other)]
    frozen = nn.freeze(model.to("cuda"), inputs[0])
    first = frozen(inputs[0])
    nothing_moves()
    second = frozen(inputs[1])
    monkeypatch.undo()
    for actual, wanted in zip((first, second, frozen(inputs[2])), expected):
        assert_close(on_host(actual), wanted)
    assert "on a GPU" in frozen.describe()


def test_a_model_goes_there_and_back():
    model, x = made("residual")
    before = {name: value.copy() for name, value in model.state_dict().items()}
    assert model.cuda() is model
    assert all(type(p.data) is memory.SimulatedArray for p in model.parameters())
    there = model.state_dict()
    assert all(type(value) is np.ndarray and not value.flags.writeable for value in there.values())
    model.load_state_dict({name: value * 2 for name, value in there.items()})
    model.load_state_dict({name: nc.cuda.to_device(value) for name, value in model.state_dict().items()})
    model.cpu()
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name] * 2)
    assert model.cpu().cuda().to("cpu", np.float64)(Tensor(x.astype(float))).dtype == np.float64


def test_gradients_say_what_is_missing():
    model, x = made("depthwise")
    loss = (model.cuda()(Tensor(nc.cuda.to_device(x))) ** 2).sum()
    with pytest.raises(TypeError, match=r"batch_norm.* runs on the CPU only"):
        loss.backward()


def test_what_was_joined_before_is_not_joined_again():
    model, x = made("dense")
    frozen = nn.freeze(model.cuda(), x)
    joins = [node for node in frozen.graph.nodes if node.operation == "concatenate"]
    assert [len(node.inputs) for node in joins] == [2, 2] and joins[1].inputs[0] == joins[0].output


def test_a_frozen_model_takes_what_it_is_made_for():
    model, x = made("dense")
    frozen = nn.freeze(model.cuda(), x)  # an example on the host is copied
    with pytest.raises(TypeError, match="input 0 must be an array on a GPU"):
        frozen(x)
    with pytest.raises(ValueError, match="must have shape"):
        frozen(nc.cuda.to_device(x[:, :, :4]))
    with pytest.raises(TypeError, match="dtype"):
        frozen(nc.cuda.to_device(x.astype(float)))


def test_frames_do_not_disturb_each_other():
    model, x = made("dense")
    frozen = nn.freeze(model.cuda(), x)
    results = [frozen(nc.cuda.to_device(x * np.float32(k))) for k in (1, 2, 1)]
    first, second, third = map(on_host, results)
    np.testing.assert_array_equal(first, third)
    assert np.abs(first - second).max() > 0.1


@pytest.mark.skipif(
    importlib.util.find_spec("numconv.ops.cuda.pooling") is None, reason="poolings do not run on a GPU yet"
)
def test_lenet5():
    model = models.lenet5(activation="relu").eval()
    x = np.random.default_rng(0).standard_normal((1, 1, 32, 32)).astype(np.float32)
    expected = model(Tensor(x)).numpy()
    assert_close(on_host(model.cuda()(Tensor(nc.cuda.to_device(x)))), expected)
