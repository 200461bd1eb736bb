"""Which elements each element of a resized axis is made of, and by which weights: its taps.

Taps are an index and a weight, both of shape (out, taps); index -1 is no tap at all. The rules for coordinates are
those of PyTorch (aten/src/ATen/native/UpSample.h), rounding included: they are computed in the dtype of the sums, those
of the nearest modes in float32 unless x has float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Taps = tuple[np.ndarray, np.ndarray]


def nearest_tap(n: int, out: int, factor: float | None, exact: bool, double: bool) -> np.ndarray:
    """The one tap of each output element."""
    number: Any = np.float64 if double else np.float32
    scale = number(1 / factor) if factor else number(n) / number(out)
    place = (np.arange(out).astype(number) + number(0.5 if exact else 0)) * scale
    return np.minimum(np.floor(place.astype(np.float32)).astype(np.int64), n - 1)


def weighted_taps(
    mode: str, n: int, out: int, factor: float | None, align_corners: bool, antialias: bool, work: np.dtype
) -> Taps:
    number = work.type
    if align_corners:
        scale = number(n - 1) / number(max(out - 1, 1)) if out > 1 else number(0)
    else:
        scale = number(1 / factor) if factor else number(n) / number(out)
    centre = np.arange(out).astype(work) + number(0.5)
    if antialias:
        return _antialiased(n, centre * scale, scale, *((_triangle, 1) if mode == "bilinear" else (_keys, 2)))
    if align_corners:
        place = (centre - number(0.5)) * scale
    else:  # rounded once, as the fused multiply-add in PyTorch's kernels
        place = (centre * np.float64(scale) - 0.5).astype(work)
    return _cubic(n, place) if mode == "bicubic" else _linear(n, np.maximum(place, 0))


def any_taps(
    mode: str, n: int, out: int, factor: float | None, align_corners: bool, antialias: bool, work: np.dtype
) -> Taps:
    """The taps of any mode."""
    if mode.startswith("nearest"):
        index = nearest_tap(n, out, factor, mode == "nearest-exact", work == np.float64)[:, None]
        return index, np.ones(index.shape, work)
    if mode == "area":
        index, count = windows(n, out)
        return index, np.ones(index.shape, work) / count[:, None].astype(work)
    return weighted_taps(mode, n, out, factor, align_corners, antialias, work)


def transposed(n: int, index: np.ndarray, weight: np.ndarray) -> Taps:
    """Taps of the n elements of the input on those of the result: which ones each was a tap of, and by what weight."""
    out, tap = np.nonzero(index >= 0)
    of = index[out, tap]
    order = np.argsort(of, kind="stable")
    count = np.bincount(of, minlength=n)
    place = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    sources = np.full((n, count.max(initial=0)), -1)
    weights = np.zeros(sources.shape, weight.dtype)
    sources[of[order], place], weights[of[order], place] = out[order], weight[out, tap][order]
    return sources, weights


def _linear(n: int, place: np.ndarray) -> Taps:
    index = np.minimum(np.floor(place).astype(np.int64), n - 1)
    right = (place - index).clip(0, 1).astype(place.dtype)
    return np.stack([index, np.minimum(index + 1, n - 1)], 1), np.stack([1 - right, right], 1)


def _cubic(n: int, place: np.ndarray) -> Taps:
    index = np.minimum(np.floor(place).astype(np.int64), n - 1)
    taps = np.arange(-1, 3)
    distance = (place - index).clip(0, 1).astype(place.dtype)[:, None] - taps.astype(place.dtype)
    return (index[:, None] + taps).clip(0, n - 1), _keys(np.abs(distance), -0.75)


def _keys(distance: np.ndarray, a: float = -0.5) -> np.ndarray:
    """The cubic kernel of R. G. Keys (IEEE Trans. ASSP 29, 1981), 0 from distance 2 on."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance < 1, near, np.where(distance < 2, far, 0))


def _triangle(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - distance, 0)


def _antialiased(
    n: int, centre: np.ndarray, scale: Any, kernel: Callable[[np.ndarray], np.ndarray], reach: int
) -> Taps:
    """Taps of a kernel of half width `reach`, stretched where the result is smaller, as Pillow's resize does."""
    stretch = max(scale, centre.dtype.type(1))
    start = np.maximum((centre - reach * stretch + 0.5).astype(np.int64), 0)
    stop = np.minimum((centre + reach * stretch + 0.5).astype(np.int64), n)
    index = start[:, None] + np.arange(max((stop - start).max(initial=1), 1))
    distance = np.abs(index.astype(centre.dtype) - centre[:, None] + 0.5) / stretch
    weight = np.where(index < stop[:, None], kernel(distance), 0)
    total = weight.sum(axis=1, keepdims=True)
    return np.where(index < stop[:, None], index, -1), weight / np.where(total == 0, 1, total)


def windows(n: int, out: int) -> tuple[np.ndarray, np.ndarray]:
    """(elements of each window of an average, -1 where there are fewer; how many)."""
    position = np.arange(out)
    start, stop = position * n // max(out, 1), -(-(position + 1) * n // max(out, 1))
    index = start[:, None] + np.arange((stop - start).max(initial=1))
    return np.where(index < stop[:, None], index, -1), stop - start
