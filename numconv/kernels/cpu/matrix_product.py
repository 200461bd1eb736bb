"""Products of matrices for fully connected layers, in which one operand, the weight, is large and used once.

    by_rows      c[i, j] = bias[j] + sum over k of  a[i, k] b[j, k]          result of a layer
    by_columns   c[i, k] = sum over j of  a[i, j] b[j, k]          gradients of its input and of its weight
    by_tiles     the same, where b stays in the second-level cache

Nothing is packed, and an item is a part of the result: two rows of b, or four rows of c by `WIDTH` columns. So results
do not depend on the number of threads, as those of NumPy's BLAS do (32 x 400 by 400 x 120 with OpenBLAS). A step of the
innermost loop, which vectorises along k, is 4 x 2 products or 4 x 4 of them. One row of a meets eight of b at a time,
which keeps more of memory's lines on their way: 5 MB that no cache holds are read in 136 us in place of 213. `by_tiles`
keeps its sums in registers (see `panel_tile`), for which it reads short pieces of many rows of b.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numconv.kernels.cpu import jit, panel_tile, simd, tiles

WIDTH = 1024  # 4 kB of a row of b: 59 ms at 256 for 8 x 4096 by 4096 x 9216
SECONDS = 2.5e-11  # a multiply-add on one thread: 32 x 400 by 400 x 120
TILED_SECONDS = 1.1e-11  # the same by tiles

# On one thread tiles take 18 us in place of 26 for 32 x 120 by 120 x 400, 311 in place of 559 for 128 x 512 by
# 512 x 512, but 16 in place of 14 for 256 x 8 by 8 x 256.
TILE_ROWS, TILE_VECTORS = (8, 3) if simd.vector_bits() == 512 else (4, 3)
SMALL, FEW = 1 << 20, 16  # bytes of b, at most, and terms, at least, for tiles
DEPTH = 512  # terms summed in registers
PANEL = 4  # tiles side by side in an item

ROWS, COLUMNS, TERMS, A_ROW, A_TERM, ACROSS, TILE = range(7)


@jit.function
def eight_of_one() -> Any:
    """Eight numbers of a product with one row, from j on; where there are fewer, the last of them again."""
    read, write = simd.load(0), simd.store(0)

    def multiply(a, b, c, bias, j, columns, terms):
        last = columns - 1
        b0, b1 = j * terms, min(j + 1, last) * terms
        b2, b3 = min(j + 2, last) * terms, min(j + 3, last) * terms
        b4, b5 = min(j + 4, last) * terms, min(j + 5, last) * terms
        b6, b7 = min(j + 6, last) * terms, min(j + 7, last) * terms
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = c.dtype.type(0)
        for k in range(terms):
            x = read(a, k)
            s0 += x * read(b, b0 + k)
            s1 += x * read(b, b1 + k)
            s2 += x * read(b, b2 + k)
            s3 += x * read(b, b3 + k)
            s4 += x * read(b, b4 + k)
            s5 += x * read(b, b5 + k)
            s6 += x * read(b, b6 + k)
            s7 += x * read(b, b7 + k)
        sums = s0, s1, s2, s3, s4, s5, s6, s7
        for i in range(min(8, columns - j)):
            write(c, j + i, sums[i] + read(bias, j + i) if len(bias) > 0 else sums[i])

    return multiply


@jit.kernel
def by_rows() -> Any:
    read, write, eight = simd.load(0), simd.store(0), eight_of_one()

    def body(start, stop, worker, a, b, c, bias, header):
        rows, columns, terms, biased = header[ROWS], header[COLUMNS], header[TERMS], len(bias) > 0
        zero = c.dtype.type(0)
        for item in range(start, stop):
            if rows == 1:
                eight(a, b, c, bias, 8 * item, columns, terms)
                continue
            j = 2 * item
            b0, b1 = j * terms, min(j + 1, columns - 1) * terms
            for i in range(0, rows, 4):
                last = (rows - 1) * terms
                a0, a1 = i * terms, min((i + 1) * terms, last)
                a2, a3 = min((i + 2) * terms, last), min((i + 3) * terms, last)
                s00 = s01 = s10 = s11 = s20 = s21 = s30 = s31 = zero
                for k in range(terms):
                    x0, x1, x2, x3 = read(a, a0 + k), read(a, a1 + k), read(a, a2 + k), read(a, a3 + k)
                    w0, w1 = read(b, b0 + k), read(b, b1 + k)
                    s00 += x0 * w0
                    s01 += x0 * w1
                    s10 += x1 * w0
                    s11 += x1 * w1
                    s20 += x2 * w0
                    s21 += x2 * w1
                    s30 += x3 * w0
                    s31 += x3 * w1
                if biased:
                    add0, add1 = read(bias, j), read(bias, min(j + 1, columns - 1))
                    s00, s10, s20, s30 = s00 + add0, s10 + add0, s20 + add0, s30 + add0
                    s01, s11, s21, s31 = s01 + add1, s11 + add1, s21 + add1, s31 + add1
                sums = (s00, s10, s20, s30), (s01, s11, s21, s31)
                for r in range(min(4, rows - i)):
                    write(c, (i + r) * columns + j, sums[0][r])
                    if j + 1 < columns:
                        write(c, (i + r) * columns + j + 1, sums[1][r])

    return body


@jit.kernel
def by_columns(dtype: str) -> Any:
    read, write, room = simd.load(0), simd.store(0), simd.stack(4 * WIDTH, dtype)

    def body(start, stop, worker, a, b, c, header):
        rows, columns, terms = header[ROWS], header[COLUMNS], header[TERMS]
        zero, sums, across = c.dtype.type(0), room(), (columns + WIDTH - 1) // WIDTH
        for item in range(start, stop):
            i, first = 4 * (item // across), (item % across) * WIDTH
            width = min(WIDTH, columns - first)
            for r in range(4):
                for k in range(width):
                    write(sums, r * WIDTH + k, zero)
            r0, r1 = i * header[A_ROW], min(i + 1, rows - 1) * header[A_ROW]
            r2, r3 = min(i + 2, rows - 1) * header[A_ROW], min(i + 3, rows - 1) * header[A_ROW]
            for j in range(0, terms, 2):
                t0, t1 = j * header[A_TERM], min(j + 1, terms - 1) * header[A_TERM]
                more = j + 1 < terms
                f00, f10, f20, f30 = a[r0 + t0], a[r1 + t0], a[r2 + t0], a[r3 + t0]
                f01, f11 = (a[r0 + t1] if more else zero), (a[r1 + t1] if more else zero)
                f21, f31 = (a[r2 + t1] if more else zero), (a[r3 + t1] if more else zero)
                b0, b1 = j * columns + first, min(j + 1, terms - 1) * columns + first
                for k in range(width):
                    x0, x1 = read(b, b0 + k), read(b, b1 + k)
                    write(sums, k, read(sums, k) + f00 * x0 + f01 * x1)
                    write(sums, WIDTH + k, read(sums, WIDTH + k) + f10 * x0 + f11 * x1)
                    write(sums, 2 * WIDTH + k, read(sums, 2 * WIDTH + k) + f20 * x0 + f21 * x1)
                    write(sums, 3 * WIDTH + k, read(sums, 3 * WIDTH + k) + f30 * x0 + f31 * x1)
            for r in range(min(4, rows - i)):
                place = (i + r) * columns + first
                for k in range(width):
                    write(c, place + k, read(sums, r * WIDTH + k))

    return body


@jit.kernel
def by_tiles(dtype: str) -> Any:
    """A transposed a is turned for each row of tiles; `zeros` are as many as a tile has rows."""
    width, call, address, write = TILE_VECTORS * simd.lanes(dtype), simd.call, simd.address, simd.store(0)
    room, sums_room = simd.stack(TILE_ROWS * DEPTH, dtype), simd.stack(PANEL * TILE_ROWS * width, dtype)
    most = PANEL * width

    def body(start, stop, worker, a, b, c, zeros, header):
        turned, sums = room(), sums_room()
        rows, columns, terms, across = header[ROWS], header[COLUMNS], header[TERMS], header[ACROSS]
        a_row, a_term, nothing = header[A_ROW], header[A_TERM], address(zeros, 0)
        for item in range(start, stop):
            i, first = item // across * TILE_ROWS, item % across * most
            some = min(TILE_ROWS, rows - i)
            for k in range(0, terms, DEPTH):
                depth, mode = min(DEPTH, terms - k), tiles.FIRST if k == 0 else 0
                if k + depth == terms:
                    mode |= tiles.LAST
                weights, step = address(a, i * a_row + k * a_term), a_row
                if a_term != 1:
                    weights, step = address(turned, 0), DEPTH
                    for t in range(depth):
                        for r in range(some):
                            write(turned, r * DEPTH + t, a[i * a_row + r * a_row + (k + t) * a_term])
                for j in range(first, min(first + most, columns), width):
                    call(
                        header[TILE],
                        (
                            weights, step, address(b, k * columns + j), columns, depth,
                            address(sums, (j - first) * TILE_ROWS), mode, nothing, nothing,
                            address(c, i * columns + j), columns, nothing, 0, some, min(width, columns - j),
                        ),
                    )  # fmt: skip

    return body


@functools.cache
def _zeros(dtype: np.dtype) -> np.ndarray:
    return np.zeros(TILE_ROWS, dtype)


@functools.cache
def _tile(dtype: np.dtype) -> int:
    return panel_tile.address_of(TILE_ROWS, TILE_VECTORS, dtype.name, "")


@functools.cache
def _by_tiles(dtype: np.dtype) -> jit.Kernel:
    return by_tiles(dtype.name)


@functools.cache
def _by_columns(dtype: np.dtype) -> jit.Kernel:
    return by_columns(dtype.name)


@functools.lru_cache(maxsize=1024)
def _header(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def times_rows(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, shape: tuple[int, int, int], bias: np.ndarray | None = None
) -> None:
    """c (m, n) = a (m, k) times the transpose of b (n, k), plus bias (n), for `shape` (m, n, k).

    Arrays are flat, of one float dtype.
    """
    m, n, k = shape
    items = -(-n // (8 if m == 1 else 2))
    workers = min(jit.workers(m * n * k * SECONDS), max(items, 1))
    bias = np.empty(0, c.dtype) if bias is None else bias
    by_rows()(workers, items if m else 0, a, b, c, bias, _header(m, n, k, 0, 0))


def times_columns(a: np.ndarray, b: np.ndarray, c: np.ndarray, shape: tuple[int, int, int], transposed: bool) -> None:
    """c (m, n) = a (m, k) b (k, n), for `shape` (m, n, k); `transposed`: a lies as (k, m)."""
    m, n, k = shape
    steps = (1, m) if transposed else (k, 1)
    if m > 4 and k >= FEW and b.nbytes <= SMALL and not simd.PLAIN:
        across = -(-n // (PANEL * TILE_VECTORS * simd.lanes(c.dtype)))
        items = -(-m // TILE_ROWS) * across
        workers = min(jit.workers(m * n * k * TILED_SECONDS), max(items, 1))
        _by_tiles(c.dtype)(workers, items, a, b, c, _zeros(c.dtype), _header(m, n, k, *steps, across, _tile(c.dtype)))
        return
    items = -(-m // 4) * -(-n // WIDTH)
    workers = min(jit.workers(m * n * k * SECONDS), max(items, 1))
    _by_columns(c.dtype)(workers, items, a, b, c, _header(m, n, k, *steps))
