"""Moving elements about: im2col, col2im and shuffles, and, from their own files, padding and interpolation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np

from numconv.ops.device import by_device
from numconv.ops.elementwise import channels_last, movable
from numconv.ops.interpolation import interpolate, interpolate_input
from numconv.ops.padding import pad, pad_input, pad_pairs
from numconv.problem import HALF, LAST, integer, layout_of, pairs, per_axis, window_output_size

__all__ = [
    "channel_shuffle",
    "fold",
    "interpolate",
    "interpolate_input",
    "pad",
    "pad_input",
    "pad_pairs",
    "pixel_shuffle",
    "pixel_unshuffle",
    "unfold",
]


def unfold(
    x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1, *, data_format: str | None = None
) -> np.ndarray:
    """Gather the windows of a convolution into the columns of a matrix (im2col).

    Parameters
    ----------
    x : array_like, shape ``(N, C, *spatial)`` or ``(C, *spatial)``
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
    ndim = _spatial_axes(kernel_size, data_format, {2: 1, 5: 3}.get(x.ndim, 2))
    last = layout_of(data_format, ndim) == LAST
    if x.ndim not in (ndim + 1, ndim + 2):
        raise ValueError(f"x must have {ndim + 1} or {ndim + 2} axes for {ndim} spatial axes, got shape {x.shape}")
    channel = x.ndim - ndim - 1
    if last:
        x = np.moveaxis(x, -1, channel)
    spatial = tuple(range(channel + 1, x.ndim))
    kernel, dilations, strides, around = _window_options(ndim, kernel_size, dilation, stride, padding)
    counts = _window_counts(x.shape[channel + 1 :], kernel, dilations, strides, around)

    if any(map(any, around)):
        x = pad(x, around)
    spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations))
    windows = np.lib.stride_tricks.sliding_window_view(x, spans, spatial)
    windows = windows[_index(slice(None, None, step) for step in strides + dilations)]
    windows = np.moveaxis(windows, channel, channel + ndim) if last else np.moveaxis(windows, spatial, _tail(ndim))
    rows, length = x.shape[channel] * math.prod(kernel), math.prod(counts)
    shape = (length, rows) if last else (rows, length)
    return np.array(windows, order="C").reshape(*x.shape[:channel], *shape)


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
    ndarray, shape ``(N, C, *output_size)`` or unbatched, channels last where asked for
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
    sized = output_size if isinstance(output_size, Iterable) else kernel_size
    ndim = _spatial_axes(sized, data_format, 2)
    last = layout_of(data_format, ndim) == LAST
    kernel, dilations, strides, around = _window_options(ndim, kernel_size, dilation, stride, padding)
    size = per_axis("output_size", output_size, ndim, 1)
    counts = _window_counts(size, kernel, dilations, strides, around)
    if x.ndim not in (2, 3):
        raise ValueError(f"x must have 2 or 3 axes, got shape {x.shape}")
    *batch, rows, length = x.swapaxes(-1, -2).shape if last else x.shape
    channels = rows // math.prod(kernel)
    if rows % math.prod(kernel):
        raise ValueError(f"x must have prod(kernel_size) rows a channel, got {rows} for {kernel} in shape {x.shape}")
    if length != math.prod(counts):
        raise ValueError(f"x must have a column for each of the {counts} windows, got {length} in shape {x.shape}")

    padded = [n + before + after for n, (before, after) in zip(size, around)]
    work = np.dtype(np.float32) if x.dtype.name in HALF else x.dtype
    if last:
        columns = np.moveaxis(x.reshape(*batch, *counts, channels, *kernel), _tail(2 * ndim + 1)[:ndim], _tail(ndim))
        image = np.moveaxis(np.zeros((*batch, *padded, channels), work), -1, -ndim - 1)
    else:
        columns = x.reshape(*batch, channels, *kernel, *counts)
        image = np.zeros((*batch, channels, *padded), work)
    with np.errstate(all="ignore"):
        for tap in product(*map(range, kernel)):
            starts = [t * d for t, d in zip(tap, dilations)]
            place = _index(slice(i, i + (n - 1) * s + 1, s) for i, n, s in zip(starts, counts, strides))
            image[place] += columns[_index([*tap, *(slice(None),) * ndim])]
        image = image[_index(slice(before, before + n) for n, (before, _) in zip(size, around))]
        return np.moveaxis(image, -ndim - 1, -1 if last else -ndim - 1).astype(x.dtype, order="C", copy=False)


def _index(entries: Iterable[Any]) -> tuple[Any, ...]:
    """An index for the last axes."""
    return (..., *entries)


def _tail(count: int) -> tuple[int, ...]:
    """The last `count` axes."""
    return tuple(range(-count, 0))


def _spatial_axes(size: Any, data_format: str | None, otherwise: int) -> int:
    """Number of spatial axes: entries of `size`, or what `data_format` names."""
    if isinstance(size, Iterable) and len(entries := tuple(size)) > 1:
        ndim = len(entries)
    elif isinstance(data_format, str) and data_format.startswith("N"):
        ndim = len(data_format) - 2
    else:
        ndim = 1 if isinstance(size, Iterable) else otherwise
    if not 1 <= ndim <= 3:
        raise ValueError(f"there must be 1 to 3 spatial axes, got {size!r} with data_format {data_format!r}")
    return ndim


