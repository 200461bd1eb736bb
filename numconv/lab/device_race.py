"""Time ways of computing one thing on a GPU, in turn, by the device's own clock.

Launches are asynchronous: a call is timed by events around many of them, so that the host's part shows only where it is
longer than the device's. The fastest of several rounds counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numconv.lab.timing import Contender, Timing, checked

LEAST = 10  # launches of a measurement
COPIED = 1 << 30  # bytes of the array whose copy gives the memory's bandwidth


def seconds_of(call: Callable[[], Any], budget: float, rounds: int = 1) -> float:
    """Seconds of a call on the current device: the best of some rounds of about `budget` seconds each."""
    from numba import cuda

    start, end = cuda.event(), cuda.event()

    def measured(launches: int) -> float:
        start.record()
        for _ in range(launches):
            call()
        end.record()
        end.synchronize()
        return cuda.event_elapsed_time(start, end) / 1e3 / launches

    launches = max(LEAST, min(int(budget / max(measured(LEAST), 1e-7)), 10_000))
    return min(measured(launches) for _ in range(rounds))


def device_race(
    contenders: Sequence[Contender],
    expected: np.ndarray,
    scale: float,
    *,
    tolerance: float,
    rounds: int = 5,
    budget: float = 0.05,
    clock: Callable[[Callable[[], Any], float], float] = seconds_of,
    progress: Callable[[], object] = lambda: None,
) -> list[Timing]:
    """As `timing.race`, by the device's clock; `first` of a timing is that of the host."""
    timings = [checked(contender, expected, scale, tolerance) for contender in contenders]
    running = [pair for pair in zip(contenders, timings) if pair[1].seconds == math.inf]
    for _ in range(rounds):
        for contender, timing in running:
            timing.seconds = min(timing.seconds, clock(contender.call, budget))
            progress()
    return timings


def copy_bandwidth() -> float:
    """Bytes a second, read and written together, of a copy on the current device."""
    from numba import cuda

    source, target = (cuda.device_array(COPIED, np.uint8) for _ in range(2))
    return 2 * COPIED / seconds_of(lambda: target.copy_to_device(source), 0.1, 3)
