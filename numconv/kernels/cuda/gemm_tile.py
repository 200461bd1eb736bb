"""The tile that matrix products are made of: what the threads of a block do from loads to sums.

    sums[i, j] += sum over k of  a[row + i, k] b[k, column + j]          8 x 8 sums a thread, `DEPTH` k's a slice

A block computes `rows` x `columns` results. Slices of both operands lie in shared memory, k by k, twice: while one is
multiplied the next is on its way through registers, so that one barrier a slice is enough.

A warp has 32 x 64 of the results, 4 x 8 threads that have 2 x 2 blocks of 4 x 4 each. So a thread reads its 8 + 8
numbers of a k with four 128-bit loads for 64 multiply-adds, and eight threads' loads of b are 128 bytes side by side,
which are all banks once. The arrangement is that of CUTLASS's SIMT products and of Maxwell's SGEMM (MaxAs).

What an operand is, only its `fetch` knows: a device function `fetch(array, state, k, values)` that loads a thread's
numbers of the slice that starts at k (see `Loads`), and zero for those that are not there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import cuda
from numpy import float32, int64, uint32, uint64

from numconv.kernels.cuda import emulated, launch, ptx

DEPTH = 8
PAD = 4  # numbers after each k of a slice: k and k + 4 are 16 banks apart, so that storing across is free of conflicts
SUMS = 64  # of a thread


class Tile(NamedTuple):
    """Results of a block: a multiple of 32 by a multiple of 64."""

    rows: int
    columns: int

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.rows * self.columns // SUMS

    @property
    def bounds(self) -> tuple[int, int]:
        """Threads of a block and blocks of a multiprocessor.

        512 threads leave each 128 registers. Of smaller tiles a thread has 12 or 16 numbers of the next slice under
        way, not 8, and spilled some of them: 384 threads have 168.
        """
        return self.threads, (512 if self.threads == 256 else 384) // self.threads


LARGE, NARROW, WIDE, SMALL = Tile(128, 128), Tile(128, 64), Tile(64, 128), Tile(64, 64)


class Loads(NamedTuple):
    """Which numbers of a slice each thread loads: `times` times one or four, `row_step` rows or `k_step` k's apart.

    Named for what is next to each other in memory: "k4" and "rows4" are 128-bit loads along k and along rows; of "k"
    and "rows" neighbouring threads load neighbours.
    """

    kind: str
    rows: int
    threads: int

    @property
    def width(self) -> int:
        """Numbers of a load."""
        return 4 if self.kind.endswith("4") else 1

    @property
    def times(self) -> int:
        """Loads of a thread."""
        return self.rows * DEPTH // self.threads // self.width

    @property
    def row_step(self) -> int:
        return {"k4": self.threads // 2, "k": self.threads // DEPTH}.get(self.kind, 0)

    @property
    def k_step(self) -> int:
        return {"rows4": self.threads * 4 // self.rows, "rows": self.threads // self.rows}.get(self.kind, 0)


@launch.function
def first_load(loads: Loads):
    """`first_load(loads)()`: row and k of a thread's first load."""
    along_k = DEPTH // loads.width if loads.kind in ("k4", "k") else 0
    along_rows, width = loads.rows // loads.width, loads.width

    def of_k():
        thread = uint32(cuda.threadIdx.x)
        return uint32(thread // along_k), uint32(thread % along_k * width)

    def of_rows():
        thread = uint32(cuda.threadIdx.x)
        return uint32(thread % along_rows * width), uint32(thread // along_rows)

    return of_k if along_k else of_rows


@launch.function
def load(loads: Loads):
    """`load(loads)(array, at, here, values, i)`: a thread's load number i, zero where that is not there."""

    def four(array, at, here, values, i):
        v0 = v1 = v2 = v3 = float32(0)
        if here:
            v0, v1, v2, v3 = ptx.load4(array, at)
        values[4 * i], values[4 * i + 1], values[4 * i + 2], values[4 * i + 3] = v0, v1, v2, v3

    def one(array, at, here, values, i):
        values[i] = array[at] if here else float32(0)

    return four if loads.width == 4 else one


@launch.function
def stored(loads: Loads):
    """`stored(loads)(values, shared, at)`: a thread's loads into a slice; the first one's place is `at`."""
    row, count = loads.rows + PAD, loads.times
    step = loads.row_step + loads.k_step * row

    def one(values, shared, at):
        for i in range(count):
            shared[at + uint64(i * step)] = values[i]

    def along_rows(values, shared, at):
        for i in range(count):
            four = values[4 * i], values[4 * i + 1], values[4 * i + 2], values[4 * i + 3]
            ptx.store4(shared, at + uint64(i * step), four)

    def along_k(values, shared, at):
        for i in range(count):
            for k in range(4):
                shared[at + uint64(i * step + k * row)] = values[4 * i + k]

    return {"k4": along_k, "rows4": along_rows}.get(loads.kind, one)


@launch.function
def first_result(tile: Tile):
    """`first_result(tile)()`: row and column of a thread's first sum; see `rows_from` for the others."""
    across = tile.columns // 64

    def of_thread():
        thread = uint32(cuda.threadIdx.x)
        lane, warp = uint32(thread % 32), uint32(thread // 32)
        row = uint32(uint32(warp // across) * 32 + uint32(lane // 8) * 4)
        return row, uint32(uint32(warp % across) * 64 + uint32(lane % 8) * 4)

    return of_thread


@launch.function
def outer():
    """`outer()(sums, a0, a1, b0, b1)`: sums[i, j] += a[i] b[j] of 8 and 8 numbers, each given as two tuples."""

    def product(sums, a0, a1, b0, b1):
        a, b = cuda.local.array(8, float32), cuda.local.array(8, float32)
        a[0], a[1], a[2], a[3] = a0
        a[4], a[5], a[6], a[7] = a1
        b[0], b[1], b[2], b[3] = b0
        b[4], b[5], b[6], b[7] = b1
        for i in range(8):
            for j in range(8):
                sums[i * 8 + j] = cuda.fma(a[i], b[j], sums[i * 8 + j])

    return product


@launch.function
def products(depth: int, tile: Tile):
    """`products(depth, tile)(a, b, at_a, at_b, sums)`: add those of so many k's, a power of two.

    Halves of halves: a loop of 8 times 64 products is one that the compiler leaves a loop.
    """
    if depth == 1:
        product = outer()

        def one(a, b, i, j, sums):
            product(sums, ptx.load4(a, i), ptx.load4(a, i + 16), ptx.load4(b, j), ptx.load4(b, j + 32))

        return one
    half = depth // 2
    a_half, b_half, of_half = half * (tile.rows + PAD), half * (tile.columns + PAD), products(half, tile)

    def both(a, b, i, j, sums):
        of_half(a, b, i, j, sums)
        of_half(a, b, i + a_half, j + b_half, sums)

    return both


@launch.function
def pipeline(tile: Tile, a_loads: Loads, b_loads: Loads, fetch_a: Any, fetch_b: Any):
    """`pipeline(...)(x, of_x, y, of_y, first, last, sums)`: add the products of slices `first` to `last`."""
    a_row, b_row = tile.rows + PAD, tile.columns + PAD
    a_slice, b_slice = DEPTH * a_row, DEPTH * b_row
    a_size, b_size = 2 * a_slice, 2 * b_slice
    a_numbers, b_numbers = a_loads.times * a_loads.width, b_loads.times * b_loads.width
    a_place, b_place, place = first_load(a_loads), first_load(b_loads), first_result(tile)
    a_stored, b_stored = stored(a_loads), stored(b_loads)
    # Python takes milliseconds for what NumPy does in ten microseconds.
    multiply = emulated.products(DEPTH, a_row, b_row) if launch.simulated else products(DEPTH, tile)

    def run(x, of_x, y, of_y, first, last, sums):
        a = cuda.shared.array(a_size, float32, alignment=16)
        b = cuda.shared.array(b_size, float32, alignment=16)
        a_values = cuda.local.array(a_numbers, float32)
        b_values = cuda.local.array(b_numbers, float32)
        (row, k), (column, b_k) = a_place(), b_place()
        to_a, to_b = uint32(k * a_row + row), uint32(b_k * b_row + column)
        from_a, from_b = place()
        k, end, half = uint32(first * DEPTH), uint32(last * DEPTH), uint32(0)
        fetch_a(x, of_x, k, a_values)
        fetch_b(y, of_y, k, b_values)
        a_stored(a_values, a, uint64(to_a))
        b_stored(b_values, b, uint64(to_b))
        cuda.syncthreads()
        while k < end:
            k = uint32(k + DEPTH)
            if k < end:
                fetch_a(x, of_x, k, a_values)
                fetch_b(y, of_y, k, b_values)
            multiply(a, b, int64(uint32(from_a + half * a_slice)), int64(uint32(from_b + half * b_slice)), sums)
            half = uint32(1 - half)
            if k < end:
                a_stored(a_values, a, uint64(uint32(to_a + half * a_slice)))
                b_stored(b_values, b, uint64(uint32(to_b + half * b_slice)))
            cuda.syncthreads()

    return run
