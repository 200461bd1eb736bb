"""Time several ways of computing one thing, in turn, after checking that they agree."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Threads of one contender go on spinning for a while after its last call and would slow the next one.
PAUSE_SECONDS = 0.02


@dataclass
class Contender:
    """A way of computing: `call` does it, `read` makes an array of what it returns."""

    name: str
    call: Callable[[], Any]
    ours: bool = False
    read: Callable[[Any], np.ndarray] = np.asarray


@dataclass
class Timing:
    """What one contender reached.

    Attributes
    ----------
    first : float
        Seconds of the first call: compiling, or loading what an earlier process compiled, is in it.
    seconds : float
        The fastest call of all rounds; NaN where the result was wrong.
    error : float
        max|difference from what was expected| / scale.
    """

    name: str
    ours: bool
    first: float
    error: float
    seconds: float = math.nan


def race(
    contenders: Sequence[Contender],
    expected: np.ndarray,
    scale: float,
    *,
    tolerance: float,
    rounds: int = 5,
    budget: float = 0.05,
    progress: Callable[[], object] = lambda: None,
) -> list[Timing]:
    """Check each contender's result, then time all that are right: every round asks each in turn.

    Parameters
    ----------
    contenders : sequence of Contender
    expected : numpy.ndarray
        The right result.
    scale : float
        What errors are divided by: for a convolution the largest value of |x| convolved with |weight|.
    tolerance : float
        A contender with a larger error, or NaN, is not timed.
    rounds : int
    budget : float
        Seconds for one contender in one round, at least one call.
    progress : callable
        Called after each first call and after each round.

    Returns
    -------
    list of Timing
        In the order of the contenders.
    """
    timings, running = [], []
    for contender in contenders:
        start = time.perf_counter()
        result = contender.call()
        first = time.perf_counter() - start
        error = float(np.max(np.abs(contender.read(result) - expected), initial=0)) / scale
        timings.append(Timing(contender.name, contender.ours, first, error))
        if error <= tolerance:
            timings[-1].seconds = math.inf
            running.append((contender, timings[-1]))
        progress()
    for _ in range(rounds):
        for contender, timing in running:
            time.sleep(PAUSE_SECONDS)
            timing.seconds = min(timing.seconds, fastest(contender.call, budget))
        progress()
    return timings


def fastest(call: Callable[[], Any], budget: float) -> float:
    """Seconds of the fastest of as many calls as `budget` seconds hold, at least one."""
    best, end = math.inf, time.perf_counter() + budget
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - start)
        if now >= end:
            return best
