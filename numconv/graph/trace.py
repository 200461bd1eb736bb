"""Tracing: a function of Tensors is run with two batch sizes, and what its tape did becomes a graph.

Whatever differs between the runs must be a multiple of the batch size. The second run's numbers differ, too, so that
a function whose operations or constants depend on them is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numconv.autograd.modes import no_grad, record
from numconv.autograd.tape import Tensor
from numconv.graph.graph import Batch, Graph, Node

SIZES = (2, 3)  # not 1, which broadcasts


def trace(function: Callable[..., Any], examples: Sequence[np.ndarray]) -> tuple[Graph, Any]:
    """The graph of a function, and the structure of what it returns.

    Parameters
    ----------
    function : callable
        Of Tensors; gives a Tensor, or tuples, lists and dicts of them.
    examples : sequence of numpy.ndarray
        Arguments, each with the batch as its first axis.

    Returns
    -------
    Graph, structure
        The structure is what the function returned with a place in the graph's outputs instead of each Tensor.

    Raises
    ------
    ValueError
        If an operation, an attribute or a constant depends on anything but the batch size, or an operation works in
        training only.
    """
    runs = [_Run(function, [_batch(x, n, i) for x in examples]) for i, n in enumerate(SIZES)]
    return _merged(*runs), runs[0].structure


def _batch(example: np.ndarray, n: int, run: int) -> np.ndarray:
    """`n` samples; other numbers in the second run. Integers, which may be indices, stay what they are."""
    whole = np.resize(example, (n, *example.shape[1:])) if example.size else np.zeros((n, *example.shape[1:]))
    whole = whole.astype(example.dtype, copy=False)
    return whole * whole.dtype.type(0.5) if run and whole.dtype.kind in "fc" else whole


class _Run:
    """What one run of the function did."""

    def __init__(self, function: Callable[..., Any], arguments: Sequence[np.ndarray]) -> None:
        self.nodes: list[Node] = []
        self.values: dict[str, Any] = {}  # keeps the arrays, so that no other gets the address of one
        self.weights: dict[str, Any] = {}
        self._names: dict[int, str] = {}
        self._versions: dict[str, int] = {}
        tensors = [Tensor(a) for a in arguments]
        self.inputs = tuple(self._new(t.data, "x", t) for t in tensors)
        with no_grad(), record(self._hear):
            result = function(*tensors)
        self.outputs: list[str] = []
        self.structure = self._places(result)

    def _new(self, data: Any, prefix: str, tensor: Any = None) -> str:
        name = f"{prefix}{len(self.values)}"
        self.values[name] = data
        self._names[id(data)] = name
        self._versions[name] = 0 if tensor is None else tensor.version
        return name

    def _hear(self, operation: str, inputs: tuple[Any, ...], attributes: dict[str, Any], result: Any) -> None:
        if operation == "dropout" or (operation.startswith("batch_norm") and _trains(inputs, attributes)):
            raise ValueError(f"{operation!r} works as in training: put the model into eval mode")
        names = tuple(self._name(i, operation) for i in inputs)
        results = result if isinstance(result, tuple) else (result,)
        self.nodes.append(Node(operation, names, tuple(self._new(r.data, "v", r) for r in results), attributes))

    def _name(self, value: Any, operation: str) -> Any:
        """How a node calls an input."""
        if value is None or isinstance(value, (bool, int, float, complex)):
            return value
        data = value.data if isinstance(value, Tensor) else np.asarray(value)
        name = self._names.get(id(data))
        if name is None:
            name = self._new(data, "w", value if isinstance(value, Tensor) else None)
            self.weights[name] = data
        elif isinstance(value, Tensor) and value.version != self._versions[name]:
            name = self._changed(name, value, operation)
        return name

    def _changed(self, name: str, value: Tensor, operation: str) -> str:
        """The name of what was written into a value: the result of the last operation on it, if that is it."""
        last = next((node for node in reversed(self.nodes) if node.inputs[:1] == (name,)), None)
        if last is None or not np.array_equal(self.values[last.output], value.data, equal_nan=value.data.dtype != bool):
            raise ValueError(f"an input of {operation!r} was changed in place, in a way that the tape does not show")
        self._names[id(value.data)] = last.output
        self._versions[last.output] = value.version
        return last.output

    def _places(self, result: Any) -> Any:
        if isinstance(result, Tensor):
            self.outputs.append(self._name(result, "the result"))
            return Place(len(self.outputs) - 1)
        if isinstance(result, dict):
            return {key: self._places(value) for key, value in result.items()}
        if isinstance(result, tuple) and hasattr(result, "_fields"):
            return type(result)(*map(self._places, result))
        if isinstance(result, (tuple, list)):
            return type(result)(map(self._places, result))
        if result is None:
            return None
        raise TypeError(f"a traced function must return Tensors, or tuples, lists and dicts of them, got {result!r}")


class Place(int):
    """Where in a graph's outputs something is found."""


