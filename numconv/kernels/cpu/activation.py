"""Activations that are a comparison or a product for each element, and their gradients.

    out[i] = f(x[i])                  forward
    out[i] = grad[i] f'(x[i])         gradient; of tanh and sigmoid, which f' is made of, `x` is the result

All is bound by memory: a range of elements is the parallel item, and the loop over it vectorises.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numconv.kernels.cpu import jit, simd

SECONDS = 2.5e-11  # a byte read or written on one thread: relu of 600 kB

FORWARD = ("relu", "relu6", "leaky_relu", "hardswish")
GRADIENT = (*FORWARD, "tanh", "sigmoid")


@jit.function
def value(name: str) -> Any:
    """`value(name)(v, parameter, one)`: the activation, all of v's type; NaN stays NaN."""
    choose = simd.choose

    def relu(v, parameter, one):
        return choose(v <= 0, one - one, v)

    def relu6(v, parameter, one):
        return choose(v <= 0, one - one, choose(v >= 6, 6 * one, v))

    def leaky_relu(v, parameter, one):
        return choose(v > 0, v, parameter * v)

    def hardswish(v, parameter, one):
        gate = v + 3 * one
        return v * choose(gate <= 0, one - one, choose(gate >= 6, 6 * one, gate)) / (6 * one)

    return {f.__name__: f for f in (relu, relu6, leaky_relu, hardswish)}[name]


@jit.function
def slope(name: str) -> Any:
    """`slope(name)(g, v, parameter, one)`: g times the derivative, with PyTorch's choice where there is none."""
    choose = simd.choose

    def relu(g, v, parameter, one):
        return choose(v <= 0, one - one, g)

    def relu6(g, v, parameter, one):
        return choose((v <= 0) | (v >= 6), one - one, g)

    def leaky_relu(g, v, parameter, one):
        return choose(v > 0, g, parameter * g)

    def hardswish(g, v, parameter, one):
        return choose(v <= -3, one - one, choose(v >= 3, g, g * (v / (3 * one) + one / 2)))

    def tanh(g, y, parameter, one):
        return g * (one - y * y)

    def sigmoid(g, y, parameter, one):
        return g * (one - y) * y

    return {f.__name__: f for f in (relu, relu6, leaky_relu, hardswish, tanh, sigmoid)}[name]


@jit.kernel
def forward(name: str) -> Any:
    f, read, write = value(name), simd.load(0), simd.store(0)

    def body(start, stop, worker, x, out, numbers):
        parameter, one = numbers[0], numbers[1]
        for i in range(start, stop):
            write(out, i, f(read(x, i), parameter, one))

    return body


@jit.kernel
def gradient(name: str) -> Any:
    f, read, write = slope(name), simd.load(0), simd.store(0)

    def body(start, stop, worker, x, grad, out, numbers):
        parameter, one = numbers[0], numbers[1]
        for i in range(start, stop):
            write(out, i, f(read(grad, i), read(x, i), parameter, one))

    return body


@functools.lru_cache(maxsize=256)
def _numbers(parameter: float, dtype: np.dtype) -> np.ndarray:
    return np.array([parameter, 1], dtype)


def activate(name: str, parameter: float, x: np.ndarray, out: np.ndarray) -> None:
    """An activation of `FORWARD`. Arrays are flat, float32 or float64; `out` may be `x`."""
    workers = jit.workers(2 * x.nbytes * SECONDS)
    forward(name)(workers, x.size, x, out, _numbers(parameter, x.dtype))


def activate_input(name: str, parameter: float, x: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:
    """The gradient of an activation of `GRADIENT`. Arrays are flat, float32 or float64; `out` may be `grad`."""
    workers = jit.workers(3 * x.nbytes * SECONDS)
    gradient(name)(workers, x.size, x, grad, out, _numbers(parameter, x.dtype))
