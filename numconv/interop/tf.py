"""TensorFlow's convolutions and poolings on NumPy arrays: its names, argument order and weights, without TensorFlow.

Weights are ``(*kernel, in / groups, out)``, strides and dilations an integer or one number an axis (spatial axes alone,
or with batch and channels, which must be 1), padding "SAME" (result of ceil(input / stride), what is odd goes after),
"VALID", or nested pairs for each axis of the input. Channels come last unless `data_format` says otherwise. As in
`tf.nn`, input depth over filter depth is the number of groups. Keywords may be those of TensorFlow 1 or 2: `filter` or
`filters`, `value` or `input`. Unlike there, operands of different dtypes are promoted as NumPy does.

Every function raises ValueError where shapes or options do not fit and TypeError for dtypes that numconv does not
take, before any work.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from numconv.ops import convolution, convolution_gradients, pooling
from numconv.ops.convolution import as_array
from numconv.problem import LAST, Pairs, conv_output_shape, integer, layout_of, pairs, per_axis

__all__ = [
    "avg_pool", "avg_pool1d", "avg_pool2d", "avg_pool3d", "conv1d", "conv1d_transpose", "conv2d", "conv2d_transpose",
    "conv3d", "conv3d_transpose", "depthwise_conv2d", "max_pool", "max_pool1d", "max_pool2d", "max_pool3d",
    "separable_conv2d",
]  # fmt: skip

_FORMATS = {1: "NWC", 2: "NHWC", 3: "NDHWC"}
_OTHER_NAMES = {"filters": "filter", "filter": "filters", "input": "value", "value": "input"}
_CONVOLUTIONS = {1: convolution.conv1d, 2: convolution.conv2d, 3: convolution.conv3d}
_TRANSPOSED = {n: getattr(convolution_gradients, f"conv{n}d_input") for n in (1, 2, 3)}
_MAX = {1: pooling.max_pool1d, 2: pooling.max_pool2d, 3: pooling.max_pool3d}
_AVERAGE = {1: pooling.avg_pool1d, 2: pooling.avg_pool2d, 3: pooling.avg_pool3d}


def _either_name(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Take the keywords of TensorFlow 1 and 2."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]

    @functools.wraps(function)
    def renamed(*args: Any, **keywords: Any) -> np.ndarray:
        return function(*args, **{k if k in names else _OTHER_NAMES.get(k, k): v for k, v in keywords.items()})

    return renamed


def _images(name: str, value: Any, ndim: int, data_format: str | None) -> tuple[np.ndarray, str, int]:
    """(array, data format, number of channels) of images with a batch."""
    images = as_array(name, value)
    form = _FORMATS[ndim] if data_format is None else data_format
    last = layout_of(form, ndim) == LAST
    if images.ndim != ndim + 2:
        raise ValueError(f"{name} must have {ndim + 2} axes, {form}, got shape {images.shape}")
    return images, form, images.shape[-1 if last else 1]


def _kernel(name: str, value: Any, ndim: int) -> np.ndarray:
    kernel = as_array(name, value)
    if kernel.ndim != ndim + 2:
        raise ValueError(
            f"{name} must have {ndim + 2} axes, {ndim} of them spatial and first, got shape {kernel.shape}"
        )
    return kernel


def _spatial(name: str, value: Any, ndim: int, form: str) -> tuple[int, ...]:
    """One number a spatial axis from any of TensorFlow's ways to write strides, dilations and window sizes."""
    if value is None:
        return (1,) * ndim
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)) or len(tuple(value)) != ndim + 2:
        return per_axis(name, value, ndim, 1)
    numbers = per_axis(name, value, ndim + 2, 1)
    inner = slice(1, -1) if layout_of(form, ndim) == LAST else slice(2, None)
    if sum(numbers) != sum(numbers[inner]) + 2:
        raise ValueError(f"{name} must be 1 for batch and channels, got {value!r} with data_format={form!r}")
    return numbers[inner]


