"""What several commands share: sizes on the command line, figures for machines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from numconv.terminal import as_json


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


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every figure to FILE; '-' prints them in place of the text"
    )


def quiet(options: argparse.Namespace) -> bool:
    """Whether standard output is for machines."""
    return options.json == Path("-")


def show(text: str, options: argparse.Namespace) -> None:
    """Print text for people."""
    if not quiet(options):
        print(text, flush=True)


def need_folders(*files: Path | None) -> None:
    """Refuse files that could not be written, before what is to be written has taken minutes."""
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise FileNotFoundError(2, "no such folder", str(file.parent))


def write_json(figures: Any, options: argparse.Namespace) -> None:
    """Write figures where ``--json`` says, if it is given."""
    if options.json is None:
        return
    if quiet(options):
        print(as_json(figures))
    else:
        options.json.write_text(as_json(figures), "utf-8")
