"""What the NumPy-based functions share: which dtypes they take, and how they walk over an array in blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.kernels.cpu.memory import flat
from numconv.ops.device import on_host
from numconv.problem import FIRST, HALF, LAST, layout_of, supported_dtype

BLOCK = 1 << 14  # elements: float32 input, output and a few temporaries of one block stay in a 1 MiB cache
NATIVE = (np.dtype(np.float32), np.dtype(np.float64))  # what kernels compute with as it is


def movable(name: str, x: Any) -> np.ndarray:
    """`x` as an array in native byte order, for operations that only move elements: bool is welcome."""
    x = on_host(name, x)
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
    x = on_host(name, x)
    dtype = x.dtype
    if dtype is NATIVE[0] or dtype is NATIVE[1]:  # the usual case, found in 0.1 us
        return x, dtype, dtype
    dtype = supported_dtype(name, dtype)
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


def alike(**arrays: Any) -> tuple[list[np.ndarray], np.dtype, np.dtype]:
    """Arrays of one shape, the dtype to compute in and that of the result, as in `real`, of the promoted dtype.

    Raises
    ------
    ValueError
        If shapes differ.
    TypeError
        For bool and complex arrays and where there is no common dtype.
    """
    found, given = [], []
    for name, array in arrays.items():
        found.append(real(name, array)[0])
        given.append(found[-1].dtype)
        if found[-1].shape != found[0].shape:
            first = next(iter(arrays))
            raise ValueError(f"{name} must have the shape of {first}, {found[0].shape}, got {found[-1].shape}")
    try:
        dtype = given[0] if given.count(given[0]) == len(given) else np.result_type(*given)
    except TypeError:
        raise TypeError(f"{', '.join(arrays)} must have a common dtype, got {[str(d) for d in given]}") from None
    _, work, result = (None, dtype, dtype) if dtype in NATIVE else real("x", np.empty(0, dtype))
    return found, work, result


def parameter(name: str, value: Any, shape: tuple[int, ...], default: float = 0.0) -> np.ndarray:
    """A parameter of a layer in float64, or `default` where there is none."""
    if value is None:
        return np.full(shape, default)
    array, _, _ = real(name, value)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array.astype(np.float64)


def straight(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The elements in row-major order, in one run of memory that may be the array's own; no half precision."""
    if x.dtype is dtype and x.flags.carray:  # the usual case, in half of the time
        return x.reshape(-1)
    return flat(np.asarray(x, dtype, order="C"))[0]


def blockwise(function: Callable[..., np.ndarray], out: np.ndarray, work: np.dtype, *sources: np.ndarray) -> None:
    """Write `function(*sources)`, computed in `work` a block at a time, into `out`, which may be one of them."""
    if out.size <= BLOCK and all(array.dtype is work for array in (out, *sources)):  # an iterator takes 4 us
        with np.errstate(all="ignore"):
            out[...] = function(*sources)
        return
    flags: Any = [[kind, "overlap_assume_elementwise"] for kind in ["readonly"] * len(sources) + ["writeonly"]]
    iterator = np.nditer(
        (*sources, out),
        flags=["buffered", "external_loop", "zerosize_ok", "copy_if_overlap"],
        op_flags=flags,
        op_dtypes=[work] * (len(sources) + 1),
        casting="same_kind",
        buffersize=BLOCK,
    )
    with np.errstate(all="ignore"), iterator as blocks:
        for *given, target in blocks:
            target[...] = function(*given)
