"""Simplify: one way to say each thing, nothing that does nothing, nothing that is not used, no work on constants."""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.autograd.operations import TABLE
from numconv.graph.graph import Graph, Node

_SAME = ("astype", "contiguous", "reshape", "expand")
_BOUNDS = {(0, None): "relu", (0, 6): "relu6"}


def simplified(graph: Graph) -> Graph:
    """Batch norms without residual and activation of their own, clamps as activations; nothing idle."""
    return without_constants(without_idle(canonical(graph)))


def canonical(graph: Graph) -> Graph:
    """Operations that are several said one by one."""
    nodes: list[Node] = []
    shapes, dtypes = dict(graph.shapes), dict(graph.dtypes)
    for node in graph.nodes:
        if node.operation in ("batch_norm", "batch_norm_add"):
            nodes.append(_split(node, nodes, shapes, dtypes))
        elif node.operation == "clamp" and (node.attributes["min"], node.attributes["max"]) in _BOUNDS:
            name = _BOUNDS[node.attributes["min"], node.attributes["max"]]
            nodes.append(Node(name, node.inputs, node.outputs, {}))
        else:
            nodes.append(node)
    return Graph(tuple(nodes), graph.inputs, graph.outputs, graph.weights, shapes, dtypes)


def _split(node: Node, nodes: list[Node], shapes: dict[str, Any], dtypes: dict[str, Any]) -> Node:
    """A batch norm's last operation, after those before it were added."""
    activation, residual = node.attributes["activation"], node.inputs[5:]
    steps = [("add", residual)] * bool(residual) + [(activation, ())] * bool(activation)
    node = Node("batch_norm", node.inputs[:5], node.outputs, {**node.attributes, "activation": None})
    for operation, operands in steps:
        name = f"{node.output}.{operation}"
        shapes[name], dtypes[name] = shapes[node.output], dtypes[node.output]
        nodes.append(Node(node.operation, node.inputs, (name, *node.outputs[1:]), node.attributes))
        node = Node(operation, (name, *operands), node.outputs[:1], {})
    return node


def without_idle(graph: Graph) -> Graph:
    """Without what gives its input again, and what nothing uses."""
    names = {
        node.output: node.inputs[0]
        for node in graph.nodes
        if node.operation in _SAME
        and graph.shapes[node.output] == graph.shapes[node.inputs[0]]
        and graph.dtypes[node.output] == graph.dtypes[node.inputs[0]]
    }
    graph = graph.renamed(names)
    wanted, kept = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.values())
            kept.append(node)
    return graph.with_nodes(reversed(kept))


def without_constants(graph: Graph) -> Graph:
    """With operations on weights alone done."""
    weights, nodes = dict(graph.weights), []
    for node in graph.nodes:
        if all(name in weights for name in node.values()) and "shape" not in node.attributes:
            result = TABLE[node.operation].forward(*[_value(i, weights) for i in node.inputs], **node.attributes)
            weights.update(zip(node.outputs, result if isinstance(result, tuple) else (result,)))
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.values()} | set(graph.outputs)
    kept = {name: np.asarray(weight) for name, weight in weights.items() if name in used}
    return Graph(tuple(nodes), graph.inputs, graph.outputs, kept, graph.shapes, graph.dtypes)


def _value(name: Any, weights: dict[str, Any]) -> Any:
    return weights[name] if isinstance(name, str) else name
