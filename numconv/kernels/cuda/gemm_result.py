"""What becomes of a tile's sums: the epilogue in registers, the store, and the sum of partial sums.

Where there are too few tiles for all multiprocessors, blocks share a tile: each sums a part of the k's and stores it in
a copy of the result in workspace, and a second kernel adds the copies, in order, and applies the epilogue.
"""

from __future__ import annotations

from typing import Any

from numba import cuda
from numpy import float32, uint32, uint64

from numconv.kernels.cuda import epilogue, launch, ptx
from numconv.kernels.cuda.epilogue import Epilogue

THREADS = 256
# Loops over the sums with other activations are not unrolled, and read a copy of them in local memory, 256 bytes a
# thread: so the sums themselves stay in registers while they are summed up.
BRIEF = ("", "relu", "relu6", "leaky_relu")


@launch.function
def finished(after: Epilogue):
    """`finished(after)(sum, bias)` of a sum that holds the residual: what is stored."""
    activate = epilogue.activate(after.activation, after.parameter, "float32") if after.activation else None
    has_bias = after.bias

    def finish(total, bias):
        if has_bias:
            total = total + bias
        if activate is not None:
            total = activate(total)
        return total

    return finish


@launch.function
def store_tile(locate: Any, columns: int, column_stride: int, wide_stores: str, after: Epilogue, wide: bool):
    """`store_tile(...)(sums, row, column, rows, first, bias, residual, out, shift)`: the sums of a thread, finished.

    The element of a row and a column lies at locate(row) + (first + column) * column_stride + shift. 128-bit stores
    take four of the "columns" or of the "rows" that `wide_stores` names; then they, or all of the result, are
    multiples of 4.
    """
    index = uint64 if wide else uint32
    finish, has_bias, has_residual = finished(after), after.bias, after.residual

    def biases(column, first, bias, found):
        for j in range(8):
            here = uint32(column + (j if j < 4 else j + 28))
            found[j] = bias[uint32(first + here)] if has_bias and here < columns else float32(0)

    own = launch.inlined(biases)

    def one_by_one(sums, row, column, rows, first, bias, residual, out, shift):
        added = cuda.local.array(8, float32)
        own(column, first, bias, added)
        for i in range(8):
            here = uint32(row + (i if i < 4 else i + 12))
            if here < rows:
                start = index(locate(here) + shift)
                for j in range(8):
                    across = uint32(column + (j if j < 4 else j + 28))
                    if across < columns:
                        at = index(start + index(first + across) * index(column_stride))
                        total = sums[8 * i + j]
                        if has_residual:
                            total += residual[at]
                        out[at] = finish(total, added[j])

    def columns_by_four(sums, row, column, rows, first, bias, residual, out, shift):
        added = cuda.local.array(8, float32)
        own(column, first, bias, added)
        for i in range(8):
            here = uint32(row + (i if i < 4 else i + 12))
            if here < rows:
                start = index(locate(here) + shift)
                for j in range(0, 8, 4):
                    across = uint32(column + j * 8)
                    if across < columns:
                        at, k = index(start + index(first + across)), 8 * i + j
                        t0, t1, t2, t3 = sums[k], sums[k + 1], sums[k + 2], sums[k + 3]
                        if has_residual:
                            r0, r1, r2, r3 = ptx.load4(residual, at)
                            t0, t1, t2, t3 = t0 + r0, t1 + r1, t2 + r2, t3 + r3
                        t0, t1 = finish(t0, added[j]), finish(t1, added[j + 1])
                        t2, t3 = finish(t2, added[j + 2]), finish(t3, added[j + 3])
                        ptx.store4(out, at, (t0, t1, t2, t3))

    def rows_by_four(sums, row, column, rows, first, bias, residual, out, shift):
        added = cuda.local.array(8, float32)
        own(column, first, bias, added)
        for i in range(0, 8, 4):
            here = uint32(row + i * 4)
            if here < rows:
                start = index(locate(here) + shift)
                for j in range(8):
                    across = uint32(column + (j if j < 4 else j + 28))
                    if across < columns:
                        at, k = index(start + index(first + across) * index(column_stride)), 8 * i + j
                        t0, t1, t2, t3 = sums[k], sums[k + 8], sums[k + 16], sums[k + 24]
                        if has_residual:
                            r0, r1, r2, r3 = ptx.load4(residual, at)
                            t0, t1, t2, t3 = t0 + r0, t1 + r1, t2 + r2, t3 + r3
                        t0, t1 = finish(t0, added[j]), finish(t1, added[j])
                        t2, t3 = finish(t2, added[j]), finish(t3, added[j])
                        ptx.store4(out, at, (t0, t1, t2, t3))

    store = {"columns": columns_by_four, "rows": rows_by_four}.get(wide_stores, one_by_one)
    if after.activation in BRIEF:
        return store
    inner = launch.inlined(store)

    def from_memory(sums, row, column, rows, first, bias, residual, out, shift):
        kept = cuda.local.array(64, float32)
        for i in range(64):
            kept[i] = sums[i]
        inner(kept, row, column, rows, first, bias, residual, out, shift)

    return from_memory


@launch.kernel(threads=THREADS)
def add_partials(parts: int, channels: int, channel_stride: int, after: Epilogue):
    """out[i] = the epilogue of the sum over parts p of partial[p, i]; the channel is i // channel_stride % channels."""
    finish, has_bias, has_residual = finished(after), after.bias, after.residual

    def body(partial, bias, residual, out, size):
        i = uint64(cuda.grid(1))
        if i < size:
            total = partial[i]
            for part in range(1, parts):
                total += partial[uint64(i + uint64(part) * uint64(size))]
            if has_residual:
                total += residual[i]
            channel = uint32(uint64(i // uint64(channel_stride)) % uint64(channels))
            out[i] = finish(total, bias[channel] if has_bias else float32(0))

    inner = launch.inlined(body)

    def biased(partial, bias, out, size):
        inner(partial, bias, out, out, size)

    def joined(partial, residual, out, size):
        inner(partial, out, residual, out, size)

    def plain(partial, out, size):
        inner(partial, out, out, out, size)

    forms: Any = {(True, True): body, (True, False): biased, (False, True): joined, (False, False): plain}
    return forms[after[:2]]


def added(partial: Any, out: Any, parts: int, channels: int, channel_stride: int, after: Epilogue, given: list) -> None:
    """Launch `add_partials`; arrays are flat, and `given` are those of bias and residual that there are."""
    add_partials(parts, channels, channel_stride, after)(
        launch.blocks(out.size, THREADS), THREADS, partial, *given, out, out.size
    )
