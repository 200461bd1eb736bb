"""What the instructions of a loop do, counted: x86-64 in AT&T's notation, and AArch64."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from numconv.lab.assembly import Instruction, Loop, is_call


@dataclass
class Mix:
    """The instructions of a loop's one turn.

    Attributes
    ----------
    vector_bits : int
        The widest vectors that it computes with; 0 where it computes with single numbers, or not at all.
    element_bits : int
        Of the numbers that it computes with: 32, 64 or 0.
    packed, scalar : int
        Floating-point instructions on vectors, and on single numbers.
    fma, multiplies, adds, divisions, compares : int
        Floating-point instructions: fused, products, sums and differences, quotients and roots, minima and maxima.
    loads, stores, gathers, scatters : int
        Of numbers, loads within other instructions and of a number into all lanes included.
    updates : int
        Stores to where the loop also loads from.
    shuffles : int
        Instructions that move lanes.
    spills : int
        Vectors and numbers stored on the stack or read back from there.
    to_float64, to_integer : int
        Conversions between float32 and float64, and between floats and integers.
    integer_divisions, index_tests, branches : int
        Index tests are Numba's look for a negative index; the loop's own jump is no branch.
    calls : tuple of str
    accumulators : int
        Registers whose number is carried from turn to turn and is computed with.
    flops, bytes : int
        Operations, and bytes loaded and stored.
    """

    vector_bits: int = 0
    element_bits: int = 0
    packed: int = 0
    scalar: int = 0
    fma: int = 0
    multiplies: int = 0
    adds: int = 0
    divisions: int = 0
    compares: int = 0
    loads: int = 0
    stores: int = 0
    gathers: int = 0
    scatters: int = 0
    updates: int = 0
    shuffles: int = 0
    spills: int = 0
    to_float64: int = 0
    to_integer: int = 0
    integer_divisions: int = 0
    index_tests: int = 0
    branches: int = 0
    calls: tuple[str, ...] = ()
    accumulators: int = 0
    flops: int = 0
    bytes: int = 0
    names: Counter[str] = field(default_factory=Counter)

    @property
    def multiplications(self) -> int:
        return self.fma + self.multiplies

    @property
    def bytes_per_flop(self) -> float:
        return self.bytes / self.flops if self.flops else 0.0

    @property
    def fma_share(self) -> float:
        """The share of a core's FMA peak that its loads and stores allow: two of either and one store a cycle."""
        least = max(self.fma / 2, self.loads / 2, self.stores)
        return self.fma / 2 / least if least else 0.0


_X86_FLOAT = re.compile(
    r"^v?(fn?m(?:add|sub)\d*|fmaddsub\d*|fmsubadd\d*|add|sub|mul|div|sqrt|max|min|cmp[a-z_]*?)(ps|pd|ss|sd|ph|sh)$"
)
_X86_SHUFFLE = re.compile(r"^v?p?(perm|shuf|unpck|insert|extract|align|pack)|^v?mov(s[hl]|d)dup$")
_X86_VECTOR = re.compile(r"%([xyz])mm(\d+)")
_ARM_FLOAT = re.compile(r"^(fn?m(?:add|sub)|fml[as]|fadd|fsub|fn?mul|fdiv|fsqrt|fmax(?:nm)?|fmin(?:nm)?|fcm\w+)$")
_ARM_SHUFFLE = re.compile(r"^(zip|uzp|trn|ext|rev|tbl|ins|dup)\d*$")
_ARM_LANES = re.compile(r"\b[vz](\d+)\.(\d*)([bhsd])")
_ARM_REGISTER = re.compile(r"\b([vqdszh])(\d+)\b")
_OPERATION = {"mul": "multiplies", "add": "adds", "sub": "adds", "div": "divisions", "sqrt": "divisions"}
_LETTERS = {"x": 128, "y": 256, "z": 512}


