"""Hearing Numba's compilers, that of the CPU and that of the GPU: how long a thread compiles, and which functions."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

_heard: set[str] = set()  # whose events are listened to


def listen(
    restore: contextlib.ExitStack, spent: Callable[[float], None], compiled: Callable[[str, float, float], None]
) -> None:
    """Listen to the compilers that are loaded and were not heard yet, until `restore` is closed.

    Parameters
    ----------
    restore : ExitStack
    spent : callable
        ``spent(seconds)`` in the thread that compiled kernels, or loaded them from the cache.
    compiled : callable
        ``compiled(name, start, seconds)`` for each function that was compiled.
    """
    # While a thread holds a compiler's lock it compiles a kernel, or loads it from the cache.
    locked = functools.partial(_listener, lambda start, seconds, data: spent(seconds), True)
    done = functools.partial(_listener, lambda start, seconds, data: compiled(_name(data), start, seconds), False)
    for name, kinds in (
        ("numba.core.event", {"numba:compiler_lock": locked, "numba:compile": done}),
        ("numba.cuda.core.event", {"numba-cuda:compiler_lock": locked}),  # which tells of no functions
    ):
        events: Any = sys.modules.get(name)
        if events is None or name in _heard:
            continue
        for kind, make in kinds.items():
            heard = make(events)
            events.register(kind, heard)
            restore.callback(events.unregister, kind, heard)
        _heard.add(name)
        restore.callback(_heard.discard, name)


def _name(data: Any) -> str:
    return data["dispatcher"].py_func.__qualname__


def _listener(tell: Callable[[float, float, Any], None], outermost: bool, events: Any) -> Any:
    """Tells of events as they end: when one began, its seconds, its data; or only of those that are in no other."""

    class Listener(events.Listener):
        def __init__(self) -> None:
            self._thread = threading.local()

        def on_start(self, event: Any) -> None:
            self._thread.starts = [*getattr(self._thread, "starts", ()), perf_counter()]

        def on_end(self, event: Any) -> None:
            starts = getattr(self._thread, "starts", ())
            if not starts:  # it began before anybody listened
                return
            *self._thread.starts, start = starts
            if not (outermost and self._thread.starts):
                tell(start, perf_counter() - start, event.data)

    return Listener()
