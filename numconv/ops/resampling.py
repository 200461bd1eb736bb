"""Moving elements about: padding, im2col and col2im, interpolation, pixel and channel shuffles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np

from numconv.ops.elementwise import movable, real
from numconv.problem import LAST, integer, layout_of, pairs, per_axis, window_output_size

_PAD_MODES = ("constant", "reflect", "replicate", "circular")


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
    around = _pad_pairs(pad, x.ndim)
    if mode not in _PAD_MODES:
        raise ValueError(f"mode must be one of {_PAD_MODES}, got {mode!r}")
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, around))
    if min(shape, default=0) < 0:
        raise ValueError(f"pad takes away more than there is: got {pad!r} for shape {x.shape}")
    if mode == "constant":
        return _pad_constant(x, shape, around, value)
    if value is not None and value != 0:
        raise ValueError(f"value must not be given in mode {mode!r}, got {value!r}")
    sources = [_pad_source(n, pair, mode) for n, pair in zip(x.shape, around)]
    padded = x.copy()
    for axis, (source, pair) in enumerate(zip(sources, around)):
        if pair != (0, 0):
            padded = padded.take(source, axis)
    return padded


def _pad_pairs(pad: Any, ndim: int) -> list[tuple[int, int]]:
    """A (before, after) pair for each axis of the array."""
    entries = list(pad) if isinstance(pad, Iterable) and not isinstance(pad, (str, bytes)) else [pad]
    if entries and all(isinstance(e, Iterable) for e in entries):
        nested = [per_axis("pad", e, 2) for e in entries]
    else:
        flat = [integer("pad", e) for e in entries]
        if len(flat) % 2:
            raise ValueError(f"pad must have an even length, two numbers an axis, got {pad!r}")
        nested = list(zip(flat[::2], flat[1::2]))[::-1]
    if len(nested) > ndim:
        raise ValueError(f"pad must have at most {ndim} pairs, one for each axis of x, got {pad!r}")
    return [(0, 0)] * (ndim - len(nested)) + [(before, after) for before, after in nested]


def _pad_constant(x: np.ndarray, shape: tuple[int, ...], around: list[tuple[int, int]], value: Any) -> np.ndarray:
    value = 0 if value is None else value
    if x.dtype.kind in "iu":
        limits = np.iinfo(x.dtype)
        if not (limits.min <= value <= limits.max and int(value) == value):
            raise ValueError(f"value must be one of x's dtype {x.dtype}, got {value!r}")
    padded = np.full(shape, value, x.dtype)
    target = tuple(slice(max(before, 0), n - max(after, 0)) for n, (before, after) in zip(shape, around))
    source = tuple(slice(max(-before, 0), n - max(-after, 0)) for n, (before, after) in zip(x.shape, around))
    padded[target] = x[source]
    return padded


def _pad_source(n: int, pair: tuple[int, int], mode: str) -> np.ndarray:
    """Which element of an axis of length n each element of the padded axis repeats."""
    most = {"reflect": n - 1, "circular": n, "replicate": math.inf if n else 0}[mode]
    if max(pair) > max(most, 0):
        raise ValueError(f"pad must be at most {most} in mode {mode!r} along an axis of length {n}, got {pair}")
    index = np.arange(-pair[0], n + pair[1])
    if mode == "circular":
        return index % max(n, 1)
    if mode == "replicate":
        return index.clip(0, n - 1)
    index = np.abs(index)
    return np.where(index < n, index, 2 * (n - 1) - index)


def unfold(
    x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1, *, data_format: str | None = None
) -> np.ndarray:
    """Gather the windows of a convolution into the columns of a matrix (im2col).

    Parameters
    ----------
    x : array_like, shape (N, C, *spatial) or (C, *spatial)
        One to three spatial axes: as many as `kernel_size` has entries; for an integer as `data_format` says; else
        two, save where `x` has two or five axes. Any dtype, bool included.
    kernel_size, dilation, stride : int or sequence of int
    padding : int, sequence of int or of (int, int)
        Zeros around each axis.
    data_format : str, optional
        With a channels-last format the result is (N, L, C prod(kernel_size)).

    Returns
    -------
    ndarray, shape (N, C prod(kernel_size), L) or unbatched
        L windows in row-major order; channels outermost inside each, so that
        `weight.reshape(out_channels, -1) @ unfold(x, ...)` is a convolution.

    Raises
    ------
    ValueError
        If ranks do not fit, or a kernel is larger than the padded input.
    TypeError
        If an option is not made of integers.
    """
    x = movable("x", x)
    ndim = _unfold_axes(kernel_size, data_format, {2: 1, 5: 3}.get(x.ndim, 2))
    last = layout_of(data_format, ndim) == LAST
    if x.ndim not in (ndim + 1, ndim + 2):
        raise ValueError(f"x must have {ndim + 1} or {ndim + 2} axes for {ndim} spatial axes, got shape {x.shape}")
    first = x.ndim - ndim - (not last)  # of the spatial axes, once channels stand before them
    first = x.ndim - ndim
    kernel, dilations, strides, around = _window_options(ndim, kernel_size, dilation, stride, padding)
    if last:
        x = np.moveaxis(x, -1, -ndim - 1)
    _window_counts("x", x.shape[first:], kernel, dilations, strides, around)

    if any(map(any, around)):
        x = pad(x, around)
    axes = tuple(range(first, x.ndim))
    spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations))
    windows = np.lib.stride_tricks.sliding_window_view(x, spans, axes)
    steps = (*strides, *dilations)
    windows = windows[(..., *(slice(None, None, step) for step in steps))]
    counts = windows.shape[-2 * ndim : -ndim]
    windows = np.moveaxis(windows, axes, tuple(range(first - 1, first - 1 + ndim)) if last else tuple(range(-ndim, 0)))
    columns = np.array(windows, order="C", copy=True)
    rows = (x.shape[first - 1] * math.prod(kernel), math.prod(counts))
    return columns.reshape(*x.shape[: first - 1], *(rows[::-1] if last else rows))


def fold(
    x: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    data_format: str | None = None,
) -> np.ndarray:
    """Add the columns of a matrix back to the places that `unfold` takes them from (col2im).

    Parameters
    ----------
    x : array_like, shape (N, C prod(kernel_size), L) or unbatched
        (N, L, C prod(kernel_size)) with a channels-last format. Any dtype but bool.
    output_size : int or sequence of int
        Spatial shape of the result.
    kernel_size, dilation, padding, stride
        As in `unfold`. The number of spatial axes is that of `output_size`, `kernel_size` or `data_format`, else two.
    data_format : str, optional

    Returns
    -------
    ndarray, shape (N, C, *output_size) or unbatched, channels last where asked for
        float16 and bfloat16 are summed in float32 and rounded once.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        For bool, and if an option is not made of integers.
    """
    x = movable("x", x)
    if x.dtype == np.bool_:
        raise TypeError("x must be of a dtype that can be added, got bool")
    sized = output_size if _is_sequence(output_size) else kernel_size
    ndim = _unfold_axes(sized, data_format, 2)
    last = layout_of(data_format, ndim) == LAST
    kernel, dilations, strides, around = _window_options(ndim, kernel_size, dilation, stride, padding)
    size = per_axis("output_size", output_size, ndim, 1)
    counts = _window_counts("output_size", size, kernel, dilations, strides, around)
    if x.ndim not in (2, 3):
        raise ValueError(f"x must have 2 or 3 axes, got shape {x.shape}")
    rows, length = x.shape[: -3 : -1] if last else x.shape[-2:]
    taps = math.prod(kernel)
    if rows % taps:
        raise ValueError(f"x must have a multiple of prod(kernel_size) = {taps} rows, got {rows} in shape {x.shape}")
    if length != math.prod(counts):
        raise ValueError(f"x must have one column for each of the {counts} windows, got {length} in shape {x.shape}")

    result, batch, channels = x.dtype, x.shape[:-2], rows // taps
    work = np.dtype(np.float32) if result.itemsize == 2 and result.kind in "fV" else result
    lead = (slice(None),) * len(batch)
    padded = [n + before + after for n, (before, after) in zip(size, around)]
    if last:
        columns = x.reshape(*batch, *counts, channels, *kernel)
        image, tail = np.zeros((*batch, *padded, channels), work), (slice(None),)
    else:
        columns = np.moveaxis(x.reshape(*batch, channels, *kernel, *counts), ..., ...)
        image, tail = np.zeros((*batch, channels, *padded), work), ()
    return columns
