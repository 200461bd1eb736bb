"""Padding on a GPU."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.kernels.cuda import launch, memory
from numconv.ops.padding import check_pad, pad_pairs, pad_source

_resizing = kernels("interpolation", "cuda")


def pad(x: Any, pad: Any, mode: str = "constant", value: float | None = 0) -> Any:
    """As on the CPU; whether `value` is one of an integer dtype is not looked at."""
    around = pad_pairs(pad, x.ndim)
    check_pad(x.shape, around, pad, mode)
    if mode == "constant":
        return _constant(x, around, 0 if value is None else value)
    if value is not None and value != 0:
        raise ValueError(f"value must not be given in mode {mode!r}, got {value!r}")
    y = memory.contiguous(x)
    for axis, (n, pair) in enumerate(zip(x.shape, around)):
        if pair != (0, 0):
            y = _picked(y, axis, n, pair, mode)
    return memory.copied(y) if y is x else y


def _constant(x: Any, around: list[tuple[int, int]], value: float) -> Any:
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, around))
    padded = memory.to_device(np.full(1, value, x.dtype))
    padded = memory.copied(memory.broadcast_to(memory.reshape(padded, (1,) * len(shape)), shape))
    target, source = padded, x
    for axis, (n, (before, after)) in enumerate(zip(x.shape, around)):
        target = memory.part(target, axis, max(before, 0), shape[axis] - max(after, 0))
        source = memory.part(source, axis, max(-before, 0), n - max(-after, 0))
    memory.copy_into(target, source)
    return padded


def _picked(x: Any, axis: int, n: int, pair: tuple[int, int], mode: str) -> Any:
    """A contiguous array padded along one axis by elements of its own."""
    source = _sources(memory.place(), n, pair, mode)
    out = memory.empty((*x.shape[:axis], source.size, *x.shape[axis + 1 :]), x.dtype)
    if out.size:
        kernel = _resizing.pick(n, source.size, math.prod(x.shape[axis + 1 :]))
        arrays = [memory.flat(x), source, memory.flat(out)]
        kernel(launch.blocks(out.size, _resizing.THREADS), _resizing.THREADS, *arrays, out.size)
    return out


@functools.lru_cache(maxsize=256)
def _sources(place: Any, n: int, pair: tuple[int, int], mode: str) -> Any:
    """Which element each one repeats, on a device and stream."""
    pool = kernels("pool", "cuda")
    with pool.lending(pool.shared):
        return memory.to_device(pad_source(n, pair, mode).astype(np.int32))


ENTRIES = {"pad": pad}
