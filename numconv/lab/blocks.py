"""What fast kernels are built of, for kernels of one's own: the register tile, packed weights, and shares of work.

A convolution is fast where each number that is loaded is used several times while it is in a register. The tile does
that: it multiplies `rows` numbers by a few vectors, again and again, and keeps all the sums in registers until the end.

    tile = blocks.tile(14, 2)                       # 14 rows by 2 vectors

    @lab.kernel("conv2d", layout="channels_last", prepare=blocks.panels)
    @numba.njit(parallel=True)
    def mine(x, w, out, stride, padding, dilation, groups):
        ...
            tile(x, at, row, w, panel, columns, out, to, row, depth, rows, columns, False)

In plain Python a tile computes the same, element by element, so that a kernel can be checked before it is compiled.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from numconv.kernels.cpu import simd
from numconv.kernels.cpu.packing import pack
from numconv.kernels.cpu.panel_tile import panel_tile
from numconv.kernels.cpu.tiles import FIRST, LAST, RESIDUAL
from numconv.problem import ConvProblem


def lanes(dtype: Any = "float32") -> int:
    """How many numbers of a dtype a vector of this processor holds."""
    return simd.lanes(dtype)


def size(dtype: Any = "float32") -> tuple[int, int]:
    """(rows, vectors) of a tile that fills this processor's registers: 14 x 2, or 6 x 2 without AVX-512."""
    return simd.tile_rows(), 2


def tile(rows: int, vectors: int, dtype: str = "float32") -> Callable[..., None]:
    """The register tile, a small matrix product, to be called in a compiled kernel.

    What is returned is `tile(a, a_at, a_row, b, b_at, b_row, c, c_at, c_row, depth, some, columns, add)`:

        c[c_at + r c_row + j]  =  sum over k < depth of  a[a_at + r a_row + k] * b[b_at + k b_row + j]

    for r < some <= rows and j < columns <= vectors * lanes(dtype). With `add` the sum is added to what c holds. Nothing
    else of c is written, and nothing is read that is not in the formula.

    Parameters
    ----------
    rows, vectors : int
        rows x vectors sums, the vectors, and one register for a number of `a` must fit into the registers, which are
        32 with AVX-512 and 16 without.
    dtype : str
        "float32" or "float64": of a, b and c, one-dimensional contiguous arrays.

    Returns
    -------
    callable
        The same one for the same numbers. It checks nothing.

    Raises
    ------
    ValueError
        If the sums do not fit, or the dtype is another.
    """
    registers = 32 if simd.vector_bits() == 512 else 16
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    if rows < 1 or vectors < 1 or rows * vectors + vectors + 1 > registers:
        raise ValueError(
            f"rows * vectors + vectors + 1 must be at most the {registers} registers of this processor, "
            f"got rows={rows}, vectors={vectors}"
        )
    return _tile(rows, vectors, dtype)


@functools.cache
def _tile(rows: int, vectors: int, dtype: str) -> Callable[..., None]:
    def multiply(a, a_at, a_row, b, b_at, b_row, c, c_at, c_row, depth, some, columns, add):
        for r in range(some):
            for j in range(columns):
                total = c[c_at + r * c_row + j] if add else 0.0
                for k in range(depth):
                    total += a[a_at + r * a_row + k] * b[b_at + k * b_row + j]
                c[c_at + r * c_row + j] = total

    operation, address, apart = panel_tile(rows, vectors, dtype, ""), simd.address, simd.keep_apart
    zeros, fill, stored, added = simd.stack(rows, dtype), simd.fill(), FIRST | LAST, FIRST | LAST | RESIDUAL

    def emitted(a, a_at, a_row, b, b_at, b_row, c, c_at, c_row, depth, some, columns, add):
        apart()
        bias = zeros()
        fill(bias, 0, rows, 0)
        # The index of a prange is unsigned, and Numba makes floats of sums of it and an integer.
        to, nothing, c_pitch = address(c, np.intp(c_at)), address(bias, 0), np.intp(c_row)
        operation(
            (
                address(a, np.intp(a_at)), np.intp(a_row), address(b, np.intp(b_at)), np.intp(b_row), np.intp(depth),
                nothing, added if add else stored, nothing, nothing, to, c_pitch, to, c_pitch, np.intp(some),
                np.intp(columns),
            )
        )  # fmt: skip

    @numba.extending.overload(multiply)
    def typed(a, a_at, a_row, b, b_at, b_row, c, c_at, c_row, depth, some, columns, add):
        return emitted

    multiply.__qualname__ = f"tile_{rows}_{vectors}_{dtype}"
    return multiply