def mix(loop: Loop, architecture: str) -> Mix:
    """Count a loop's instructions."""
    read = _x86 if architecture == "x86" else _arm
    found = Mix()
    carried = _Carried(loop.stack)
    for each in loop.instructions:
        found.names[each.name] += 1
        if is_call(each):
            found.calls += (each.operands[0].removesuffix("@PLT"),)
        read(each, found, carried)
    found.branches = max(sum(map(_is_branch, loop.instructions)) - 1, 0)
    found.accumulators = len(carried.read_first & carried.computed)
    found.updates = sum(place in carried.loaded for place in carried.stored)
    return found


class _Carried:
    """Which vector registers a loop reads before it writes them and which it computes into; what is the stack.

    `loaded` and `stored` are the places in memory, as they are written.
    """

    def __init__(self, stack: tuple[str, ...]) -> None:
        self.stack = stack
        self.loaded: set[str] = set()
        self.stored: list[str] = []
        self.read_first: set[str] = set()
        self.computed: set[str] = set()
        self._written: set[str] = set()

    def note(self, reads: Sequence[str], target: str, computes: bool) -> None:
        self.read_first |= set(reads) - self._written
        if target:
            self._written.add(target)
            if computes:
                self.computed.add(target)


def _is_branch(each: Instruction) -> bool:
    return bool(re.match(r"^j(?!mp)|^b\.|^cbn?z|^tbn?z", each.name))


def _count_float(found: Mix, kind: str, lanes: int, packed: bool, element: int, bits: int) -> None:
    """Note a floating-point instruction."""
    fused = kind.startswith(("fma", "fms", "fnm", "fml")) and kind != "fnmul"
    name = "fma" if fused else _OPERATION.get(kind.removeprefix("f").removeprefix("n"), "compares")
    setattr(found, name, getattr(found, name) + 1)
    found.flops += lanes * (2 if fused else 1)
    found.element_bits = max(found.element_bits, element)
    if packed:
        found.packed += 1
        found.vector_bits = max(found.vector_bits, bits)
    else:
        found.scalar += 1


