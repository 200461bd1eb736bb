"""The dtypes that weights come in, by the names that NumPy, ml_dtypes and PyTorch share."""

from __future__ import annotations

import numpy as np

from numconv.extras import require

NATIVE = frozenset(
    [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    + ["bool", "float16", "float32", "float64", "complex64", "complex128"]
)
FOREIGN = frozenset({"bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"})


def dtype_named(name: str) -> np.dtype:
    """The dtype of a name; those that NumPy does not know are ml_dtypes'.

    Raises
    ------
    ValueError
        For any other name.
    """
    if name in NATIVE:
        return np.dtype(name)
    if name in FOREIGN:
        return np.dtype(getattr(require("ml_dtypes", "nn"), name))
    raise ValueError(f"no dtype is named {name!r}")
