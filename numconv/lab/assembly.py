"""Assembly, as LLVM writes it for x86-64 and AArch64: its functions, their loops, and the loop that does the work.

A loop is a set of blocks that reach each other; what is left of it without the blocks by which it is entered may hold
loops again, and one that holds none is innermost (Steensgaard, Sequentializing Program Dependence Graphs, 1993).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_LABEL = re.compile(r"^([\w.$@]+):")
_LINE = re.compile(r"^\s+\.loc\s+(\d+)\s+(\d+)")
_FILE = re.compile(r'^\s+\.file\s+(\d+)\s+"([^"]*)"(?:\s+"([^"]*)")?')
_FUNCTION = re.compile(r"^\s+\.type\s+([^,]+),\s*[@%]function")
_INSTRUCTION = re.compile(r"^\s+([a-z][\w.]*)(?:\s+([^#\n]*))?")
_JUMP = re.compile(r"^(?:j\w+|b|b\.\w+|cbn?z|tbn?z)$")
_ALWAYS = ("jmp", "b", "ret", "retq", "ud2", "brk", "br")


class Instruction(NamedTuple):
    """An instruction's name, its operands, and the line of source that it comes from: (file, line), line 0 if none."""

    name: str
    operands: tuple[str, ...]
    source: tuple[str, int]


class Loop(NamedTuple):
    """A loop without a loop in it: where it stands, how deep it is nested, what it does, what points to the stack."""

    function: str
    depth: int
    instructions: tuple[Instruction, ...]
    stack: tuple[str, ...]


class _Block(NamedTuple):
    instructions: list[Instruction]
    follow: list[int]


class _Function(NamedTuple):
    name: str
    blocks: list[_Block]


def architecture(assembly: str) -> str:
    """ "x86" or "arm", by its registers."""
    return "x86" if "%r" in assembly else "arm"


def _split(operands: str) -> tuple[str, ...]:
    """Operands, at the commas that stand in no bracket."""
    parts, depth = [""], 0
    for character in operands:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return tuple(part.strip() for part in parts if part.strip())


def functions(assembly: str) -> list[_Function]:
    """Every function, its blocks in order, each with those that may follow it."""
    names = {found[1].strip('"') for found in map(_FUNCTION.match, assembly.splitlines()) if found}
    files: dict[str, str] = {}
    found: list[_Function] = []
    labels: dict[str, int] = {}
    source = ("", 0)
    for line in assembly.splitlines():
        if label := _LABEL.match(line):
            if label[1] in names or not found:
                _link(found, labels)
                found.append(_Function(label[1], []))
                labels, source = {}, ("", 0)
            labels[label[1]] = len(found[-1].blocks)
            found[-1].blocks.append(_Block([], []))
        elif place := _LINE.match(line):
            source = (files.get(place[1], ""), int(place[2]))
        elif file := _FILE.match(line):
            files[file[1]] = f"{file[2]}/{file[3]}" if file[3] else file[2]
        elif found and (text := _INSTRUCTION.match(line)):
            blocks = found[-1].blocks
            blocks[-1].instructions.append(Instruction(text[1], _split(text[2] or ""), source))
            if _JUMP.match(text[1]) or text[1] in _ALWAYS:
                blocks.append(_Block([], []))
    _link(found, labels)
    return found


def _link(found: list[_Function], labels: dict[str, int]) -> None:
    """Fill in which blocks may follow each block of the last function."""
    if not found:
        return
    blocks = found[-1].blocks
    for number, block in enumerate(blocks):
        last = block.instructions[-1] if block.instructions else None
        if last is not None and _JUMP.match(last.name) and last.operands and last.operands[-1] in labels:
            block.follow.append(labels[last.operands[-1]])
        if (last is None or last.name not in _ALWAYS) and number + 1 < len(blocks):
            block.follow.append(number + 1)


