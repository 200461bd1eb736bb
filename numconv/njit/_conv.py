"""Convolution and transposed convolution inside compiled functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import errors
from numba.extending import overload

import numconv
from numconv.njit import _arguments as given
from numconv.njit._arguments import flat
from numconv.njit._flags import compiled
from numconv.njit._sweep import AFTER, BEFORE, DILATION, KERNEL, OUT, SIZE, STRIDE, TRANSPOSED, convolve


@compiled
def _geometry(size, kernel, stride, dilation):
    geometry = np.zeros((3, 8), np.int64)
    for axis in range(3):
        geometry[axis, SIZE], geometry[axis, KERNEL] = size[axis], kernel[axis]
        geometry[axis, STRIDE], geometry[axis, DILATION] = stride[axis], dilation[axis]
        if kernel[axis] < 1:
            raise ValueError("weight must have a kernel of at least 1 along each axis")
    return geometry


@compiled
def _forward_sizes(geometry):
    for axis in range(3):
        reach = (geometry[axis, KERNEL] - 1) * geometry[axis, DILATION] + 1
        room = geometry[axis, SIZE] + geometry[axis, BEFORE] + geometry[axis, AFTER] - reach
        if room < 0:
            raise ValueError("weight's kernel, with its dilation, is larger than the padded input")
        geometry[axis, OUT] = room // geometry[axis, STRIDE] + 1


@compiled
def _transposed_sizes(geometry, extra):
    for axis in range(3):
        stride, dilation = geometry[axis, STRIDE], geometry[axis, DILATION]
        if extra[axis] > 0 and extra[axis] >= max(stride, dilation):
            raise ValueError("output_padding must be smaller than stride or dilation")
        size = geometry[axis, SIZE]
        out = (size - 1) * stride - geometry[axis, BEFORE] - geometry[axis, AFTER]
        out += (geometry[axis, KERNEL] - 1) * dilation + extra[axis] + 1
        if out < (0 if size == 0 else 1):
            raise ValueError("padding leaves no output")
        geometry[axis, OUT] = max(out, 0)


@compiled
def _check_channels(channels, weight_shape, bias, has_bias, groups, transposed):
    """How many channels the result has."""
    if groups < 1:
        raise ValueError("groups must be at least 1")
    results = weight_shape[1] * groups if transposed else weight_shape[0]
    if transposed:
        if weight_shape[0] != channels:
            raise ValueError("weight must have x's channels as its first axis")
        if channels % groups:
            raise ValueError("groups must divide x's channels")
    else:
        if weight_shape[1] * groups != channels:
            raise ValueError("x must have as many channels as weight's second axis times groups")
        if results % groups:
            raise ValueError("groups must divide the output channels of weight")
    if has_bias and bias.shape[0] != results:
        raise ValueError("bias must have a number for each channel of the result")
    return results


def _checked(x: Any, weight: Any, bias: Any, groups: Any, n: int) -> Any:
    """What is common to all, judged by types; gives a compiled function that shows a bias as an array."""
    given.floats("x", x, (n + 1, n + 2))
    given.floats("weight", weight, (n + 2,))
    given.integer("groups", groups)
    if x.dtype != weight.dtype:
        raise errors.NumbaTypeError(f"weight must have the dtype of x, got {weight.dtype} for {x.dtype}")
    if given.is_none(bias):
        dtype = np.dtype(str(x.dtype))
        return compiled(lambda bias: np.empty(0, dtype))
    given.floats("bias", bias, (1,))
    if bias.dtype != x.dtype:
        raise errors.NumbaTypeError(f"bias must have the dtype of x, got {bias.dtype} for {x.dtype}")
    return given.flat


@compiled
def _convolved(x, size, weight, kernel, bias, has_bias, geometry, groups):
    """(the flat result, its shape with three spatial axes)."""
    results = _check_channels(size[1], kernel, bias, has_bias, groups, geometry[0, TRANSPOSED] == 1)
    shape = (size[0], results, geometry[0, OUT], geometry[1, OUT], geometry[2, OUT])
    y = np.empty(shape[0] * shape[1] * shape[2] * shape[3] * shape[4], x.dtype)
    convolve(flat(x), size, flat(weight), bias, results, y, geometry, groups)
    return y, shape


def _implement(x, weight, bias, stride, padding, dilation, groups, n):
    """The compiled convolution for arguments of these types."""
    bias_of, has_bias = _checked(x, weight, bias, groups, n), not given.is_none(bias)
    strides = given.per_axis("stride", stride, n, 1)
    dilations = given.per_axis("dilation", dilation, n, 1)
    pad, shape_of, shape_of_weight = given.padding_of(padding, n), given.sizes(x.ndim, n), given.sizes(n + 2, n)
    shaped = given.shaped(x.ndim, n)

    def implementation(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        size, kernel = shape_of(x), shape_of_weight(weight)
        geometry = _geometry(size[2:], kernel[2:], strides(stride), dilations(dilation))
        pad(padding, geometry)
        _forward_sizes(geometry)
        return shaped(*_convolved(x, size, weight, kernel, bias_of(bias), has_bias, geometry, np.int64(groups)))

    return implementation


def _implement_transposed(x, weight, bias, stride, padding, output_padding, groups, dilation, n):
    bias_of, has_bias = _checked(x, weight, bias, groups, n), not given.is_none(bias)
    strides = given.per_axis("stride", stride, n, 1)
    dilations = given.per_axis("dilation", dilation, n, 1)
    extras = given.per_axis("output_padding", output_padding, n, 0)
    if given.is_text(padding):
        raise errors.NumbaTypeError("padding of a transposed convolution must be integers or pairs here")
    pad, shape_of, shape_of_weight = given.padding_of(padding, n), given.sizes(x.ndim, n), given.sizes(n + 2, n)
    shaped = given.shaped(x.ndim, n)

    def implementation(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        size, kernel = shape_of(x), shape_of_weight(weight)
        geometry = _geometry(size[2:], kernel[2:], strides(stride), dilations(dilation))
        pad(padding, geometry)
        _transposed_sizes(geometry, extras(output_padding))
        geometry[0, TRANSPOSED] = 1
        return shaped(*_convolved(x, size, weight, kernel, bias_of(bias), has_bias, geometry, np.int64(groups)))

    return implementation


def conv1d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolution of (n, c, l) or (c, l), as `numconv.conv1d`; see `conv2d`."""
    return numconv.conv1d(x, weight, bias, stride, padding, dilation, groups)


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolution of images, to be called inside an `@njit` function; it runs on the calling thread alone.

    Parameters
    ----------
    x : array of shape (n, c, h, w) or (c, h, w)
        Of float32 or float64, of any strides.
    weight : array of shape (out, in / groups, kh, kw)
        Of the dtype of x.
    bias : array of shape (out,), optional
    stride, dilation : int or tuple of int
    padding : int, tuple of int, tuple of (before, after) pairs, or str
        "valid", "same", "same_lower" or "full".
    groups : int

    Returns
    -------
    array of shape (n, out, oh, ow) or (out, oh, ow)
        Contiguous, of the dtype of x.

    Raises
    ------
    numba.TypingError
        When the calling function is compiled, if a type is none of these.
    ValueError
        If shapes do not fit.

    Notes
    -----
    In plain Python it is `numconv.conv2d`. Sums are taken directly, by 128 terms at a time.
    """
    return numconv.conv2d(x, weight, bias, stride, padding, dilation, groups)


def conv3d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolution of (n, c, d, h, w) or (c, d, h, w), as `numconv.conv3d`; see `conv2d`."""
    return numconv.conv3d(x, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Transposed convolution of (n, c, l) or (c, l), as `numconv.conv_transpose1d`; see `conv_transpose2d`."""
    return numconv.conv_transpose1d(x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Transposed convolution of images, to be called inside an `@njit` function; it runs on the calling thread alone.

    Parameters
    ----------
    x : array of shape (n, c, h, w) or (c, h, w)
        Of float32 or float64, of any strides.
    weight : array of shape (c, out / groups, kh, kw)
        Of the dtype of x.
    bias : array of shape (out,), optional
    stride, output_padding, dilation : int or tuple of int
    padding : int, tuple of int, or tuple of (before, after) pairs
    groups : int

    Returns
    -------
    array of shape (n, out, oh, ow) or (out, oh, ow)
        Contiguous, of the dtype of x.

    Raises
    ------
    numba.TypingError
        When the calling function is compiled, if a type is none of these.
    ValueError
        If shapes do not fit.
    """
    return numconv.conv_transpose2d(x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Transposed convolution of (n, c, d, h, w) or (c, d, h, w); see `conv_transpose2d`."""
    return numconv.conv_transpose3d(x, weight, bias, stride, padding, output_padding, groups, dilation)


def _forward(public: Any, n: int) -> None:
    @overload(public)
    def typed(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        return _implement(x, weight, bias, stride, padding, dilation, groups, n)


def _transposed(public: Any, n: int) -> None:
    @overload(public)
    def typed(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        return _implement_transposed(x, weight, bias, stride, padding, output_padding, groups, dilation, n)


for _n, _names in enumerate(((conv1d, conv_transpose1d), (conv2d, conv_transpose2d), (conv3d, conv_transpose3d)), 1):
    _forward(_names[0], _n)
    _transposed(_names[1], _n)
