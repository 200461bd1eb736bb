"""The demo: its pictures are what they say, its race is fair, its page holds everything."""

import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import numconv as nc
from numconv.lab.timing import Contender, race

SHA256 = "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder that ``numconv demo`` writes, and what it prints."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "numconv", "demo", "--out", str(folder / "out")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, cwd=folder)
    return folder / "out", result


def read(folder, name):
    return np.asarray(Image.open(folder / f"{name}.png"), float) / 255


def test_the_photograph_is_the_one_whose_licence_is_named():
    assets = Path(nc.__file__).parent / "assets"
    assert hashlib.sha256((assets / "chelsea.png").read_bytes()).hexdigest() == SHA256
    notes = (assets / "README.md").read_text("utf-8")
    assert SHA256 in notes
    assert "CC0" in notes


def test_the_pictures_are_what_they_say(demo):
    folder, _ = demo
    photo = read(folder, "original")
    assert photo.shape == (300, 451, 3)
    blurred = read(folder, "gaussian")
    assert np.abs(np.diff(blurred, axis=1)).mean() < np.abs(np.diff(photo, axis=1)).mean() / 2
    np.testing.assert_allclose(
        blurred, read(folder, "gaussian-separable"), atol=1.01 / 255
    )  # one step where they round
    assert np.abs(np.diff(read(folder, "sharpen"), axis=1)).mean() > np.abs(np.diff(photo, axis=1)).mean()
    blocks = photo[:296, :448].reshape(37, 8, 56, 8, 3)
    shown = read(folder, "avg-pool")[::8, ::8]
    np.testing.assert_allclose(shown, blocks.mean((1, 3)), atol=0.51 / 255)
    np.testing.assert_array_equal(read(folder, "max-pool")[::8, ::8], blocks.max((1, 3)))
    assert read(folder, "transposed").shape == (4 * 96, 4 * 144, 3)
    for name in ("sobel", "prewitt", "scharr"):
        edges = read(folder, name)
        assert edges.shape == (300, 451)
        assert edges.max() == 1
        assert np.median(edges) < 0.3
    for name in ("laplacian", "dilated"):
        assert abs(read(folder, name).mean() - 0.5) < 0.05


class Page(HTMLParser):
    """What a page refers to."""

    def __init__(self, text):
        super().__init__()
        self.images, self.references = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.references += [values[name] for name in ("src", "href") if name in values]
        if tag == "img":
            self.images.append(values)


def test_the_page_holds_everything(demo):
    folder, _ = demo
    text = (folder / "index.html").read_text("utf-8")
    page = Page(text)
    files = {p.read_bytes() for p in folder.glob("*.png") if p.stem != "overview"}
    assert {base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) for image in page.images} == files
    assert all(image["alt"] for image in page.images)
    assert all(reference.startswith("data:") for reference in page.references)
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)
    assert "$" not in re.sub(r"base64,[^\"]*", "", text)
    assert Image.open(folder / "overview.png").width > 1000


def test_the_race_runs_every_algorithm_and_numpy(demo):
    folder, result = demo
    shown = result.stdout.splitlines()
    assert str(Path("index.html")) in shown[-1]
    text = (folder / "index.html").read_text("utf-8")
    for name in nc.algorithms("conv2d"):
        assert f"numconv {name}<" in text or f"<code>{name}</code> did not run" in text
    for rival in ("NumPy", "SciPy"):
        assert any(line.startswith(rival) for line in shown)
    assert "wrong" not in result.stdout
    assert "Traceback" not in result.stderr


def test_the_network_learns_to_read(demo):
    folder, result = demo
    right = float(re.search(r"LeNet-5 read ([\d.]+)%", result.stdout)[1])
    assert right > 90
    assert f"read {right}%" in (folder / "index.html").read_text("utf-8")
    for name in ("learning", "filters", "features"):
        assert read(folder, name).std() > 0.05


def test_a_wrong_contender_is_not_timed():
    right = np.arange(4.0)
    calls = []
    field = [
        Contender("right", lambda: calls.append("right") or right),
        Contender("wrong", lambda: calls.append("wrong") or right + 1),
        Contender("nan", lambda: calls.append("nan") or right * np.nan),
    ]
    first, second, third = race(field, right, 1.0, tolerance=1e-6, rounds=2, budget=0)
    assert first.seconds > 0
    assert np.isnan([second.seconds, third.seconds]).all()
    assert second.error == 1
    assert calls == ["right", "wrong", "nan", "right", "right"]


def test_contenders_take_turns():
    calls = []
    field = [Contender(name, lambda n=name: calls.append(n) or np.zeros(1)) for name in "abc"]
    race(field, np.zeros(1), 1.0, tolerance=0, rounds=2, budget=0)
    assert "".join(calls) == "abcabcabc"
