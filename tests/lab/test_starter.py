"""Starter files, and the commands that write, check and refuse them."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import numconv as nc
from numconv import lab
from numconv.cli import main

CONFIGURATION = Path(__file__).parents[2] / "pyproject.toml"
OPERATIONS = [
    *(
        form.format(n)
        for form in ("conv{}d", "conv{}d_input", "conv{}d_weight", "conv_transpose{}d")
        for n in (1, 2, 3)
    ),
    *(f"{kind}_pool{n}d" for kind in ("max", "avg") for n in (1, 2, 3)),
]


def loaded(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a check forks")
@pytest.mark.parametrize("operation", ["conv2d", "conv1d_input", "conv2d_weight", "avg_pool1d"])
def test_a_starter_file_is_right(operation, tmp_path, registry):
    file = lab.new("mine", operation=operation, path=tmp_path)
    assert file == tmp_path / "mine.py"
    report = lab.check(loaded(file).mine, random=6)
    assert report.ok and report.asked["parallel"] > 5, report


def test_every_starter_file_is_a_kernel_and_well_formed(tmp_path, registry):
    for operation in OPERATIONS:
        for device in ("cpu", "cuda"):
            if device == "cuda" and importlib.util.find_spec("numba_cuda") is None:
                continue
            file = lab.new(f"{device}_{operation}", device, operation, tmp_path)
            mine = getattr(loaded(file), file.stem)
            assert (mine.operation, mine.device, mine.name) == (operation, device, file.stem)
    if shutil.which("ruff"):
        for arguments in (("check",), ("format", "--check")):
            done = subprocess.run(
                ["ruff", *arguments, "--config", str(CONFIGURATION), str(tmp_path)], capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout


def test_what_is_refused(tmp_path):
    lab.new("mine", path=tmp_path / "here.py")
    with pytest.raises(FileExistsError):
        lab.new("mine", path=tmp_path / "here.py")
    for arguments, named in ((("1st",), "name"), (("class",), "name"), (("mine", "tpu"), "device")):
        with pytest.raises(ValueError, match=named):
            lab.new(*arguments, path=tmp_path)
    for operation in ("conv4d", "lp_pool2d", "max_unpool2d", "max_pool2d_input"):
        with pytest.raises(ValueError, match="operation"):
            lab.new("mine", operation=operation, path=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["here.py"]


# commands


def test_new_and_check(tmp_path, capsys, registry, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["lab", "new", "mine", "--operation", "conv1d"]) == 0
    assert "mine.py is written. Next: numconv lab check mine.py" in capsys.readouterr().out
    assert main(["lab", "check", "mine.py", "--random", "3", "--json", "found.json"]) == 0
    assert "mine (conv1d, " in capsys.readouterr().out
    (report,) = json.loads(Path("found.json").read_text())
    assert report["ok"] and report["kernel"] == "mine" and report["asked"]["serial"] > 5
    text = Path("mine.py").read_text()
    Path("wrong.py").write_text(text.replace("range(out.shape[2])", "range(out.shape[2] + 1)"))
    assert main(["lab", "check", "wrong.py", "--random", "3", "--json", "found.json"]) == 1
    assert "WRONG" in capsys.readouterr().out
    (report,) = json.loads(Path("found.json").read_text())
    (failure,) = report["failures"]
    assert failure["kind"] == "out of bounds" and failure["file"].endswith("wrong.py") and failure["line"] > 10
    assert failure["problem"].startswith("conv1d: x (1, 1, ")
    assert main(["lab", "new", "mine"]) == 2
    assert "mine.py: File exists" in capsys.readouterr().err


def test_files_without_kernels_and_with_errors(tmp_path, capsys, registry):
    file = tmp_path / "file.py"
    assert main(["lab", "check", str(file)]) == 2
    assert "no such file" in capsys.readouterr().err
    file.write_text("x = 1\n")
    assert main(["lab", "inspect", str(file)]) == 2
    assert "has no kernel" in capsys.readouterr().err
    file.write_text("x = 1\ny = x / 0\n")
    assert main(["lab", "check", str(file)]) == 1
    said = capsys.readouterr().err
    assert "file.py" in said and "line 2" in said and "ZeroDivisionError" in said and "importlib" not in said
    file.write_text("from numconv import lab\n@lab.kernel('conv1d')\ndef mine(x, out):\n    pass\n")
    assert main(["lab", "check", str(file)]) == 1
    assert "mine(x, out) must take" in capsys.readouterr().err
    lab.new("mine", path=tmp_path)
    assert main(["lab", "check", str(tmp_path / "mine.py"), "--kernel", "other"]) == 2
    assert "--kernel must be one of ['mine'], got 'other'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["lab", "new", "mine", "--device", "tpu"])
    assert caught.value.code == 2


def test_a_kernel_that_does_not_compile_is_named(tmp_path, capsys, registry):
    file = tmp_path / "file.py"
    header = (
        "from numconv import lab\n\n\n@lab.kernel('conv1d')\ndef {}(x, w, out, stride, padding, dilation, groups):\n"
    )
    file.write_text(header.format("bad") + "    undefined(x)\n" + header.format("good") + "    out[0, 0, 0] = 1\n")
    assert main(["lab", "inspect", str(file)]) == 1
    captured = capsys.readouterr()
    assert "bad does not compile: " in captured.err and "undefined" in captured.err and "good: @njit" in captured.out


def test_folders_are_looked_for_before_a_race(tmp_path, capsys):
    for option in ("--json", "--chart"):
        for command in (["bench", "tiny"], ["lab", "race", str(tmp_path / "mine.py")]):
            with pytest.raises(SystemExit) as caught:
                main([*command, option, str(tmp_path / "missing" / "file")])
            assert caught.value.code == 2
            assert "in a folder that is there" in capsys.readouterr().err


def test_help_loads_no_numba():
    code = "import sys; from numconv.cli import main\ntry: main(['lab', 'check', '--help'])\nexcept SystemExit: pass\n"
    paths = os.pathsep.join([str(Path(nc.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code + "print('numba' in sys.modules)"], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "False"
