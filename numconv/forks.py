"""Locks that a fork waits for: its child has none of the other threads, and would wait for ever for what they held.

A lock is a context manager that the thread which holds it may take again. `locks` are taken in their order.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  whose locks' hooks must not appear while a fork waits; logging's too
import contextlib
import logging  # noqa: F401
import os
import threading
from typing import Any

loading = threading.RLock()  # held while modules are loaded on first use
locks: list[contextlib.AbstractContextManager[Any]] = [loading]
_held = contextlib.ExitStack()


def _hold() -> None:
    for lock in locks:  # what is loaded meanwhile may add to them
        _held.enter_context(lock)


def _release() -> None:
    _held.pop_all().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)
