"""Initial values of parameters, by PyTorch's formulas. Each function fills a tensor in place and returns it.

Numbers are drawn from `generator`, or from the process's, which `seed` begins anew (see `numconv.random`). float32 is
drawn as float32, every other dtype as float64 and then rounded.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.autograd.tape import Tensor
from numconv.random import default_generator, generator_of, seed

__all__ = [
    "calculate_gain", "constant_", "default_generator", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
    "orthogonal_", "seed", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip

_LINEAR = ("linear", "sigmoid", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)))
_GAINS = {"tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4, **dict.fromkeys(_LINEAR, 1.0)}
_ROOM = 0.01  # of a truncated normal distribution: less would take too many draws


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much weights grow to make up for what an activation takes away.

    Parameters
    ----------
    nonlinearity : str
        linear, conv{n}d, conv_transpose{n}d, sigmoid (1), tanh (5/3), relu (sqrt 2), selu (3/4) or leaky_relu,
        sqrt(2 / (1 + param^2)).
    param : float, optional
        The slope of leaky_relu, 0.01 where left out.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For another name.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"nonlinearity must be one of {[*_GAINS, 'leaky_relu']}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """(numbers that enter a result, results that a number enters) of a weight (out, in, *kernel).

    Raises
    ------
    ValueError
        If it has fewer than two axes.
    """
    if tensor.ndim < 2:
        raise ValueError(f"tensor must have at least 2 axes for its fans, got shape {tensor.shape}")
    out, into, *kernel = tensor.shape
    return into * math.prod(kernel), out * math.prod(kernel)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number."""
    return _fill(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return _fill(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return _fill(tensor, 0)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: np.random.Generator | None = None) -> Tensor:
    """Fill with numbers drawn evenly from a to b."""
    values = generator_of(generator).random(tensor.shape, _drawn(tensor))
    values *= b - a
    values += a
    return _fill(tensor, values)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: np.random.Generator | None = None
) -> Tensor:
    """Fill with numbers drawn from the normal distribution."""
    values = generator_of(generator).standard_normal(tensor.shape, _drawn(tensor))
    values *= std
    values += mean
    return _fill(tensor, values)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Fill with numbers drawn from the normal distribution; those outside of a to b are drawn again.

    Raises
    ------
    ValueError
        If less than a hundredth of the distribution lies between `a` and `b`.
    """
    below, above = (math.erf((bound - mean) / (std * math.sqrt(2))) for bound in (a, b))
    if not (above - below) / 2 >= _ROOM:
        raise ValueError(
            f"a and b must have at least {_ROOM:.0%} of the distribution between them, got a={a} and b={b} with "
            f"mean={mean} and std={std}"
        )
    generator, dtype = generator_of(generator), _drawn(tensor)
    values = np.full(math.prod(tensor.shape), np.nan, dtype)
    outside = np.arange(values.size)
    while outside.size:
        values[outside] = generator.standard_normal(outside.size, dtype) * dtype(std) + dtype(mean)
        kept = values[outside]
        outside = outside[(kept < a) | (kept > b)]
    return _fill(tensor, values.reshape(tensor.shape))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: np.random.Generator | None = None) -> Tensor:
    """Fill evenly from -b to b, b = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    bound = gain * math.sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: np.random.Generator | None = None) -> Tensor:
    """Fill normally with std = gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans(tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Fill evenly from -b to b, b = gain sqrt(3 / fan) (He et al. 2015).

    Parameters
    ----------
    tensor : Tensor
    a : float
        The slope of the leaky_relu that follows.
    mode : {"fan_in", "fan_out"}
        Whether the forward or the backward pass keeps its variance.
    nonlinearity : str
        As in `calculate_gain`.
    generator : numpy.random.Generator, optional

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        For another mode or nonlinearity, or a tensor of fewer than two axes.
    """
    bound = math.sqrt(3) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Fill normally with std = gain / sqrt(fan) (He et al. 2015); arguments as in `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: np.random.Generator | None = None) -> Tensor:
    """Fill with gain times an orthogonal matrix, the trailing axes taken as one (Saxe et al. 2014).

    Raises
    ------
    ValueError
        If it has fewer than two axes.
    """
    if tensor.ndim < 2:
        raise ValueError(f"tensor must have at least 2 axes, got shape {tensor.shape}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    q, r = np.linalg.qr(generator_of(generator).standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.where(np.diag(r) < 0, -gain, gain)  # makes it uniform (Mezzadri 2007)
    return _fill(tensor, (q if rows >= columns else q.T).reshape(tensor.shape))


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def _drawn(tensor: Tensor) -> Any:
    return np.float32 if tensor.dtype == np.float32 else np.float64


def _fill(tensor: Tensor, values: Any) -> Tensor:
    tensor.data[...] = values
    tensor.bump()
    return tensor
