"""Pictures of a run and of what a model learned, as PNG files (needs matplotlib: the extra `train`)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from numconv.extras import require
from numconv.nn import Conv2d, Module
from numconv.ops import arrays
from numconv.train._evaluate import predict

Path = str | os.PathLike[str]
MOST = 32  # maps of a layer that are drawn
COLUMNS = 8
TRAINED, JUDGED = "#1f6feb", "#d97706"


def draw_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draw loss and accuracy over the epochs.

    Parameters
    ----------
    history : sequence of dict
        What `fit` returned.
    path : path
        The PNG file to write.

    Raises
    ------
    ValueError
        If `history` is empty.
    """
    if not history:
        raise ValueError("history must have at least one epoch, got none")
    sheet = _sheet(9, 3.4)
    epochs = [entry["epoch"] for entry in history]
    for axes, what in zip(sheet.subplots(1, 2), ("loss", "accuracy")):
        for name, colour, label in ((what, TRAINED, "training"), (f"validation_{what}", JUDGED, "validation")):
            if name in history[0]:
                axes.plot(epochs, [entry[name] for entry in history], "o-", color=colour, ms=3.5, label=label)
        axes.set_title(what)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    sheet.savefig(path, dpi=110, format="png")


def draw_filters(model: Module, path: Path) -> None:
    """Draw the weights of the first 2-D convolution, at most 32 of its filters; grey is zero, or colours together.

    Raises
    ------
    ValueError
        If the model has no 2-D convolution.
    """
    weight = arrays.to_numpy(_convolutions(model)[0][1].weight.data)[:MOST]
    colours = weight.shape[1] == 3
    maps = np.moveaxis(weight, 1, -1) if colours else weight[:, 0]
    most = np.abs(weight).max() or 1
    _grid([("filters of the first layer", [0.5 + 0.5 * one / most for one in maps])], path)


def draw_features(model: Module, x: Any, path: Path, layers: int = 3) -> None:
    """Draw a picture and what the first 2-D convolutions make of it.

    Parameters
    ----------
    model : Module
    x : array_like, shape (C, H, W)
    path : path
        The PNG file to write.
    layers : int
        How many convolutions at most; 32 channels of each at most.

    Raises
    ------
    ValueError
        If `x` is not one picture, or the model has no 2-D convolution.
    """
    x = np.asarray(x)
    if x.ndim != 3:
        raise ValueError(f"x must be one picture (C, H, W), got shape {x.shape}")
    found: dict[str, np.ndarray] = {}

    def hook(name: str) -> Any:
        return lambda module, inputs, output: found.__setitem__(name, arrays.to_numpy(output.data)[0])

    handles = [module.register_forward_hook(hook(name)) for name, module in _convolutions(model)[:layers]]
    try:
        predict(model, x[None])
    finally:
        for handle in handles:
            handle.remove()
    picture = np.moveaxis(x, 0, -1) if len(x) == 3 else x[0]
    rows = [(name, [_stretched(one) for one in maps[:MOST]]) for name, maps in found.items()]
    _grid([("input", [_stretched(picture)]), *rows], path)


def _convolutions(model: Module) -> list[tuple[str, Any]]:
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, Conv2d)]
    if not found:
        raise ValueError(f"model must have a Conv2d, {type(model).__name__} has none")
    return found


def _stretched(x: np.ndarray) -> np.ndarray:
    """From 0 to 1."""
    return (x - x.min()) / ((x.max() - x.min()) or 1)


def _grid(groups: Iterable[tuple[str, Sequence[np.ndarray]]], path: Path) -> None:
    """Rows of small pictures under titles."""
    groups = list(groups)
    lines = [-(-len(pictures) // COLUMNS) for _, pictures in groups]
    sheet = _sheet(COLUMNS, sum(lines) + 0.4 * len(groups))
    parts = np.atleast_1d(sheet.subfigures(len(groups), 1, height_ratios=[line + 0.4 for line in lines]))
    for part, (title, pictures), line in zip(parts, groups, lines):
        part.suptitle(title, fontsize=9)
        cells = part.subplots(line, COLUMNS, squeeze=False).flat
        for axes in cells:
            axes.set_axis_off()
        for axes, picture in zip(part.axes, pictures):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    sheet.savefig(path, dpi=110, format="png")


def _sheet(width: float, height: float) -> Any:
    sheet = require("matplotlib.figure", "train").Figure(figsize=(width, height), layout="constrained")
    require("matplotlib.backends.backend_agg", "train").FigureCanvasAgg(sheet)
    return sheet