def _padding(value: Any, ndim: int, form: str) -> str | Pairs:
    """numconv's padding from TensorFlow's."""
    if isinstance(value, str):
        if value.upper() not in ("SAME", "VALID"):
            raise ValueError(f"padding must be 'SAME', 'VALID' or nested pairs, got {value!r}")
        return value.lower()
    if not isinstance(value, Iterable) or len(tuple(value)) != ndim + 2:
        raise ValueError(f"padding must be 'SAME', 'VALID' or {ndim + 2} (before, after) pairs, got {value!r}")
    nested = pairs("padding", value, ndim + 2)
    inner = slice(1, -1) if layout_of(form, ndim) == LAST else slice(2, None)
    if sum(map(sum, nested)) != sum(map(sum, nested[inner])):
        raise ValueError(f"padding must be 0 for batch and channels, got {value!r} with data_format={form!r}")
    return nested[inner]


def _groups(images: np.ndarray, channels: int, kernel: np.ndarray) -> int:
    """Input depth over filter depth."""
    depth, out = kernel.shape[-2:]
    if depth < 1 or channels % depth or out % max(channels // depth, 1):
        raise ValueError(
            f"filter of shape {kernel.shape} must have a depth that divides the input's {channels} channels into "
            f"groups, and as many or a multiple of output channels; input has shape {images.shape}"
        )
    return max(channels // depth, 1)


def _conv(
    ndim: int, input: Any, filters: Any, strides: Any, padding: Any, data_format: str | None, dilations: Any
) -> np.ndarray:
    images, form, channels = _images("input", input, ndim, data_format)
    kernel = _kernel("filter", filters, ndim)
    steps, apart = _spatial("strides", strides, ndim, form), _spatial("dilations", dilations, ndim, form)
    weight = kernel.transpose(ndim + 1, ndim, *range(ndim))
    return _CONVOLUTIONS[ndim](
        images, weight, None, steps, _padding(padding, ndim, form), apart, _groups(images, channels, kernel),
        data_format=form,
    )  # fmt: skip


@_either_name
def conv1d(
    input: Any, filters: Any, stride: Any, padding: Any, data_format: str | None = "NWC", dilations: Any = None
) -> np.ndarray:
    """`tf.nn.conv1d`: signals (N, W, C) with filters (w, C / groups, out)."""
    return _conv(1, input, filters, stride, padding, data_format, dilations)


@_either_name
def conv2d(
    input: Any, filter: Any, strides: Any, padding: Any, data_format: str | None = "NHWC", dilations: Any = None
) -> np.ndarray:
    """`tf.nn.conv2d`: images (N, H, W, C) with a filter (h, w, C / groups, out).

    Examples
    --------
    >>> conv2d(np.ones((1, 5, 5, 3)), np.ones((3, 3, 3, 8)), strides=[1, 2, 2, 1], padding="SAME").shape
    (1, 3, 3, 8)
    """
    return _conv(2, input, filter, strides, padding, data_format, dilations)


@_either_name
def conv3d(
    input: Any, filters: Any, strides: Any, padding: Any, data_format: str | None = "NDHWC", dilations: Any = None
) -> np.ndarray:
    """`tf.nn.conv3d`: volumes (N, D, H, W, C) with filters (d, h, w, C / groups, out)."""
    return _conv(3, input, filters, strides, padding, data_format, dilations)


@_either_name
def depthwise_conv2d(
    input: Any, filter: Any, strides: Any, padding: Any, data_format: str | None = None, dilations: Any = None
) -> np.ndarray:
    """`tf.nn.depthwise_conv2d`: a filter (h, w, C, multiplier) makes that many channels of each of the input."""
    images, form, channels = _images("input", input, 2, data_format)
    weight = _depthwise_weight("filter", _kernel("filter", filter, 2), channels)
    steps, apart = _spatial("strides", strides, 2, form), _spatial("dilations", dilations, 2, form)
    return convolution.conv2d(
        images, weight, None, steps, _padding(padding, 2, form), apart, max(channels, 1), data_format=form
    )


def _depthwise_weight(name: str, kernel: np.ndarray, channels: int) -> np.ndarray:
    """(C * multiplier, 1, h, w) from TensorFlow's (h, w, C, multiplier)."""
    if kernel.shape[2] != channels:
        raise ValueError(f"{name} must be (height, width, {channels}, multiplier) as input has {channels} channels, "
                         f"got shape {kernel.shape}")  # fmt: skip
    return kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])


