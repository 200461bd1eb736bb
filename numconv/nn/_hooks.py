"""Hooks of modules: functions that are called with what goes in and out, forward and backward."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from numconv.autograd.tape import Tensor, apply

_numbers = itertools.count()


class RemovableHandle:
    """Of a hook that was registered: `remove()` it, or use it in a `with` block."""

    def __init__(self, hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> None:
        if not callable(hook):
            raise TypeError(f"hook must be a function, got {type(hook).__name__}")
        self._hooks, self._number = hooks, next(_numbers)
        hooks[self._number] = hook

    def remove(self) -> None:
        self._hooks.pop(self._number, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def call(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a module that has hooks."""
    for hook in [*module._forward_pre_hooks.values()]:
        changed = hook(module, args)
        if changed is not None:
            args = changed if isinstance(changed, tuple) else (changed,)
    backward = _Backward(module) if module._backward_hooks else None
    if backward:
        args = backward.enter(args)
    output = module.forward(*args, **kwargs)
    for hook in [*module._forward_hooks.values()]:
        changed = hook(module, args, output)
        if changed is not None:
            output = changed
    return backward.leave(output) if backward else output


def _through(value: Any) -> Any:
    """The value, with a node of its own where it may get a gradient."""
    if isinstance(value, Tensor) and value.requires_grad:
        return apply("reshape", value, shape=value.shape)
    return value


class _Backward:
    """Collects the gradients of one call's outputs and inputs, and calls the backward hooks.

    Inputs go through a node of their own, whose gradient is the part that comes from this module alone.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.grad_inputs: list[Tensor | None] = []
        self.grad_outputs: list[Tensor | None] = []
        self.waiting: list[int] = []  # places of the inputs whose gradients are still to come

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        passed = []
        self.grad_inputs = [None] * len(args)
        for place, value in enumerate(args):
            through = _through(value)
            if through is not value and through.requires_grad:
                through.register_hook(self._input_hook(place))
                self.waiting.append(place)
            passed.append(through)
        return tuple(passed)

    def leave(self, output: Any) -> Any:
        outputs = output if isinstance(output, tuple) else (output,)
        self.grad_outputs = [None] * len(outputs)
        passed = []
        for place, value in enumerate(outputs):
            through = _through(value)
            if through is not value and through.requires_grad:
                through.register_hook(self._output_hook(place))
            passed.append(through)
        return tuple(passed) if isinstance(output, tuple) else passed[0]

    def _output_hook(self, place: int) -> Callable[[Tensor], None]:
        def note(gradient: Tensor) -> None:
            self.grad_outputs[place] = gradient
            if not self.waiting:  # no input wants a gradient
                self._call()

        return note

    def _input_hook(self, place: int) -> Callable[[Tensor], Tensor | None]:
        def note(gradient: Tensor) -> Tensor | None:
            self.grad_inputs[place] = gradient
            if place == self.waiting[0]:  # entered first, so visited last
                self._call()
            return self.grad_inputs[place]

        return note

    def _call(self) -> None:
        for hook in [*self.module._backward_hooks.values()]:
            changed = hook(self.module, tuple(self.grad_inputs), tuple(self.grad_outputs))
            if changed is not None:
                given = changed if isinstance(changed, tuple) else (changed,)
                if len(given) != len(self.grad_inputs) or len(self.waiting) != 1:
                    raise RuntimeError(
                        f"a backward hook may return a gradient for each of the {len(self.grad_inputs)} inputs where "
                        f"one of them wants a gradient: it returned {len(given)}, {len(self.waiting)} want one"
                    )
                self.grad_inputs = list(given)
