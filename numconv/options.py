"""Settings of the process: how many threads, how much workspace, where the cache is. Loads nothing."""

from __future__ import annotations

import os
import sys
import time

from numconv.problem import integer

LOADED_AT = time.time()  # what changes later on disk is not what runs here


class Options:
    """Process-wide settings, read at each call.

    Attributes
    ----------
    workspace_limit : int
        Most bytes a call may allocate beyond its inputs, its result and a plan's packed weights (64 MiB).
    """

    def __init__(self) -> None:
        self.version = 0  # bumped by each change: cached choices depend on it
        self._workspace_limit = 64 << 20
        self._threads: int | None = None

    @property
    def workspace_limit(self) -> int:
        return self._workspace_limit

    @workspace_limit.setter
    def workspace_limit(self, value: int) -> None:
        self._workspace_limit = integer("workspace_limit", value, 0)
        self.version += 1


options = Options()


class Threads:
    """Whether Numba's threads may have been started by a process that this one is a fork of.

    Threads do not survive a fork, and GNU OpenMP kills or hangs a child that goes on using them. Of threads that ran
    before numconv was imported it is not known whose they are.
    """

    inherited = False

    @classmethod
    def look(cls) -> None:
        """Called at import and in each forked child; loads nothing."""
        layer = sys.modules.get("numba.np.ufunc.parallel")
        cls.inherited = getattr(layer, "_is_initialized", False)


Threads.look()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Threads.look)


def available_cores() -> int:
    """Cores this process may use, or `NUMBA_NUM_THREADS` where it is set."""
    wanted = os.environ.get("NUMBA_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_num_threads(n: int) -> None:
    """Let every call of this process use at most `n` threads.

    Numba's own setting is neither read nor changed.

    Parameters
    ----------
    n : int
        At least 1. More than there are cores is taken, and uses the cores.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer of at least 1.
    """
    before, options._threads = options._threads, integer("n", n, 1)
    if options._threads != before:
        options.version += 1  # choices by timing are made for a number of threads


def get_num_threads() -> int:
    """The number of threads that a call may use: what `set_num_threads` was given, else all cores."""
    if options._threads is None:
        options._threads = available_cores()
    return options._threads
