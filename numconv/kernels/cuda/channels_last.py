"""Images copied to where each pixel's channels lie side by side, every group of them filled up with zeros.

    out[n, t, g, s] = x[n, g, s, t] or x[n, t, g, s],  0 for s from `sources` on

Tensor cores take 16 bytes of neighbouring channels at a time. Channels first, a block turns a tile of 2048 elements
around in shared memory: it reads along positions and writes along channels. A row of the tile is one word longer than
its positions, so that a column's elements lie in different banks. Channels last, a thread copies an element.
"""

from __future__ import annotations

from typing import Any

from numba import cuda
from numpy import float32, int64, uint16, uint32

from numconv.kernels.cuda import launch
from numconv.kernels.cuda.memory import flat

THREADS = 256
TILE = 2048


@launch.kernel(threads=THREADS)
def turned(groups: int, sources: int, padded: int, positions: int, half: bool):
    """Of channels first: a tile of positions and channels of the result a block."""
    channels, element = groups * padded, uint16 if half else float32
    high = min(32, 1 << (channels - 1).bit_length())
    wide = TILE // high
    pitch = wide + (2 if half else 1)
    size, down, across = high * pitch, launch.blocks(channels, high), launch.blocks(positions, wide)

    def body(x, out):
        tile = cuda.shared.array(size, element)
        thread, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
        first_c, rest = uint32(block % uint32(down)) * uint32(high), uint32(block // uint32(down))
        first_t, n = uint32(rest % uint32(across)) * uint32(wide), int64(rest // uint32(across))
        for i in range(TILE // THREADS):
            at = uint32(thread + uint32(i * THREADS))
            row, t = uint32(at // uint32(wide)), uint32(at % uint32(wide))
            c = uint32(first_c + row)
            g, s = uint32(c // uint32(padded)), uint32(c % uint32(padded))
            value = element(0)
            if g < groups and s < sources and first_t + t < positions:
                value = x[((n * groups + int64(g)) * sources + int64(s)) * positions + int64(first_t + t)]
            tile[row * uint32(pitch) + t] = value
        cuda.syncthreads()
        for i in range(TILE // THREADS):
            at = uint32(thread + uint32(i * THREADS))
            row, t = uint32(at % uint32(high)), uint32(at // uint32(high))
            if first_c + row < channels and first_t + t < positions:
                out[(n * positions + int64(first_t + t)) * channels + int64(first_c + row)] = tile[
                    row * uint32(pitch) + t
                ]

    return body


@launch.kernel(threads=THREADS)
def filled(groups: int, sources: int, padded: int, half: bool):
    """Of channels last: an element of the result a thread."""
    element = uint16 if half else float32

    def body(x, out):
        i = uint32(cuda.grid(1))
        if i < out.size:
            s, rest = uint32(i % uint32(padded)), int64(i // uint32(padded))
            out[i] = x[rest * sources + int64(s)] if s < sources else element(0)

    return body


def copy_into(out: Any, x: Any, last: bool, groups: int, sources: int, padded: int, positions: int) -> None:
    """Fill `out`, of fewer than 2^31 elements, with images that have their channels last or first."""
    half = out.dtype.itemsize == 2
    if last:
        filled(groups, sources, padded, half)(launch.blocks(out.size, THREADS), THREADS, flat(x), flat(out))
        return
    high = min(32, 1 << (groups * padded - 1).bit_length())
    tiles = launch.blocks(groups * padded, high) * launch.blocks(positions, TILE // high)
    images = out.size // (groups * padded * positions)
    turned(groups, sources, padded, positions, half)(images * tiles, THREADS, flat(x), flat(out))
