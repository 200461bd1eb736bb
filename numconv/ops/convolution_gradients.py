"""Gradients of convolutions with respect to their input and to their weight, each an operation of its own.

They take the shape of what the gradient is of, the other operand, the gradient of the output, and the convolution's
options.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.ops.convolution import gradient


def _input_gradient(
    ndim: int, input_size: Any, weight: Any, grad_output: Any, stride: Any, padding: Any, dilation: Any, groups: Any,
    data_format: str | None, algorithm: str, precision: str, out: np.ndarray | None,
) -> np.ndarray:  # fmt: skip
    values = (stride, padding, dilation, groups, data_format, precision)
    known = ("weight", weight)
    return gradient(f"conv{ndim}d_input", ("input_size", input_size), known, grad_output, values, algorithm, out)


def _weight_gradient(
    ndim: int, input: Any, weight_size: Any, grad_output: Any, stride: Any, padding: Any, dilation: Any, groups: Any,
    data_format: str | None, algorithm: str, precision: str, out: np.ndarray | None,
) -> np.ndarray:  # fmt: skip
    values = (stride, padding, dilation, groups, data_format, precision)
    known = ("input", input)
    return gradient(f"conv{ndim}d_weight", ("weight_size", weight_size), known, grad_output, values, algorithm, out)


def conv2d_input(
    input_size: Any, weight: Any, grad_output: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1, *, data_format: str | None = None, algorithm: str = "auto", precision: str = "default",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Gradient of `conv2d` with respect to its input.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the input, in `data_format`.
    weight : array_like
        As given to `conv2d`.
    grad_output : array_like
        Gradient with respect to the result, of its shape.
    stride, padding, dilation, groups, data_format, algorithm, precision, out
        As in `conv2d`.

    Returns
    -------
    numpy.ndarray
        Of shape `input_size`. For complex arrays the plain transpose, not conjugated.

    Raises
    ------
    ValueError, TypeError
        As `conv2d`, and where `grad_output` is not of the result's shape.
    """
    return _input_gradient(
        2, input_size, weight, grad_output, stride, padding, dilation, groups, data_format, algorithm, precision, out
    )


def conv1d_input(
    input_size: Any, weight: Any, grad_output: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1, *, data_format: str | None = None, algorithm: str = "auto", precision: str = "default",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Gradient of `conv1d` with respect to its input: see `conv2d_input`."""
    return _input_gradient(
        1, input_size, weight, grad_output, stride, padding, dilation, groups, data_format, algorithm, precision, out
    )


def conv3d_input(
    input_size: Any, weight: Any, grad_output: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1, *, data_format: str | None = None, algorithm: str = "auto", precision: str = "default",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Gradient of `conv3d` with respect to its input: see `conv2d_input`."""
    return _input_gradient(
        3, input_size, weight, grad_output, stride, padding, dilation, groups, data_format, algorithm, precision, out
    )


def conv2d_weight(
    input: Any, weight_size: Any, grad_output: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1, *, data_format: str | None = None, algorithm: str = "auto", precision: str = "default",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Gradient of `conv2d` with respect to its weight.

    Parameters
    ----------
    input : array_like
        As given to `conv2d`.
    weight_size : sequence of int
        Shape of the weight.
    grad_output : array_like
        Gradient with respect to the result, of its shape.
    stride, padding, dilation, groups, data_format, algorithm, precision, out
        As in `conv2d`.

    Returns
    -------
    numpy.ndarray
        Of shape `weight_size`. For complex arrays the plain transpose, not conjugated.

    Raises
    ------
    ValueError, TypeError
        As `conv2d`, and where `grad_output` is not of the result's shape.
    """
    return _weight_gradient(
        2, input, weight_size, grad_output, stride, padding, dilation, groups, data_format, algorithm, precision, out
    )


def conv1d_weight(
    input: Any, weight_size: Any, grad_output: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1, *, data_format: str | None = None, algorithm: str = "auto", precision: str = "default",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Gradient of `conv1d` with respect to its weight: see `conv2d_weight`."""
    return _weight_gradient(
        1, input, weight_size, grad_output, stride, padding, dilation, groups, data_format, algorithm, precision, out
    )


def conv3d_weight(
    input: Any, weight_size: Any, grad_output: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1, *, data_format: str | None = None, algorithm: str = "auto", precision: str = "default",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Gradient of `conv3d` with respect to its weight: see `conv2d_weight`."""
    return _weight_gradient(
        3, input, weight_size, grad_output, stride, padding, dilation, groups, data_format, algorithm, precision, out
    )
