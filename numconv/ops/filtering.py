"""Filters of pictures, and kernels taken apart into one-dimensional factors."""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.ops.convolution import as_array, conv2d
from numconv.ops.signal import extended, outside
from numconv.problem import HALF, supported_dtype

__all__ = ["filter", "separate"]

SEPARABLE_FROM = 49  # taps of a kernel that `filter` tries to separate: 7 x 7 become 7 + 7
FACTORED = 1e-14  # of a kernel's norm: float64 factors of 7x7 are off by 1.5 to 2.4 eps, by processor


def filter(image: Any, kernel: Any, boundary: str = "reflect") -> np.ndarray:
    """Filter a picture: each pixel becomes the sum of its neighbourhood times a kernel.

    Parameters
    ----------
    image : array_like, shape (H, W) or (H, W, C)
        A picture; each channel is filtered alone.
    kernel : array_like, 2-D
        Laid on the picture as it is written (correlation, as in `scipy.ndimage.correlate`), its middle at
        (height // 2, width // 2). `numconv.kernels` makes some.
    boundary : str
        What stands outside the picture, as in `convolve`: by default the pixels mirrored, the edge repeated.

    Returns
    -------
    numpy.ndarray
        Of the picture's shape and dtype. Integer pictures are computed in floats (8 and 16 bits in float32, others in
        float64), rounded half to even and clipped to the dtype's range; float16 and bfloat16 are rounded once.

    Raises
    ------
    ValueError
        If a shape does not fit, the boundary is not known, or the kernel of an integer picture is not finite.
    TypeError
        If a dtype is not supported (a bool picture: convert it first), or the kernel alone is complex.

    Notes
    -----
    A separable kernel of 7 x 7 or more runs as two passes of one axis.

    Examples
    --------
    >>> picture = np.array([[0, 0, 9], [0, 0, 9]], np.uint8)
    >>> filter(picture, [[1 / 3, 1 / 3, 1 / 3]])
    array([[0, 3, 6],
           [0, 3, 6]], dtype=uint8)
    """
    image, kernel = np.asarray(as_array("image", image)), np.asarray(as_array("kernel", kernel))
    dtype = supported_dtype("image", image.dtype)
    supported_dtype("kernel", kernel.dtype)
    if image.ndim not in (2, 3):
        raise ValueError(f"image must have shape (height, width) or (height, width, channels), got {image.shape}")
    if kernel.ndim != 2 or kernel.size == 0:
        raise ValueError(f"kernel must have two axes and at least one entry, got shape {kernel.shape}")
    if kernel.dtype.kind == "c" and dtype.kind != "c":
        raise TypeError(f"kernel must be real for an image of dtype {dtype}, got {kernel.dtype}")
    if dtype.kind in "iu" and not np.isfinite(kernel).all():
        raise ValueError(f"kernel must be finite for an image of dtype {dtype}")
    rule, _ = outside(boundary, 0, dtype)
    if image.size == 0:
        return np.empty(image.shape, dtype)

    work = dtype
    if dtype.kind in "iu" or dtype.name in HALF:
        work = np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
    height, width, channels = (*image.shape, 1)[:3]
    x = image.reshape(height, width, channels)
    if rule == "constant":
        x = x.astype(work, copy=False)
    else:
        x = extended(x, (*map(_around, kernel.shape), (0, 0)), rule, 0, work)
    x = x.reshape(1, 1, x.shape[0], -1)  # channels last: steps of a dilated kernel along the rows
    for part in _passes(kernel, work):
        before, after = _around(part.shape[1])
        pads = (_around(part.shape[0]), (before * channels, after * channels)) if rule == "constant" else 0
        x = conv2d(x, part[None, None].astype(work), padding=pads, dilation=(1, channels))
    return _rounded(x.reshape(image.shape), dtype)


def _around(size: int) -> tuple[int, int]:
    """Taps before and after the middle of a kernel."""
    return size // 2, (size - 1) // 2


