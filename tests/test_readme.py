"""README and CONTRIBUTING: what they show runs, and every one-line replacement gives what it replaces."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

import numconv as nc
import numconv.interop.tf
from numconv import algorithm, cli
from numconv.lab import reference

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", README, re.MULTILINE)


def array(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


OPERANDS = {
    "a": array(50),
    "v": array(7),
    "image": array(20, 23),
    "kernel": array(3, 5),
    "volume": array(6, 7, 8),
    "block": array(3, 2, 4),
    "rows": array(4, 40),
    "taps": array(9),
    "x": array(2, 4, 9, 10),
    "w": array(6, 4, 3, 3),
    "wg": array(6, 2, 3, 3),
    "b": array(6),
    "wt": array(4, 3, 2, 2),
    "images": array(2, 9, 10, 4),
    "hwio": array(3, 3, 4, 6),
    "hwim": array(3, 3, 4, 2),
}


def channels_first(images):
    return np.moveaxis(images, -1, 1)


def channels_last(result):
    return np.moveaxis(result, 1, -1)


def around(padding):
    return ((padding, padding),) * 2


def same(images, kernel, stride):
    """TensorFlow's "SAME": output = ceil(input / stride), extra padding after."""
    totals = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(images.shape[1:3], kernel)]
    return tuple((total // 2, total - total // 2) for total in totals)


# PyTorch's and TensorFlow's calls of the table, by the oracle.
TORCH = SimpleNamespace(
    conv2d=lambda x, w, b=None, padding=0, dilation=1, groups=1: reference.conv(
        x, w, b, padding=around(padding), dilation=(dilation,) * 2, groups=groups
    ),
    conv_transpose2d=lambda x, w, stride: reference.conv_transpose(x, w, stride=(stride,) * 2),
    max_pool2d=lambda x, k: reference.max_pool(x, (k, k))[0],
    avg_pool2d=lambda x, k, s, p: reference.avg_pool(x, (k, k), (s, s), around(p)),
    unfold=lambda x, k: reference.unfold(x, (k, k)),
)
TF = SimpleNamespace(
    conv2d=lambda images, hwio, strides, padding: channels_last(
        reference.conv(
            channels_first(images), np.transpose(hwio, (3, 2, 0, 1)), padding=same(images, hwio.shape[:2], strides)
        )
    ),
    depthwise_conv2d=lambda images, hwim, strides, padding: channels_last(
        reference.conv(
            channels_first(images),
            np.transpose(hwim, (2, 3, 0, 1)).reshape(-1, 1, *hwim.shape[:2]),
            groups=images.shape[-1],
        )
    ),
    max_pool=lambda images, ksize, strides, padding: channels_last(
        reference.max_pool(channels_first(images), (ksize,) * 2, (strides,) * 2, same(images, (ksize,) * 2, strides))[0]
    ),
)
NAMES = {
    **OPERANDS,
    "np": np,
    "nc": nc,
    "scipy": scipy,
    "torch": SimpleNamespace(nn=SimpleNamespace(functional=TORCH)),
    "tf": SimpleNamespace(nn=TF),
}


def test_the_table_has_every_library():
    libraries = {call.split("(")[0].rpartition(".")[0] for call, _ in ROWS}
    assert libraries == {"np", "scipy.signal", "scipy.ndimage", "torch.nn.functional", "tf.nn"}


@pytest.mark.parametrize(("call", "replacement"), ROWS)
def test_a_replacement_gives_what_it_replaces(call, replacement):
    expected, result = eval(call, NAMES), eval(replacement, NAMES)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12 * max(1, np.abs(expected).max()))


def code_blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_five_lines_run():
    code, _ = code_blocks(README, "python")
    names = {}
    exec(code, names)
    assert names["y"].shape == (8, 64, 112, 112)
    assert names["z"].shape == (8, 64, 56, 56)
    assert names["edges"].shape == (224, 224)
    assert names["y"].min() == 0


@pytest.fixture
def process(monkeypatch):
    """Leaves no registered algorithm and no number of threads behind."""
    threads = nc.get_num_threads()
    monkeypatch.setattr(algorithm, "_registered", {})
    yield
    nc.set_num_threads(threads)


def test_the_kernel_of_the_readme_is_right(process, tmp_path):
    _, code = code_blocks(README, "python")
    file = tmp_path / "mine.py"
    file.write_text(code)
    assert cli.main(["lab", "check", str(file)]) == 0


def test_the_kernel_of_contributing_works(process):
    (code,) = code_blocks((ROOT / "CONTRIBUTING.md").read_text("utf-8"), "python")
    names = {"__name__": "pointwise"}
    exec(code, names)
    pointwise = nc.register("conv2d", names["Pointwise"]())
    x, weight = array(3, 16, 21, 22).astype(np.float32), array(24, 16, 1, 1).astype(np.float32)
    expected, scale = reference.conv(x, weight), reference.conv(abs(x), abs(weight)).max()
    for threads in (1, 2):
        nc.set_num_threads(threads)
        result = nc.conv2d(x, weight, algorithm="pointwise")
        assert np.abs(result - expected).max() <= 1e-6 * scale
    wide = np.zeros((3, 30, 21, 22), np.float32)
    nc.conv2d(x, weight, algorithm="pointwise", out=wide[:, 3:27])
    np.testing.assert_array_equal(wide[:, 3:27], result)
    with pytest.raises(ValueError, match="1x1"):
        nc.conv2d(x, array(24, 16, 3, 3).astype(np.float32), algorithm="pointwise")
    assert pointwise.cost(nc.ConvProblem.make("conv2d", x.shape, weight.shape)) > 0


def test_each_command_is_one_line_that_installs_into_a_venv_and_runs():
    commands = [block.strip() for block in code_blocks(README, "sh")]
    assert [shlex.split(command)[-2:] for command in commands] == [
        [".venv/bin/numconv", "demo"],
        ["-m", "pytest"],
    ]
    for command in commands:
        assert "\n" not in command
        make, install, _ = command.split(" && ")
        assert make == "python3 -m venv .venv"
        assert install.startswith(".venv/bin/pip install ")


def test_ci_runs_the_readmes_commands():
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    demo, tests = (block.strip() for block in code_blocks(README, "sh"))
    endings = re.findall(r"readme_command '(.*)'\)", script)
    pattern = re.search(r'grep -m 1 -E "(.*)" README\.md', script)[1]
    found = [
        next(line for line in README.splitlines() if re.search(pattern.replace("\\$", "$").replace("$1", end), line))
        for end in endings
    ]
    assert found == [demo, tests]


def test_links_lead_somewhere():
    for name in ("README.md", "CONTRIBUTING.md", "docs/index.md"):
        document = ROOT / name
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{name} links to {target}"
