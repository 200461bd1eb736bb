"""What a kernel's source says of its loops: which index runs fastest, and along which axis of which array."""

from __future__ import annotations

import ast
import functools
import linecache
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Access:
    """An element of an array, `text`, and which of its indices matters; such as one that runs fastest and not last."""

    text: str
    index: str
    line: int

    @property
    def array(self) -> str:
        return self.text.partition("[")[0]


@dataclass(frozen=True)
class SourceLoop:
    """A loop in Python: its place, text and index, the elements that it reaches with large steps, how deep it is."""

    line: int
    text: str
    index: str
    far: tuple[Access, ...]
    file: str
    depth: int = 1


def _tree(file: str) -> ast.Module | None:
    """A file, or a cell of a notebook, as it is now."""
    linecache.checkcache(file)
    return _parsed("".join(linecache.getlines(file)))


@functools.cache
def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except SyntaxError:
        return None


def loop_at(file: str, lines: Iterable[int]) -> SourceLoop | None:
    """The innermost loop that has most of these lines."""
    tree, wanted = _tree(file), list(lines)
    if tree is None or not wanted:
        return None
    loops: list[Any] = [node for node in ast.walk(tree) if _is_loop(node)]

    def order(node: Any) -> tuple[int, int]:
        return sum(node.lineno <= line <= node.end_lineno for line in wanted), node.lineno

    best: Any = max(loops, key=order, default=None)
    if best is None or not order(best)[0]:
        return None
    around = [loop for loop in loops if loop.lineno <= best.lineno and best.end_lineno <= loop.end_lineno]
    return replace(_described(best, file), depth=len(around))


def _described(loop: Any, file: str) -> SourceLoop:
    indices = _indices(loop)
    text = ast.unparse(loop).splitlines()[0]
    return SourceLoop(loop.lineno, text, ", ".join(sorted(indices)), tuple(_far(loop.body, set(indices))), file)


def deepest_loop(function: Callable[..., Any]) -> SourceLoop | None:
    """The loop of a function that has most loops around it, the first of them that multiplies."""

    def nested(node: ast.AST, depth: int) -> Iterator[tuple[bool, int, Any]]:
        for child in ast.iter_child_nodes(node):
            is_loop = _is_loop(child)
            if is_loop:
                multiplies = any(isinstance(n, ast.Mult) for n in ast.walk(child))
                yield multiplies, depth, child
            yield from nested(child, depth + is_loop)

    tree = _definition(function)
    loops = list(nested(tree, 0)) if tree else []
    if not loops:
        return None
    _, depth, deepest = max(loops, key=lambda entry: entry[:2])
    return replace(_described(deepest, function.__code__.co_filename), depth=depth + 1)


def names_within(function: Callable[..., Any], line: int) -> set[str]:
    """Names in the loop of a function that begins at a line."""
    definition = _definition(function)
    loops = [node for node in ast.walk(definition) if _is_loop(node)] if definition else []
    inside = [n for loop in loops if loop.lineno == line for n in ast.walk(loop)]  # type: ignore[attr-defined]
    return {node.id for node in inside if isinstance(node, ast.Name)}


def first_axis_inside(function: Callable[..., Any], types: Iterable[Any]) -> set[str]:
    """Parameters that are arrays in Fortran's order, whose neighbours differ in the first index."""
    names = function.__code__.co_varnames
    return {name for name, given in zip(names, types) if getattr(given, "layout", "") == "F"}


def started_at_a_literal(function: Callable[..., Any]) -> tuple[tuple[str, int], ...]:
    """Names, with their lines, that begin as a literal such as 0.0 and are added to."""
    tree = _definition(function)
    nodes = list(ast.walk(tree)) if tree else []
    added = {n.target.id for n in nodes if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)}
    return tuple(
        (name, node.lineno)
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, float)
        for name in _names(node.targets[0]) & added
    )


def _definition(function: Callable[..., Any]) -> ast.FunctionDef | None:
    """A function's own part of its source."""
    code = function.__code__
    tree = _tree(code.co_filename)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


def _indices(loop: Any) -> set[str]:
    """The names that change from turn to turn: a `for`'s, or those that a `while` tests and increases."""
    if isinstance(loop, ast.For):
        return {node.id for node in ast.walk(loop.target) if isinstance(node, ast.Name)}
    tested = {node.id for node in ast.walk(loop.test) if isinstance(node, ast.Name)}
    moved = {
        node.target.id
        for node in ast.walk(loop)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)
    }
    return tested & moved