def _passes(kernel: np.ndarray, dtype: np.dtype) -> list[np.ndarray]:
    """The kernel; or a column and a row, where it is large and their product to the rounding of `dtype`."""
    if kernel.size < SEPARABLE_FROM or 1 in kernel.shape:
        return [kernel]
    try:
        column, row = separate(kernel, max(2 * float(np.finfo(dtype).eps), FACTORED))
    except ValueError:
        return [kernel]
    return [column[:, None], row[None, :]]


def _rounded(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """x in `dtype`: rounded and clipped where that is an integer. May write to x."""
    if dtype.kind not in "iu":
        return x.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    result = np.rint(x, out=x).clip(limits.min, limits.max)
    if dtype.itemsize < 8:
        return result.astype(dtype)
    above = result >= float(limits.max)  # float64 rounds the limit up, out of range
    result[above] = 0
    return np.where(above, dtype.type(limits.max), result.astype(dtype))


def separate(kernel: Any, tolerance: float | None = None) -> tuple[np.ndarray, ...]:
    """The one-dimensional factors of a separable kernel: their outer product is the kernel.

    Parameters
    ----------
    kernel : array_like
        Of one or more axes.
    tolerance : float, optional
        How far the product may be from the kernel, in the Euclidean norm relative to the kernel's; 64 units of the
        last place of its dtype where left out.

    Returns
    -------
    tuple of numpy.ndarray
        One factor an axis, all of the same norm, of the kernel's float dtype (float64 for integers). All but the
        first have a positive sum or, where that is 0, lean to the right.

    Raises
    ------
    ValueError
        If the kernel is not separable within the tolerance; the message says how far it is. If it is empty or not
        finite.
    TypeError
        If its dtype is not supported.

    Notes
    -----
    Each factor is the first left singular vector of the kernel unfolded along its axis (De Lathauwer, De Moor and
    Vandewalle, A multilinear singular value decomposition, 2000). In two dimensions that is the nearest product.

    Examples
    --------
    >>> column, row = separate([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    >>> np.allclose(np.outer(column, row), [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    True
    """
    kernel = np.asarray(as_array("kernel", kernel))
    dtype = supported_dtype("kernel", kernel.dtype)
    if dtype.kind in "iu":
        dtype = np.dtype(np.float64)
    elif dtype.name in HALF:
        dtype = np.dtype(np.float32)
    work = kernel.astype(np.complex128 if dtype.kind == "c" else np.float64)
    if work.ndim == 0 or work.size == 0:
        raise ValueError(f"kernel must have an axis and at least one entry, got shape {work.shape}")
    if not np.isfinite(work).all():
        raise ValueError("kernel must be finite")
    if tolerance is None:
        tolerance = 64 * float(np.finfo(dtype).eps)
    norm = float(np.linalg.norm(work))
    if norm == 0:
        return tuple(np.zeros(size, dtype) for size in work.shape)
    work = work / norm
    factors = [_direction(np.moveaxis(work, axis, 0).reshape(size, -1)) for axis, size in enumerate(work.shape)]
    core = work
    for factor in factors:
        core = np.tensordot(factor.conj(), core, 1)
    product = core
    for factor in factors:
        product = np.multiply.outer(product, factor)
    residual = float(np.linalg.norm(work - product))
    if not residual <= tolerance:
        raise ValueError(
            f"kernel of shape {work.shape} is not separable: the nearest product of one-dimensional factors is off by "
            f"{residual:.3g} of its norm, more than the tolerance of {tolerance:.3g}"
        )
    size = (norm * abs(core)) ** (1 / len(factors))
    factors[0] = factors[0] * (core / abs(core))
    return tuple((factor * size).astype(dtype) for factor in factors)


def _direction(unfolded: np.ndarray) -> np.ndarray:
    """The first left singular vector, with the sign that gives it a positive sum, or a positive slope."""
    vector = np.linalg.svd(unfolded, full_matrices=False)[0][:, 0]
    lean = vector @ (1 + 1e-6 * np.arange(len(vector)))
    return vector * (lean.conj() / abs(lean)) if lean else vector
