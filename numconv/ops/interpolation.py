"""Resizing by interpolation, one axis after the other.

Along each axis every output element is a weighted sum of a few input elements, its taps (see `taps`). The gradient is
such a sum, too: an input element's taps are the output elements that it is a tap of.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np

from numconv.ops.device import by_device
from numconv.ops.elementwise import channels_last, movable, real
from numconv.ops.taps import any_taps, nearest_tap, transposed, weighted_taps, windows
from numconv.problem import integer, per_axis

_AXES = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
_MODES = ("nearest", "nearest-exact", "area", *_AXES)


@by_device
def interpolate(
    x: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    data_format: str | None = None,
) -> np.ndarray:
    """Resize the spatial axes of an array.

    Parameters
    ----------
    x : array_like, shape ``(N, C, *spatial)``
        One to three spatial axes. Any dtype in the nearest modes; else a real one, where float16 and bfloat16 are
        computed in float32 and rounded once, and integers give float64.
    size : int or sequence of int, optional
        Spatial shape of the result.
    scale_factor : float or sequence of float, optional
        Instead of `size`: the result has floor(n scale_factor) elements along an axis, and coordinates are scaled by
        the factor itself unless `recompute_scale_factor`.
    mode : str
        "nearest", "nearest-exact" and "area" (the mean of what an output element covers) for any number of axes,
        "linear" for one, "bilinear" and "bicubic" for two, "trilinear" for three.
    align_corners : bool, optional
        For the linear and cubic modes: whether the centres of the outermost elements coincide, instead of the
        outer edges. Default False.
    recompute_scale_factor : bool, optional
        Whether coordinates are scaled by the ratio of the integer sizes where `scale_factor` is given.
    antialias : bool
        For "bilinear" and "bicubic": whether the filter widens when the result is smaller, as in Pillow.
    data_format : str, optional

    Returns
    -------
    ndarray
        A new array.

    Raises
    ------
    ValueError
        If `x` has the wrong number of axes for `mode`, the options contradict each other, or an axis would be empty.
    TypeError
        If `x` is bool or complex in a mode that computes, or `size` is not made of integers.

    Notes
    -----
    Where a weight is 0 the element is still multiplied: NaN and infinities spread to all taps.
    """
    nearest = check_mode(mode)
    if nearest:
        x = movable("x", x)
        work = result = x.dtype
    else:
        x, work, result = real("x", x)
    plan = plan_axes(
        "x", x.shape, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias, data_format
    )

    double = work == np.float64
    y = x.astype(work, copy=False)
    with np.errstate(all="ignore"):
        for n, out, factor, axis in plan:
            if nearest:
                y = y.take(nearest_tap(n, out, factor, mode == "nearest-exact", double), axis)
            elif mode == "area":
                y = _average(y, axis, out)
            else:
                y = _weighted(y, axis, *weighted_taps(mode, n, out, factor, bool(align_corners), antialias, work))
        return y.astype(result, order="C", copy=np.may_share_memory(x, y))


@by_device
def interpolate_input(
    input_size: Any,
    grad_output: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    data_format: str | None = None,
) -> np.ndarray:
    """The gradient of `interpolate` with respect to its input.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the input of `interpolate`.
    grad_output : array_like
        Of the shape of its result. float16 and bfloat16 are computed in float32, integers in float64.
    size, scale_factor, mode, align_corners, recompute_scale_factor, antialias, data_format
        As there.

    Returns
    -------
    ndarray, shape `input_size`

    Raises
    ------
    ValueError
        As `interpolate`, and if shapes do not fit.
    TypeError
        For bool and complex `grad_output`.
    """
    check_mode(mode)
    grad, work, result = real("grad_output", grad_output)
    shape = tuple(integer("input_size", n, 0) for n in input_size)
    plan = plan_axes(
        "input_size", shape, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias, data_format
    )
    given = list(shape)
    for _, out, _, axis in plan:
        given[axis] = out
    if grad.shape != tuple(given):
        raise ValueError(f"grad_output must have shape {tuple(given)}, got {grad.shape}")
    y = grad.astype(work, copy=False)
    with np.errstate(all="ignore"):
        for n, out, factor, axis in reversed(plan):
            y = _weighted(
                y, axis, *transposed(n, *any_taps(mode, n, out, factor, bool(align_corners), antialias, work))
            )
        return y.astype(result, order="C", copy=np.may_share_memory(grad, y))


def check_mode(mode: str) -> bool:
    """Whether a mode is one of the nearest."""
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {_MODES}, got {mode!r}")
    return mode.startswith("nearest")


def plan_axes(
    name: str, shape: tuple[int, ...], size: Any, scale_factor: Any, mode: str, align_corners: bool | None,
    recompute_scale_factor: bool | None, antialias: bool, data_format: str | None,
) -> list[tuple[int, int, float | None, int]]:  # fmt: skip
    """(size before, size after, factor, axis) of each axis that changes; what shrinks comes first."""
    ndim = len(shape) - 2
    if not 1 <= ndim <= 3 or _AXES.get(mode, ndim) != ndim:
        axes = f"{_AXES[mode] + 2}" if mode in _AXES else "3 to 5"
        raise ValueError(f"{name} must have {axes} axes in mode {mode!r}, got shape {shape}")
    if align_corners is not None and mode not in _AXES:
        raise ValueError(f"align_corners must not be given in mode {mode!r}, got {align_corners!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"antialias must be used with mode 'bilinear' or 'bicubic', got {mode!r}")
    first = 1 if channels_last(data_format, ndim) else 2
    spatial = shape[first : first + ndim]
    recompute = bool(recompute_scale_factor) or (mode == "area" and size is None)
    sizes, factors = _sizes(spatial, size, scale_factor, recompute, least=0 if mode == "area" else 1)
    plan = list(zip(spatial, sizes, factors, range(first, first + ndim)))
    if mode[:7] != "nearest" and (mode != "bicubic" or antialias):
        plan = [entry for entry in plan if entry[0] != entry[1]]  # there an axis of unchanged size is copied
    return sorted(plan, key=lambda entry: entry[1] / entry[0])


def _sizes(
    spatial: tuple[int, ...], size: Any, scale_factor: Any, recompute: bool, least: int
) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """The size of the result and the factor that scales coordinates (None: the ratio of sizes), an axis each."""
    ndim = len(spatial)
    factors: tuple[float | None, ...] = (None,) * ndim
    if (size is None) == (scale_factor is None):
        raise ValueError(f"exactly one of size and scale_factor must be given, got {size!r} and {scale_factor!r}")
    if size is not None:
        if recompute:
            raise ValueError(f"recompute_scale_factor must come with scale_factor, got size {size!r}")
        sizes = per_axis("size", size, ndim)
    else:
        factors = _factors(scale_factor, ndim)
        sizes = tuple(int(n * factor) for n, factor in zip(spatial, factors))
        if recompute:
            factors = (None,) * ndim
    if min(sizes) < least or min(spatial) < 1:
        raise ValueError(f"size must be at least {least} and x must not be empty, got size {sizes} for {spatial}")
    return sizes, factors


def _factors(scale_factor: Any, ndim: int) -> tuple[float, ...]:
    given = tuple(scale_factor) if isinstance(scale_factor, Iterable) else (scale_factor,) * ndim
    if len(given) != ndim:
        raise ValueError(f"scale_factor must be a number or {ndim} numbers, one for each axis, got {scale_factor!r}")
    for factor in given:
        if isinstance(factor, (bool, str)) or not isinstance(factor, (SupportsFloat, SupportsIndex)):
            raise TypeError(f"scale_factor must be made of numbers, got {scale_factor!r}")
        if not 0 < float(factor) < math.inf:
            raise ValueError(f"scale_factor must be positive and finite, got {scale_factor!r}")
    return tuple(float(factor) for factor in given)


def _average(x: np.ndarray, axis: int, out: int) -> np.ndarray:
    """The mean of elements floor(i n / out) to ceil((i + 1) n / out)."""
    index, count = windows(x.shape[axis], out)
    total = _weighted(x, axis, index, np.ones(index.shape, x.dtype))
    return total / _along(count, x.ndim - axis).astype(x.dtype)


def _weighted(x: np.ndarray, axis: int, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The sum over taps t of weight[:, t] x[index[:, t]] along an axis; index -1 is no tap at all."""
    y = np.zeros((*x.shape[:axis], len(index), *x.shape[axis + 1 :]), x.dtype)
    for source, factor in zip(index.T, weight.T):
        live = slice(None) if source.min(initial=0) >= 0 else source >= 0
        place = (slice(None),) * axis + (live,)
        y[place] += x.take(source[live], axis) * _along(factor[live], x.ndim - axis)
    return y


def _along(vector: np.ndarray, axes: int) -> np.ndarray:
    """`vector` along the first of the last `axes` axes of an array."""
    return vector.reshape(-1, *(1,) * (axes - 1))