@_either_name
def separable_conv2d(
    input: Any, depthwise_filter: Any, pointwise_filter: Any, strides: Any, padding: Any,
    data_format: str | None = None, dilations: Any = None,
) -> np.ndarray:  # fmt: skip
    """`tf.nn.separable_conv2d`: a depthwise filter (h, w, C, multiplier), then (1, 1, C * multiplier, out)."""
    images, form, channels = _images("input", input, 2, data_format)
    depthwise = _depthwise_weight("depthwise_filter", _kernel("depthwise_filter", depthwise_filter, 2), channels)
    pointwise = _kernel("pointwise_filter", pointwise_filter, 2)
    if pointwise.shape[:3] != (1, 1, depthwise.shape[0]):
        raise ValueError(f"pointwise_filter must be (1, 1, {depthwise.shape[0]}, out), got shape {pointwise.shape}")
    steps, apart = _spatial("strides", strides, 2, form), _spatial("dilations", dilations, 2, form)
    return convolution.separable_conv2d(
        images, depthwise, pointwise.transpose(3, 2, 0, 1), None, steps, _padding(padding, 2, form), apart,
        data_format=form,
    )  # fmt: skip


def _conv_transpose(
    ndim: int, value: Any, filters: Any, output_shape: Any, strides: Any, padding: Any, data_format: str | None,
    dilations: Any,
) -> np.ndarray:  # fmt: skip
    """The gradient of the convolution that makes an array of `value`'s shape from one of shape `output_shape`."""
    images, form, channels = _images("value", value, ndim, data_format)
    kernel = _kernel("filter", filters, ndim)
    if kernel.shape[-1] != channels:
        raise ValueError(
            f"filter must be (*kernel, out, {channels}) as value has {channels} channels, got shape {kernel.shape}"
        )
    shape = tuple(integer("output_shape", n, 0) for n in output_shape)
    steps, apart = _spatial("strides", strides, ndim, form), _spatial("dilations", dilations, ndim, form)
    pads = _padding(padding, ndim, form)
    last = layout_of(form, ndim) == LAST
    inner = slice(1, -1) if last else slice(2, None)
    if len(shape) != ndim + 2 or shape[0] != images.shape[0] or shape[-1 if last else 1] != kernel.shape[-2]:
        raise ValueError(
            f"output_shape must be {form} with value's batch of {images.shape[0]} and the filter's "
            f"{kernel.shape[-2]} output channels, got {shape}"
        )
    expected = conv_output_shape(shape[inner], kernel.shape[:ndim], steps, pads, apart)
    if expected != images.shape[inner]:
        raise ValueError(
            f"output_shape {shape} goes with a value of spatial shape {expected} for strides {steps} and "
            f"padding {padding!r}, got {images.shape[inner]}"
        )
    weight = kernel.transpose(ndim + 1, ndim, *range(ndim))
    return _TRANSPOSED[ndim](shape, weight, images, steps, pads, apart, data_format=form)


@_either_name
def conv1d_transpose(
    input: Any, filters: Any, output_shape: Any, strides: Any, padding: Any = "SAME",
    data_format: str | None = "NWC", dilations: Any = None,
) -> np.ndarray:  # fmt: skip
    """`tf.nn.conv1d_transpose`: signals (N, W, C) with filters (w, out, C)."""
    return _conv_transpose(1, input, filters, output_shape, strides, padding, data_format, dilations)


