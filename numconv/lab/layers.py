"""Layers of known networks by name, and those of any model: which problems they ask."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from numconv.lab.shapes import FAMILIES, POOLINGS, RESNET50, Pooling
from numconv.problem import LAST, ConvProblem, PoolProblem, layout_of


@dataclass(frozen=True)
class Layer:
    """A problem, what it is called, and how often its network has it."""

    name: str
    problem: ConvProblem | PoolProblem
    count: int = 1

    def __repr__(self) -> str:
        return f"<Layer {self.name!r}: {self.count} x {self.problem.brief}>"


def families() -> dict[str, Sequence[Any]]:
    """The convolutions of every family."""
    return {"resnet50": RESNET50, **FAMILIES}


def shapes(pattern: str, quick: bool, among: dict[str, Sequence[Any]] | None = None) -> list[tuple[str, Any]]:
    """(family, shape) of all that match the pattern; when quick one of each family, the smallest.

    Parameters
    ----------
    pattern : str
        A part of ``family/name``, or with wildcards all of it.
    quick : bool
    among : dict, optional
        Shapes by family; left out: all families.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = list(_matching(pattern, quick, among or families()))
    if not found:
        raise ValueError(f"PATTERN: no family or shape is called {pattern!r}")
    return found


def _matching(pattern: str, quick: bool, among: dict[str, Sequence[Any]]) -> Iterator[tuple[str, Any]]:
    wanted = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    for family, members in among.items():
        matching = [s for s in members if fnmatch.fnmatch(f"{family}/{s.name}", wanted)]
        if quick and matching:
            matching = [min(matching, key=_work)]
        yield from ((family, shape) for shape in matching)


def _work(shape: Any) -> int:
    """Multiplications of a convolution, elements of a pooling."""
    return problem(shape).multiply_adds if hasattr(shape, "weight") else math.prod(shape.x)


def operation(shape: Any) -> str:
    """The public function of a shape."""
    if isinstance(shape, Pooling):
        return shape.operation
    return f"conv{'_transpose' if shape.transposed else ''}{len(shape.kernel)}d"


def problem(shape: Any, dtype: Any = "float32", data_format: str | None = None) -> Any:
    """The problem of a shape."""
    last = layout_of(data_format, len(shape.x) - 2) == LAST
    size = (shape.x[0], *shape.x[2:], shape.x[1]) if last else shape.x
    options = {**shape.options, "data_format": data_format}
    if isinstance(shape, Pooling):
        return PoolProblem.make(shape.operation, size, dtype, **options)
    return ConvProblem.make(operation(shape), size, shape.weight, dtype, **options)


def layers(
    asked: Any, *, quick: bool = False, batch: int = 1, dtype: Any = "float32", data_format: str | None = None
) -> list[Layer]:
    """What is asked, as layers.

    Parameters
    ----------
    asked : ConvProblem, PoolProblem, Layer, str, or a sequence of them
        A text names shapes as `shapes` takes them, poolings among them.
    quick, batch, dtype, data_format
        Of shapes that are named: one of each family; images; dtype and layout of the arrays.

    Raises
    ------
    ValueError, TypeError
        If nothing has such a name, or it is none of these.
    """
    if isinstance(asked, Layer):
        return [asked]
    if isinstance(asked, (ConvProblem, PoolProblem)):
        return [Layer(asked.brief, asked)]
    if isinstance(asked, str):
        named = shapes(asked, quick, {**families(), "pooling": POOLINGS})
        return [
            Layer(f"{family}/{shape.name}", problem(shape.batch(batch), dtype, data_format), shape.count)
            for family, shape in named
        ]
    if not isinstance(asked, Iterable):
        raise TypeError(
            f"problem must be a ConvProblem, a PoolProblem, the name of shapes, or a list of them, got {asked!r}"
        )
    options: dict[str, Any] = {"quick": quick, "batch": batch, "dtype": dtype, "data_format": data_format}
    return [layer for each in asked for layer in layers(each, **options)]


def problems(model: Any, input_shape: Sequence[int], *, dtype: Any = np.float32) -> list[Layer]:
    """Every convolution and pooling of a model, found by running it once under `numconv.trace`.

    Parameters
    ----------
    model : Module or str
        A module, which is run in eval mode and left as it was, or the name of one of `numconv.models`.
    input_shape : sequence of int
        Of what the model takes, with the batch.
    dtype : dtype
        Of that.

    Returns
    -------
    list of Layer
        With `name`, `problem` and `count`: layers that ask the same are one, which has the name of the first.

    Raises
    ------
    TypeError
        If `model` is neither.
    ValueError
        If there is no model of that name, or it has neither convolution nor pooling.

    Examples
    --------
    >>> from numconv import lab
    >>> [layer.name for layer in lab.problems("lenet5", (1, 1, 32, 32))]
    ['features.0', 'features.2', 'features.3', 'features.5']
    """
    from numconv import models, nn
    from numconv.autograd import Tensor, no_grad
    from numconv.tracing import trace
    from numconv.tracing.records import thread_number

    if isinstance(model, str):
        model = models.get(model)
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a numconv.nn.Module or the name of a model, got {type(model).__name__}")
    x = Tensor(np.random.default_rng(0).standard_normal(tuple(input_shape)).astype(dtype))
    training = [module for module in model.modules() if module.training]
    try:
        with no_grad(), trace() as seen:
            model.eval()(x)
    finally:
        for module in training:
            module.training = True
    found: dict[Any, Layer] = {}
    for call in seen.calls:
        if call.thread != thread_number():
            continue
        name = call.layer or call.problem.brief
        before = found.get(call.problem, Layer(name, call.problem, 0))
        found[call.problem] = replace(before, count=before.count + 1)
    if not found:
        raise ValueError(f"model must have a convolution or a pooling, got {type(model).__name__}")
    return list(found.values())
