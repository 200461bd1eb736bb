"""The program: the arithmetic it prints, what its commands do, how it refuses."""

import io
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import numconv as nc
from numconv.cli import COMMANDS, main
from numconv.commands import gradients
from numconv.commands.info import OPTIONAL, gpu_line
from numconv.extras import MissingExtra
from numconv.lab import operands, roofline
from numconv.terminal import WIDTH, Progress, has_colour, table


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("conv --input 6 --kernel 3", ["out = floor((6 + 2·0 − 1·(3 − 1) − 1) / 1) + 1 = 4", "6x6 → 4x4"]),
        (
            "conv --input 28x31 --kernel 5 --padding 2 --stride 3",
            [
                "height: out = floor((28 + 2·2 − 1·(5 − 1) − 1) / 3) + 1 = 10",
                "width: out = floor((31 + 2·2 − 1·(5 − 1) − 1) / 3) + 1 = 11",
                "28x31 → 10x11",
            ],
        ),
        ("conv --input 227 --kernel 11 --stride 4", ["out = floor((227 + 2·0 − 1·(11 − 1) − 1) / 4) + 1 = 55"]),
        ("conv --kernel 3 --dilation 2", ["effective kernel = 2·(3 − 1) + 1 = 5"]),
        (
            "field 3 3:1:2 3:1:4",
            [
                "layer 1: receptive field = 1 + 1·(3 − 1)·1 = 3",
                "layer 2: receptive field = 3 + 2·(3 − 1)·1 = 7",
                "layer 3: receptive field = 7 + 4·(3 − 1)·1 = 15",
            ],
        ),
        ("field 7:2 3:2 3", ["layer 3: receptive field = 11 + 1·(3 − 1)·4 = 19"]),
        ("conv --kernel 3 --in-channels 16 --out-channels 32 --bias", ["parameters = 32·16·3·3 + 32 = 4,640"]),
        (
            "conv --kernel 3 --in-channels 64 --out-channels 64 --groups 8",
            ["parameters = 64·(64/8)·3·3 = 4,608 against 36,864 in one group"],
        ),
        (
            "conv --kernel 3 --in-channels 16 --out-channels 32 --separable depthwise",
            ["depthwise separable: parameters = 144 + 512 = 656 against 4,608"],
        ),
        (
            "conv --input 7 --kernel 3 --in-channels 3 --out-channels 128 --separable depthwise",
            [
                "multiply-adds = 128·5·5 · 3·3·3 = 86,400",
                "depthwise separable: multiplications = 675 + 9,600 = 10,275 against 86,400",
            ],
        ),
        (
            "conv --input 5 --kernel 3 --separable spatial",
            [
                "spatially separable: parameters = 3 + 3 = 6 against 9",
                "spatially separable: multiplications = 45 + 27 = 72 against 81",
            ],
        ),
        (
            "conv --input 280x320 --kernel 1x2 --matrix",
            [
                "operations = 89,320 outputs · (2 + 1) = 267,960 multiplications and additions",
                "as a matrix: 89,320 x 89,600 = 8,003,072,000 entries",
            ],
        ),
        ("transposed --input 2 --kernel 3", ["out = (2 − 1)·1 − 2·0 + 1·(3 − 1) + 0 + 1 = 4", "2x2 → 4x4"]),
        ("transposed --input 2 --kernel 3 --stride 2", ["out = (2 − 1)·2 − 2·0 + 1·(3 − 1) + 0 + 1 = 5", "2x2 → 5x5"]),
        ("conv --input 224 --kernel 7 --stride 2 --padding same", ["out = ceil(224 / 2) = 112"]),
        (
            "conv --input 9 --kernel 3 --padding 1:2 --dims 1",
            ["out = floor((9 + (1 + 2) − 1·(3 − 1) − 1) / 1) + 1 = 10"],
        ),
        ("conv --input 8 --kernel 3 --bias --dims 1", ["bytes = 72 of input, parameters and output (float32)"]),
        (
            "conv --input 8 --kernel 3 --dims 1 --dtype bfloat16",
            ["bytes = 34 of input, parameters and output (bfloat16)"],
        ),
    ],
)
def test_shape_prints_the_formula_filled_in(arguments, expected, capsys):
    assert main(["shape", *arguments.split()]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line in expected] == expected


