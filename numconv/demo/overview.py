"""All pictures and the race on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numconv.demo.pictures import Picture
from numconv.demo.race import digits, gflops
from numconv.lab.timing import Timing

OURS, OTHERS, COLUMNS = "#1f6feb", "#aeb4c0", 4


def write_overview(pictures: Sequence[Picture], timings: Sequence[Timing], path: Path) -> None:
    """Write the sheet as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = -(-len(pictures) // COLUMNS)
    timings = [t for t in timings if t.seconds > 0][::-1]
    sheet = Figure(figsize=(14, 2.9 * lines + 0.32 * len(timings) + 1), layout="constrained")
    FigureCanvasAgg(sheet)
    parts: Any = sheet.subfigures(2, 1, height_ratios=(2.9 * lines, 0.32 * len(timings) + 1))
    above, below = parts
    grid: Any = above.subplots(lines, COLUMNS)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, picture in zip(grid.flat, pictures):
        axes.imshow(picture.pixels, cmap="gray", vmin=0, vmax=255)
        axes.set_title(picture.step.title, fontsize=11)
    axes = below.subplots()
    speeds = [gflops(t) for t in timings]
    bars = axes.barh([t.name for t in timings], speeds, color=[OURS if t.ours else OTHERS for t in timings])
    axes.bar_label(bars, [digits(speed) for speed in speeds], padding=4)
    axes.set_title("A 3x3 convolution, 64 channels of 56x56, float32: GFLOP/s, longer is faster", fontsize=11)
    axes.set_xlim(0, 1.08 * max(speeds))
    axes.spines[["top", "right"]].set_visible(False)
    sheet.savefig(path, dpi=110)
