"""The smallest kernels that earn an advice, each beside one that does not. All get (x, w, out): 2-D, 1-D, 2-D."""

import numba
import numpy as np

from numconv.kernels.cpu import simd

FAST = {"reassoc", "contract", "nsz"}


def column_sums(x, w, out):
    for j in range(x.shape[1]):
        s = np.float32(0)
        for i in range(x.shape[0]):
            s += x[i, j] * w[i]
        out[j, 0] = s


def row_sums(x, w, out):
    for i in range(x.shape[0]):
        s = np.float32(0)
        for j in range(x.shape[1]):
            s += x[i, j] * w[j]
        out[i, 0] = s


def double_sums(x, w, out):
    for i in range(x.shape[0]):
        s = 0.0
        for j in range(x.shape[1]):
            s += x[i, j] * w[j]
        out[i, 0] = s


def squares(x, w, out):
    for i in range(x.shape[0]):
        s = np.float32(0)
        for j in range(x.shape[1]):
            s += x[i, j] * x[i, j]
        out[i, 0] = s


def scaled(x, w, out):
    factor = w[0]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = factor * x[i, j]


def added(x, w, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] += w[i] * x[i, j]


def affine(x, w, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * w[j] + w[i]


def tenths(x, w, out):
    width = 1e-5 * w[0]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = 0.1 * x[i, j]
    out[0, 0] += width


def by_columns(x, w, out):
    for j in range(x.shape[1]):
        for i in range(x.shape[0]):
            out[i, j] = w[0] * x[i, j]


def wrapped(x, w, out):
    n = w.shape[0]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j * j % n] * w[0]


def shifted(x, w, out):
    n = w.shape[0]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = w[0] * x[i, j * n - i]


def divided(x, w, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] / w[j]


def roots(x, w, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = np.sqrt(x[i, j]) * w[j]


def numbered(x, w, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * np.float32(j)


@numba.njit
def sine(v):
    return np.sin(v)


def calling(x, w, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = w[0] * sine(x[i, j])


def picked(x, w, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = w[0] * x[i, 37 * j]


def tiled(rows):
    """A register tile of two vectors' width."""
    tile = simd.tile(rows, 2, 1, rows)

    def kernel(x, w, out):
        tile(x, 0, w, 0, out, 0, 100)

    return kernel
