"""Train or be used, for the length of a `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from numconv.nn._module import Module


@contextmanager
def mode(model: Module, training: bool) -> Iterator[None]:
    """Let a model train, or be used, within the `with` block; afterwards each module is as it was."""
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was in before:
            module.training = was
