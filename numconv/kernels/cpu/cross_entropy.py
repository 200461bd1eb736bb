"""Cross entropy of rows of class scores with a class index each, and its gradient.

    lse = log sum over c of exp(x[c])
    loss = (1 - e) w[t] (lse - x[t]) + e / C  sum over c of w[c] (lse - x[c])
    gradient[c] = g ( (1 - e) w[t] (p[c] - [c = t]) + e / C (p[c] sum w - w[c]) ),  p[c] = exp(x[c] - lse)

with target t, class weights w and label smoothing e (C. Szegedy et al., Rethinking the Inception architecture, 2016,
section 7). The parallel item is a row. A row's sum is in float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.kernels.cpu import jit, simd

SECONDS = 6e-9  # an exponential and what goes with it: 32 rows of 10 to 1000 classes

CLASSES, IGNORED = range(2)
SMOOTHING, TOTAL = range(2)  # of the numbers: e, the sum of the class weights


@jit.kernel
def forward() -> Any:
    """Losses and lse of each row; the loss of a row whose target is no class is NaN, as is its lse."""
    read = simd.load(0)

    def body(start, stop, worker, x, target, weight, losses, norms, header, numbers):
        classes, smoothing, total = header[CLASSES], numbers[SMOOTHING], numbers[TOTAL]
        for row in range(start, stop):
            base, t = row * classes, target[row]
            if t == header[IGNORED]:
                losses[row] = norms[row] = 0.0
                continue
            if t < 0 or t >= classes:
                losses[row] = norms[row] = np.nan
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
            loss = (1 - smoothing) * weight[t] * (norm - x[base + t])
            if smoothing > 0:
                spread = 0.0
                for c in range(classes):
                    spread += weight[c] * read(x, base + c)
                loss += smoothing / classes * (norm * total - spread)
            losses[row], norms[row] = loss, norm

    return body


@jit.kernel
def backward() -> Any:
    """The gradients of the scores; `grads` has one number a row."""
    read, write = simd.load(0), simd.store(0)

    def body(start, stop, worker, x, target, weight, norms, grads, out, header, numbers):
        classes, total = header[CLASSES], numbers[TOTAL]
        smoothing = numbers[SMOOTHING]
        zero, each = out.dtype.type(0), smoothing / classes
        for row in range(start, stop):
            base, t = row * classes, target[row]
            if t == header[IGNORED]:
                for c in range(classes):
                    write(out, base + c, zero)
                continue
            hit = (1 - smoothing) * weight[t]
            for c in range(classes):
                p = math.exp(read(x, base + c) - norms[row])
                write(out, base + c, grads[row] * (p * (hit + each * total) - each * weight[c]))
            out[base + t] -= grads[row] * hit

    return body


def _launch(kernel: jit.Kernel, x: np.ndarray, rows: int, *arrays: np.ndarray) -> None:
    kernel(min(jit.workers(x.size * SECONDS), max(rows, 1)), rows, x, *arrays)


def _numbers(weight: np.ndarray, ignored: int, smoothing: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array([weight.size, ignored]), np.array([smoothing, weight.sum()])


def losses(
    x: np.ndarray, target: np.ndarray, weight: np.ndarray, ignored: int, smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """(loss, lse) of each row of a flat array, float64; `target` int64, `weight` float64, flat too."""
    loss, norms = np.empty(target.size), np.empty(target.size)
    _launch(forward(), x, target.size, target, weight, loss, norms, *_numbers(weight, ignored, smoothing))
    return loss, norms


def gradients(
    x: np.ndarray, target: np.ndarray, weight: np.ndarray, ignored: int, smoothing: float, norms: np.ndarray,
    grads: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Write the gradient of each row, given what its loss counts."""
    _launch(backward(), x, target.size, target, weight, norms, grads, out, *_numbers(weight, ignored, smoothing))
