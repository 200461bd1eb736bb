"""What is done to sums before they are stored: activation(sum + bias + residual), then one rounding."""

from __future__ import annotations

import math
from typing import Any

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu.sweep import ACTIVATION
from numconv.problem import ACTIVATIONS

CODES = {name: code for code, name in enumerate(ACTIVATIONS, 1)}
RELU, RELU6, LEAKY_RELU, ELU, GELU, SIGMOID, TANH, SILU, HARDSWISH = CODES.values()


@jit.function
def activate() -> Any:
    """`activate()(code, parameter, v)`: PyTorch's definitions; NaN stays NaN."""

    def activated(code, parameter, v):
        zero = parameter - parameter  # of v's type, so that the linear ones stay in it
        if code == RELU:
            return zero if v <= zero else v
        if code == RELU6:
            return zero if v <= zero else (zero + 6 if v >= 6 else v)
        if code == LEAKY_RELU:
            return v if v > zero else parameter * v
        if code == HARDSWISH:
            gate = v + 3
            return v * (zero if gate <= 0 else (zero + 6 if gate >= 6 else gate)) / 6
        if code == ELU:
            return v if v > zero else parameter * math.expm1(v)
        if code == GELU:
            return v * math.erfc(-v * 0.7071067811865476) / 2
        if code == TANH:
            return math.tanh(v)
        gate = 1 / (1 + math.exp(-v)) if v >= 0 else math.exp(v) / (1 + math.exp(v))
        return gate if code == SIGMOID else v * gate

    return activated


@jit.function
def activate_run() -> Any:
    """`activate_run()(sums, first, last, header, parameter)`: the header's activation, in place."""
    activation, read, write = activate(), simd.load(0), simd.store(0)

    def activated(sums, first, last, header, parameter):
        code = header[ACTIVATION]
        if code:
            for i in range(first, last):
                write(sums, i, activation(code, parameter[0], read(sums, i)))

    return activated


@jit.function
def add_run(half: int) -> Any:
    """`add_run(half)(sums, c, count, residual, q, step)`: sums[c + i] += residual[q + i step]."""
    load, read, write = simd.load(half), simd.load(0), simd.store(0)

    def added(sums, c, count, residual, q, step):
        for i in range(count):
            write(sums, c + i, read(sums, c + i) + load(residual, q + i * step))

    return added


@jit.function
def store_run(half: int, dtype: str) -> Any:
    """`store_run(half, dtype)(out, o, step, sums, c, count)`: out[o + i step] = sums[c + i], rounded once.

    `dtype` is that of the sums where `out` has it too, else empty.
    """
    store, read = simd.store(half), simd.load(0)
    move = simd.move(dtype) if dtype and not half else None

    def stored(out, o, step, sums, c, count):
        if move is not None and step == 1:
            move(out, o, sums, c, 0, count, count)
        else:
            for i in range(count):
                store(out, o + i * step, read(sums, c + i))

    return stored
