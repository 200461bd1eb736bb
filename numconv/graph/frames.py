"""Frames that lie idle: a call takes one, or makes one, and puts it back, so any number of threads may call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_KINDS = 8  # of calls whose frames are kept


class Frames:
    """Frames by the kind of call that they were made for.

    Parameters
    ----------
    most : int
        Idle ones of a kind that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: dict[Any, list[Any]] = {}
        self._lock = threading.Lock()

    def run(self, kind: Any, make: Callable[[], Any], arrays: Any) -> Any:
        """What a frame of a kind, or one that `make` gives, makes of arrays."""
        idle = self._of(kind)
        try:
            frame = idle.pop()
        except IndexError:
            frame = make()
        outputs = frame.run(arrays)
        if len(idle) < self._most:
            idle.append(frame)
        return outputs

    def _of(self, kind: Any) -> list[Any]:
        idle = self._idle.get(kind)
        if idle is None:
            with self._lock:
                if len(self._idle) >= _KINDS:
                    self._idle = {}
                idle = self._idle.setdefault(kind, [])
        return idle
