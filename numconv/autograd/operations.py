"""The table of operations: under each name how it is computed on bare arrays, and the rule of its gradient.

A rule is a plain function `rule(grad, output, inputs, attributes, needs)` that gives a gradient, or None, for each
input. `grad`, `output` and `inputs` are Tensors, and all that it does with them is operations again, so that gradients
have gradients. A forward that returns a tuple has one result, the first; what follows is handed to the rule with it,
as a tuple in place of `output`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

OUTPUT = -1  # in `reads`: the result


class Operation:
    """What the table holds under a name; see `operation`."""

    __slots__ = ("_kept", "forward", "name", "reads", "rule", "view")

    def __init__(
        self, name: str, forward: Callable[..., Any], rule: Callable[..., Any] | None,
        reads: Sequence[Sequence[int]] | None, view: bool,
    ) -> None:  # fmt: skip
        self.name, self.forward, self.rule, self.view = name, forward, rule, view
        self.reads = None if reads is None else tuple(map(tuple, reads))
        self._kept: dict[tuple[bool, ...], tuple[tuple[bool, ...], bool]] = {}

    def kept(self, needs: tuple[bool, ...]) -> tuple[tuple[bool, ...], bool]:
        """(whether each input, whether the output) must be kept for the gradients of the inputs that want one."""
        kept = self._kept.get(needs)
        if kept is None:
            if self.reads is None:
                read = {OUTPUT, *range(len(needs))}
            else:
                read = {i for need, places in zip(needs, self.reads) if need for i in places}
            kept = self._kept[needs] = tuple(i in read for i in range(len(needs))), OUTPUT in read
        return kept


TABLE: dict[str, Operation] = {}


def operation(
    name: str,
    forward: Callable[..., Any],
    rule: Callable[..., Any] | None,
    *,
    reads: Sequence[Sequence[int]] | None = None,
    view: bool = False,
) -> None:
    """Add an operation to the tape, or replace one: `apply(name, *inputs, **attributes)` runs it.

    Parameters
    ----------
    name : str
    forward : callable
        `forward(*arrays, **attributes)`, on bare arrays; gives the result, or a tuple of it and what else the rule
        wants to see.
    rule : callable or None
        `rule(grad, output, inputs, attributes, needs)`: a tuple with a Tensor or None for each input. `needs` says
        which inputs want a gradient. None where there is no gradient.
    reads : sequence of sequences of int, optional
        For each input, which values its gradient is made of: places of inputs, and `OUTPUT`. What no rule reads is not
        kept until `backward`. Everything, where left out; nothing, for inputs beyond the sequence's end.
    view : bool
        Whether the result may share memory with the first input.

    Examples
    --------
    >>> from numconv.autograd import Tensor, apply
    >>> operation("cube", lambda x: x**3, lambda grad, output, inputs, attributes, needs: (grad * inputs[0] ** 2 * 3,))
    >>> apply("cube", Tensor(2.0)).item()
    8.0
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"name must be a string, got {name!r}")
    if not callable(forward) or not (rule is None or callable(rule)):
        raise TypeError(f"forward must be a function, and rule one or None, got {forward!r} and {rule!r}")
    TABLE[name] = Operation(name, forward, rule, reads, view)
