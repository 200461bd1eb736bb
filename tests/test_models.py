"""Models: published numbers of parameters, operations and keys; shapes, gradients, first values, transfer learning."""

import copy
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from numconv import models, nn, optim
from numconv.autograd import Tensor, no_grad
from numconv.autograd import functional as F
from numconv.nn import init


@pytest.fixture(autouse=True)
def one_thread(threads):
    """Hundreds of tiny layers in a row: on a busy machine, two threads wait for each other at each."""
    threads(1)


@pytest.fixture
def undrawn(monkeypatch):
    """Weights of zeros: hundreds of millions of random numbers take a while."""

    def zeros(shape, dtype):
        return np.zeros(shape, dtype)

    monkeypatch.setattr(init, "generator_of", lambda generator: SimpleNamespace(random=zeros, standard_normal=zeros))


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def picture(*shape):
    return Tensor(np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32))


# --- published figures

COUNTS = [
    ("alexnet", {}, 61_100_840),
    ("alexnet_2012", {}, 60_965_224),
    ("dcgan_discriminator", {}, 2_765_568),
    ("dcgan_generator", {}, 3_576_704),
    ("deeplabv3_resnet50", {"aux_loss": True}, 42_004_074),
    ("densenet121", {}, 7_978_856),
    ("googlenet", {"aux_logits": False}, 6_624_904),
    ("inception_v1", {"aux_logits": False}, 6_998_552),
    ("inception_v1", {}, 13_378_280),
    ("lenet5", {}, 61_706),
    ("lenet5", {"activation": "relu", "pooling": "max"}, 61_706),
    ("mobilenet_v1", {}, 4_231_976),
    ("mobilenet_v2", {}, 3_504_872),
    ("nin", {}, 966_986),
    ("resnet18", {}, 11_689_512),
    ("resnet34", {}, 21_797_672),
    ("resnet50", {}, 25_557_032),
    ("resnext50_32x4d", {}, 25_028_904),
    ("shufflenet_v1", {}, 1_865_728),
    ("shufflenet_v1", {"groups": 1}, 1_531_936),
    ("shufflenet_v1", {"groups": 8}, 2_434_768),
    ("unet", {"num_classes": 1}, 31_030_593),
    ("vgg16", {}, 138_357_544),
    ("vgg19", {}, 143_667_240),
    ("xception", {}, 22_855_952),
]


@pytest.mark.parametrize(("name", "options", "expected"), COUNTS)
def test_numbers_of_parameters_are_published_ones(name, options, expected, undrawn):
    assert count(models.get(name, **options)) == expected


def test_the_3d_unet_has_its_papers_parameters(undrawn):
    model = models.unet3d()  # 19,069,955 "in total"; the paper does not count batch norm
    assert count(model) - sum(count(m) for m in model.modules() if isinstance(m, nn.BatchNorm3d)) == 19_069_955


def test_fcn_begins_with_the_features_of_vgg(undrawn):
    model = models.fcn(hidden=8)
    assert {k for k in model.state_dict() if k.startswith("features")} == {
        f"features.{i}.{part}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28) for part in ("weight", "bias")
    }


OPERATIONS = [  # multiply-adds in billions, as torchvision's documentation gives them
    ("alexnet", 0.71),
    ("densenet121", 2.83),
    ("googlenet", 1.5),
    ("mobilenet_v2", 0.3),
    ("resnet18", 1.81),
    ("resnet50", 4.09),
]


@pytest.mark.parametrize(("name", "billions"), OPERATIONS)
def test_summaries_count_published_operations(name, billions, undrawn):
    model = models.get(name)
    summary = model.summary((1, 3, 224, 224))
    assert round(summary.multiply_adds / 1e9, 2) == billions
    assert f"{count(model):,} parameters" in str(summary)
    assert summary.rows[-1].shape == (1, 1000)


# --- keys


def layer(name):
    return [f"{name}.weight", f"{name}.bias"]


def norm(name):
    return [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]


def conv_norm(conv, bn):
    return [f"{conv}.weight", *norm(bn)]


def numbered(features, classifier):
    return [key for i in features for key in layer(f"features.{i}")] + [
        key for i in classifier for key in layer(f"classifier.{i}")
    ]


