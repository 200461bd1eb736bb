"""A model as a graph: operations of the tape's table on named values. It knows no layer class.

Values are results of nodes, inputs, or weights; each has a name. Lengths that grow with the batch stand as `Batch`, in
shapes as in attributes, so that one graph serves any batch size. Graphs are not changed: a pass makes a new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Batch:
    """`times` the batch size."""

    times: int = 1


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes
    ----------
    operation : str
        Its name in the table of `numconv.autograd`.
    inputs : tuple
        Names of values, numbers, None.
    outputs : tuple of str
        Names of its results.
    attributes : dict
    """

    operation: str
    inputs: tuple[Any, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def output(self) -> str:
        return self.outputs[0]

    def values(self) -> list[str]:
        """The names among the inputs."""
        return [i for i in self.inputs if isinstance(i, str)]

    def but(self, **attributes: Any) -> Node:
        """The node with other attributes."""
        return replace(self, attributes={**self.attributes, **attributes})


@dataclass(frozen=True)
class Part:
    """A value that lies in another: along an axis, from a position on."""

    whole: str
    axis: int
    start: int


@dataclass(frozen=True)
class Graph:
    """Operations in an order in which they can run.

    Attributes
    ----------
    nodes : tuple of Node
    inputs, outputs : tuple of str
    weights : dict
        Arrays by name.
    shapes, dtypes : dict
        Of each value.
    parts : dict
        Values that lie in the memory of others.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, Any]
    shapes: Mapping[str, tuple[Any, ...]]
    dtypes: Mapping[str, Any]
    parts: Mapping[str, Part] = field(default_factory=dict)

    def uses(self) -> Counter[str]:
        """How often each value is used, as an input of a node or as an output of the graph."""
        return Counter([name for node in self.nodes for name in node.values()] + list(self.outputs))

    def makers(self) -> dict[str, Node]:
        """The node that each result comes from."""
        return {name: node for node in self.nodes for name in node.outputs}

    def with_nodes(self, nodes: Iterable[Node], weights: Mapping[str, Any] | None = None) -> Graph:
        """Other nodes, and weights added; shapes and dtypes of new weights are theirs."""
        weights = weights or {}
        return replace(
            self, nodes=tuple(nodes), weights={**self.weights, **weights},
            shapes={**self.shapes, **{name: w.shape for name, w in weights.items()}},
            dtypes={**self.dtypes, **{name: w.dtype for name, w in weights.items()}},
        )  # fmt: skip

    def renamed(self, names: Mapping[str, str]) -> Graph:
        """With values replaced by others wherever they are used."""

        def final(name: Any) -> Any:
            while isinstance(name, str) and name in names:
                name = names[name]
            return name

        nodes = [replace(node, inputs=tuple(map(final, node.inputs))) for node in self.nodes]
        return replace(self, nodes=tuple(nodes), outputs=tuple(map(final, self.outputs)))


def sized(value: Any, n: int) -> Any:
    """A shape or an attribute for a batch of n."""
    if isinstance(value, Batch):
        return value.times * n
    if isinstance(value, (tuple, list)):
        return type(value)(sized(v, n) for v in value) if not hasattr(value, "_fields") else value
    if isinstance(value, Mapping):
        return {name: sized(v, n) for name, v in value.items()}
    if isinstance(value, slice):
        return slice(sized(value.start, n), sized(value.stop, n), sized(value.step, n))
    return value
