"""What a trace holds: calls, and what is in and around them."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, fields
from typing import Any, NamedTuple


class _Thread(threading.local):
    def __init__(self) -> None:
        self.number = next(_numbers)


_numbers = itertools.count(1)
_thread = _Thread()


def thread_number() -> int:
    """A number of this thread that no other has; the system's are given again when a thread has ended."""
    return _thread.number


class Candidate(NamedTuple):
    """An algorithm that was weighed: its estimated seconds, or the sentence why it was not to be chosen."""

    name: str
    estimated: float | None
    reason: str | None


@dataclass
class Span:
    """Something that took a while.

    Attributes
    ----------
    name : str
    kind : str
        "call"; what may be in one: "compile", "pack"; before one: "choose"; around some: "layer", "model", "gradient".
    start, seconds : float
        By `time.perf_counter`.
    thread : int
        As `thread_number` gives it.
    """

    name: str
    kind: str
    start: float
    seconds: float
    thread: int


@dataclass
class Call(Span):
    """A convolution or pooling, or a gradient of one.

    Attributes
    ----------
    problem : ConvProblem or PoolProblem
    algorithm : str
        Name of the one that ran.
    way : str
        "call", "plan" (weights packed beforehand) or "frozen".
    layer : str
        Name in the outermost module of the one that made the call, "" outside of modules.
    candidates : list of Candidate
        Every algorithm of the operation, in the order of its table.
    choosing, compiling, packing, computing : float
        Seconds to check the arguments and choose, where no call alike was before; to compile kernels or load them from
        the cache; to pack the weight; and the rest.
    compiled : int
        Functions that were compiled, not found in the cache; those of a GPU are not counted.
    threads : int
        The most that the call could use.
    floor : float or None
        The least seconds that the machine allows direct summation; None where its ceilings are not known.
    error : str
        Name of what it raised, or "".
    """

    problem: Any
    algorithm: str
    way: str
    layer: str
    candidates: list[Candidate]
    choosing: float
    compiling: float
    packing: float
    computing: float
    compiled: int
    threads: int
    floor: float | None
    error: str = ""

    @property
    def attained(self) -> float | None:
        """The fraction of the roofline: the floor over the seconds of computing."""
        return None if self.floor is None else self.floor / self.computing

    def figures(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        found["candidates"] = [each._asdict() for each in self.candidates]
        return found | {"problem": problem_fields(self.problem), "attained": self.attained}


def problem_fields(problem: Any) -> dict[str, Any]:
    """A problem as JSON takes it."""
    found = {f.name: getattr(problem, f.name) for f in fields(problem) if f.compare}
    return found | {"dtype": problem.dtype.name}
