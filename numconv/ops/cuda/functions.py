"""The device's table: what `ops.device.by_device` runs for arrays on a GPU, by the names of the host's functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class _Table(dict[str, Callable[..., Any]]):
    def __missing__(self, name: str) -> Callable[..., Any]:
        raise TypeError(f"{name} runs on the CPU only, and got an array on a GPU: copy it to the host first")


TABLE = _Table()