@_either_name
def conv2d_transpose(
    value: Any, filter: Any, output_shape: Any, strides: Any, padding: Any = "SAME",
    data_format: str | None = "NHWC", dilations: Any = None,
) -> np.ndarray:  # fmt: skip
    """`tf.nn.conv2d_transpose`: images (N, H, W, C) with a filter (h, w, out, C).

    `output_shape`, with batch and channels, must be one from which the convolution makes `value`'s shape.

    Examples
    --------
    >>> conv2d_transpose(np.ones((1, 3, 3, 8)), np.ones((3, 3, 4, 8)), (1, 6, 5, 4), strides=2).shape
    (1, 6, 5, 4)
    """
    return _conv_transpose(2, value, filter, output_shape, strides, padding, data_format, dilations)


@_either_name
def conv3d_transpose(
    input: Any, filters: Any, output_shape: Any, strides: Any, padding: Any = "SAME",
    data_format: str | None = "NDHWC", dilations: Any = None,
) -> np.ndarray:  # fmt: skip
    """`tf.nn.conv3d_transpose`: volumes (N, D, H, W, C) with filters (d, h, w, out, C)."""
    return _conv_transpose(3, input, filters, output_shape, strides, padding, data_format, dilations)


def _max_pool(ndim: int, input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None) -> np.ndarray:
    images, form, _ = _images("input", input, ndim, data_format)
    window, steps = _spatial("ksize", ksize, ndim, form), _spatial("strides", strides, ndim, form)
    return _MAX[ndim](images, window, steps, _padding(padding, ndim, form), data_format=form)


def _avg_pool(ndim: int, input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None) -> np.ndarray:
    images, form, _ = _images("input", input, ndim, data_format)
    window, steps = _spatial("ksize", ksize, ndim, form), _spatial("strides", strides, ndim, form)
    if not isinstance(padding, str):
        raise ValueError(f"padding of an average must be 'SAME' or 'VALID', got {padding!r}")
    pads = _padding(padding, ndim, form)
    return _AVERAGE[ndim](images, window, steps, pads, count_include_pad=False, data_format=form)


def _by_rank(input: Any) -> int:
    ndim = np.ndim(input) - 2
    if ndim not in _FORMATS:
        raise ValueError(f"input must have 3 to 5 axes, got shape {np.shape(input)}")
    return ndim


@_either_name
def max_pool(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = None) -> np.ndarray:
    """`tf.nn.max_pool`: the largest element of each window, in one to three dimensions as the input has."""
    return _max_pool(_by_rank(input), input, ksize, strides, padding, data_format)


@_either_name
def max_pool1d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NWC") -> np.ndarray:
    """`tf.nn.max_pool1d`: see `max_pool`."""
    return _max_pool(1, input, ksize, strides, padding, data_format)


@_either_name
def max_pool2d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NHWC") -> np.ndarray:
    """`tf.nn.max_pool2d`: see `max_pool`."""
    return _max_pool(2, input, ksize, strides, padding, data_format)


@_either_name
def max_pool3d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NDHWC") -> np.ndarray:
    """`tf.nn.max_pool3d`: see `max_pool`."""
    return _max_pool(3, input, ksize, strides, padding, data_format)


@_either_name
def avg_pool(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = None) -> np.ndarray:
    """`tf.nn.avg_pool`: the mean of each window, of those elements that lie inside the input.

    In one to three dimensions as the input has; padding "SAME" or "VALID". Integers give float64.
    """
    return _avg_pool(_by_rank(input), input, ksize, strides, padding, data_format)


@_either_name
def avg_pool1d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NWC") -> np.ndarray:
    """`tf.nn.avg_pool1d`: see `avg_pool`."""
    return _avg_pool(1, input, ksize, strides, padding, data_format)


@_either_name
def avg_pool2d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NHWC") -> np.ndarray:
    """`tf.nn.avg_pool2d`: see `avg_pool`."""
    return _avg_pool(2, input, ksize, strides, padding, data_format)


@_either_name
def avg_pool3d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NDHWC") -> np.ndarray:
    """`tf.nn.avg_pool3d`: see `avg_pool`."""
    return _avg_pool(3, input, ksize, strides, padding, data_format)
