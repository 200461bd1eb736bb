"""Every model runs forward on a GPU, with nothing left to the CPU: launches are noted, on a machine without one."""

import importlib.util

import numpy as np
import pytest
from test_models import RUNS, results

import numconv as nc
from numconv import models, nn
from numconv.autograd import Tensor, no_grad

pytestmark = [
    pytest.mark.ptx,
    pytest.mark.skipif(
        importlib.util.find_spec("numconv.ops.cuda.pooling") is None, reason="poolings do not run on a GPU yet"
    ),
]
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv.kernels.cuda import launch, memory, toolkit  # noqa: E402


@pytest.fixture
def recorded(monkeypatch):
    """Launches that were noted; a copy to the host, and NumPy's functions on an array of the device, are errors."""

    def forbidden(*arguments, **options):
        raise AssertionError("an array was copied to the host")

    monkeypatch.setattr(toolkit, "need", lambda: None)
    monkeypatch.setattr(memory, "to_host", forbidden)
    with launch.recorded() as found:
        yield found


@pytest.mark.parametrize("name", RUNS)
def test_a_model_runs_forward(name, recorded):
    options, shape, expected = RUNS[name]
    model = models.get(name, **options).eval().to("cuda")
    with no_grad():
        found = results(model(Tensor(nc.cuda.to_device(np.zeros(shape, np.float32)))))
    assert [tuple(result.shape) for result in found[:1]] == expected[:1]
    assert all(type(result.data) is memory.SimulatedArray for result in found)
    convolutions = sum(isinstance(p.data, memory.SimulatedArray) and p.ndim > 2 for p in model.parameters())
    assert len(recorded) >= convolutions


def test_every_model_is_among_them():
    assert set(models.names()) == set(RUNS)


def test_a_frozen_resnet_launches_convolutions_and_little_else(monkeypatch):
    """Activations, sums and norms are in the convolutions' stores."""
    monkeypatch.setattr(toolkit, "need", lambda: None)
    model = models.resnet18(num_classes=10).eval()
    with launch.recorded() as found:
        image = nc.cuda.to_device(np.zeros((1, 3, 64, 64), np.float32))
        frozen = nn.freeze(model.to("cuda"), image)
        packing = len(found)
        frozen(image)
        once = len(found)
        frozen(image)
    names = [f.kernel.name.partition("(")[0] for f in found[packing:]]
    assert not {"flat", "strided", "normalise", "coefficients"} & set(names)
    assert len(found) - once == once - packing  # a call copies inputs and outputs, whether it is the first or not
