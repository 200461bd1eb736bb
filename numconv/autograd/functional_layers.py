"""Linear layers, activations, normalisation, dropout and resizing of Tensors, as torch.nn.functional has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.autograd.functional_arrays import tensor
from numconv.autograd.tape import Tensor, apply

__all__ = [
    "batch_norm",
    "dropout",
    "elu",
    "gelu",
    "group_norm",
    "hardswish",
    "interpolate",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "pad",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]


def relu(x: Any) -> Tensor:
    """max(x, 0); of Tensors whose channels lie last in memory the result's do, too, as with all activations."""
    return apply("relu", x)


def relu6(x: Any) -> Tensor:
    """min(max(x, 0), 6)."""
    return apply("relu6", x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope x."""
    return apply("leaky_relu", x, negative_slope=negative_slope)


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (exp(x) - 1)."""
    return apply("elu", x, alpha=alpha)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """As `numconv.gelu`."""
    return apply("gelu", x, approximate=approximate)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x))."""
    return apply("sigmoid", x)


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent."""
    return apply("tanh", x)


def silu(x: Any) -> Tensor:
    """x sigmoid(x)."""
    return apply("silu", x)


def hardswish(x: Any) -> Tensor:
    """x min(max(x + 3, 0), 6) / 6."""
    return apply("hardswish", x)


def softmax(x: Any, dim: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis."""
    return apply("softmax", x, axis=dim)


def log_softmax(x: Any, dim: int = -1) -> Tensor:
    """The logarithm of `softmax`."""
    return apply("log_softmax", x, axis=dim)


def dropout(x: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | None = None) -> Tensor:
    """As `numconv.dropout`; x itself where nothing is to be dropped."""
    if training and p != 0:
        return apply("dropout", x, p=p, rng=rng)[0]
    if not 0 <= p <= 1:
        raise ValueError(f"p must be between 0 and 1, got {p!r}")
    return tensor(x)


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """x @ weight.T + bias over the last axis of x."""
    return apply("linear", x, weight, bias)


def batch_norm(
    x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5, *, data_format: str | None = None, activation: str | None = None,
    residual: Any = None,
) -> Tensor:  # fmt: skip
    """As `numconv.batch_norm`, with `activation` None or "relu"; running statistics are changed in place."""
    if activation not in (None, "relu"):
        raise ValueError(f"activation must be None or 'relu', got {activation!r}")
    operands = x, running_mean, running_var, weight, bias
    options = {
        "training": training, "momentum": momentum, "eps": eps, "data_format": data_format, "activation": activation
    }  # fmt: skip
    if residual is None:
        result = apply("batch_norm", *operands, **options)[0]
    else:
        result = apply("batch_norm_add", *operands, residual, **options)[0]
    if training:
        for running in (running_mean, running_var):
            if isinstance(running, Tensor):
                running.bump()
    return result


def group_norm(
    x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *, data_format: str | None = None
) -> Tensor:
    """As `numconv.group_norm`."""
    return apply("group_norm", x, weight, bias, num_groups=num_groups, eps=eps, data_format=data_format)


def layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """As `numconv.layer_norm`."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    return apply("layer_norm", x, weight, bias, normalized_shape=shape, eps=eps)


def local_response_norm(
    x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, data_format: str | None = None
) -> Tensor:
    """As `numconv.local_response_norm`."""
    return apply("local_response_norm", x, size=size, alpha=alpha, beta=beta, k=k, data_format=data_format)


def pad(x: Any, pad: Any, mode: str = "constant", value: float | None = 0) -> Tensor:
    """As `numconv.pad`."""
    return apply("pad", x, pad=pad, mode=mode, value=value)


def interpolate(
    x: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None, antialias: bool = False, *, data_format: str | None = None,
) -> Tensor:  # fmt: skip
    """As `numconv.interpolate`."""
    return apply(
        "interpolate", x, size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners,
        recompute_scale_factor=recompute_scale_factor, antialias=antialias, data_format=data_format,
    )  # fmt: skip
