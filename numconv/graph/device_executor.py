"""Run a graph on a GPU: convolutions become plans there, the rest runs as on the tape.

For each batch size, and stream, a frame is made: the first call runs the graph, on copies of its inputs at fixed
places, and notes what it launches; later calls do these launches (see `ops.cuda.recording`). Activations lie channels
last, as the graph says; a frame's memory is used again within it as soon as the graph needs a value no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from numconv.autograd.operations import TABLE
from numconv.graph.clean import simplified
from numconv.graph.executor import batch_of
from numconv.graph.fold import folded
from numconv.graph.frames import Frames
from numconv.graph.fuse import CONVOLUTIONS, fused
from numconv.graph.graph import Graph, Node, sized
from numconv.graph.layout import channels_last
from numconv.graph.plans import PLANNED
from numconv.ops.convolution import plan
from numconv.ops.device import gpu, on_gpu
from numconv.options import options

_IDLE = 2  # frames of one batch size and stream


def optimised_on_device(graph: Graph, n: int) -> Graph:
    """A graph through all passes, with its weights on the GPU; algorithms are chosen for a batch of `n`."""
    graph = prefixed(channels_last(fused(folded(simplified(graph)))))
    upload = gpu("arrays").uploaded
    nodes = [_planned(node, graph, n, upload) for node in graph.nodes]
    used = {name for node in nodes for name in node.values()} | set(graph.outputs)
    weights = {name: upload(weight) for name, weight in graph.weights.items() if name in used}
    return replace(graph, nodes=tuple(nodes), weights=weights)


def prefixed(graph: Graph) -> Graph:
    """Concatenations that begin as earlier ones do take their results: DenseNet's of n values copies two, not n."""
    earlier: dict[Any, str] = {}
    nodes = []
    for node in graph.nodes:
        if node.operation == "concatenate":
            given, axis = node.inputs, node.attributes["axis"]
            known = next((k for k in range(len(given) - 1, 1, -1) if (given[:k], axis) in earlier), 0)
            inputs = (earlier[given[:known], axis], *given[known:]) if known else given
            nodes.append(replace(node, inputs=inputs))
            earlier[given, axis] = node.output
        else:
            nodes.append(node)
    return graph.with_nodes(nodes)


def _planned(node: Node, graph: Graph, n: int, upload: Any) -> Node:
    """A convolution or batch norm with constant weights as a plan; other nodes as they are."""
    if node.operation == "batch_norm":
        return _normalisation(node, graph, upload)
    if node.operation not in CONVOLUTIONS:
        return node
    x, weight, bias, residual = node.inputs
    if weight not in graph.weights or (bias is not None and bias not in graph.weights):
        return node
    dtype = graph.dtypes[node.output]
    constants = [None if name is None else upload(graph.weights[name].astype(dtype)) for name in (weight, bias)]
    attributes: dict[str, Any] = sized(node.attributes, n)
    made = plan(node.operation, sized(graph.shapes[x], n), *constants, **attributes)
    inputs = (x,) if residual is None else (x, residual)
    return Node(PLANNED, inputs, node.outputs, {"plan": made, "operation": node.operation})


class Normalisation:
    """A batch norm by numbers that are known: a plan, as of a convolution."""

    algorithm = "scale"

    def __init__(self, coefficients: Any, data_format: Any, activation: Any) -> None:
        self._coefficients, self._options = coefficients, (data_format, activation)
        self._run = gpu("layers").normalised

    def __call__(self, x: Any, *, residual: Any = None) -> Any:
        return self._run(x, self._coefficients, *self._options, residual)


def _normalisation(node: Node, graph: Graph, upload: Any) -> Node:
    x, *constants = node.inputs
    if node.attributes["training"] or any(name is not None and name not in graph.weights for name in constants):
        return node
    mean, var, weight, bias = (0.0 if name is None else graph.weights[name].astype(float) for name in constants)
    scale = (1.0 if constants[2] is None else weight) / np.sqrt(var + node.attributes["eps"])
    work = np.float64 if graph.dtypes[x] == np.float64 else np.float32
    numbers = np.concatenate(np.broadcast_arrays(mean, scale, bias)).astype(work)
    made = Normalisation(upload(numbers), node.attributes["data_format"], node.attributes["activation"])
    return Node(PLANNED, (x,), node.outputs[:1], {"plan": made, "operation": "batch_norm"})


