"""Products of matrices on a GPU."""

from __future__ import annotations

from typing import Any

from numconv.algorithm import kernels


def product(
    a: Any, b: Any, out: Any, *, transpose_b: bool = False, bias: Any = None,
    activation: tuple[str, float] | None = None,
) -> None:  # fmt: skip
    """out = activation(a @ b + bias), or with b.T; matrices are contiguous and of one dtype."""
    kernels("naive_product", "cuda").product(a, b, out, transpose_b=transpose_b, bias=bias, activation=activation)
