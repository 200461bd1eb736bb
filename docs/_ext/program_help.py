"""The block ```` ```{commands} ````: what every command of the program says of itself, a section each."""

import os
import re
import subprocess
import sys

from sphinx.application import Sphinx

from numconv.cli import COMMANDS

BLOCK = re.compile(r"^```\{commands\}\n```$", re.MULTILINE)


def help_of(command: str) -> str:
    line = [sys.executable, "-m", "numconv", command, "--help"]
    return subprocess.run(line, env=os.environ | {"COLUMNS": "96"}, capture_output=True, text=True, check=True).stdout


def sections() -> str:
    return "\n".join(f"## numconv {name}\n\n```text\n{help_of(name).rstrip()}\n```\n" for name in COMMANDS)


def read_page(app: Sphinx, page: str, content: list[str]) -> None:
    content[0] = BLOCK.sub(lambda match: sections(), content[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", read_page)
    return {"parallel_read_safe": True}
