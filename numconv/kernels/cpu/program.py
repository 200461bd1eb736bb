"""Programs: launches whose arrays are known beforehand, written to a table once and run by one call of compiled code.

A launch from Python costs 3 us and a parallel region of its own 2 to 3 us more, in a network of 60 small operations a
tenth of the time. A program enters one region, in which the workers go from launch to launch (see `launch`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numconv.kernels.cpu import jit
from numconv.kernels.cpu.launch import LINE, NUMBERS, TAKEN
from numconv.kernels.cpu.memory import aligned
from numconv.kernels.cpu.replay import Launch


class Program:
    """Launches that run one after another; one thread at a time may call it."""

    def __init__(self, launches: Sequence[Launch]) -> None:
        self._launches = launches
        self._starts = [(kernel.launch(workers, items), arrays) for kernel, workers, items, arrays in launches]
        self._workers = max(launch.workers for launch in launches)
        self._bound: tuple[np.ndarray, ...] = ()

    def __call__(self) -> None:
        run = jit.runner() if self._workers > 1 else None
        if run is None:
            for start, arrays in self._starts:
                start(*arrays)
            return
        if not self._bound:
            self._bound = self._bind()
        table, _, counters = self._bound
        raised = run(table.ctypes.data, len(self._launches), self._workers, counters.ctypes.data)
        if raised:
            start, arrays = self._starts[raised - 1]
            start(*arrays)  # raises what a worker raised
            raise RuntimeError(f"launch {raised} of {len(self._starts)} failed on one of {self._workers} workers")

    def _bind(self) -> tuple[np.ndarray, ...]:
        """The table, the arrays of its launches, and counters."""
        sizes = [sum(5 + 2 * array.ndim for array in launch.arrays) for launch in self._launches]  # as Numba has them
        table = np.zeros((len(self._launches), NUMBERS), np.int64)
        memory = np.zeros(sum(sizes), np.int64)
        place = memory.ctypes.data
        for row, size, (kernel, workers, items, arrays) in zip(table, sizes, self._launches):
            kernel.bind(row.ctypes.data, place, workers, items, arrays)
            place += 8 * size
        return table, memory, aligned(len(table) * (self._workers + TAKEN) * LINE, np.int64)
