"""The roofline: what is measured is what is counted, floors, the command, its picture. Races between processes."""

import json
import math
import sys

import numpy as np
import pytest

import numconv as nc
from numconv import measured
from numconv.cli import main
from numconv.commands.roofline_picture import DPI, NUMBER, write_numbers
from numconv.kernels.cpu import simd
from numconv.lab import roofline
from numconv.lab.timing import Contender, Crew, race_apart
from numconv.problem import ConvProblem


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Small arrays, a moment for each figure, and a folder for what is kept."""
    monkeypatch.setattr(roofline, "MOST", 3 << 20)
    monkeypatch.setattr(roofline, "TILES", 20)
    monkeypatch.setenv("NUMCONV_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("dtype", roofline.DTYPES)
def test_the_tile_does_the_operations_that_are_counted(dtype):
    rows, vectors = 6, 2
    width, steps = vectors * simd.lanes(dtype), roofline.STEPS
    size = roofline.panel_size(rows, width)
    panels = np.random.default_rng(0).standard_normal(2 * size).astype(dtype)
    for worker in range(2):
        mine = panels[worker * size : (worker + 1) * size].astype(np.float64)
        a, b = mine[: steps * rows].reshape(steps, rows), mine[steps * rows :][: steps * width].reshape(steps, width)
        sums = mine[steps * (rows + width) :][: rows * width].reshape(rows, width)
        roofline.multiply_add(rows, vectors, dtype).serial(0, 3, worker, panels)
        found = panels[worker * size :][steps * (rows + width) :][: rows * width].reshape(rows, width)
        np.testing.assert_allclose(found, sums + 3 * a.T @ b, rtol=0, atol=1e-3 if dtype == "float32" else 1e-11)
    way = roofline._tile_way(1, rows, vectors, dtype)
    assert way.amount == roofline.TILES * 2 * (a.T @ b).size * steps


def test_the_bandwidths_move_the_bytes_that_are_counted():
    array = np.random.default_rng(0).standard_normal(3000).astype(np.float32)
    a, b, c = array.copy().reshape(3, -1)
    way = roofline._triad_way("memory", 2, array)
    way.call()
    assert way.amount == a.nbytes + b.nbytes + c.nbytes == array.nbytes
    np.testing.assert_allclose(array[:1000], b + 3 * c, rtol=1e-5)
    sums = np.zeros(32, np.float32)
    roofline.total()(2, array.size, array, sums)
    np.testing.assert_allclose(sums.sum(), array.astype(np.float64).sum(), atol=1e-2)


def test_a_floor_is_the_larger_of_arithmetic_and_moving(monkeypatch):
    monkeypatch.setattr(roofline, "last_level_cache", lambda: 32 << 20)
    ceilings = roofline.Ceilings(2, {"float32": 400.0, "float64": 200.0}, memory=50.0, read=60.0, cached=100.0)
    dense = ConvProblem.make("conv2d", (1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    assert roofline.floor(dense, ceilings) == roofline.Floor(dense.flops / 400e9, "FMA")
    wide = ConvProblem.make("conv2d", (1, 64, 56, 56), (64, 64, 3, 3), np.float64, padding=1)
    assert roofline.floor(wide, ceilings).seconds == wide.flops / 200e9
    depthwise = {"padding": 1, "groups": 32}
    small = ConvProblem.make("conv2d", (1, 32, 112, 112), (32, 1, 3, 3), **depthwise)
    assert roofline.floor(small, ceilings) == roofline.Floor(small.bytes / 100e9, "cache")
    large = ConvProblem.make("conv2d", (8, 32, 112, 112), (32, 1, 3, 3), **depthwise)
    assert roofline.floor(large, ceilings) == roofline.Floor(large.bytes / 50.0 / 1e9, "memory")


def test_the_meter_keeps_the_best_of_each(small, threads):
    threads(2)
    meter = roofline.Meter()
    before = meter.ceilings()
    meter.round(0.001)
    after = meter.ceilings()
    assert [c.threads for c in after] == [1, 2]
    for old, new in zip(before, after):
        assert all(new.fma[dtype] >= old.fma[dtype] > 0 for dtype in roofline.DTYPES)
        assert all(getattr(new, name) >= getattr(old, name) > 0 for name in roofline.BANDWIDTHS)
    assert roofline.store(*after) == ""
    kept = measured.ceilings()
    assert kept is not None
    np.testing.assert_allclose(kept.fma_1, after[0].fma["float32"], atol=0.01)
    np.testing.assert_allclose(kept.bandwidth_all, after[1].memory, atol=0.01)


def report(capsys, folder, *more):
    files = ["--output", str(folder / "roofline.png"), "--json", str(folder / "roofline.json")]
    assert main(["bench", "--roofline", "--quick", *files, *more]) == 0
    return capsys.readouterr().out, json.loads((folder / "roofline.json").read_text())


@pytest.mark.parametrize("dtype", roofline.DTYPES)
def test_the_command_prints_draws_and_keeps(small, capsys, dtype):
    threads = nc.get_num_threads()
    shown, found = report(capsys, small, "tiny/", "--dtype", dtype)
    assert nc.get_num_threads() == threads
    (layer,) = found["layers"]
    ceilings = found["ceilings"][1]
    problem = ConvProblem.make("conv1d", (1, 4, 32), (4, 4, 3), dtype, padding=1)
    assert (layer["name"], layer["flops"], layer["bytes"]) == ("short_series", problem.flops, problem.bytes)
    least = max(problem.flops / ceilings["fma"][dtype], problem.bytes / ceilings["cached"]) / 1e9
    assert math.isclose(layer["all"]["floor"], least)
    row = next(line.split() for line in shown.splitlines() if line.startswith("tiny/short_series"))
    assert row[1] == layer["algorithm"]
    assert max(len(line) for line in shown.splitlines() if "picture" not in line) <= 100 and "\x1b" not in shown
    assert row[8] == f"{least / layer['all']['seconds']:.0%}"
    assert (small / "roofline.png").read_bytes().startswith(b"\x89PNG")
    assert measured.ceilings() is not None


def test_without_matplotlib_it_says_so(small, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    shown, found = report(capsys, small, "tiny/")
    assert "no picture: matplotlib is missing: pip install numconv[demo]" in shown
    assert found["layers"] and not (small / "roofline.png").exists()


def test_numbers_cover_neither_each_other_nor_points():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    figure = Figure(figsize=(13, 7.4), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.06, 0.155, 0.56, 0.785), xscale="log", yscale="log", xlim=(1, 200), ylim=(20, 800))
    points = [tuple(p) for p in np.exp(np.random.default_rng(0).normal((3, 5.5), (0.4, 0.2), (40, 2)))]
    write_numbers(axes, points)
    renderer, digit = canvas.get_renderer(), 0.73 * NUMBER * DPI / 72  # their height; an extent is a line's
    places = axes.transData.transform(points)
    boxes = []
    for i, text in enumerate(axes.texts):
        assert text.get_text() == str(i + 1)
        text.update_positions(renderer)
        box = Text.get_window_extent(text, renderer)  # without its line
        box = box.expanded(1, digit / box.height)
        assert not any(box.overlaps(other) for other in boxes)
        assert not any(box.contains(*place) for place in places)
        boxes.append(box)
    assert len(boxes) == len(points)


def square(numbers, wrong):
    """Contenders of a crew: they run in its process."""
    if len(numbers) == 0:
        raise ValueError("no numbers")
    return [Contender("product", lambda: numbers * numbers), Contender("power", lambda: numbers**2 + wrong)]


def test_crews_race_in_processes_of_their_own():
    numbers = np.arange(5.0)
    with Crew("one", square, ours=True) as one, Crew("two", square) as two:
        timings = race_apart([one, two], (numbers, 1), numbers**2, 16, tolerance=1e-9, rounds=2, budget=0.001)
        assert [(t.name, t.ours) for t in timings] == [
            ("product", True), ("power", True), ("product", False), ("power", False)
        ]  # fmt: skip
        assert [t.error for t in timings] == [0, 1 / 16, 0, 1 / 16]
        assert [0 < t.seconds < 1 for t in timings] == [True, False, True, False]
        with pytest.raises(RuntimeError, match="no numbers"):
            one.results(numbers[:0], 0)
        assert len(one.results(numbers, 0)) == 2  # it goes on


def test_the_race_of_gradients(tmp_path, capsys):
    assert main(["bench", "--gradients", "cifar_3x3", "--quick", "--json", str(tmp_path / "g")]) == 0
    shown = capsys.readouterr().out.splitlines()
    records = json.loads((tmp_path / "g").read_text())
    assert [record["gradient"] for record in records] == ["input", "weight"]
    for record, row in zip(records, shown[1:]):
        assert row.startswith(f"{record['gradient']} tiny/cifar_3x3")
        ours = [record["timings"][f"numconv {layout}"] for layout in ("NCHW", "NHWC")]
        assert all(t["seconds"] > 0 and t["error"] <= 5e-6 for t in ours)
        peers = [t["seconds"] for t in record["timings"].values() if not t["ours"]]
        expected = min(peers, default=math.nan) / min(t["seconds"] for t in ours)
        ratio = math.nan if record["ratio"] is None else record["ratio"]  # where no peer is installed
        np.testing.assert_allclose(ratio, expected)