def filled(structure: Any, outputs: Sequence[Any]) -> Any:
    """A structure with outputs in their places."""
    if isinstance(structure, Place):
        return outputs[structure]
    if isinstance(structure, dict):
        return {key: filled(value, outputs) for key, value in structure.items()}
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(filled(value, outputs) for value in structure))
    if isinstance(structure, (tuple, list)):
        return type(structure)(filled(value, outputs) for value in structure)
    return structure


def _trains(inputs: tuple[Any, ...], attributes: dict[str, Any]) -> bool:
    return bool(attributes.get("training")) and inputs[1] is not None


def _merged(first: _Run, second: _Run) -> Graph:
    """The graph of which both runs are cases."""
    for a, b in zip(first.nodes, second.nodes):
        if (a.operation, a.inputs, a.outputs) != (b.operation, b.inputs, b.outputs):
            raise ValueError(
                f"the model's operations depend on the batch size or on numbers: {a.operation!r} of {a.inputs} in one "
                f"run was {b.operation!r} of {b.inputs} in another"
            )
    if len(first.nodes) != len(second.nodes) or first.outputs != second.outputs:
        raise ValueError("the model's operations depend on the batch size or on numbers: two runs differ in length")
    users = {name: node.operation for node in reversed(first.nodes) for name in node.values()}
    for name, weight in first.weights.items():
        other = second.weights[name]
        if other is not weight and not _equal(weight, other):
            raise ValueError(
                f"an input of {users.get(name, 'the result')!r}, of shape {weight.shape}, depends on the batch size or "
                "on numbers, but not by operations of the tape"
            )
    nodes = []
    for a, b in zip(first.nodes, second.nodes):
        attributes = {key: _either(a.attributes[key], b.attributes[key], a.operation, key) for key in a.attributes}
        nodes.append(Node(a.operation, a.inputs, a.outputs, attributes))
    makers = {name: node.operation for node in first.nodes for name in node.outputs}
    shapes = {
        name: array.shape if name in first.weights
        else _either(array.shape, second.values[name].shape, makers.get(name, "the input"), "shape")
        for name, array in first.values.items()
    }  # fmt: skip
    dtypes = {name: array.dtype for name, array in first.values.items()}
    return Graph(tuple(nodes), first.inputs, tuple(first.outputs), first.weights, shapes, dtypes)


def _equal(a: Any, b: Any) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))


def _either(a: Any, b: Any, operation: str, name: str) -> Any:
    """What an attribute is for any batch size, given what it was for two."""
    if isinstance(a, (int, np.integer)) and isinstance(b, (int, np.integer)) and a != b:
        if a % SIZES[0] == 0 and a // SIZES[0] * SIZES[1] == b:
            return Batch(int(a) // SIZES[0])
    elif type(a) is type(b) and isinstance(a, (tuple, list)) and len(a) == len(b):
        return type(a)(_either(x, y, operation, name) for x, y in zip(a, b)) if not hasattr(a, "_fields") else a
    elif isinstance(a, slice) and isinstance(b, slice):
        return slice(*(_either(getattr(a, p), getattr(b, p), operation, name) for p in ("start", "stop", "step")))
    elif isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a is b or _equal(a, b):
            return a
    elif a is b or a == b:
        return a
    raise ValueError(
        f"{name} of {operation!r} depends on something else than the batch size: it is {a} for a batch of {SIZES[0]} "
        f"and {b} for one of {SIZES[1]}, expected the same or a multiple of the batch size"
    )
