"""What a race gives: its figures, as tables of text and HTML, a chart, and JSON."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numconv.lab.source import shortened
from numconv.measured import cpu_name
from numconv.terminal import WIDTH, as_json, digits, painted, percent, table
from numconv.tracing.records import problem_fields

LONGEST = 44  # characters of a name in a table
COLUMNS = ("weights", "ms", "GF/s", "of roof", "workspace", "error")


@dataclass
class Result:
    """What one contender reached on one problem.

    Attributes
    ----------
    name : str
    algorithm : str
        Which of ours ran, "" of others.
    packed : bool
        Whether weights were packed beforehand.
    ours : bool
        Whether it runs in numconv: our kernels and the user's.
    first : float
        Seconds of the first call, which compiles.
    seconds : float
        The fastest call; NaN where it is wrong or failed.
    error : float
        max|error| / scale, against float64.
    gflops, attained : float
        Operations of the direct method a second, and the floor over the seconds.
    workspace : int or None
        Bytes beyond input, result and what a plan holds.
    failure : str
        What it raised, or why it does not take the problem; "" if it ran.
    """

    name: str
    algorithm: str = ""
    packed: bool = False
    ours: bool = True
    first: float = math.nan
    seconds: float = math.nan
    error: float = math.nan
    gflops: float = math.nan
    attained: float = math.nan
    workspace: int | None = None
    failure: str = ""

    @property
    def label(self) -> str:
        """What it is called where calls and plans stand beside each other."""
        if self.name == "auto":
            return "plan" if self.packed else "auto"
        return f"{self.name} plan" if self.packed and self.ours else self.name

    @property
    def right(self) -> bool:
        return self.seconds > 0

    @property
    def wrong(self) -> bool:
        """Whether it ran and its result was wrong."""
        return not self.right and not self.failure


@dataclass
class Heat:
    """The race on one problem.

    Attributes
    ----------
    name : str
    problem : ConvProblem or PoolProblem
    count : int
        How often its network has it.
    floor : float
        The least seconds that the machine allows direct summation; on a GPU, its memory.
    by : str
        What sets them: "FMA", "memory" or "cache".
    tolerance : float
        The largest error that counts as right.
    results : list of Result
    """

    name: str
    problem: Any
    count: int
    floor: float
    by: str
    tolerance: float
    results: list[Result]

    def best(self, ours: bool) -> float:
        """Seconds of the fastest of ours, or of the libraries'; NaN where there is none."""
        return min((r.seconds for r in self.results if r.ours == ours and r.right), default=math.nan)


