"""Batch normalisation, forward and backward, with relu in the same pass where that is wanted.

    y = (x - mean) inverse weight + bias (+ residual),  inverse = 1 / sqrt(var + eps)
    g = grad, with relu where y > 0, else 0
    grad_bias = sum g,  grad_weight = inverse sum g (x - mean)
    grad_x = weight inverse (g - grad_bias / count - (x - mean) inverse grad_weight / count)      batch statistics
    grad_x = weight inverse g                                                                     running statistics

(S. Ioffe and C. Szegedy, Batch normalization, 2015, section 3.) Each direction reads x twice: for the sums (see
`channels`), and for the result. What happens to an element is put into a table of numbers a channel:

    y = (x - CENTRE) FACTOR + OFFSET;  grad_x = g FACTOR + (x - CENTRE) SLOPE + SHIFT

CENTRE is the mean rounded to x's dtype; what it lacks is in OFFSET and SHIFT, so that data far from zero lose nothing.
relu's mask comes from x and the table again: the result need not be kept. It is a factor of 0 or 1: x86's loads under
a mask made the sums take 4.5 ms in place of 1.8 (64 channels, 112x112, batch 8, one thread). What differs is that NaN
and infinities of the gradient count where relu is 0, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.kernels.cpu import jit, simd

# isort: off
from numconv.kernels.cpu.channels import (
    CHANNELS, LENGTH, MOMENTS, PIECES, PRODUCTS, SIZE, Channels, collect, geometry, sums,
)  # fmt: skip
# isort: on

__all__ = ["batch_statistics", "geometry", "gradients", "normalise"]


FORWARD, ADDING, BACKWARD = range(3)


@jit.function
def value(kind: int, relu: bool) -> Any:
    """What becomes of an element; g is the gradient, or what is added."""

    def forward(x, g, centre, factor, offset, slope, shift, zero, one):
        y = (x - centre) * factor + offset
        return simd.choose(y <= zero, zero, y) if relu else y

    def adding(x, g, centre, factor, offset, slope, shift, zero, one):
        y = (x - centre) * factor + offset + g
        return simd.choose(y <= zero, zero, y) if relu else y

    def gradient(x, g, centre, factor, offset, slope, shift, zero, one):
        v = x - centre
        if relu:
            g *= simd.choose(v * factor + offset <= zero, zero, one)
        return g * factor + v * slope + shift

    return (forward, adding, gradient)[kind]


@jit.kernel
def apply_first(kind: int, relu: bool) -> Any:
    """Each element by its channel's numbers, channels first."""
    f, read, write = value(kind, relu), simd.load(0), simd.store(0)

    def body(start, stop, worker, x, grad, table, out, header):
        channels, length, pieces, size = header[CHANNELS], header[LENGTH], header[PIECES], header[SIZE]
        zero, one = out.dtype.type(0), out.dtype.type(1)
        for item in range(start, stop):
            plane, piece = divmod(item, pieces)
            c = plane % channels
            centre, factor, offset = table[c], table[channels + c], table[2 * channels + c]
            slope, shift = table[3 * channels + c], table[4 * channels + c]
            begin = plane * length + piece * size
            for i in range(begin, min(begin + size, (plane + 1) * length)):
                write(out, i, f(read(x, i), read(grad, i), centre, factor, offset, slope, shift, zero, one))

    return body


@jit.kernel
def apply_last(kind: int, relu: bool) -> Any:
    """Each element by its channel's numbers, channels last: an item is a row."""
    f, read, write = value(kind, relu), simd.load(0), simd.store(0)

    def body(start, stop, worker, x, grad, table, out, header):
        channels, zero, one = header[CHANNELS], out.dtype.type(0), out.dtype.type(1)
        for row in range(start, stop):
            base = row * channels
            for c in range(channels):
                centre, factor, offset = read(table, c), read(table, channels + c), read(table, 2 * channels + c)
                slope, shift = read(table, 3 * channels + c), read(table, 4 * channels + c)
                i = base + c
                write(out, i, f(read(x, i), read(grad, i), centre, factor, offset, slope, shift, zero, one))

    return body


