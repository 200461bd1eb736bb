"""Poolings of arrays: max, average, Lp, weighted average, adaptive and global, and unpooling.

`x` is ``(N, C, *spatial)``, or unbatched ``(C, *spatial)``, and channels last with `data_format`. Strides, paddings and
the rest follow `torch.nn.functional`. Positions outside the input contribute nothing: they never win a maximum and add
nothing to a sum. The functions of two dimensions hold the documentation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.ops.pooling_call import global_pool, lp_pool, pool, unpool


def max_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str | None = None,
    algorithm: str = "auto",
) -> Any:
    """As `max_pool2d`, in one dimension."""
    return pool(
        "max_pool1d", x, algorithm, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
        ceil_mode=ceil_mode, return_indices=return_indices, data_format=data_format,
    )  # fmt: skip


def max_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str | None = None,
    algorithm: str = "auto",
) -> Any:
    """The largest element of each window.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Of a float or integer dtype.
    kernel_size : int or sequence of int
        Size of a window, for all axes or for each.
    stride : int or sequence of int, optional
        From one window to the next; the kernel's size where left out.
    padding : int, sequence of int, pairs or str
        Added on both sides of each axis: at most half of the effective kernel. Or (before, after) pairs, one for each
        axis and without that limit; "valid" for none; "same" for ceil(size / stride) positions, what is odd added
        after, as in TensorFlow, or before with "same_lower".
    dilation : int or sequence of int
        From one element of a window to the next.
    ceil_mode : bool
        Whether to round the result's size up. A last window that would start in the padding after the input is
        dropped.
    return_indices : bool
        Whether to return where the elements were, too.
    data_format : str, optional
        "NCHW" (as if left out) or "NHWC"; "NCL" or "NLC" in one dimension, "NCDHW" or "NDHWC" in three; or
        "channels_first" or "channels_last".
    algorithm : str
        "auto", or a name from `algorithms("max_pool2d")`.

    Returns
    -------
    ndarray, or (ndarray, ndarray of int64)
        The maxima, in the dtype of `x`, and their indices, flat over the spatial plane in any layout. Of equal
        elements the first wins. NaN wins over all numbers, the last of them, as in PyTorch. A window without any
        position inside the input gives minus infinity, or the lowest integer, and index -1.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, naming it.

    Examples
    --------
    >>> max_pool2d([[[[1.0, 2.0], [3.0, 4.0]]]], 2, return_indices=True)
    (array([[[[4.]]]]), array([[[[3]]]]))
    """
    return pool(
        "max_pool2d", x, algorithm, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
        ceil_mode=ceil_mode, return_indices=return_indices, data_format=data_format,
    )  # fmt: skip


def max_pool3d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str | None = None,
    algorithm: str = "auto",
) -> Any:
    """As `max_pool2d`, in three dimensions."""
    return pool(
        "max_pool3d", x, algorithm, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
        ceil_mode=ceil_mode, return_indices=return_indices, data_format=data_format,
    )  # fmt: skip


def avg_pool1d(
    x: Any,
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
    """As `avg_pool2d`, in one dimension."""
    return pool(
        "avg_pool1d", x, algorithm, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
        ceil_mode=ceil_mode, count_include_pad=count_include_pad, divisor_override=divisor_override,
        data_format=data_format,
    )  # fmt: skip


def avg_pool2d(
    x: Any,
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
    """The mean of each window.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Of a float or integer dtype.
    kernel_size, stride, padding, dilation, ceil_mode, data_format, algorithm
        As in `max_pool2d`.
    count_include_pad : bool
        Whether positions in the padding count in the divisor.
    divisor_override : int, optional
        What to divide by instead.

    Returns
    -------
    ndarray
        In the dtype of `x`, or float64 of integers. Half types are summed in float32. A window without any position
        inside the input gives 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, naming it.

    Examples
    --------
    >>> avg_pool2d([[[[1.0, 2.0], [3.0, 4.0]]]], 2)
    array([[[[2.5]]]])
    """
    return pool(
        "avg_pool2d", x, algorithm, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
        ceil_mode=ceil_mode, count_include_pad=count_include_pad, divisor_override=divisor_override,
        data_format=data_format,
    )  # fmt: skip


def avg_pool3d(
    x: Any,
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
    """As `avg_pool2d`, in three dimensions."""
    return pool(
        "avg_pool3d", x, algorithm, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
        ceil_mode=ceil_mode, count_include_pad=count_include_pad, divisor_override=divisor_override,
        data_format=data_format,
    )  # fmt: skip


def lp_pool1d(
    x: Any,
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
    """As `lp_pool2d`, in one dimension."""
    return lp_pool(
        "lp_pool1d", x, norm_type, algorithm, kernel_size=kernel_size, stride=stride, padding=padding,
        dilation=dilation, ceil_mode=ceil_mode, data_format=data_format,
    )  # fmt: skip


def lp_pool2d(
    x: Any,
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
    """The Lp norm of each window, `(sum of x**p) ** (1/p)`.

    As in PyTorch, elements keep their signs: with an odd p a window of a negative sum gives NaN (p = 1 gives the
    sum); ONNX takes the absolute values, `lp_pool2d(abs(x), ...)`. A window that `ceil_mode` lets hang over the edge
    counts its missing positions at the mean of the others.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Of a float or integer dtype.
    norm_type : float
        The exponent p, not 0. Infinity gives the largest absolute value, minus infinity the smallest.
    kernel_size, stride, ceil_mode, padding, dilation, data_format, algorithm
        As in `max_pool2d`.

    Returns
    -------
    ndarray
        In the dtype of `x`, or float64 of integers; summed in float64.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, naming it.

    Examples
    --------
    >>> lp_pool2d([[[[3.0, 0.0], [0.0, 4.0]]]], 2, 2)
    array([[[[5.]]]])
    """
    return lp_pool(
        "lp_pool2d", x, norm_type, algorithm, kernel_size=kernel_size, stride=stride, padding=padding,
        dilation=dilation, ceil_mode=ceil_mode, data_format=data_format,
    )  # fmt: skip


def lp_pool3d(
    x: Any,
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
    """As `lp_pool2d`, in three dimensions."""
    return lp_pool(
        "lp_pool3d", x, norm_type, algorithm, kernel_size=kernel_size, stride=stride, padding=padding,
        dilation=dilation, ceil_mode=ceil_mode, data_format=data_format,
    )  # fmt: skip


def weighted_avg_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    *,
    weights: Any = "gaussian",
    data_format: str | None = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """As `weighted_avg_pool2d`, in one dimension."""
    return pool(
        "weighted_avg_pool1d", x, algorithm, weights=weights, kernel_size=kernel_size, stride=stride, padding=padding,
        data_format=data_format,
    )  # fmt: skip


def weighted_avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    *,
    weights: Any = "gaussian",
    data_format: str | None = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """The weighted mean of each window, with weights that fall with the distance from its middle.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Of a float or integer dtype.
    kernel_size, stride, padding, data_format, algorithm
        As in `max_pool2d`.
    weights : "gaussian" or array_like
        "gaussian" is exp(-d^2 / 2) with d the distance from the middle of the window, in quarters of the kernel's
        size along each axis. An array has the kernel's shape.

    Returns
    -------
    ndarray
        In the dtype of `x`, or float64 of integers. The weights of the positions inside the input are scaled to a sum
        of one. A window without any gives 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, naming it.

    Examples
    --------
    >>> weighted_avg_pool2d([[[[1.0, 2.0], [3.0, 4.0]]]], 2, weights=[[1, 0], [0, 3]])
    array([[[[3.25]]]])
    """
    return pool(
        "weighted_avg_pool2d", x, algorithm, weights=weights, kernel_size=kernel_size, stride=stride, padding=padding,
        data_format=data_format,
    )  # fmt: skip


def weighted_avg_pool3d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    *,
    weights: Any = "gaussian",
    data_format: str | None = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """As `weighted_avg_pool2d`, in three dimensions."""
    return pool(
        "weighted_avg_pool3d", x, algorithm, weights=weights, kernel_size=kernel_size, stride=stride, padding=padding,
        data_format=data_format,
    )  # fmt: skip


def adaptive_avg_pool1d(
    x: Any, output_size: Any, *, data_format: str | None = None, algorithm: str = "auto"
) -> np.ndarray:
    """As `adaptive_avg_pool2d`, in one dimension."""
    return pool("adaptive_avg_pool1d", x, algorithm, output_size=output_size, data_format=data_format)


def adaptive_avg_pool2d(
    x: Any, output_size: Any, *, data_format: str | None = None, algorithm: str = "auto"
) -> np.ndarray:
    """The mean of each of as many windows as the result shall have positions.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Of a float or integer dtype.
    output_size : int, None, or sequence of them
        Size of the result, for all axes or for each; None keeps the input's. Window i of m covers the positions from
        floor(i n / m) to ceil((i + 1) n / m).
    data_format, algorithm
        As in `max_pool2d`.

    Returns
    -------
    ndarray
        In the dtype of `x`, or float64 of integers.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, naming it.

    Examples
    --------
    >>> adaptive_avg_pool2d([[[[1.0, 2.0, 3.0]]]], (1, 2))
    array([[[[1.5, 2.5]]]])
    """
    return pool("adaptive_avg_pool2d", x, algorithm, output_size=output_size, data_format=data_format)


def adaptive_avg_pool3d(
    x: Any, output_size: Any, *, data_format: str | None = None, algorithm: str = "auto"
) -> np.ndarray:
    """As `adaptive_avg_pool2d`, in three dimensions."""
    return pool("adaptive_avg_pool3d", x, algorithm, output_size=output_size, data_format=data_format)


def adaptive_max_pool1d(
    x: Any, output_size: Any, return_indices: bool = False, *, data_format: str | None = None, algorithm: str = "auto"
) -> Any:
    """As `adaptive_max_pool2d`, in one dimension."""
    return pool(
        "adaptive_max_pool1d", x, algorithm, output_size=output_size, return_indices=return_indices,
        data_format=data_format,
    )  # fmt: skip


def adaptive_max_pool2d(
    x: Any, output_size: Any, return_indices: bool = False, *, data_format: str | None = None, algorithm: str = "auto"
) -> Any:
    """The largest element of each of as many windows as the result shall have positions.

    Parameters
    ----------
    x, output_size, data_format, algorithm
        As in `adaptive_avg_pool2d`.
    return_indices : bool
        Whether to return where the elements were, too.

    Returns
    -------
    ndarray, or (ndarray, ndarray of int64)
        As of `max_pool2d`.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, naming it.

    Examples
    --------
    >>> adaptive_max_pool2d([[[[1.0, 2.0, 3.0]]]], (1, 2))
    array([[[[2., 3.]]]])
    """
    return pool(
        "adaptive_max_pool2d", x, algorithm, output_size=output_size, return_indices=return_indices,
        data_format=data_format,
    )  # fmt: skip


def adaptive_max_pool3d(
    x: Any, output_size: Any, return_indices: bool = False, *, data_format: str | None = None, algorithm: str = "auto"
) -> Any:
    """As `adaptive_max_pool2d`, in three dimensions."""
    return pool(
        "adaptive_max_pool3d", x, algorithm, output_size=output_size, return_indices=return_indices,
        data_format=data_format,
    )  # fmt: skip


def max_unpool1d(
    x: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    data_format: str | None = None,
) -> np.ndarray:
    """As `max_unpool2d`, in one dimension."""
    return unpool(
        "max_unpool1d", x, indices, kernel_size=kernel_size, stride=stride, padding=padding, output_size=output_size,
        data_format=data_format,
    )  # fmt: skip


def max_unpool2d(
    x: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    data_format: str | None = None,
) -> np.ndarray:
    """Elements put back where `max_pool2d` took them from, zeros elsewhere.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Of a float or integer dtype.
    indices : array_like of int, of the shape of `x`
        Flat over the result's spatial plane, in any layout. Of equal indices the last element stays.
    kernel_size, stride, padding, data_format
        Of the pooling, as in `max_pool2d`; the padding as integers or pairs.
    output_size : sequence of int, optional
        Spatial shape of the result, or its whole shape; (n - 1) stride - pads + kernel_size where left out, and less
        than a stride away from that.

    Returns
    -------
    ndarray
        In the dtype of `x`.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, naming it, or an index is outside the result, before anything is written. On a
        GPU, where reading indices back would make the host wait, those outside are passed over; they must be of dtype
        int64.

    Examples
    --------
    >>> max_unpool2d([[[[4.0]]]], [[[[3]]]], 2)
    array([[[[0., 0.],
             [0., 4.]]]])
    """
    return unpool(
        "max_unpool2d", x, indices, kernel_size=kernel_size, stride=stride, padding=padding, output_size=output_size,
        data_format=data_format,
    )  # fmt: skip


def max_unpool3d(
    x: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    data_format: str | None = None,
) -> np.ndarray:
    """As `max_unpool2d`, in three dimensions."""
    return unpool(
        "max_unpool3d", x, indices, kernel_size=kernel_size, stride=stride, padding=padding, output_size=output_size,
        data_format=data_format,
    )  # fmt: skip


def global_avg_pool(x: Any, *, data_format: str | None = None, algorithm: str = "auto") -> np.ndarray:
    """The mean of each channel of each image.

    Parameters
    ----------
    x : array_like, shape ``(N, C, *spatial)``, with one or more spatial axes
        Of a float or integer dtype.
    data_format, algorithm
        As in `max_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, 1, ..., 1), or (N, 1, ..., 1, C)
        In the dtype of `x`, or float64 of integers.

    Raises
    ------
    ValueError, TypeError
        If `x` has fewer than three axes, an empty spatial axis or an unsupported dtype.

    Examples
    --------
    >>> global_avg_pool([[[[1.0, 2.0], [3.0, 4.0]]]])
    array([[[[2.5]]]])
    """
    return global_pool("global_avg_pool", x, data_format, algorithm)


def global_max_pool(x: Any, *, data_format: str | None = None, algorithm: str = "auto") -> np.ndarray:
    """The largest element of each channel of each image.

    Parameters
    ----------
    x, data_format, algorithm
        As in `global_avg_pool`.

    Returns
    -------
    ndarray, shape (N, C, 1, ..., 1), or (N, 1, ..., 1, C)
        In the dtype of `x`.

    Raises
    ------
    ValueError, TypeError
        As of `global_avg_pool`.

    Examples
    --------
    >>> global_max_pool([[[[1.0, 2.0], [3.0, 4.0]]]])
    array([[[[4.]]]])
    """
    return global_pool("global_max_pool", x, data_format, algorithm)
