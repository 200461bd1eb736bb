"""A product of matrices by its definition, of any dtype: a thread an element, summed in order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda
from numpy import int64

from numconv.kernels.cuda import epilogue, launch, values
from numconv.kernels.cuda.memory import flat
from numconv.problem import parse_activation

THREADS = 128


@launch.kernel(threads=THREADS)
def multiply(inner: int, columns: int, transposed: bool, dtype: str, bias: bool, activation: str, parameter: float):
    sums = values.sum_dtype(dtype)
    number, load, store = getattr(np, sums), values.load(dtype), values.store(dtype)
    activate = epilogue.activate(activation, parameter, sums)
    step = 1 if transposed else columns

    def body(a, b, added, out):
        i = int64(cuda.grid(1))
        if i >= out.size:
            return
        row, column = i // columns, i % columns
        start = column * inner if transposed else column
        total = number(0)
        for k in range(inner):
            total += number(load(a, row * inner + k)) * number(load(b, start + k * step))
        if bias:
            total += number(load(added, column))
        store(out, i, activate(total))

    return body


def product(a: Any, b: Any, out: Any, *, transpose_b: bool, bias: Any, activation: Any) -> None:
    name, parameter = parse_activation(activation) or ("", 0.0)
    kernel = multiply(a.shape[1], out.shape[1], transpose_b, a.dtype.name, bias is not None, name, parameter)
    arrays = [flat(a), flat(b), flat(b if bias is None else bias), flat(out)]
    kernel(launch.blocks(out.size, THREADS), THREADS, *arrays)
