"""What problems of both kinds are: values that are pickled, said in few words, and keep what was made of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np


def remembered(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Decorate a function of a problem: its value is kept with the problem, where it is found without hashing."""

    @functools.wraps(function)
    def found(problem: Any) -> Any:
        try:
            return problem.memo[function]
        except KeyError:
            value = problem.memo[function] = function(problem)
            return value

    return found


def made_anew(problem: Any) -> tuple[type, tuple[Any, ...]]:
    """How a problem is pickled: hashes of strings differ between processes, and what is remembered stays here."""
    return type(problem), tuple(getattr(problem, f.name) for f in fields(problem) if f.init)


def briefly(
    problem: Any, first: Sequence[int], last: Sequence[int], channels_last: bool, more: Sequence[str] = ()
) -> str:
    """A problem in a few words; `first` and `last` are channels and spatial sizes of what comes in and goes out."""
    stride = f"/{_once(problem.stride)}" if set(problem.stride) != {1} else ""
    words = [f"{problem.operation} {_times(problem.kernel)}{stride} {_times((problem.n, *first))} -> {_times(last)}"]
    words += [f"d{_once(problem.dilation)}"] if set(problem.dilation) != {1} else []
    words += more
    words += [problem.dtype.name] if problem.dtype != np.float32 else []
    words += ["last"] if channels_last else []
    return " ".join(words)


def _times(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def _once(numbers: Sequence[int]) -> str:
    """One number where all are alike."""
    return str(numbers[0]) if len(set(numbers)) == 1 else _times(numbers)