def resnet_keys(blocks, convolutions):
    keys = conv_norm("conv1", "bn1")
    for stage, repetitions in enumerate(blocks, 1):
        for i in range(repetitions):
            name = f"layer{stage}.{i}."
            for c in range(1, convolutions + 1):
                keys += conv_norm(f"{name}conv{c}", f"{name}bn{c}")
            if i == 0 and (stage > 1 or convolutions == 3):
                keys += conv_norm(name + "downsample.0", name + "downsample.1")
    return keys + layer("fc")


def densenet_keys():
    keys = conv_norm("features.conv0", "features.norm0")
    for b, layers in enumerate((6, 12, 24, 16), 1):
        for i in range(1, layers + 1):
            name = f"features.denseblock{b}.denselayer{i}."
            for part in "12":
                keys += [*norm(f"{name}norm{part}"), f"{name}conv{part}.weight"]
        if b < 4:
            keys += [*norm(f"features.transition{b}.norm"), f"features.transition{b}.conv.weight"]
    return keys + norm("features.norm5") + layer("classifier")


def googlenet_keys():
    names = ["conv1", "conv2", "conv3"]
    for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        parts = ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1")
        names += [f"inception{block}.{part}" for part in parts]
    keys = [key for name in names for key in conv_norm(f"{name}.conv", f"{name}.bn")]
    for aux in ("aux1", "aux2"):
        keys += [*conv_norm(f"{aux}.conv.conv", f"{aux}.conv.bn"), *layer(f"{aux}.fc1"), *layer(f"{aux}.fc2")]
    return keys + layer("fc")


def mobilenet_keys():
    keys = conv_norm("features.0.0", "features.0.1")
    for i in range(1, 18):
        name, wide = f"features.{i}.conv.", 1 if i == 1 else 2
        for part in range(wide):
            keys += conv_norm(f"{name}{part}.0", f"{name}{part}.1")
        keys += conv_norm(f"{name}{wide}", f"{name}{wide + 1}")
    return keys + conv_norm("features.18.0", "features.18.1") + layer("classifier.1")


KEYS = {
    "alexnet": numbered((0, 3, 6, 8, 10), (1, 4, 6)),
    "vgg16": numbered((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), (0, 3, 6)),
    "vgg19": numbered((0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34), (0, 3, 6)),
    "googlenet": googlenet_keys(),
    "resnet18": resnet_keys((2, 2, 2, 2), 2),
    "resnet34": resnet_keys((3, 4, 6, 3), 2),
    "resnet50": resnet_keys((3, 4, 6, 3), 3),
    "resnext50_32x4d": resnet_keys((3, 4, 6, 3), 3),
    "densenet121": densenet_keys(),
    "mobilenet_v2": mobilenet_keys(),
}


@pytest.mark.parametrize("name", KEYS)
def test_keys_are_torchvision_s(name, undrawn):
    assert list(models.get(name).state_dict()) == KEYS[name]


def test_keys_of_densenet_s_published_file_are_taken(undrawn):
    model = models.densenet121(growth_rate=4, block_config=(2, 1), num_init_features=8, num_classes=3)
    old = {
        re.sub(r"(denselayer\d+\.\w+?)([12]\.)", r"\1.\2", k): np.ones_like(v) for k, v in model.state_dict().items()
    }
    assert "features.denseblock1.denselayer2.norm.1.running_mean" in old
    model.load_state_dict(old)
    assert all((array == 1).all() for array in model.state_dict().values())
    with pytest.raises(RuntimeError, match="DenseNet"):
        model.load_state_dict({"other.weight": np.ones(1)})
    with pytest.raises(TypeError, match="state_dict must be a mapping"):
        model.load_state_dict([1])


# --- each runs, forward and backward