def _x86(each: Instruction, found: Mix, carried: _Carried) -> None:
    name, operands = each.name, each.operands
    registers = [_X86_VECTOR.search(operand) for operand in operands]
    vectors = [match for match in registers if match and "(" not in match.string]
    bits = max((_LETTERS[match[1]] for match in vectors), default=0)
    if float_name := _X86_FLOAT.match(name):
        kind, suffix = float_name[1], float_name[2]
        element = {"s": 32, "d": 64, "h": 16}[suffix[1]]
        packed = suffix[0] == "p"
        _count_float(found, kind, bits // element if packed else 1, packed, element, bits)
    elif re.match(r"^i?div[lqwb]?$", name):
        found.integer_divisions += 1
    elif "cvt" in name:
        if re.search(r"(ss2sd|sd2ss|ps2pd|pd2ps)", name):
            found.to_float64 += 1
        elif "ph" not in name:
            found.to_integer += 1
    elif _X86_SHUFFLE.match(name) or ("broadcast" in name and "(" not in operands[0]):
        found.shuffles += 1
    elif (name in ("sarq", "sarl") and operands[0] in ("$63", "$31")) or re.match(r"^cmovn?s[lq]?$", name):
        found.index_tests += 1
    if bits:
        _x86_memory(name, operands, bits, found, carried)
        fused = name.startswith(("vfm", "vfn"))
        kept = fused or not name.startswith("v") or ("{%k" in operands[-1] and "{z}" not in operands[-1])
        moved = "mov" in name or "broadcast" in name
        target = registers[-1][2] if registers[-1] and "(" not in operands[-1] else ""
        reads = [m[2] for m in (registers if not target or (kept and not moved) else registers[:-1]) if m]
        if "xor" in name and len({m[2] for m in vectors}) == 1:
            reads = []
        carried.note(reads, target, bool(_X86_FLOAT.match(name)))


def _x86_memory(name: str, operands: Sequence[str], bits: int, found: Mix, carried: _Carried) -> None:
    """Note the load or store of an instruction on vector registers."""
    place = next((k for k, operand in enumerate(operands) if "(" in operand), None)
    if place is None or name.startswith(("lea", "prefetch")):
        return
    operand = operands[place]
    is_store = place == len(operands) - 1 and "cmp" not in name and "test" not in name and "comis" not in name
    base = re.match(r"^-?\w*\((%\w+)\)", operand)
    if base and base[1] in carried.stack and "mov" in name:
        found.spills += 1
        return
    element = 64 if re.search(r"(pd|sd|q)$", name) else 32
    single = "{1to" in operand or "broadcast" in name or re.search(r"(ss|sd|movd|movq)$", name)
    size = (element if single else bits) // 8
    if "gather" in name or "scatter" in name:
        kind = "gathers" if "gather" in name else "scatters"
        setattr(found, kind, getattr(found, kind) + 1)
    if is_store:
        found.stores += 1
        carried.stored.append(operand.partition("{%k")[0].strip())
    else:
        found.loads += 1
        carried.loaded.add(operand.partition("{")[0].strip())
    found.bytes += size


def _arm(each: Instruction, found: Mix, carried: _Carried) -> None:
    name, operands = each.name, each.operands
    lanes = _ARM_LANES.search(operands[0]) if operands else None
    element = {"b": 8, "h": 16, "s": 32, "d": 64}[lanes[3]] if lanes else 0
    matches = [_ARM_REGISTER.search(operand.partition(".")[0]) for operand in operands]
    registers = [match[2] if match else "" for match in matches]
    if _ARM_FLOAT.match(name) and operands:
        if lanes:
            count = int(lanes[2] or 1)
            _count_float(found, name, count, True, element, count * element)
        else:
            _count_float(found, name, 1, False, 64 if operands[0].startswith("d") else 32, 0)
    elif name in ("sdiv", "udiv"):
        found.integer_divisions += 1
    elif name.startswith("fcvt") and name[4:5] in ("", "l", "n"):
        found.to_float64 += 1
    elif name.startswith(("fcvt", "scvtf", "ucvtf")):
        found.to_integer += 1
    elif _ARM_SHUFFLE.match(name):
        found.shuffles += 1
    elif any(operand in ("asr #63", "asr #31") for operand in operands) or (
        name == "csel" and operands[-1] in ("lt", "mi", "pl", "ge")
    ):
        found.index_tests += 1
    memory = re.match(r"^(ld|st)(r|ur|p|np|1|2|3|4|1r|1[bhwd])$", name)
    if memory and operands and re.match(r"^[{]?\s*[vqdszh]\d", operands[0]):
        _arm_memory(memory, operands, found, carried)
    if any(registers):
        is_store = name.startswith("st")
        target = "" if is_store else registers[0] or ""
        fused = name in ("fmla", "fmls")
        carried.note([r for r in (registers if is_store or fused else registers[1:]) if r], target,
                     bool(_ARM_FLOAT.match(name)))  # fmt: skip


def _arm_memory(memory: re.Match[str], operands: Sequence[str], found: Mix, carried: _Carried) -> None:
    """Note the load or store of vectors or numbers."""
    pair = memory[2] in ("p", "np")
    size = {"q": 16, "v": 16, "z": 16, "d": 8, "s": 4, "h": 2}[operands[0].lstrip("{ ")[0]] * (2 if pair else 1)
    if any(operand.startswith("[sp") for operand in operands):
        found.spills += 2 if pair else 1
        return
    if any(re.match(r"^\[.*z\d", operand) for operand in operands):
        found.gathers += 1
    if memory[1] == "st":
        found.stores += 2 if pair else 1
        carried.stored += [operands[-1]] * (2 if pair else 1)
    else:
        found.loads += 2 if pair else 1
        carried.loaded.add(operands[-1])
    found.bytes += size


def counted(loops: Sequence[Loop], architecture: str) -> list[tuple[Loop, Mix]]:
    """The loops with their instructions, the one that does the work first.

    It is of those that multiply, else of those that compute, the deepest with most of it.
    """
    found = [(loop, mix(loop, architecture)) for loop in loops]

    def work(entry: tuple[Loop, Mix]) -> tuple[bool, bool, int, int]:
        loop, mixed = entry
        return mixed.multiplications > 0, mixed.flops > 0, loop.depth, mixed.flops

    return sorted(found, key=work, reverse=True)
