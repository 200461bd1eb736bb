"""The roofline as a picture: ceilings as lines, layers as points with numbers, a key beside them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numconv.extras import require

COLOURS = ("#1f6feb", "#d1495b", "#2a9d4a", "#8e44ad", "#d98324", "#16888c", "#6b7280")
INK, PALE, GRID = "#1f2328", "#9aa1ab", "#e5e7eb"
DPI = 130
NUMBER = 7.5  # points: height of the numbers beside points
NOTE = (
    "Operations are the direct method's: Winograd, FFT and separable factors do fewer, and their points may lie above "
    "the roof.\nBytes are each array's once. A layer is called again and again: its arrays come from the last-level "
    "cache where they take at most half of it."
)


def write_picture(layers: Sequence[Any], ceilings: Sequence[Any], processor: str, dtype: str, path: Path) -> None:
    """Write the picture as a PNG file: black lines and points of all threads, grey lines of one.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    figure = require("matplotlib.figure", "demo").Figure(figsize=(13, max(7.4, 0.17 * len(layers))), dpi=DPI)
    axes = figure.add_axes((0.06, 0.155, 0.56, 0.785), xscale="log", yscale="log", axisbelow=True)
    one, every = ceilings
    points = [(layer.intensity, layer.speed(layer.all.seconds)) for layer in layers]
    (left, right), (low, high) = ((min(values), max(values)) for values in zip(*points))
    roof = every.fma[dtype]
    set_scale(axes.xaxis, min(left / 1.5, roof / every.cached / 4), max(right * 1.5, roof / every.memory * 4))
    set_scale(axes.yaxis, min(low / 1.5, roof / 20), max(high, roof) * 1.6)
    draw_roof(axes, one, dtype, PALE, below=True)
    draw_roof(axes, every, dtype, INK, below=False)
    paint = dict(zip(dict.fromkeys(layer.algorithm for layer in layers), itertools.cycle(COLOURS)))
    for layer, point in zip(layers, points):
        axes.plot(*point, "o", color=paint[layer.algorithm], markersize=6.5, markeredgecolor="white", zorder=3)
    write_numbers(axes, points)
    for name, colour in paint.items():
        axes.plot([], [], "o", color=colour, label=name)
    axes.legend(loc="lower right", fontsize=9, title="algorithm", framealpha=1)
    axes.set_xlabel("operations of the direct method / byte of input, weight and output")
    axes.set_ylabel(f"GFLOP/s, {dtype}, operations of the direct method")
    threads = f"{every.threads} threads" if every.threads > 1 else "1 thread"
    axes.set_title(f"{processor}, {threads}", fontsize=11, loc="left")
    axes.grid(which="major", color=GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.text(0.06, 0.02, NOTE, fontsize=8, color=INK, linespacing=1.4)
    write_key(figure, layers, paint)
    figure.savefig(path)


def set_scale(axis: Any, low: float, high: float) -> None:
    """From low to high, with ticks at 1, 2, 5, 10, 20, ..."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5) if low <= digit * 10.0**power <= high]
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)
    axis.axes.set(**{f"{axis.axis_name}lim": (low, high)})


def draw_roof(axes: Any, ceilings: Any, dtype: str, colour: str, below: bool) -> None:
    """The ceilings of one number of threads, each with its figure on the line."""
    fma, (left, right), bottom = ceilings.fma[dtype], axes.get_xlim(), axes.get_ylim()[0]
    style: dict[str, Any] = {"color": colour, "fontsize": 8.5, "va": "top" if below else "bottom"}
    threads = f", {ceilings.threads} thread{'s' * (ceilings.threads > 1)}"
    gap = (0, -3 if below else 2)
    near = {"textcoords": "offset points", "annotation_clip": False}
    axes.plot([fma / ceilings.cached, right], [fma, fma], color=colour, linewidth=1.4)
    axes.annotate(f"FMA {fma:.0f} GFLOP/s{threads}", (right, fma), gap, ha="right", **style, **near)
    for bandwidth, name, dashes in ((ceilings.memory, "memory", "-"), (ceilings.cached, "cache", "--")):
        start = max(left, bottom / bandwidth)
        axes.plot([left, fma / bandwidth], [left * bandwidth, fma], dashes, color=colour, linewidth=1.4)
        place = (start * 1.05, start * 1.05 * bandwidth)
        (x0, y0), (x1, y1) = axes.transData.transform([place, (2 * place[0], 2 * place[1])])
        slope = math.degrees(math.atan2(y1 - y0, x1 - x0))
        text = f"{name} {bandwidth:.0f} GB/s{threads}"
        axes.annotate(text, place, gap, rotation=slope, rotation_mode="anchor", **style, **near)


def write_numbers(axes: Any, points: Sequence[tuple[float, float]]) -> None:
    """Number the points from 1; each number where it covers no other and no point, as near as it can be."""
    pixel = DPI / 72
    places = [tuple(place) for place in axes.transData.transform(points) / pixel]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in places]
    for number, (point, (x, y)) in enumerate(zip(points, places), 1):
        half = 0.31 * NUMBER * len(str(number)) + 0.5
        for dx, dy in around():
            box = (x + dx - half, y + dy - NUMBER / 2, x + dx + half, y + dy + NUMBER / 2)
            if not any(a < box[2] and box[0] < c and b < box[3] and box[1] < d for a, b, c, d in taken):
                break
        taken.append(box)
        line = {"arrowstyle": "-", "color": PALE, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            str(number), point, (dx, dy), textcoords="offset points", fontsize=NUMBER, color=INK, ha="center",
            va="center_baseline", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3, "alpha": 0.8},
            arrowprops=line if math.hypot(dx, dy) > 12 else None, zorder=4,
        )  # fmt: skip


def around() -> Iterator[tuple[float, float]]:
    """Distances to try, in points: circles about the point, ever larger."""
    for radius in range(10, 120, 6):
        for step in range(16):
            angle = math.pi / 8 * step
            yield radius * math.cos(angle), radius * math.sin(angle)


def write_key(figure: Any, layers: Sequence[Any], paint: dict[str, str]) -> None:
    """What the numbers stand for, how long each takes, and how much of its roof it attains."""
    families = len({layer.family for layer in layers}) > 1
    names = [f"{layer.family}/{layer.name}" if families else layer.name for layer in layers]
    step = min(0.032, 0.88 / (len(layers) + 1))
    style = {"family": "monospace", "fontsize": min(8.5, 0.62 * step * figure.get_figheight() * 72), "va": "center"}
    top, width = 0.93, max(map(len, names))
    figure.text(0.64, top, f"{'':3} {'':{width}} {'ms':>8} {'attained':>9}  bound", color=INK, **style)
    for line, (layer, name) in enumerate(zip(layers, names), 1):
        text = f"{line:3} {name:{width}} {layer.all.seconds * 1e3:8.3f} {layer.all.attained:9.0%}  {layer.all.bound}"
        figure.text(0.64, top - line * step, text, color=paint[layer.algorithm], **style)