RUNS = {
    "alexnet": ({"num_classes": 10}, (2, 3, 63, 63), [(2, 10)]),
    "alexnet_2012": ({"num_classes": 10}, (1, 3, 227, 227), [(1, 10)]),
    "conv_autoencoder": ({}, (2, 1, 16, 16), [(2, 1, 16, 16)]),
    "dcgan_discriminator": ({"ndf": 8}, (2, 3, 64, 64), [(2,)]),
    "dcgan_generator": ({"ngf": 8}, (2, 100, 1, 1), [(2, 3, 64, 64)]),
    "deeplabv3_resnet50": ({"aux_loss": True}, (2, 3, 33, 33), [(2, 21, 33, 33)] * 2),
    "densenet121": ({}, (2, 3, 64, 64), [(2, 1000)]),
    "fcn": ({"hidden": 32, "num_classes": 4}, (1, 3, 70, 65), [(1, 4, 70, 65)]),
    "googlenet": ({"num_classes": 10}, (2, 3, 64, 64), [(2, 10)] * 3),
    "inception_v1": ({"num_classes": 10}, (2, 3, 64, 64), [(2, 10)] * 3),
    "lenet5": ({}, (2, 1, 32, 32), [(2, 10)]),
    "mobilenet_v1": ({}, (2, 3, 64, 64), [(2, 1000)]),
    "mobilenet_v2": ({}, (2, 3, 64, 64), [(2, 1000)]),
    "nin": ({}, (2, 3, 32, 32), [(2, 10)]),
    "resnet18": ({}, (2, 3, 64, 64), [(2, 1000)]),
    "resnet34": ({}, (2, 3, 64, 64), [(2, 1000)]),
    "resnet50": ({}, (2, 3, 64, 64), [(2, 1000)]),
    "resnet_fpn_backbone": ({}, (2, 3, 64, 64), [(2, 256, n, n) for n in (16, 8, 4, 2, 1)]),
    "resnext50_32x4d": ({}, (2, 3, 64, 64), [(2, 1000)]),
    "shufflenet_v1": ({}, (2, 3, 64, 64), [(2, 1000)]),
    "tcn": ({}, (2, 1, 50), [(2, 10)]),
    "unet": ({"width": 4}, (1, 1, 188, 188), [(1, 2, 4, 4)]),
    "unet3d": ({"width": 2}, (1, 3, 92, 92, 92), [(1, 3, 4, 4, 4)]),
    "vgg16": ({"num_classes": 10}, (1, 3, 32, 32), [(1, 10)]),
    "vgg19": ({"num_classes": 10}, (1, 3, 32, 32), [(1, 10)]),
    "xception": ({}, (2, 3, 71, 71), [(2, 1000)]),
}


def results(output):
    return list(output.values()) if isinstance(output, dict) else [*output] if isinstance(output, tuple) else [output]


@pytest.mark.parametrize("name", models.names())
def test_each_model_runs_forward_and_backward(name):
    options, shape, expected = RUNS[name]
    init.seed(0)
    model = models.get(name, **options)
    found = results(model(picture(*shape)))
    assert [result.shape for result in found] == expected
    total = sum(((result - 1) ** 2).mean() for result in found)
    total.backward()
    assert math.isfinite(total.item())
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.shape == parameter.shape, key
        assert np.isfinite(parameter.grad.numpy()).all(), key


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (lambda: models.unet(width=1), (1, 1, 572, 572), (1, 2, 388, 388)),
        (lambda: models.unet3d(width=1), (1, 3, 116, 132, 132), (1, 3, 28, 44, 44)),
        (lambda: models.unet(width=2, padding=1), (1, 1, 32, 48), (1, 2, 32, 48)),
        (lambda: models.alexnet_2012(num_classes=1).features, (1, 3, 227, 227), (1, 256, 6, 6)),
        (lambda: models.shufflenet_v1().features, (1, 24, 56, 56), (1, 960, 7, 7)),
    ],
)
def test_sizes_are_those_of_the_papers(model, shape, expected):
    with no_grad():
        assert model().eval()(picture(*shape)).shape == expected


# --- what the parts do


def test_auxiliary_classifiers_work_in_training_only():
    model = models.inception_v1(num_classes=3)
    x = picture(2, 3, 64, 64)
    assert isinstance(model(x), models.GoogLeNetOutputs)
    assert model(x)._fields == ("logits", "aux_logits2", "aux_logits1")
    assert model.eval()(x).shape == (2, 3)
    assert models.googlenet(num_classes=3, aux_logits=False)(x).shape == (2, 3)


