"""Arguments of the functions here: what may come, judged by its type when a caller is compiled, and made alike."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba.core import errors, types

from numconv.njit._flags import compiled

FAR = 1 << 31  # products of strides, dilations and sizes below it stay within 64 bits


def unwrapped(kind: Any) -> Any:
    """The type of an argument, of one that was left out the type of its default."""
    if isinstance(kind, types.Omitted):
        return types.none if kind.value is None else kind.value
    return types.unliteral(kind) if isinstance(kind, types.Type) else kind


def is_none(kind: Any) -> bool:
    kind = unwrapped(kind)
    return kind is None or kind == types.none


def floats(name: str, kind: Any, axes: tuple[int, ...]) -> None:
    """An error unless it is an array of float32 or float64 with so many axes."""
    if not isinstance(kind, types.Array) or kind.dtype not in (types.float32, types.float64):
        raise errors.NumbaTypeError(f"{name} must be an array of float32 or float64, got {kind}")
    if kind.ndim not in axes:
        wanted = " or ".join(map(str, axes))
        raise errors.NumbaTypeError(f"{name} must have {wanted} axes, got {kind.ndim}")


def _parts(kind: Any) -> tuple[Any, ...]:
    """The types in a tuple; none of anything else."""
    is_tuple: Any = isinstance(kind, types.BaseTuple)
    return tuple(kind) if is_tuple else ()


def _count(name: str, kind: Any, n: int, pairs: bool = False) -> int:
    """0 of an integer, else how many integers a tuple has; an error of anything else."""
    kind = unwrapped(kind)
    if isinstance(kind, (int, np.integer)) and not isinstance(kind, bool):
        return 0
    if isinstance(kind, types.Integer):
        return 0
    parts = _parts(kind)
    if len(parts) in (1, n) and all(isinstance(part, types.Integer) for part in parts):
        return len(parts)
    also = ", pairs of them, 'valid', 'same', 'same_lower' or 'full'" if pairs else ""
    raise errors.NumbaTypeError(f"{name} must be an integer or a tuple of {n} integers{also}, got {kind}")


def per_axis(name: str, kind: Any, n: int, least: int) -> Any:
    """A compiled function of the argument that gives three integers, for axes before the first of `n` the least."""
    return _axes(name, _count(name, kind, n), n, least)


@functools.cache
def _axes(name: str, count: int, n: int, least: int) -> Any:
    message = f"{name} must be at least {least} and below 2**31 along each axis"

    @compiled
    def checked(a, b, c):
        numbers = np.int64(a), np.int64(b), np.int64(c)
        if min(numbers) < least or max(numbers) >= FAR:
            raise ValueError(message)
        return numbers

    if count == 1:
        same = _axes(name, 0, n, least)
        return compiled(lambda value: same(value[0]))
    if n == 1:
        return compiled(lambda value: checked(least, least, value))
    if n == 2 and count == 0:
        return compiled(lambda value: checked(least, value, value))
    if n == 2:
        return compiled(lambda value: checked(least, value[0], value[1]))
    if count == 0:
        return compiled(lambda value: checked(value, value, value))
    return compiled(lambda value: checked(value[0], value[1], value[2]))


@functools.cache
def _every(count: int, i: int) -> Any:
    """A compiled function that gives the i-th number of each of so many pairs."""
    if count == 1:
        return compiled(lambda pairs: (pairs[0][i],))
    if count == 2:
        return compiled(lambda pairs: (pairs[0][i], pairs[1][i]))
    return compiled(lambda pairs: (pairs[0][i], pairs[1][i], pairs[2][i]))


def is_text(kind: Any) -> bool:
    kind = unwrapped(kind)
    return isinstance(kind, str) or kind == types.unicode_type


def is_nested(kind: Any) -> bool:
    """Whether it is a tuple of tuples."""
    parts = _parts(unwrapped(kind))
    return len(parts) > 0 and all(isinstance(part, types.BaseTuple) for part in parts)


def padding_of(kind: Any, n: int) -> Any:
    """A compiled function `(padding, geometry)` that fills in what comes before and after each axis."""
    from numconv.njit._sweep import AFTER, BEFORE, DILATION, KERNEL, SIZE, STRIDE

    kind = unwrapped(kind)
    if is_text(kind):

        @compiled
        def by_name(padding, geometry):
            if padding not in ("valid", "same", "same_lower", "full"):
                raise ValueError("padding must be integers, pairs, 'valid', 'same', 'same_lower' or 'full'")
            for axis in range(3 - n, 3):
                reach = (geometry[axis, KERNEL] - 1) * geometry[axis, DILATION]
                stride, size = geometry[axis, STRIDE], geometry[axis, SIZE]
                total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
                if padding == "full":
                    geometry[axis, BEFORE] = geometry[axis, AFTER] = reach
                elif padding != "valid":
                    small, large = total // 2, total - total // 2
                    geometry[axis, BEFORE] = small if padding == "same" else large
                    geometry[axis, AFTER] = large if padding == "same" else small

        return by_name
    if is_nested(kind):
        whole = all(isinstance(part, types.Integer) for pair in kind for part in pair)
        if kind.count not in (1, n) or any(pair.count != 2 for pair in kind) or not whole:
            raise errors.NumbaTypeError(f"padding must have {n} (before, after) pairs of integers, got {kind}")
        first, second, each = _every(kind.count, 0), _every(kind.count, 1), _axes("padding", kind.count, n, 0)

        @compiled
        def by_pairs(padding, geometry):
            before, after = each(first(padding)), each(second(padding))
            for axis in range(3):
                geometry[axis, BEFORE], geometry[axis, AFTER] = before[axis], after[axis]

        return by_pairs
    numbers = _axes("padding", _count("padding", kind, n, pairs=True), n, 0)

    @compiled
    def by_numbers(padding, geometry):
        before = numbers(padding)
        for axis in range(3):
            geometry[axis, BEFORE] = geometry[axis, AFTER] = before[axis]

    return by_numbers


def boolean(name: str, kind: Any) -> None:
    """An error unless it is a boolean."""
    kind = unwrapped(kind)
    if not isinstance(kind, bool) and kind != types.boolean:
        raise errors.NumbaTypeError(f"{name} must be a boolean, got {kind}")


def literal(name: str, kind: Any) -> bool:
    """The value of a boolean that the caller writes out, or leaves out; an error of anything else."""
    value = getattr(kind, "literal_value", kind.value if isinstance(kind, types.Omitted) else kind)
    if not isinstance(value, bool):
        raise errors.NumbaTypeError(f"{name} must be written out as True or False, got {kind}")
    return value


def integer(name: str, kind: Any) -> None:
    """An error unless it is an integer."""
    kind = unwrapped(kind)
    if not isinstance(kind, types.Integer) and (not isinstance(kind, int) or isinstance(kind, bool)):
        raise errors.NumbaTypeError(f"{name} must be an integer, got {kind}")


@functools.cache
def sizes(ndim: int, n: int) -> Any:
    """A compiled function that gives the shape of an array of so many axes as (n, c, d, h, w), all of one type."""
    one = np.int64(1)
    if ndim == n + 1 and n == 1:
        return compiled(lambda x: (one, x.shape[0], one, one, x.shape[1]))
    if ndim == n + 1 and n == 2:
        return compiled(lambda x: (one, x.shape[0], one, x.shape[1], x.shape[2]))
    if ndim == n + 1:
        return compiled(lambda x: (one, x.shape[0], x.shape[1], x.shape[2], x.shape[3]))
    if n == 1:
        return compiled(lambda x: (x.shape[0], x.shape[1], one, one, x.shape[2]))
    if n == 2:
        return compiled(lambda x: (x.shape[0], x.shape[1], one, x.shape[2], x.shape[3]))
    return compiled(lambda x: x.shape)


@compiled
def flat(x):
    """An array in one axis: itself, or a copy where it is not contiguous."""
    return np.ascontiguousarray(x).reshape(x.size)


@functools.cache
def shaped(ndim: int, n: int) -> Any:
    """A compiled function that shows a flat result of a shape (n, c, d, h, w) with so many axes."""
    if ndim == n + 1 and n == 1:
        return compiled(lambda y, shape: y.reshape(shape[1], shape[4]))
    if ndim == n + 1 and n == 2:
        return compiled(lambda y, shape: y.reshape(shape[1], shape[3], shape[4]))
    if ndim == n + 1:
        return compiled(lambda y, shape: y.reshape(shape[1], shape[2], shape[3], shape[4]))
    if n == 1:
        return compiled(lambda y, shape: y.reshape(shape[0], shape[1], shape[4]))
    if n == 2:
        return compiled(lambda y, shape: y.reshape(shape[0], shape[1], shape[3], shape[4]))
    return compiled(lambda y, shape: y.reshape(shape))
