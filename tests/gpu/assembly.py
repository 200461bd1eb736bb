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
    """Of one kernel: a thread's registers, the bytes that it spills, a block's shared memory, instructions by name."""

    registers: int
    spills: int
    stack: int
    shared: int
    instructions: Counter


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
    names = re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9_.]*)", sass, re.MULTILINE)
    return Code(max(used), sum(spills), max(stack, default=0), max(shared, default=0), Counter(names))
