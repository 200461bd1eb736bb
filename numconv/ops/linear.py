"""The fully connected layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.ops import activation as activations
from numconv.problem import HALF, supported_dtype


def linear(x: Any, weight: Any, bias: Any = None, activation: Any = None) -> np.ndarray:
    """`activation(x @ weight.T + bias)` over the last axis of `x`.

    Parameters
    ----------
    x : array_like, shape (..., in)
    weight : array_like, shape (out, in) or (in,)
    bias : array_like, optional
        Shape (out,), or any that broadcasts to the result's.
    activation : None, str or (str, float), optional
        As in `conv2d`.

    Returns
    -------
    ndarray, shape (..., out) or (...)
        In the promoted dtype of the operands. float16 and bfloat16 are computed in float32 and rounded once;
        integers wrap as NumPy's do.

    Raises
    ------
    ValueError
        If shapes do not fit or the activation is unknown.
    TypeError
        For bool and unsupported dtypes, or an activation of an integer or complex result.
    """
    operands = {"x": np.asarray(x), "weight": np.asarray(weight)}
    if bias is not None:
        operands["bias"] = np.asarray(bias)
    dtypes = [supported_dtype(name, array.dtype) for name, array in operands.items()]
    try:
        dtype = np.result_type(*dtypes)
    except TypeError:
        raise TypeError(f"x, weight and bias must have a common dtype, got {[str(d) for d in dtypes]}") from None
    x, weight = operands["x"], operands["weight"]
    if weight.ndim not in (1, 2):
        raise ValueError(f"weight must have shape (out, in) or (in,), got {weight.shape}")
    if x.ndim < 1 or x.shape[-1] != weight.shape[-1]:
        raise ValueError(f"x must have weight's {weight.shape[-1]} entries along its last axis, got shape {x.shape}")
    shape = (*x.shape[:-1], *weight.shape[:-1])
    if bias is not None and not _broadcasts(operands["bias"].shape, shape):
        raise ValueError(f"bias must broadcast to the result's shape {shape}, got {operands['bias'].shape}")
    parsed = activations.parse(activation)
    if parsed is not None and dtype.kind not in "fV":
        raise TypeError(f"activation needs a float dtype, got {dtype}")

    work = np.dtype(np.float32) if dtype.name in HALF else dtype
    x, weight, *rest = (array.astype(work, copy=False) for array in operands.values())
    with np.errstate(all="ignore"):
        y = (x.reshape(-1, x.shape[-1]) @ weight.T).reshape(shape) if x.size else np.zeros(shape, work)
        if rest:
            y += rest[0]
        return activations.apply(y, parsed, out=y).astype(dtype, copy=False)


def linear_input(weight: Any, grad_output: Any) -> np.ndarray:
    """The gradient of `linear` with respect to its input: grad_output @ weight.

    Parameters
    ----------
    weight : array_like, shape (out, in) or (in,)
    grad_output : array_like, shape (..., out) or (...)

    Returns
    -------
    ndarray, shape (..., in)
        In the promoted dtype of the operands, computed as in `linear`.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        As `linear`.
    """
    weight, grad_output = np.asarray(weight), np.asarray(grad_output)
    if weight.ndim == 1:
        weight, grad_output = weight[None], grad_output[..., None]
    if weight.ndim != 2 or grad_output.ndim < 1 or grad_output.shape[-1] != weight.shape[0]:
        raise ValueError(f"grad_output must have a last axis of weight's {weight.shape[0]}, got {grad_output.shape}")
    return linear(grad_output, weight.T)


def linear_weight(x: Any, grad_output: Any) -> np.ndarray:
    """The gradient of `linear` with respect to its weight: grad_output.T @ x, over all samples.

    Parameters
    ----------
    x : array_like, shape (..., in)
    grad_output : array_like, shape (..., out) or (...)
        With the leading axes of `x`.

    Returns
    -------
    ndarray, shape (out, in) or (in,)

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        As `linear`.
    """
    x, grad_output = np.asarray(x), np.asarray(grad_output)
    out = grad_output.shape[x.ndim - 1 :]
    if x.ndim < 1 or len(out) > 1 or grad_output.shape[: x.ndim - 1] != x.shape[:-1]:
        raise ValueError(f"grad_output must have the leading axes of x, {x.shape[:-1]}, got {grad_output.shape}")
    count = math.prod(x.shape[:-1])
    rows, gradients = x.reshape(count, x.shape[-1]), grad_output.reshape(count, *(out or (1,)))
    return linear(gradients.T, rows.T).reshape(*out, x.shape[-1])


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False
