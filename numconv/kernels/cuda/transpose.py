"""Transposing a batch of matrices: what a change between channels first and last is.

    out[batch, column, row] = x[batch, row, column]

A block moves a tile of 32 x 32 by way of shared memory, so that it reads along rows and writes along columns, whole
sectors both times; a row of the tile has 33 elements, so that its columns lie in different banks. Four elements a
thread. The idea is that of "An Efficient Matrix Transpose in CUDA C/C++" (Harris 2013).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numba import cuda
from numpy import int64, uint32, uint64

from numconv.kernels.cuda import launch

TILE, ROWS = 32, 8  # elements of a tile's side, rows of threads
NARROWEST = 8  # of fewer rows or columns most of a tile would be empty. Estimate, not measured


class Matrices(NamedTuple):
    """The shape of a batch, and the strides that are not 1: of rows in `x`, of columns in `out`."""

    rows: int
    columns: int
    x_pitch: int
    out_pitch: int
    x_batch: int
    out_batch: int


def matrices(axes: list[tuple[int, int, int]]) -> tuple[int, Matrices] | None:
    """(count, shape) of the batch that is to be transposed, of (size, stride in x, stride in out) for each axis.

    None where it is something else, or the matrices are narrow.
    """
    columns = [axis for axis in axes if axis[1] == 1 and axis[0] >= NARROWEST]
    rows = [axis for axis in axes if axis[2] == 1 and axis[0] >= NARROWEST]
    others = [axis for axis in axes if axis not in columns + rows]
    if len(columns) != 1 or len(rows) != 1 or columns == rows or len(others) > 1 or min(min(a) for a in axes) < 1:
        return None
    (across,), (down,) = columns, rows
    count, x_batch, out_batch = others[0] if others else (1, 0, 0)
    return count, Matrices(down[0], across[0], down[1], across[2], x_batch, out_batch)


@launch.kernel(threads=TILE * ROWS)
def transpose(given: Matrices, dtype: str) -> Any:
    """A tile a block; the grid is that of `run`."""
    rows, columns, x_pitch, out_pitch, x_batch, out_batch = given
    across, down = launch.blocks(columns, TILE), launch.blocks(rows, TILE)
    pitch, size, kind = TILE + 1, TILE * (TILE + 1), numba.from_dtype(np.dtype(dtype))

    def body(x, out):
        tile = cuda.shared.array(size, kind)
        block, t, s = uint32(cuda.blockIdx.x), int64(cuda.threadIdx.x), int64(cuda.threadIdx.y)
        left, above = int64(block % uint32(across)) * TILE, uint32(block // uint32(across))
        top, batch = int64(above % uint32(down)) * TILE, int64(above // uint32(down))
        at = batch * x_batch + (top + s) * x_pitch + left + t
        for r in range(0, TILE, ROWS):
            if top + s + r < rows and left + t < columns:
                tile[uint64((s + r) * pitch + t)] = x[uint64(at + r * x_pitch)]
        cuda.syncthreads()
        to = batch * out_batch + (left + s) * out_pitch + top + t
        for r in range(0, TILE, ROWS):
            if left + s + r < columns and top + t < rows:
                out[uint64(to + r * out_pitch)] = tile[uint64(t * pitch + s + r)]

    return body


def run(count: int, given: Matrices, x: Any, out: Any) -> None:
    """Transpose flat arrays of one dtype."""
    tiles = count * launch.blocks(given.rows, TILE) * launch.blocks(given.columns, TILE)
    transpose(given, x.dtype.name)(tiles, (TILE, ROWS), x, out)
