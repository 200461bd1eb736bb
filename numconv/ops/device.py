"""Which function runs: NumPy's for its arrays, that of a device for arrays of the device's type."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])
_tables: dict[type, dict[str, Callable[..., Any]]] = {}


def table(kind: type) -> dict[str, Callable[..., Any]]:
    """The functions for arrays of a type that is not NumPy's, by their names here; to be filled by the device."""
    return _tables.setdefault(kind, {})


def by_device(function: F) -> F:
    """`function` for NumPy's arrays; for those of a device what its table has under this name."""
    name = function.__name__

    @functools.wraps(function)
    def call(*operands: Any, **options: Any) -> Any:
        if _tables:
            for operand in operands:
                entries = _tables.get(type(operand))
                if entries is not None:
                    return entries[name](*operands, **options)
        result = function(*operands, **options)
        return np.asarray(result) if isinstance(result, np.generic) else result

    return call  # type: ignore[return-value]


def is_array(value: Any) -> bool:
    """Whether `value` is an array of NumPy or of a device, not a number or a list."""
    return isinstance(value, (np.ndarray, np.generic)) or type(value) in _tables
