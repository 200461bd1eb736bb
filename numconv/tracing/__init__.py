"""Tracing: what each call was, which algorithm ran and why, and what it took. `numconv.trace` opens a trace.

`hooks` sees, `records` says what of, and `report` shows it. Nothing looks for a trace while none is open: the first
one puts wrappers into the place of the methods that calls go through, and the last one to close puts the methods back.
"""

from __future__ import annotations

import atexit
import os
import sys

from numconv.tracing.report import Trace

__all__ = ["Trace", "from_environment", "trace"]


def trace() -> Trace:
    """Record every call of this process within a `with` block.

    Seen are convolutions, poolings and their gradients: called as functions, by plans, layers, the tape and frozen
    models, on the CPU and on a GPU, in every thread. Traces may be nested; each has what happened while it was open.
    With ``NUMCONV_TRACE=1`` a process is traced from start to end and prints the table to stderr;
    ``NUMCONV_TRACE=FILE.json`` writes a Chrome trace (``%p`` in the name stands for the process's number).

    Returns
    -------
    Trace
        `print` gives a table, `reasons()` why each algorithm ran, `calls` the records, `chrome(path)` a file for
        https://ui.perfetto.dev, `json(path)` everything.

    Notes
    -----
    A traced frozen model runs its operations one by one, and calls on a GPU are waited for.

    Examples
    --------
    >>> import numpy as np, numconv as nc
    >>> with nc.trace() as trace:
    ...     y = nc.conv2d(np.ones((1, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32))
    >>> [call.problem.operation for call in trace.calls]
    ['conv2d']
    """
    return Trace()


def from_environment() -> None:
    """Open the trace that ``NUMCONV_TRACE`` asks for; to be closed and written as the process ends."""
    wanted = os.environ.get("NUMCONV_TRACE", "")
    if wanted in ("", "0"):
        return
    opened = trace().__enter__()

    def close() -> None:
        opened.__exit__()
        if not wanted.endswith(".json"):
            print(opened, file=sys.stderr)
            return
        try:
            opened.chrome(wanted.replace("%p", str(os.getpid())))
        except OSError as error:
            print(f"numconv: the trace that NUMCONV_TRACE asks for is not written: {error}", file=sys.stderr)

    atexit.register(close)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=opened.spans.clear)  # those are the parent's
