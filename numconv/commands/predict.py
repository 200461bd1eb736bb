"""Say what pictures show, by a model that was trained.

examples:
  numconv predict numconv-train/model.npz seven.png --invert
  numconv predict numconv-train/model.npz --data digits

Each picture gets a line with the likeliest classes. --data gives the share of a data set that is right.
MNIST's and the digits' pictures are white ink on black: --invert turns black ink on white into that.
Pictures need the extra: pip install numconv[data]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from numconv.commands.common import add_json, show, write_json
from numconv.commands.datasets import HELP, load, read_picture
from numconv.commands.train import judge, restore
from numconv.terminal import Progress

LIKELIEST = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL.npz", help="what numconv train wrote")
    parser.add_argument("pictures", type=Path, nargs="*", metavar="PICTURE")
    parser.add_argument("--data", help=HELP)
    parser.add_argument("--invert", action="store_true", help="the pictures are dark on bright")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    if not options.pictures and options.data is None:
        raise ValueError("PICTURE: expected pictures, or --data")
    model, classes, (channels, height, _) = restore(options.model)
    found: dict[str, Any] = {}
    with Progress("steps", bool(options.pictures) + (options.data is not None)) as progress:
        if options.pictures:
            from numconv import train

            progress.begin(f"{len(options.pictures)} pictures")
            x = np.concatenate([read_picture(path, height, channels, options.invert) for path in options.pictures])
            scored = zip(options.pictures, train.predict(model, x).astype(np.float64), strict=True)
            found["pictures"] = {str(path): _likeliest(scores, classes) for path, scores in scored}
        if options.data is not None:
            progress.begin(f"pictures of {options.data}")
            data = load(options.data, height, channels, test=True)
            found |= {"right": judge(model, data), "of": len(data.y)}
    if options.pictures:
        width = max(map(len, found["pictures"]))
        for path, best in found["pictures"].items():  # a line each, however long the path is
            show("  ".join([path.ljust(width), *(f"{name} {chance:.1%}" for name, chance in best.items())]), options)
    if options.data is not None:
        show(f"{found['right']:.2%} of {found['of']} pictures right", options)
    write_json(found, options)


def _likeliest(scores: np.ndarray, classes: list[str]) -> dict[str, float]:
    """The first few classes, and how likely they are."""
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    return {classes[i]: float(chances[i]) for i in np.argsort(-chances, kind="stable")[:LIKELIEST]}