@pytest.mark.parametrize(
    ("size", "kernel", "options"),
    [
        ((112, 112), 3, {"stride": 2, "padding": 1}),
        ((5, 7), 2, {"ceil_mode": True}),
        ((6, 8), 3, {"stride": 4, "padding": 1, "ceil_mode": True}),
    ],
)
def test_shape_of_a_pooling_is_that_of_the_function(size, kernel, options, capsys):
    out = nc.max_pool2d(np.zeros((1, 1, *size), np.float32), kernel, **options).shape[2:]
    flags = [f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}") for name, value in options.items()]
    assert main(["shape", "pool", "--input", f"{size[0]}x{size[1]}", "--kernel", str(kernel), *flags]) == 0
    assert f"{size[0]}x{size[1]} → {out[0]}x{out[1]}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "COMMAND"),
        ("nonsense", "nonsense"),
        ("shape", "KIND"),
        ("shape conv", "--kernel"),
        ("shape conv --kernel 3 --input 2", "kernel_size"),
        ("shape conv --kernel 3 --input 4xy", "4xy"),
        ("shape conv --kernel 0", "kernel"),
        ("shape conv --kernel 3 --input 2x2x2x2", "axes"),
        ("shape conv --kernel 3x3 --input 1x2x3", "--kernel"),
        ("shape conv --kernel 3 --in-channels 3 --groups 2", "groups"),
        ("shape conv --kernel 3 --in-channels 4 --out-channels 4 --groups 2 --separable depthwise", "--groups 1"),
        ("shape conv --kernel 3 --padding some", "some"),
        ("shape conv --kernel 3 --dtype words", "words"),
        ("shape transposed --input 2 --kernel 3 --padding 9", "padding"),
        ("shape field 3:x", "3:x"),
        ("shape field 3:1:1:1", "3:1:1:1"),
        ("shape field 3 --json nowhere/field.json", "nowhere/field.json"),
        ("filter missing.npy out.npy --kernel sobel", "missing.npy"),
        ("filter missing.npy", "OUT"),
        ("filter missing.npy nowhere/out.npy --kernel sobel", "nowhere/out.npy"),
        ("filter missing.npy out.xyz --kernel sobel", "out.xyz"),
        ("bench no-such-shape", "no-such-shape"),
        ("bench --chart nowhere/race.png", "nowhere/race.png"),
        ("warmup no_such_operation", "no_such_operation"),
        ("warmup --dtype words", "--dtype"),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(arguments, words, capsys):
    try:
        status = main(arguments.split())
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    assert status == 2
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert not captured.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_summary_and_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert COMMANDS[command].__doc__.splitlines()[0] in shown
    assert f"\n  numconv {command}" in shown


def python(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)


def test_module_is_the_same_program():
    assert python("-m", "numconv", "--version").stdout == f"numconv {nc.__version__}\n"
    failed = python("-m", "numconv", "filter", "missing.npy", "out.npy", "--kernel", "sobel")
    assert failed.returncode == 2
    assert failed.stderr == "numconv filter: missing.npy: No such file or directory\n"


def test_a_reader_that_goes_away_is_no_error():
    code = "import os, sys, numconv.cli; r, w = os.pipe(); os.dup2(w, 1); os.close(r); os.close(w);"
    result = python("-c", f"{code} sys.exit(numconv.cli.main(['shape', 'field', '3']))")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_closed_stdout_is_no_error():
    code = "import sys, numconv.cli; sys.stdout = None; sys.exit(numconv.cli.main(['shape', 'field', '3']))"
    result = python("-c", code)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line_and_status_2():
    with open("/dev/full", "w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "numconv", "shape", "field", "3"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 2
    assert "No space left" in result.stderr and result.stderr.count("\n") == 1


def test_what_an_encoding_lacks_is_escaped():
    result = python("-m", "numconv", "shape", "field", "3", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (result.returncode, result.stderr) == (0, "")
    assert r"1\xb7(3 \u2212 1)" in result.stdout


def test_without_the_demo_extra_the_demo_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["demo", "--out", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err == "numconv demo: matplotlib is missing: pip install numconv[demo]\n"
    assert not (tmp_path / "out").exists()


@pytest.fixture
def grey():
    return np.random.default_rng(0).integers(0, 256, (24, 31), dtype=np.uint8)


def filtered(folder, image, kernel, suffix=".npy", boundary="reflect"):
    from PIL import Image

    source, target = folder / f"in{suffix}", folder / f"out{suffix}"
    if suffix == ".npy":
        np.save(source, image)
    else:
        Image.fromarray(image).save(source)
    assert main(["filter", str(source), str(target), "--kernel", kernel, "--boundary", boundary]) == 0
    return np.load(target) if suffix == ".npy" else np.asarray(Image.open(target))


@pytest.mark.parametrize("suffix", [".npy", ".png", ".tiff"])
def test_filter_blurs_a_picture(grey, tmp_path, suffix):
    expected = nc.filter(grey, nc.kernels.gaussian(1.5))
    np.testing.assert_array_equal(filtered(tmp_path, grey, "gaussian:1.5", suffix), expected)


def test_filter_takes_weights_from_a_file(grey, tmp_path):
    weights = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]])
    np.save(tmp_path / "weights.npy", weights)
    result = filtered(tmp_path, grey, str(tmp_path / "weights.npy"), boundary="nearest")
    np.testing.assert_array_equal(result, nc.filter(grey, weights, "nearest"))


