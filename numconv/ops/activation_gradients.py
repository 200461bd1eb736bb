"""Gradients of activations and of softmax: grad_output times the derivative.

Those whose derivative follows from their result take that, so that the input need not be kept: relu, sigmoid, tanh,
softmax. Where an activation has a corner the derivative is PyTorch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.kernels.cpu.memory import empty
from numconv.ops.activation import sigmoid_of
from numconv.ops.bell import bell, normal_distribution
from numconv.ops.elementwise import NATIVE, alike, blockwise, straight
from numconv.problem import integer


def _gelu(x: np.ndarray, grad: np.ndarray) -> np.ndarray:
    return grad * (normal_distribution(x) + x * bell(x))


def _gelu_tanh(x: np.ndarray, grad: np.ndarray) -> np.ndarray:
    scale, square = math.sqrt(2 / math.pi), x * x
    t = np.tanh(scale * x * (1 + 0.044715 * square))
    return grad * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * scale * (1 + 3 * 0.044715 * square))


def _silu(x: np.ndarray, grad: np.ndarray) -> np.ndarray:
    gate = sigmoid_of(x)
    return grad * gate * (1 + x * (1 - gate))


_IN_KERNELS = ("relu", "relu6", "leaky_relu", "hardswish", "tanh", "sigmoid")
_FUNCTIONS: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "relu": lambda y, g, _: np.where(y <= 0, 0, g),
    "relu6": lambda x, g, _: np.where((x <= 0) | (x >= 6), 0, g),
    "leaky_relu": lambda x, g, slope: np.where(x > 0, g, slope * g),
    "hardswish": lambda x, g, _: np.where(x <= -3, 0, np.where(x >= 3, g, g * (x / 3 + 0.5))),
    "tanh": lambda y, g, _: g * (1 - y * y),
    "sigmoid": lambda y, g, _: g * (1 - y) * y,
    "elu": lambda x, g, alpha: np.where(x > 0, g, g * (alpha * np.exp(np.minimum(x, 0)))),
    "gelu": lambda x, g, _: _gelu(x, g),
    "gelu_tanh": lambda x, g, _: _gelu_tanh(x, g),
    "silu": lambda x, g, _: _silu(x, g),
}


def _gradient(name: str, of: str, x: Any, grad_output: Any, parameter: float = 0.0) -> np.ndarray:
    """`of` is what the argument `x` is called."""
    (x, grad), work, result = alike(**{of: x, "grad_output": grad_output})
    out = empty(x.shape, result)
    if name in _IN_KERNELS and result in NATIVE:
        flat = straight(x, result), straight(grad, result), out.reshape(-1)
        kernels("activation").activate_input(name, parameter, *flat)
    else:
        blockwise(lambda v, g: _FUNCTIONS[name](v, g, parameter), out, work, x, grad)
    return out


def relu_input(output: Any, grad_output: Any) -> np.ndarray:
    """The gradient of `relu` with respect to its input.

    Parameters
    ----------
    output : array_like
        The result of `relu`, or its input: both give the same.
    grad_output : array_like, of the same shape
        The gradient of the result. float16 and bfloat16 are computed in float32, integers in float64.

    Returns
    -------
    ndarray
        grad_output where output > 0 or is NaN, else 0. In the promoted dtype of both.

    Raises
    ------
    ValueError
        If shapes differ.
    TypeError
        For bool and complex arrays.

    Examples
    --------
    >>> relu_input([-1.0, 0.0, 2.0], [5.0, 5.0, 5.0])
    array([0., 0., 5.])
    """
    return _gradient("relu", "output", output, grad_output)


def relu6_input(x: Any, grad_output: Any) -> np.ndarray:
    """The gradient of `relu6`: grad_output where 0 < x < 6, else 0; the rest as in `relu_input`."""
    return _gradient("relu6", "x", x, grad_output)


def leaky_relu_input(x: Any, grad_output: Any, negative_slope: float = 0.01) -> np.ndarray:
    """The gradient of `leaky_relu`: grad_output where x > 0, else negative_slope times it; see `relu_input`."""
    return _gradient("leaky_relu", "x", x, grad_output, float(negative_slope))


def elu_input(x: Any, grad_output: Any, alpha: float = 1.0) -> np.ndarray:
    """The gradient of `elu`: grad_output where x > 0, else alpha exp(x) times it; see `relu_input`."""
    return _gradient("elu", "x", x, grad_output, float(alpha))


def gelu_input(x: Any, grad_output: Any, approximate: str = "none") -> np.ndarray:
    """The gradient of `gelu`, with `approximate` as there; the rest as in `relu_input`."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
    return _gradient("gelu" if approximate == "none" else "gelu_tanh", "x", x, grad_output)


