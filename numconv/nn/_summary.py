"""`Module.summary`: one forward pass, with an eye on which operations ran in which module.

The receptive field of a result is how many positions of the input it depends on along each axis:

    field += (kernel - 1) dilation jump;  jump *= stride

where operands meet, the largest of their fields counts. What was computed from the whole picture and then spread over
it (normalisation, a gate of squeeze and excitation) is left out.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from numconv.autograd.modes import no_grad, record
from numconv.autograd.tape import Tensor
from numconv.problem import per_axis

_TAPS = {"nearest": 1, "nearest-exact": 1, "area": 1, "bicubic": 4}  # positions that a result is made of; others 2


class Row(NamedTuple):
    """A layer: its dotted name, class, results' shape, parameters, multiply-adds, receptive field (inf: everything)."""

    name: str
    kind: str
    shape: Any
    parameters: int
    multiply_adds: int
    field: tuple[float, ...] | None


class Summary:
    """What `Module.summary` gives: str() is the table.

    Attributes
    ----------
    rows : list of Row
        A layer each, in the order of its calls.
    parameters, trainable : int
        Numbers that the model holds, and that it learns; shared ones are counted once.
    multiply_adds : int
    """

    def __init__(self, rows: list[Row], parameters: int, trainable: int) -> None:
        self.rows, self.parameters, self.trainable = rows, parameters, trainable
        self.multiply_adds = sum(row.multiply_adds for row in rows)

    def __str__(self) -> str:
        table: list[tuple[str, ...]] = [("layer", "result", "parameters", "multiply-adds", "receptive field")]
        for row in self.rows:
            name = f"{row.name}: {row.kind}" if row.name else row.kind
            counts = [f"{n:,}" if n else "" for n in (row.parameters, row.multiply_adds)]
            table.append((name, _shape_text(row.shape), *counts, _field_text(row.field)))
        widths = [max(map(len, column)) for column in zip(*table)]
        lines = [
            f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}  {e}".rstrip()
            for a, b, c, d, e in table
        ]
        rule = "-" * max(map(len, lines))
        frozen = f", {self.trainable:,} of them learned" if self.trainable != self.parameters else ""
        total = f"{self.parameters:,} parameters{frozen}; {self.multiply_adds:,} multiply-adds"
        return "\n".join([lines[0], rule, *lines[1:], rule, total])

    __repr__ = __str__


class _Sight(NamedTuple):
    """What a result sees of the input along each spatial axis, how far apart neighbours look, whether made flat."""

    field: tuple[float, ...]
    jump: tuple[float, ...]
    flat: bool


class _Watch:
    """Hears operations and modules."""

    def __init__(self) -> None:
        self.sights: dict[int, tuple[weakref.ref[Tensor], _Sight]] = {}
        self.stack: list[int] = []  # places in counts, of the modules that run
        self.counts: list[int] = []  # multiply-adds of each call of a module, without those in it

    def sight(self, tensor: Any) -> _Sight | None:
        known = self.sights.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def see(self, tensor: Tensor, sight: _Sight) -> None:
        self.sights[id(tensor)] = weakref.ref(tensor), sight

    def hear(self, name: str, inputs: tuple[Any, ...], attributes: dict[str, Any], result: Any) -> None:
        """Count an operation, and follow what its results see."""
        results = result if isinstance(result, tuple) else (result,)
        self.counts[self.stack[-1]] += _multiply_adds(name, inputs, results[0])
        seen = [(s, i) for i in inputs if (s := self.sight(i)) is not None]
        if seen:
            local = [(s, i) for s, i in seen if s.flat or math.prod(i.shape[2:]) > 1] or seen
            field = tuple(max(column) for column in zip(*(s.field for s, _ in local)))
            jump = tuple(max(column) for column in zip(*(s.jump for s, _ in local)))
            sight = _Sight(field, jump, any(s.flat for s, _ in local))
            for tensor in results:
                self.see(tensor, _after(name, inputs, attributes, results[0], sight))


def _multiply_adds(name: str, inputs: tuple[Any, ...], result: Tensor) -> int:
    if name.startswith("conv") and name.endswith("d"):
        swept = inputs[0] if "transpose" in name else result
        return math.prod(swept.shape) * math.prod(inputs[1].shape[1:])
    if name == "linear":
        return math.prod(result.shape) * inputs[1].shape[-1]
    return math.prod(result.shape) * inputs[0].shape[-1] if name == "matmul" else 0


