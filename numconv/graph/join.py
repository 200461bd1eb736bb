"""Let concatenations write in place: what is joined is made in its slice of the whole.

From the last concatenation to the first, so that a value that is joined several times (Huang et al. 2017, "Densely
connected convolutional networks") lies in the largest; earlier ones, whose operands then lie side by side already,
become slices of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from numconv.graph.graph import Batch, Graph, Node, Part

VIEWS = ("reshape", "permute", "expand", "index", "flip")


def joined(graph: Graph) -> Graph:
    """The graph with `parts` for what lies in concatenations."""
    makers = graph.makers()
    parts: dict[str, Part] = {}
    for node in reversed(graph.nodes):
        if node.operation != "concatenate":
            continue
        axis = node.attributes["axis"] % len(graph.shapes[node.output])
        lengths = [graph.shapes[name][axis] for name in node.inputs]
        if any(isinstance(length, Batch) for length in lengths):
            continue
        starts = [sum(lengths[:i]) for i in range(len(lengths))]
        there = _side_by_side(node, starts, axis, parts)
        if there is not None:
            parts[node.output] = there
            continue
        whole = parts.get(node.output, Part(node.output, axis, 0))
        if whole.axis != axis:
            continue
        for name, start in zip(node.inputs, starts):
            free = name in makers and makers[name].operation not in VIEWS and name not in parts
            same = free and graph.dtypes[name] == graph.dtypes[node.output]
            if same and node.inputs.count(name) == 1:
                parts[name] = Part(whole.whole, axis, whole.start + start)
    return replace(graph, parts=parts)


def _side_by_side(node: Node, starts: list[int], axis: int, parts: Mapping[str, Part]) -> Part | None:
    """Where the concatenation lies if all its operands do so already, in order."""
    places = [parts.get(name) for name in node.inputs]
    first = places[0]
    if node.output in parts or first is None or first.axis != axis:
        return None
    if all(p == Part(first.whole, axis, first.start + start) for p, start in zip(places, starts)):
        return first
    return None
