"""Products of float32 matrices, for fully connected layers and for convolution by im2col.

    out[i, j] = activation(sum over k of  a[i, k] b[k, j]  + bias[j])

A block computes a tile of the result, the blocks of a row of tiles one after another, so that they find a's rows in
cache; a thread computes 8 x 8 numbers (`gemm_tile`). b may be given the other way round, as a layer's weight is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda
from numpy import float32, uint32, uint64

from numconv.kernels.cuda import epilogue, gemm_result, gemm_tile, launch, memory
from numconv.kernels.cuda.epilogue import Epilogue
from numconv.kernels.cuda.gemm_schedule import Schedule, pieces, schedule
from numconv.kernels.cuda.gemm_tile import DEPTH, SUMS, Loads, Tile
from numconv.kernels.cuda.memory import flat
from numconv.options import options
from numconv.problem import parse_activation


@launch.function
def fetch_matrix(loads: Loads, depth: int, row_stride: int, k_stride: int, wide: bool):
    """Of a matrix: `state` is the first load's row and k, and how many rows there are."""
    count, row_step, k_step, take = loads.times, loads.row_step, loads.k_step, gemm_tile.load(loads)
    index, whole = uint64 if wide else uint32, depth % DEPTH == 0

    def fetch(array, state, k, values):
        row0, k0, rows = state
        for i in range(count):
            row, term = uint32(row0 + i * row_step), uint32(k + k0 + i * k_step)
            at = index(index(row) * index(row_stride) + index(term) * index(k_stride))
            here = row < rows and (whole or term < depth)
            take(array, at, here, values, i)

    return fetch


def matrix_loads(rows: int, threads: int, row_stride: int, k_stride: int) -> Loads:
    """How a matrix is loaded: by fours along the axis on which neighbours lie, if that keeps to 16 bytes."""
    along, stride = ("k", row_stride) if k_stride == 1 else ("rows", k_stride)
    return Loads(along + ("4" if stride % 4 == 0 else ""), rows, threads)


@launch.kernel(threads=lambda tile, *rest: tile.bounds)
def multiply(tile: Tile, parts: int, slices: int, columns: int, depth: int, turned: bool, after: Epilogue, wide: bool):
    """`rows` rows of a; where there are parts, those are stored one after another, without the epilogue."""
    across, last = launch.blocks(columns, tile.columns), launch.blocks(depth, DEPTH)
    b_rows, b_terms = (depth, 1) if turned else (1, columns)
    a_loads = matrix_loads(tile.rows, tile.threads, depth, 1)
    b_loads = matrix_loads(tile.columns, tile.threads, b_rows, b_terms)
    fetch_a, fetch_b = fetch_matrix(a_loads, depth, depth, 1, wide), fetch_matrix(b_loads, depth, b_rows, b_terms, wide)
    a_place, b_place, place = (
        gemm_tile.first_load(a_loads),
        gemm_tile.first_load(b_loads),
        gemm_tile.first_result(tile),
    )
    sum_up = gemm_tile.pipeline(tile, a_loads, b_loads, fetch_a, fetch_b)
    index = uint64 if wide else uint32

    def locate(row):
        return index(index(row) * index(columns))

    store = gemm_result.store_tile(
        launch.inlined(locate), columns, 1, "" if columns % 4 else "columns", Epilogue() if parts > 1 else after, wide
    )

    def body(a, b, bias, residual, out, rows):
        sums = cuda.local.array(SUMS, float32)
        for i in range(SUMS):
            sums[i] = float32(0)
        block, part = uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.y)
        first_row, first_column = uint32(uint32(block // across) * tile.rows), uint32(block % across * tile.columns)
        (row, k), (column, b_k) = a_place(), b_place()
        of_a = uint32(first_row + row), k, uint32(rows)
        of_b = uint32(first_column + column), b_k, uint32(columns)
        if last:
            begin_at = uint32(part * slices) if parts > 1 else uint32(0)
            end = min(uint32(begin_at + slices), uint32(last)) if parts > 1 else uint32(last)
            sum_up(a, of_a, b, of_b, begin_at, end, sums)
        row, column = place()
        shift = index(index(part) * index(index(rows) * index(columns)))
        row, column = uint32(first_row + row), uint32(first_column + column)
        store(sums, row, column, uint32(rows), uint32(0), bias, residual, out, shift)

    return epilogue.entry(body, after if parts == 1 else Epilogue())


def product(a: Any, b: Any, out: Any, *, transpose_b: bool = False, bias: Any = None, activation: Any = None) -> None:
    """Write the product of two float32 matrices on the device.

    Parameters
    ----------
    a : device array
        Of shape (m, k).
    b : device array
        Of shape (k, n), or (n, k) with `transpose_b`.
    out : device array
        Of shape (m, n), contiguous, from a multiple of 16 bytes on.
    transpose_b : bool
    bias : device array, optional
        Of shape (n,), added to every row.
    activation : str or (str, float), optional
        As a convolution's.
    """
    (rows, depth), columns = a.shape, out.shape[1]
    if not out.size:
        return
    a, b, plan = memory.contiguous(a), memory.contiguous(b), planned(rows, columns, depth)
    name, parameter = parse_activation(activation) or ("", 0.0)
    after = Epilogue(bias is not None, False, name, parameter)
    target = memory.empty((plan.parts * out.size,), np.float32) if plan.parts > 1 else flat(out)
    launched(
        plan, flat(a), flat(b), None if bias is None else flat(bias), target, (rows, columns, depth), transpose_b, after
    )
    if plan.parts > 1:
        gemm_result.added(target, flat(out), plan.parts, columns, 1, after, [] if bias is None else [flat(bias)])


def planned(rows: int, columns: int, depth: int) -> Schedule:
    """How `product` computes a result of this shape."""
    moved = 4 * (rows * columns + rows * depth + columns * depth)
    return schedule(rows, columns, depth, 1, moved, options.workspace_limit, pieces(depth, "default"))


def launched(
    plan: Schedule, a: Any, b: Any, bias: Any, out: Any, shape: tuple[int, int, int], turned: bool, after: Epilogue
) -> None:
    """Launch `multiply` for flat arrays; `shape` is (rows, columns, depth)."""
    rows, columns, depth = shape
    wide = max(rows * columns * plan.parts, rows * depth, columns * depth) >= 1 << 31
    kernel = multiply(plan.tile, plan.parts, plan.slices, columns, depth, turned, after, wide)
    tiles = launch.blocks(rows, plan.tile.rows) * launch.blocks(columns, plan.tile.columns)
    given = epilogue.given(bias, None) if plan.parts == 1 else []
    kernel((tiles, plan.parts), plan.tile.threads, a, b, *given, out, rows)
