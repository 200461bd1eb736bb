"""What several commands share: sizes on the command line, tables of text."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def sizes(text: str) -> tuple[int, ...]:
    """Parse ``"3"`` or ``"28x31"``."""
    try:
        return tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number or numbers joined by 'x' (3, 28x31), got {text!r}"
        ) from None


def per_axis(values: tuple, axes: int, argument: str) -> tuple:
    """Repeat a lone value for every axis; refuse another number of values."""
    if len(values) == 1:
        return values * axes
    if len(values) != axes:
        raise ValueError(f"--{argument}: expected 1 or {axes} values, got {len(values)}")
    return values


def table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Lay out ``rows`` in columns, the first ``left`` aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
