"""Register tiles as compiled functions that kernels call by their address.

A kernel is compiled once for each dtype, and a tile, which is short, for each shape and activation: 0.2 s in place of
1.5 s for a variant, and the code around it cannot take registers from its sums.
"""

from __future__ import annotations

import functools
from typing import Any

from numconv.kernels.cpu import jit, simd


@jit.function
def indirect(rows: int, vectors: int, dtype: str, activation: str) -> Any:
    """`simd.indirect_tile`."""
    operation = simd.indirect_tile(rows, vectors, dtype, activation)

    def tile(numbers):
        operation(numbers)

    return tile


@jit.function
def outer(rows: int, vectors: int, dtype: str) -> Any:
    """`simd.outer_tile`."""
    operation = simd.outer_tile(rows, vectors, dtype)

    def tile(numbers):
        operation(numbers)

    return tile


@jit.function
def turn_store(dtype: str, activation: str) -> Any:
    """`simd.turn_store`."""
    operation = simd.turn_store(dtype, activation)

    def tile(numbers):
        operation(numbers)

    return tile


@jit.function
def narrow(
    positions: int, taps: int, stride: int, dilation: int, sources: int, results: int, dtype: str, activation: str
) -> Any:
    """`simd.narrow_tile`."""
    operation = simd.narrow_tile(positions, taps, stride, dilation, sources, results, dtype, activation)

    def tile(numbers):
        operation(numbers)

    return tile


ARGUMENTS = {indirect: 12, outer: 8, turn_store: 11, narrow: 19}


@functools.cache
def address(factory: Any, *numbers: Any) -> int:
    """Where the tile `factory(*numbers)` is."""
    return jit.address(factory(*numbers), ARGUMENTS[factory])
