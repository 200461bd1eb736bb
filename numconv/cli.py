"""The program ``numconv``: one parser, one module of ``numconv.commands`` for each command.

What goes wrong gives one line on stderr and an exit status, one of those in `STATUS`. Nothing here imports numba or an
optional package: each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import NoReturn

from numconv.commands import bench, demo, filter, info, lab, predict, shape, train, warmup
from numconv.cuda import MissingPart
from numconv.extras import MissingExtra
from numconv.terminal import WIDTH, has_colour, painted

COMMANDS = {
    "demo": demo,
    "info": info,
    "filter": filter,
    "shape": shape,
    "train": train,
    "predict": predict,
    "warmup": warmup,
    "bench": bench,
    "lab": lab,
}


STATUS = """\
exit status:
  0    done
  1    the answer is no: a result or a kernel is wrong, training came to NaN
  2    bad arguments, a missing file, or a problem that numconv refuses
  3    a part is not installed, or there is no GPU: the message says which
  130  interrupted

Tables fit 100 columns. Colour and bars of progress are shown on a terminal only, and no colour
with NO_COLOR=1. Commands that print figures write them as JSON with --json FILE, or print
JSON alone with --json -.
"""


class OneLineParser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (try '{self.prog} --help')\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    from numconv import __version__

    parser = OneLineParser(
        prog="numconv", description="Convolution for NumPy arrays, and models made of it.", epilog=STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"numconv {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        summary, _, details = (module.__doc__ or "").partition("\n\n")
        child = commands.add_parser(
            name,
            help=summary.rstrip("."),
            description=summary,
            epilog=wrapped(details, min(shutil.get_terminal_size().columns, WIDTH) - 2),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(child)
        child.set_defaults(run=module.run)
    return parser


def wrapped(text: str, width: int) -> str:
    """Paragraphs filled up to a width; indented lines are left as they are."""
    lines: list[str] = []
    for indented, group in itertools.groupby(text.splitlines(), lambda line: not line or line.startswith(" ")):
        block = list(group)
        lines += block if indented else textwrap.wrap(" ".join(block), width, break_on_hyphens=False)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    prepare_streams()
    name = "numconv"
    try:
        try:
            options = build_parser().parse_args(arguments)
            name = f"numconv {options.command}"
            return options.run(options) or 0
        finally:
            flush()
    except (MissingExtra, MissingPart) as error:
        return fail(name, error, 3)
    except FloatingPointError as error:
        return fail(name, error, 1)
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        return 0
    except (ValueError, TypeError, OSError, OverflowError, MemoryError) as error:
        return fail(name, error, 2)
    except KeyboardInterrupt:
        return 130


def prepare_streams() -> None:
    """Let a stream that is closed take what is printed, and stdout escape what its encoding has not."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, io.StringIO())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Flush stdout while an error has a status; what cannot be written is dropped, or Python would fail on it again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def fail(name: str, error: BaseException, status: int) -> int:
    """Print ``error`` as one line on stderr and return ``status``."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    said = f"{name}:"
    print(painted(said, "red") if has_colour(sys.stderr) else said, " ".join(text.split()), file=sys.stderr)
    return status
