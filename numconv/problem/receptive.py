"""The receptive field of stacked convolutions and poolings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from numconv.problem.arguments import per_axis
from numconv.problem.convolution import ConvProblem
from numconv.problem.pooling import PoolProblem


def receptive_field(layers: Iterable[Any]) -> int | tuple[int, ...]:
    """Receptive field of stacked convolutions or poolings, in input elements.

    Parameters
    ----------
    layers : iterable
        From input to output: `(kernel_size, stride, dilation)` tuples (the last two may be left out), integers
        (a kernel size), dictionaries with those keys, or problems.

    Returns
    -------
    int or tuple of int
        One number where every layer gave integers, else one an axis.

    Notes
    -----
    r grows by dilation (kernel - 1) times the product of the strides below (Araujo, Norris and Sim, Distill 2019).

    Examples
    --------
    >>> receptive_field([(3, 1, 1), (3, 1, 2), (3, 1, 4)])
    15
    """
    fields, jumps, scalar = np.ones(1, np.int64), np.ones(1, np.int64), True
    for layer in layers:
        if isinstance(layer, (ConvProblem, PoolProblem)):
            parts: tuple[Any, ...] = (layer.kernel, layer.stride, layer.dilation)
        elif isinstance(layer, dict):
            parts = (layer["kernel_size"], layer.get("stride", 1), layer.get("dilation", 1))
        elif isinstance(layer, (tuple, list)):
            if not 1 <= len(layer) <= 3:
                raise ValueError(f"a layer must be (kernel_size, stride, dilation), got {layer!r}")
            parts = (*layer, *(1,) * (3 - len(layer)))
        else:
            parts = (layer, 1, 1)
        scalar = scalar and not any(isinstance(p, Iterable) for p in parts)
        names = ("kernel_size", "stride", "dilation")
        ndim = max(len(tuple(p)) if isinstance(p, Iterable) else 1 for p in parts)
        kernel, stride, dilation = (np.array(per_axis(name, p, ndim, 1)) for name, p in zip(names, parts))
        fields = fields + dilation * (kernel - 1) * jumps
        jumps = jumps * stride
    return int(fields[0]) if scalar else tuple(int(f) for f in fields)
