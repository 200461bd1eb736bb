"""The block ```` ```{public} module ````: a table of the names in it, then the docstring of each.

Without names it is of all that the module's `__all__` holds, or, where it has none, that it takes from its own parts.
"""

import importlib
import inspect
import re

from sphinx.application import Sphinx

BLOCK = re.compile(r"^```\{public\} (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def listed(text: str) -> list[tuple[str, list[str]]]:
    """(module, its names) for each block of a page."""
    return [(match[1], match[2].split() or every_name(match[1])) for match in BLOCK.finditer(text)]


def every_name(module: str) -> list[str]:
    members = vars(importlib.import_module(module))
    own = [name for name, value in members.items() if getattr(value, "__module__", "").startswith(f"{module}.")]
    return sorted(members.get("__all__", own), key=str.lower)


def documented(module: str, name: str) -> str:
    value = getattr(importlib.import_module(module), name)
    if inspect.isclass(value):
        return f".. autoclass:: {module}.{name}\n   :members:\n"
    if inspect.ismodule(value):
        return f".. automodule:: {module}.{name}\n   :no-index:\n"
    kind = "autofunction" if callable(value) else "autodata"
    return f".. {kind}:: {module}.{name}\n"


def reference(module: str, names: list[str], whole: bool) -> str:
    """The block as reStructuredText; of a whole module its docstring comes first."""
    lines = [f".. automodule:: {module}\n\n.. py:currentmodule:: None\n"] if whole else []
    if names:
        lines += [".. autosummary::\n   :nosignatures:\n", *(f"   ~{module}.{name}" for name in names), ""]
    return "\n".join([*lines, *(documented(module, name) for name in names)])


def read_page(app: Sphinx, page: str, content: list[str]) -> None:
    blocks = iter(listed(content[0]))

    def expanded(match: re.Match[str]) -> str:
        return f"```{{eval-rst}}\n{reference(*next(blocks), whole=not match[2].strip())}```"

    content[0] = BLOCK.sub(expanded, content[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", read_page)
    return {"parallel_read_safe": True}
