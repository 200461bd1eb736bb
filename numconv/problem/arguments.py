"""Single arguments, normalised and checked: errors name the argument, what came and what was expected."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Pairs = tuple[tuple[int, int], ...]

FIRST, LAST = "channels_first", "channels_last"
_FORMATS = {
    1: {"NCL": FIRST, "NCW": FIRST, "NLC": LAST, "NWC": LAST},
    2: {"NCHW": FIRST, "NHWC": LAST},
    3: {"NCDHW": FIRST, "NDHWC": LAST},
}
ACTIVATIONS = {
    "relu": 0.0,
    "relu6": 0.0,
    "leaky_relu": 0.01,
    "elu": 1.0,
    "gelu": 0.0,
    "sigmoid": 0.0,
    "tanh": 0.0,
    "silu": 0.0,
    "hardswish": 0.0,
}
_WITH_PARAMETER = ("leaky_relu", "elu")
HALF = ("float16", "bfloat16")
_FLOATS = ("float32", "float64", *HALF)
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_COMPLEX = ("complex64", "complex128")


def integer(name: str, value: Any, least: int | None = None) -> int:
    """`value` as a Python integer, or an error that names the argument."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if least is not None and number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def per_axis(name: str, value: Any, ndim: int, least: int | None = None) -> tuple[int, ...]:
    """One integer an axis from an integer or a sequence of one or `ndim` integers."""
    if isinstance(value, (str, bytes, dict)):
        raise TypeError(f"{name} must be an integer or {ndim} integers, got {value!r}")
    if not isinstance(value, Iterable) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return (integer(name, value, least),) * ndim
    numbers = tuple(integer(name, v, least) for v in value)
    if len(numbers) == 1:
        numbers *= ndim
    if len(numbers) != ndim:
        raise ValueError(f"{name} must be an integer or have {ndim} entries, one for each axis, got {value!r}")
    return numbers


def layout_of(data_format: str | None, ndim: int) -> str:
    """`channels_first` or `channels_last` for a data format of `ndim` spatial axes."""
    if data_format is None:
        return FIRST
    if data_format in (FIRST, LAST):
        return data_format
    known = _FORMATS[ndim]
    if not isinstance(data_format, str) or data_format not in known:
        raise ValueError(f"data_format must be one of {[*known, FIRST, LAST]} or None, got {data_format!r}")
    return known[data_format]


def channel_axis(data_format: str | None, ndim: int) -> int:
    """The axis of the channels in an array of `ndim` spatial axes: `-ndim - 1` or `-1`."""
    return -1 if layout_of(data_format, ndim) == LAST else -ndim - 1


def parse_activation(activation: Any) -> tuple[str, float] | None:
    """(name, parameter) of an activation given as None, a name, or (name, parameter)."""
    if activation is None:
        return None
    name, parameter = activation, None
    if isinstance(activation, (tuple, list)) and len(activation) == 2:
        name, parameter = activation
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(
            f"activation must be None, (name, parameter) or one of {list(ACTIVATIONS)}, got {activation!r}"
        )
    if parameter is None:
        return name, ACTIVATIONS[name]
    if name not in _WITH_PARAMETER and parameter != ACTIVATIONS[name]:
        raise ValueError(f"activation {name!r} takes no parameter, got {parameter!r}")
    return name, float(parameter)


def supported_dtype(name: str, dtype: np.dtype) -> np.dtype:
    """The dtype in native byte order; TypeError for bool, object, long double and the like."""
    native = _computable(dtype)
    if native is None:
        raise TypeError(f"{name} must be of a float, integer or complex dtype up to 64 bits a part, got {dtype}")
    return native


@functools.cache
def _computable(dtype: np.dtype) -> np.dtype | None:
    """The dtype in native byte order, if it can be computed with: NumPy takes 1.5 us to name a dtype.

    It is the one that NumPy's own arrays have, and `is` tells so; `newbyteorder` would make another.
    """
    return np.dtype(dtype.type) if dtype.name in _FLOATS + _INTEGERS + _COMPLEX else None


@functools.cache
def accumulator_dtype(dtype: np.dtype) -> np.dtype:
    """What sums of `dtype` are held in: float32 for half types, 64 bits for integers."""
    if dtype.name in HALF:
        return np.dtype(np.float32)
    if dtype.kind in "iu":
        return np.dtype(np.int64)
    return dtype


def is_pairs(padding: Any) -> bool:
    """Whether a padding is given as (before, after) pairs."""
    return (
        isinstance(padding, (tuple, list, np.ndarray))
        and len(padding) > 0
        and all(isinstance(p, (tuple, list, np.ndarray)) and np.ndim(p) == 1 for p in padding)
    )


def pairs(name: str, padding: Any, ndim: int) -> Pairs:
    """(before, after) an axis from an integer, one integer an axis, or nested pairs."""
    if is_pairs(padding):
        if len(padding) not in (1, ndim) or any(len(p) != 2 for p in padding):
            raise ValueError(f"{name} must have {ndim} (before, after) pairs, one for each axis, got {padding!r}")
        nested = tuple((integer(name, a, 0), integer(name, b, 0)) for a, b in padding)
        return nested * ndim if len(nested) == 1 else nested
    return tuple((p, p) for p in per_axis(name, padding, ndim, 0))


def spatial_axes(operation: str) -> int:
    """1, 2 or 3, read off an operation's name."""
    for n in (1, 2, 3):
        if f"{n}d" in operation:
            return n
    raise ValueError(f"operation must be one such as 'conv2d' or 'max_pool1d', got {operation!r}")


def split_shape(shape: Sequence[int], layout: str) -> tuple[int, int, tuple[int, ...]]:
    """(batch, channels, spatial) of a batched array's shape."""
    if layout == LAST:
        return shape[0], shape[-1], tuple(shape[1:-1])
    return shape[0], shape[1], tuple(shape[2:])


def join_shape(n: int, channels: int, spatial: Sequence[int], layout: str) -> tuple[int, ...]:
    """The shape that `split_shape` takes apart."""
    return (n, *spatial, channels) if layout == LAST else (n, channels, *spatial)


def with_batch(name: str, shape: Sequence[int], operation: str) -> tuple[int, ...]:
    """The shape of what an operation takes, with a batch axis: 1 where it has none."""
    ndim = spatial_axes(operation)
    if len(shape) not in (ndim + 1, ndim + 2):
        raise ValueError(
            f"{name} must have {ndim + 2} axes, or {ndim + 1} without a batch, for {operation}, "
            f"got shape {tuple(shape)}"
        )
    return tuple(shape) if len(shape) == ndim + 2 else (1, *shape)