@dataclass
class Race:
    """What `lab.race` gives.

    Attributes
    ----------
    heats : list of Heat
        One a problem.
    threads : int
    kernels : dict
        Names of the kernels that were raced, in their order.
    """

    heats: list[Heat]
    threads: int
    kernels: dict[str, Any]

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def text(self, colour: bool = False) -> str:
        """The table: of one problem a line a contender, of several a line a problem."""
        if len(self.heats) == 1:
            return details(self.heats[0], colour)
        return overview(self.heats, colour)

    def details(self) -> str:
        """A table for each problem."""
        return "\n\n".join(details(heat, False) for heat in self.heats)

    @property
    def wrong(self) -> list[str]:
        """ "NAME on PROBLEM" of each result of numconv's or the user's that was wrong or failed."""
        return [
            f"{result.label} on {heat.name}"
            for heat in self.heats
            for result in heat.results
            if result.ours and not result.right and not result.failure.startswith("rejects")
        ]

    def to_dict(self) -> dict[str, Any]:
        """Every figure, times in seconds; a time that there is none of is NaN here and null in the file."""
        heats = []
        for heat in self.heats:
            found = {name: getattr(heat, name) for name in ("name", "count", "floor", "by", "tolerance")}
            amounts = {"flops": heat.problem.flops, "bytes": heat.problem.bytes}
            results = [{"label": result.label} | asdict(result) for result in heat.results]
            heats.append(found | amounts | {"problem": problem_fields(heat.problem), "results": results})
        return {"processor": cpu_name(), "threads": self.threads, "problems": heats}

    def json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` to a file."""
        Path(path).write_text(as_json(self.to_dict()), "utf-8")

    def chart(self, path: str | os.PathLike[str]) -> None:
        """Draw a PNG: of one problem a bar a contender, of several how much of the roofline each contender attains.

        Raises
        ------
        MissingExtra
            If matplotlib is not installed.
        """
        Path(path).write_bytes(self._repr_png_())

    def _repr_png_(self) -> bytes:
        from numconv.lab.chart import png

        return png(self)

    def _repr_html_(self) -> str:
        import base64
        import html

        from numconv.extras import MissingExtra

        text = f"<pre>{html.escape(str(self))}</pre>"
        try:
            image = base64.b64encode(self._repr_png_()).decode()
        except MissingExtra:
            return text
        return f'{text}<img alt="chart of the race" style="max-width: 100%" src="data:image/png;base64,{image}">'


def milliseconds(result: Result) -> str:
    """The time, or why there is none, in a word."""
    if result.right:
        return digits(result.seconds * 1e3)
    return "wrong" if result.wrong else "rejects" if result.failure.startswith("rejects") else "failed"


def details(heat: Heat, colour: bool) -> str:
    """A line a contender, then what was wrong."""
    rows: list[tuple[str, ...]] = [("", *COLUMNS)]
    rows.append(("roofline", f"({heat.by})", digits(heat.floor * 1e3), *_speeds(heat, heat.floor), "", ""))
    unpacked = not heat.problem.operation.startswith("conv")
    for result in heat.results:
        algorithm = f" ({result.algorithm})" if result.algorithm not in ("", result.name) else ""
        packed = "-" if unpacked else "packed before" if result.packed else "as given"
        rows.append(
            (
                _cut(f"{result.label}{algorithm}"), packed, milliseconds(result),
                *(_speeds(heat, result.seconds) if result.right else ("-", "-")),
                "-" if result.workspace is None else _bytes(result.workspace),
                "-" if math.isnan(result.error) else f"{result.error:.1e}",
            )
        )  # fmt: skip
    notes = [f"{r.label}: {shortened(r.failure or _wrong_by(r, heat), 400)}" for r in heat.results if not r.right]
    best = heat.best(True), heat.best(False)
    seconds = [heat.floor, *(r.seconds for r in heat.results)]
    text = table(rows, left=2, style=_style([math.nan, *seconds], min(best, key=_none_last), colour))
    title = heat.problem.brief if heat.name == heat.problem.brief else f"{heat.name}: {heat.problem.brief}"
    title, *notes = (textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in (title, *notes))
    return "\n".join([title, text, *notes])


def _wrong_by(result: Result, heat: Heat) -> str:
    if math.isnan(result.error):
        return "wrong: elements of the result were not written, or are NaN"
    return f"wrong by {result.error:.1e}, where {heat.tolerance:.0e} is allowed"


def overview(heats: Sequence[Heat], colour: bool) -> str:
    """A line a problem: the best library's time over the best of ours, the floor, milliseconds of each contender."""
    found = _by_label(heats)
    columns = list(found.values())
    rows: list[tuple[str, ...]] = [("milliseconds", "vs peer", "roofline", *map(_cut, found))]
    for i, heat in enumerate(heats):
        ratio = heat.best(False) / heat.best(True)
        cells = [milliseconds(results[i]) if i in results else "-" for results in columns]
        rows.append((_cut(heat.name), "-" if math.isnan(ratio) else f"{ratio:.2f}", digits(heat.floor * 1e3), *cells))
    floor = sum(heat.count * heat.floor for heat in heats)
    sums = [_sum(heats, found.get(_called(label), {}) | results) for label, results in found.items()]
    rows.append(("sum, as often as it occurs", "", digits(floor * 1e3), *(digits(s * 1e3) for s in sums)))
    rows.append(("of roof", "", "100%", *("-" if math.isnan(s) else percent(floor / s) for s in sums)))
    fastest = [min((r.seconds for r in heat.results if r.right), default=0) for heat in heats]

    def style(row: int, column: int, text: str) -> str:
        place = row - 1
        if not colour or column < 3 or place not in columns[column - 3]:
            return text
        return _painted(columns[column - 3][place], fastest[place], text)

    return table(rows, style=style)


def _called(label: str) -> str:
    """The call beside a plan: what stands for it on problems that have no plans, such as poolings."""
    return "auto" if label == "plan" else label.removesuffix(" plan")


def _sum(heats: Sequence[Heat], results: dict[int, Result]) -> float:
    """Seconds of a contender on all problems, each as often as its network has it; NaN where it was not on all."""
    if len(results) < len(heats):
        return math.nan
    return sum(heat.count * results[i].seconds for i, heat in enumerate(heats))


def _painted(result: Result, fastest: float, text: str) -> str:
    if not result.right:
        return painted(text, "red")
    return painted(text, "green") if result.seconds == fastest else text


def _style(seconds: Sequence[float], fastest: float, colour: bool) -> Callable[[int, int, str], str]:
    """What paints the lines of a table of contenders: the fastest green, those without a time red."""

    def style(row: int, column: int, text: str) -> str:
        if not colour or row < 2:
            return text
        if not seconds[row] > 0:
            return painted(text, "red")
        return painted(text, "green") if seconds[row] == fastest else text

    return style


def _by_label(heats: Sequence[Heat]) -> dict[str, dict[int, Result]]:
    """For each contender its results, by the heat's place."""
    found: dict[str, dict[int, Result]] = {}
    for i, heat in enumerate(heats):
        for result in sorted(heat.results, key=lambda r: not r.ours):
            found.setdefault(result.label, {})[i] = result
    return dict(sorted(found.items(), key=lambda item: not next(iter(item[1].values())).ours))


def _speeds(heat: Heat, seconds: float) -> tuple[str, str]:
    if not seconds > 0:  # the floor of a problem without elements
        return "-", "-"
    return f"{heat.problem.flops / seconds / 1e9:.1f}", percent(heat.floor / seconds)


def _cut(text: str) -> str:
    """A name in a table, of which the other columns must have room."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _none_last(seconds: float) -> float:
    return math.inf if math.isnan(seconds) else seconds


def _bytes(count: int) -> str:
    if count < 1024:
        return f"{count} B"
    return f"{count / 2**20:.1f} MiB" if count >= 1 << 20 else f"{count / 1024:.1f} KiB"
