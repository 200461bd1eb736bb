"""The fully connected layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.kernels.cpu.memory import empty
from numconv.ops import activation as activations
from numconv.ops.device import by_device, on_host
from numconv.ops.elementwise import NATIVE, straight
from numconv.problem import HALF, supported_dtype


@by_device
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
    (x, weight, *rest), work, dtype = _operands(x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    if weight.ndim not in (1, 2):
        raise ValueError(f"weight must have shape (out, in) or (in,), got {weight.shape}")
    if x.ndim < 1 or x.shape[-1] != weight.shape[-1]:
        raise ValueError(f"x must have weight's {weight.shape[-1]} entries along its last axis, got shape {x.shape}")
    shape = (*x.shape[:-1], *weight.shape[:-1])
    if rest and not _broadcasts(rest[0].shape, shape):
        raise ValueError(f"bias must broadcast to the result's shape {shape}, got {rest[0].shape}")
    parsed = activations.parse(activation)
    if parsed is not None and dtype.kind not in "fV":
        raise TypeError(f"activation needs a float dtype, got {dtype}")

    x, weight, *rest = [array if array.dtype is work else array.astype(work) for array in (x, weight, *rest)]
    if parsed is None and dtype in NATIVE and x.size and (not rest or rest[0].shape == weight.shape[:-1]):
        return _by_rows(x.reshape(-1, x.shape[-1]), weight, *rest).reshape(shape)
    with np.errstate(all="ignore"):
        y = _by_rows(x.reshape(-1, x.shape[-1]), weight).reshape(shape) if x.size else np.zeros(shape, work)
        if rest:
            y += rest[0]
        return activations.apply(y, parsed, out=y).astype(dtype, copy=False)


@by_device
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
    arrays, work, dtype = _operands(weight=weight, grad_output=grad_output)
    weight, grad_output = arrays
    if weight.ndim == 1:
        weight, grad_output = weight[None], grad_output[..., None]
    if weight.ndim != 2 or grad_output.ndim < 1 or grad_output.shape[-1] != weight.shape[0]:
        raise ValueError(f"grad_output must have a last axis of weight's {weight.shape[0]}, got {grad_output.shape}")
    lead = grad_output.shape[:-1]
    rows = grad_output.reshape(math.prod(lead), weight.shape[0])
    return _product(rows, weight, False, work, dtype).reshape(*lead, weight.shape[1])


@by_device
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
    (x, grad_output), work, dtype = _operands(x=x, grad_output=grad_output)
    out = grad_output.shape[x.ndim - 1 :]
    if x.ndim < 1 or len(out) > 1 or grad_output.shape[: x.ndim - 1] != x.shape[:-1]:
        raise ValueError(f"grad_output must have the leading axes of x, {x.shape[:-1]}, got {grad_output.shape}")
    count = math.prod(x.shape[:-1])
    rows, gradients = x.reshape(count, x.shape[-1]), grad_output.reshape(count, *(out or (1,)))
    return _product(gradients, rows, True, work, dtype).reshape(*out, x.shape[-1])


def _operands(**given: Any) -> tuple[list[np.ndarray], np.dtype, np.dtype]:
    """Arrays, the dtype to compute in, and that of the result."""
    arrays = [on_host(name, value) for name, value in given.items()]
    dtypes = [array.dtype for array in arrays]
    if dtypes[0] in NATIVE and dtypes.count(dtypes[0]) == len(dtypes):
        return arrays, dtypes[0], dtypes[0]
    dtypes = [supported_dtype(name, dtype) for name, dtype in zip(given, dtypes)]
    try:
        dtype = np.result_type(*dtypes)
    except TypeError:
        raise TypeError(f"{', '.join(given)} must have a common dtype, got {[str(d) for d in dtypes]}") from None
    return arrays, np.dtype(np.float32) if dtype.name in HALF else dtype, dtype


def _by_rows(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """a @ b.T, for b of one axis or two, in a dtype that both have; plus `bias`, where a kernel takes the dtype."""
    if a.dtype not in NATIVE:
        return a @ b.T
    n = len(b) if b.ndim == 2 else 1
    c = np.empty((len(a), n), a.dtype)
    shape = len(a), n, a.shape[1]
    add = None if bias is None else straight(bias, a.dtype)
    kernels("matrix_product").times_rows(straight(a, a.dtype), straight(b, a.dtype), c.reshape(-1), shape, add)
    return c


def _product(a: np.ndarray, b: np.ndarray, transposed: bool, work: np.dtype, dtype: np.dtype) -> np.ndarray:
    """`product`, computed in `work`, in another dtype."""
    if a.dtype is work and b.dtype is work and dtype in NATIVE:
        return product(a, b, transposed)
    with np.errstate(all="ignore"):
        return product(a.astype(work, copy=False), b.astype(work, copy=False), transposed).astype(dtype, copy=False)


def product(a: np.ndarray, b: np.ndarray, transposed: bool = False) -> np.ndarray:
    """a @ b, or a.T @ b, of matrices in a dtype that both have: the same bits for any number of threads."""
    if a.dtype not in NATIVE:
        return (a.T if transposed else a) @ b
    rows = a.shape[1] if transposed else len(a)
    c = empty((rows, b.shape[1]), a.dtype)
    shape = rows, b.shape[1], len(b)
    multiply = kernels("matrix_product").times_columns
    multiply(straight(a, a.dtype), straight(b, a.dtype), c.reshape(-1), shape, transposed)
    return c


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    if shape == target[-1:]:
        return True
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False
