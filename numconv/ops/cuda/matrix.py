"""Products of matrices on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.kernels.cuda import memory


def product(
    a: Any, b: Any, out: Any, *, transpose_b: bool = False, bias: Any = None, activation: Any = None
) -> None:  # fmt: skip
    """out = activation(a @ b + bias), or with b.T; matrices are contiguous and of one dtype.

    float32 goes by tiles, any other dtype by the definition.
    """
    tiled = a.dtype == np.float32 and all(memory.aligned(m) for m in (a, b, out))
    kernels("matrix_product" if tiled else "naive_product", "cuda").product(
        a, b, out, transpose_b=transpose_b, bias=bias, activation=activation
    )
