"""The machine's ceilings, measured, and the least time that they allow a convolution: the roofline model.

    seconds >= max(operations / FMA ceiling, bytes / bandwidth)

Source: Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52(4), 2009; the triad is McCalpin's STREAM (1995). Operations are those of
the direct method, so that algorithms that do fewer (Winograd, FFT, separable factors) may pass the FMA ceiling.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu.memory import aligned
from numconv.lab.timing import fastest
from numconv.measured import MACHINE, cpu_name, entries, keep
from numconv.options import get_num_threads
from numconv.problem import accumulator_dtype

DTYPES, BANDWIDTHS = ("float32", "float64"), ("memory", "read", "cached")
# Steps of a tile whose operands stay in 32 KiB of first-level cache, and tiles a call: about a millisecond.
STEPS, TILES = 96, 2000
# Of memory: what three arrays take together. Below the least, timers and launches count; the most is a courtesy.
LEAST, MOST = 96 << 20, 1 << 30


@jit.kernel
def multiply_add(rows, vectors, dtype):
    """The register tile on panels in first-level cache, `panels(...)` numbers for each worker."""
    tile, width = simd.tile(rows, vectors, 1, rows), vectors * simd.lanes(dtype)
    own = panel_size(rows, width)

    def body(start, stop, worker, panels):
        a = worker * own
        b = a + STEPS * rows
        for _ in range(start, stop):
            tile(panels, a, panels, b, panels, b + STEPS * width, STEPS)

    return body


@jit.kernel
def triad():
    """a = b + 3 c: two numbers read and one written."""

    def body(start, stop, worker, a, b, c):
        target, left, right = a[start:stop], b[start:stop], c[start:stop]
        for i in range(len(target)):
            target[i] = left[i] + np.float32(3) * right[i]

    return body


@jit.kernel
def total():
    """The sum of all numbers: one read."""

    def body(start, stop, worker, a, sums):
        part, result = a[start:stop], np.float32(0)
        for i in range(len(part)):
            result += part[i]
        sums[worker * 16] += result  # a worker is called for several parts

    return body


def panel_size(rows: int, width: int) -> int:
    """Numbers of a worker's operands and sums, in whole kilobytes."""
    return -(-(STEPS * (rows + width) + rows * width) // 1024) * 1024


@dataclass(frozen=True)
class Ceilings:
    """What so many threads reach.

    Attributes
    ----------
    threads : int
    fma : dict
        GFLOP/s of fused multiply-adds, two operations each, for each dtype.
    memory : float
        GB/s of the triad on arrays larger than the last-level cache: two reads, one write. The line that a write
        fetches first is not counted, as it is not in a convolution's bytes.
    read : float
        GB/s of a sum over such arrays.
    cached : float
        GB/s of the triad on arrays that together take a quarter of the last-level cache.
    """

    threads: int
    fma: dict[str, float]
    memory: float
    read: float
    cached: float


@dataclass(frozen=True)
class Floor:
    """The least seconds of a problem, and what sets them: "FMA", "memory" or "cache"."""

    seconds: float
    by: str


def floor(problem: Any, ceilings: Ceilings) -> Floor:
    """The least seconds that the ceilings allow a problem whose calls follow each other.

    Its arrays then come from the last-level cache where they take at most half of it, else from memory.
    """
    resident = problem.bytes <= last_level_cache() // 2
    compute = problem.flops / ceilings.fma[accumulator_dtype(problem.dtype).name]
    moving = problem.bytes / (ceilings.cached if resident else ceilings.memory)
    by = "FMA" if compute >= moving else "cache" if resident else "memory"
    return Floor(max(compute, moving) / 1e9, by)


class Meter:
    """Measures the ceilings of one thread and of all: each round asks for each figure in turn, and the best count.

    Rounds between the timings of layers meet the same machine as those: its clock and what else runs on it change.
    """

    def __init__(self) -> None:
        array = aligned(min(max(4 * last_level_cache(), LEAST), MOST) // 4, np.float32)
        array[...] = 1
        self._threads = 1, get_num_threads()
        self._ways = [way for n in dict.fromkeys(self._threads) for way in _ways(n, array)]
        self._best: dict[tuple[str, int], float] = {}
        for way in self._ways:
            way.call()  # compiles
        self.round(0.05)

    def round(self, budget: float) -> None:
        """Spend `budget` seconds on each figure."""
        for name, n, amount, call in self._ways:
            self._best[name, n] = max(self._best.get((name, n), 0), amount / fastest(call, budget) / 1e9)

    def ceilings(self) -> tuple[Ceilings, Ceilings]:
        """The best of all rounds: of one thread, of at most all."""

        def best(name: str, most: int) -> float:
            return max(self._best[name, n] for n in self._threads if n <= most)

        one, every = (
            Ceilings(n, {dtype: best(dtype, n) for dtype in DTYPES}, *(best(name, n) for name in BANDWIDTHS))
            for n in self._threads
        )
        return one, every


class _Way(NamedTuple):
    """A figure's name, the threads that work on it, the operations or bytes of a call, and the call."""

    name: str
    workers: int
    amount: float
    call: Callable[[], None]


def _ways(workers: int, array: np.ndarray) -> Iterator[_Way]:
    """Every figure, those of the tile in several forms."""
    for dtype in DTYPES:
        yield from multiply_add_ways(workers, dtype)
    yield _triad_way("memory", workers, array)
    yield _triad_way("cached", workers, array[: last_level_cache() // 16])
    sums = np.zeros(16 * workers, np.float32)
    yield _Way("read", workers, array.nbytes, lambda: total()(workers, array.size, array, sums))


def multiply_add_ways(workers: int, dtype: str) -> list[_Way]:
    """The register tile in several forms."""
    registers = 32 if simd.vector_bits() == 512 else 16
    return [_tile_way(workers, (registers - vectors - 1) // vectors, vectors, dtype) for vectors in (2, 3)]


def _tile_way(workers: int, rows: int, vectors: int, dtype: str) -> _Way:
    width = vectors * simd.lanes(dtype)
    panels = aligned(workers * panel_size(rows, width), dtype)
    panels[...] = np.random.default_rng(0).standard_normal(panels.size)
    kernel, items = multiply_add(rows, vectors, dtype), workers * TILES
    return _Way(dtype, workers, 2.0 * rows * width * STEPS * items, lambda: kernel(workers, items, panels))


def _triad_way(name: str, workers: int, array: np.ndarray) -> _Way:
    count = array.size // 3
    arrays = [array[k * count : (k + 1) * count] for k in range(3)]
    return _Way(name, workers, 12.0 * count, lambda: triad()(workers, count, *arrays))


def last_level_cache() -> int:
    """Bytes of the largest cache that one core reaches; 32 MiB where the system does not say."""
    sizes = [32 << 10]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text("utf-8").strip()
        sizes.append(int(text.rstrip("KM")) << (20 if text.endswith("M") else 10))
    return max(sizes) if len(sizes) > 1 else 32 << 20


@functools.cache
def ceilings(threads: int) -> Ceilings:
    """What so many threads reach: as `numconv bench --roofline` kept it; where it did not, measured in a second."""
    kept: Any = entries(MACHINE).get(cpu_name())
    try:
        one, every = (_kept(kept, suffix, n) for suffix, n in (("1", 1), ("all", int(kept["threads"]))))
    except (KeyError, TypeError, ValueError):
        meter = Meter()
        meter.round(0.05)  # another moment of the machine
        one, every = meter.ceilings()
    if threads == 1:
        return one
    if threads >= every.threads:
        return every

    def scaled(single: float, most: float) -> float:
        return min(threads * single, most)

    fma = {dtype: scaled(one.fma[dtype], every.fma[dtype]) for dtype in one.fma}
    return Ceilings(threads, fma, *(scaled(getattr(one, name), getattr(every, name)) for name in BANDWIDTHS))


def _kept(entry: dict[str, Any], suffix: str, threads: int) -> Ceilings:
    fma = {"float32": float(entry[f"fma_{suffix}"]), "float64": float(entry[f"fma_float64_{suffix}"])}
    return Ceilings(threads, fma, *(float(entry[f"{name}_{suffix}"]) for name in ("bandwidth", "read", "cached")))


def store(one: Ceilings, every: Ceilings) -> str:
    """Keep the ceilings for `nc.explain` and later processes; what prevented it, if anything did."""
    entry: dict[str, float] = {"threads": every.threads}
    for ceilings, suffix in ((one, "1"), (every, "all")):
        entry |= {
            f"fma_{suffix}": ceilings.fma["float32"],
            f"fma_float64_{suffix}": ceilings.fma["float64"],
            f"bandwidth_{suffix}": ceilings.memory,
            f"read_{suffix}": ceilings.read,
            f"cached_{suffix}": ceilings.cached,
        }
    return keep(MACHINE, {cpu_name(): {key: round(value, 2) for key, value in entry.items()}})
