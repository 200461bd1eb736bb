"""What is done to sums before they are stored: activation(sum + bias + residual), then one rounding."""

from __future__ import annotations

import math
from typing import Any

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu.sweep import ACTIVATION, HAS_RESIDUAL
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
            return zero if gate <= 0 else (v if gate >= 6 else v * gate / 6)
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
def emit(half: int, activated: bool) -> Any:
    """Store a run of sums: `emit(half, activated)(out, o, o_step, sums, c, count, bias, b, b_step, residual, q, q_step,
    header, parameter)`.

    out[o + i o_step] = activation(sums[c + i] + bias[b + i b_step] + residual[q + i q_step]) for i < count.
    `activated` is whether the dtype has activations: integers and complex numbers have none.
    """
    load, store, activation = simd.load(half), simd.store(half), activate() if activated else None

    def emitted(out, o, o_step, sums, c, count, bias, b, b_step, residual, q, q_step, header, parameter):
        code, more = header[ACTIVATION], header[HAS_RESIDUAL]
        for i in range(count):
            v = sums[c + i] + bias[b + i * b_step]
            if more:
                v += load(residual, q + i * q_step)
            if activated:
                store(out, o + i * o_step, v if code == 0 else activation(code, parameter[0], v))
            else:
                store(out, o + i * o_step, v)

    return emitted
