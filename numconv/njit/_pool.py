"""Maximum and average pooling inside compiled functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload

import numconv
from numconv.kernels.cpu.phased_pooling import OUT
from numconv.njit import _arguments as given
from numconv.njit._flags import compiled
from numconv.njit._windows import divisors, find, outputs, pool, sizes


def _windows(x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, n: int) -> Any:
    """A compiled function that gives the geometry of arguments of these types."""
    given.floats("x", x, (n + 1, n + 2))
    given.boolean("ceil_mode", ceil_mode)
    kernels, dilations = given.per_axis("kernel_size", kernel_size, n, 1), given.per_axis("dilation", dilation, n, 1)
    if given.is_none(stride):
        strides = compiled(lambda stride, kernel: kernel)
    else:
        steps = given.per_axis("stride", stride, n, 1)
        strides = compiled(lambda stride, kernel: steps(stride))
    pad, halved = given.padding_of(padding, n), not given.is_text(padding) and not given.is_nested(padding)

    @compiled
    def windows(size, kernel_size, stride, padding, dilation, ceil_mode):
        kernel = kernels(kernel_size)
        geometry = sizes(size, kernel, strides(stride, kernel), dilations(dilation))
        pad(padding, geometry)
        outputs(geometry, ceil_mode, halved)
        return geometry

    return windows


def max_pool1d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """Maximum pooling of (n, c, l) or (c, l); see `max_pool2d`."""
    return numconv.max_pool1d(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest number of each window, to be called inside an `@njit` function; on the calling thread alone.

    Parameters
    ----------
    x : array of shape (n, c, h, w) or (c, h, w)
        Of float32 or float64, of any strides.
    kernel_size, dilation : int or tuple of int
    stride : int or tuple of int, optional
        The kernel's size where left out.
    padding : int, tuple of int, tuple of (before, after) pairs, or str
        As in `conv2d`; numbers are at most half of the effective kernel.
    ceil_mode : bool
    return_indices : bool
        Whether to return where the numbers were, too: `True` or `False` itself, for the result's type depends on it.

    Returns
    -------
    array of shape (n, c, oh, ow) or (c, oh, ow), or that and an array of int64
        The maxima, and their indices, flat over the spatial plane: of equal numbers that of the first. A window with a
        NaN gives NaN.

    Raises
    ------
    numba.TypingError
        When the calling function is compiled, if a type is none of these.
    ValueError
        If sizes do not fit.
    """
    return numconv.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """Maximum pooling of (n, c, d, h, w) or (c, d, h, w); see `max_pool2d`."""
    return numconv.max_pool3d(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None, dilation=1
):
    """Average pooling of (n, c, l) or (c, l); see `avg_pool2d`."""
    options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return numconv.avg_pool1d(x, *options, dilation=dilation)


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None, dilation=1
):
    """The mean of each window, to be called inside an `@njit` function; on the calling thread alone.

    Parameters
    ----------
    x, kernel_size, stride, padding, ceil_mode, dilation
        As in `max_pool2d`.
    count_include_pad : bool
        Whether padding counts among the numbers that are divided by.
    divisor_override : int, optional
        What sums are divided by instead.

    Returns
    -------
    array of shape (n, c, oh, ow) or (c, oh, ow)

    Raises
    ------
    numba.TypingError
        When the calling function is compiled, if a type is none of these.
    ValueError
        If sizes do not fit.
    """
    options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return numconv.avg_pool2d(x, *options, dilation=dilation)


def avg_pool3d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None, dilation=1
):
    """Average pooling of (n, c, d, h, w) or (c, d, h, w); see `avg_pool2d`."""
    options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return numconv.avg_pool3d(x, *options, dilation=dilation)


def _maximum(public: Any, n: int) -> None:
    @overload(public)
    def typed(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        windows = _windows(x, kernel_size, stride, padding, dilation, ceil_mode, n)
        shape_of, shaped, flat = given.sizes(x.ndim, n), given.shaped(x.ndim, n), given.flat
        indexed, maxima = given.literal("return_indices", return_indices), pool(str(x.dtype), False)

        def implementation(
            x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
        ):  # fmt: skip
            size = shape_of(x)
            geometry = windows(size[2:], kernel_size, stride, padding, dilation, ceil_mode)
            y, shape = _result(x, size, geometry)
            maxima(flat(x), size[0] * size[1], geometry, y[:0], y)
            return shaped(y, shape)

        def with_indices(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
            size = shape_of(x)
            geometry = windows(size[2:], kernel_size, stride, padding, dilation, ceil_mode)
            y, shape = _result(x, size, geometry)
            indices = np.empty(y.size, np.int64)
            find(flat(x), size[0] * size[1], geometry, y, indices)
            return shaped(y, shape), shaped(indices, shape)

        return with_indices if indexed else implementation


def _average(public: Any, n: int) -> None:
    @overload(public)
    def typed(
        x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None,
        dilation=1,
    ):  # fmt: skip
        windows = _windows(x, kernel_size, stride, padding, dilation, ceil_mode, n)
        given.boolean("count_include_pad", count_include_pad)
        shape_of, shaped, flat = given.sizes(x.ndim, n), given.shaped(x.ndim, n), given.flat
        means = pool(str(x.dtype), True)
        if given.is_none(divisor_override):
            divisor = compiled(lambda value: 0)
        else:
            given.integer("divisor_override", divisor_override)
            divisor = _divisor

        def implementation(
            x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None,
            dilation=1,
        ):  # fmt: skip
            size = shape_of(x)
            geometry = windows(size[2:], kernel_size, stride, padding, dilation, ceil_mode)
            factors = np.empty(geometry[0, OUT] + geometry[1, OUT] + geometry[2, OUT], x.dtype)
            divisors(geometry, count_include_pad, divisor(divisor_override), factors)
            y, shape = _result(x, size, geometry)
            means(flat(x), size[0] * size[1], geometry, factors, y)
            return shaped(y, shape)

        return implementation


@compiled
def _result(x, size, geometry):
    """(a flat array for the result, its shape with three spatial axes)."""
    shape = (size[0], size[1], geometry[0, OUT], geometry[1, OUT], geometry[2, OUT])
    return np.empty(shape[0] * shape[1] * shape[2] * shape[3] * shape[4], x.dtype), shape


@compiled
def _divisor(value):
    if value == 0:
        raise ValueError("divisor_override must not be 0")
    return value


for _n, _names in enumerate(((max_pool1d, avg_pool1d), (max_pool2d, avg_pool2d), (max_pool3d, avg_pool3d)), 1):
    _maximum(_names[0], _n)
    _average(_names[1], _n)
