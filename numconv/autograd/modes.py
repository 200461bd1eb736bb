"""Whether operations are recorded, and who listens to them; each thread has its own state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from contextvars import ContextVar, Token
from typing import Any

grad_mode: ContextVar[bool] = ContextVar("numconv_grad_mode", default=True)
listener: ContextVar[Callable[..., Any] | None] = ContextVar("numconv_tape_listener", default=None)


class set_grad_enabled(ContextDecorator):
    """Record operations, or do not, within a `with` block or a decorated function."""

    def __init__(self, mode: bool) -> None:
        self._mode = bool(mode)
        self._tokens: list[Token[bool]] = []

    def _recreate_cm(self) -> set_grad_enabled:
        return set_grad_enabled(self._mode)

    def __enter__(self) -> None:
        self._tokens.append(grad_mode.set(self._mode))

    def __exit__(self, *error: object) -> None:
        grad_mode.reset(self._tokens.pop())


class no_grad(set_grad_enabled):
    """Record nothing: results want no gradient. A `with` block or a decorator."""

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(set_grad_enabled):
    """Record again within `no_grad`. A `with` block or a decorator."""

    def __init__(self) -> None:
        super().__init__(True)


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread."""
    return grad_mode.get()


@contextmanager
def record(listen: Callable[[str, tuple[Any, ...], dict[str, Any], Any], None]) -> Iterator[None]:
    """Call `listen(operation, inputs, attributes, result)` after each operation within the `with` block.

    Inputs are what `apply` was given: Tensors, bare arrays, numbers, None. The result is a Tensor, or a tuple of them.
    It hears operations whether they are recorded for gradients or not.
    """
    token = listener.set(listen)
    try:
        yield
    finally:
        listener.reset(token)
