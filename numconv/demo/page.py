"""The demo's page: one HTML file with everything in it."""

from __future__ import annotations

import base64
import importlib.resources
from collections.abc import Sequence
from html import escape
from string import Template

from numconv.demo.pictures import Picture
from numconv.demo.race import PROBLEM, ROUNDS, digits, gflops
from numconv.lab.timing import Timing

BAR_LEFT, BAR_LONGEST, BAR_PITCH, BAR_HEIGHT = 330, 520, 34, 22


def page(
    pictures: Sequence[tuple[Picture, bytes]],
    timings: Sequence[Timing],
    refused: dict[str, str],
    machine: str,
    threads: int,
    learned: Sequence[tuple[Picture, bytes]],
    outcome: str,
) -> str:
    """The page's HTML.

    Parameters
    ----------
    pictures : sequence of (Picture, bytes)
        Each with its PNG file.
    timings : sequence of Timing
        The fastest first.
    refused : dict
        Why some of our algorithms did not run.
    machine : str
        What it was measured on.
    threads : int
    learned : sequence of (Picture, bytes)
        Of the network that was trained.
    outcome : str
        What came of it.

    Returns
    -------
    str
    """
    template = Template(importlib.resources.files("numconv.demo").joinpath("page.html").read_text("utf-8"))
    ours = next((t for t in timings if t.ours), timings[0])
    notes = [f"<code>{escape(name)}</code> did not run: {escape(reason)}." for name, reason in refused.items()]
    return template.substitute(
        machine=escape(machine),
        gigaflop=f"{PROBLEM.flops / 1e9:.2f}",
        rounds=ROUNDS,
        threads=threads,
        figures="\n".join(figure(picture, png) for picture, png in pictures),
        chart=chart([t for t in timings if t.seconds > 0]),
        rows="\n".join(row(t, ours) for t in timings),
        learned="\n".join(figure(picture, png) for picture, png in learned),
        outcome=escape(outcome),
        notes="".join(f'<p class="note">{note}</p>' for note in notes),
    )


def figure(picture: Picture, png: bytes) -> str:
    """One picture with its title, time and expression."""
    step = picture.step
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    time = f"<span>{picture.seconds * 1e3:.2f} ms</span>" if picture.seconds else ""
    code = f"<code>{escape(step.code)}</code>" if step.code else ""
    return (
        f'<figure><img src="{source}" alt="{escape(step.title)}" loading="lazy"><figcaption>'
        f"<h3>{escape(step.title)}{time}</h3><p>{escape(f'{step.about} {picture.note}'.strip())}</p>{code}"
        f"</figcaption></figure>"
    )


def chart(timings: Sequence[Timing]) -> str:
    """Horizontal bars in GFLOP/s, the longest the fastest."""
    longest = max(map(gflops, timings))
    parts = []
    for i, timing in enumerate(timings):
        speed, middle = gflops(timing), (i + 0.5) * BAR_PITCH
        width = max(BAR_LONGEST * speed / longest, 1.5)
        parts.append(
            f'<g class="{"ours" if timing.ours else "other"}">'
            f'<text class="name" x="{BAR_LEFT - 12}" y="{middle:.0f}" text-anchor="end">{escape(timing.name)}</text>'
            f'<rect x="{BAR_LEFT}" y="{middle - BAR_HEIGHT / 2:.0f}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="3"/>'
            f'<text class="value" x="{BAR_LEFT + width + 10:.1f}" y="{middle:.0f}">{digits(speed)} GFLOP/s</text></g>'
        )
    return (
        f'<svg class="chart" viewBox="0 0 1000 {len(timings) * BAR_PITCH}" role="img" '
        f'aria-label="Speed in GFLOP/s, a longer bar is faster">{"".join(parts)}</svg>'
    )


def row(timing: Timing, ours: Timing) -> str:
    """One contender's line of the table."""
    kind = ' class="ours"' if timing.ours else ""
    if timing.seconds > 0:
        cells = [digits(timing.seconds * 1e3), digits(gflops(timing)), f"{digits(ours.seconds / timing.seconds)} x"]
    else:
        cells = ["wrong result", "", ""]
    cells += [f"{timing.error:.1e}", f"{timing.first * 1e3:.0f}"]
    return f"<tr{kind}><td>{escape(timing.name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
