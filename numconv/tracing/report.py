"""How a trace is opened and shown: a table, reasons, JSON, a Chrome trace."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numconv.terminal import as_json, digits, percent, table
from numconv.tracing.records import Call, Span

HEADER = ("milliseconds", "algorithm", "calls", "compile", "pack", "run", "roof")


@dataclass
class Trace:
    """What `numconv.trace` gives: a context manager, and the calls that it saw.

    Attributes
    ----------
    calls : list of Call
        In the order in which they ended.
    spans : list of Span
        The calls, and what is in and around them.
    seconds : float
        While it was open, each time if it was so several times.
    """

    spans: list[Span] = field(default_factory=list)
    start: float = 0.0
    opened: float = 0.0  # the last time
    seconds: float = 0.0
    threads: dict[int, str] = field(default_factory=dict)

    def __enter__(self) -> Trace:
        from numconv.tracing import hooks

        now = time.perf_counter()
        hooks.open_trace(self)
        self.opened, self.start = now, self.start or now
        return self

    def __exit__(self, *error: object) -> None:
        from numconv.tracing import hooks

        hooks.close_trace(self)
        self.seconds += time.perf_counter() - self.opened

    def add(self, span: Span) -> None:
        """Take what was seen, unless it began in another thread before this trace was open."""
        if span.start < self.opened:
            return
        self.threads.setdefault(span.thread, threading.current_thread().name)
        self.spans.append(span)

    @property
    def calls(self) -> list[Call]:
        return [span for span in self.spans if isinstance(span, Call)]

    def __len__(self) -> int:
        return len(self.calls)

    def __str__(self) -> str:
        calls = self.calls
        unknown = all(call.floor is None for call in calls)
        rows = [HEADER, *(_row(alike) for alike in _grouped(calls).values())]
        parts = ("choosing", "compiling", "packing", "computing")
        sums = ", ".join(f"{part} {digits(sum(getattr(c, part) for c in calls) * 1e3)}" for part in parts)
        text = table([row[:-1] if unknown else row for row in rows], left=2)
        lines = [text, f"{len(calls)} calls: {sums}; traced {digits(self.seconds * 1e3)}"]
        if calls and unknown:
            lines.append("the roofline is not known: numconv bench --roofline measures this machine")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(str(self))}</pre>"

    def reasons(self) -> str:
        """Why each algorithm ran: for each problem every candidate, with its estimate or why it was not taken."""
        lines = []
        for (problem, algorithm, way), alike in _grouped(self.calls).items():
            lines.append(f"{problem.brief}, {'weight packed before' if way != 'call' else 'as a call'}")
            for name, estimated, reason in alike[0].candidates:
                said = f"{digits(estimated * 1e3)} ms estimated" if estimated is not None else f"rejected: {reason}"
                lines.append(f"{'->' if name == algorithm else '  '} {name:12s} {said}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Every call, as JSON takes it; `start` counts from that of the trace."""
        calls = [call.figures() | {"start": call.start - self.start} for call in self.calls]
        return {"seconds": self.seconds, "calls": calls}

    def json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` to a file."""
        Path(path).write_text(as_json(self.to_dict()), "utf-8")

    def chrome(self, path: str | os.PathLike[str]) -> None:
        """Write a Chrome trace, which https://ui.perfetto.dev and chrome://tracing show."""
        process = os.getpid()
        events: list[dict[str, Any]] = [
            {"name": "thread_name", "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
            for thread, name in self.threads.items()
        ]
        for span in sorted(self.spans, key=lambda span: span.start):
            events.append(
                {
                    "name": span.name, "cat": span.kind, "ph": "X", "pid": process, "tid": span.thread,
                    "ts": (span.start - self.start) * 1e6, "dur": span.seconds * 1e6,
                    "args": _arguments(span) if isinstance(span, Call) else {},
                }
            )  # fmt: skip
        Path(path).write_text(as_json({"traceEvents": events, "displayTimeUnit": "ms"}), "utf-8")


def _grouped(calls: Iterable[Call]) -> dict[Any, list[Call]]:
    """Calls by problem, algorithm and way, in the order of their first."""
    found: dict[Any, list[Call]] = {}
    for call in calls:
        found.setdefault((call.problem, call.algorithm, call.way), []).append(call)
    return found


def _row(alike: list[Call]) -> tuple[str, ...]:
    first = alike[0]
    times = [sum(getattr(c, part) for c in alike) for part in ("compiling", "packing", "computing")]
    floors = [c.floor for c in alike if c.floor is not None]
    attained = percent(sum(floors) / times[2]) if len(floors) == len(alike) else "-"
    failed = [c.error for c in alike if c.error]
    algorithm = first.algorithm if first.way == "call" else f"{first.algorithm} ({first.way})"
    algorithm += f", {failed[-1]}" if failed else ""
    texts = [digits(seconds * 1e3) if seconds else "-" for seconds in times]
    return (first.problem.brief, algorithm, str(len(alike)), *texts, attained)


def _arguments(call: Call) -> dict[str, Any]:
    """What a viewer shows of a call."""
    shown = ("algorithm", "way", "layer", "threads", "compiled", "attained", "error")
    parts = {f"{part} (ms)": getattr(call, part) * 1e3 for part in ("choosing", "compiling", "packing", "computing")}
    others = {
        name: reason or f"{digits((estimated or 0) * 1e3)} ms estimated" for name, estimated, reason in call.candidates
    }
    return {name: getattr(call, name) for name in shown} | {
        "problem": call.problem.brief,
        **parts,
        "candidates": others,
    }
