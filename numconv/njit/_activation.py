"""Activations inside compiled functions."""

from __future__ import annotations

import numpy as np
from numba.core import errors
from numba.extending import overload

import numconv


def relu(x):
    """max(x, 0) of each number, NaN kept; inside `@njit` a new array of float32 or float64, contiguous."""
    return numconv.relu(x)


@overload(relu)
def _relu(x):
    if not hasattr(x, "dtype") or str(x.dtype) not in ("float32", "float64"):
        raise errors.NumbaTypeError(f"x must be an array of float32 or float64, got {x}")

    def implementation(x):
        y = np.empty(x.shape, x.dtype)
        zero = x.dtype.type(0)
        for index, value in np.ndenumerate(x):
            y[index] = zero if value <= zero else value
        return y

    return implementation
