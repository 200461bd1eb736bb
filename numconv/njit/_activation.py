"""Activations inside compiled functions."""

from __future__ import annotations

import numpy as np
from numba.core import errors, types
from numba.extending import overload

import numconv
from numconv.njit._arguments import flat
from numconv.njit._flags import compiled


def relu(x):
    """max(x, 0) of each number, NaN kept; inside `@njit` a new array of float32 or float64, contiguous."""
    return numconv.relu(x)


@compiled
def _rectify(x, y):
    zero = x.dtype.type(0)
    for i in range(x.size):
        y[i] = zero if x[i] <= zero else x[i]


@overload(relu)
def _relu(x):
    if not isinstance(x, types.Array) or x.dtype not in (types.float32, types.float64):
        raise errors.NumbaTypeError(f"x must be an array of float32 or float64, got {x}")

    def implementation(x):
        y = np.empty(x.size, x.dtype)
        _rectify(flat(x), y)
        return y.reshape(x.shape)

    return implementation
