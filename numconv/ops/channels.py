"""Sums over everything but channels: the gradient of a bias."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.ops.device import by_device
from numconv.ops.elementwise import real, straight
from numconv.ops.layouts import channels_last, counted_last
from numconv.problem import integer


@by_device
def channel_sum(x: Any, axis: int = 1) -> np.ndarray:
    """The sum over all axes but one, formed in float64 and rounded once.

    Parameters
    ----------
    x : array_like
        float16 and bfloat16 are summed as they are, integers as float64.
    axis : int
        The channels.

    Returns
    -------
    ndarray, shape (C,)
        In the dtype of `x`; float64 for integers.

    Raises
    ------
    ValueError
        If `x` has no such axis.
    TypeError
        For bool and complex `x`.
    """
    x, work, result = real("x", x)
    axis = integer("axis", axis)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis must be an axis of x, got {axis} for shape {x.shape}")
    axis %= x.ndim
    if axis < x.ndim - 1 and channels_last(x, x.ndim - 1 - axis):
        x, axis = counted_last(x, x.ndim - 1 - axis), x.ndim - 1
    n, channels, length = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    if x.size == 0:
        return np.zeros(channels, result)
    kernel = kernels("channels")
    return kernel.channel_sums(kernel.geometry(n, channels, length, False), straight(x, work)).astype(result)
