"""Kernels as sums of a few products of a column and a row, by their singular values."""

from __future__ import annotations

import functools

import numpy as np

# Largest sum and maximum of |weight - product of factors|, as a part of those of |weight|.
TOLERANCE = {"float32": 5e-7, "float64": 1e-13}
Factors = tuple[np.ndarray, np.ndarray]


def factors(weight: np.ndarray, most: int) -> Factors | None:
    """Columns and rows whose products add up to each channel's kernel.

    Parameters
    ----------
    weight : numpy.ndarray
        (channels, 1, kh, kw), float32 or float64.
    most : int
        The highest rank wanted.

    Returns
    -------
    (down, along), or None
        (channels, rank, kh) and (channels, rank, kw) in float64, of the lowest rank that is exact for all channels;
        None where that is above `most` or a number is not finite.
    """
    return _factors(weight.tobytes(), weight.shape, weight.dtype.name, most)


@functools.lru_cache(maxsize=16)
def _factors(numbers: bytes, shape: tuple[int, ...], dtype: str, most: int) -> Factors | None:
    """By the weight's bytes: calls often come with the same weight."""
    kernels = np.frombuffer(numbers, dtype).reshape(-1, *shape[-2:]).astype(np.float64)
    if not np.isfinite(kernels).all():
        return None
    # The first channel gives most kernels of a higher rank away.
    if _decomposed(kernels[:1], most, TOLERANCE[dtype]) is None:
        return None
    return _decomposed(kernels, most, TOLERANCE[dtype])


def _decomposed(kernels: np.ndarray, most: int, tolerance: float) -> Factors | None:
    left, values, right = np.linalg.svd(kernels, full_matrices=False)
    root = np.sqrt(values)
    down, along = (left * root[:, None, :]).swapaxes(1, 2), right * root[:, :, None]
    size, rest = np.abs(kernels), kernels
    for rank in range(1, most + 1):
        rest = rest - down[:, rank - 1, :, None] * along[:, rank - 1, None, :]
        wrong = np.abs(rest)
        if all((part(wrong, axis=(1, 2)) <= tolerance * part(size, axis=(1, 2))).all() for part in (np.sum, np.max)):
            return down[:, :rank], along[:, :rank]
    return None