@jit.kernel
def moments() -> Any:
    """Batch statistics and the new running ones from the sums. An item is all of it."""
    add = collect()

    def body(start, stop, worker, partial, x, running, statistics, numbers, header):
        channels, every, groups = header[CHANNELS], header[LENGTH], np.int64(numbers[0])
        count, eps, momentum = numbers[1], numbers[2], numbers[3]
        add(partial, channels, groups)
        for c in range(channels):
            mean = partial[c] / count
            var = partial[channels + c] / count - mean * mean
            var = 0.0 if var < 0 else var
            mean += x[c * every]
            statistics[c] = mean
            statistics[channels + c] = 1 / np.sqrt(var + eps)
            running[c] = (1 - momentum) * running[c] + momentum * mean
            unbiased = var * (count / (count - 1))
            running[channels + c] = (1 - momentum) * running[channels + c] + momentum * unbiased

    return body


@jit.kernel
def tabulate() -> Any:
    """The table of the forward pass. An item is a channel."""

    def body(start, stop, worker, statistics, weight, bias, table):
        channels = len(weight)
        for c in range(start, stop):
            table[c] = statistics[c]
            factor = weight[c] * statistics[channels + c]
            table[channels + c] = factor
            low = statistics[c] - table[c]
            table[2 * channels + c] = bias[c] - (0.0 if np.isnan(low) else low * factor)

    return body


@jit.kernel
def finish() -> Any:
    """The gradients of weight and bias from the sums, and the table of the backward pass. An item is all of it."""
    add = collect()

    def body(start, stop, worker, partial, statistics, weight, gradients, table, numbers):
        channels, count, groups = len(weight), numbers[1], np.int64(numbers[0])
        add(partial, channels, groups)
        for c in range(channels):
            inverse, low = statistics[channels + c], statistics[c] - table[c]
            total = partial[c]
            product = (partial[channels + c] - low * total) * inverse
            gradients[c], gradients[channels + c] = product, total
            factor = weight[c] * inverse
            slope = -factor * inverse * product / count if count > 0 else 0.0
            table[3 * channels + c] = slope
            table[4 * channels + c] = -factor * total / count - low * slope if count > 0 else 0.0

    return body


def _launch(
    kind: int, relu: bool, shape: Channels, x: np.ndarray, grad: np.ndarray, table: np.ndarray, out: np.ndarray
) -> None:
    kernel = (apply_last if shape.last else apply_first)(kind, relu)
    items = shape.planes
    workers = jit.workers(shape.seconds(x.nbytes * (2 if kind == FORWARD else 3)))
    kernel(min(workers, max(items, 1)), items, x, grad, table, out, shape.header)


def batch_statistics(shape: Channels, x: np.ndarray, running: np.ndarray, momentum: float, eps: float) -> np.ndarray:
    """The statistics of a flat array that is not empty; `running` (means, variances), float64, is updated."""
    partial, statistics = np.empty(2 * shape.channels * shape.groups), np.empty(2 * shape.channels)
    sums(MOMENTS, False, shape, x, x, x, partial)
    numbers = np.array([shape.groups, shape.count, eps, momentum])
    moments()(1, 1, partial, x, running, statistics, numbers, shape.header)
    return statistics


def normalise(
    relu: bool, shape: Channels, x: np.ndarray, statistics: np.ndarray, weight: np.ndarray, bias: np.ndarray,
    residual: np.ndarray | None, out: np.ndarray,
) -> None:  # fmt: skip
    """Write the result. Arrays are flat; `statistics` (means, inverses), `weight` and `bias` float64."""
    table = np.zeros(5 * shape.channels, x.dtype)
    tabulate()(1, shape.channels, statistics, weight, bias, table)
    if residual is None:
        _launch(FORWARD, relu, shape, x, x, table, out)
    else:
        _launch(ADDING, relu, shape, x, residual, table, out)


def gradients(
    relu: bool, training: bool, shape: Channels, x: np.ndarray, grad: np.ndarray, statistics: np.ndarray,
    weight: np.ndarray, bias: np.ndarray, out: np.ndarray | None,
) -> np.ndarray:  # fmt: skip
    """Write the gradient of x, if it is wanted; gives those of weight and bias, float64, one after the other."""
    table = np.zeros(5 * shape.channels, x.dtype)
    tabulate()(1, shape.channels, statistics, weight, bias, table)
    partial, parameters = np.empty(2 * shape.channels * shape.groups), np.empty(2 * shape.channels)
    sums(PRODUCTS, relu, shape, x, grad, table, partial)
    numbers = np.array([shape.groups, shape.count if training else 0.0])
    finish()(1, 1, partial, statistics, weight, parameters, table, numbers)
    if out is not None:
        _launch(BACKWARD, relu, shape, x, grad, table, out)
    return parameters
