"""Every convolution with constant weights becomes a plan: algorithm chosen, weights packed, once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from numconv.graph.fuse import CONVOLUTIONS
from numconv.graph.graph import Graph, Node, sized
from numconv.ops.convolution import plan

PLANNED = "plan"


def planned(graph: Graph, n: int) -> Graph:
    """The graph with plans, of algorithms that are chosen for a batch of `n`; they run batches of any size.

    A plan's node has the inputs x and, where there is one, the residual; its attribute `plan` is the plan. Plans copy
    weights, and other weights are copied, too: the graph is then independent of the model.
    """
    nodes = []
    for node in graph.nodes:
        constants = node.inputs[1:3] if node.operation in CONVOLUTIONS else (None,)
        ready = constants[0] in graph.weights and (constants[1] is None or constants[1] in graph.weights)
        nodes.append(_planned(node, graph, n) if ready else node)
    used = {name for node in nodes for name in node.values()} | set(graph.outputs)
    weights = {name: np.array(weight, order="C") for name, weight in graph.weights.items() if name in used}
    return replace(graph, nodes=tuple(nodes), weights=weights)


def _planned(node: Node, graph: Graph, n: int) -> Node:
    x, weight, bias, residual = node.inputs
    options: dict[str, Any] = sized(node.attributes, n)
    made = plan(
        node.operation, sized(graph.shapes[x], n), graph.weights[weight],
        None if bias is None else graph.weights[bias], dtype=graph.dtypes[node.output], **options,
    )  # fmt: skip
    inputs = (x,) if residual is None else (x, residual)
    return Node(PLANNED, inputs, node.outputs, {"plan": made, "operation": node.operation})