def _after(name: str, inputs: tuple[Any, ...], attributes: dict[str, Any], result: Tensor, sight: _Sight) -> _Sight:
    """What the result of an operation sees, whose operands see `sight`."""
    ndim, shape = len(sight.field), inputs[0].shape
    whole = _Sight((math.inf,) * ndim, sight.jump, sight.flat)
    if name.startswith("global_") or (name in ("linear", "matmul") and sight.flat):
        return whole
    if name in ("reshape", "mean", "sum", "amax", "amin") and len(result.shape) < ndim + 2 and not sight.flat:
        reduced = name != "reshape" and math.prod(shape[2:]) > 1
        return whole if reduced else sight._replace(flat=math.prod(shape[2:]) > 1)
    if len(result.shape) != ndim + 2:
        return sight
    ratio = [n / max(m, 1) for n, m in zip(shape[2:], result.shape[2:])]
    if "adaptive" in name:
        return _grown(sight, [math.inf if m == 1 else math.ceil(r) for r, m in zip(ratio, result.shape[2:])], ratio)
    if name == "interpolate":
        return _grown(sight, [_TAPS.get(attributes.get("mode", "nearest"), 2)] * ndim, ratio)
    if name == "pixel_shuffle":
        return _grown(sight, [1] * ndim, ratio)
    if name.startswith("conv") and name.endswith("d"):
        kernel = inputs[1].shape[2:]
    elif "pool" in name and "kernel_size" in attributes and "unpool" not in name:
        kernel = per_axis("kernel_size", attributes["kernel_size"], ndim)
    else:
        return sight
    stride = per_axis("stride", kernel if attributes.get("stride") is None else attributes["stride"], ndim)
    dilation = per_axis("dilation", attributes.get("dilation", 1), ndim)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    if "transpose" in name:
        return _grown(sight, [math.ceil(r / s) for r, s in zip(reach, stride)], [1 / s for s in stride])
    return _grown(sight, reach, stride)


def _grown(sight: _Sight, reach: Sequence[float], stride: Sequence[float]) -> _Sight:
    """After windows of `reach` positions, `stride` apart."""
    field = tuple(f + (r - 1) * j for f, r, j in zip(sight.field, reach, sight.jump))
    return _Sight(field, tuple(j * s for j, s in zip(sight.jump, stride)), sight.flat)


def summarize(module: Any, input_shape: tuple[int, ...], dtype: Any) -> Summary:
    """See `Module.summary`. The model is used, not trained, and left as it was."""
    first = next(module.parameters(), None)
    x = Tensor(np.zeros(input_shape, (np.float32 if first is None else first.dtype) if dtype is None else dtype))
    watch, handles, rows = _Watch(), [], []
    ndim = max(x.ndim - 2, 0)
    watch.see(x, _Sight((1,) * ndim, (1,) * ndim, False))
    counted: set[int] = set()

    def enter(inner: Any, inputs: Any) -> None:
        watch.stack.append(len(watch.counts))
        watch.counts.append(0)

    def leave(name: str) -> Any:
        def left(inner: Any, inputs: Any, output: Any) -> None:
            count = watch.counts[watch.stack.pop()]
            own = [p for p in inner.parameters(recurse=False) if id(p) not in counted]
            counted.update(map(id, own))
            if own or count or not inner._modules:
                sight = watch.sight(output[0] if isinstance(output, tuple) else output)
                field = sight.field if sight and sight.field else None
                rows.append(Row(name, type(inner).__name__, _shapes(output), sum(p.numel() for p in own), count, field))

        return left

    modes = [(inner, inner.training) for inner in module.modules()]
    try:
        for name, inner in module.named_modules():
            inner.training = False
            handles += [inner.register_forward_pre_hook(enter), inner.register_forward_hook(leave(name))]
        with no_grad(), record(watch.hear):
            module(x)
    finally:
        for handle in handles:
            handle.remove()
        for inner, mode in modes:
            inner.training = mode
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return Summary(rows, sum(n for n, _ in sizes), sum(n for n, learned in sizes if learned))


def _shapes(output: Any) -> Any:
    return [_shapes(o) for o in output] if isinstance(output, (tuple, list)) else getattr(output, "shape", None)


def _shape_text(shape: Any) -> str:
    if isinstance(shape, list):
        return ", ".join(map(_shape_text, shape))
    return "" if shape is None else "x".join(map(str, shape))


def _field_text(field: tuple[float, ...] | None) -> str:
    if field is None:
        return ""
    if math.inf in field:
        return "all"
    return "x".join(f"{f:g}" for f in field)
