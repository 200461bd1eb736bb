"""The walk back over the tape: from the newest node to the oldest, gradients handed from outputs to inputs.

Whatever used a node's output was recorded later. So the newest node of those that have a gradient has the whole of it,
and sums are formed in the same order every time. Nodes wait in a heap: no recursion, whatever the depth.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

from numconv.autograd.node import Node
from numconv.autograd.operations import TABLE
from numconv.autograd.operators import Operators


def walk(
    apply: Callable[..., Any], wrap: Callable[..., Any], seeds: Iterable[tuple[Any, Any]],
    targets: Iterable[Any] | None, retain_graph: bool,
) -> tuple[dict[Any, Any], set[Any]]:  # fmt: skip
    """Gradients of what is behind some nodes.

    Parameters
    ----------
    apply, wrap : callable
        The tape's, which add gradients and make Tensors.
    seeds : pairs of Node or leaf, and gradient
        Where the walk starts.
    targets : Nodes and leaves, optional
        What gradients are wanted of: nothing else is computed. All leaves where left out.
    retain_graph : bool
        Whether nodes keep what they have.

    Returns
    -------
    dict, set
        Gradients by leaf or target; and those of them that share memory with something else.
    """
    seeds = list(seeds)
    ends = set(targets or ())
    leading = None if targets is None else _leading([link for link, _ in seeds], ends)
    wanted = None if leading is None else leading | ends
    arrived: dict[Any, Any] = {}
    shared: set[Any] = set()
    heap: list[tuple[int, Node]] = []

    def deliver(link: Any, gradient: Any, fresh: bool) -> None:
        if link not in arrived:
            arrived[link] = gradient
            if isinstance(link, Node):
                heapq.heappush(heap, (-link.order, link))
            if not fresh:
                shared.add(link)
        else:
            arrived[link] = apply("add", arrived[link], gradient)
            shared.discard(link)

    for link, gradient in seeds:
        deliver(link, gradient, False)
    found: dict[Any, Any] = {}
    while heap:
        node = heapq.heappop(heap)[1]
        gradient = arrived.pop(node)
        for hook in node.hooks or ():
            changed = hook(gradient)
            if changed is not None:
                gradient = changed
        tensor = node.retains and node.retains()
        if tensor is not None:
            tensor.grad = gradient if tensor.grad is None else apply("add", tensor.grad, gradient)
        if node in ends:
            found[node] = gradient
        if leading is None or node in leading:
            _step(apply, wrap, node, gradient, wanted, retain_graph, deliver)
    found.update(arrived)
    return found, shared


def _step(
    apply: Callable[..., Any], wrap: Callable[..., Any], node: Node, gradient: Any, wanted: set[Any] | None,
    retain_graph: bool, deliver: Callable[[Any, Any, bool], None],
) -> None:  # fmt: skip
    """Run one node's rule, and `deliver(Node or leaf, its gradient, whether this has memory of its own)` to each."""
    output, inputs = node.saved(wrap)
    links: Any = node.links
    needs = node.needs
    if wanted is not None:
        needs = tuple([need and link in wanted for need, link in zip(needs, links)])
    if not retain_graph:
        node.release()
    rule: Any = TABLE[node.operation].rule
    gradients: Any = rule(gradient, output, inputs, node.attributes, needs)
    if not isinstance(gradients, tuple) or len(gradients) != len(needs):
        raise ValueError(
            f"the rule of {node.operation!r} must give a tuple of {len(needs)} gradients, one an input, "
            f"got {gradients!r}"
        )
    value: Any
    for i, (link, need, value) in enumerate(zip(links, needs, gradients)):
        if not need or value is None:
            continue
        if not isinstance(value, Operators) or value.data.shape != link.shape:
            raise ValueError(
                f"the rule of {node.operation!r} must give input {i} a Tensor of its shape {link.shape} as gradient, "
                f"got {getattr(value, 'shape', value)}"
            )
        fresh = True
        if not isinstance(link, Node):  # of leaves only it matters, whose gradients the user gets
            outputs = output if isinstance(output, tuple) else (output,)
            fresh = not _shares(value, (gradient, *inputs, *outputs, *gradients[:i]))
        deliver(link, value if value.data.dtype == link.dtype else apply("astype", value, dtype=link.dtype), fresh)


def _shares(value: Any, others: tuple[Any, ...]) -> bool:
    """Whether a Tensor shares memory, with one of others or by a view."""
    counter = value.counter
    if counter[1]:
        return True
    for other in others:  # noqa: SIM110  (in a third of the time that `any` takes)
        if isinstance(other, Operators) and other.counter is counter:
            return True
    return False


def _leading(starts: list[Any], targets: set[Any]) -> set[Any]:
    """Nodes that have a target behind them."""
    nodes = {link for link in starts if isinstance(link, Node)}
    stack = list(nodes)
    while stack:
        for link in stack.pop().linked():
            if isinstance(link, Node) and link not in nodes:
                nodes.add(link)
                stack.append(link)
    leading: set[Any] = set()
    for node in sorted(nodes, key=lambda node: node.order):
        if any(link in leading or link in targets for link in node.linked()):
            leading.add(node)
    return leading
