"""What a kernel was compiled to: registers, spills and shared memory by ptxas, instructions by nvdisasm."""

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

ARCHITECTURES = ((9, 0), (8, 0))


class Code(NamedTuple):
    """Of one kernel: a thread's registers, the bytes that it spills, a block's shared memory, instructions by name.

    `loop` is the longest loop that has no other within.
    """

    registers: int
    spills: int
    stack: int
    shared: int
    instructions: Counter
    loop: Counter


def tool(name: str) -> str:
    """The path of a program of the CUDA toolkit, from its packages or from PATH; skips where it is not installed."""
    import nvidia

    places = [Path(folder) for root in nvidia.__path__ for folder in Path(root).glob("*/bin")]
    found = shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip(f"{name} is not installed: pip install 'numconv[cuda-tools]'")
    return found


@functools.cache
def assembled(kernel, types, cc) -> Code:
    """Compile a kernel for arguments of these types and an architecture, and assemble it."""
    target = f"sm_{cc[0]}{cc[1]}"
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(kernel.ptx(types, cc))
        done = subprocess.run(
            [tool("ptxas"), "-v", f"-arch={target}", source, "-o", cubin], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (kernel.name, done.stderr)
        sass = subprocess.run([tool("nvdisasm"), "-c", cubin], capture_output=True, text=True, check=True).stdout
    report = done.stderr
    used = [int(n) for n in re.findall(r"Used (\d+) registers", report)]
    spills = [int(n) for n in re.findall(r"(\d+) bytes spill", report)]
    stack = [int(n) for n in re.findall(r"(\d+) bytes stack frame", report)]
    shared = [int(n) for n in re.findall(r"(\d+) bytes smem", report)]
    code = _listed(sass)
    return Code(
        max(used), sum(spills), max(stack, default=0), max(shared, default=0), _names(code), _names(_main_loop(code))
    )  # fmt: skip


def _listed(sass: str) -> list[str]:
    """Labels, which end with a colon, and instructions, in order."""
    return re.findall(r"^(\.L\w+:|\s+/\*[0-9a-f]+\*/\s+[^;]+)", sass, re.MULTILINE)


def _names(code: list[str]) -> Counter:
    found = (re.match(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9_.]*)", line) for line in code)
    return Counter(match[1] for match in found if match)


def _main_loop(code: list[str]) -> list[str]:
    labels = {line[:-1]: i for i, line in enumerate(code) if line.endswith(":")}
    branches = ((i, re.search(r"BRA.*?(\.L\w+)", line)) for i, line in enumerate(code))
    loops = [(labels[match[1]], i) for i, match in branches if match and labels.get(match[1], i) < i]
    inner = [(a, b) for a, b in loops if not any(a <= c and d <= b and (a, b) != (c, d) for c, d in loops)]
    start, end = max(inner, key=lambda loop: loop[1] - loop[0], default=(0, -1))
    return code[start : end + 1]
