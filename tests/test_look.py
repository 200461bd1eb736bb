"""Looking inside models: each result by another way, and nothing left behind in the model."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

import numconv as nc
from numconv import models, nn, random
from numconv.autograd import Tensor, gradcheck, no_grad
from numconv.models import look
from numconv.ops.interpolation import interpolate


class Averaged(nn.Module):
    """Convolutions, the mean of each map, a linear layer: for such a network Grad-CAM is in its weights."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.classifier = nn.Linear(4, 3)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


@pytest.fixture
def model():
    random.seed(0)
    made = Averaged()
    with no_grad():
        made.features[1].running_mean.copy_(np.float32([0.1, -0.2, 0, 0.3]))
        made.features[1].running_var.copy_(np.float32([0.5, 2, 1, 1.5]))
    return made


@pytest.fixture
def x():
    return np.random.default_rng(1).standard_normal((3, 2, 13, 11)).astype(np.float32)


def untouched(model):
    """Whether no hook, gradient or mode was left behind."""
    return not any(m.hooked for m in model.modules()) and all(p.grad is None for p in model.parameters())


# --- features


def test_features_are_what_layers_give(model, x):
    found = look.features(model, x, ["features.[02]", "classifier"])
    assert list(found) == ["features.0", "features.2", "classifier"]
    first = nc.conv2d(x, model.features[0].weight.numpy(), model.features[0].bias.numpy(), stride=2)
    assert_allclose(found["features.0"], first, atol=1e-6)
    model.eval()
    with no_grad():
        assert_allclose(found["classifier"], model(Tensor(x)).numpy(), atol=1e-6)  # as it is used: without dropout
    assert list(look.features(model, x)) == [f"features.{i}" for i in range(4)] + ["features", "classifier"]
    assert list(look.features(model, x, "")) == [""]
    assert untouched(model)


def test_modules_keep_their_modes(model, x):
    model.features[1].eval()
    look.features(model, x)
    look.grad_cam(model, x, "features")
    assert [module.training for module in model.modules()] == [True, True, True, False, True, True, True]


def test_a_layer_that_runs_again_has_a_number():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu, self.idle = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.relu(self.relu(x) - 1)

    x = np.float32([[[0.5, 3]]])
    found = look.features(Twice(), x, "relu")
    assert_array_equal(found["relu"], x)
    assert_array_equal(found["relu:2"], [[[0, 2]]])
    with pytest.raises(ValueError, match="'idle'"):
        look.features(Twice(), x, ["relu", "idle"])
    with pytest.raises(ValueError, match=r"once.*'relu' did so 2 times"):
        look.grad_cam(Twice(), x, "relu")


def test_hooks_are_gone_after_an_error(model, x):
    wrong = x[:, :1]
    for call in (
        lambda: look.features(model, wrong),
        lambda: look.grad_cam(model, wrong, "features"),
        lambda: look.deconvnet(model, wrong, "features.2", 0),
        lambda: look.maximize(model, wrong, 0),
        lambda: look.features(model, x, ["features.0", "nowhere"]),
    ):
        with pytest.raises(ValueError):
            call()
        assert untouched(model)
        assert all(module.training for module in model.modules())


# --- gradients


@pytest.mark.parametrize("target", [1, [0, 2, 1], None])
def test_grad_cam_is_in_the_weights_of_a_network_that_averages(model, x, target):
    maps = look.features(model, x, "features")["features"]
    scores = look.features(model, x, "classifier")["classifier"]
    chosen = scores.argmax(1) if target is None else np.broadcast_to(target, 3)
    weights = model.classifier.weight.numpy()[chosen] / maps[0, 0].size
    expected = np.maximum(np.einsum("nk,nkhw->nhw", weights, maps), 0)
    expected = interpolate(expected[:, None], (13, 11), mode="bilinear")[:, 0]
    assert expected.max() > 0
    assert_allclose(look.grad_cam(model, x, "features", target), expected, atol=1e-6)
    with no_grad():
        assert_allclose(look.grad_cam(model, x, "features", target), expected, atol=1e-6)
    assert untouched(model)


def test_grad_cam_takes_series_and_volumes():
    random.seed(0)
    rng = np.random.default_rng(0)
    for conv, shape in ((nn.Conv1d, (2, 1, 9)), (nn.Conv3d, (2, 1, 5, 6, 7))):
        model = nn.Sequential(conv(1, 3, 3), nn.GlobalAvgPool(), nn.Flatten(), nn.Linear(3, 2))
        found = look.grad_cam(model, rng.standard_normal(shape).astype(np.float32), "0", 1)
        assert found.shape == (2, *shape[2:])


def test_saliency_is_the_slope_of_the_score(model, x):
    model.double().eval()
    x = x[:1].astype(np.float64)
    found = look.saliency(model, x, 2)
    slopes, step = np.zeros_like(x), 1e-6
    for place in np.ndindex(x.shape):
        ends = [x.copy(), x.copy()]
        ends[0][place] -= step
        ends[1][place] += step
        low, high = (look.features(model, end, "")[""][0, 2] for end in ends)
        slopes[place] = (high - low) / (2 * step)
    assert_allclose(found[0], np.abs(slopes[0]).max(0), atol=1e-7)


