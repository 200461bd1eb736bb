"""What commands and reports write: tables that fit a terminal, colour where it shows, progress, figures as JSON."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

WIDTH = 100  # columns of every table
COLOURS = {"red": 31, "green": 32, "yellow": 33, "bold": 1}


def table(
    rows: Sequence[Sequence[str]],
    left: int = 1,
    width: int = WIDTH,
    style: Callable[[int, int, str], str] = lambda row, column, text: text,
) -> str:
    """Lay out rows in columns; those that do not fit follow below, beside the first column again.

    Parameters
    ----------
    rows : sequence of sequence of str
        The header, if there is one, is the first.
    left : int
        How many columns are aligned to the left; the others are aligned to the right.
    width : int
        Columns of the terminal.
    style : callable
        ``style(row, column, text)`` gives what is shown of a cell that is filled up with spaces.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for block in _blocks(widths, width):
        lines += [""] if lines else []
        for i, row in enumerate(rows):
            cells = (style(i, j, row[j].ljust(widths[j]) if j < left else row[j].rjust(widths[j])) for j in block)
            lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _blocks(widths: Sequence[int], width: int) -> list[list[int]]:
    """Which columns stand beside each other."""
    blocks, taken = [[0]], widths[0]
    for j in range(1, len(widths)):
        if taken + 2 + widths[j] > width and len(blocks[-1]) > 1:
            blocks.append([0])
            taken = widths[0]
        blocks[-1].append(j)
        taken += 2 + widths[j]
    return blocks


def as_json(figures: Any) -> str:
    """Figures as JSON in ASCII, which every stream takes; NaN and infinity, which JSON does not know, become null."""
    import json  # not with numconv: most processes need none

    return json.dumps(_finite(figures), indent=1)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def digits(value: float) -> str:
    """About three digits of a number that is not negative; "-" where it is none."""
    if not math.isfinite(value):
        return "-"
    if 0 < value < 1e-3:
        return f"{value:.1e}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value else "0"


def percent(part: float) -> str:
    """Whole ones, below ten with a tenth."""
    return f"{part:.0%}" if part >= 0.0995 else f"{part:.1%}"


def has_colour(stream: TextIO) -> bool:
    """Whether a stream shows colour: a terminal does, unless NO_COLOR is set (no-color.org) or it is a dumb one."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, colour: str) -> str:
    """Text between the escape codes of one of `COLOURS`."""
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


class Progress:
    """A line on stderr, where that is a terminal, that says how far something is. A context manager; clears the line.

    Parameters
    ----------
    what : str
        What is counted, such as "layers".
    total : int
    """

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"  # which cannot clear a line

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def begin(self, name: str) -> None:
        """Say which one comes next."""
        self._done += 1
        self.say(f"{self._done} of {self._total} {self._what}: {name}")

    def say(self, text: str) -> None:
        """Show a text in place of the last one."""
        if self._shown:
            print(f"\r\x1b[K{text[: _columns(sys.stderr) - 1]}", end="", file=sys.stderr, flush=True)


def _columns(stream: TextIO) -> int:
    """How many a line may have on a terminal: a longer one would go on in the next, which is not cleared."""
    try:
        return min(os.get_terminal_size(stream.fileno()).columns or WIDTH, WIDTH)
    except OSError:
        return WIDTH
