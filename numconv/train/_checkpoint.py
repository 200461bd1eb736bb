"""A run in a file: weights, the optimiser's state and everything that random numbers come from.

Arrays have names `model.*` and `optimizer.NUMBER.*`; the rest is a JSON text beside them.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from numconv import nn
from numconv.ops import arrays

Path = str | os.PathLike[str]


def save(
    path: Path, model: nn.Module, optimizer: Any, scheduler: Any, loader: Any, generator: np.random.Generator,
    progress: dict[str, Any],
) -> None:  # fmt: skip
    """Write where a run stands: the old file, or all of the new one."""
    named = {f"model.{name}": array for name, array in model.state_dict().items()}
    state = optimizer.state_dict()
    counts: dict[str, dict[str, Any]] = {}
    for number, kept in state["state"].items():
        counts[number] = {}
        for name, value in kept.items():
            if np.ndim(value):
                named[f"optimizer.{number}.{name}"] = arrays.to_numpy(value)
            else:
                counts[number][name] = value if value is None or isinstance(value, int) else float(value)
    notes = {
        "optimizer": {"state": counts, "param_groups": state["param_groups"]},
        "scheduler": None if scheduler is None else scheduler.state_dict(),
        "loader": loader.state_dict(),
        "random": generator.bit_generator.state,
        "progress": progress,
    }
    nn.save(named, path, {"numconv.train": json.dumps(notes, default=np.ndarray.tolist)})


def load(
    path: Path, model: nn.Module, optimizer: Any, scheduler: Any, loader: Any, generator: np.random.Generator,
    expected: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Go back to where a run stood; what was its progress.

    Parameters
    ----------
    expected : dict
        What of the progress must be as it was.

    Raises
    ------
    ValueError
        If the file is no checkpoint, or of another model, optimiser or data.
    """
    try:
        notes = json.loads(nn.load_metadata(path)["numconv.train"])
        progress, kept = notes["progress"], notes["optimizer"]
        states: dict[int, dict[str, Any]] = {int(number): counts for number, counts in kept["state"].items()}
        weights = {}
        for name, array in nn.load(path).items():
            part, _, rest = name.partition(".")
            if part == "model":
                weights[rest] = array
            else:
                number, _, what = rest.partition(".")
                states[int(number)][what] = array
        given = {name: progress[name] for name in expected}
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{os.fspath(path)} is no checkpoint of a training run: {error!r}") from error
    if given != expected:
        raise ValueError(f"{os.fspath(path)} is of another run: got {given}, expected {expected}")
    if (notes["scheduler"] is None) != (scheduler is None):
        raise ValueError(f"{os.fspath(path)} is of a run {'with' if notes['scheduler'] else 'without'} a scheduler")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{os.fspath(path)} is of another model: {error}") from error
    optimizer.load_state_dict({"state": states, "param_groups": kept["param_groups"]})
    if scheduler is not None:
        scheduler.load_state_dict(notes["scheduler"])
    loader.load_state_dict(notes["loader"])
    generator.bit_generator.state = notes["random"]
    return progress
