"""Examples: each is on the page of examples, and run by CI; what the page shows of it is there."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "examples.md").read_text("utf-8")
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_a_section_that_says_how_to_run_it(name):
    sections = [part for part in PAGE.split("\n## ") if f"](../examples/{name})" in part]
    assert len(sections) == 1
    assert re.search(rf"^python examples/{re.escape(name)}\b", sections[0], re.MULTILINE)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_what_it_is_about(name):
    assert ast.get_docstring(ast.parse((ROOT / "examples" / name).read_text("utf-8")))


SOURCES = {name: (ROOT / "examples" / name).read_text("utf-8") for name in EXAMPLES}


def run(folder, name, *arguments, without=()):
    """Run an example, as if some packages were missing."""
    hidden = f"sys.modules.update(dict.fromkeys({list(without)}))"
    code = f"import runpy, sys; {hidden}; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", code, str(ROOT / "examples" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.parametrize("name", [name for name, text in SOURCES.items() if "argparse" in text])
def test_an_example_that_takes_a_folder_has_help(name, tmp_path):
    done = run(tmp_path, name, "--help")
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert "pip install" in done.stderr  # of what it needs
    else:
        assert ast.get_docstring(ast.parse(SOURCES[name])) in done.stdout
    assert not list(tmp_path.iterdir())


OPTIONAL = ("matplotlib", "PIL", "scipy", "skimage", "nilearn", "sktime")


@pytest.mark.parametrize("name", [name for name, text in SOURCES.items() if any(p in text for p in OPTIONAL)])
def test_an_example_says_what_to_install(name, tmp_path):
    done = run(tmp_path, name, without=OPTIONAL)
    assert done.returncode == 1
    assert re.search(r"pip install 'numconv\[\w+\]'$", done.stderr) and done.stderr.count("\n") == 1


def test_ci_runs_every_example():
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    loop = re.search(r"^for example in (\S+); do\n(.*?)^done", script, re.MULTILINE | re.DOTALL)
    assert sorted(path.name for path in ROOT.glob(loop[1])) == EXAMPLES
    assert '/$example"' in loop[2]


@pytest.mark.parametrize("page", ["examples.md", "look.md"])
def test_pictures_are_there_and_small(page):
    found = re.findall(r"!\[[^]]*\]\(([^)]+\.png)\)", (ROOT / "docs" / page).read_text("utf-8"))
    assert found
    for name in found:
        assert (ROOT / "docs" / name).stat().st_size < 100_000
