"""A copy of a function that runs as plain Python, with what it calls, on recording arrays.

Numba's dispatchers are the functions under them, `prange` says which turn it is, and arrays that NumPy makes are
recorded too.
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.lab.recording import Turns, bare, caller, watched

_MAKERS = ("zeros", "empty", "ones", "full", "zeros_like", "empty_like", "ones_like", "full_like")


class _NumPy:
    """NumPy whose new arrays are recorded."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if name not in _MAKERS:
            return found

        def make(*arguments: Any, **options: Any) -> Any:
            made = found(*map(bare, arguments), **options)
            return watched(made, f"the array of line {caller()[1]}", self._turns)

        return make


class _Module:
    """Another module, with a recorded prange."""

    def __init__(self, module: Any, turns: Turns) -> None:
        self._module, self.prange = module, turns.prange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def recorded(function: Callable[..., Any], turns: Turns) -> Callable[..., Any]:
    """The function as plain Python, with what it calls."""
    import numba

    copies: dict[int, Any] = {}

    def replaced(value: Any) -> Any:
        if value is numba.prange:
            return turns.prange
        if value is np:
            return _NumPy(turns)
        if value is numba:
            return _Module(numba, turns)
        inner = getattr(value, "py_func", None) or value
        if not isinstance(inner, types.FunctionType) or inner.__module__.partition(".")[0] in ("numpy", "numba"):
            return value
        return copied(inner)

    def copied(inner: types.FunctionType) -> Any:
        if id(inner) in copies:
            return copies[id(inner)]
        names: dict[str, Any] = {"__builtins__": builtins, "__name__": inner.__module__}
        cells = tuple(types.CellType() for _ in inner.__closure__ or ())
        copy = types.FunctionType(inner.__code__, names, inner.__name__, inner.__defaults__, cells)
        copy.__kwdefaults__ = inner.__kwdefaults__
        copies[id(inner)] = copy
        for name in _names(inner.__code__) & inner.__globals__.keys():
            names[name] = replaced(inner.__globals__[name])
        for cell, original in zip(cells, inner.__closure__ or ()):
            try:
                cell.cell_contents = replaced(original.cell_contents)
            except ValueError:  # not filled yet
                continue
        return copy

    return copied(function)  # type: ignore[arg-type]


def _names(code: types.CodeType) -> set[str]:
    """Names that code, and code within it, looks up."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)
