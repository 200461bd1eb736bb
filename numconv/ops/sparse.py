"""Products with sparse matrices of SciPy."""

from __future__ import annotations

from typing import Any

from numconv.ops.arrays import by_device


@by_device
def sparse_matmul(x: Any, *, matrix: Any, transposed: bool = False) -> Any:
    """matrix @ x, or matrix.T @ x.

    Parameters
    ----------
    x : ndarray, shape (n, k)
    matrix : scipy.sparse matrix or array
    transposed : bool

    Returns
    -------
    ndarray
    """
    return (matrix.T if transposed else matrix) @ x
