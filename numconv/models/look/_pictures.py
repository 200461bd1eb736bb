"""Pictures of what was found in a model, as PNG files (needs matplotlib: the extra `train`)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numconv.extras import require

Path = str | os.PathLike[str]
MOST = 32  # maps of a layer that are drawn
COLUMNS = 8


def draw_maps(maps: Mapping[str, Any], path: Path, most: int = MOST) -> None:
    """Draw the channels of feature maps in a grid, each from its least value (black) to its greatest (white).

    Parameters
    ----------
    maps : mapping of str to array_like, shape (N, C, H, W)
        Such as `features` gives; the first example is drawn.
    path : path
        The PNG file to write.
    most : int
        How many channels of each layer at most.

    Raises
    ------
    ValueError
        If there are none, or some are not maps (N, C, H, W).
    """
    groups = []
    for name, found in maps.items():
        values = np.asarray(found)
        if values.ndim != 4 or not values.size:
            raise ValueError(f"maps must be of shape (N, C, H, W), {name!r} has {values.shape}")
        groups.append((f"{name}: {values.shape[1]} of {values.shape[2]} x {values.shape[3]}", [*values[0][:most]]))
    grid([(title, [stretched(one) for one in channels]) for title, channels in groups], path)


def draw_pictures(pictures: Mapping[str, Any], path: Path) -> None:
    """Draw pictures in a row, each under its title and from its least value to its greatest.

    Parameters
    ----------
    pictures : mapping of str to array_like, shape (H, W), (1, H, W) or (3, H, W)
    path : path
        The PNG file to write.

    Raises
    ------
    ValueError
        If there are none, or one is no picture.
    """
    if not pictures:
        raise ValueError("pictures must have at least one, got none")
    shown = [(title, stretched(_last("pictures", picture))) for title, picture in pictures.items()]
    sheet = new_sheet(2.4 * len(shown), 2.7)
    for axes, (title, picture) in zip(sheet.subplots(1, len(shown), squeeze=False).flat, shown):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    sheet.savefig(path, dpi=110, format="png")


def overlay(picture: Any, heat: Any) -> np.ndarray:
    """Lay a heat map over a picture: the hotter, the less of the picture and the more of its colour.

    Parameters
    ----------
    picture : array_like, shape (H, W), (1, H, W) or (3, H, W)
        Brought to the range from its least value to its greatest, so that it may be normalised as models want it.
    heat : array_like, shape (H, W)
        At least 0, such as a map of `grad_cam`; its greatest value is the hottest.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)

    Raises
    ------
    ValueError
        If shapes do not go together, or heat is negative or NaN.
    """
    shown, heat = stretched(_last("picture", picture)), np.asarray(heat)
    if heat.shape != shown.shape[:2]:
        raise ValueError(f"heat must be of the picture's size, {shown.shape[:2]}, got shape {heat.shape}")
    if not heat.min() >= 0:  # NaN neither
        raise ValueError(f"heat must be at least 0, got {heat.min()}")
    grey = shown if shown.ndim == 2 else shown @ (0.299, 0.587, 0.114)
    hot = (heat / (heat.max() or 1))[:, :, None]
    colours = require("matplotlib", "train").colormaps["turbo"](0.9 * hot[:, :, 0])[:, :, :3]
    return np.rint(255 * ((1 - 0.6 * hot) * grey[:, :, None] + 0.6 * hot * colours)).astype(np.uint8)


def draw_heat(picture: Any, heat: Any, path: Path) -> None:
    """Draw a picture, and beside it the same with a heat map laid over it.

    Parameters
    ----------
    picture, heat
        As in `overlay`.
    path : path
        The PNG file to write.

    Raises
    ------
    ValueError
        As `overlay`.
    """
    both = stretched(_last("picture", picture)), overlay(picture, heat)
    height, width = both[1].shape[:2]
    sheet = new_sheet(6, 3 * height / width)
    for axes, shown in zip(sheet.subplots(1, 2), both):
        axes.imshow(shown, cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
    sheet.savefig(path, dpi=110, format="png")


def grid(groups: Sequence[tuple[str, Sequence[np.ndarray]]], path: Path) -> None:
    """Rows of small pictures, of values from 0 to 1, under titles."""
    if not groups:
        raise ValueError("there must be maps to draw, got none")
    lines = [-(-len(pictures) // COLUMNS) for _, pictures in groups]
    heights = [0.4 + count * part[0].shape[0] / part[0].shape[1] for count, (_, part) in zip(lines, groups)]
    sheet = new_sheet(COLUMNS, sum(heights))
    parts = np.atleast_1d(sheet.subfigures(len(groups), 1, height_ratios=heights))
    for part, (title, pictures), count in zip(parts, groups, lines):
        part.suptitle(title, fontsize=9)
        cells = part.subplots(count, COLUMNS, squeeze=False).flat
        for axes in cells:
            axes.set_axis_off()
        for axes, picture in zip(part.axes, pictures):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    sheet.savefig(path, dpi=110, format="png")


def new_sheet(width: float, height: float) -> Any:
    """A figure of so many inches, which no window shows."""
    sheet = require("matplotlib.figure", "train").Figure(figsize=(width, height), layout="constrained")
    require("matplotlib.backends.backend_agg", "train").FigureCanvasAgg(sheet)
    return sheet


def stretched(x: np.ndarray) -> np.ndarray:
    """From 0 to 1."""
    return (x - x.min()) / ((x.max() - x.min()) or 1)


def _last(name: str, picture: Any) -> np.ndarray:
    """A picture as it is drawn: (H, W), or with colours last."""
    values = np.asarray(picture)
    if values.ndim == 2 or (values.ndim == 3 and values.shape[0] in (1, 3)):
        return values if values.ndim == 2 else values[0] if len(values) == 1 else np.moveaxis(values, 0, -1)
    raise ValueError(f"{name} must be of shape (H, W), (1, H, W) or (3, H, W), got {values.shape}")
