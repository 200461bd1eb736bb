"""Which function runs: NumPy's for its arrays, that of a device for arrays of the device's type."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])
_tables: dict[type, dict[str, Callable[..., Any]]] = {}
_host: set[type] = {np.ndarray, type(None), int, float, bool, tuple, list, str}  # types of which no array is a device's


observer: Callable[[str, Any, Callable[[], Any]], Any] | None = None  # of calls on a GPU: see `numconv.tracing`


def observed(what: str, call: Any, function: Callable[..., Any], *operands: Any) -> Any:
    """`function(*operands)`, the part `what` of a call on a GPU, "pack" or "run": through the observer, if any."""
    if observer is None:
        return function(*operands)
    return observer(what, call, functools.partial(function, *operands))


def table(kind: type) -> dict[str, Callable[..., Any]]:
    """The functions for arrays of a type that is not NumPy's, by their names here; to be filled by the device."""
    _host.discard(kind)
    return _tables.setdefault(kind, {})


def on_gpu(*values: Any) -> bool:
    """Whether any of these is an array on a GPU, of whatever library."""
    return any(type(v) not in _host and (hasattr(v, "__cuda_array_interface__") or _numbas(v)) for v in values)


def _numbas(value: Any) -> bool:
    """Whether it is one of Numba's device arrays, of which those of the simulator have no interface."""
    return bool(getattr(type(value), "__cuda_ndarray__", False))


def _entries(value: Any) -> Any:
    """The table of an array's device; None for NumPy's arrays and for what is no array."""
    kind = type(value)
    if kind in _tables:
        return _tables[kind]
    if on_gpu(value):
        return gpu("functions").TABLE
    if not hasattr(kind, "__cuda_array_interface__"):  # PyTorch has one type for the host and the device
        _host.add(kind)
    return None


def gpu(subject: str) -> Any:
    """A module of `ops.cuda`. Loads it."""
    return importlib.import_module(f"numconv.ops.cuda.{subject}")


def by_device(function: F) -> F:
    """`function` for NumPy's arrays; for those of a device what its table has under this name."""
    name = function.__name__

    @functools.wraps(function)
    def call(*operands: Any, **options: Any) -> Any:
        for operand in operands:
            if type(operand) not in _host:
                entries = _entries(operand)
                if entries is not None:
                    return entries[name](*operands, **options)
        for option in options.values():
            if type(option) not in _host:
                entries = _entries(option)
                if entries is not None:
                    return entries[name](*operands, **options)
        result = function(*operands, **options)
        return np.asarray(result) if isinstance(result, np.generic) else result

    return call  # type: ignore[return-value]


def by_device_of_first(function: F) -> F:
    """`by_device` for a function of lists of arrays: where the first list's first array lies."""
    name = function.__name__

    @functools.wraps(function)
    def call(arrays: Any, *others: Any, **options: Any) -> Any:
        if arrays and type(arrays[0]) not in _host:
            entries = _entries(arrays[0])
            if entries is not None:
                return entries[name](arrays, *others, **options)
        return function(arrays, *others, **options)

    return call  # type: ignore[return-value]


def on_host(name: str, value: Any) -> np.ndarray:
    """`value` as an array of NumPy, but not by a copy from a GPU."""
    if type(value) not in _host and on_gpu(value):
        raise TypeError(f"{name} is on a GPU, and this operation runs on the CPU: copy it to the host first")
    return np.asarray(value)


def is_array(value: Any) -> bool:
    """Whether `value` is an array of NumPy or of a device, not a number or a list."""
    return isinstance(value, (np.ndarray, np.generic)) or type(value) in _tables or on_gpu(value)
