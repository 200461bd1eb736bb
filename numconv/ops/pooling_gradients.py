"""Gradients of poolings with respect to their input, each an operation of its own.

They take the shape of the pooling's input, or the input itself where its values matter, the gradient of its output,
and the pooling's options. Gradients of maxima go by the indices that the pooling returned.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.ops.pooling_call import (
    adaptive_gradient,
    global_max_gradient,
    global_pool_gradient,
    lp_gradient,
    max_gradient,
    pool_gradient,
    unpool_gradient,
)


def max_pool1d_input(input_size: Any, indices: Any, grad_output: Any, *, data_format: str | None = None) -> np.ndarray:
    """As `max_pool2d_input`, in one dimension."""
    return max_gradient("max_pool1d_input", input_size, indices, grad_output, data_format)


def max_pool2d_input(input_size: Any, indices: Any, grad_output: Any, *, data_format: str | None = None) -> np.ndarray:
    """The gradient of `max_pool2d` with respect to its input.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the pooling's input, (N, C, H, W) or (C, H, W).
    indices : array_like of int
        As the pooling returned them; -1 stands for no position.
    grad_output : array_like, of the shape of `indices`
    data_format : str, optional
        As in `max_pool2d`.

    Returns
    -------
    ndarray, shape `input_size`
        In the dtype of `grad_output`: the sum of what goes to each position, in the order of the outputs.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit together, or an index is outside the input, before anything is written. On a GPU, where
        reading indices back would make the host wait, those outside are passed over; they must be of dtype int64.

    Examples
    --------
    >>> max_pool2d_input((1, 1, 2, 2), [[[[3]]]], [[[[5.0]]]])
    array([[[[0., 0.],
             [0., 5.]]]])
    """
    return max_gradient("max_pool2d_input", input_size, indices, grad_output, data_format)


def max_pool3d_input(input_size: Any, indices: Any, grad_output: Any, *, data_format: str | None = None) -> np.ndarray:
    """As `max_pool2d_input`, in three dimensions."""
    return max_gradient("max_pool3d_input", input_size, indices, grad_output, data_format)


def avg_pool1d_input(
    input_size: Any,
    grad_output: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Any = 1,
    data_format: str | None = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """As `avg_pool2d_input`, in one dimension."""
    return pool_gradient(
        "avg_pool1d_input", input_size, grad_output, algorithm, kernel_size=kernel_size, stride=stride,
        padding=padding, dilation=dilation, ceil_mode=ceil_mode, count_include_pad=count_include_pad,
        divisor_override=divisor_override, data_format=data_format,
    )  # fmt: skip


def avg_pool2d_input(
    input_size: Any,
    grad_output: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Any = 1,
    data_format: str | None = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """The gradient of `avg_pool2d` with respect to its input.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the pooling's input, (N, C, H, W) or (C, H, W).
    grad_output : array_like
        Of the shape of the pooling's output.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, data_format, algorithm
        As in `avg_pool2d`.

    Returns
    -------
    ndarray, shape `input_size`
        In the dtype of `grad_output`, or float64 of integers.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or shapes do not fit together, naming it.

    Examples
    --------
    >>> avg_pool2d_input((1, 1, 2, 2), [[[[8.0]]]], 2)
    array([[[[2., 2.],
             [2., 2.]]]])
    """
    return pool_gradient(
        "avg_pool2d_input", input_size, grad_output, algorithm, kernel_size=kernel_size, stride=stride,
        padding=padding, dilation=dilation, ceil_mode=ceil_mode, count_include_pad=count_include_pad,
        divisor_override=divisor_override, data_format=data_format,
    )  # fmt: skip


def avg_pool3d_input(
    input_size: Any,
    grad_output: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Any = 1,
    data_format: str | None = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """As `avg_pool2d_input`, in three dimensions."""
    return pool_gradient(
        "avg_pool3d_input", input_size, grad_output, algorithm, kernel_size=kernel_size, stride=stride,
        padding=padding, dilation=dilation, ceil_mode=ceil_mode, count_include_pad=count_include_pad,
        divisor_override=divisor_override, data_format=data_format,
    )  # fmt: skip


def lp_pool1d_input(
    x: Any,
    grad_output: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    padding: Any = 0,
    dilation: Any = 1,
    data_format: str | None = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """As `lp_pool2d_input`, in one dimension."""
    return lp_gradient(
        "lp_pool1d_input", x, grad_output, norm_type, algorithm, kernel_size=kernel_size, stride=stride,
        padding=padding, dilation=dilation, ceil_mode=ceil_mode, data_format=data_format,
    )  # fmt: skip


def lp_pool2d_input(
    x: Any,
    grad_output: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    padding: Any = 0,
    dilation: Any = 1,
    data_format: str | None = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """The gradient of `lp_pool2d` with respect to its input.

    Parameters
    ----------
    x : array_like
        The pooling's input.
    grad_output : array_like
        Of the shape of the pooling's output.
    norm_type, kernel_size, stride, ceil_mode, padding, dilation, data_format, algorithm
        As in `lp_pool2d`.

    Returns
    -------
    ndarray, of the shape of `x`
        In the promoted dtype of both, or float64 of integers; computed in float64. A window that sums to 0 gives 0,
        as in PyTorch.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or shapes do not fit together, naming it.

    Examples
    --------
    >>> lp_pool2d_input([[[[3.0, 0.0], [0.0, 4.0]]]], [[[[1.0]]]], 2, 2)
    array([[[[0.6, 0. ],
             [0. , 0.8]]]])
    """
    return lp_gradient(
        "lp_pool2d_input", x, grad_output, norm_type, algorithm, kernel_size=kernel_size, stride=stride,
        padding=padding, dilation=dilation, ceil_mode=ceil_mode, data_format=data_format,
    )  # fmt: skip


def lp_pool3d_input(
    x: Any,
    grad_output: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    padding: Any = 0,
    dilation: Any = 1,
    data_format: str | None = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """As `lp_pool2d_input`, in three dimensions."""
    return lp_gradient(
        "lp_pool3d_input", x, grad_output, norm_type, algorithm, kernel_size=kernel_size, stride=stride,
        padding=padding, dilation=dilation, ceil_mode=ceil_mode, data_format=data_format,
    )  # fmt: skip


def weighted_avg_pool1d_input(
    input_size: Any,
    grad_output: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    *,
    weights: Any = "gaussian",
    data_format: str | None = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """As `weighted_avg_pool2d_input`, in one dimension."""
    return pool_gradient(
        "weighted_avg_pool1d_input", input_size, grad_output, algorithm, weights=weights, kernel_size=kernel_size,
        stride=stride, padding=padding, data_format=data_format,
    )  # fmt: skip


def weighted_avg_pool2d_input(
    input_size: Any,
    grad_output: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    *,
    weights: Any = "gaussian",
    data_format: str | None = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """The gradient of `weighted_avg_pool2d` with respect to its input.

    Parameters
    ----------
    input_size, grad_output
        As in `avg_pool2d_input`.
    kernel_size, stride, padding, weights, data_format, algorithm
        As in `weighted_avg_pool2d`.

    Returns
    -------
    ndarray, shape `input_size`
        In the dtype of `grad_output`, or float64 of integers.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or shapes do not fit together, naming it.
    """
    return pool_gradient(
        "weighted_avg_pool2d_input", input_size, grad_output, algorithm, weights=weights, kernel_size=kernel_size,
        stride=stride, padding=padding, data_format=data_format,
    )  # fmt: skip


def weighted_avg_pool3d_input(
    input_size: Any,
    grad_output: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    *,
    weights: Any = "gaussian",
    data_format: str | None = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """As `weighted_avg_pool2d_input`, in three dimensions."""
    return pool_gradient(
        "weighted_avg_pool3d_input", input_size, grad_output, algorithm, weights=weights, kernel_size=kernel_size,
        stride=stride, padding=padding, data_format=data_format,
    )  # fmt: skip


def adaptive_avg_pool1d_input(
    input_size: Any, grad_output: Any, *, data_format: str | None = None, algorithm: str = "auto"
) -> np.ndarray:
    """As `adaptive_avg_pool2d_input`, in one dimension."""
    return adaptive_gradient("adaptive_avg_pool1d_input", input_size, grad_output, data_format, algorithm)


def adaptive_avg_pool2d_input(
    input_size: Any, grad_output: Any, *, data_format: str | None = None, algorithm: str = "auto"
) -> np.ndarray:
    """The gradient of `adaptive_avg_pool2d` with respect to its input.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the pooling's input, (N, C, H, W) or (C, H, W).
    grad_output : array_like
        Of the shape of the pooling's output, whose size follows from it.
    data_format, algorithm
        As in `adaptive_avg_pool2d`.

    Returns
    -------
    ndarray, shape `input_size`
        In the dtype of `grad_output`, or float64 of integers.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit together.
    """
    return adaptive_gradient("adaptive_avg_pool2d_input", input_size, grad_output, data_format, algorithm)


def adaptive_avg_pool3d_input(
    input_size: Any, grad_output: Any, *, data_format: str | None = None, algorithm: str = "auto"
) -> np.ndarray:
    """As `adaptive_avg_pool2d_input`, in three dimensions."""
    return adaptive_gradient("adaptive_avg_pool3d_input", input_size, grad_output, data_format, algorithm)


def adaptive_max_pool1d_input(
    input_size: Any, indices: Any, grad_output: Any, *, data_format: str | None = None
) -> np.ndarray:
    """As `adaptive_max_pool2d_input`, in one dimension."""
    return max_gradient("adaptive_max_pool1d_input", input_size, indices, grad_output, data_format)


def adaptive_max_pool2d_input(
    input_size: Any, indices: Any, grad_output: Any, *, data_format: str | None = None
) -> np.ndarray:
    """The gradient of `adaptive_max_pool2d` with respect to its input; as `max_pool2d_input`."""
    return max_gradient("adaptive_max_pool2d_input", input_size, indices, grad_output, data_format)


def adaptive_max_pool3d_input(
    input_size: Any, indices: Any, grad_output: Any, *, data_format: str | None = None
) -> np.ndarray:
    """As `adaptive_max_pool2d_input`, in three dimensions."""
    return max_gradient("adaptive_max_pool3d_input", input_size, indices, grad_output, data_format)


def max_unpool1d_input(
    input_size: Any, indices: Any, grad_output: Any, *, data_format: str | None = None
) -> np.ndarray:
    """As `max_unpool2d_input`, in one dimension."""
    return unpool_gradient("max_unpool1d_input", input_size, indices, grad_output, data_format)


def max_unpool2d_input(
    input_size: Any, indices: Any, grad_output: Any, *, data_format: str | None = None
) -> np.ndarray:
    """The gradient of `max_unpool2d` with respect to its input: what `grad_output` holds at the indices.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the unpooling's input, (N, C, H, W) or (C, H, W).
    indices : array_like of int, shape `input_size`
        As the unpooling was given them.
    grad_output : array_like
        Of the shape of the unpooling's result.
    data_format : str, optional
        As in `max_pool2d`.

    Returns
    -------
    ndarray, shape `input_size`
        In the dtype of `grad_output`.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit together, or an index is outside the result. On a GPU those outside are passed over and
        give 0; indices must be of dtype int64.
    """
    return unpool_gradient("max_unpool2d_input", input_size, indices, grad_output, data_format)


def max_unpool3d_input(
    input_size: Any, indices: Any, grad_output: Any, *, data_format: str | None = None
) -> np.ndarray:
    """As `max_unpool2d_input`, in three dimensions."""
    return unpool_gradient("max_unpool3d_input", input_size, indices, grad_output, data_format)


def global_avg_pool_input(
    input_size: Any, grad_output: Any, *, data_format: str | None = None, algorithm: str = "auto"
) -> np.ndarray:
    """The gradient of `global_avg_pool` with respect to its input.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the pooling's input, ``(N, C, *spatial)``.
    grad_output : array_like, shape (N, C, 1, ..., 1), or (N, 1, ..., 1, C)
    data_format, algorithm
        As in `global_avg_pool`.

    Returns
    -------
    ndarray, shape `input_size`
        In the dtype of `grad_output`, or float64 of integers.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit together.
    """
    return global_pool_gradient(input_size, grad_output, data_format, algorithm)


def global_max_pool_input(x: Any, grad_output: Any, *, data_format: str | None = None) -> np.ndarray:
    """The gradient of `global_max_pool` with respect to its input.

    Parameters
    ----------
    x : array_like, shape ``(N, C, *spatial)``
        The pooling's input.
    grad_output : array_like, shape (N, C, 1, ..., 1), or (N, 1, ..., 1, C)
    data_format : str, optional
        As in `max_pool2d`.

    Returns
    -------
    ndarray, of the shape of `x`
        In the dtype of `grad_output`.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit together.
    """
    return global_max_gradient(x, grad_output, data_format)