def test_two_pictures_beside_each_other_are_told_apart():
    """A network whose channels see bright and dark: Grad-CAM of each class lies on its own half."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.ReLU(), nn.GlobalAvgPool(), nn.Flatten())
    with no_grad():
        model[0].weight.copy_(np.stack([np.ones((1, 3, 3)), -np.ones((1, 3, 3))]).astype(np.float32))
    x = np.ones((1, 1, 8, 16), np.float32)
    x[..., 8:] = -1
    bright, dark = (look.grad_cam(model, x, "1", target)[0] for target in (0, 1))
    assert bright[:, :7].min() > 0 and bright[:, 9:].max() == 0
    assert_allclose(dark, bright[:, ::-1], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda m, x: look.grad_cam(m, x, "features", 3), "target must be from 0 to 2, got 3"),
        (lambda m, x: look.grad_cam(m, x, "features", [0, 1]), "an integer, or 3 of them"),
        (lambda m, x: look.grad_cam(m, x, "features", 0.5), "an integer"),
        (lambda m, x: look.grad_cam(m, x, "classifier"), "'classifier' gives shape"),
        (lambda m, x: look.grad_cam(m, x, "feature"), "'feature': it has features, features.0"),
        (lambda m, x: look.grad_cam(m, x[0, 0], "features"), "floats"),
        (lambda m, x: look.saliency(m.features, x), "scores"),
        (lambda m, x: look.deconvnet(m, x, "features.2", 4), "channel must be one of 4"),
        (lambda m, x: look.deconvnet(m, x, "features.2", 0, (9, 9)), "position must be an index for each axis"),
        (lambda m, x: look.maximize(m, x, 3), "channel must be one of 3"),
        (lambda m, x: look.maximize(m, x, 0, steps=0), "steps"),
        (lambda m, x: look.maximize(m, x, 0, smoothness=-1), "smoothness"),
        (lambda m, x: look.invert(m, x, x, "features"), "features must have the shape that 'features' gives"),
    ],
)
def test_what_is_wrong_is_said(model, x, call, match):
    with pytest.raises(ValueError, match=match):
        call(model, x)


# --- deconvnet


def test_deconvnet_on_a_tiny_network_step_by_step():
    """Convolution, ReLU, pooling, convolution; then back by loops: unpool, rectify, transposed convolution."""
    random.seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 2), nn.ReLU()).double()
    x = np.random.default_rng(0).standard_normal((1, 2, 8, 8))
    found = look.deconvnet(model, x, "4", 1)

    maps = look.features(model, x)
    at = np.unravel_index(maps["4"][0, 1].argmax(), (2, 2))
    value = maps["4"][0, 1][at]
    assert value > 0
    after_pooling = np.zeros((3, 3, 3))  # the transposed convolution of one value is its filter
    after_pooling[:, at[0] : at[0] + 2, at[1] : at[1] + 2] = value * model[3].weight.numpy()[1]
    unpooled = np.zeros((3, 6, 6))
    for c, i, j in np.ndindex(3, 3, 3):
        window = maps["1"][0, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        y, z = np.unravel_index(window.argmax(), (2, 2))
        unpooled[c, 2 * i + y, 2 * j + z] = after_pooling[c, i, j]
    rectified = np.maximum(unpooled, 0)
    expected = np.zeros((2, 8, 8))
    for c, i, j in np.ndindex(3, 6, 6):
        expected[:, i : i + 3, j : j + 3] += rectified[c, i, j] * model[0].weight.numpy()[c]
    assert np.abs(expected).max() > 0
    assert_allclose(found[0], expected, atol=1e-12)
    assert_allclose(look.deconvnet(model, x, "4", 1, at), found)
    assert untouched(model)


def test_deconvnet_is_the_gradient_of_a_network_without_relu():
    random.seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.BatchNorm2d(2), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(),
        nn.Linear(8, 3),
    ).double()  # fmt: skip
    x = np.random.default_rng(0).standard_normal((2, 1, 8, 8))
    pixels = Tensor(x, requires_grad=True)
    score = model.eval()(pixels)[:, 2]
    score.sum().backward()
    expected = pixels.grad.numpy() * score.numpy()[:, None, None, None]
    assert_allclose(look.deconvnet(model, x, "5", 2), expected, atol=1e-12)


def test_deconvnet_goes_through_functions_that_only_reshape():
    random.seed(0)
    model = models.lenet5(activation="relu", pooling="max")
    x = np.random.default_rng(0).uniform(size=(2, 1, 32, 32)).astype(np.float32)
    back = look.deconvnet(model, x, "classifier.3", 5)
    assert back.shape == x.shape and np.abs(back).max() > 0
    patch = look.deconvnet(model, x, "features.3", 7, (4, 2))
    assert np.abs(patch).max() > 0
    patch[:, :, 8:22, 4:18] = 0  # the receptive field: 14 x 14, at twice the position
    assert not patch.any()


def test_deconvnet_says_where_there_is_no_way_back():
    x = np.random.default_rng(0).uniform(size=(1, 1, 32, 32)).astype(np.float32)
    with pytest.raises(ValueError, match=r"'features.1' on the way to 'features.3' is a Tanh"):
        look.deconvnet(models.lenet5(pooling="max"), x, "features.3", 0)

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3)

        def forward(self, x):
            return self.second(x + self.first(x))

    with pytest.raises(ValueError, match="what 'second' takes is not what 'first' gives"):
        look.deconvnet(Residual(), x, "second", 0)
    with pytest.raises(ValueError, match="what '' gives is not what"):
        look.deconvnet(Doubled(), x, "", 0)


class Doubled(nn.Module):
    """A layer whose result is changed afterwards."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3)

    def forward(self, x):
        return self.conv(x) * 2