def updated_in_place(function: Callable[..., Any]) -> tuple[Access, ...]:
    """Elements that an innermost loop adds to, always the same: a sum that is kept in memory."""
    definition = _definition(function)
    near = _near(definition.body) if definition else set()
    found = []
    for loop in _nodes(definition.body) if definition else ():
        if _is_loop(loop) and not any(map(_is_loop, _nodes(loop.body))):
            moving = _indices(loop)
            _follow(_nodes(loop.body), moving)
            found += [
                Access(ast.unparse(target), "", node.lineno)
                for node, target in _updates(loop.body)
                if not _moves(target.slice, moving) and ast.unparse(target.value) not in near
            ]
    return tuple(found)


def _updates(body: list[ast.stmt]) -> Iterator[tuple[Any, ast.Subscript]]:
    """Statements `a[i] += v` and `a[i] = ... a[i] ...`, and the element."""
    for node in _nodes(body):
        target: Any = node.target if isinstance(node, ast.AugAssign) else None
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in map(ast.unparse, ast.walk(node.value)):
            target = node.targets[0]
        if isinstance(target, ast.Subscript):
            yield node, target


def thread_accesses(function: Callable[..., Any]) -> tuple[Access, ...]:
    """Elements of which the number of the thread, along x, is not the last index: neighbours read far apart."""
    definition = _definition(function)
    return tuple(_far(definition.body, set())) if definition else ()


def _nodes(body: list[ast.stmt]) -> list[Any]:
    """What has a place in the source, in its order."""
    nodes: list[Any] = [n for s in body for n in ast.walk(s) if hasattr(n, "lineno")]
    return sorted(nodes, key=lambda n: (n.lineno, n.col_offset))


def _is_loop(node: ast.AST) -> bool:
    return isinstance(node, (ast.For, ast.While))


def _follow(nodes: list[Any], fast: set[str]) -> None:
    """Add the names that follow from those of `fast`: by assignments, and as indices of loops that begin at one."""
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                fast |= _follows(target, node.value, fast)
        elif isinstance(node, ast.For) and isinstance(node.iter, ast.Call) and len(node.iter.args) > 1:
            fast |= _follows(node.target, node.iter.args[0], fast)


def _near(body: list[ast.stmt]) -> set[str]:
    """Names of arrays in a GPU's shared or local memory."""
    calls = [n for n in _nodes(body) if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call)]
    made = [n for n in calls if ast.unparse(n.value).partition("(")[0].endswith(("shared.array", "local.array"))]
    return {name for n in made for target in n.targets for name in _names(target)}


def _far(body: list[ast.stmt], fast: set[str]) -> Iterator[Access]:
    """Elements with an index of `fast`, or one that follows from it, in an axis that is not the last."""
    nodes, near = _nodes(body), _near(body)
    _follow(nodes, fast)
    seen = set()
    for node in nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
            parts = node.slice.elts
            moving = [_moves(part, fast) for part in parts]
            text = ast.unparse(node)
            is_near = ast.unparse(node.value) in near
            if any(moving[:-1]) and not moving[-1] and text not in seen and not is_near:
                seen.add(text)
                yield Access(text, ast.unparse(parts[moving.index(True)]), node.lineno)


def _follows(target: ast.expr, value: ast.expr, fast: set[str]) -> set[str]:
    """Names that an assignment makes move from turn to turn."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Call) and len(target.elts) > 1:
        called = ast.unparse(value.func)
        if called.endswith("grid"):  # cuda.grid(2): x is the first
            return _names(target.elts[0])
        if called == "divmod":
            return _names(target.elts[1]) if _moves(value.args[0], fast) else set()
    return _names(target) if _moves(value, fast) else set()


def _names(target: ast.expr) -> set[str]:
    return {target.id} if isinstance(target, ast.Name) else set()


def _moves(value: ast.AST, fast: set[str]) -> bool:
    """Whether a value changes from turn to turn, or thread to thread: a quotient does not, or seldom."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.FloorDiv):
        return False
    if isinstance(value, ast.Name):
        return value.id in fast
    if isinstance(value, ast.Attribute):
        return ast.unparse(value).endswith("threadIdx.x")
    if isinstance(value, ast.Call):
        return ast.unparse(value).endswith("grid(1)")
    if isinstance(value, ast.Subscript):  # what an array holds, at an index that moves, is not known
        return False
    return any(_moves(child, fast) for child in ast.iter_child_nodes(value))


def shortened(text: str, width: int) -> str:
    """A line of text, cut at so many characters."""
    return textwrap.shorten(text, width, placeholder=" ...")
