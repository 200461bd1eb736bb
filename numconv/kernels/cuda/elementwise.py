"""Functions of each element of one, two or three operands.

    out[i] = f(a[i], b[i], c[i])

An operand is an array or a number, which is passed to the kernel, so that no kernel is compiled for a number. Where all
arrays lie alike a thread computes four neighbours, by 128-bit accesses of float32 and 64-bit ones of 16-bit floats, and
one element of any other dtype; what lies otherwise, or is broadcast, goes by strides that are built in, an element a
thread. 16-bit floats are computed in float32 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda
from numpy import uint32, uint64

from numconv.kernels.cuda import epilogue, launch, values
from numconv.kernels.cuda.memory import Shape
from numconv.problem import ACTIVATIONS

THREADS = 256
WIDTH = 4
FOURFOLD = ("float32", "float16", "bfloat16")  # what is accessed by fours
NUMBER = "number"  # as the dtype of an operand


@launch.function
def _function(name: str, parameter: float, dtype: str) -> Callable[..., Any]:
    """The function, an activation or one of those below, of three values of a dtype, of which the first ones count."""
    if name in ACTIVATIONS:
        activate = epilogue.activate(name, parameter, dtype)
        return lambda a, b, c: activate(a)
    kind: Any = getattr(np, dtype)
    zero, half, one = kind(0), kind(0.5), kind(1)
    # In Python math's functions raise where a GPU's give infinities and NaN.
    exp, log, sqrt, power = (np.exp, np.log, np.sqrt, np.power) if launch.simulated else (
        math.exp, math.log, math.sqrt, math.pow
    )  # fmt: skip

    def gelu_tanh(a, b, c):
        cubic = a + kind(0.044715) * a * a * a
        return half * a * (one + kind(math.tanh(kind(math.sqrt(2 / math.pi)) * cubic)))

    def clamp(a, b, c):
        low = b if a < b else a
        return c if low > c else low

    table: dict[str, Callable[..., Any]] = {
        "same": lambda a, b, c: a,
        "add": lambda a, b, c: a + b,
        "sub": lambda a, b, c: a - b,
        "mul": lambda a, b, c: a * b,
        "div": lambda a, b, c: a / b,
        "pow": lambda a, b, c: kind(power(a, b)),
        "neg": lambda a, b, c: -a,
        "exp": lambda a, b, c: kind(exp(a)),
        "log": lambda a, b, c: kind(log(a)),
        "sqrt": lambda a, b, c: kind(sqrt(a)),
        "sin": lambda a, b, c: kind(math.sin(a)),
        "cos": lambda a, b, c: kind(math.cos(a)),
        "abs": lambda a, b, c: zero - a if a < zero else a + zero,
        "sign": lambda a, b, c: one if a > zero else (-one if a < zero else a),
        "maximum": lambda a, b, c: b if b > a or math.isnan(b) else a,
        "minimum": lambda a, b, c: b if b < a or math.isnan(b) else a,
        "clamp": clamp,
        "where": lambda a, b, c: b if a != zero else c,
        "less": lambda a, b, c: a < b,
        "less_equal": lambda a, b, c: a <= b,
        "equal": lambda a, b, c: a == b,
        "not_equal": lambda a, b, c: a != b,
        "greater": lambda a, b, c: a > b,
        "greater_equal": lambda a, b, c: a >= b,
        "gelu_tanh": gelu_tanh,
    }
    return table[name]


@launch.function
def _read(dtype: str, number: str) -> Callable[..., Any]:
    """`read(operand, i)`: the element, or the number, in the dtype of computation."""
    kind = getattr(np, number)
    if dtype == NUMBER:
        return lambda operand, i: kind(operand)
    load = values.load(dtype)
    return lambda operand, i: kind(load(operand, i))


@launch.function
def _read4(dtype: str) -> Callable[..., Any]:
    """The same of four neighbours in float32."""

    def number(operand, i):
        v = np.float32(operand)
        return v, v, v, v

    return number if dtype == NUMBER else values.load4(dtype)


def computed_in(dtypes: tuple[str, ...], out: str) -> str:
    """The dtype of computation: the result's, or for comparisons the operands'; float32 for 16-bit floats."""
    arrays = [d for d in dtypes if d != NUMBER]
    of = arrays[0] if out == "bool" and arrays else out
    return "float32" if of in ("float16", "bfloat16") else of


def wide_access(dtypes: tuple[str, ...], out: str) -> bool:
    """Whether operands of these dtypes are accessed by fours."""
    return out in FOURFOLD and all(d in (*FOURFOLD, NUMBER) for d in dtypes)


def _entry(inner: Callable[..., None], count: int) -> Callable[..., None]:
    """A body of so many operands."""

    def one(a, out, size):
        inner(a, a, a, out, size)

    def two(a, b, out, size):
        inner(a, b, b, out, size)

    def three(a, b, c, out, size):
        inner(a, b, c, out, size)

    return (one, two, three)[count - 1]


def _three(dtypes: tuple[str, ...]) -> tuple[str, str, str]:
    """The dtypes of three operands, the last of those given standing for those that are missing."""
    filled = (*dtypes, dtypes[-1], dtypes[-1])
    return filled[0], filled[1], filled[2]


@launch.kernel(threads=THREADS)
def flat(name: str, parameter: float, dtypes: tuple[str, ...], out_dtype: str, vector: bool, wide: bool) -> Any:
    """Arrays that lie alike: `size` elements, four a thread where `vector`."""
    index = uint64 if wide else uint32
    number = computed_in(dtypes, out_dtype)
    compute, store = _function(name, parameter, number), values.store(out_dtype)
    read_a, read_b, read_c = (_read(d, number) for d in _three(dtypes))

    def single(a, b, c, out, size):
        i = index(cuda.grid(1))
        if i < size:
            store(out, i, compute(read_a(a, i), read_b(b, i), read_c(c, i)))

    if not vector:
        return _entry(launch.inlined(single), len(dtypes))
    read4_a, read4_b, read4_c = (_read4(d) for d in _three(dtypes))
    store4 = values.store4(out_dtype)

    def fourfold(a, b, c, out, size):
        i = index(index(cuda.grid(1)) * index(WIDTH))
        if index(i + index(WIDTH)) <= size:
            p, q, r = read4_a(a, i), read4_b(b, i), read4_c(c, i)
            store4(out, i, (
                compute(p[0], q[0], r[0]), compute(p[1], q[1], r[1]),
                compute(p[2], q[2], r[2]), compute(p[3], q[3], r[3]),
            ))  # fmt: skip
        else:
            while i < size:
                store(out, i, compute(read_a(a, i), read_b(b, i), read_c(c, i)))
                i = index(i + index(1))

    return _entry(launch.inlined(fourfold), len(dtypes))


@launch.kernel(threads=THREADS)
def strided(
    name: str, parameter: float, dtypes: tuple[str, ...], out_dtype: str, inner: Shape, strides: tuple[Shape, ...],
    wide: bool,
) -> Any:  # fmt: skip
    """Operands with strides of their own, in elements; the result is contiguous.

    `inner` is its shape without the first axis, which the batch is in.
    """
    index = uint64 if wide else uint32
    number, shape = computed_in(dtypes, out_dtype), (0, *inner)
    compute, store = _function(name, parameter, number), values.store(out_dtype)
    read_a, read_b, read_c = (_read(d, number) for d in _three(dtypes))
    a_strides, b_strides, c_strides = (*strides, strides[-1], strides[-1])[:3]

    def body(a, b, c, out, size):
        i = index(cuda.grid(1))
        if i < size:
            rest = i
            at_a, at_b, at_c = index(0), index(0), index(0)
            for axis in range(len(shape) - 1, -1, -1):
                here = rest
                if axis:
                    here = index(rest % index(shape[axis]))
                    rest = index(rest // index(shape[axis]))
                at_a = index(at_a + index(here * index(a_strides[axis])))
                at_b = index(at_b + index(here * index(b_strides[axis])))
                at_c = index(at_c + index(here * index(c_strides[axis])))
            store(out, i, compute(read_a(a, at_a), read_b(b, at_b), read_c(c, at_c)))

    return _entry(launch.inlined(body), len(dtypes))


def beyond_32_bits(shape: Shape, strides: tuple[Shape, ...]) -> bool:
    """Whether `strided` needs wider indices."""
    return max([math.prod(shape), *(sum((n - 1) * s for n, s in zip(shape, row)) for row in strides)]) >= 1 << 31


def blocks(size: int, vector: bool) -> int:
    return launch.blocks(size, THREADS * (WIDTH if vector else 1))
