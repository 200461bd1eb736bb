"""Sheets as pixels: GIF and PNG, by Pillow with the font that Matplotlib brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numconv.drawing.shapes import THEMES, THIN, Box, Line, Shape, Sheet, Text
from numconv.extras import require

SCALE = 2
EXTRA = "demo"


def saved(sheet: Sheet, path: Path, theme: str, seconds: float) -> None:
    """Write a GIF with a frame for each step, or a PNG of the first."""
    base = _blank(sheet)
    _drawn(base, sheet.base, theme)
    frames = []
    for shapes in sheet.steps if path.suffix == ".gif" else sheet.steps[:1]:
        frame = base.copy()
        _drawn(frame, shapes, theme)
        frames.append(frame)
    if path.suffix == ".png":
        frames[0].save(path)
        return
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=round(seconds * 1000), loop=0)


def _blank(sheet: Sheet) -> Any:
    size = round(sheet.width * SCALE), round(sheet.height * SCALE)
    return require("PIL.Image", EXTRA).new("RGB", size)


def _font(size: float, bold: bool) -> Any:
    folder = Path(require("matplotlib", EXTRA).get_data_path()) / "fonts" / "ttf"
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return require("PIL.ImageFont", EXTRA).truetype(str(folder / name), size * SCALE)


def _drawn(image: Any, shapes: list[Shape], theme: str) -> None:
    pen = require("PIL.ImageDraw", EXTRA).Draw(image)
    for shape in shapes:
        fill, stroke = THEMES[theme][shape.role]
        match shape:
            case Box():
                corners = [v * SCALE for v in (shape.x, shape.y, shape.x + shape.width, shape.y + shape.height)]
                line = SCALE if shape.role in THIN else 3 * SCALE if shape.role == "frame" else SCALE + 1
                pen.rectangle(corners, None if fill == "none" else fill, stroke, line)
            case Line():
                ends = [v * SCALE for v in (shape.x, shape.y, shape.to_x, shape.to_y)]
                pen.line(ends, stroke, SCALE + 1)
            case Text():
                anchor = "lm" if shape.anchor == "start" else "mm"
                font = _font(shape.size, shape.bold)
                pen.text((shape.x * SCALE, shape.y * SCALE), shape.text, stroke, font, anchor)
