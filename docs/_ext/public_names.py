"""The block ```` ```{public} module ````: a table of the names in it, then the docstring of each."""

import importlib
import inspect
import re

from sphinx.application import Sphinx

BLOCK = re.compile(r"^```\{public\} (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def listed(text: str) -> list[tuple[str, list[str]]]:
    """(module, its names) for each block of a page."""
    return [(match[1], match[2].split()) for match in BLOCK.finditer(text)]


def documented(module: str, name: str) -> str:
    value = getattr(importlib.import_module(module), name)
    if inspect.isclass(value):
        return f".. autoclass:: {module}.{name}\n   :members:\n"
    if inspect.ismodule(value):
        return f".. automodule:: {module}.{name}\n"
    kind = "autofunction" if callable(value) else "autodata"
    return f".. {kind}:: {module}.{name}\n"


def expanded(match: re.Match[str]) -> str:
    module, names = match[1], match[2].split()
    table = "\n".join(f"   ~{module}.{name}" for name in names)
    entries = "\n".join(documented(module, name) for name in names)
    return f"```{{eval-rst}}\n.. autosummary::\n   :nosignatures:\n\n{table}\n\n{entries}```"


def read_page(app: Sphinx, page: str, content: list[str]) -> None:
    content[0] = BLOCK.sub(expanded, content[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", read_page)
    return {"parallel_read_safe": True}