def sigmoid_input(output: Any, grad_output: Any) -> np.ndarray:
    """The gradient of `sigmoid` by its result y, grad_output y (1 - y); the rest as in `relu_input`."""
    return _gradient("sigmoid", "output", output, grad_output)


def tanh_input(output: Any, grad_output: Any) -> np.ndarray:
    """The gradient of `tanh` by its result y, grad_output (1 - y y); the rest as in `relu_input`."""
    return _gradient("tanh", "output", output, grad_output)


def silu_input(x: Any, grad_output: Any) -> np.ndarray:
    """The gradient of `silu`; the rest as in `relu_input`."""
    return _gradient("silu", "x", x, grad_output)


def hardswish_input(x: Any, grad_output: Any) -> np.ndarray:
    """The gradient of `hardswish`; the rest as in `relu_input`."""
    return _gradient("hardswish", "x", x, grad_output)


def softmax_input(output: Any, grad_output: Any, axis: int = -1, *, dim: int | None = None) -> np.ndarray:
    """The gradient of `softmax` by its result y: y (grad_output - sum(y grad_output)), sums along the axis.

    Parameters
    ----------
    output : array_like
        The result of `softmax`.
    grad_output : array_like, of the same shape
        Dtypes as in `relu_input`.
    axis, dim : int
        As in `softmax`.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If shapes differ, there is no such axis, or `axis` and `dim` contradict each other.
    TypeError
        For bool and complex arrays.
    """
    (y, grad), work, result, axes = _along(output, grad_output, axis, dim)
    with np.errstate(all="ignore"):
        total = np.sum(y * grad, axes, keepdims=True, dtype=np.float64).astype(work)
        return np.multiply(y, grad - total, order="C").astype(result, copy=False)


def log_softmax_input(output: Any, grad_output: Any, axis: int = -1, *, dim: int | None = None) -> np.ndarray:
    """The gradient of `log_softmax` by its result y: grad_output - exp(y) sum(grad_output); see `softmax_input`."""
    (y, grad), work, result, axes = _along(output, grad_output, axis, dim)
    with np.errstate(all="ignore"):
        total = np.sum(grad, axes, keepdims=True, dtype=np.float64).astype(work)
        return np.subtract(grad, np.exp(y) * total, order="C").astype(result, copy=False)


def _along(
    output: Any, grad_output: Any, axis: int, dim: int | None
) -> tuple[list[np.ndarray], np.dtype, np.dtype, tuple[int, ...]]:
    if dim is not None and axis not in (-1, dim):
        raise ValueError(f"axis and dim are the same thing, got axis={axis} and dim={dim}")
    arrays, work, result = alike(output=output, grad_output=grad_output)
    ndim, axis = arrays[0].ndim, integer("axis", axis if dim is None else dim)
    if not -max(ndim, 1) <= axis < max(ndim, 1):
        raise ValueError(f"axis must be an axis of output, got {axis} for shape {arrays[0].shape}")
    return [a.astype(work, copy=False) for a in arrays], work, result, (axis,) if ndim else ()
