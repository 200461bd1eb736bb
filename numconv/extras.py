"""Optional libraries: imported where they are needed, with an error that names the extra to install."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingExtra(ImportError):
    """An optional part of numconv is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or raise MissingExtra naming the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(f"{module.partition('.')[0]} is missing: pip install numconv[{extra}]") from error
