"""Gradients, asked for: `backward` for all leaves, `grad` for some tensors."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

from numconv.autograd.modes import set_grad_enabled
from numconv.autograd.tape import Tensor, apply, wrap
from numconv.autograd.walk import walk
from numconv.ops import arrays
from numconv.ops.device import is_array


class _Leaves:
    """Held while gradients are added to leaves: two threads may add to one, and a hook may walk again."""

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.lock = threading.RLock()  # another thread of the parent may have held it


_leaves = _Leaves()


def _link(tensor: Tensor) -> Any:
    return tensor if tensor.node is None else tensor.node


def _seeds(tensors: Sequence[Tensor], gradients: Sequence[Any]) -> list[tuple[Any, Tensor]]:
    """Where a walk starts, and with which gradients."""
    if len(tensors) != len(gradients):
        raise ValueError(f"there must be a gradient, or None, for each of {len(tensors)} outputs, got {len(gradients)}")
    seeds = []
    for tensor, gradient in zip(tensors, gradients):
        if not isinstance(tensor, Tensor) or not tensor.requires_grad:
            kind = f"a tensor of shape {tensor.shape}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise RuntimeError(f"nothing to walk back over: no gradient was wanted, or recorded, for {kind}")
        if gradient is None and tensor.numel() != 1:
            raise ValueError(f"gradient must be given for an output of more than one element: {tensor.shape}")
        seed = arrays.full(tensor.data, value=1) if gradient is None else gradient
        if not isinstance(seed, Tensor):
            seed = Tensor(seed)
        if seed.shape != tensor.shape:
            raise ValueError(f"gradient must have the shape of its output, {tensor.shape}, got {seed.shape}")
        if seed.dtype != tensor.dtype:
            seed = apply("astype", seed, dtype=tensor.dtype)
        seeds.append((_link(tensor), seed))
    return seeds


def backward(
    tensors: Sequence[Tensor], gradients: Sequence[Any], retain_graph: bool | None = None, create_graph: bool = False
) -> None:
    """Add the gradients of the sum of some tensors to the `grad` of all leaves: see `Tensor.backward`."""
    with set_grad_enabled(create_graph):
        seeds = _seeds(tensors, gradients)
        found, shared = walk(apply, wrap, seeds, None, create_graph if retain_graph is None else retain_graph)
        with _leaves.lock:
            for leaf, gradient in found.items():
                _accumulate(leaf, gradient, leaf in shared)


def _accumulate(leaf: Tensor, gradient: Tensor, shared: bool) -> None:
    """Add a gradient to a leaf's."""
    for hook in leaf.hooks or ():
        changed = hook(gradient)
        if changed is not None:
            gradient, shared = changed, True
    if gradient.requires_grad:
        leaf.grad = gradient if leaf.grad is None else apply("add", leaf.grad, gradient)
    elif leaf.grad is None:
        leaf.grad = Tensor(arrays.copy(gradient.data)) if shared else gradient
    else:
        arrays.add_into(leaf.grad.data, gradient.data)
        leaf.grad.bump()


def grad(
    outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor], grad_outputs: Any = None,
    retain_graph: bool | None = None, create_graph: bool = False, allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients of the sum of outputs with respect to inputs; nothing is added to any `grad`.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensor
        Inputs may be leaves or results on the way.
    grad_outputs : Tensor, array_like or sequence, optional
        What each element of each output counts.
    retain_graph, create_graph
        As in `Tensor.backward`.
    allow_unused : bool
        Whether to give None for inputs that outputs do not depend on.

    Returns
    -------
    tuple of Tensor

    Raises
    ------
    RuntimeError
        As `Tensor.backward`; if an input does not require grad, or is not used.
    ValueError
        If a gradient is missing or does not fit.
    """
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if grad_outputs is None or isinstance(grad_outputs, Tensor) or is_array(grad_outputs):
        grad_outputs = (grad_outputs,) * len(outputs) if grad_outputs is None else (grad_outputs,)
    for i, tensor in enumerate(inputs):
        if not isinstance(tensor, Tensor) or not tensor.requires_grad:
            raise RuntimeError(f"inputs must be Tensors that require grad, input {i} is not")
    with set_grad_enabled(create_graph):
        seeds = _seeds(outputs, grad_outputs)
        links = [_link(tensor) for tensor in inputs]
        found, _ = walk(apply, wrap, seeds, links, create_graph if retain_graph is None else retain_graph)
    if not allow_unused:
        for i, link in enumerate(links):
            if link not in found:
                raise RuntimeError(f"no output depends on input {i}: pass allow_unused=True to get None for it")
    return tuple(found.get(link) for link in links)


Tensor._backward = staticmethod(backward)
