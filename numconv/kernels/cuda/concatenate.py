"""Put an array's runs into those of a larger one: an operand of a concatenation into its slice.

    out[row * pitch + start + i] = x[row * width + i]

By accesses of up to 128 bits, four elements a thread, where width, pitch and start are multiples of four.
"""

from __future__ import annotations

from typing import Any

from numba import cuda
from numpy import uint32, uint64

from numconv.kernels.cuda import launch, ptx

THREADS = 256
WIDTH = 4


@launch.kernel(threads=THREADS)
def place(width: int, pitch: int, start: int, vector: bool, wide: bool) -> Any:
    """`size` elements of x."""
    index = uint64 if wide else uint32

    def single(x, out, size):
        i = index(cuda.grid(1))
        if i < size:
            row = index(i // index(width))
            out[index(row * index(pitch - width) + index(i + index(start)))] = x[i]

    def fourfold(x, out, size):
        i = index(index(cuda.grid(1)) * index(WIDTH))
        if i < size:
            row = index(i // index(width))
            ptx.store4(out, index(row * index(pitch - width) + index(i + index(start))), ptx.load4(x, i))

    return fourfold if vector else single