# --- synthesis


def test_total_variation():
    x = np.arange(12, dtype=np.float64).reshape(1, 1, 3, 4)  # neighbours differ by 4 down and 1 across
    assert look.total_variation(x).item() == 17
    pixels = Tensor(np.random.default_rng(0).standard_normal((2, 1, 4, 5)), requires_grad=True)
    assert gradcheck(look.total_variation, (pixels,))
    with pytest.raises(ValueError, match="spatial"):
        look.total_variation(x[0, 0])


def test_a_filter_is_what_it_answers_to_most():
    """Of inputs within bounds the answer to a linear filter is largest at the bound of each weight's sign."""
    random.seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 4))
    start = np.zeros((1, 2, 4, 4), np.float32)
    found = look.maximize(model, start, 1, "0", steps=60, smoothness=0, low=-1, high=1)
    assert_array_equal(found[0], np.sign(model[0].weight.numpy()[1]))
    assert not start.any()


def test_a_class_is_climbed_to_the_bit_and_smoothly(model, x):
    options = {"steps": 20, "shift": 2}
    found = [look.maximize(model, x, 1, smoothness=s, generator=np.random.default_rng(0), **options) for s in (0, 0, 1)]
    assert_array_equal(found[0], found[1])
    before, after = (look.features(model, y, "")[""][:, 1] for y in (x, found[0]))
    assert np.all(after > before)
    assert look.total_variation(found[2]).item() < 0.5 * look.total_variation(found[0]).item()
    assert untouched(model)


def test_an_input_is_recovered_from_features_that_keep_it():
    random.seed(0)
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.LeakyReLU(0.5)).double()
    picture = np.random.default_rng(0).uniform(size=(1, 1, 8, 8))
    kept = look.features(model, picture, "1")["1"]
    start = np.full_like(picture, 0.5)
    options = {"steps": 300, "smoothness": 0, "low": 0, "high": 1}
    found = look.invert(model, kept, start, "1", **options)
    assert np.abs(found - picture).max() < 0.02 < np.abs(start - picture).max()
    assert_array_equal(found, look.invert(model, kept, start, "1", **options))


def test_what_is_not_finite_is_said(model, x):
    with pytest.raises(FloatingPointError, match="nan at step 0"):
        look.maximize(model, np.full_like(x, np.nan), 0)


# --- pictures


def drawn(path):
    return np.asarray(Image.open(path).convert("RGB")).std() > 10


def test_pictures_are_drawn(model, x, tmp_path):
    look.draw_maps(look.features(model, x, "features.?"), tmp_path / "maps.png", most=2)
    picture = np.random.default_rng(0).standard_normal((3, 20, 30)).astype(np.float32)
    look.draw_pictures({"colours": picture, "grey": picture[:1], "plain": picture[0]}, tmp_path / "pictures.png")
    look.draw_heat(picture, np.abs(picture[0]), tmp_path / "heat.png")
    assert all(drawn(tmp_path / f"{name}.png") for name in ("maps", "pictures", "heat"))


def test_heat_hides_the_picture_where_it_is_hot():
    picture, heat = np.zeros((2, 2), np.float32), np.zeros((2, 2))
    picture[0], heat[1, 1] = 1, 3
    found = look.overlay(picture, heat)
    assert found.dtype == np.uint8
    assert_array_equal(found[:, 0], [[255] * 3, [0] * 3])
    red, green, blue = found[1, 1].astype(int)
    assert red > 100 > green > blue
    assert_array_equal(look.overlay(picture, heat * 0), look.overlay(picture, heat)[:, [0, 0]])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda p: look.overlay(np.zeros((2, 4, 4)), np.zeros((4, 4))), "picture must be of shape"),
        (lambda p: look.overlay(np.zeros((4, 4)), np.zeros((4, 3))), "heat must be of the picture's size"),
        (lambda p: look.overlay(np.zeros((4, 4)), -np.ones((4, 4))), "at least 0"),
        (lambda p: look.overlay(np.zeros((4, 4)), np.full((4, 4), np.nan)), "at least 0"),
        (lambda p: look.draw_maps({"fc": np.zeros((1, 3))}, p), "'fc' has"),
        (lambda p: look.draw_maps({}, p), "got none"),
        (lambda p: look.draw_pictures({}, p), "got none"),
    ],
)
def test_what_cannot_be_drawn_is_said(call, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        call(tmp_path / "no.png")