def _reachable(blocks: list[_Block]) -> dict[int, list[int]]:
    """What may follow each block that is reached from the first."""
    follow: dict[int, list[int]] = {}
    waiting = [0] if blocks else []
    while waiting:
        block = waiting.pop()
        if block not in follow:
            follow[block] = blocks[block].follow
            waiting += blocks[block].follow
    return follow


def _cycles(members: set[int], follow: dict[int, list[int]]) -> Iterator[set[int]]:
    """Sets of blocks among `members` that all reach each other: Kosaraju's algorithm."""
    order: list[int] = []
    seen: set[int] = set()
    for start in members:
        stack = [] if start in seen else [(start, iter(follow[start]))]
        seen.add(start)
        while stack:
            block, ahead = stack[-1]
            for other in ahead:
                if other in members and other not in seen:
                    seen.add(other)
                    stack.append((other, iter(follow[other])))
                    break
            else:
                order.append(block)
                stack.pop()
    before: dict[int, list[int]] = {block: [] for block in members}
    for block in members:
        for other in follow[block]:
            if other in members:
                before[other].append(block)
    taken: set[int] = set()
    for start in reversed(order):
        if start in taken:
            continue
        cycle, waiting = set(), [start]
        while waiting:
            block = waiting.pop()
            if block not in taken:
                taken.add(block)
                cycle.add(block)
                waiting += before[block]
        if len(cycle) > 1 or start in follow[start]:
            yield cycle


def _nest(members: set[int], follow: dict[int, list[int]], depth: int) -> Iterator[tuple[int, set[int]]]:
    """(depth, blocks) of every loop among the blocks, outer ones first."""
    for cycle in _cycles(members, follow):
        yield depth, cycle
        heads = {b for a, others in follow.items() if a not in cycle for b in others if b in cycle} or {min(cycle)}
        yield from _nest(cycle - heads, follow, depth + 1)


def loops(assembly: str) -> list[Loop]:
    """Every innermost loop. A function that is called in a loop begins at the depth of its call."""
    found = functions(assembly)
    nests, calls = [], []
    for function in found:
        follow = _reachable(function.blocks)
        nest = list(_nest(set(follow), follow, 1))
        nests.append(nest)
        for number, block in enumerate(function.blocks):
            depth = max((d for d, members in nest if number in members), default=0)
            calls += [(function.name, each.operands[0], depth) for each in block.instructions if is_call(each)]
    starts = _starts([function.name for function in found], calls)
    result = []
    for function, nest in zip(found, nests):
        framed = any(each.operands == ("%rsp", "%rbp") for block in function.blocks for each in block.instructions)
        stack = ("%rsp", "%rbp", "sp") if framed else ("%rsp", "sp")  # without a frame, rbp is like any other
        for depth, members in nest:
            if any(other < members for _, other in nest):
                continue
            body = tuple(each for number in sorted(members) for each in function.blocks[number].instructions)
            result.append(Loop(function.name, starts[function.name] + depth, body, stack))
    return result


def _starts(names: Iterable[str], calls: list[tuple[str, str, int]]) -> dict[str, int]:
    """How deep in loops each function is called."""
    starts = dict.fromkeys(names, 0)
    for _ in range(4):  # calls within calls; recursion ends here
        for caller, called, depth in calls:
            if called in starts and called != caller:
                starts[called] = max(starts[called], starts[caller] + depth)
    return starts


def readable(mangled: str) -> str:
    """The name of a function whose code has this name; empty for the body of a parallel loop."""
    parts, rest = [], mangled.removeprefix("_ZN")
    while found := re.match(r"(\d+)", rest):
        size = int(found[1])
        parts.append(rest[found.end() : found.end() + size])
        rest = rest[found.end() + size :]
    return "" if "gufunc" in mangled else (parts or [mangled])[-1]


def is_call(instruction: Instruction) -> bool:
    """Whether it calls a function."""
    return instruction.name in ("call", "callq", "bl", "blr") and bool(instruction.operands)
