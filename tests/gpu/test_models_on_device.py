"""Models on a GPU: they give what they give on the CPU, frozen and not, for batches that follow each other."""

import numpy as np
import pytest
from test_models import RUNS, results

import numconv as nc
from numconv import models, nn
from numconv.autograd import Tensor, no_grad

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def a_gpu():
    if not nc.cuda.is_available():
        pytest.skip(nc.cuda.info()["missing"])


def assert_close(actual, expected):
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    assert np.abs(actual - expected).max() <= 1e-3 * np.abs(expected).max() + 1e-6


@pytest.mark.parametrize("name", RUNS)
def test_a_model_gives_the_same(name):
    options, shape, _ = RUNS[name]
    rng = np.random.default_rng(0)
    model = models.get(name, **options).eval()
    images = [rng.standard_normal(shape).astype(np.float32) for _ in range(2)]
    images.append(np.concatenate(images))
    with no_grad():
        expected = [[r.numpy() for r in results(model(Tensor(image)))] for image in images]
        model.to("cuda")
        there = [nc.cuda.to_device(image) for image in images]
        for image, wanted in zip(there, expected):
            for one, other in zip(results(model(Tensor(image))), wanted, strict=True):
                assert_close(one.numpy(), other)
    frozen = nn.freeze(model, there[0])
    for _ in range(2):  # the first calls note the launches, the second ones do them again
        found = [results(frozen(image)) for image in there]
        for one, wanted in zip(found, expected):
            for part, other in zip(one, wanted, strict=True):
                assert_close(nc.cuda.to_host(part), other)


def test_memory_of_a_frozen_model_is_used_again():
    """A frame of a deep model takes less than all of its values together."""
    model = models.resnet50(num_classes=10).eval()
    image = np.zeros((8, 3, 128, 128), np.float32)
    frozen = nn.freeze(model.to("cuda"), image)
    frozen(nc.cuda.to_device(image))
    ((frame,),) = frozen._executor._frames._idle.values()
    held = sum(stop - start for start, stop in frame._recording._pool._spans)
    values = sum(int(np.prod([8, *frozen.graph.shapes[node.output][1:]])) * 4 for node in frozen.graph.nodes)
    assert held < values / 2


def test_results_of_another_library_are_its_own():
    torch = pytest.importorskip("torch")
    x = torch.randn(2, 8, 5, 5, device="cuda")
    assert torch.equal(nc.relu(x), torch.relu(x))
    found = nc.softmax(x, 1)
    assert isinstance(found, torch.Tensor) and torch.allclose(found, torch.softmax(x, 1), atol=1e-6)
    model = nn.Sequential(nn.Conv2d(8, 4, 3), nn.ReLU()).eval().to("cuda")
    frozen = nn.freeze(model, x)
    twice = [frozen(x * k) for k in (1, 2, 1)]
    assert isinstance(twice[0], torch.Tensor)
    assert torch.equal(twice[0], twice[2]) and not torch.equal(twice[0], twice[1])
