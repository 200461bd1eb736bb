"""Pictures of a run and of what a model learned, as PNG files (needs matplotlib: the extra `train`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numconv.models import look
from numconv.models.look._pictures import MOST, Path, grid, new_sheet, stretched
from numconv.nn import Conv2d, Module
from numconv.ops import arrays

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
    sheet = new_sheet(9, 3.4)
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
    grid([("filters of the first layer", [0.5 + 0.5 * one / most for one in maps])], path)


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
    found = look.features(model, x[None], [name for name, _ in _convolutions(model)[:layers]])
    picture = np.moveaxis(x, 0, -1) if len(x) == 3 else x[0]
    rows = [(name, [stretched(one) for one in maps[0][:MOST]]) for name, maps in found.items()]
    grid([("input", [stretched(picture)]), *rows], path)


def _convolutions(model: Module) -> list[tuple[str, Any]]:
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, Conv2d)]
    if not found:
        raise ValueError(f"model must have a Conv2d, {type(model).__name__} has none")
    return found