@pytest.mark.parametrize("name", ["sobel", "prewitt", "scharr"])
def test_filter_shows_an_edge_as_bright_as_its_step(name, tmp_path):
    step = np.zeros((9, 10), np.uint8)
    step[:, 5:] = 200
    result = filtered(tmp_path, step, name)
    assert np.all(result[:, 4:6] == 200)
    assert not result[:, :4].any()
    assert not result[:, 6:].any()


def test_filter_keeps_transparency_and_depth(grey, tmp_path):
    rgba = np.random.default_rng(1).integers(0, 256, (12, 13, 4), dtype=np.uint8)
    result = filtered(tmp_path, rgba, "box:3", ".png")
    np.testing.assert_array_equal(result[..., 3], rgba[..., 3])
    np.testing.assert_array_equal(result[..., :3], nc.filter(rgba[..., :3], nc.kernels.box(3)))
    deep = grey.astype(np.uint16) * 250
    np.testing.assert_array_equal(filtered(tmp_path, deep, "box:3", ".png"), nc.filter(deep, nc.kernels.box(3)))


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        ("blurry", "blurry"),
        ("gaussian", "sigma"),
        ("gaussian:wide", "gaussian:wide"),
        ("gaussian:1e15", "allocate"),
        ("nowhere.npy", "nowhere.npy"),
        ("gaussian:-1", "sigma"),
    ],
)
def test_filter_refuses_what_is_no_kernel(grey, tmp_path, kernel, words, capsys):
    np.save(tmp_path / "in.npy", grey)
    assert main(["filter", str(tmp_path / "in.npy"), str(tmp_path / "out.npy"), "--kernel", kernel]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out.npy").exists()


def test_filter_refuses_a_file_that_is_no_picture(tmp_path, capsys):
    for name in ("in.png", "in.npy"):
        for content in (b"", b"not a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
            (tmp_path / name).write_bytes(content)
            assert main(["filter", str(tmp_path / name), str(tmp_path / "out.png"), "--kernel", "sobel"]) == 2
            shown = capsys.readouterr().err
            assert name in shown and shown.count("\n") == 1


def test_filter_leaves_what_was_there_where_it_cannot_write(tmp_path, capsys):
    np.save(tmp_path / "in.npy", np.zeros((4, 5), np.float32))  # which PNG has not
    (tmp_path / "out.png").write_bytes(b"old")
    assert main(["filter", str(tmp_path / "in.npy"), str(tmp_path / "out.png"), "--kernel", "box"]) == 2
    assert "4x5 of float32" in capsys.readouterr().err
    assert (tmp_path / "out.png").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2


def test_info_names_what_numconv_finds(capsys):
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = dict(line.split(":", 1) for line in lines if not line.startswith(" "))
    assert nc.__version__ in shown["numconv"]
    assert "numba" in shown["libraries"]
    assert "bits" in shown["vectors"]
    assert shown["threads"].split(",")[0].strip() == str(nc.get_num_threads())
    assert any(layer in shown["threads"] for layer in ("omp", "tbb", "python"))
    assert "pytest" in shown["extra test"]
    assert nc.cuda.is_available() or nc.cuda.info()["missing"].split()[0] in shown["GPU"]


def test_info_knows_every_extra():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    assert list(OPTIONAL) == list(project["optional-dependencies"])


def test_a_gpu_in_a_line():
    found = {"available": True, "simulated": False, "name": "NVIDIA H100", "compute_capability": (9, 0)}
    assert gpu_line(found | {"memory": 80 << 30, "multiprocessors": 132}) == (
        "NVIDIA H100, compute capability 9.0, 80 GiB, 132 processors"
    )
    assert "simulator" in gpu_line({"available": True, "simulated": True})


@pytest.fixture
def ceilings(monkeypatch):
    """A machine whose ceilings need not be measured."""
    found = roofline.Ceilings(2, {"float32": 400.0, "float64": 200.0}, memory=50.0, read=60.0, cached=100.0)
    monkeypatch.setattr(roofline, "ceilings", lambda threads: found)


def test_bench_races_and_writes_its_figures(tmp_path, capsys, ceilings):
    files = ["--json", str(tmp_path / "race.json"), "--chart", str(tmp_path / "race.png")]
    assert main(["bench", "tiny/digits_3x3", "--quick", *files]) == 0
    title, header, *rows = capsys.readouterr().out.splitlines()
    assert title == "tiny/digits_3x3: conv2d 3x3 1x1x8x8 -> 8x8x8"
    assert header.split() == ["weights", "ms", "GF/s", "of", "roof", "workspace", "error"]
    assert {"roofline", "auto", "plan", "direct"} <= {row.split()[0] for row in rows}
    (found,) = json.loads((tmp_path / "race.json").read_text())["problems"]
    assert {r["name"] for r in found["results"]} >= {"auto", "direct"}
    assert all(r["error"] <= 5e-6 and r["seconds"] > 0 for r in found["results"])
    assert (tmp_path / "race.png").read_bytes().startswith(b"\x89PNG")


def test_bench_against_the_libraries_alone_and_without(capsys, ceilings):
    assert main(["bench", "tiny/digits_3x3", "--quick", "--compare", "peers", "--json", "-"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["problems"]
    ours = {r["name"] for r in found["results"] if r["ours"]}
    assert ours == {"auto"}
    assert main(["bench", "tiny/digits_3x3", "--quick", "--compare", "algorithms", "--json", "-"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["problems"]
    assert all(r["ours"] for r in found["results"]) and len(found["results"]) > 2


def test_bench_says_by_its_status_that_a_result_is_wrong(capsys, ceilings, monkeypatch):
    monkeypatch.setitem(operands.TOLERANCES, "float32", -1.0)
    assert main(["bench", "tiny/digits_3x3", "--quick", "--compare", "peers"]) == 1
    captured = capsys.readouterr()
    assert "wrong" in captured.out
    assert captured.err.splitlines() == [
        f"numconv bench: {name} on tiny/digits_3x3 is wrong" for name in ("auto", "plan")
    ]


def test_bench_of_gradients_says_so_too(capsys, monkeypatch):
    monkeypatch.setitem(gradients.TOLERANCES, "float32", -1.0)
    assert main(["bench", "--gradients", "cifar_3x3", "--quick"]) == 1
    captured = capsys.readouterr()
    assert "nan" not in captured.out
    assert captured.err.count(" is wrong\n") == captured.err.count("\n") == 4


def test_warmup_compiles_what_is_named(capsys, monkeypatch):
    called = []
    for name in ("conv1d", "conv_transpose1d", "conv1d_input", "conv1d_weight", "max_pool1d"):
        original = getattr(nc, name)
        spy = lambda *a, n=name, f=original, **k: (called.append((n, k["data_format"])), f(*a, **k))[1]  # noqa: E731
        monkeypatch.setattr(nc, name, spy)
    names = ["conv1d", "conv_transpose1d", "conv1d_input", "conv1d_weight", "max_pool1d"]
    assert main(["warmup", *names, "--data-format", "NCHW", "NHWC"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"{n} float32 {f}" for n in names for f in ("NCHW", "NHWC")]
    assert set(called) == {(n, f) for n in names for f in (None, "channels_last")}


SHORT = {
    "info": ["info"],
    "conv": ["shape", "conv", "--input", "28x31", "--kernel", "5", "--stride", "3", "--in-channels", "16"],
    "transposed": ["shape", "transposed", "--input", "2", "--kernel", "3", "--stride", "2"],
    "pool": ["shape", "pool", "--input", "5", "--kernel", "2", "--ceil-mode"],
    "field": ["shape", "field", "3", "3:1:2"],
    "warmup": ["warmup", "max_pool1d"],
    "bench": ["bench", "tiny/digits_3x3", "--quick"],
    "overview": ["bench", "tiny/cifar_*", "--quick"],
    "gradients": ["bench", "--gradients", "cifar_3x3", "--quick"],
}


@pytest.mark.parametrize("name", SHORT)
def test_what_commands_print_fits_and_is_plain(name, capsys, ceilings):
    assert main(SHORT[name]) == 0
    captured = capsys.readouterr()
    assert captured.out and not captured.err
    assert "\x1b" not in captured.out and "\r" not in captured.out
    assert max(map(len, captured.out.splitlines())) <= WIDTH


@pytest.mark.parametrize("name", SHORT)
def test_figures_for_machines_are_json_and_nothing_else(name, capsys, ceilings):
    assert main([*SHORT[name], "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) and not captured.err


def test_the_figures_of_shapes(capsys):
    def figures(*arguments):
        assert main(["shape", *arguments, "--json", "-"]) == 0
        return json.loads(capsys.readouterr().out)

    conv = figures(
        "conv", "--input", "28x31", "--kernel", "5", "--padding", "2", "--stride", "3", "--out-channels", "7"
    )
    p = nc.ConvProblem.make("conv2d", (1, 1, 28, 31), (7, 1, 5, 5), stride=3, padding=2)
    assert (conv["input"], conv["output"]) == ([28, 31], list(p.out_spatial))
    assert (conv["parameters"], conv["multiply_adds"], conv["bytes"]) == (p.parameters, p.multiply_adds, p.bytes)
    transposed = figures("transposed", "--input", "2", "--kernel", "3", "--stride", "2")
    assert (transposed["input"], transposed["output"]) == ([2, 2], [5, 5])
    assert figures("pool", "--input", "5", "--kernel", "2", "--ceil-mode")["output"] == [3, 3]
    assert [layer["field"] for layer in figures("field", "3", "3:1:2", "3:1:4")] == [3, 7, 15]


def helps():
    kinds = [["shape", kind] for kind in ("conv", "transposed", "pool", "field")]
    return [[], *([name] for name in COMMANDS), *kinds]


@pytest.mark.parametrize("arguments", helps(), ids=" ".join)
def test_help_fits_and_is_plain(arguments, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        main([*arguments, "--help"])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and max(map(len, shown.splitlines())) <= WIDTH


def test_help_says_what_the_exit_status_means(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    statuses = [line.split()[0] for line in shown.partition("exit status:")[2].splitlines() if line.startswith("  ")]
    assert statuses == ["0", "1", "2", "3", "130"]
    page = (Path(__file__).parents[1] / "docs" / "program.md").read_text("utf-8")
    assert re.findall(r"^\| (\d+) \|", page, re.MULTILINE) == statuses


def raising(error):
    def run(options):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (FloatingPointError("the loss is nan"), 1), (ValueError("no"), 2), (TypeError("no"), 2), (OSError("no"), 2),
        (MemoryError(), 2), (OverflowError("no"), 2),
        (nc.cuda.MissingPart("no GPU"), 3), (MissingExtra("rich is missing"), 3), (KeyboardInterrupt(), 130),
    ],
)  # fmt: skip
def test_exit_statuses(error, status, monkeypatch, capsys):
    monkeypatch.setattr(COMMANDS["info"], "run", raising(error))
    assert main(["info"]) == status
    assert capsys.readouterr().err.count("\n") == (status != 130)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colour_is_for_terminals(monkeypatch):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert has_colour(Terminal()) and not has_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colour(Terminal())
    monkeypatch.setenv("NO_COLOR", "")
    assert has_colour(Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert not has_colour(Terminal())


def test_an_error_is_red_on_a_terminal_alone(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(["bench", "no-such-shape"]) == 2
    assert sys.stderr.getvalue().startswith("\x1b[31mnumconv bench:\x1b[0m ")


def test_progress_is_a_line_that_goes(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(ValueError), Progress("layers", 2) as progress:
            progress.begin("first")
            progress.begin("x" * 200)
            raise ValueError
        lines = stream.getvalue().split("\r\x1b[K")
        assert lines == (["", "1 of 2 layers: first", lines[2], ""] if stream.isatty() else [""])
        assert max(map(len, lines)) < WIDTH


def test_progress_fits_a_narrow_terminal_and_spares_one_that_clears_no_line(monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    monkeypatch.setattr(stream, "fileno", lambda: 2)
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((40, 24)))
    monkeypatch.setenv("TERM", "xterm")
    Progress("layers", 2).begin("x" * 200)
    assert len(stream.getvalue().removeprefix("\r\x1b[K")) == 39
    monkeypatch.setenv("TERM", "dumb")
    Progress("layers", 2).begin("first")
    assert "first" not in stream.getvalue()


def test_wide_tables_go_on_below():
    rows = [("name", *"abcde"), ("first", *(10 * letter for letter in "abcde"))]
    assert table(rows, width=30).splitlines() == [
        "name            a           b", "first  aaaaaaaaaa  bbbbbbbbbb", "",
        "name            c           d", "first  cccccccccc  dddddddddd", "",
        "name            e", "first  eeeeeeeeee",
    ]  # fmt: skip
    assert table(rows[:1], width=3).splitlines()[0] == "name  a"  # never a column without a name
