"""The few shapes that pictures are made of, and their colours on a light and on a dark ground.

Roles, not colours, are drawn. The colours are those of Okabe and Ito, which people of any colour vision tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    role: str
    dashed: bool = False


class Text(NamedTuple):
    """A line of text, centred at (x, y) or beginning there."""

    x: float
    y: float
    text: str
    size: float
    role: str = "text"
    anchor: str = "middle"
    bold: bool = False


class Line(NamedTuple):
    """A straight line."""

    x: float
    y: float
    to_x: float
    to_y: float
    role: str


Shape = Box | Text | Line


@dataclass(frozen=True)
class Sheet:
    """Shapes that stay, and the shapes of each step on top of them."""

    width: float
    height: float
    base: list[Shape]
    steps: list[list[Shape]]
    title: str


# role: (fill, stroke) of boxes; lines and texts take the second
LIGHT = {
    "ground": ("#ffffff", "#d5dae0"),
    "cell": ("#f3f5f7", "#aab3bd"),
    "padding": ("#ffffff", "#b9c1ca"),
    "window": ("#bcdcf5", "#0072b2"),
    "filter": ("#fde0b5", "#b35c00"),
    "product": ("#ececf1", "#777f8a"),
    "winner": ("#fbe26b", "#8a6d00"),
    "result": ("#b5e6d4", "#007a58"),
    "frame": ("none", "#1b1f24"),
    "text": ("none", "#1b1f24"),
    "faint": ("none", "#5f6a75"),
    "channel0": ("#bcdcf5", "#0072b2"),
    "channel1": ("#fde0b5", "#b35c00"),
    "channel2": ("#b5e6d4", "#007a58"),
    "channel3": ("#f3cfe2", "#a1447a"),
    "channel4": ("#fbf0a0", "#8a6d00"),
    "channel5": ("#d9dde2", "#4a525c"),
}
DARK = {
    "ground": ("#16191d", "#39414a"),
    "cell": ("#23282e", "#56606b"),
    "padding": ("#16191d", "#4a535d"),
    "window": ("#0f4c75", "#56b4e9"),
    "filter": ("#6b4200", "#e69f00"),
    "product": ("#30343c", "#9aa3ad"),
    "winner": ("#6d5a00", "#f0e442"),
    "result": ("#0b5a45", "#2fc79b"),
    "frame": ("none", "#eef1f4"),
    "text": ("none", "#eef1f4"),
    "faint": ("none", "#a9b3bd"),
    "channel0": ("#0f4c75", "#56b4e9"),
    "channel1": ("#6b4200", "#e69f00"),
    "channel2": ("#0b5a45", "#2fc79b"),
    "channel3": ("#6a2a50", "#e59ac4"),
    "channel4": ("#5c5200", "#f0e442"),
    "channel5": ("#3a414a", "#b8c0c9"),
}
THIN = ("cell", "padding", "ground", *(f"channel{i}" for i in range(6)))  # roles of boxes with a thin border
THEMES = {"light": LIGHT, "dark": DARK}
CHANNELS = 6  # colours of channels, taken in turn
EM = 0.6  # the width of a character, in its size


def channel_role(channel: int) -> str:
    return f"channel{channel % CHANNELS}"


def fitting(text: str, width: float, largest: float) -> float:
    """The size at which a text fits into a width."""
    return round(min(largest, width / (EM * max(len(text), 1))), 1)
