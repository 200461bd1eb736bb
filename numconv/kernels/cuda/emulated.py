"""What the intrinsics of `ptx` do, in Python, for the simulator. Wide accesses that are not aligned are errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.kernels.cuda.running import this

WARP = 32
# What a whole warp does together, by name: the simulator must run its threads as threads.
COLLECTIVE = ("load_matrices", "multiply_add", "together")


def half_to_float(bits: Any) -> np.float32:
    return np.float32(np.uint16(bits).view(np.float16))


def float_to_half(value: Any) -> np.uint16:
    return np.float16(value).view(np.uint16)


def bfloat_to_float(bits: Any) -> np.float32:
    return (np.uint32(bits) << np.uint32(16)).view(np.float32)


def float_to_bfloat(value: Any) -> np.uint16:
    bits = np.float32(value).view(np.uint32)
    if np.isnan(value):
        return np.uint16(0x7FFF)
    rounded = int(bits) + 0x7FFF + (int(bits) >> 16 & 1)  # to nearest, ties to even
    return np.uint16(rounded >> 16 & 0xFFFF)


def _aligned(array: Any, index: Any, count: int) -> slice:
    if index % count:
        raise IndexError(f"an access of {count} elements at index {index}, which is no multiple of it")
    if index < 0 or index + count > array.size:
        raise IndexError(f"an access of {count} elements at index {index} of {array.size}")
    return slice(int(index), int(index) + count)


def load4(array: Any, index: Any) -> tuple[Any, ...]:
    return tuple(array.array[_aligned(array, index, 4)])


def store4(array: Any, index: Any, values: Any) -> None:
    array.array[_aligned(array, index, 4)] = values


def products(depth: int, a_row: int, b_row: int) -> Any:
    """Of `gemm_tile`: a thread's products of a slice, added up in float64."""
    place = np.array((0, 1, 2, 3, 16, 17, 18, 19)), np.array((0, 1, 2, 3, 32, 33, 34, 35))
    from_a, from_b = (row * np.arange(depth)[:, None] + at for row, at in zip((a_row, b_row), place))

    def multiply(a: Any, b: Any, i: Any, j: Any, sums: Any) -> None:
        left, right = (v.array[at + start].astype(np.float64) for v, at, start in ((a, from_a, i), (b, from_b, j)))
        sums.array[:] += (left.T @ right).reshape(-1)

    return multiply


def load4_bits(array: Any, index: Any) -> tuple[Any, ...]:
    return load4(array, index)


def store4_bits(array: Any, index: Any, values: Any) -> None:
    store4(array, index, values)


def together(name: str, given: Any, work: Callable[[list[Any]], list[Any]]) -> Any:
    """What `work`, of what each of the 32 lanes gives, has for this one. All must come here, to the same thing."""
    thread = this()
    number, lane = thread.meetings, thread.thread_id % WARP
    thread.meetings += 1
    kind, all_given, results = thread.met.setdefault(number, (name, {}, []))
    if kind != name:
        raise RuntimeError(f"one lane of a warp comes to {name} where another is at {kind}")
    all_given[lane] = given
    thread.wait("warp")
    if not results:
        if len(all_given) != WARP:
            raise RuntimeError(f"{len(all_given)} lanes of a warp come to {name}, which takes {WARP}")
        results.extend(work([all_given[i] for i in range(WARP)]))
    if lane == WARP - 1:
        del thread.met[number]
    return results[lane]


def _bytes(array: Any) -> np.ndarray:
    return array.array.view(np.uint8)


