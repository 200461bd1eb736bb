"""Activations and softmax: safe against overflow, NaN propagates, one rounding for half types."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.kernels.cpu.memory import empty
from numconv.ops.bell import normal_distribution
from numconv.ops.device import by_device, on_host
from numconv.ops.elementwise import NATIVE, blockwise, real, straight
from numconv.problem import ACTIVATIONS, integer, parse_activation

__all__ = [
    "apply",
    "elu",
    "gelu",
    "hardswish",
    "leaky_relu",
    "log_softmax",
    "parse",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]


def sigmoid_of(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


_FUNCTIONS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "relu": lambda x, _: np.maximum(x, 0),
    "relu6": lambda x, _: np.minimum(np.maximum(x, 0), 6),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "elu": lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x, _: x * normal_distribution(x),
    "sigmoid": lambda x, _: sigmoid_of(x),
    "tanh": lambda x, _: np.tanh(x),
    "silu": lambda x, _: x * sigmoid_of(x),
    "hardswish": lambda x, _: x * np.clip(x + 3, 0, 6) / 6,
}

_IN_KERNELS = ("relu", "relu6", "leaky_relu", "hardswish")


def _evaluate(function: Callable[[np.ndarray], np.ndarray], x: Any, integers: bool = False) -> np.ndarray:
    """`function` of each element; with `integers` these stay what they are."""
    x, work, result = real("x", x)
    if integers and x.dtype.kind in "iu":
        work = result = x.dtype.newbyteorder("=")
    out = np.empty(x.shape, result)
    blockwise(function, out, work, x)
    return out


def _named(name: str, x: Any, parameter: float = 0.0) -> np.ndarray:
    x = on_host("x", x)
    if name in _IN_KERNELS and x.dtype in NATIVE:
        out = empty(x.shape, x.dtype)
        kernels("activation").activate(name, parameter, straight(x, out.dtype), out.reshape(-1))
        return out
    if name == "tanh" and x.dtype in NATIVE:  # no temporaries, so no blocks: 31 us in place of 46 for 600 kB
        with np.errstate(all="ignore"):
            return np.tanh(x, out=empty(x.shape, x.dtype))
    return _evaluate(lambda block: _FUNCTIONS[name](block, parameter), x, integers=name in ("relu", "relu6"))


def parse(activation: Any) -> tuple[str, float] | None:
    """(name, parameter) of an activation given as None, a name, (name, parameter), or as this returns it.

    Raises
    ------
    ValueError
        With the list of names, if there is no such activation or it takes no parameter.
    """
    if activation is None or activation in list(ACTIVATIONS.items()):
        return activation
    return parse_activation(activation)


def apply(y: np.ndarray, activation: Any, out: np.ndarray | None = None) -> np.ndarray:
    """An activation by name, as the epilogue of a convolution takes it.

    Parameters
    ----------
    y : ndarray
        Of a float dtype.
    activation : None, str or (str, float)
        A name of `numconv.problem.ACTIVATIONS`, alone or with its parameter.
    out : ndarray, optional
        Where to write, of `y`'s shape and dtype; may be `y`.

    Returns
    -------
    ndarray
        `out` where given, `y` itself where there is nothing to do, else a new array.

    Raises
    ------
    ValueError
        If the activation is unknown, or `out` has another shape or cannot be written.
    TypeError
        If `y` is not a float array, or `out` not an array of its dtype.
    """
    parsed = parse(activation)
    if out is not None:
        if not isinstance(out, np.ndarray) or out.dtype != y.dtype:
            raise TypeError(f"out must be an array of dtype {y.dtype}, got {getattr(out, 'dtype', type(out))}")
        if out.shape != y.shape:
            raise ValueError(f"out must have shape {y.shape}, got {out.shape}")
        if not out.flags.writeable:
            raise ValueError("out must be writable, got a read-only array")
    if parsed is None:
        if out is None or out is y:
            return y
        out[...] = y
        return out
    y, work, result = real("y", y)
    if y.dtype.kind in "iu":
        raise TypeError(f"activation needs a float dtype, got {y.dtype}")
    if out is None:
        out = np.empty(y.shape, result)
    name, parameter = parsed
    blockwise(lambda block: _FUNCTIONS[name](block, parameter), out, work, y)
    return out


@by_device
def relu(x: Any) -> np.ndarray:
    """max(x, 0), elementwise.

    Parameters
    ----------
    x : array_like
        float16, bfloat16 (both computed in float32), float32, float64, or integers, which stay integers.

    Returns
    -------
    ndarray
        Of `x`'s shape and dtype.

    Raises
    ------
    TypeError
        For bool and complex `x`.
    """
    return _named("relu", x)


@by_device
def relu6(x: Any) -> np.ndarray:
    """min(max(x, 0), 6), elementwise; dtypes as in `relu`."""
    return _named("relu6", x)


@by_device
def leaky_relu(x: Any, negative_slope: float = 0.01) -> np.ndarray:
    """x where x > 0, else negative_slope x; integers give float64, other dtypes as in `relu`."""
    return _named("leaky_relu", x, float(negative_slope))


@by_device
def elu(x: Any, alpha: float = 1.0) -> np.ndarray:
    """x where x > 0, else alpha (exp(x) - 1) (Clevert, Unterthiner and Hochreiter 2016); dtypes as in `leaky_relu`."""
    return _named("elu", x, float(alpha))


@by_device
def gelu(x: Any, approximate: str = "none") -> np.ndarray:
    """x times the normal distribution function at x (Hendrycks and Gimpel 2016).

    Parameters
    ----------
    x : array_like
        Dtypes as in `leaky_relu`.
    approximate : {"none", "tanh"}
        "tanh" takes 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        For another `approximate`.
    TypeError
        For bool and complex `x`.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
    return _named("gelu", x) if approximate == "none" else _evaluate(_gelu_tanh, x)


