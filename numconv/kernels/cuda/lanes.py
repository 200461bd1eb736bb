"""Neighbouring elements, one or four at a time, as tuples of numbers: four of 16 or 32 bits are one wide access.

Indices count elements. Those of four are multiples of 4, and the array begins at a multiple of 16 bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.kernels.cuda import launch, ptx


def number(dtype: str) -> Any:
    """The type that elements of a dtype are compared in: their own, float32 for half types."""
    return np.float32 if dtype in ("float16", "bfloat16") else getattr(np, dtype)


def _widen(dtype: str) -> Any:
    """A function of an element as it is stored: the number."""
    halves = {"float16": ptx.half_to_float, "bfloat16": ptx.bfloat_to_float}
    return halves.get(dtype) or launch.inlined(lambda value: value)


def _narrow(dtype: str) -> Any:
    """A function of a number, of float32 for half types: the element as it is stored."""
    halves = {"float16": ptx.float_to_half, "bfloat16": ptx.float_to_bfloat}
    return halves.get(dtype) or getattr(np, dtype)


@launch.function
def load(dtype: str, lanes: int) -> Any:
    """`load(dtype, lanes)(array, i)`: elements from the i-th on."""
    widen = _widen(dtype)

    def one(array, i):
        return (widen(array[i]),)

    def four(array, i):
        a, b, c, d = ptx.load4(array, i)
        return widen(a), widen(b), widen(c), widen(d)

    return one if lanes == 1 else four


@launch.function
def store(dtype: str, lanes: int) -> Any:
    """`store(dtype, lanes)(array, i, numbers)`, each rounded to the element's type."""
    narrow = _narrow(dtype)

    def one(array, i, v):
        array[i] = narrow(v[0])

    def four(array, i, v):
        ptx.store4(array, i, (narrow(v[0]), narrow(v[1]), narrow(v[2]), narrow(v[3])))

    return one if lanes == 1 else four


def each(function: Any, lanes: int) -> Any:
    """The function of numbers as one of tuples."""
    return _each(launch.inlined(function), lanes)


@launch.function
def _each(f: Any, lanes: int) -> Any:
    def one(a, b):
        return (f(a[0], b[0]),)

    def four(a, b):
        return f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])

    return one if lanes == 1 else four


def each4(function: Any, lanes: int) -> Any:
    """The same of a function of four numbers."""
    return _each4(launch.inlined(function), lanes)


@launch.function
def _each4(f: Any, lanes: int) -> Any:
    def one(a, b, c, d):
        return (f(a[0], b[0], c[0], d[0]),)

    def four(a, b, c, d):
        return (
            f(a[0], b[0], c[0], d[0]), f(a[1], b[1], c[1], d[1]), f(a[2], b[2], c[2], d[2]),
            f(a[3], b[3], c[3], d[3]),
        )  # fmt: skip

    return one if lanes == 1 else four


@launch.function
def alike(kind: Any, lanes: int) -> Any:
    """`alike(kind, lanes)(v)`: the number in each lane."""

    def one(v):
        return (kind(v),)

    def four(v):
        return kind(v), kind(v), kind(v), kind(v)

    return one if lanes == 1 else four


@launch.function
def cast(kind: Any, lanes: int) -> Any:
    """`cast(kind, lanes)(numbers)`: as numbers of another type."""

    def one(v):
        return (kind(v[0]),)

    def four(v):
        return kind(v[0]), kind(v[1]), kind(v[2]), kind(v[3])

    return one if lanes == 1 else four


@launch.function
def put(lanes: int) -> Any:
    """`put(lanes)(room, thread, numbers)`: into shared memory of THREADS x lanes, lane after lane."""

    def one(room, thread, v):
        room[thread] = v[0]

    def four(room, thread, v):
        step = len(room) // 4
        room[thread], room[thread + step] = v[0], v[1]
        room[thread + 2 * step], room[thread + 3 * step] = v[2], v[3]

    return one if lanes == 1 else four


@launch.function
def get(lanes: int) -> Any:
    """`get(lanes)(room, thread)`: what `put` has put there."""

    def one(room, thread):
        return (room[thread],)

    def four(room, thread):
        step = len(room) // 4
        return room[thread], room[thread + step], room[thread + 2 * step], room[thread + 3 * step]

    return one if lanes == 1 else four
