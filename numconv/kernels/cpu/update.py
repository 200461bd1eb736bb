"""The steps of optimisers: parameter, gradient and the numbers kept of earlier steps, in one pass over memory.

    sgd        g = sign grad + decay p;  b = momentum b + fresh g;  p -= lr (b, or g + momentum b by Nesterov)
    adam       g = sign grad + decay p;  m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2
               p = shrink p - step m / (sqrt(v) / root + eps)            v or the largest v so far
    rmsprop    g = sign grad + decay p;  v = alpha v + (1 - alpha) g^2;  a += (1 - alpha) (g - a)
               p -= lr b, b = momentum b + g / (sqrt(v - a^2) + eps)

Formulas and their order are PyTorch's (torch/optim). Items are blocks of elements of all parameters, which one launch
takes together: a launch for each of LeNet-5's ten takes 64 us of a training step in place of 28. A table has a row for
each parameter: the item that it begins with, its size, and where it, its gradient and what is kept of it lie, counted
in elements from an anchor, of the same dtype. `numbers` holds those of the formula.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.kernels.cpu import jit, simd

BLOCK = 1 << 12  # elements
SECONDS = 0.05e-9  # for each element and array: adam on 1e6 float32, one thread
FIRST, SIZE, PARAM, GRAD, STATE = range(5)  # what a row of the table holds; what is kept lies in the last three columns
COLUMNS = STATE + 3


@jit.function
def part():
    """(table, item) -> its number of elements, and where those of each array begin."""

    def find(table, item):
        row, above = 0, len(table)
        while above - row > 1:
            middle = (row + above) // 2
            if table[middle, FIRST] <= item:
                row = middle
            else:
                above = middle
        begin = (item - table[row, FIRST]) * BLOCK
        count = min(BLOCK, table[row, SIZE] - begin)
        param, grad = table[row, PARAM] + begin, table[row, GRAD] + begin
        return (
            count,
            param,
            grad,
            table[row, STATE] + begin,
            table[row, STATE + 1] + begin,
            table[row, STATE + 2] + begin,
        )

    return find


@jit.function
def _place():
    return lambda array: simd.address(array, 0)


@jit.kernel
def sgd(momentum, nesterov):
    """`numbers`: sign, decay, lr, momentum, fresh."""

    find, read, write = part(), simd.load(0), simd.store(0)

    def body(start, stop, worker, anchor, table, numbers):
        sign, decay, lr, keep, fresh = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
        for item in range(start, stop):
            count, param, grad, buffer, _, _ = find(table, item)
            for i in range(count):
                p = read(anchor, param + i)
                g = sign * read(anchor, grad + i) + decay * p
                if momentum:
                    b = keep * read(anchor, buffer + i) + fresh * g
                    write(anchor, buffer + i, b)
                    g = g + keep * b if nesterov else b
                write(anchor, param + i, p - lr * g)

    return body


@jit.kernel
def adam(amsgrad):
    """`numbers`: sign, decay, shrink, 1 - beta1, beta2, 1 - beta2, step, root, eps."""

    find, read, write = part(), simd.load(0), simd.store(0)

    def body(start, stop, worker, anchor, table, numbers):
        sign, decay, shrink, fresh = numbers[0], numbers[1], numbers[2], numbers[3]
        beta2, fresh2, step, root, eps = numbers[4], numbers[5], numbers[6], numbers[7], numbers[8]
        for item in range(start, stop):
            count, param, grad, mean, square, largest = find(table, item)
            for i in range(count):
                p, m = read(anchor, param + i), read(anchor, mean + i)
                g = sign * read(anchor, grad + i) + decay * p
                m += fresh * (g - m)
                v = beta2 * read(anchor, square + i) + fresh2 * g * g
                write(anchor, mean + i, m)
                write(anchor, square + i, v)
                if amsgrad:
                    before = read(anchor, largest + i)
                    v = before if before > v else v
                    write(anchor, largest + i, v)
                write(anchor, param + i, shrink * p - step * m / (math.sqrt(v) / root + eps))

    return body


@jit.kernel
def rmsprop(centered, momentum):
    """`numbers`: sign, decay, lr, alpha, 1 - alpha, eps, momentum."""

    find, read, write = part(), simd.load(0), simd.store(0)

    def body(start, stop, worker, anchor, table, numbers):
        sign, decay, lr, alpha = numbers[0], numbers[1], numbers[2], numbers[3]
        fresh, eps, keep = numbers[4], numbers[5], numbers[6]
        for item in range(start, stop):
            count, param, grad, square, average, buffer = find(table, item)
            for i in range(count):
                p = read(anchor, param + i)
                g = sign * read(anchor, grad + i) + decay * p
                v = alpha * read(anchor, square + i) + fresh * g * g
                write(anchor, square + i, v)
                if centered:
                    a = read(anchor, average + i)
                    a += fresh * (g - a)
                    write(anchor, average + i, a)
                    v -= a * a
                g /= math.sqrt(v) + eps
                if momentum:
                    g += keep * read(anchor, buffer + i)
                    write(anchor, buffer + i, g)
                write(anchor, param + i, p - lr * g)

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


class Table:
    """Where parameters and what is kept of them lie.

    Parameters
    ----------
    params : list of numpy.ndarray
        Flat and of one dtype.
    states : list of list of numpy.ndarray
        Up to three kinds, each in the order of the parameters.
    """

    def __init__(self, params: list[np.ndarray], states: list[list[np.ndarray]]) -> None:
        if simd.PLAIN:
            raise NotImplementedError("optimisers reach every array from one address: NUMBA_DISABLE_JIT stops that")
        self._anchor, self._size = params[0], params[0].itemsize
        self._origin = _place()(self._anchor)
        sizes = np.array([p.size for p in params])
        blocks = -(-sizes // BLOCK)
        self._rows = np.zeros((len(params), COLUMNS), np.int64)
        self._rows[:, FIRST], self._rows[:, SIZE] = np.cumsum(blocks) - blocks, sizes
        for column, arrays in ((PARAM, params), *enumerate(states, STATE)):
            self._rows[:, column] = self._places(arrays)
        order = np.argsort(self._rows[:, PARAM], kind="stable")
        places = self._rows[order, PARAM]
        apart = np.all(places[:-1] + sizes[order[:-1]] <= places[1:])  # parameters of one memory take steps in turn
        self._items = int(blocks.sum())
        self._seconds = SECONDS * int(sizes.sum()) * (2 + len(states)) if apart else 0.0

    def _places(self, arrays: list[np.ndarray]) -> list[int]:
        place, origin, size = _place(), self._origin, self._size
        return [(place(array) - origin) // size for array in arrays]

    def launch(self, kernel: Any, grads: list[np.ndarray], numbers: np.ndarray) -> None:
        """Take a step with flat gradients of the dtype; one thread at a time."""
        self._rows[:, GRAD] = self._places(grads)
        kernel(jit.workers(self._seconds), self._items, self._anchor, self._rows, numbers)
