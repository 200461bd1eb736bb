"""The chart of a race: bars of one problem's contenders, or points of several problems on the roofline's scale."""

from __future__ import annotations

import io
import math
from typing import Any

from numconv.extras import require
from numconv.terminal import digits

OWN, OURS, OTHERS, INK, GRID = "#d1495b", "#1f6feb", "#8a919c", "#1f2328", "#e5e7eb"
COLOURS = ("#1f6feb", "#2a9d4a", "#8e44ad", "#d98324", "#16888c", "#d1495b", "#0b3d91", "#7a5195")
GREYS = ("#6b7280", "#a3a9b3", "#c9b458")
MARKS = "osD^vPX*"
MOST = 8  # contenders of a chart of several problems: those that were fastest most often


def png(race: Any) -> bytes:
    """The picture as a PNG file.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    figure = _bars(race.heats[0], set(race.kernels)) if len(race.heats) == 1 else _points(race)
    memory = io.BytesIO()
    figure.savefig(memory, format="png")
    return memory.getvalue()


def _figure(width: float, height: float) -> Any:
    return require("matplotlib.figure", "demo").Figure(figsize=(width, height), dpi=110, layout="constrained")


def _bars(heat: Any, kernels: set[str]) -> Any:
    """Milliseconds, the fastest first; a line where the roofline is."""
    timed = sorted((r for r in heat.results if r.right), key=lambda r: r.seconds)
    figure = _figure(9, 1.6 + 0.36 * max(len(timed), 1))
    axes = figure.add_subplot()
    names = [f"{r.label} ({r.algorithm})" if r.algorithm not in ("", r.name) else r.label for r in timed]
    paint = [OWN if r.name in kernels else OURS if r.ours else OTHERS for r in timed]
    bars = axes.barh(range(len(timed)), [r.seconds * 1e3 for r in timed], color=paint, height=0.72)
    axes.bar_label(
        bars,
        [f"{digits(r.seconds * 1e3)} ms, {digits(r.gflops)} GF/s" for r in timed],
        padding=4,
        fontsize=9,
        color=INK,
    )
    axes.set_yticks(range(len(timed)), names)
    axes.invert_yaxis()
    axes.axvline(heat.floor * 1e3, color=INK, linewidth=1.2, linestyle="--")
    longest = max((r.seconds for r in timed), default=heat.floor) * 1e3
    spread = longest / min((r.seconds * 1e3 for r in timed), default=longest)
    if spread > 30:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlim(heat.floor * 1e3 / 2, longest * 6)
    else:
        axes.set_xlim(0, longest * 1.32)
    axes.set_xlabel(f"milliseconds; dashed: the roofline, {digits(heat.floor * 1e3)} ms, set by {heat.by}")
    axes.set_title(f"{heat.name}\n{heat.problem.brief}" if heat.name != heat.problem.brief else heat.name, fontsize=10)
    _plain(axes, "x")
    return figure


def _points(race: Any) -> Any:
    """For each problem how much of the roofline each contender attains."""
    found: dict[str, list[tuple[int, Any]]] = {}
    for i, heat in enumerate(race.heats):
        for result in heat.results:
            if result.right:
                found.setdefault(result.label, []).append((i, result))
    chosen = sorted(found, key=lambda name: (not _wanted(found[name], race), -_won(found[name], race)))[:MOST]
    figure = _figure(10, 1.9 + 0.3 * len(race.heats))
    axes = figure.add_subplot()
    ours = [name for name in found if name in chosen and found[name][0][1].ours]
    others = [name for name in found if name in chosen and not found[name][0][1].ours]
    for names, colours in ((ours, COLOURS), (others, GREYS)):
        for k, name in enumerate(names):
            places = [i for i, _ in found[name]]
            axes.plot(
                [r.attained for _, r in found[name]], places, MARKS[k % len(MARKS)], color=colours[k % len(colours)],
                label=name, markersize=6.5, markeredgecolor="white", linestyle="none", clip_on=False,
            )  # fmt: skip
    axes.axvline(1, color=INK, linewidth=1.2, linestyle="--")
    axes.set_yticks(range(len(race.heats)), [heat.name for heat in race.heats], fontsize=8.5)
    most = max((r.attained for points in found.values() for _, r in points), default=1)
    axes.set_xlim(0, max(1.05, 1.04 * most))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    threads = f"{race.threads} thread{'s' * (race.threads > 1)}"
    axes.set_xlabel(f"of the roofline (direct summation), {threads}; further right is faster")
    axes.set_ylim(len(race.heats) - 0.4, -0.6)
    figure.legend(loc="outside upper center", ncols=4, fontsize=9)
    _plain(axes, "both")
    return figure


def _wanted(points: list[tuple[int, Any]], race: Any) -> bool:
    """Whether it is asked for by name, our choice, or a library."""
    result = points[0][1]
    return result.name in race.kernels or result.name == "auto" or not result.ours


def _won(points: list[tuple[int, Any]], race: Any) -> int:
    """On how many problems it was the fastest of ours."""
    return sum(not math.isnan(r.seconds) and r.seconds == race.heats[i].best(True) for i, r in points)


def _plain(axes: Any, grid: str) -> None:
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=GRID, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
