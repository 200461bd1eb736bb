"""What is done to a sum before it is stored: activation(sum + bias + residual), then one rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numconv.kernels.cuda import launch
from numconv.kernels.cuda.memory import flat
from numconv.problem import ConvProblem


class Epilogue(NamedTuple):
    """What is done, as built into a kernel."""

    bias: bool = False
    residual: bool = False
    activation: str = ""
    parameter: float = 0.0


def of(problem: ConvProblem) -> Epilogue:
    """The epilogue of a problem."""
    name, parameter = problem.activation or ("", 0.0)
    return Epilogue(problem.bias, problem.residual, name, parameter)


@launch.function
def activate(name: str, parameter: float, dtype: str) -> Callable[[Any], Any]:
    """`activate(name, parameter, dtype)(v)`, of a value of that dtype: PyTorch's definitions; NaN stays NaN."""
    kind: Any = getattr(np, dtype)
    slope, zero, one, three, six = kind(parameter), kind(0), kind(1), kind(3), kind(6)
    half, root = kind(0.5), kind(math.sqrt(0.5))

    def relu(v):
        return zero if v <= zero else v

    def relu6(v):
        return zero if v <= zero else (six if v >= six else v)

    def leaky_relu(v):
        return v if v > zero else slope * v

    def elu(v):
        return v if v > zero else slope * kind(math.expm1(v))

    def gelu(v):
        return v * kind(math.erfc(-v * root)) * half

    def sigmoid(v):
        power = kind(math.exp(-v if v >= zero else v))  # at most 1
        return (one if v >= zero else power) / (one + power)

    def tanh(v):
        return kind(math.tanh(v))

    def silu(v):
        power = kind(math.exp(-v if v >= zero else v))
        return v * ((one if v >= zero else power) / (one + power))

    def hardswish(v):
        gate = v + three
        return v * (zero if gate <= zero else (six if gate >= six else gate)) / six

    def nothing(v):
        return v

    return {
        "relu": relu, "relu6": relu6, "leaky_relu": leaky_relu, "elu": elu, "gelu": gelu, "sigmoid": sigmoid,
        "tanh": tanh, "silu": silu, "hardswish": hardswish, "": nothing,
    }[name]  # fmt: skip


def entry(body: Callable[..., None], epilogue: Epilogue) -> Callable[..., None]:
    """A kernel's body, `body(x, weight, bias, residual, out, count)`, without the arrays that the epilogue lacks.

    Each array of a launch costs about 3 us: of those that are missing another one takes the place.
    """
    inner = launch.inlined(body)

    def whole(x, weight, bias, residual, out, count):
        inner(x, weight, bias, residual, out, count)

    def biased(x, weight, bias, out, count):
        inner(x, weight, bias, out, out, count)

    def added(x, weight, residual, out, count):
        inner(x, weight, out, residual, out, count)

    def plain(x, weight, out, count):
        inner(x, weight, out, out, out, count)

    forms: Any = {(True, True): whole, (True, False): biased, (False, True): added, (False, False): plain}
    return forms[epilogue[:2]]


def given(bias: Any, residual: Any) -> list[Any]:
    """Those of these that are there, as kernels get them."""
    return [flat(array) for array in (bias, residual) if array is not None]
