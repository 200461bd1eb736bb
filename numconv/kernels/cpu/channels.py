"""Sums over all axes but the channels': of gradients, and of the two kinds that batch norm needs.

    SUM       sum of g                                        gradient of a bias
    MOMENTS   sums of (x - x0) and (x - x0)^2                 x0 is each channel's first element
    PRODUCTS  sums of g and g (x - table)                     backward; with relu, g where its result is above 0

The parallel item is a piece of a plane (channels first) or a block of rows (channels last), whose size depends on the
array's shape only. Each item writes its sums, in float64, to a place of its own; `collect` adds these up in order, so
that results are the same for any number of threads. The moments about x0 lose nothing for data far from zero
(T. F. Chan, G. H. Golub and R. J. LeVeque, Algorithms for computing the sample variance, 1983, section 3).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numconv.kernels.cpu import jit, simd

SUM, MOMENTS, PRODUCTS = range(3)
PIECE = 1 << 15  # elements of an item

# What describes an array: channels first it is planes of `LENGTH` elements, in pieces; last, rows, in blocks.
CHANNELS, LENGTH, PIECES, SIZE, ROWS, BLOCK = range(6)


class Channels:
    """The shape of an array as the kernels see it: n images, or for channels last rows, of so many channels."""

    def __init__(self, n: int, channels: int, length: int, last: bool) -> None:
        self.channels, self.last, self.count = channels, last, n * length
        if last:
            block = max(PIECE // max(channels, 1), 1)
            self.items = self.groups = -(-n * length // block)
            self.planes = n * length
            self.header = np.array([channels, 1, 1, PIECE, n * length, block])
        else:
            pieces = -(-length // PIECE)
            self.items, self.groups = n * channels * pieces, n * pieces
            self.planes = self.items
            self.header = np.array([channels, length, pieces, -(-length // max(pieces, 1)), 1, 1])

    def seconds(self, nbytes: int) -> float:
        """Estimated time of so many bytes on one thread: 60 GB/s in the cache, and 2 ns an item's plane or row."""
        return nbytes * 2.5e-11 + self.planes * 5e-9


@functools.lru_cache(maxsize=1024)
def geometry(n: int, channels: int, length: int, last: bool) -> Channels:
    """The shape of (n, channels, length), or of (n, length, channels) where channels come last."""
    return Channels(n, channels, length, last or length == 1)


@jit.function
def term(kind: int, relu: bool) -> Any:
    """`(x, grad, i, centre, factor, offset)` -> the two numbers to add up."""
    read = simd.load(0)

    def total(x, grad, i, centre, factor, offset):
        return np.float64(read(grad, i)), 0.0

    def moments(x, grad, i, centre, factor, offset):
        v = np.float64(read(x, i)) - np.float64(centre)
        return v, v * v

    def products(x, grad, i, centre, factor, offset):
        v, g = read(x, i), np.float64(read(grad, i))
        if relu:
            g *= simd.choose((v - centre) * factor + offset <= 0, 0.0, 1.0)
        return g, g * (np.float64(v) - np.float64(centre))

    return (total, moments, products)[kind]


@jit.kernel
def sums_first(kind: int, relu: bool) -> Any:
    """Channels first."""
    value, read, write = term(kind, relu), simd.load(0), simd.store(0)

    def body(start, stop, worker, x, grad, table, partial, header):
        channels, length, pieces, size = header[CHANNELS], header[LENGTH], header[PIECES], header[SIZE]
        for item in range(start, stop):
            plane, piece = divmod(item, pieces)
            n, c = divmod(plane, channels)
            centre, factor, offset = read(x, c * length), read(x, 0), read(x, 0)
            if kind == PRODUCTS:
                centre = read(table, c)
                factor, offset = read(table, channels + c), read(table, 2 * channels + c)
            begin = plane * length + piece * size
            end = min(begin + size, (plane + 1) * length)
            a, b = 0.0, 0.0
            for i in range(begin, end):
                first, second = value(x, grad, i, centre, factor, offset)
                a += first
                b += second
            place = 2 * (n * pieces + piece) * channels + c
            write(partial, place, a)
            write(partial, place + channels, b)

    return body


@jit.kernel
def sums_last(kind: int, relu: bool) -> Any:
    """Channels last."""
    value, read, write, fill = term(kind, relu), simd.load(0), simd.store(0), simd.fill()

    def body(start, stop, worker, x, grad, table, partial, header):
        channels, rows, block = header[CHANNELS], header[ROWS], header[BLOCK]
        for item in range(start, stop):
            place = 2 * item * channels
            fill(partial, place, place + 2 * channels, 0.0)
            for row in range(item * block, min((item + 1) * block, rows)):
                base = row * channels
                for c in range(channels):
                    centre, factor, offset = read(x, c), read(x, c), read(x, c)
                    if kind == PRODUCTS:
                        centre = read(table, c)
                        factor, offset = read(table, channels + c), read(table, 2 * channels + c)
                    first, second = value(x, grad, base + c, centre, factor, offset)
                    write(partial, place + c, read(partial, place + c) + first)
                    if kind != SUM:
                        write(partial, place + channels + c, read(partial, place + channels + c) + second)

    return body


@jit.function
def collect() -> Any:
    """`(partial, channels, groups)`: the sums of all groups in place of the first's."""
    read, write = simd.load(0), simd.store(0)

    def added(partial, channels, groups):
        for group in range(1, groups):
            base = 2 * group * channels
            for c in range(2 * channels):
                write(partial, c, read(partial, c) + read(partial, base + c))

    return added


@jit.kernel
def collected() -> Any:
    """The sums of all groups in place of the first's: an item is all of it."""
    add = collect()

    def body(start, stop, worker, partial, header, groups):
        add(partial, header[CHANNELS], groups[0])

    return body


def sums(
    kind: int, relu: bool, shape: Channels, x: np.ndarray, grad: np.ndarray, table: np.ndarray, partial: np.ndarray
) -> None:
    """Fill `partial`, shape (groups, 2, channels); arrays are flat."""
    kernel = (sums_last if shape.last else sums_first)(kind, relu)
    workers = jit.workers(shape.seconds(x.nbytes * (2 if kind == PRODUCTS else 1)))
    kernel(min(workers, shape.items), shape.items, x, grad, table, partial, shape.header)


def channel_sums(shape: Channels, x: np.ndarray) -> np.ndarray:
    """The sum over each channel of a flat array, float64."""
    partial = np.empty(2 * shape.channels * shape.groups)
    sums(SUM, False, shape, x, x, x, partial)
    collected()(1, 1, partial, shape.header, np.array([shape.groups]))
    return partial[: shape.channels]
