"""Plan buffers: values that are not needed at the same time get the same memory.

Each value has a life, from the node that makes it to the last that reads it; views and parts live in the buffer of the
whole. Buffers are placed from the largest to the smallest, each at the lowest offset that is free for its life (the
"greedy by size" of Pisarchyk and Lee 2020, "Efficient memory management for deep neural net inference"). A sum may
replace its residual, and an elementwise operation its operand, where nothing reads them later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from numconv.graph.graph import Graph, Node, sized
from numconv.graph.join import VIEWS
from numconv.graph.plans import PLANNED
from numconv.graph.steps import IN_PLACE
from numconv.kernels.cpu.memory import whole_lines


class Buffers(NamedTuple):
    """Where values lie: `wholes` names the value whose memory one shares, `offsets` has those that have their own."""

    wholes: Mapping[str, str]
    offsets: Mapping[str, int]
    size: int


def is_view(node: Node, plain: bool) -> bool:
    """Whether a node's result can be a view of its input, which lies in one piece if it is `plain`."""
    if node.operation == "index":
        index = node.attributes["index"]
        parts = index if isinstance(index, tuple) else (index,)
        return all(part is None or part is ... or type(part) in (int, slice) for part in parts)
    return node.operation in VIEWS and (plain or node.operation != "reshape")


def planned_buffers(graph: Graph, n: int) -> Buffers:
    """Where each value lies, in bytes, for a batch of `n`."""
    wholes: dict[str, str] = {name: name for name in (*graph.inputs, *graph.weights)}
    plain = {*graph.inputs, *graph.weights}
    for node in graph.nodes:
        for name in node.outputs:
            part = graph.parts.get(name)
            if part is not None:
                wholes[name] = part.whole
            elif is_view(node, node.inputs[0] in plain):
                wholes[name] = wholes[node.inputs[0]]
            else:
                wholes[name] = name
            if wholes[name] == name or (node.operation == "reshape" and node.inputs[0] in plain):
                plain.add(name)
    lives = _lives(graph, wholes)
    stored = {name: _bytes(graph, name, n) for name in lives if name not in graph.weights}
    replaced: dict[str, str] = {}
    for place, node in enumerate(graph.nodes):
        for name in _replaceable(node) if node.output in stored else ():
            ends = wholes[name] == name and name in stored and lives[name][1] == place
            if ends and all(of[name] == of[node.output] for of in (graph.shapes, graph.dtypes)):
                replaced[node.output] = name
                break

    def final(name: str) -> str:
        while name in replaced:
            name = replaced[name]
        return name

    spans: dict[str, tuple[int, int, int]] = {}
    for name, (first, last) in lives.items():
        if name in stored:
            _, born, dead = spans.get(final(name), (0, first, last))
            spans[final(name)] = stored[name], min(first, born), max(last, dead)
    return Buffers({name: final(whole) for name, whole in wholes.items()}, *_placed(spans))


def _lives(graph: Graph, wholes: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """(the node that makes, the last that reads) what lies in each buffer."""
    end = len(graph.nodes)
    first = {wholes[name]: -1 for name in graph.inputs}
    last = {wholes[name]: 0 for name in graph.inputs}
    for place, node in enumerate(graph.nodes):
        for name in node.outputs:
            first.setdefault(wholes[name], place)
        for name in node.values():
            last[wholes[name]] = place
    for name in graph.outputs:
        last[wholes[name]] = end
    return {name: (first.get(name, -1), place) for name, place in last.items()}


def _replaceable(node: Node) -> list[str]:
    """Inputs that the result may replace."""
    if node.operation == PLANNED:
        return list(node.inputs[1:])
    return node.values() if node.operation in IN_PLACE else []


def _bytes(graph: Graph, name: str, n: int) -> int:
    return math.prod(sized(graph.shapes[name], n)) * graph.dtypes[name].itemsize


def _placed(buffers: Mapping[str, tuple[int, int, int]]) -> tuple[dict[str, int], int]:
    """(offset of each, bytes of all) for (bytes, first, last)."""
    offsets: dict[str, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    for name, (least, first, last) in sorted(buffers.items(), key=lambda item: -item[1][0]):
        size, at = whole_lines(max(least, 1)), 0
        for start, stop, born, dead in sorted(placed):
            if born <= last and first <= dead and start < at + size and at < stop:
                at = stop
        offsets[name] = at
        placed.append((at, at + size, first, last))
    return offsets, max([end for _, end, _, _ in placed], default=0)