class Frame:
    """Inputs, outputs and launches of one call at a time."""

    def __init__(self, graph: Graph, n: int, arrays: Sequence[Any]) -> None:
        self._copy, self._copied = gpu("arrays").write, gpu("arrays").copied
        self._inputs = [self._copied(array) for array in arrays]
        self._make = partial(_results, graph, n, self._inputs)
        self._recording = gpu("recording").Recording(self._make)
        self._ran = True

    def run(self, arrays: Sequence[Any], apart: bool = False) -> list[Any]:
        """Outputs for inputs of the frame's shapes and dtypes; the first time for those that it was made with.

        With `apart` the graph's operations are called one by one in place of what was noted of them.
        """
        if not self._ran:
            for mine, given in zip(self._inputs, arrays):
                self._copy(mine, given)
            if apart:
                return [self._copied(out) for out in self._make()]
            self._recording.run()
        self._ran = False
        return [self._copied(out) for out in self._recording.results]


def _results(graph: Graph, n: int, inputs: Sequence[Any]) -> list[Any]:
    """The graph's outputs, node by node; what is needed no more is forgotten."""
    values: dict[str, Any] = {**graph.weights, **dict(zip(graph.inputs, inputs))}
    last = {name: place for place, node in enumerate(graph.nodes) for name in (*node.outputs, *node.values())}
    for place, node in enumerate(graph.nodes):
        given = [values[i] if isinstance(i, str) else i for i in node.inputs]
        if node.operation == PLANNED:
            result = node.attributes["plan"](given[0], residual=given[1] if len(given) > 1 else None)
        else:
            result = TABLE[node.operation].forward(*given, **sized(node.attributes, n))
        values.update(zip(node.outputs, result if isinstance(result, tuple) else (result,)))
        del given, result
        for name in {*node.outputs, *node.values()}:
            if last[name] == place and name not in graph.outputs:
                del values[name]
    return [values[name] for name in graph.outputs]


class DeviceExecutor:
    """A graph that is ready to run on a GPU.

    Parameters
    ----------
    graph : Graph
        As `optimised_on_device` gives it.

    Attributes
    ----------
    graph : Graph
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._frames = Frames(_IDLE)
        self._call = gpu("borders").taking(self._run)

    def __call__(self, *arrays: Any) -> list[Any]:
        """Outputs of the graph, on the device and stream of the first input, of its library.

        Parameters
        ----------
        *arrays : arrays on a GPU
            The graph's inputs, of one batch size.

        Raises
        ------
        TypeError, ValueError
            If their number, a dtype or a shape is not the graph's, or one is on the host.
        """
        for i, array in enumerate(arrays):
            if not on_gpu(array):
                raise TypeError(
                    f"input {i} must be an array on a GPU, as the model is, got {type(array).__name__}: copy it with "
                    "numconv.cuda.to_device"
                )
        return self._call(*arrays)

    def _run(self, *arrays: Any) -> list[Any]:
        n = batch_of(self.graph, arrays)
        kind = n, options.version, gpu("arrays").place()
        return self._frames.run(kind, partial(Frame, self.graph, n, arrays), arrays)

    def describe(self, n: int = 1) -> str:
        """A line an operation: what it is, its result's shape for a batch of `n`, and the algorithm."""
        lines = []
        for node in self.graph.nodes:
            made = node.attributes.get("plan")
            shape = "x".join(map(str, sized(self.graph.shapes[node.output], n)))
            name = node.operation if made is None else node.attributes["operation"]
            lines.append(f"{name:24} {shape:>16}  {'' if made is None else made.algorithm}".rstrip())
        return "\n".join([*lines, f"{len(lines)} operations on a GPU"])
