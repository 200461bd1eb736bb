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
    """A number as it is shown: three digits, two below one, a proper minus."""
    if isinstance(value, complex | np.complexfloating):
        return f"{number(value.real)}{'+' if value.imag >= 0 else ''}{number(value.imag)}i"
    if np.isinf(value):
        return "−∞" if value < 0 else "∞"
    text = f"{float(value):.{2 if abs(value) < 1 else 3}g}"
    return ("0" if text == "-0" else text).replace("-", "−").replace("e+0", "e").replace("e−0", "e−")


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


def checked(scene: Scene) -> Scene:
    """The scene, or a ValueError where it has too many cells to be read."""
    cells = scene.source.size + scene.result.size
    if not scene.result.size:
        raise ValueError(f"the result must have elements to draw, got shape {scene.result.shape}")
    if cells > LIMIT_CELLS or len(scene.steps) > LIMIT_STEPS:
        raise ValueError(
            f"a picture shows at most {LIMIT_CELLS} elements and {LIMIT_STEPS} of the result, got {cells} "
            f"and {scene.result.size}: take fewer channels or a smaller image"
        )
    return scene
