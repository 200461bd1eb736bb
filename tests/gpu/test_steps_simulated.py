"""The steps of docs/gpu.md: each gives the right result, and the page shows what the example prints."""

import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def steps():
    spec = importlib.util.spec_from_file_location("gpu_steps", ROOT / "examples" / "gpu_steps.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.cudasim
def test_each_step_is_right(steps, capsys):
    steps.main()
    assert capsys.readouterr().out.count("largest difference") == len(steps.STEPS)


@pytest.mark.ptx
def test_the_page_shows_what_is_printed(steps, capsys):
    from gpu.assembly import assembled

    page = (ROOT / "docs" / "gpu.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (\d .+?) \| (.+?) \|$", page, re.MULTILINE))
    codes = {n: assembled(step(*steps.LAYER), steps.arguments(step), (9, 0)) for n, step in steps.STEPS.items()}
    codes[steps.LIBRARY] = steps.library()
    assert list(rows) == list(codes)
    for name, code in codes.items():
        products = code.count("FFMA", loop=True)
        counts = [sum(code.loop.values()), code.count("LDG", loop=True), code.count("LDS", loop=True)]
        shown = [float(cell) for cell in rows[name].split(" | ")]
        assert [*(n / products for n in counts), code.registers] == pytest.approx(shown, abs=0.006), name
        assert code.spills == 0