@by_device
def sigmoid(x: Any) -> np.ndarray:
    """1 / (1 + exp(-x)), elementwise; dtypes as in `leaky_relu`."""
    return _named("sigmoid", x)


@by_device
def tanh(x: Any) -> np.ndarray:
    """The hyperbolic tangent, elementwise; dtypes as in `leaky_relu`."""
    return _named("tanh", x)


@by_device
def silu(x: Any) -> np.ndarray:
    """x sigmoid(x), elementwise, also called swish; dtypes as in `leaky_relu`."""
    return _named("silu", x)


@by_device
def hardswish(x: Any) -> np.ndarray:
    """x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019), elementwise; dtypes as in `leaky_relu`."""
    return _named("hardswish", x)


@by_device
def softmax(x: Any, axis: int = -1, *, dim: int | None = None, dtype: Any = None) -> np.ndarray:
    """exp(x) / sum(exp(x)) along one axis, with the largest entry subtracted first.

    Parameters
    ----------
    x : array_like
        Dtypes as in `leaky_relu`.
    axis : int
    dim : int, optional
        PyTorch's name of `axis`.
    dtype : data type, optional
        To convert `x` to before anything else.

    Returns
    -------
    ndarray
        NaN all along the axis where `x` has NaN, +inf or nothing but -inf.

    Raises
    ------
    ValueError
        If `x` has no such axis, or `axis` and `dim` contradict each other.
    TypeError
        For bool and complex `x`.
    """
    z, axes, result = _shifted(x, axis, dim, dtype)
    with np.errstate(all="ignore"):
        z = np.exp(z, out=z)
        total = np.sum(z, axes, keepdims=True, dtype=np.float64)
        return np.divide(z, total.astype(z.dtype), out=z).astype(result, copy=False)


@by_device
def log_softmax(x: Any, axis: int = -1, *, dim: int | None = None, dtype: Any = None) -> np.ndarray:
    """The logarithm of `softmax`, exact where that underflows; arguments as there."""
    z, axes, result = _shifted(x, axis, dim, dtype)
    with np.errstate(all="ignore"):
        total = np.sum(np.exp(z), axes, keepdims=True, dtype=np.float64)
        return np.subtract(z, np.log(total).astype(z.dtype), out=z).astype(result, copy=False)


def _shifted(x: Any, axis: int, dim: int | None, dtype: Any) -> tuple[np.ndarray, tuple[int, ...], np.dtype]:
    """x - max(x) along the axis as a new array in the dtype of computation, the axis, the dtype of the result."""
    if dim is not None and axis not in (-1, dim):
        raise ValueError(f"axis and dim are the same thing, got axis={axis} and dim={dim}")
    x, _, _ = real("x", x)
    x, work, result = real("dtype", x if dtype is None else x.astype(dtype))
    axis = integer("axis", axis if dim is None else dim)
    if not -max(x.ndim, 1) <= axis < max(x.ndim, 1):
        raise ValueError(f"axis must be an axis of x, got {axis} for shape {x.shape}")
    axes = (axis,) if x.ndim else ()
    x = x.astype(work, copy=False)
    with np.errstate(all="ignore"):
        return np.asarray(np.subtract(x, np.max(x, axes, keepdims=True, initial=-np.inf), order="C")), axes, result
