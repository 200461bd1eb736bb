"""Padding, and its gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from numconv.ops.device import by_device
from numconv.ops.elementwise import movable
from numconv.problem import HALF, integer, per_axis

_PAD_MODES = ("constant", "reflect", "replicate", "circular")


@by_device
def pad(x: Any, pad: Any, mode: str = "constant", value: float | None = 0) -> np.ndarray:
    """Put elements around an array, or take some away.

    Parameters
    ----------
    x : array_like
        Of any number of axes and any dtype, bool included.
    pad : sequence of int, or of (int, int)
        Flat as in PyTorch, last axis first: `(left, right, top, bottom, ...)`; or nested (before, after) pairs for
        the last axes in their own order, as in `numpy.pad`. Negative numbers crop.
    mode : {"constant", "reflect", "replicate", "circular"}
    value : scalar, optional
        What is put there in mode "constant".

    Returns
    -------
    ndarray
        A new array of `x`'s dtype.

    Raises
    ------
    ValueError
        If `pad` has an odd length or more pairs than `x` has axes, crops more than there is, or reaches further than
        the mode allows: reflect less than an axis' length, circular at most that, replicate from one element on.
        If `value` is given in another mode or is no value of an integer `x`.
    TypeError
        If `pad` is not made of integers.
    """
    x = movable("x", x)
    around = pad_pairs(pad, x.ndim)
    check_pad(x.shape, around, pad, mode)
    if mode == "constant":
        return _pad_constant(x, around, value)
    if value is not None and value != 0:
        raise ValueError(f"value must not be given in mode {mode!r}, got {value!r}")
    sources = [pad_source(n, pair, mode) for n, pair in zip(x.shape, around)]
    padded = x.copy()
    for axis, (source, pair) in enumerate(zip(sources, around)):
        if pair != (0, 0):
            padded = padded.take(source, axis)
    return padded


def pad_input(input_size: Any, grad_output: Any, pad: Any, mode: str = "constant") -> np.ndarray:
    """The gradient of `pad` with respect to its input: each element's gradients are added up.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the input of `pad`.
    grad_output : array_like
        Of the shape of its result; any dtype but bool.
    pad, mode
        As there.

    Returns
    -------
    ndarray, shape `input_size`

    Raises
    ------
    ValueError
        As `pad`, and if shapes do not fit.
    TypeError
        For bool, and if `pad` is not made of integers.
    """
    grad = movable("grad_output", grad_output)
    if grad.dtype == np.bool_:
        raise TypeError("grad_output must be of a dtype that can be added, got bool")
    shape = tuple(integer("input_size", n, 0) for n in input_size)
    around = pad_pairs(pad, len(shape))
    check_pad(shape, around, pad, mode)
    sizes = tuple(n + before + after for n, (before, after) in zip(shape, around))
    if grad.shape != sizes:
        raise ValueError(f"grad_output must have shape {sizes}, got {grad.shape}")
    if mode == "constant":
        return _pad_constant(grad, [(-before, -after) for before, after in around], 0)
    y = grad.astype(np.float32 if grad.dtype.name in HALF else grad.dtype)
    with np.errstate(all="ignore"):
        for axis, (n, pair) in enumerate(zip(shape, around)):
            if pair != (0, 0):
                y = _gathered(y, axis, n, pair, pad_source(n, pair, mode))
        return y.astype(grad.dtype, order="C", copy=False)


def _gathered(grad: np.ndarray, axis: int, n: int, pair: tuple[int, int], source: np.ndarray) -> np.ndarray:
    """The sum, for each of n elements along an axis, of the gradients of the places that repeat it."""
    gradient = np.zeros((*grad.shape[:axis], n, *grad.shape[axis + 1 :]), grad.dtype)
    to, given = np.moveaxis(gradient, axis, 0), np.moveaxis(grad, axis, 0)
    before, after = max(pair[0], 0), len(source) - max(pair[1], 0)
    to[source[before:after]] = given[before:after]
    for i in (*range(before), *range(after, len(source))):
        to[source[i]] += given[i]
    return gradient


def check_pad(shape: Sequence[int], around: Sequence[tuple[int, int]], pad: Any, mode: str) -> None:
    if mode not in _PAD_MODES:
        raise ValueError(f"mode must be one of {_PAD_MODES}, got {mode!r}")
    kept = [n + min(before, 0) + min(after, 0) for n, (before, after) in zip(shape, around)]
    sizes = [n + before + after for n, (before, after) in zip(shape, around)]
    if min(kept if mode == "constant" else sizes, default=0) < 0:
        raise ValueError(f"pad must take away no more than there is, got {pad!r} for shape {tuple(shape)}")


def pad_pairs(pad: Any, ndim: int) -> list[tuple[int, int]]:
    """A (before, after) pair for each axis of the array."""
    entries = list(pad) if isinstance(pad, Iterable) and not isinstance(pad, (str, bytes)) else [pad]
    if entries and all(isinstance(e, Iterable) for e in entries):
        nested = [(before, after) for before, after in (per_axis("pad", e, 2) for e in entries)]
    else:
        flat = [integer("pad", e) for e in entries]
        if len(flat) % 2:
            raise ValueError(f"pad must have an even length, two numbers an axis, got {pad!r}")
        nested = list(zip(flat[::2], flat[1::2]))[::-1]
    if len(nested) > ndim:
        raise ValueError(f"pad must have at most {ndim} pairs, one for each axis of x, got {pad!r}")
    return [(0, 0)] * (ndim - len(nested)) + nested


def _pad_constant(x: np.ndarray, around: Sequence[tuple[int, int]], value: Any) -> np.ndarray:
    value = 0 if value is None else value
    if x.dtype.kind in "iu":
        limits = np.iinfo(x.dtype)
        if not (limits.min <= value <= limits.max and int(value) == value):
            raise ValueError(f"value must be one of x's dtype {x.dtype}, got {value!r}")
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, around))
    padded = np.full(shape, value, x.dtype)
    target = tuple(slice(max(before, 0), n - max(after, 0)) for n, (before, after) in zip(shape, around))
    source = tuple(slice(max(-before, 0), n - max(-after, 0)) for n, (before, after) in zip(x.shape, around))
    padded[target] = x[source]
    return padded


def pad_source(n: int, pair: tuple[int, int], mode: str) -> np.ndarray:
    """Which element of an axis of length n each element of the padded axis repeats."""
    before, after = pair
    left, right = max(-before, 0), n - max(-after, 0)
    most = {"reflect": n - 1, "circular": right - left, "replicate": math.inf if n else 0}[mode]
    if max(pair) > max(most, 0):
        raise ValueError(f"pad must be at most {most} in mode {mode!r} along an axis of length {n}, got {pair}")
    index = np.arange(-before, n + after)
    if mode == "circular":  # repeats what is left after cropping
        return left + (index - left) % max(right - left, 1)
    if mode == "replicate":
        return index.clip(0, n - 1)
    index = np.abs(index)
    return np.where(index < n, index, 2 * (n - 1) - index)
