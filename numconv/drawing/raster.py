"""Sheets as pixels: GIF and PNG, by Pillow with the font that Matplotlib brings."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from numconv.drawing.shapes import THEMES, THIN, Box, Line, Shape, Sheet, Text
from numconv.extras import require

SCALE = 2
LARGE = 30e6  # pixels of all steps before they are scaled: 8 s of Pillow for a GIF of as many
EXTRA = "demo"


def saved(sheet: Sheet, path: Path, theme: str, seconds: float) -> None:
    """Write a GIF with a frame for each step, or a PNG of the first."""
    steps = sheet.steps if path.suffix == ".gif" else sheet.steps[:1]
    scale = SCALE if sheet.width * sheet.height * len(steps) < LARGE else 1
    size = round(sheet.width * scale), round(sheet.height * scale)
    base = require("PIL.Image", EXTRA).new("RGB", size)
    _drawn(base, sheet.base, theme, scale)
    frames = (_drawn(base.copy(), shapes, theme, scale) for shapes in steps)
    options = {"save_all": True, "append_images": frames, "duration": round(seconds * 1000), "loop": 0}
    next(frames).save(path, **(options if path.suffix == ".gif" else {}))


@functools.cache
def _font(size: float, bold: bool) -> Any:
    folder = Path(require("matplotlib", EXTRA).get_data_path()) / "fonts" / "ttf"
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return require("PIL.ImageFont", EXTRA).truetype(str(folder / name), size)


def _drawn(image: Any, shapes: list[Shape], theme: str, scale: int) -> Any:
    """The image, with shapes drawn on it."""
    pen = require("PIL.ImageDraw", EXTRA).Draw(image)
    for shape in shapes:
        fill, stroke = THEMES[theme][shape.role]
        match shape:
            case Box():
                corners = [v * scale for v in (shape.x, shape.y, shape.x + shape.width, shape.y + shape.height)]
                line = scale if shape.role in THIN else 3 * scale if shape.role == "frame" else scale + 1
                pen.rectangle(corners, None if fill == "none" else fill, stroke, line)
            case Line():
                ends = [v * scale for v in (shape.x, shape.y, shape.to_x, shape.to_y)]
                pen.line(ends, stroke, scale + 1)
            case Text():
                anchor = "lm" if shape.anchor == "start" else "mm"
                font = _font(shape.size * scale, shape.bold)
                pen.text((shape.x * scale, shape.y * scale), shape.text, stroke, font, anchor)
    return image
