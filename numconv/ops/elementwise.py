"""What the NumPy-based functions share: which dtypes they take, and how they walk over an array in blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.problem import FIRST, HALF, LAST, layout_of, supported_dtype

BLOCK = 1 << 14  # elements: float32 input, output and a few temporaries of one block stay in a 1 MiB cache


def movable(name: str, x: Any) -> np.ndarray:
    """`x` as an array in native byte order, for operations that only move elements: bool is welcome."""
    x = np.asarray(x)
    dtype = x.dtype if x.dtype == np.bool_ else supported_dtype(name, x.dtype)
    return x.astype(dtype, copy=False)


def real(name: str, x: Any) -> tuple[np.ndarray, np.dtype, np.dtype]:
    """`x` as an array, the dtype to compute in and the dtype of the result.

    float16 and bfloat16 are computed in float32, integers in float64, which is also their result.

    Raises
    ------
    TypeError
        For bool, complex and anything that is not a number.
    """
    x = np.asarray(x)
    dtype = supported_dtype(name, x.dtype)
    if dtype.kind == "c":
        raise TypeError(f"{name} must be of a real dtype, got {dtype}")
    if dtype.kind in "iu":
        return x, np.dtype(np.float64), np.dtype(np.float64)
    return x, np.dtype(np.float32) if dtype.name in HALF else dtype, dtype


def channels_last(data_format: str | None, ndim: int) -> bool:
    """Whether channels come last, in an array of any number `ndim` of spatial axes."""
    if data_format in (None, FIRST, LAST):
        return data_format == LAST
    return layout_of(data_format, min(max(ndim, 1), 3)) == LAST


def blockwise(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, out: np.ndarray, work: np.dtype) -> None:
    """Write `function(x)`, computed in `work` a block at a time, into `out`, which may be `x`."""
    iterator = np.nditer(
        (x, out),
        flags=["buffered", "external_loop", "zerosize_ok", "copy_if_overlap"],
        op_flags=[["readonly", "overlap_assume_elementwise"], ["writeonly", "overlap_assume_elementwise"]],
        op_dtypes=[work, work],
        casting="same_kind",
        buffersize=BLOCK,
    )
    with np.errstate(all="ignore"), iterator as blocks:
        for source, target in blocks:
            target[...] = function(source)
