"""The block ```` ```{draw} caption ````: Python that is run as the site is built, and the picture that it ends with.

The last expression is a `Drawing` of numconv, shown on the ground of the reader's theme, or a Matplotlib figure. Each
block has a namespace of its own, in which `np`, `nc` and `nn` are known.
"""

import ast
import hashlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import numconv as nc
from numconv import nn

PICTURES = "_pictures"


def evaluated(code: str, page: str, line: int) -> Any:
    """The value of the last expression of a program whose errors name the page and the line."""
    tree = ast.parse(code, page)
    ast.increment_lineno(tree, line)
    *statements, last = tree.body
    assert isinstance(last, ast.Expr), f"{page}: a block must end with an expression"
    names = {"np": np, "nc": nc, "nn": nn}
    exec(compile(ast.Module(statements, []), page, "exec"), names)
    return eval(compile(ast.Expression(last.value), page, "eval"), names)


class Draw(SphinxDirective):
    """A figure that its own code makes; with `:step:` one step of it, with `:hide:` without the code."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar = {"step": int, "hide": directives.flag}

    def run(self) -> list[nodes.Node]:
        code = "\n".join(self.content)
        page, line = self.get_source_info()
        picture = evaluated(code, page, line)
        caption = self.arguments[0] if self.arguments else ""
        figure = nodes.figure(classes=["picture"])
        for uri, kind in self.files(picture, code):
            figure += nodes.image(uri=uri, alt=caption or repr(picture), classes=[kind] if kind else [])
        if caption:
            text, messages = self.parse_inline(caption)
            figure += nodes.caption(caption, "", *text, *messages)
        if "hide" in self.options:
            return [figure]
        shown = nodes.literal_block(code, code)
        shown["language"] = "python"
        return [shown, figure]

    def files(self, picture: Any, code: str) -> list[tuple[str, str]]:
        """(path from the top of the documents, class) of each file that was written."""
        key = hashlib.sha256(f"{code}{self.options}".encode()).hexdigest()[:16]
        folder = Path(self.env.srcdir) / PICTURES
        folder.mkdir(exist_ok=True)
        if not isinstance(picture, nc.Drawing):
            picture.savefig(folder / f"{key}.svg", facecolor="white")
            return [(f"/{PICTURES}/{key}.svg", "")]
        if "step" in self.options:
            picture = picture[self.options["step"]]
        for theme in ("light", "dark"):
            picture.with_theme(theme).save(folder / f"{key}-{theme}.svg")
        return [(f"/{PICTURES}/{key}-{theme}.svg", f"only-{theme}") for theme in ("light", "dark")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("draw", Draw)
    return {"parallel_read_safe": True}
