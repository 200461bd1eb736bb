"""Links between files of the repository that work on a code host work on the site as well.

Pages of `docs/` become links to pages, CONTRIBUTING and CHANGELOG to the pages that include them; any other file is
carried along as a download.
"""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
PAGES = {"README.md": "/index.md", "CONTRIBUTING.md": "/contributing.md", "CHANGELOG.md": "/changelog.md"}
LINK = re.compile(r"\]\((?!https?:|#|/)([^)#\s]+)((?:#[^)\s]*)?)\)")


def relinked(text: str, source: Path) -> str:
    """The Markdown of the file `source` with its links as the site has them."""

    def target(match: re.Match[str]) -> str:
        path = Path(os.path.normpath(source.parent / match[1])).relative_to(ROOT).as_posix()
        page = PAGES.get(path) or f"/{os.path.relpath(path, 'docs')}"
        return f"]({page}{match[2]})"

    return LINK.sub(target, text)


def read_page(app: Sphinx, page: str, content: list[str]) -> None:
    source = Path(app.env.doc2path(page))
    if source.suffix == ".md":
        content[0] = relinked(content[0], source)


def read_included(app: Sphinx, path: Path, page: str, content: list[str]) -> None:
    content[0] = relinked(content[0], ROOT / "docs" / path)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
    return {"parallel_read_safe": True}
