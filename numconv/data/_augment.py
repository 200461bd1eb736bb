"""Augmentation: pictures, volumes and series changed at random, each example in its own way.

A transform is called with a batch (N, C, *spatial) and a generator, and gives a new batch; what the pictures show is
not its business. All that is random comes from the generator, so that the same generator gives the same batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numconv.ops.resampling import pad
from numconv.problem import per_axis

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Compose:
    """Transforms one after another.

    Parameters
    ----------
    transforms : sequence of callable
        Each `transform(x, generator)`.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        for transform in self.transforms:
            x = transform(x, generator)
        return x

    def __repr__(self) -> str:
        return f"Compose({list(self.transforms)})"


@dataclass(frozen=True)
class Normalize:
    """Subtract a mean and divide by a standard deviation, a number each or one a channel.

    Integers give float32; floating dtypes stay.
    """

    mean: Any
    std: Any

    def __post_init__(self) -> None:
        if not np.all(np.asarray(self.std) > 0):
            raise ValueError(f"std must be above 0, got {self.std!r}")

    def __call__(self, x: np.ndarray, generator: np.random.Generator | None = None) -> np.ndarray:
        _checked(x)
        dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
        shape = (-1, *(1,) * (x.ndim - 2))
        mean, std = (np.asarray(value, dtype).reshape(shape) for value in (self.mean, self.std))
        for name, value in {"mean": mean, "std": std}.items():
            if len(value) not in (1, x.shape[1]):
                raise ValueError(f"{name} must have a number for each of {x.shape[1]} channels, got {len(value)}")
        return (x.astype(dtype, copy=False) - mean) / std


@dataclass(frozen=True)
class RandomCrop:
    """Cut out a window at a random place, after padding on all sides.

    Parameters
    ----------
    size : int or sequence of int
        The window's spatial shape.
    padding : int or sequence of int
        Elements put before and after each spatial axis.
    mode : {"constant", "reflect", "replicate", "circular"}
        What they hold, as in `numconv.pad`; zeros by default.
    """

    size: Any
    padding: Any = 0
    mode: str = "constant"

    def __call__(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        axes = _checked(x)
        return _windows(x, per_axis("size", self.size, axes, 1), self.padding, self.mode, generator)


@dataclass(frozen=True)
class RandomShift:
    """Move by a random whole number of elements along each spatial axis, at most `most` to either side.

    Parameters
    ----------
    most : int or sequence of int
        For every spatial axis, or one an axis.
    mode : {"constant", "reflect", "replicate", "circular"}
        What comes in from outside, as in `numconv.pad`; zeros by default.
    """

    most: Any
    mode: str = "constant"

    def __call__(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        _checked(x)
        return _windows(x, x.shape[2:], self.most, self.mode, generator)


@dataclass(frozen=True)
class RandomFlip:
    """Mirror along a spatial axis (-1: left and right, -2: top and bottom), with a probability."""

    axis: int = -1
    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"p must be from 0 to 1, got {self.p}")

    def __call__(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        _spatial("axis", self.axis, x)
        chosen = generator.random(len(x)) < self.p
        out = x.copy()
        out[chosen] = np.flip(x[chosen], self.axis)
        return out


@dataclass(frozen=True)
class RandomRotation:
    """Turn in the plane of two spatial axes by a random angle about the middle, bilinearly; outside are zeros.

    Parameters
    ----------
    degrees : float
        The angle is drawn between -degrees and degrees; positive ones turn the first axis towards the second.
    axes : (int, int)
        The plane, counted from the last axis: of a volume, (-2, -1) turns its slices.

    Notes
    -----
    Integers are rounded to the nearest.
    """

    degrees: float
    axes: tuple[int, int] = (-2, -1)

    def __post_init__(self) -> None:
        if not self.degrees >= 0 or len(set(self.axes)) != 2:
            raise ValueError(f"degrees must be 0 or more and axes two, got {self.degrees} and {self.axes}")

    def __call__(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        for axis in self.axes:
            _spatial("axes", axis, x)
        angles = np.deg2rad(generator.uniform(-self.degrees, self.degrees, len(x)))
        return rotated(x, angles, self.axes)


def rotated(x: np.ndarray, angles: np.ndarray, axes: tuple[int, int] = (-2, -1)) -> np.ndarray:
    """Turn each example by its angle (radians) in the plane of two axes, bilinearly; outside are zeros."""
    work = np.result_type(x.dtype, np.float32) if x.dtype.kind == "f" else np.dtype(np.float32)
    planes = np.moveaxis(x, axes, (-2, -1))
    height, width = planes.shape[-2:]
    count, wide = math.prod(planes.shape[1:-2]), width + 2
    flat = np.zeros((len(x), count, height + 2, wide), work)  # with zeros around
    flat[..., 1:-1, 1:-1] = planes.reshape(len(x), count, height, width)
    row = (np.arange(height) - (height - 1) / 2).astype(work)[:, None]
    column = (np.arange(width) - (width - 1) / 2).astype(work)
    cos, sin = (values.astype(work)[:, None, None] for values in (np.cos(angles), np.sin(angles)))
    # Where each element of the result comes from, in rows and columns of `flat`.
    from_row = (cos * row + sin * column + work.type((height + 1) / 2)).clip(0, height + 1)
    from_column = (cos * column - sin * row + work.type((width + 1) / 2)).clip(0, width + 1)
    r, c = (np.floor(place).clip(None, n) for place, n in ((from_row, height), (from_column, width)))
    down, right = ((place - first)[:, None] for place, first in ((from_row, r), (from_column, c)))
    plane = np.arange(len(x) * count).reshape(len(x), count, 1, 1) * ((height + 2) * wide)
    corner = plane + (r.astype(np.intp) * wide + c.astype(np.intp))[:, None]
    a, b, below_a, below_b = (flat.take(corner + step) for step in (0, 1, wide, wide + 1))
    upper, lower = a + right * (b - a), below_a + right * (below_b - below_a)
    turned = (upper + down * (lower - upper)).reshape(planes.shape)
    if x.dtype.kind in "iu":
        turned = np.rint(turned)
    return np.ascontiguousarray(np.moveaxis(turned, (-2, -1), axes)).astype(x.dtype, copy=False)


def _windows(x: np.ndarray, size: Any, padding: Any, mode: str, generator: np.random.Generator) -> np.ndarray:
    """A window of each example at a random place, after padding."""
    around = per_axis("padding", padding, x.ndim - 2, 0)
    padded = pad(x, [(p, p) for p in around], mode)
    room = np.array(padded.shape[2:]) - size
    if room.min() < 0:
        raise ValueError(f"size must fit into the padded shape {padded.shape[2:]}, got {tuple(size)}")
    starts = generator.integers(0, room + 1, (len(x), room.size))
    windows = np.lib.stride_tricks.sliding_window_view(padded, tuple(size), tuple(range(2, x.ndim)))
    return np.ascontiguousarray(windows[(np.arange(len(x)), slice(None), *starts.T)])


def _checked(x: Any) -> int:
    """How many spatial axes a batch has."""
    if not isinstance(x, np.ndarray) or x.ndim < 3 or x.dtype.kind not in "fiu":
        what = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"x must be an array (N, C, *spatial) of real numbers, got {what}")
    return x.ndim - 2


def _spatial(name: str, axis: int, x: np.ndarray) -> None:
    if not -_checked(x) <= axis <= -1:
        raise ValueError(f"{name} must be from {-_checked(x)} to -1, a spatial axis of {x.shape}, got {axis}")
