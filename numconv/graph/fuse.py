"""Fuse what follows a layer into its epilogue: activation(convolution + bias + residual).

A sum with something else goes first, then an activation; each must be the only one that uses what comes before. The
layer then runs where the last of them did, since the residual may be made later than the layer's own input.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numconv.graph.graph import Graph, Node

CONVOLUTIONS = tuple(f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3))
_PARAMETERS = {"leaky_relu": "negative_slope", "elu": "alpha"}
_ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "gelu", "sigmoid", "tanh", "silu", "hardswish")


def fused(graph: Graph) -> Graph:
    """The graph with sums and activations in epilogues."""
    uses = graph.uses()
    layers: dict[str, Node] = {}  # results that an epilogue can be added to
    gone: set[int] = set()
    nodes: list[Node] = []
    places: dict[str, int] = {}
    for node in graph.nodes:
        new = node
        for before in [i for i in reversed(node.inputs) if i in layers and uses[i] == 1]:
            layer = layers[before]
            found = _added(layer, before, node, graph) if node.operation == "add" else _activated(layer, node)
            if found is not None:
                gone.add(places[before])
                new = found
                break
        nodes.append(new)
        places[new.output] = len(nodes) - 1
        if new.operation in (*CONVOLUTIONS, "linear", "batch_norm"):
            layers[new.output] = new
    return graph.with_nodes(node for i, node in enumerate(nodes) if i not in gone)


def activation_of(node: Node) -> Any:
    """An activation as epilogues take it; None where they do not."""
    if node.operation not in _ACTIVATIONS or node.attributes.get("approximate", "none") != "none":
        return None
    parameter = _PARAMETERS.get(node.operation)
    return node.operation if parameter is None else (node.operation, float(node.attributes[parameter]))


def _activated(layer: Node, node: Node) -> Node | None:
    activation = activation_of(node)
    if activation is None or layer.attributes.get("activation") is not None:
        return None
    if layer.operation == "batch_norm" and activation != "relu":
        return None
    return replace(layer.but(activation=activation), outputs=node.outputs)


def _added(layer: Node, result: str, node: Node, graph: Graph) -> Node | None:
    if layer.operation not in CONVOLUTIONS or layer.inputs[3] is not None:
        return None
    if layer.attributes["activation"] is not None:
        return None
    other = node.inputs[1] if node.inputs[0] == result else node.inputs[0]
    like = isinstance(other, str) and other not in graph.weights
    if not like or any(of[other] != of[result] for of in (graph.shapes, graph.dtypes)):
        return None
    return replace(layer, inputs=(*layer.inputs[:3], other), outputs=node.outputs)
