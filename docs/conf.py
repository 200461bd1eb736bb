"""The site: Markdown by MyST, docstrings by numpydoc, pictures drawn by numconv as the site is built."""

import sys
from pathlib import Path

import numconv

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "numconv"
author = "The numconv developers"
copyright = "the numconv developers"
version = release = numconv.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "pictures",
    "program_help",
    "public_names",
    "repository_links",
]
exclude_patterns = ["_build", "_pictures"]

html_theme = "furo"
html_title = "numconv"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"source_directory": "docs/"}
html_show_sphinx = False

myst_enable_extensions = ["dollarmath", "amsmath", "attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "py:obj"
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections say the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
