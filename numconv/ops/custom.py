"""Algorithms of one's own: `register` takes an Algorithm, or a plain function that convolves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.algorithm import Algorithm, add
from numconv.ops.activation import apply
from numconv.problem import accumulator_dtype


class FunctionAlgorithm(Algorithm):
    """A user's `function(x, weight, out, stride, padding, dilation, groups)` as an algorithm of a forward convolution.

    The function gets contiguous channels-first arrays, padding already applied (so `padding` is zero), and writes
    `out`; bias, residual and activation are added here.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function

    def rejects(self, problem: Any) -> str | None:
        if getattr(problem, "direction", None) != "forward":
            return "a plain function can only be a forward convolution"
        return None

    def cost(self, problem: Any) -> float:
        return problem.flops / 1e9

    def run(self, problem, packed, x, bias, residual, out, workspace):
        last = problem.layout_out != "channels_first"
        image = np.moveaxis(x, -1, 1) if problem.layout_in != "channels_first" else x
        image = np.pad(image, ((0, 0), (0, 0), *problem.padding))
        result = np.zeros((problem.n, problem.co, *problem.out_spatial), problem.dtype)
        zero = (0,) * problem.ndim
        self.function(
            np.ascontiguousarray(image), np.ascontiguousarray(packed), result, problem.stride, zero, problem.dilation,
            problem.groups,
        )  # fmt: skip
        result = result.astype(accumulator_dtype(problem.dtype), copy=False)
        if bias is not None:
            result += bias.reshape(-1, *(1,) * problem.ndim)
        shown = np.moveaxis(result, 1, -1) if last else result
        if residual is not None:
            shown = shown + residual
        out[...] = apply(shown, problem.activation)


def register(
    operation: str,
    algorithm: Algorithm | Callable[..., Any],
    *,
    name: str | None = None,
    default: bool = False,
    device: str = "cpu",
) -> Algorithm:
    """Add an algorithm of one's own to an operation.

    It runs where it is named: `algorithm="mine"`, or within `using("mine")`. One of the same name that was
    registered before is replaced.

    Parameters
    ----------
    operation : str
        Such as "conv2d".
    algorithm : Algorithm or callable
        A callable is a forward convolution `f(x, weight, out, stride, padding, dilation, groups)` on contiguous
        channels-first arrays which writes `out`.
    name : str, optional
        The algorithm's or function's own where left out.
    default : bool
        Whether it joins the automatic choice.
    device : str

    Returns
    -------
    Algorithm
        What was registered.

    Raises
    ------
    TypeError
        If `algorithm` is neither.
    ValueError
        If the operation is not known or the name is that of a built-in algorithm.
    """
    if not isinstance(algorithm, Algorithm):
        if not callable(algorithm):
            raise TypeError(f"algorithm must be an Algorithm or a function, got {type(algorithm).__name__}")
        algorithm = FunctionAlgorithm(str(name or getattr(algorithm, "__name__", "custom")), algorithm)
    elif name is not None:
        algorithm.name = name
    add(operation, algorithm, default, device)
    return algorithm
