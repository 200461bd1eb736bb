"""What a picture shows, without saying where: arrays, and for each element of the result what it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

LIMIT_CELLS = 600
LIMIT_STEPS = 150


class Tap(NamedTuple):
    """One element of the input that an element of the result is made of."""

    source: tuple[int, ...]  # channel and position in the input as shown, padding included
    place: tuple[int, ...]  # where in the window
    value: Any  # what it contributes
    terms: tuple[Any, ...] = ()  # the factors of the value, where it is a product
    wins: bool = False  # whether it alone is the result


class Step(NamedTuple):
    """One element of the result and how it comes about."""

    result: tuple[int, ...]  # channel and position
    channels: range  # of the input
    window: tuple[int, ...]  # the window's shape
    taps: list[Tap]
    sentence: str
    filter: np.ndarray | None = None  # (channels of the group, *window)


@dataclass(frozen=True)
class Scene:
    """An operation on arrays of a shape (channels, *spatial)."""

    title: str
    source: np.ndarray
    inside: tuple[slice, ...]  # what of the source is the input, the rest being padding
    result: np.ndarray
    steps: list[Step]
    middle: str  # what is shown of a window: its products, its values
    origins: np.ndarray | None = None  # the channel that each element of the result was moved from


def number(value: Any) -> str:
    """A number as it is shown: three digits, two below one, all before the point up to five; a proper minus."""
    if isinstance(value, complex | np.complexfloating):
        return f"{number(value.real)}{'+' if value.imag >= 0 else ''}{number(value.imag)}i"
    if np.isinf(value):
        return "−∞" if value < 0 else "∞"
    value = float(value)
    size = abs(value)
    text = f"{value:.0f}" if 1000 <= size < 100_000 else f"{value:.{2 if size < 1 else 3}g}"
    return ("0" if text == "-0" else text).replace("e+", "e").replace("e0", "e").replace("e-0", "e-").replace("-", "−")


def positions(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return np.ndindex(*shape)


def sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def one_image(name: str, array: np.ndarray, ndim: int) -> np.ndarray:
    """The array as (channels, *spatial): a batch must hold one image, channels may be left out."""
    if array.ndim == ndim + 2 and array.shape[0] == 1:
        return array[0]
    if array.ndim == ndim + 1:
        return array
    if array.ndim == ndim:
        return array[None]
    raise ValueError(
        f"{name} must be one image of {ndim} spatial axes, (C, *spatial) or (1, C, *spatial), got shape {array.shape}"
    )


def check_readable(source: np.ndarray, result: np.ndarray, steps: int | None = None) -> None:
    """Refuse what has too many cells or steps to be read, before any step is made."""
    cells, steps = source.size + result.size, result.size if steps is None else steps
    if not result.size:
        raise ValueError(f"the result must have elements to draw, got shape {result.shape}")
    if cells > LIMIT_CELLS or steps > LIMIT_STEPS:
        raise ValueError(
            f"a picture shows at most {LIMIT_CELLS} elements in {LIMIT_STEPS} steps, got {cells} in {steps}: "
            "take fewer channels or a smaller image"
        )