def test_dilation_in_place_of_stride_keeps_the_size():
    model = models.resnet50(replace_stride_with_dilation=(False, True, True)).eval()
    with no_grad():
        assert [stage.shape[2] for stage in model.stages(picture(1, 3, 64, 64))] == [16, 8, 8, 8]
    assert [block.conv2.dilation[0] for block in model.layer4] == [2, 4, 4]


def test_a_tcn_does_not_see_the_future():
    model = models.tcn(num_channels=(3, 4, 4), kernel_size=3).eval()
    x = picture(1, 1, 40)
    changed = Tensor(x.numpy().copy())
    changed[:, :, 25:] = 7.0
    with no_grad():
        before, after = (model.network(series).numpy() for series in (x, changed))
    assert_array_equal(before[:, :, :25], after[:, :, :25])
    assert not np.allclose(before[:, :, 25:], after[:, :, 25:])


def test_squeeze_and_excitation_weighs_channels():
    block = models.SqueezeExcitation(4, 2)
    x = picture(2, 4, 5, 3)
    assert list(block.state_dict()) == layer("fc1") + layer("fc2")
    (w1, b1, w2, b2) = (
        array.reshape(array.shape[:2]) if array.ndim > 1 else array for array in block.state_dict().values()
    )
    hidden = np.maximum(x.numpy().mean((2, 3)) @ w1.T + b1, 0)
    gates = 1 / (1 + np.exp(-(hidden @ w2.T + b2)))
    assert_allclose(block(x).numpy(), x.numpy() * gates[:, :, None, None], rtol=1e-5)


def test_fcn_begins_with_bilinear_upsampling():
    up = models.fcn(num_classes=2, hidden=4).last
    line = np.arange(6.0, dtype=np.float32)
    with no_grad():
        y = up(Tensor(np.stack([np.add.outer(0 * line, line), np.add.outer(line, 0 * line)])[None])).numpy()[0]
    inside = slice(8, -8)
    positions = (np.arange(48) + 0.5) / 8 - 0.5
    assert_allclose(y[0, inside, inside], np.broadcast_to(positions, (48, 48))[inside, inside], atol=1e-5)
    assert_allclose(y[1], y[0].T, atol=1e-5)


def test_an_autoencoder_gives_pictures_of_any_depth():
    model = models.conv_autoencoder(in_channels=3, channels=(4, 5, 6))
    assert model.encoder(picture(1, 3, 16, 24)).shape == (1, 6, 2, 3)
    assert model(picture(1, 3, 16, 24)).shape == (1, 3, 16, 24)


# --- first values


def spread(weight):
    return weight.numpy().std()


def test_first_values_are_torchvision_s():
    init.seed(0)
    resnet = models.resnet18()
    assert spread(resnet.layer4[0].conv2.weight) == pytest.approx(math.sqrt(2 / (512 * 9)), rel=0.01)
    assert abs(resnet.fc.weight.numpy()).max() <= 1 / math.sqrt(512)
    assert resnet.layer1[0].bn2.weight.numpy().min() == 1
    assert models.resnet18(zero_init_residual=True).layer1[0].bn2.weight.numpy().max() == 0
    mobilenet = models.mobilenet_v2()
    assert spread(mobilenet.features[18][0].weight) == pytest.approx(math.sqrt(2 / 1280), rel=0.01)
    assert spread(mobilenet.classifier[1].weight) == pytest.approx(0.01, rel=0.01)
    assert abs(mobilenet.classifier[1].bias.numpy()).max() == 0
    googlenet = models.googlenet()
    assert spread(googlenet.conv3.conv.weight) == pytest.approx(0.01, rel=0.01)
    assert spread(googlenet.fc.weight) == pytest.approx(0.01, rel=0.01)
    assert spread(models.googlenet(init_weights=False).fc.weight) == pytest.approx(1 / math.sqrt(3 * 1024), rel=0.01)
    densenet = models.densenet121()
    assert spread(densenet.features.transition3.conv.weight) == pytest.approx(math.sqrt(2 / 1024), rel=0.01)
    assert abs(densenet.classifier.bias.numpy()).max() == 0
    generator = models.dcgan_generator()
    assert spread(generator.main[0].weight) == pytest.approx(0.02, rel=0.01)
    assert generator.main[1].weight.numpy().mean() == pytest.approx(1, abs=0.01)
    alexnet = models.alexnet_2012(num_classes=2)
    assert [alexnet.features[i].bias.numpy()[0] for i in (0, 4, 8, 10, 12)] == [0, 1, 0, 1, 1]
    assert [alexnet.classifier[i].bias.numpy()[0] for i in (1, 4, 6)] == [1, 1, 0]


