"""Data by name on the command line: pictures with what they show, at the size that a model takes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from numconv.commands.common import open_picture
from numconv.extras import require

FASHION = (
    "T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
MARGIN = 4  # pixels that are padded with zeros rather than stretched: MNIST's 28 to LeNet's 32
HELP = "digits, mnist, fashion, FILE.npz with X and y, or a folder of folders of pictures"


@dataclass(frozen=True)
class Data:
    """Pictures (N, C, H, W) of float32, classes (N,) of int64 and their names."""

    X: np.ndarray
    y: np.ndarray
    classes: list[str]


def load(name: str, size: int | None, channels: int | None = None, test: bool = False) -> Data:
    """The data set of a name.

    Parameters
    ----------
    name : str
        As `HELP` says.
    size : int, optional
        Height and width; the pictures' own where left out.
    channels : int, optional
        1 or 3; the pictures' own where left out.
    test : bool
        Whether the part to test with is wanted, of data sets that come in two.

    Raises
    ------
    ValueError
        If there is no such data set, or its file does not hold X and y.
    """
    from numconv import data

    numerals = [str(i) for i in range(10)]
    if name == "digits":
        X, y, classes = *data.digits(size or 8), numerals
    elif name == "mnist":
        X, y, classes = *data.mnist_5000(), numerals
    elif name == "fashion":
        folder = os.environ.get("NUMCONV_FASHION_MNIST")
        X, y, classes = *data.fashion_mnist(not test, *([folder] if folder else [])), list(FASHION)
    elif name.endswith(".npz"):
        X, y = _read(name)
        classes = [str(i) for i in range(int(y.max(initial=0)) + 1)]
    elif Path(name).is_dir():
        folder_of_folders = data.ImageFolder(name, size, "L" if channels == 1 else "RGB")
        X, y, classes = *folder_of_folders.arrays(), folder_of_folders.classes
    else:
        raise ValueError(f"--data: expected {HELP}, got {name!r}")
    return Data(fitted(X, size, channels), y, classes)


def fitted(X: np.ndarray, size: int | None, channels: int | None) -> np.ndarray:
    """Pictures of another size and number of channels."""
    from numconv import interpolate

    if size is not None and X.shape[2:] != (size, size):
        before = [(size - n) // 2 for n in X.shape[2:]]
        if all(0 <= size - n <= MARGIN for n in X.shape[2:]):
            around = [(b, size - n - b) for b, n in zip(before, X.shape[2:])]
            X = np.pad(X, [(0, 0), (0, 0), *around])
        else:
            X = interpolate(X, size, mode="bilinear")
    if channels == 3 and X.shape[1] == 1:
        X = np.repeat(X, 3, 1)
    elif channels == 1 and X.shape[1] == 3:
        X = np.einsum("nchw,c->nhw", X, np.array([0.299, 0.587, 0.114], np.float32))[:, None]
    return np.ascontiguousarray(X)


def read_picture(path: Path, size: int, channels: int, invert: bool) -> np.ndarray:
    """One picture (1, C, size, size) of 0 to 1."""
    picture = open_picture(path).convert("L" if channels == 1 else "RGB")
    bilinear = require("PIL.Image", "data").Resampling.BILINEAR
    pixels = np.asarray(picture.resize((size, size), bilinear), np.float32) / 255
    pixels = pixels[None] if channels == 1 else np.moveaxis(pixels, 2, 0)
    return np.ascontiguousarray(1 - pixels if invert else pixels)[None]


def _read(name: str) -> tuple[np.ndarray, np.ndarray]:
    from numconv.data import read_npz

    arrays = read_npz(name)
    if not {"X", "y"} <= set(arrays):
        raise ValueError(f"{name}: expected arrays X and y, got {', '.join(arrays) or 'none'}")
    X, y = arrays["X"], arrays["y"]
    if X.ndim == 3:
        X = X[:, None]
    if X.ndim != 4 or y.shape != X.shape[:1] or y.dtype.kind not in "iu" or y.min(initial=0) < 0:
        raise ValueError(f"{name}: expected pictures X (N, C, H, W) and classes y (N,), got {X.shape} and {y.shape}")
    scale = np.float32(255 if X.dtype == np.uint8 else 1)
    return X.astype(np.float32) / scale, y.astype(np.int64)
