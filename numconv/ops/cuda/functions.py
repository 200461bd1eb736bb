"""The device's table: what `ops.device.by_device` runs for arrays on a GPU, by the names of the host's functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numconv.ops.cuda import arrays, elementwise, layers, padding
from numconv.ops.cuda.borders import taking


class _Table(dict[str, Callable[..., Any]]):
    def __missing__(self, name: str) -> Callable[..., Any]:
        raise TypeError(f"{name} runs on the CPU only, and got an array on a GPU: copy it to the host first")


TABLE = _Table(
    {name: taking(f) for module in (arrays, elementwise, layers, padding) for name, f in module.ENTRIES.items()}
)
# What gives no array, or is to give one of Numba's.
TABLE |= {"asarray": arrays.asarray}
