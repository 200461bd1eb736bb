"""What several commands share: sizes on the command line, files in and out, figures for machines."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from numconv.extras import require
from numconv.files.dtypes import dtype_named
from numconv.terminal import as_json


def sizes(text: str) -> tuple[int, ...]:
    """Parse ``"3"`` or ``"28x31"``."""
    try:
        return tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number or numbers joined by 'x' (3, 28x31), got {text!r}"
        ) from None


def named_dtype(text: str) -> np.dtype:
    """Parse the name of a dtype, bfloat16 included."""
    try:
        return dtype_named(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a dtype such as float32 or bfloat16, got {text!r}") from None


def per_axis(values: tuple, axes: int, argument: str) -> tuple:
    """Repeat a lone value for every axis; refuse another number of values."""
    if len(values) == 1:
        return values * axes
    if len(values) != axes:
        raise ValueError(f"--{argument}: expected 1 value, or 1 for each axis ({axes}), got {len(values)}")
    return values


def new_file(text: str) -> Path:
    """Parse the name of a file to write; what cannot be written is refused before the work, not after it."""
    path = Path(text)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(
            f"expected a file that can be written, in a folder that is there, got {text!r}"
        )
    return path


def open_picture(path: Path) -> Any:
    """A picture as Pillow reads it, all of it, and turned as its EXIF says.

    Raises
    ------
    ValueError
        If it is none, or broken.
    MissingExtra
        If Pillow is not installed.
    """
    image, transpose = require("PIL.Image", "data"), require("PIL.ImageOps", "data").exif_transpose
    with path.open("rb") as file:
        try:
            return transpose(image.open(file))
        except (OSError, SyntaxError, ValueError, image.DecompressionBombError) as error:
            reason = "not of a known format" if isinstance(error, image.UnidentifiedImageError) else error
            raise ValueError(f"{path} is no picture that can be read: {reason}") from error


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument(
        "--json", type=lambda text: Path("-") if text == "-" else new_file(text), metavar="FILE",
        help="write every figure to FILE; '-' prints them in place of the text",
    )  # fmt: skip


def quiet(options: argparse.Namespace) -> bool:
    """Whether standard output is for machines."""
    return options.json == Path("-")


def show(text: str, options: argparse.Namespace) -> None:
    """Print text for people."""
    if not quiet(options):
        print(text, flush=True)


def write_json(figures: Any, options: argparse.Namespace) -> None:
    """Write figures where ``--json`` says, if it is given."""
    if options.json is None:
        return
    if quiet(options):
        print(as_json(figures))
    else:
        options.json.write_text(as_json(figures), "utf-8")


def status_of(wrong: Iterable[str]) -> int:
    """The exit status of a race: 1, and a line on stderr for each result of ours that is wrong, else 0."""
    status = 0
    for name in wrong:
        print(f"numconv bench: {name} is wrong", file=sys.stderr)
        status = 1
    return status
