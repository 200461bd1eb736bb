"""Elements moved by their indices: the gradient of max pooling, unpooling, and the gradient of unpooling.

    add      plane[index[o]] += values[o]      gradient of max pooling; index -1 stands for no position
    put      plane[index[o]]  = values[o]      unpooling; of equal indices the last wins
    take     values[o] = plane[index[o]]       gradient of unpooling

Loop order: images and blocks of channels (the parallel item), positions in order, channels of the block. A plane
belongs to one item, which fills it with zeros first: no two threads write to it and its sums have one order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu.memory import element_strides, flat, half_kind
from numconv.kernels.cpu.pooling import Arrays, PoolAlgorithm, pieces
from numconv.problem import HALF, LAST, PoolProblem

CHANNELS = 32  # of a block, where they lie next to each other
# Header: channels, blocks, sizes, then strides and offset of the values, the indices, the plane.
C, BLOCK, BLOCKS, D, H, W = range(6)
V_N, V_C, V_D, V_H, V_W, V_0 = range(6, 12)
I_N, I_C, I_D, I_H, I_W, I_0 = range(12, 18)
P_N, P_C, P_S, SIZE = range(18, 22)


@jit.function
def move(half, how):
    """A function that moves one element."""
    load = simd.load(half)

    def add(values, v, plane, p):
        plane[p] += load(values, v)

    def put(values, v, plane, p):
        plane[p] = values[v]

    def take(values, v, plane, p):
        values[v] = plane[p]

    return {"add": add, "put": put, "take": take}[how]


@jit.kernel
def moved(half, how):
    """The kernel."""
    go, begins, allowed = move(half, how), how != "take", how == "add"

    def body(start, stop, worker, values, indices, plane, outside, header):
        size, zero = np.uint64(header[SIZE]), plane.dtype.type(0)
        width, v_w, v_c, i_w, i_c = header[W], header[V_W], header[V_C], header[I_W], header[I_C]
        p_c, p_s = header[P_C], header[P_S]
        for item in range(start, stop):
            n, block = divmod(item, header[BLOCKS])
            c = block * header[BLOCK]
            channels = min(header[BLOCK], header[C] - c)
            here = n * header[P_N] + c * p_c
            if begins:
                together = p_s == channels
                for s in range(1 if together else header[SIZE]):
                    for j in range(header[SIZE] * channels if together else channels):
                        plane[np.uint64(here + s * p_s + j)] = zero
            for d in range(header[D]):
                for h in range(header[H]):
                    v = header[V_0] + n * header[V_N] + c * v_c + d * header[V_D] + h * header[V_H]
                    i = header[I_0] + n * header[I_N] + c * i_c + d * header[I_D] + h * header[I_H]
                    # One loop along the row, or along the channels.
                    rows, length, v_row, i_row = (width, channels, v_w, i_w) if channels > 1 else (1, width, 0, 0)
                    v_next, i_next, p_next = (v_c, i_c, p_c) if channels > 1 else (v_w, i_w, 0)
                    if v_next == 1 and i_next == 1 and p_next == 0 and p_s == 1:  # 25 us in place of 31, too
                        first_v, first_i, first_p = np.uint64(v), np.uint64(i), np.uint64(here)
                        for j in range(np.uint64(length)):
                            index = indices[first_i + j]
                            if index < size:
                                go(values, first_v + j, plane, first_p + index)
                            elif not allowed or ~index != 0:
                                outside[0] = 1
                        continue
                    for w in range(rows):
                        for j in range(length):
                            index = indices[np.uint64(i + w * i_row + j * i_next)]
                            if index < size:
                                at = np.uint64(here + j * p_next) + index * np.uint64(p_s)
                                go(values, np.uint64(v + w * v_row + j * v_next), plane, at)
                            elif not allowed or ~index != 0:
                                outside[0] = 1

    return body


def _launch(
    how: str, problem: PoolProblem, values: np.ndarray, indices: np.ndarray, plane: np.ndarray, outside: np.ndarray
) -> None:
    """Run the kernel; the positions of `plane` are at one stride."""
    last = problem.layout == LAST
    block = CHANNELS if last else 1
    blocks = -(-problem.channels // block)
    sizes = (*(1,) * (3 - problem.ndim), *problem.out_spatial)
    if not last and values.flags.c_contiguous and indices.flags.c_contiguous:  # rows of 14: 31 us in place of 43
        sizes = 1, 1, math.prod(sizes)
    header: list[Any] = [problem.channels, block, blocks, *sizes]
    windows = []
    for array in (values, _bits(indices)):
        window, offset = flat(array)
        n, *rest = element_strides(array)
        c, spatial = (rest[-1], rest[:-1]) if last else (rest[0], rest[1:])
        header += [n, c, *(0,) * (3 - problem.ndim), *spatial, offset]
        windows.append(window)
    size = math.prod(problem.spatial)
    header += [size * problem.channels, *((1, problem.channels) if last else (size, 1)), size]
    kernel = moved(half_kind(values.dtype) if how == "add" else 0, how)
    workers = jit.workers(2e-9 * values.size)
    kernel(workers, problem.n * blocks, *windows, plane.reshape(-1), outside, np.array(header, np.int64))


def _bits(array: np.ndarray) -> np.ndarray:
    """The array as unsigned integers: what is moved unchanged needs one kernel a width, not one a type."""
    return array.view(f"u{array.dtype.itemsize}")


class _Moved(PoolAlgorithm):
    name = "direct"
    replays = True

    def cost(self, problem: PoolProblem) -> float:
        return 2e-9 * problem.n * problem.channels * math.prod(problem.out_spatial)


class MaxGradient(_Moved):
    """Every element of the gradient goes where its maximum came from; half types are summed in float32."""

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        (indices, grad_output), (out, outside) = inputs, outputs
        if problem.dtype.name not in HALF:
            _launch("add", problem, grad_output, indices, out, outside)
            return
        for piece, cut in pieces(problem, 4 * math.prod(problem.spatial)):
            sums = np.empty(piece.input_shape, np.float32)
            _launch("add", piece, cut(grad_output), cut(indices), sums, outside)
            cut(out)[...] = sums


class Unpool(_Moved):
    """Every element goes to its index."""

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        _launch("put", problem, _bits(inputs[0]), inputs[1], _bits(outputs[0]), outputs[1])


class UnpoolGradient(_Moved):
    """Every element is read at its index."""

    def run(self, problem: PoolProblem, inputs: Arrays, outputs: Arrays) -> None:  # type: ignore[override]
        _launch("take", problem, _bits(outputs[0]), inputs[0], _bits(np.ascontiguousarray(inputs[1])), outputs[1])
