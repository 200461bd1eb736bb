"""The handwritten digits that come with the package; README.md beside this file names their source and licence."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from numconv.files import npz
from numconv.ops.interpolation import interpolate
from numconv.problem import integer


def digits(size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Give 1797 real handwritten digits.

    Parameters
    ----------
    size : int
        Height and width in pixels. The pictures are of 8 x 8; others are resized bilinearly (32 for LeNet-5).

    Returns
    -------
    X : ndarray, shape (1797, 1, size, size), float32
        From 0 (paper) to 1 (ink).
    y : ndarray, shape (1797,), int64
        0 to 9, each about 180 times.

    Raises
    ------
    ValueError
        If `size` is less than 1.

    Notes
    -----
    "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak, UCI Machine Learning Repository,
    doi:10.24432/C50P49, CC BY 4.0: the test set, in scikit-learn's copy.
    """
    size = integer("size", size, 1)
    arrays, _ = npz.read(Path(__file__).with_name("digits.npz"))
    X = arrays["images"][:, None].astype(np.float32) / 16
    if size != X.shape[-1]:
        X = interpolate(X, size, mode="bilinear")
    return X, arrays["labels"].astype(np.int64)
