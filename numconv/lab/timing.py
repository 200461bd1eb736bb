"""Time several ways of computing one thing, in turn, after checking that they agree.

`race` asks contenders in this process; `race_apart` asks crews in processes of their own, so that neither the threads
nor the memory of one can slow another.
"""

from __future__ import annotations

import math
import multiprocessing
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numconv.problem import integer

# Threads of one contender go on spinning for a while after its last call and would slow the next one.
PAUSE_SECONDS = 0.02


@dataclass
class Contender:
    """A way of computing: `call` does it, `read` makes an array of what it returns.

    `check`, where there is one, is called first and its result compared: the same, into memory that holds no result.
    """

    name: str
    call: Callable[[], Any]
    ours: bool = False
    read: Callable[[Any], np.ndarray] = np.asarray
    check: Callable[[], Any] | None = None


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
    failure : str
        What the first call raised, or "".
    """

    name: str
    ours: bool
    first: float
    error: float
    seconds: float = math.nan
    failure: str = ""


def timed_for(rounds: int | None, seconds: float | None, usual: tuple[int, float]) -> tuple[int, float]:
    """How many rounds, and the seconds of one in each: what is asked, or what is usual.

    Raises
    ------
    TypeError, ValueError
        If they are no numbers, or too small.
    """
    rounds = usual[0] if rounds is None else integer("rounds", rounds, 1)
    seconds = usual[1] if seconds is None else seconds
    if not seconds > 0:
        raise ValueError(f"seconds must be above 0, got {seconds!r}")
    return rounds, seconds


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

    One that raises is not timed; its `failure` says what.

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
        timings.append(checked(contender, expected, scale, tolerance))
        if timings[-1].seconds == math.inf:
            running.append((contender, timings[-1]))
        progress()
    for contender, _ in running:
        if contender.check is not None:
            contender.call()  # which another one stood for
    for _ in range(rounds):
        for contender, timing in running:
            time.sleep(PAUSE_SECONDS)
            timing.seconds = min(timing.seconds, fastest(contender.call, budget))
        progress()
    return timings


def checked(contender: Contender, expected: np.ndarray, scale: float, tolerance: float) -> Timing:
    """A contender's first call: what it took and how wrong it is; `seconds` is infinite where it may be timed."""
    start = time.perf_counter()
    try:
        result = (contender.check or contender.call)()
        first = time.perf_counter() - start
        error = float(np.max(np.abs(contender.read(result) - expected), initial=0)) / scale
    except Exception as raised:
        failure = f"{type(raised).__name__}: {raised}"
        return Timing(contender.name, contender.ours, math.nan, math.nan, failure=failure)
    return Timing(contender.name, contender.ours, first, error, math.inf if error <= tolerance else math.nan)


class Crew:
    """Contenders in a process of their own, which works only while it is asked. A context manager.

    Parameters
    ----------
    name : str
    make : callable
        A module's function: ``make(*task)`` gives the contenders for a task. It runs in the other process.
    ours : bool
    """

    def __init__(self, name: str, make: Callable[..., Sequence[Contender]], ours: bool = False) -> None:
        self.name = name
        self.ours = ours
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make), daemon=True)
        self._process.start()
        other.close()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()
        self._process.join(10)

    def results(self, *task: Any) -> list[tuple[str, float, np.ndarray]]:
        """(name, seconds of the first call, result) of each contender for a task."""
        return self._ask(task)

    def seconds(self, budget: float) -> list[float]:
        """The fastest call of each contender, in `budget` seconds each."""
        return self._ask(budget)

    def _ask(self, request: Any) -> Any:
        self._connection.send(request)
        try:
            answer = self._connection.recv()
        except EOFError:
            raise RuntimeError(f"the process of {self.name} died") from None
        if isinstance(answer, str):
            raise RuntimeError(f"{self.name} failed:\n{answer}")
        return answer


def _serve(connection: Any, make: Callable[..., Sequence[Contender]]) -> None:
    """Answer a task with results, a budget with seconds, and an error with its text."""
    contenders: Sequence[Contender] = ()
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        try:
            if isinstance(request, tuple):
                contenders = make(*request)
                connection.send([(c.name, *_first(c)) for c in contenders])
            else:
                for contender in contenders:  # what another crew's work pushed out of the caches comes back
                    contender.call()
                connection.send([fastest(contender.call, request) for contender in contenders])
        except Exception:
            connection.send(traceback.format_exc())


def _first(contender: Contender) -> tuple[float, np.ndarray]:
    """Seconds of the first call, and its result."""
    start = time.perf_counter()
    result = contender.call()
    return time.perf_counter() - start, np.asarray(contender.read(result))


def race_apart(
    crews: Sequence[Crew],
    task: tuple[Any, ...],
    expected: np.ndarray,
    scale: float,
    *,
    tolerance: float,
    rounds: int = 5,
    budget: float = 0.05,
) -> list[Timing]:
    """`race` between crews: every round asks each crew in turn while the others sleep.

    Raises
    ------
    RuntimeError
        If a crew cannot do the task.
    """
    timings: list[list[Timing]] = []
    for crew in crews:
        found = []
        for name, first, result in crew.results(*task):
            error = float(np.max(np.abs(result - expected), initial=0)) / scale
            found.append(Timing(name, crew.ours, first, error, math.inf if error <= tolerance else math.nan))
        timings.append(found)
    for _ in range(rounds):
        for crew, found in zip(crews, timings):
            time.sleep(PAUSE_SECONDS)
            for timing, seconds in zip(found, crew.seconds(budget)):
                timing.seconds = timing.seconds if math.isnan(timing.seconds) else min(timing.seconds, seconds)
    return [timing for found in timings for timing in found]


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
