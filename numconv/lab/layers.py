"""Layers of known networks by name: which shapes a pattern means, and what each asks."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator, Sequence
from typing import Any


def families() -> dict[str, Sequence[Any]]:
    """The shapes of every family."""
    from numconv.lab.shapes import FAMILIES, RESNET50

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
    return f"conv{'_transpose' if shape.transposed else ''}{len(shape.kernel)}d"


def problem(shape: Any, dtype: str = "float32") -> Any:
    """The ConvProblem of a shape."""
    from numconv.problem import ConvProblem

    return ConvProblem.make(operation(shape), shape.x, shape.weight, dtype, **shape.options)
