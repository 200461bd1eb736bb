"""Sheets as SVG. Steps follow each other by CSS animation; where none runs, the first one stands."""

from __future__ import annotations

import zlib
from html import escape

from numconv.drawing.shapes import THEMES, THIN, Box, Line, Shape, Sheet, Text

FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"


def written(sheet: Sheet, theme: str, seconds: float) -> str:
    """The text of an SVG file; each step stands for so many seconds."""
    colours = THEMES[theme]
    size = f"{sheet.width:.0f}", f"{sheet.height:.0f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" font-family="{FONT}" role="img">',
        f"<title>{escape(sheet.title)}</title>",
    ]
    name = f"s{zlib.crc32(repr(sheet).encode()):08x}"  # of its own, since several pictures may stand on one page
    if len(sheet.steps) > 1:
        parts.append(_animation(name, len(sheet.steps), seconds))
    parts += [_shape(shape, colours) for shape in sheet.base]
    for i, shapes in enumerate(sheet.steps):
        delay = f' style="animation-delay:{i * seconds:g}s"' if len(sheet.steps) > 1 else ""
        kind = f"{name} {name}-first" if i == 0 else name
        parts.append(f'<g class="{kind}"{delay}>')
        parts += [_shape(shape, colours) for shape in shapes]
        parts.append("</g>")
    return "\n".join([*parts, "</svg>\n"])


def _animation(name: str, steps: int, seconds: float) -> str:
    return (
        f"<style>.{name}{{visibility:hidden;animation:{name} {steps * seconds:g}s step-end infinite}}"
        f".{name}-first{{visibility:visible}}"
        f"@keyframes {name}{{0%{{visibility:visible}}{100 / steps:.4g}%,100%{{visibility:hidden}}}}"
        f"@media (prefers-reduced-motion:reduce){{.{name}{{animation:none}}}}</style>"
    )


def _shape(shape: Shape, colours: dict[str, tuple[str, str]]) -> str:
    fill, stroke = colours[shape.role]
    match shape:
        case Box():
            dashes = ' stroke-dasharray="3 3"' if shape.dashed else ""
            bold = "" if shape.role in THIN else f' stroke-width="{2.6 if shape.role == "frame" else 1.6}"'
            return (
                f'<rect x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" height="{shape.height:g}" '
                f'fill="{fill}" stroke="{stroke}"{bold}{dashes}/>'
            )
        case Line():
            return (
                f'<line x1="{shape.x:g}" y1="{shape.y:g}" x2="{shape.to_x:g}" y2="{shape.to_y:g}" '
                f'stroke="{stroke}" stroke-width="1.8"/>'
            )
        case Text():
            bold = ' font-weight="bold"' if shape.bold else ""
            anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
            return (
                f'<text x="{shape.x:g}" y="{shape.y + shape.size * 0.36:.4g}" font-size="{shape.size:g}" '
                f'fill="{stroke}"{anchor}{bold}>{escape(shape.text)}</text>'
            )
