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

import numpy as np

from numconv.commands.datasets import HELP, load, read_picture
from numconv.commands.train import judge, restore
from numconv.terminal import table

LIKELIEST = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL.npz", help="what numconv train wrote")
    parser.add_argument("pictures", type=Path, nargs="*", metavar="PICTURE")
    parser.add_argument("--data", help=HELP)
    parser.add_argument("--invert", action="store_true", help="the pictures are dark on bright")


def run(options: argparse.Namespace) -> None:
    if not options.pictures and options.data is None:
        raise ValueError("PICTURE: expected pictures, or --data")
    model, classes, (channels, height, _) = restore(options.model)
    if options.pictures:
        from numconv import train

        x = np.concatenate([read_picture(path, height, channels, options.invert) for path in options.pictures])
        rows = zip(options.pictures, train.predict(model, x).astype(np.float64), strict=True)
        print(table([[str(path), *_likeliest(scores, classes)] for path, scores in rows]))
    if options.data is not None:
        found = load(options.data, height, channels, test=True)
        print(f"{judge(model, found):.2%} of {len(found.y)} pictures right")


def _likeliest(scores: np.ndarray, classes: list[str]) -> list[str]:
    """`7 99.8%`, the first few."""
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    return [f"{classes[i]} {chances[i]:.1%}" for i in np.argsort(-chances, kind="stable")[:LIKELIEST]]
