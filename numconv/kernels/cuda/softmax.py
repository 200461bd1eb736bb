"""Softmax along an axis, with the largest entry subtracted first.

    softmax:      e[k] / sum over j of e[j],        e[k] = exp(x[k] - max x)
    log_softmax:  x[k] - max x - log(sum over j of e[j])

`columns` and `rows` as in `reduction`. The exponentials are computed twice and not kept: so nothing is written but the
result. They are summed in float64, in a fixed order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda
from numpy import int64

from numconv.kernels.cuda import launch, values
from numconv.kernels.cuda.reduction import LONG, THREADS, joined

__all__ = ["LONG", "THREADS", "columns", "rows"]


def _finish(log: bool, dtype: str) -> tuple[Any, Any]:
    """(what is made of the sum once, the result of an entry, of x - max x and that)."""
    number: Any = getattr(np, dtype)

    def share(total):
        return number(1 / total)

    def normal(far, part):
        return number(math.exp(far)) * part

    def logarithm(total):
        return number(math.log(total))

    def difference(far, part):
        return far - part

    return (logarithm, difference) if log else (share, normal)


@launch.kernel(threads=THREADS)
def columns(log: bool, dtype: str, n: int, inner: int) -> Any:
    """A thread a column."""
    number = np.float64 if dtype == "float64" else np.float32
    load, store = values.load(dtype), values.store(dtype)
    once, finish = map(launch.inlined, _finish(log, number.__name__))

    def body(x, out, count):
        i = int64(cuda.grid(1))
        if i >= count:
            return
        at = i // inner * (n * inner) + i % inner
        most = number(load(x, at))
        for k in range(1, n):
            v = number(load(x, at + k * inner))
            most = v if v > most or math.isnan(v) else most
        total = np.float64(0)
        for k in range(n):
            total += np.float64(math.exp(number(load(x, at + k * inner)) - most))
        share = once(total)
        for k in range(n):
            store(out, at + k * inner, finish(number(load(x, at + k * inner)) - most, share))

    return body


@launch.kernel(threads=THREADS)
def rows(log: bool, dtype: str, n: int) -> Any:
    """A block a row that lies in one piece."""
    number = np.float64 if dtype == "float64" else np.float32
    load, store = values.load(dtype), values.store(dtype)
    once, finish = map(launch.inlined, _finish(log, number.__name__))
    largest, whole = joined("max", number.__name__), joined("sum", "float64")

    def body(x, out):
        thread, start = int64(cuda.threadIdx.x), int64(cuda.blockIdx.x) * n
        most = number(-math.inf)
        for k in range(thread, n, THREADS):
            v = number(load(x, start + k))
            most = v if v > most or math.isnan(v) else most
        most = largest(most)
        part = np.float64(0)
        for k in range(thread, n, THREADS):
            part += np.float64(math.exp(number(load(x, start + k)) - most))
        share = once(whole(part))
        for k in range(thread, n, THREADS):
            store(out, start + k, finish(number(load(x, start + k)) - most, share))

    return body
