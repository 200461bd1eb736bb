"""A copy of a function that runs as plain Python, with what it calls, on recording arrays.

Numba's dispatchers are the functions under them, `prange` says which turn it is, and arrays that NumPy makes are
recorded too: those of `np.empty` hold NaN, or the largest integer.
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.lab.recording import Turns, bare, made_here, watched

_UNSET = (np.empty, np.empty_like)
_MAKERS = (*_UNSET, np.zeros, np.ones, np.full, np.zeros_like, np.ones_like, np.full_like, np.array, np.copy, np.arange)


class _Module:
    """A module of which some things are replaced."""

    def __init__(self, module: Any, replaced: Callable[[Any], Any]) -> None:
        self._module, self._replaced = module, replaced

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = self._replaced(getattr(self._module, name))
        return value


def _maker(make: Callable[..., Any], turns: Turns) -> Callable[..., Any]:
    """A function of NumPy that makes an array, which is recorded."""

    def made(*arguments: Any, **options: Any) -> Any:
        array = make(*map(_plain, arguments), **{name: _plain(value) for name, value in options.items()})
        if make in _UNSET:
            array.fill(np.iinfo(array.dtype).max if array.dtype.kind in "iu" else np.nan)
        return watched(array, made_here(), turns, unset=make in _UNSET)

    return made


def _plain(value: Any) -> Any:
    """What NumPy takes in place of a recorded array or a type of Numba."""
    from numba import types
    from numba.np.numpy_support import as_dtype

    return as_dtype(value) if isinstance(value, types.Type) else bare(value)


def recorded(function: Callable[..., Any], turns: Turns, parallel: bool) -> Callable[..., Any]:
    """The function as plain Python, with what it calls; `parallel` says whether Numba shares the turns of its loops."""
    import numba

    copies: dict[tuple[int, bool], Any] = {}

    def replaced(value: Any, parallel: bool) -> Any:
        if value is numba.prange:
            return turns.prange if parallel else range
        if value is numba.get_thread_id:
            turns.threads = vars(numba.config)["NUMBA_NUM_THREADS"]
            return turns.get_thread_id
        if value is np or value is numba:
            return _Module(value, lambda found: replaced(found, parallel))
        if any(value is make for make in _MAKERS):
            return _maker(value, turns)
        inner = getattr(value, "py_func", None) or value
        if not isinstance(inner, types.FunctionType):
            return value
        if (inner.__module__ or "").partition(".")[0] in ("numpy", "numba"):
            return value
        options = getattr(value, "targetoptions", None)
        return copied(inner, parallel if options is None else bool(options.get("parallel")))

    def copied(inner: types.FunctionType, parallel: bool) -> Any:
        if (id(inner), parallel) in copies:
            return copies[id(inner), parallel]
        names: dict[str, Any] = {"__builtins__": builtins, "__name__": inner.__module__}
        cells = tuple(types.CellType() for _ in inner.__closure__ or ())
        copy = types.FunctionType(inner.__code__, names, inner.__name__, inner.__defaults__, cells)
        copy.__kwdefaults__ = inner.__kwdefaults__
        copies[id(inner), parallel] = copy
        for name in names_in(inner.__code__) & inner.__globals__.keys():
            names[name] = replaced(inner.__globals__[name], parallel)
        for cell, original in zip(cells, inner.__closure__ or ()):
            try:
                cell.cell_contents = replaced(original.cell_contents, parallel)
            except ValueError:  # not filled yet
                continue
        return copy

    return copied(function, parallel)  # type: ignore[arg-type]


def names_in(code: types.CodeType) -> set[str]:
    """Names that code, and code within it, looks up."""
    inner = (names_in(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return {*code.co_names, *code.co_freevars}.union(*inner)


def uses_prange(function: Any) -> bool:
    """Whether a function has a loop over Numba's prange, by whatever name."""
    names = names_in(function.__code__)
    found = (function.__globals__.get(name) for name in names)
    return "prange" in names or any(getattr(value, "__name__", None) == "prange" for value in found)
