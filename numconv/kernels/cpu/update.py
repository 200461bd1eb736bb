"""The steps of optimisers: parameter, gradient and the numbers kept of earlier steps, in one pass over memory.

    sgd        g = sign grad + decay p;  b = momentum b + fresh g;  p -= lr (b, or g + momentum b by Nesterov)
    adam       g = sign grad + decay p;  m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2
               p = shrink p - step m / (sqrt(v) / root + eps)            v or the largest v so far
    rmsprop    g = sign grad + decay p;  v = alpha v + (1 - alpha) g^2;  a += (1 - alpha) (g - a)
               p -= lr b, b = momentum b + g / (sqrt(v - a^2) + eps)

Formulas and their order are PyTorch's (torch/optim). Items are blocks of elements; all arrays are flat and of one
dtype, with the numbers of the formula, in the order of the arguments' names, in the last. An array that a form does not
use has one element.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.kernels.cpu import jit

BLOCK = 1 << 12  # elements
SECONDS = 0.05e-9  # for each element and array: adam on 1e6 float32, one thread


@jit.kernel
def sgd(momentum, nesterov):
    """`numbers`: sign, decay, lr, momentum, fresh."""

    def body(start, stop, worker, param, grad, buffer, numbers):
        sign, decay, lr, keep, fresh = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
        for i in range(np.uint64(start * BLOCK), np.uint64(min(stop * BLOCK, param.size))):
            g = sign * grad[i] + decay * param[i]
            if momentum:
                b = keep * buffer[i] + fresh * g
                buffer[i] = b
                g = g + keep * b if nesterov else b
            param[i] -= lr * g

    return body


@jit.kernel
def adam(amsgrad):
    """`numbers`: sign, decay, shrink, 1 - beta1, beta2, 1 - beta2, step, root, eps."""

    def body(start, stop, worker, param, grad, mean, square, largest, numbers):
        sign, decay, shrink, fresh = numbers[0], numbers[1], numbers[2], numbers[3]
        beta2, fresh2, step, root, eps = numbers[4], numbers[5], numbers[6], numbers[7], numbers[8]
        for i in range(np.uint64(start * BLOCK), np.uint64(min(stop * BLOCK, param.size))):
            g = sign * grad[i] + decay * param[i]
            m = mean[i] + fresh * (g - mean[i])
            v = beta2 * square[i] + fresh2 * g * g
            mean[i] = m
            square[i] = v
            if amsgrad:
                v = largest[i] if largest[i] > v else v
                largest[i] = v
            param[i] = shrink * param[i] - step * m / (math.sqrt(v) / root + eps)

    return body


@jit.kernel
def rmsprop(centered, momentum):
    """`numbers`: sign, decay, lr, alpha, 1 - alpha, eps, momentum."""

    def body(start, stop, worker, param, grad, square, average, buffer, numbers):
        sign, decay, lr, alpha = numbers[0], numbers[1], numbers[2], numbers[3]
        fresh, eps, keep = numbers[4], numbers[5], numbers[6]
        for i in range(np.uint64(start * BLOCK), np.uint64(min(stop * BLOCK, param.size))):
            g = sign * grad[i] + decay * param[i]
            v = alpha * square[i] + fresh * g * g
            square[i] = v
            if centered:
                a = average[i] + fresh * (g - average[i])
                average[i] = a
                v -= a * a
            g /= math.sqrt(v) + eps
            if momentum:
                g += keep * buffer[i]
                buffer[i] = g
            param[i] -= lr * g

    return body


@jit.kernel
def squares():
    """The sum of the squares of each block, in float64."""

    def body(start, stop, worker, x, sums):
        for block in range(start, stop):
            total = 0.0
            for i in range(np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, x.size))):
                v = np.float64(x[i])
                total += v * v
            sums[block] = total

    return body


def sum_of_squares(x: np.ndarray) -> float:
    """Of a flat array, whatever the number of threads."""
    sums = np.empty(-(-x.size // BLOCK))
    squares()(jit.workers(2 * SECONDS * x.size), sums.size, x, sums)
    return float(sums.sum())


def launch(kernel: Any, *arrays: np.ndarray) -> None:
    """Run a kernel on flat arrays, the parameter first and the numbers last."""
    size = arrays[0].size
    kernel(jit.workers(SECONDS * size * (len(arrays) - 1)), -(-size // BLOCK), *arrays)
