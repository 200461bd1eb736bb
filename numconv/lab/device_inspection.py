"""`inspect` of a kernel for a GPU: its PTX and its machine code, which need no GPU."""

from __future__ import annotations

import re
import textwrap
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from numconv.kernels.cuda import launch, toolkit
from numconv.lab import sass
from numconv.lab.advice import advise_gpu, registers_allow
from numconv.lab.host_inspection import WIDTH
from numconv.lab.source import first_axis_inside, thread_accesses, updated_in_place

THREADS = 256  # of a block, where nothing says how many
_PTX = {
    "fma": r"\bfma\.rn\.f(32|64)",
    "global loads": r"\bld\.global",
    "global stores": r"\bst\.global",
    "shared loads": r"\bld\.shared",
    "shared stores": r"\bst\.shared",
    "local": r"\b(ld|st)\.local",
    "divisions": r"\b(div|rem)\.[su]64",
    "barriers": r"\bbar(rier)?\.",
    "calls": r"\bcall\.uni",
}
_SASS = (
    "FFMA", "FMUL", "FADD", "DFMA", "DMUL", "DADD", "HMMA", "LDG", "STG", "LDS", "STS", "LDL", "STL", "SHFL", "BAR",
)  # fmt: skip


@dataclass
class DeviceInspection:
    """What was seen of a kernel for a GPU. It prints itself; `to_dict` gives it as numbers and strings.

    Attributes
    ----------
    name : str
    cc : (int, int)
    registers, spills, stack, shared : int
        A thread's registers, bytes that it spills, of its stack; bytes of a block's shared memory.
    warps : int
        How many fit on a multiprocessor, by registers alone.
    ptx : dict
        PTX instructions by kind.
    instructions, loop : Counter
        Machine instructions by name: of all, and of the loop with most multiply-adds.
    seconds : float
        What compiling took.
    advice : list of str
    """

    name: str
    cc: tuple[int, int]
    registers: int
    spills: int
    stack: int
    shared: int
    warps: int
    ptx: dict[str, int]
    instructions: Counter[str]
    loop: Counter[str]
    seconds: float
    advice: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self) | {"instructions": dict(self.instructions), "loop": dict(self.loop)}

    def __str__(self) -> str:
        lines = [
            f"{self.name}: @cuda.jit for sm_{self.cc[0]}{self.cc[1]}; compiled in {self.seconds:.2f} s",
            f"  thread   {self.registers} registers ({self.warps} warps fit), {self.spills} bytes spill, "
            f"{self.stack} bytes of stack; {self.shared} bytes of shared memory a block",
            f"  PTX      {_listed(self.ptx)}",
            f"  SASS     {_listed(_kinds(self.instructions))}",
            f"  loop     {_listed(_kinds(self.loop))}",
            f"advice     {self.advice[0] if self.advice else 'none'}",
            *(f"           {sentence}" for sentence in self.advice[1:]),
        ]
        return "\n".join(part for line in lines for part in textwrap.wrap(line, WIDTH, subsequent_indent=" " * 11))

    __repr__ = __str__


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none of interest"


def _kinds(names: Counter[str]) -> dict[str, int]:
    kinds = {kind: sum(n for name, n in names.items() if name.partition(".")[0] == kind) for kind in _SASS}
    return kinds | {"in all": sum(n for name, n in names.items() if name != "NOP")}


def inspect_device(
    name: str, dispatcher: Any, types: tuple[Any, ...], cc: tuple[int, int], block: Any, problem: Any
) -> DeviceInspection:
    """Compile a `@cuda.jit` function for a compute capability and look at it.

    Raises
    ------
    MissingExtra
        If ptxas or nvdisasm is not installed.
    RuntimeError
        If the simulator stands in for the compiler.
    """
    if toolkit.simulated():
        raise RuntimeError("the simulator compiles nothing: unset NUMBA_ENABLE_CUDASIM to inspect a kernel")
    from numba import cuda

    threads = _threads(block, problem)
    options = dispatcher.targetoptions
    fast = bool(options.get("fastmath"))
    start = time.perf_counter()
    with launch.as_if(cc):
        bounds = options.get("launch_bounds")
        ptx = cuda.compile_ptx(dispatcher.py_func, types, cc=cc, fastmath=fast, launch_bounds=bounds)[0]
    code = sass.read(ptx, cc, options.get("max_registers"))
    seconds = time.perf_counter() - start
    counts = {kind: len(re.findall(pattern, ptx)) for kind, pattern in _PTX.items()}
    single = {str(t.dtype) for t in types if hasattr(t, "layout")} == {"float32"}
    function = dispatcher.py_func
    turned = first_axis_inside(function, types)
    far = tuple(each for each in thread_accesses(function) if each.array not in turned)
    advice = advise_gpu(code, counts, far, updated_in_place(function), single, threads)
    return DeviceInspection(
        name, cc, code.registers, code.spills, code.stack, code.shared, registers_allow(code.registers), counts,
        code.instructions, code.loop, seconds, advice,
    )  # fmt: skip


def _threads(block: Any, problem: Any) -> int:
    """How many threads a block has."""
    if callable(block):
        block = block(problem) if problem is not None else None
    if block is None:
        return THREADS
    threads = 1
    for size in block if isinstance(block, tuple) else (block,):
        threads *= size
    return threads
