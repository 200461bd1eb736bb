"""What an operation leaves behind on the tape."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from numconv.autograd.operations import Operation
from numconv.autograd.operators import Operators
from numconv.ops.device import is_array

_orders = itertools.count()


class Outline:
    """Stands for an input whose value no rule reads."""

    __slots__ = ("dtype", "shape", "strides")

    def __init__(self, data: Any) -> None:
        self.shape, self.dtype, self.strides = data.shape, data.dtype, data.strides

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def data(self) -> Any:
        raise RuntimeError("the rule uses a value that the operation does not name in `reads`")

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        return self.data


class Node:
    """An operation that was run.

    Attributes
    ----------
    operation : str
        Its name.
    attributes : dict
    inputs : tuple
        Tensors whose values the rule reads, Outlines of others, numbers, None.
    versions : list
        (place among the inputs, version it had) of each kept Tensor.
    links : list
        For each input that wants a gradient the node that it came from, or the leaf itself; else None.
    """

    __slots__ = (
        "attributes", "counter", "dtype", "has_arrays", "hooks", "inputs", "links", "needs", "operation", "order",
        "others", "output", "retains", "shape", "version", "versions",
    )  # fmt: skip

    def __init__(
        self, operation: Operation, inputs: tuple[Any, ...], attributes: dict[str, Any], needs: tuple[bool, ...],
        output: Any, others: tuple[Any, ...], counter: list[Any],
    ) -> None:  # fmt: skip
        kept, keeps_output = operation.kept(needs)
        saved: list[Any] = []
        links: list[Any] = []
        self.versions: list[tuple[int, int]] = []
        self.has_arrays = False
        for value, keep, need in zip(inputs, kept, needs):
            link = None
            if isinstance(value, Operators):
                if need:
                    link = value if value.node is None else value.node
                if keep:
                    self.versions.append((len(saved), value.counter[0]))
                else:
                    value = Outline(value.data)  # noqa: PLW2901
            elif value is not None and is_array(value):
                if keep:
                    self.has_arrays = True
                else:
                    value = Outline(value)  # noqa: PLW2901
            saved.append(value)
            links.append(link)
        self.operation, self.attributes, self.needs, self.order = operation.name, attributes, needs, next(_orders)
        self.inputs, self.links = tuple(saved), links
        self.shape, self.dtype, self.counter, self.version = output.shape, output.dtype, counter, counter[0]
        self.output: Any = output if keeps_output else Outline(output)
        self.others = others
        self.hooks: list[Callable[[Any], Any]] | None = None
        self.retains: Any = None

    def __repr__(self) -> str:
        return f"<Node {self.operation} of shape {self.shape}>"

    def linked(self) -> list[Any]:
        """The nodes and leaves that gradients go to."""
        self._check_kept()
        return [link for link in self.links if link is not None]

    def _check_kept(self) -> None:
        if self.inputs is None:
            raise RuntimeError(
                f"the graph was walked before, and what {self.operation!r} had kept is released: "
                "call backward or grad with retain_graph=True the first time"
            )

    def saved(self, wrap: Callable[..., Any]) -> tuple[Any, tuple[Any, ...]]:
        """(output, inputs) as the rule gets them, checked to be what they were; `wrap` makes Tensors."""
        self._check_kept()
        inputs = self.inputs
        for i, version in self.versions:
            value = inputs[i]
            if value.counter[0] != version:
                raise RuntimeError(
                    f"input {i} of {self.operation!r}, of shape {value.shape}, was changed in place after it was used "
                    f"(version {value.counter[0]}, expected {version}), and the gradient is made of it"
                )
        output = self.output
        if type(output) is not Outline:
            if self.counter[0] != self.version:
                raise RuntimeError(
                    f"the output of {self.operation!r}, of shape {self.shape}, was changed in place "
                    f"(version {self.counter[0]}, expected {self.version}), and the gradient is made of it"
                )
            output = wrap(output, True, self, self.counter)
        if self.has_arrays:
            inputs = tuple([wrap(value, False, None, [0, False]) if is_array(value) else value for value in inputs])
        return (output, *self.others) if self.others else output, inputs

    def release(self) -> None:
        """Let go of everything that was kept."""
        self.inputs = self.links = self.output = self.others = None  # type: ignore[assignment]