def _window_options(
    ndim: int, kernel_size: Any, dilation: Any, stride: Any, padding: Any
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]:
    kernel = per_axis("kernel_size", kernel_size, ndim, 1)
    dilations, strides = per_axis("dilation", dilation, ndim, 1), per_axis("stride", stride, ndim, 1)
    return kernel, dilations, strides, pairs("padding", padding, ndim)


def _window_counts(
    size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
) -> tuple[int, ...]:
    """Windows along each axis, at least one."""
    counts = tuple(
        window_output_size(n, k, s, *pair, d) for n, k, s, pair, d in zip(size, kernel, stride, padding, dilation)
    )
    if min(counts) < 1:
        raise ValueError(
            f"kernel_size {tuple(kernel)} with dilation {tuple(dilation)} is larger than the padded image: "
            f"size {tuple(size)}, padding {tuple(padding)}"
        )
    return counts


@by_device
def pixel_shuffle(x: Any, upscale_factor: int, *, data_format: str | None = None) -> np.ndarray:
    """Spread channels over space (Shi et al. 2016): y[c, r h + i, r w + j] = x[c r r + i r + j, h, w].

    Parameters
    ----------
    x : array_like, shape (..., C r r, H, W)
        Any dtype. (..., H, W, C r r) with a channels-last format.
    upscale_factor : int
        r.
    data_format : str, optional

    Returns
    -------
    ndarray, shape (..., C, H r, W r), channels last where asked for

    Raises
    ------
    ValueError
        If `x` has fewer than three axes, or the number of channels is no multiple of r r.
    TypeError
        If `upscale_factor` is no integer.
    """
    x = movable("x", x)
    r = integer("upscale_factor", upscale_factor, 1)
    last, batch, (c, h, w) = picture(x, data_format)
    if c % (r * r):
        raise ValueError(f"x must have a multiple of upscale_factor**2 = {r * r} channels, got shape {x.shape}")
    c //= r * r
    parts = (h, w, c, r, r) if last else (c, r, r, h, w)
    shape = (h * r, w * r, c) if last else (c, h * r, w * r)
    return _rearranged(x, batch, parts, (0, 3, 1, 4, 2), shape)


@by_device
def pixel_unshuffle(x: Any, downscale_factor: int, *, data_format: str | None = None) -> np.ndarray:
    """Gather r by r pixels into channels, the inverse of `pixel_shuffle`.

    Parameters
    ----------
    x : array_like, shape (..., C, H r, W r)
        Any dtype. (..., H r, W r, C) with a channels-last format.
    downscale_factor : int
        r.
    data_format : str, optional

    Returns
    -------
    ndarray, shape (..., C r r, H, W), channels last where asked for

    Raises
    ------
    ValueError
        If `x` has fewer than three axes, or height or width is no multiple of r.
    TypeError
        If `downscale_factor` is no integer.
    """
    x = movable("x", x)
    r = integer("downscale_factor", downscale_factor, 1)
    last, batch, (c, h, w) = picture(x, data_format)
    if h % r or w % r:
        raise ValueError(f"x must have height and width that downscale_factor {r} divides, got shape {x.shape}")
    h, w = h // r, w // r
    parts = (h, r, w, r, c) if last else (c, h, r, w, r)
    shape = (h, w, c * r * r) if last else (c * r * r, h, w)
    return _rearranged(x, batch, parts, (0, 2, 4, 1, 3), shape)


@by_device
def channel_shuffle(x: Any, groups: int, *, data_format: str | None = None) -> np.ndarray:
    """Interleave the channels of several groups (Zhang et al. 2018): channel c of group g becomes c groups + g.

    Parameters
    ----------
    x : array_like, shape (N, C, ...)
        Of three axes or more, of any dtype. (N, ..., C) with a channels-last format.
    groups : int
    data_format : str, optional

    Returns
    -------
    ndarray
        A new array of `x`'s shape and dtype.

    Raises
    ------
    ValueError
        If `x` has fewer than three axes, or `groups` does not divide the channels.
    TypeError
        If `groups` is no integer.
    """
    x = movable("x", x)
    groups = integer("groups", groups, 1)
    if x.ndim < 3:
        raise ValueError(f"x must have at least 3 axes, got shape {x.shape}")
    axis = x.ndim - 1 if channels_last(data_format, x.ndim - 2) else 1
    if x.shape[axis] % groups:
        raise ValueError(f"groups must divide x's {x.shape[axis]} channels, got {groups}")
    parts = (*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])
    return np.array(x.reshape(parts).swapaxes(axis, axis + 1), order="C").reshape(x.shape)


def picture(x: np.ndarray, data_format: str | None) -> tuple[bool, tuple[int, ...], tuple[int, ...]]:
    """(channels last?, leading axes, (channels, height, width)) of a picture's shape."""
    if x.ndim < 3:
        raise ValueError(f"x must have at least 3 axes, got shape {x.shape}")
    last = layout_of(data_format, 2) == LAST
    *batch, a, b, c = x.shape
    return last, tuple(batch), (c, a, b) if last else (a, b, c)


def _rearranged(
    x: np.ndarray, batch: tuple[int, ...], parts: Sequence[int], order: Sequence[int], shape: Sequence[int]
) -> np.ndarray:
    """`x` with the axes after `batch` split into `parts`, reordered, and merged to `shape`, as a new array."""
    axes = (*range(len(batch)), *(len(batch) + axis for axis in order))
    return np.array(x.reshape(*batch, *parts).transpose(axes), order="C").reshape(*batch, *shape)
