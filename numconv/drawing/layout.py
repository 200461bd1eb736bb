"""Where things stand: a scene as a sheet of shapes.

Four columns: the input, channel under channel; the filter and what the window contributes, beside the channels that
they belong to; the result. Of three spatial axes the first is laid out as slices side by side.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from numconv.drawing.scene import Scene, Step, Tap, number
from numconv.drawing.shapes import EM, Box, Shape, Sheet, Text, channel_role, fitting

CELL = 34.0
WIDE = 50.0  # cells of products, which show their factors too
MARGIN, GAP, SLICE_GAP, COLUMN_GAP, HEAD = 18.0, 14.0, 10.0, 46.0, 54.0
DIGITS, SMALL = 13.0, 9.5


class Planes:
    """Channels of a column, one under another: where each cell of each is."""

    def __init__(self, x: float, tops: list[float], shape: tuple[int, ...], width: float, height: float) -> None:
        *slices, self.rows, self.columns = (1, 1, *shape)[-3:]
        self.x, self.tops, self.cell = x, tops, (width, height)
        self.step = self.columns * width + SLICE_GAP
        self.slices = slices[0]
        self.ndim = len(shape)

    @property
    def width(self) -> float:
        return self.slices * self.step - SLICE_GAP

    @property
    def height(self) -> float:
        return self.rows * self.cell[1]

    def at(self, channel: int, place: tuple[int, ...]) -> tuple[float, float, float, float]:
        """x, y, width and height of a cell."""
        piece, row, column = (0, 0, *place)[-3:]
        width, height = self.cell
        return self.x + piece * self.step + column * width, self.tops[channel] + row * height, width, height

    def box(self, channel: int, place: tuple[int, ...], role: str, dashed: bool = False) -> Box:
        return Box(*self.at(channel, place), role, dashed)

    def text(self, channel: int, place: tuple[int, ...], text: str, role: str = "text", bold: bool = False) -> Text:
        x, y, width, height = self.at(channel, place)
        return Text(x + width / 2, y + height / 2, text, fitting(text, width - 5, DIGITS), role, "middle", bold)


def _height(shape: tuple[int, ...], cell: float) -> float:
    return (shape[-2] if len(shape) > 1 else 1) * cell


def _stacked(heights: list[float], top: float) -> list[float]:
    tops = []
    for height in heights:
        tops.append(top)
        top += height + GAP
    return tops


def laid_out(scene: Scene) -> Sheet:
    """The sheet of a scene."""
    window: tuple[int, ...] = tuple(np.max([step.window for step in scene.steps], axis=0))
    channels, results = scene.source.shape[0], scene.result.shape[0]
    spatial, out = scene.source.shape[1:], scene.result.shape[1:]
    filtered = any(step.filter is not None for step in scene.steps)
    moved = scene.middle == "moved"

    row = max(_height(spatial, CELL), 0 if moved else _height(window, WIDE))
    left, right = row * channels + GAP * (channels - 1), _height(out, CELL) * results + GAP * (results - 1)
    tall = max(left, right)
    rows = _stacked([row] * channels, HEAD + MARGIN + (tall - left) / 2)
    source = Planes(MARGIN, _middle(rows, row, _height(spatial, CELL)), spatial, CELL, CELL)
    x = source.x + source.width + COLUMN_GAP
    filters = Planes(x, _middle(rows, row, _height(window, CELL)), window, CELL, CELL)
    if filtered:
        x += filters.width + COLUMN_GAP
    middle = Planes(x, _middle(rows, row, _height(window, WIDE)), window, WIDE, WIDE)
    if not moved:
        x += middle.width + COLUMN_GAP
    tops = _stacked([_height(out, CELL)] * results, HEAD + MARGIN + (tall - right) / 2)
    result = Planes(x, tops, out, CELL, CELL)

    bottom = HEAD + MARGIN + tall
    words = max(len(step.sentence) for step in scene.steps) * DIGITS * EM
    heads = [(source, "input"), (result, "result")]
    heads += [(filters, "filter")] if filtered else []
    heads += [] if moved else [(middle, scene.middle)]
    width = max(x + result.width, MARGIN + words, MARGIN + len(scene.title) * DIGITS * EM) + MARGIN
    base: list[Shape] = [Box(0, 0, width, bottom + 46, "ground")]
    base.append(Text(MARGIN, 24, scene.title, DIGITS, "text", "start", True))
    base += [Text(p.x + p.width / 2, HEAD, name, 11.5, "faint") for p, name in heads]
    origins = scene.origins
    base += _array(source, scene.source, _source_role(scene))
    base += _array(result, scene.result, lambda at: "cell" if origins is None else channel_role(int(origins[at])))
    operators = (["×", "="] if filtered else [""]) if not moved else []
    steps = [_step(scene, step, source, filters if filtered else None, middle, result) for step in scene.steps]
    marks = _marks([source, *([filters] if filtered else []), *([] if moved else [middle]), result], operators)
    for shapes, step in zip(steps, scene.steps):
        shapes += [
            Text(x, rows[c] + row / 2, text, 18, "faint") for x, text in marks[:-1] for c in step.channels if text
        ]
        shapes.append(Text(marks[-1][0], HEAD + MARGIN + tall / 2, "→", 18, "faint"))
        shapes.append(Text(MARGIN, bottom + 26, step.sentence, DIGITS, "text", "start"))
    return Sheet(width, bottom + 46, base, steps, scene.title)


def _middle(rows: list[float], row: float, height: float) -> list[float]:
    return [top + (row - height) / 2 for top in rows]


def _marks(columns: list[Planes], operators: list[str]) -> list[tuple[float, str]]:
    """Between each column and the next: where, and the sign that stands there."""
    places = [(a.x + a.width + b.x) / 2 for a, b in itertools.pairwise(columns)]
    return list(zip(places, [*operators, ""]))


def _source_role(scene: Scene) -> Callable[[tuple[int, ...]], str]:
    inside = np.zeros(scene.source.shape, bool)
    inside[scene.inside] = True
    if scene.origins is not None:
        return lambda place: channel_role(place[0])
    return lambda place: "cell" if inside[place] else "padding"


def _array(planes: Planes, array: np.ndarray, role: Callable[[tuple[int, ...]], str]) -> list[Shape]:
    shapes: list[Shape] = []
    for channel, *place in np.ndindex(*array.shape):
        kind = role((channel, *place))
        padding = kind == "padding"
        shapes.append(planes.box(channel, tuple(place), kind, padding))
        text = number(array[channel, *place])
        shapes.append(planes.text(channel, tuple(place), text, "faint" if padding else "text"))
    return shapes


def _step(
    scene: Scene, step: Step, source: Planes, filters: Planes | None, middle: Planes, result: Planes
) -> list[Shape]:
    moved = scene.origins is not None
    shapes: list[Shape] = []
    for tap in step.taps:
        channel, *place = tap.source
        shapes.append(source.box(channel, tuple(place), "frame" if moved else "winner" if tap.wins else "window"))
        shapes.append(source.text(channel, tuple(place), number(scene.source[tap.source]), bold=moved))
    if filters is not None and step.filter is not None:
        used = {tap.place for tap in step.taps}
        for c, *place in np.ndindex(*step.filter.shape):
            channel, at = step.channels[c], tuple(place)
            role = "filter" if (channel, *at) in used else "cell"
            shapes.append(filters.box(channel, at, role))
            shapes.append(filters.text(channel, at, number(step.filter[c, *place])))
            if (channel, *at) not in used:
                shapes.append(middle.box(channel, at, "padding", True))
    if scene.middle != "moved":
        for tap in step.taps:
            shapes += _contribution(middle, tap)
    channel, *place = step.result
    shapes.append(result.box(channel, tuple(place), "frame" if moved else "result"))
    shapes.append(result.text(channel, tuple(place), number(scene.result[step.result]), bold=True))
    return shapes


def _contribution(planes: Planes, tap: Tap) -> list[Shape]:
    """A cell with what a tap contributes, under its factors where it is a product."""
    channel, *rest = tap.place
    place = tuple(rest)
    cell = planes.box(channel, place, "winner" if tap.wins else "product")
    if not tap.terms:
        return [cell, planes.text(channel, place, number(tap.value))]
    factors = "·".join(map(number, tap.terms))
    middle, value = cell.x + cell.width / 2, number(tap.value)
    return [
        cell,
        Text(middle, cell.y + 14, factors, fitting(factors, cell.width - 4, SMALL), "faint"),
        Text(middle, cell.y + 33, value, fitting(value, cell.width - 6, DIGITS)),
    ]
