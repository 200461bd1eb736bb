"""What a kernel for a GPU was compiled to, read from its machine code; no GPU is needed.

ptxas says how many registers a thread has, what it spills, and a block's shared memory; nvdisasm gives the
instructions. Both come with the extra: pip install numconv[cuda-tools].
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from numconv.extras import MissingExtra

_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9_.]*)(.*)$")
_LABEL = re.compile(r"^(\.L_x?_?\w+):")
_TARGET = re.compile(r"`\((\.L\w+)\)")


class Code(NamedTuple):
    """The code of one kernel.

    Attributes
    ----------
    registers : int
        Of a thread.
    spills, stack, shared : int
        Bytes that a thread spills, of its stack, and of a block's shared memory.
    instructions, loop : Counter
        Instructions by their full names, such as "LDG.E.128": of the whole kernel, and of the shortest loop that has
        most of the multiply-adds, loops within it counted once (of the whole kernel where there is no loop).
    """

    registers: int
    spills: int
    stack: int
    shared: int
    instructions: Counter[str]
    loop: Counter[str]

    def count(self, name: str, loop: bool = False) -> int:
        """How many instructions have a name that begins so."""
        return sum(n for full, n in (self.loop if loop else self.instructions).items() if full.startswith(name))


def tool(name: str) -> str:
    """The path of a program of the CUDA toolkit: from its packages or from PATH.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    spec = find_spec("nvidia")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    places = [str(folder) for root in roots for folder in Path(root).glob("*/bin")]
    found = shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", "")]))
    if found is None:
        raise MissingExtra(f"{name} is missing: pip install numconv[cuda-tools]")
    return found


@functools.cache
def assembled(kernel: Any, types: tuple[Any, ...], cc: tuple[int, int]) -> Code:
    """The code of a kernel of `kernels.cuda.launch` for arguments of these types on a compute capability.

    Raises
    ------
    MissingExtra
        If ptxas or nvdisasm is not installed.
    RuntimeError
        If ptxas refuses the kernel.
    """
    return read(kernel.ptx(types, cc), cc)


def read(ptx: str, cc: tuple[int, int], registers: int | None = None) -> Code:
    """The code that PTX becomes on a compute capability such as (9, 0), with so many registers a thread at most."""
    ptxas, nvdisasm = tool("ptxas"), tool("nvdisasm")
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx)
        command = [ptxas, "-v", f"-arch=sm_{cc[0]}{cc[1]}", str(source), "-o", str(cubin)]
        command += [f"-maxrregcount={registers}"] if registers else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"ptxas refuses the kernel: {done.stderr}")
        sass = subprocess.run([nvdisasm, "-c", str(cubin)], capture_output=True, text=True, check=True).stdout
    report = done.stderr

    def most(pattern: str) -> int:
        return max(map(int, re.findall(pattern, report)), default=0)

    spills = sum(map(int, re.findall(r"(\d+) bytes spill", report)))
    names, loop = _instructions(sass)
    stack, shared = most(r"(\d+) bytes stack frame"), most(r"(\d+) bytes smem")
    return Code(most(r"Used (\d+) registers"), spills, stack, shared, names, loop)


def _instructions(sass: str) -> tuple[Counter[str], Counter[str]]:
    """Instructions by name: all, and those of the loop with most multiply-adds."""
    names: list[str] = []
    labels: dict[str, int] = {}
    jumps: list[tuple[int, str]] = []
    for line in sass.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(names)
        elif found := _INSTRUCTION.match(line):
            if found[1].startswith("BRA") and (target := _TARGET.search(found[2])):
                jumps.append((len(names), target[1]))
            names.append(found[1])
    # A jump back to itself stands at the end of each kernel.
    loops = [(labels[to], at) for at, to in jumps if to in labels and labels[to] < at]
    bodies = [Counter(names[start : end + 1]) for start, end in sorted(loops, key=lambda loop: loop[1] - loop[0])]
    return Counter(names), max(bodies, key=_multiplications, default=Counter(names))


def _multiplications(names: Counter[str]) -> int:
    """Multiply-adds of a thread: its share of a tensor core's 16x8x8 is 32."""
    each = {"FFMA": 1, "DFMA": 1, "HFMA2": 2, "HMMA": 32}
    return sum(n * each.get(name.partition(".")[0], 0) for name, n in names.items())