def __getattr__(name: str) -> Any:
    """A tile by its name, so that a kernel that calls one can be pickled, as a check does to send it elsewhere."""
    numbers = re.fullmatch(r"tile_(\d+)_(\d+)_(float32|float64)", name)
    if numbers is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return tile(int(numbers[1]), int(numbers[2]), numbers[3])


def panels(weight: np.ndarray, columns: int | None = None) -> np.ndarray:
    """A weight in panels of `columns` result channels, as the tile's `b` for images with channels last.

    Parameters
    ----------
    weight : ndarray of shape ``(out, in, *kernel)``
        Of float32 or float64.
    columns : int, optional
        A multiple of `lanes`; two vectors where left out.

    Returns
    -------
    ndarray
        Flat: panel by panel, tap by tap, input channel by input channel, `columns` numbers, zeros past the last
        channel. A panel has taps * in * columns numbers.

    Raises
    ------
    ValueError
        If `columns` is no multiple of `lanes`.
    """
    columns = 2 * lanes(weight.dtype) if columns is None else columns
    if columns < 1 or columns % lanes(weight.dtype):
        raise ValueError(f"columns must be a multiple of {lanes(weight.dtype)}, got {columns}")
    operation = f"conv{weight.ndim - 2}d"
    problem = ConvProblem.make(operation, (1, weight.shape[1], *weight.shape[2:]), weight.shape, weight.dtype)
    return pack(problem, weight, columns)


def taps(weight: np.ndarray) -> np.ndarray:
    """A weight tap by tap, (taps, out, in), as the tile's `a` for images with channels first.

    Parameters
    ----------
    weight : ndarray of shape ``(out, in, *kernel)``

    Returns
    -------
    ndarray of shape (taps, out, in)
    """
    flat = weight.reshape(*weight.shape[:2], math.prod(weight.shape[2:]))
    return np.ascontiguousarray(np.moveaxis(flat, 2, 0))


@numba.extending.register_jitable
def share(part: int, parts: int, items: int) -> tuple[int, int]:
    """(first, past the last) item of one of so many even parts of the items. It may be called in compiled kernels."""
    return part * items // parts, (part + 1) * items // parts


def attained(
    call: Callable[[], Any], operations: float, dtype: str = "float32", *, rounds: int = 5, budget: float = 0.05
) -> tuple[float, float]:
    """(GFLOP/s of a call, GFLOP/s of fused multiply-adds that the machine reaches), timed in turn.

    Parameters
    ----------
    call : callable
        What is timed; it is called once before, which compiles.
    operations : float
        Of a call: two for each multiplication, `problem.flops`.
    dtype : str
        "float32" or "float64".
    rounds : int
    budget : float
        Seconds for each in a round.

    Returns
    -------
    (float, float)
        On as many threads as `numconv.get_num_threads()` says.
    """
    from numconv.lab.roofline import multiply_add_ways
    from numconv.lab.timing import fastest
    from numconv.options import get_num_threads

    ways = multiply_add_ways(get_num_threads(), dtype)
    for each in (call, *(way.call for way in ways)):
        each()
    speed, peak = 0.0, 0.0
    for _ in range(rounds):
        speed = max(speed, operations / fastest(call, budget))
        peak = max(peak, *(way.amount / fastest(way.call, budget / 2) for way in ways))
    return speed / 1e9, peak / 1e9
