"""Fold batch norms into the weights of the convolution, transposed convolution or linear layer before or after them.

a batch norm:   y = scale x + shift,   scale = weight / sqrt(var + eps),   shift = bias - scale mean
after a layer:  scale (W x + b) + shift = (scale W) x + (scale b + shift)
before a layer: W (scale x + shift) + b = (W scale) x + (b + W shift),  where no padding of zeros comes between
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.graph.graph import Graph, Node
from numconv.problem import FIRST

FIRSTS = (None, "NCL", "NCW", "NCHW", "NCDHW", FIRST)


def folded(graph: Graph) -> Graph:
    """The graph with as few batch norms as can be."""
    makers, uses = graph.makers(), graph.uses()
    nodes = {id(node): node for node in graph.nodes}
    weights: dict[str, np.ndarray] = {}
    names: dict[str, str] = {}
    known = {**graph.weights}

    def alone(name: Any) -> bool:
        return uses[name] == 1

    def operands(layer: Node) -> tuple[np.ndarray, Any]:
        weight, bias = layer.inputs[1:3]
        return known[weight].astype(np.float64), 0.0 if bias is None else known[bias].astype(np.float64)

    def put(layer: Node, weight: np.ndarray, bias: np.ndarray) -> Node:
        made = f"{layer.output}.weight.{len(weights)}", f"{layer.output}.bias.{len(weights)}"
        dtype = known[layer.inputs[1]].dtype
        found = {made[0]: weight.astype(dtype), made[1]: bias.astype(dtype)}
        weights.update(found)
        known.update(found)
        return Node(layer.operation, (layer.inputs[0], *made, *layer.inputs[3:]), layer.outputs, layer.attributes)

    current = {id(node): node for node in graph.nodes}
    followers = {name: node for node in graph.nodes for name in node.values()}
    for node in graph.nodes:
        if not _affine(node, known):
            continue
        scale, shift = _numbers(node, known)
        layer = makers.get(node.inputs[0])
        if layer is not None and alone(layer.output) and _takes(current[id(layer)], known, graph.shapes):
            now = current[id(layer)]
            weight, bias = operands(now)
            current[id(layer)] = put(now, _scaled_out(now, weight, scale), bias * scale + shift)
            names[node.output] = layer.output
            del nodes[id(node)]
            continue
        layer = followers.get(node.output)
        if layer is None or not alone(node.output) or layer.inputs[0] != node.output:
            continue
        now = current[id(layer)]
        if _takes(now, known, graph.shapes, last=False) and _unpadded(now, shift, graph.shapes):
            weight, bias = operands(now)
            per_input = _by_inputs(now, weight)
            offset = (per_input * _spread(now, shift, per_input)).reshape(len(weight), -1).sum(1)
            new = (per_input * _spread(now, scale, per_input)).reshape(weight.shape)
            current[id(layer)] = put(now, new, bias + offset)
            names[node.output] = node.inputs[0]
            del nodes[id(node)]
    return graph.with_nodes([current[i] for i in nodes], weights).renamed(names)


def _affine(node: Node, weights: Any) -> bool:
    """Whether a node is a batch norm of constants over the second axis."""
    constants = all(i is None or i in weights for i in node.inputs[1:5])
    return (
        node.operation == "batch_norm" and constants and not node.attributes["training"]
        and node.attributes["activation"] is None and node.attributes["data_format"] in FIRSTS
    )  # fmt: skip


def _numbers(node: Node, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """(scale, shift) in float64."""
    mean, var, weight, bias = (None if i is None else weights[i].astype(np.float64) for i in node.inputs[1:5])
    scale = (1.0 if weight is None else weight) / np.sqrt(var + node.attributes["eps"])
    return scale, (0.0 if bias is None else bias) - scale * mean


def _takes(layer: Node, weights: Any, shapes: Any, last: bool = True) -> bool:
    """Whether weights of a node can be changed; `last`: by what is done to its result."""
    constants = all(i is None or i in weights for i in layer.inputs[1:3])
    if layer.operation == "linear":
        return constants and len(shapes[layer.inputs[0]]) == weights[layer.inputs[1]].ndim == 2
    kinds = ("conv1d", "conv2d", "conv3d") + ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d") * last
    if layer.operation not in kinds or layer.attributes["data_format"] not in FIRSTS or not constants:
        return False
    epilogue = layer.inputs[3] is not None or layer.attributes["activation"] is not None
    return len(shapes[layer.inputs[0]]) == weights[layer.inputs[1]].ndim and not (last and epilogue)


def _scaled_out(layer: Node, weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The weight with each output channel multiplied."""
    if "transpose" not in layer.operation:
        return weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    groups = layer.attributes["groups"]
    whole = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return (whole * scale.reshape(groups, 1, -1, *(1,) * (weight.ndim - 2))).reshape(weight.shape)


def _by_inputs(layer: Node, weight: np.ndarray) -> np.ndarray:
    """The weight as (groups, outputs of each, inputs of each, taps)."""
    groups = layer.attributes.get("groups", 1)
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)


def _spread(layer: Node, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """One number an input channel, beside such a weight."""
    return values.reshape(weight.shape[0], 1, weight.shape[2], 1)


def _unpadded(layer: Node, shift: np.ndarray, shapes: Any) -> bool:
    """Whether what a layer reads is shifted everywhere, or nowhere."""
    padding = layer.attributes.get("padding", 0)
    return padding == "valid" or not np.any(shift) or (not isinstance(padding, str) and not np.any(padding))
