"""`numconv bench --device cuda`: its table and its file, with a clock of our own."""

import json

import pytest

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv.cli import main  # noqa: E402
from numconv.commands import device  # noqa: E402
from numconv.lab import device_race  # noqa: E402
from numconv.lab.shapes import Pooling, Shape  # noqa: E402

ONE = (1, 1)


@pytest.fixture
def bench(monkeypatch, capsys, tmp_path):
    """The command on a tiny convolution and a tiny pooling, each of which takes a millisecond."""
    conv = Shape("tiny_3x3", (1, 4, 5, 6), 8, (3, 3), ONE, ONE, ONE)
    pool = Pooling("tiny_2x2", (1, 4, 4, 6), "max_pool2d", {"kernel_size": 2})
    monkeypatch.setattr(device, "RESNET50", (conv,))
    monkeypatch.setattr(device, "families", lambda: {"depthwise": ()})
    monkeypatch.setattr(device, "POOLINGS", (pool,))
    monkeypatch.setattr(device, "copy_bandwidth", lambda: 1e6)
    monkeypatch.setattr("numconv.cuda.info", lambda: {"name": "a clock", "memory": 1 << 30})

    def race(*arguments, **options):
        return device_race.device_race(*arguments, **options, clock=lambda call, budget: call() is None or 1e-3)

    monkeypatch.setattr(device, "device_race", race)

    def run(*more):
        status = main(["bench", "--device", "cuda", "--batch", "2", "--json", str(tmp_path / "race.json"), *more])
        return status, capsys.readouterr().out, json.loads((tmp_path / "race.json").read_text())

    return run


def test_figures_of_layers(bench):
    status, text, found = bench()
    assert status == 0
    conv, pool = found["layers"]
    assert max(map(len, text.splitlines())) <= 100
    assert (conv["family"], conv["shape"], pool["family"]) == ("resnet50", "tiny_3x3", "pooling")
    # 2 images, 30 positions, 8 results of 36 products each, in a millisecond
    assert conv["flops"] == pytest.approx(2 * 2 * 30 * 8 * 36 / 1e-3)
    assert conv["of_copy"] == pytest.approx(4 * (2 * 120 + 2 * 240 + 288) / 1e-3 / 1e6)
    assert pool["of_copy"] == pytest.approx(4 * (2 * 96 + 2 * 24) / 1e-3 / 1e6)
    assert conv["error"] < 1e-6 and "tiny_3x3" in text and "resnet50: of a copy's bandwidth" in text


def test_a_wrong_result_has_no_time(bench, monkeypatch):
    monkeypatch.setitem(device.TOLERANCES, "float32", -1.0)
    _, text, found = bench("tiny_3x3")
    assert found["layers"][0]["seconds"] is None
    assert "vs cuDNN, geometric" not in text


@pytest.mark.parametrize("more", [["--roofline"], ["--dtype", "float64"]])
def test_what_does_not_go_together(more):
    assert main(["bench", "--device", "cuda", *more]) == 2


def test_what_needs_the_device():
    assert main(["bench", "--fast"]) == main(["bench", "--roofline", "--dtype", "bfloat16"]) == 2
