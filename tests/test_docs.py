"""The documentation: what its pages show runs, and every public name is described."""

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numconv as nc

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)): path for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts}
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REFERENCE = re.compile(r"^```\{public\} (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)")


def program(text):
    """A page's ```python blocks as one program, each line where it stands on the page."""
    lines = [""] * (text.count("\n") + 1)
    for block in EXAMPLE.finditer(text):
        first = text.count("\n", 0, block.start(1))
        code = block[1].splitlines()
        lines[first : first + len(code)] = code
    return "\n".join(lines)


WITH_EXAMPLES = [name for name, path in PAGES.items() if EXAMPLE.search(path.read_text("utf-8"))]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_are_python(name):
    compile(program(PAGES[name].read_text("utf-8")), str(PAGES[name]), "exec")


def run_page(page, folder):
    """Run a page's program in a process and a folder of its own, as a file of the page's name and line numbers.

    It is a real file, since Numba and the laboratory read the source of functions and child processes import it.
    """
    script, work = folder / f"{page.name}.py", folder / "work"
    script.write_text(program(page.read_text("utf-8")), "utf-8")
    work.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.docs
@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run(name, tmp_path):
    done = run_page(PAGES[name], tmp_path)
    assert done.returncode == 0, f"docs/{name}:\n{done.stderr}"


def test_an_error_names_page_and_line(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\na = 1\n```\n\n```py\nshown only\n```\n\n```python\na + b\n```\n")
    done = run_page(page, tmp_path)
    assert done.returncode == 1
    assert re.search(r'page\.md\.py", line 12', done.stderr)
    assert "NameError: name 'b'" in done.stderr


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target in LINK.findall(PAGES[name].read_text("utf-8")):
        assert (PAGES[name].parent / target).exists(), f"{name} links to {target}"


SHOWN = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["laboratory/kernel.md", "laboratory/inspect.md"])
def test_lines_that_an_output_names_are_there(name):
    text = PAGES[name].read_text("utf-8")
    lines, outputs = text.splitlines(), "".join(SHOWN.findall(text))
    named = re.findall(r"line (\d+): +(.+?)(?: \(\d+ deep\))?$", outputs, re.MULTILINE)
    assert named
    for number, code in named:
        assert lines[int(number) - 1].strip() == code
    decorated = rf"^(\w+) \(\w+, {PAGES[name].name}:(\d+)\)"
    for kernel, number in re.findall(decorated, outputs, re.MULTILINE):
        assert lines[int(number)].startswith(f"def {kernel}(")  # the number is that of the decorator


MODULES = [
    f"numconv{name}"
    for name in (
        "", ".kernels", ".nn", ".nn.init", ".nn.utils", ".optim", ".optim.lr_scheduler", ".data", ".models",
        ".models.look", ".train",
        ".autograd", ".autograd.functional", ".graph", ".cuda", ".interop.tf", ".lab", ".lab.blocks", ".njit",
    )
]  # fmt: skip
# modules with a page or a section of their own
ELSEWHERE = {"numconv": {"cuda", "kernels"}, "numconv.nn": {"init", "utils"}, "numconv.optim": {"lr_scheduler"}}


def public(module):
    """What a module's `__all__` holds; where it has none, what it makes or takes from its own parts."""
    members = vars(importlib.import_module(module))
    own = {name for name, value in members.items() if getattr(value, "__module__", "").startswith(module)}
    return set(members.get("__all__", {name for name in own if not name.startswith("_")}))


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module):
    described = {}
    for path in PAGES.values():
        for name, body in REFERENCE.findall(path.read_text("utf-8")):
            described.setdefault(name, []).extend(body.split() or ["everything"])
    assert module in described
    if described[module] != ["everything"]:
        assert sorted(described[module]) == sorted(public(module) - ELSEWHERE.get(module, set()))


@pytest.mark.docs
@pytest.mark.parametrize("module", MODULES)
def test_examples_of_docstrings_are_right(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = importlib.import_module(module)
    names = {name: value for name, value in vars(whole).items() if name in public(module) and callable(value)}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for name, value in {module: whole, **names}.items():
        for test in doctest.DocTestFinder(exclude_empty=True).find(value, name, globs={"np": np, "nc": nc, **names}):
            runner.run(test)
    assert runner.failures == 0
