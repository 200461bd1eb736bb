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

    `loop` are those of the shortest loop that has most of the products.
    """

    registers: int
    spills: int
    stack: int
    shared: int
    instructions: Counter
    loop: Counter


_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9_.]*)(.*)$")


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
    names, loop = _instructions(sass)
    return Code(max(used), sum(spills), max(stack, default=0), max(shared, default=0), names, loop)


def _instructions(sass: str) -> tuple[Counter, Counter]:
    """Those of the kernel, and of its main loop."""
    names, labels, jumps = [], {}, []
    for line in sass.splitlines():
        if label := re.match(r"^(\.L\w+):", line):
            labels[label[1]] = len(names)
        elif found := _INSTRUCTION.match(line):
            if found[1].startswith("BRA") and (to := re.search(r"`\((\.L\w+)\)", found[2])):
                jumps.append((len(names), to[1]))
            names.append(found[1])
    bodies = [Counter(names[labels[to] : at + 1]) for at, to in jumps if labels.get(to, at) < at]
    bodies.sort(key=Counter.total)
    return Counter(names), max(bodies, key=_products, default=Counter(names))


def _products(names: Counter) -> int:
    weights = {"FFMA": 1, "DFMA": 1, "HMMA": 1024}  # of a thread
    return sum(n * weights.get(name.partition(".")[0], 0) for name, n in names.items())
