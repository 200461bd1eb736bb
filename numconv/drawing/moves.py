"""Operations that only move elements, as scenes: pixel and channel shuffle."""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.drawing.scene import Scene, Step, Tap, check_readable, one_image, positions, sizes
from numconv.ops import resampling

MOVES = ("channel_shuffle", "pixel_shuffle", "pixel_unshuffle")


def moving_scene(operation: str, x: np.ndarray, options: dict[str, Any]) -> Scene:
    """The scene of a shuffle; elements keep the colour of the channel that they come from."""
    image = one_image("x", x, 2)
    move = getattr(resampling, operation)
    result = move(image[None], **options)[0]
    check_readable(image, result)
    origin = move(np.arange(image.size).reshape(1, *image.shape), **options)[0]
    steps = []
    for place in positions(result.shape):
        source = tuple(map(int, np.unravel_index(origin[place], image.shape)))
        tap = Tap(source, (source[0], 0, 0), image[source], (), True)
        sentence = f"from channel {source[0]}, row {source[1]}, column {source[2]}"
        steps.append(Step(place, range(source[0], source[0] + 1), (1, 1), [tap], sentence))
    chosen = ", ".join(f"{name} {value}" for name, value in options.items())
    title = f"{operation}, {chosen}:  {sizes(image.shape)} → {sizes(result.shape)}"
    return Scene(title, image, (slice(None),) * 3, result, steps, "moved", origin // image[0].size)
