"""Whose turn it is in the simulator: known to it and to the emulated instructions."""

from __future__ import annotations

from typing import Any


class Running:
    """Holds the simulated thread that runs."""

    thread: Any = None


def this() -> Any:
    """The simulated thread that calls."""
    return Running.thread
