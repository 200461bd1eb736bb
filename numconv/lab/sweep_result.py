"""What a sweep gives: its variants, as a table of text and as JSON."""

from __future__ import annotations

import math
import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from numconv.lab.source import shortened
from numconv.lab.user_kernel import UserKernel
from numconv.terminal import WIDTH, as_json, digits, percent, table
from numconv.tracing.records import problem_fields

MOST = 4  # variants that are named where they were dropped for one reason


@dataclass
class Variant:
    """A kernel for one choice of the numbers.

    Attributes
    ----------
    numbers : dict
        What the factory was called with.
    kernel : UserKernel or None
        What it made.
    seconds, gflops, attained : float
        The fastest call, operations of the direct method a second, and their share of the FMA peak of as many threads;
        NaN of one that was dropped. On a GPU the share is that of the least traffic.
    first : float
        Seconds of the first call, which compiles.
    error : float
    inspection : Inspection, DeviceInspection or None
    dropped : str
        Why it was not timed, "" if it was.
    """

    numbers: dict[str, Any]
    kernel: UserKernel | None = None
    seconds: float = math.nan
    gflops: float = math.nan
    attained: float = math.nan
    first: float = math.nan
    error: float = math.nan
    inspection: Any = None
    dropped: str = ""

    @property
    def name(self) -> str:
        return " ".join(f"{name}={_text(value)}" for name, value in self.numbers.items())


@dataclass
class Sweep:
    """What `lab.sweep` gives. It prints itself, the fastest variant first.

    Attributes
    ----------
    problem : ConvProblem or PoolProblem
    layer : str
        What the problem is called.
    threads : int
    variants : list of Variant
        Those that were timed, the fastest first.
    dropped : list of Variant
    """

    problem: Any
    layer: str
    threads: int
    variants: list[Variant] = field(default_factory=list)
    dropped: list[Variant] = field(default_factory=list)

    @property
    def best(self) -> Variant:
        """The fastest.

        Raises
        ------
        ValueError
            If all were dropped; the message says why.
        """
        if not self.variants:
            raise ValueError(f"every variant was dropped; {self.dropped[0].name}: {self.dropped[0].dropped}")
        return self.variants[0]

    def to_dict(self) -> dict[str, Any]:
        """Every figure, as JSON takes it; times in seconds."""
        found = {"layer": self.layer, "problem": problem_fields(self.problem), "threads": self.threads}
        return found | {
            "variants": [_as_dict(variant) for variant in self.variants],
            "dropped": [{"numbers": _plain(v.numbers), "reason": v.dropped} for v in self.dropped],
        }

    def json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` to a file."""
        Path(path).write_text(as_json(self.to_dict()), "utf-8")

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        lines = [f"{self.layer}, {self.problem.dtype}, {threads}"]
        if self.variants:
            names = list(self.variants[0].numbers)
            rows = [(*names, "ms", "GF/s", "of peak", *_seen(None))]
            for v in self.variants:
                figures = (digits(v.seconds * 1e3), digits(v.gflops), percent(v.attained))
                rows.append((*map(_text, v.numbers.values()), *figures, *_seen(v.inspection)))
            lines.append(table(rows, left=0))
            advice = self.variants[0].inspection.advice
            lines += [f"the fastest: {sentence}" for sentence in advice]
        alike: dict[str, list[str]] = {}
        for v in self.dropped:
            alike.setdefault(v.dropped, []).append(v.name)
        lines += [f"dropped {_some(names)}: {reason}" for reason, names in alike.items()]
        return "\n".join(part for line in lines for part in _cut(line))

    __repr__ = __str__


def _cut(text: str) -> list[str]:
    """A sentence in lines of at most `WIDTH` characters; a table as it is."""
    return [text] if "\n" in text else textwrap.wrap(text, WIDTH, subsequent_indent="    ")


def _text(value: Any) -> str:
    """A number, or what a function or type is called."""
    return shortened(str(getattr(value, "__name__", value)), 30)


def _some(names: list[str]) -> str:
    """Who was dropped for one reason: the first few, and how many more."""
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return f"{'; '.join(names[:MOST])}{more}"


def _plain(numbers: dict[str, Any]) -> dict[str, Any]:
    """Numbers as JSON takes them; what it has not, by name."""
    values = {name: value.item() if isinstance(value, np.generic) else value for name, value in numbers.items()}
    return {
        name: value if value is None or isinstance(value, (bool, int, float, str)) else _text(value)
        for name, value in values.items()
    }


def _as_dict(variant: Variant) -> dict[str, Any]:
    found = {name: getattr(variant, name) for name in ("seconds", "gflops", "attained", "first", "error")}
    return {"numbers": _plain(variant.numbers), **found, "inspection": variant.inspection.to_dict()}


def _seen(inspection: Any) -> tuple[str, ...]:
    """Columns of what `inspect` saw; their names of None."""
    if inspection is None:
        return "bits", "FMA", "loads", "stores", "sums"
    if not hasattr(inspection, "depth"):  # of a GPU
        return "32", str(inspection.loop["FFMA"]), *(str(_starting(inspection, n)) for n in ("LDG", "STG")), "-"
    mix = inspection.loop
    return str(mix.vector_bits), str(mix.fma), str(mix.loads), str(mix.stores), str(mix.accumulators)


def _starting(inspection: Any, name: str) -> int:
    return sum(count for full, count in inspection.loop.items() if full.startswith(name))