# --- training

TRAINED = [
    ("lenet5", 1e-3, {"activation": "relu", "pooling": "max"}, (4, 1, 32, 32)),
    ("mobilenet_v1", 1e-3, {"num_classes": 3, "width_mult": 0.25}, (4, 3, 32, 32)),
    ("resnet18", 1e-3, {"num_classes": 3}, (4, 3, 32, 32)),
    ("shufflenet_v1", 1e-3, {"num_classes": 3}, (4, 3, 32, 32)),
    ("tcn", 1e-2, {"num_classes": 3, "num_channels": (8, 8)}, (4, 1, 30)),
]


@pytest.mark.parametrize(("name", "rate", "options", "shape"), TRAINED)
def test_the_loss_falls_on_a_repeated_batch(name, rate, options, shape):
    init.seed(0)
    model = models.get(name, **options)
    optimizer = optim.Adam(model.parameters(), rate)
    x, y, losses = picture(*shape), np.array([0, 1, 2, 1]), []
    for _ in range(12):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("frozen", ["all", "some"])
def test_transfer_learning_changes_what_is_not_frozen(frozen):
    model = models.resnet18(num_classes=7).eval()
    if frozen == "all":
        model.requires_grad_(False)
    else:
        for stage in (model.conv1, model.bn1, model.layer1, model.layer2, model.layer3):
            stage.requires_grad_(False)
    model.fc = nn.Linear(512, 2)
    before = copy.deepcopy(model.state_dict())
    optimizer = optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    F.cross_entropy(model(picture(2, 3, 32, 32)), np.array([0, 1])).backward()
    optimizer.step()
    changed = {name for name, array in model.state_dict().items() if not np.array_equal(array, before[name])}
    learned = ("fc.",) if frozen == "all" else ("fc.", "layer4.")
    assert changed == {name for name, _ in model.named_parameters() if name.startswith(learned)}
    assert all((p.grad is None) == (name not in changed) for name, p in model.named_parameters())


# --- names and errors


def test_names_are_sorted_and_all_of_them_are_here():
    assert models.names() == sorted(RUNS)
    assert all(getattr(models, name) for name in models.__all__)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: models.get("resnet"), "name must be one of .*'resnet18'.*got 'resnet'"),
        (lambda: models.resnet18(weights="DEFAULT"), "weights must be None, got 'DEFAULT'.*load_state_dict"),
        (lambda: models.lenet5(activation="cos"), "activation must be one of .*got 'cos'"),
        (lambda: models.lenet5(pooling="median"), "pooling must be one of .*got 'median'"),
        (lambda: models.shufflenet_v1(groups=5), "groups must be one of .*got 5"),
        (lambda: models.fcn(stride=4), "stride must be 8, 16 or 32, got 4"),
        (lambda: models.resnet18(groups=2), "BasicBlock takes groups=1.*got groups=2"),
        (lambda: models.resnet50(replace_stride_with_dilation=(True,)), "must have 3 elements, got"),
        (lambda: models.mobilenet_v2(inverted_residual_setting=[[1, 2]]), "must have rows of 4 elements, got"),
        (lambda: models.resnet_fpn_backbone("vgg16"), "backbone_name must be one of .*got 'vgg16'"),
    ],
)
def test_errors_say_what_was_expected(make, said, undrawn):
    with pytest.raises(ValueError, match=said):
        make()


def test_batch_norms_that_add_and_rectify_themselves_change_nothing():
    model, x = models.resnet18(num_classes=3), picture(2, 3, 64, 64)
    together = model(x).numpy()
    seen = []
    for name, module in model.named_modules():
        if name.endswith("relu"):
            module.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    assert_allclose(model(x).numpy(), together, rtol=1e-4, atol=1e-4)
    assert len(seen) == 1 + 2 * 8
