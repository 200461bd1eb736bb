"""The program ``numconv``: one parser, one module of ``numconv.commands`` for each command.

Bad arguments, missing files and problems that numconv refuses give one line on stderr and exit status 2; a part that
is not installed, and training that came to NaN, give one line and exit status 1; other failures have the status that a
command returns. Nothing here imports numba or an
optional package: each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from numconv.commands import bench, demo, filter, info, lab, predict, shape, train, warmup
from numconv.cuda import MissingPart
from numconv.extras import MissingExtra

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


class OneLineParser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (try '{self.prog} --help')\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    from numconv import __version__

    parser = OneLineParser(prog="numconv", description="Convolution for NumPy arrays, and models made of it.")
    parser.add_argument("--version", action="version", version=f"numconv {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        summary, _, details = (module.__doc__ or "").partition("\n\n")
        child = commands.add_parser(
            name,
            help=summary.rstrip("."),
            description=summary,
            epilog=details,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(child)
        child.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    options = build_parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
        return status or 0
    except (MissingExtra, MissingPart, FloatingPointError) as error:
        return fail(options.command, error, 1)
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, TypeError, OSError) as error:
        return fail(options.command, error, 2)
    except KeyboardInterrupt:
        return 130
    return 0


def fail(command: str, error: Exception, status: int) -> int:
    """Print ``error`` as one line on stderr and return ``status``."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    print(f"numconv {command}: {' '.join(text.split())}", file=sys.stderr)
    return status