def _sixteen(array: Any, index: Any) -> slice:
    """Where 16 bytes of an array lie."""
    taken = _aligned(array, index, 16 // array.dtype.itemsize)
    return slice(taken.start * array.dtype.itemsize, taken.stop * array.dtype.itemsize)


def load_matrices(count: int, transposed: bool) -> Any:
    def load(fragments: Any, at: Any, shared: Any, index: Any) -> None:
        def work(indices: list[Any]) -> list[Any]:
            rows = np.stack([_bytes(shared)[_sixteen(shared, i)].view(np.uint16) for i in indices[: 8 * count]])
            matrices = rows.reshape(count, 8, 8)
            if transposed:
                matrices = matrices.swapaxes(1, 2)
            pairs = np.ascontiguousarray(matrices).view(np.uint32)  # of neighbours in a row
            return [pairs[:, lane // 4, lane % 4] for lane in range(WARP)]

        fragments.array[int(at) : int(at) + count] = together("load_matrices", index, work)

    return load


def _numbers(registers: np.ndarray, dtype: str) -> np.ndarray:
    """32-bit registers, along the last axis, as the numbers that they hold."""
    registers = np.ascontiguousarray(registers)
    if dtype == "float16":
        return registers.view(np.float16).astype(np.float64)
    if dtype == "bfloat16":
        return (registers.view(np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if np.any(registers & 0x1FFF):
        raise ValueError("multiply_add of float32 that was not rounded by to_tf32")
    return registers.view(np.float32).astype(np.float64)


def multiply_add(dtype: str, rows: int, columns: int) -> Any:
    def work(given: list[Any]) -> list[Any]:
        # Lane 4 g + t has, in the order of registers: of a, rows g and g + 8 of its first 16 bytes at t, then of the
        # other 16 bytes; of b, column g at t of the first 16 bytes, then of the others; of the sums, rows g and g + 8.
        a = np.array([a for _, a, _ in given]).reshape(8, 4, rows, 2, 2)  # g, t, tile, half of k, half of rows
        b = np.array([b for _, _, b in given]).reshape(8, 4, columns, 2)
        sums = np.array([sums for sums, _, _ in given]).reshape(8, 4, rows, columns, 2, 2)
        left = _numbers(a.transpose(2, 4, 0, 3, 1), dtype).reshape(16 * rows, -1)
        right = _numbers(b.transpose(2, 0, 3, 1), dtype).reshape(8 * columns, -1)
        product = (left @ right.T).reshape(rows, 2, 8, columns, 4, 2).transpose(2, 4, 0, 3, 1, 5)
        return list((sums + product).astype(np.float32).reshape(WARP, -1))

    def multiply(sums: Any, a: Any, at_a: Any, b: Any, at_b: Any) -> None:
        a_part, b_part = (x.array[int(at) : int(at) + n] for x, at, n in ((a, at_a, 4 * rows), (b, at_b, 2 * columns)))
        given = sums.array[: 4 * rows * columns].copy(), a_part.copy(), b_part.copy()
        sums.array[: 4 * rows * columns] = together("multiply_add", given, work)

    return multiply


def round_tf32(value: Any) -> np.float32:
    bits = np.float32(value).view(np.uint32)
    if not np.isfinite(value):
        return np.float32(value)
    return (bits + np.uint32(0x1000) & np.uint32(0xFFFFE000)).view(np.float32)  # ties away from zero


def to_tf32(count: int) -> Any:
    def convert(fragments: Any, at: Any) -> None:
        for i in range(int(at), int(at) + count):
            fragments.array[i] = round_tf32(fragments.array[i].view(np.float32)).view(np.uint32)

    return convert


def store_tiles(columns: int) -> Any:
    def store(shared: Any, index: Any, pitch: Any, sums: Any, at: Any) -> None:
        lane = this().thread_id % WARP
        for tile in range(columns):
            for half in range(2):
                place = int(index) + (lane // 4 + 8 * half) * int(pitch) + 8 * tile + 2 * (lane % 4)
                first = int(at) + 4 * tile + 2 * half
                shared.array[_aligned(shared, place, 2)] = sums.array[first : first + 2]

    return store


def copy16(shared: Any, index: Any, source: Any, at: Any, size: Any) -> None:
    target, there = _bytes(shared)[_sixteen(shared, index)], _sixteen(source, at)
    if size not in (0, 16):
        raise ValueError(f"copy16 takes 0 or 16 bytes, got {size}")

    def land() -> None:
        target[:] = _bytes(source)[there] if size else 0

    target[:] = 0xFF  # nobody may count on what lies there from here on
    this().pending[-1].append(land)


def commit_copies() -> None:
    this().pending.append([])


def wait_copies(most: int) -> Any:
    def wait() -> None:
        pending = this().pending
        while len(pending) - 1 > most:
            for land in pending.pop(0):
                land()

    return wait
