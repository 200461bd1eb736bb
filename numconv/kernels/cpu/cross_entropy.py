"""Cross entropy of rows of class scores with a class index each, and its gradient.

    lse = log sum over c of exp(x[c])
    loss = (1 - e) w[t] (lse - x[t]) + e / C  sum over c of w[c] (lse - x[c])
    gradient[c] = g ( (1 - e) w[t] (p[c] - [c = t]) + e / C (p[c] sum w - w[c]) ),  p[c] = exp(x[c] - lse)

with target t, class weights w and label smoothing e (C. Szegedy et al., Rethinking the Inception architecture, 2016,
section 7). The parallel item is a row. A row's sum is in float64, as are losses, norms and weights.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from numconv.kernels.cpu import jit, simd

SECONDS = 6e-9  # an exponential and what goes with it: 32 rows of 10 to 1000 classes

CLASSES, IGNORED, EACH = range(3)  # of the header; the last is 1 where each row has a number in `grads`, else 0


@jit.function
def summed() -> Any:
    """`(x, first, count)`: the sum of some float64."""

    def total(x, first, count):
        value = 0.0
        for i in range(first, first + count):
            value += x[i]
        return value

    return total


@jit.kernel
def forward() -> Any:
    """Loss, lse and class weight of each row; where the target is no class, loss and lse are NaN."""
    read, total = simd.load(0), summed()

    def body(start, stop, worker, x, target, weight, losses, norms, weights, header, smoothing):
        classes, part = header[CLASSES], smoothing[0]
        whole = total(weight, 0, classes)
        for row in range(start, stop):
            base, t = row * classes, target[row]
            if t == header[IGNORED]:
                losses[row] = norms[row] = weights[row] = 0.0
                continue
            if t < 0 or t >= classes:
                losses[row] = norms[row] = np.nan
                weights[row] = 0.0
                continue
            top = x[base]
            for c in range(1, classes):
                v = read(x, base + c)
                top = v if v > top else top
            if top == -np.inf or top == np.inf:
                top -= top
            count = 0.0
            for c in range(classes):
                count += math.exp(read(x, base + c) - top)
            norm = top + math.log(count)
            loss = (1 - part) * weight[t] * (norm - x[base + t])
            if part > 0:
                spread = 0.0
                for c in range(classes):
                    spread += weight[c] * read(x, base + c)
                loss += part / classes * (norm * whole - spread)
            losses[row], norms[row], weights[row] = loss, norm, weight[t]

    return body


@jit.kernel
def backward() -> Any:
    """The gradients of the scores; `grads` has one number a row, or one for all."""
    read, write, total = simd.load(0), simd.store(0), summed()

    def body(start, stop, worker, x, target, weight, norms, grads, out, header, smoothing):
        classes, part = header[CLASSES], smoothing[0]
        zero, each, whole = out.dtype.type(0), part / classes, total(weight, 0, classes)
        for row in range(start, stop):
            base, t, grad = row * classes, target[row], grads[row * header[EACH]]
            if t == header[IGNORED]:
                for c in range(classes):
                    write(out, base + c, zero)
                continue
            hit = (1 - part) * weight[t]
            for c in range(classes):
                p = math.exp(read(x, base + c) - norms[row])
                write(out, base + c, grad * (p * (hit + each * whole) - each * weight[c]))
            out[base + t] -= grad * hit

    return body


def _launch(kernel: jit.Kernel, x: np.ndarray, rows: int, *arrays: np.ndarray) -> None:
    kernel(min(jit.workers(x.size * SECONDS), max(rows, 1)), rows, x, *arrays)


@functools.lru_cache(maxsize=256)
def _options(classes: int, ignored: int, each: bool, smoothing: float) -> tuple[np.ndarray, np.ndarray]:
    """The header, and the smoothing as an array."""
    return np.array([classes, ignored, each], np.int64), np.array([smoothing])


def losses(
    x: np.ndarray, target: np.ndarray, weight: np.ndarray, ignored: int, smoothing: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(loss, lse, weight) of each row of a flat array; `target` int64, `weight` float64, flat too."""
    loss, norms, weights = np.empty(target.size), np.empty(target.size), np.empty(target.size)
    options = _options(weight.size, ignored, False, smoothing)
    _launch(forward(), x, target.size, target, weight, loss, norms, weights, *options)
    return loss, norms, weights


def gradients(
    x: np.ndarray, target: np.ndarray, weight: np.ndarray, ignored: int, smoothing: float, norms: np.ndarray,
    grads: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Write the gradient of each row, given what its loss counts, or what each counts."""
    options = _options(weight.size, ignored, grads.size > 1, smoothing)
    _launch(backward(), x, target.size, target, weight, norms, grads, out, *options)
