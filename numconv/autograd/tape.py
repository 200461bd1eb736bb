"""The tape: Tensors, the nodes that operations leave behind, and the walk back over them.

`apply` runs an operation by its name and, where gradients are on and wanted, leaves a `Node` with the name, the
attributes and the inputs. `backward` and `grad` visit nodes from the newest to the oldest: everything that used a
node's output is newer than it, so that its gradient is whole when its turn comes. The tape knows operations by the
table only, and arrays by `ops`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from numconv.autograd.methods import Methods
from numconv.autograd.modes import (
    enable_grad,
    grad_mode,
    is_grad_enabled,
    listener,
    no_grad,
    record,
    set_grad_enabled,
)
from numconv.autograd.node import Node
from numconv.autograd.operations import TABLE
from numconv.autograd.operators import Operators
from numconv.ops import arrays

__all__ = [
    "Node",
    "Tensor",
    "apply",
    "enable_grad",
    "is_grad_enabled",
    "no_grad",
    "record",
    "set_grad_enabled",
]


class Tensor(Methods):
    """An array that the tape follows.

    Parameters
    ----------
    data : array_like
        Not copied.
    requires_grad : bool
        Whether `backward` shall fill `grad`. For float arrays only.
    dtype : dtype, optional

    Attributes
    ----------
    data : array
        The bare array. Who changes its elements tells so with `bump`.
    grad : Tensor or None
        What `backward` added up, of a leaf.
    node : Node or None
        The operation that it came from; None for a leaf.
    """

    __slots__ = ("__weakref__", "counter", "data", "grad", "hooks", "node", "requires_grad")
    _backward: Callable[..., None]

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        self.data: Any = arrays.asarray(data.data if isinstance(data, Tensor) else data)
        if dtype is not None:
            self.data = arrays.astype(self.data, dtype=dtype)
        self.counter: list[Any] = [0, False]  # how often memory was changed; whether other Tensors lie in it
        if isinstance(data, Tensor) and data.data is self.data:
            self.counter = data.counter
            self.counter[1] = True
        self.grad: Tensor | None = None
        self.node: Node | None = None
        self.hooks: list[Callable[[Tensor], Any]] | None = None
        self.requires_grad = False
        if requires_grad:
            self.requires_grad_()

    @property
    def version(self) -> int:
        """How often the elements were changed in place, here or through a Tensor of the same memory."""
        return self.counter[0]

    def bump(self) -> None:
        """Tell the tape that the elements of `data` were changed in place."""
        self.counter[0] += 1

    @property
    def is_leaf(self) -> bool:
        return self.node is None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether a gradient is wanted, of a leaf."""
        if self.node is not None and not requires_grad:
            raise RuntimeError("requires_grad can be turned off for leaves only: use detach()")
        if requires_grad and not _differentiable(self.data):
            raise TypeError(f"a tensor that requires grad must be of a float dtype, got {self.data.dtype}")
        self.requires_grad = bool(requires_grad)
        return self

    def detach(self) -> Tensor:
        """A Tensor of the same memory that the tape does not follow."""
        self.counter[1] = True
        return wrap(self.data, False, None, self.counter)

    def register_hook(self, hook: Callable[[Tensor], Any]) -> Callable[[], None]:
        """Call `hook(gradient)` when the gradient is whole; a Tensor that it returns takes its place.

        Returns a function that removes the hook.
        """
        if not self.requires_grad:
            raise RuntimeError("a hook needs a tensor that requires grad")
        owner: Any = self if self.node is None else self.node
        if owner.hooks is None:
            owner.hooks = []
        owner.hooks.append(hook)
        return lambda: owner.hooks.remove(hook)

    def retain_grad(self) -> None:
        """Let `backward` fill `grad` though this is no leaf."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad needs a tensor that requires grad")
        if self.node is not None:
            self.node.retains = weakref.ref(self)

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add the gradient of this tensor with respect to each leaf to the leaf's `grad`.

        Parameters
        ----------
        gradient : Tensor or array_like, optional
            Of this tensor's shape, what each of its elements counts; needed unless it has one element.
        retain_graph : bool, optional
            Whether the graph stays for another walk; as `create_graph` where left out.
        create_graph : bool
            Whether the walk is recorded, so that gradients have gradients.

        Raises
        ------
        RuntimeError
            If nothing here requires grad, the graph was walked before and not retained, or a value that a gradient is
            made of was changed in place.
        ValueError
            If `gradient` is missing or does not fit.
        """
        self._backward([self], [gradient], retain_graph, create_graph)

    def __getstate__(self) -> tuple[Any, ...]:
        if self.node is not None:
            raise RuntimeError("only leaves can be copied or pickled: use detach()")
        return self.data, self.requires_grad, self.grad, getattr(self, "__dict__", None)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.data, self.requires_grad, self.grad, rest = state
        self.node, self.hooks, self.counter = None, None, [0, False]
        if rest:
            self.__dict__.update(rest)


