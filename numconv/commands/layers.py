"""Layers of known networks by name: which shapes a pattern means, and what each asks."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Any


def shapes(pattern: str, quick: bool) -> list[tuple[str, Any]]:
    """(family, shape) of all that match the pattern; when quick one of each family, the smallest.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = list(_matching(pattern, quick))
    if not found:
        raise ValueError(f"PATTERN: no family or shape is called {pattern!r}")
    return found


def _matching(pattern: str, quick: bool) -> Iterator[tuple[str, Any]]:
    from numconv.lab.shapes import FAMILIES, RESNET50

    wanted = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    for family, members in {"resnet50": RESNET50, **FAMILIES}.items():
        matching = [s for s in members if fnmatch.fnmatch(f"{family}/{s.name}", wanted)]
        if quick and matching:
            matching = [min(matching, key=lambda s: problem(s).multiply_adds)]
        yield from ((family, shape) for shape in matching)


def operation(shape: Any) -> str:
    """The public function of a shape."""
    return f"conv{'_transpose' if shape.transposed else ''}{len(shape.kernel)}d"


def problem(shape: Any, dtype: str = "float32") -> Any:
    """The ConvProblem of a shape."""
    from numconv.problem import ConvProblem

    return ConvProblem.make(operation(shape), shape.x, shape.weight, dtype, **shape.options)
