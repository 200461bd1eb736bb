"""Finite differences of functions of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def random(like: Any, seed: int) -> np.ndarray:
    """Numbers of a standard normal distribution, as many as `like` has, of its dtype."""
    return np.random.default_rng(seed).standard_normal(like.shape).astype(like.dtype)


def weighted(arrays: Sequence[Any], factors: Sequence[Any]) -> float:
    """The sum of all elements times factors."""
    return float(sum(np.sum(a * factor) for a, factor in zip(arrays, factors)))


def wrong(
    value_at: Callable[[Any], float], x: Any, gradient: Any, eps: float, atol: float, rtol: float, fast: bool, seed: int
) -> tuple[tuple[int, ...] | str, float, float] | None:
    """(index, gradient, central difference) of the first element where they differ, or None.

    With `fast` one step in a random direction comes first; elements are looked at where it differs.
    """

    def differ(step: np.ndarray) -> float:
        return (value_at(x + step * eps) - value_at(x - step * eps)) / (2 * eps)

    def apart(ours: float, difference: float) -> bool:
        return not abs(ours - difference) <= atol + rtol * abs(difference)

    if fast and x.size:
        direction = random(x, seed + 101)
        ours, difference = float(np.sum(gradient * direction)), differ(direction)
        if not apart(ours, difference):
            return None
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = 1
        ours_here, difference_here = float(gradient[index]), differ(step)
        if apart(ours_here, difference_here):
            return index, ours_here, difference_here
    return ("along a random direction", ours, difference) if fast and x.size else None