def _differentiable(data: Any) -> bool:
    return data.dtype.kind == "f" or data.dtype.name == "bfloat16"


_new = Tensor.__new__


def wrap(data: Any, requires_grad: bool, node: Node | None, counter: list[Any]) -> Tensor:
    """A Tensor of these parts."""
    tensor = _new(Tensor)
    tensor.data, tensor.requires_grad, tensor.node, tensor.counter = data, requires_grad, node, counter
    tensor.grad = tensor.hooks = None
    return tensor


def apply(name: str, *inputs: Any, **attributes: Any) -> Any:
    """Run an operation of the table, and record it where gradients are on and an input wants one.

    Parameters
    ----------
    name : str
    *inputs : Tensor, array, number or None
    **attributes
        Handed to the operation and its rule as they are.

    Returns
    -------
    Tensor, or tuple of Tensor
    """
    try:
        operation = TABLE[name]
    except KeyError:
        raise ValueError(f"name must be an operation of the tape, got {name!r}") from None
    bare, needs = [], []
    for value in inputs:
        if isinstance(value, Tensor):
            bare.append(value.data)
            needs.append(value.requires_grad)
        else:
            bare.append(value)
            needs.append(False)
    result = operation.forward(*bare, **attributes)
    others: tuple[Tensor, ...] = ()
    if type(result) is tuple:
        others = tuple([wrap(other, False, None, [0, False]) for other in result[1:]])
        result = result[0]
    counter: list[Any] = [0, False]
    if operation.view and isinstance(inputs[0], Tensor):
        counter = inputs[0].counter
        counter[1] = True
    node = None
    if True in needs and operation.rule is not None and grad_mode.get():
        node = Node(operation, inputs, attributes, tuple(needs), result, others, counter)
    tensor = wrap(result, node is not None, node, counter)
    given = (tensor, *others) if others else tensor
    listen = listener.get()
    if listen is not None:
        listen(name, inputs, attributes, given)
    return given


def in_place(tensor: Tensor, name: str, *others: Any, **attributes: Any) -> Tensor:
    """Let a Tensor become the result of an operation on it, in the same memory."""
    if grad_mode.get() and (tensor.requires_grad or any(isinstance(o, Tensor) and o.requires_grad for o in others)):
        if tensor.requires_grad and tensor.node is None:
            raise RuntimeError("a leaf that requires grad can be changed in place within no_grad() only")
        if tensor.counter[1]:
            raise RuntimeError(
                f"a tensor that shares its memory with another, of shape {tensor.shape}, cannot be changed in place "
                "while gradients are recorded: make a new one"
            )
    before = wrap(tensor.data, tensor.requires_grad, tensor.node, tensor.counter)
    result = apply(name, before, *others, **attributes)
    if result.shape != tensor.shape:
        raise ValueError(f"a tensor of shape {tensor.shape} cannot hold a result of shape {result.shape}")
    arrays.write(tensor.data, result.data)
    tensor.bump()
    if result.requires_grad:
        tensor.node, tensor.requires_grad = result.node, True
    return tensor


Operators._apply = staticmethod(apply)
Operators._in_place = staticmethod(in_place)
