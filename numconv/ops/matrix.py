"""Convolutions as matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.ops.convolution import as_array
from numconv.problem import ConvProblem, integer, supported_dtype

__all__ = ["convolution_matrix"]

LIMIT = 2 << 30  # bytes


def convolution_matrix(problem: Any, weight: Any, **options: Any) -> np.ndarray:
    """The matrix M of a convolution: ``M @ x.ravel()`` convolves one image x, ``M.T`` is the transposed convolution.

    Parameters
    ----------
    problem : ConvProblem or sequence of int
        A problem of any pass but the weight's; or the input's shape, ``(C, *spatial)`` or ``(N, C, *spatial)``.
    weight : array_like
        As in `conv2d`; it has two axes more than there are spatial ones.
    **options
        With a shape: stride, padding, dilation and groups, as in `conv2d`.

    Returns
    -------
    numpy.ndarray, 2-D
        Of the weight's dtype: rows for the elements of the result, columns for those of one image, both channels
        first. The matrix of a transposed problem is the transpose of the forward one.

    Raises
    ------
    ValueError
        If shapes do not fit together, or the matrix would take more than 2 GiB.
    TypeError
        If the dtype is not supported or an option is not known.

    References
    ----------
    V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning, 2016, section 4.

    Examples
    --------
    >>> convolution_matrix((1, 3), [[[1, 2]]])
    array([[1, 2, 0],
           [0, 1, 2]])
    """
    weight = np.asarray(as_array("weight", weight))
    dtype = supported_dtype("weight", weight.dtype)
    if not isinstance(problem, ConvProblem):
        problem = _problem(problem, weight, options)
    elif options:
        raise TypeError(f"options come with a shape, not with a problem: got {sorted(options)}")
    if problem.direction == "weight":
        raise ValueError(f"problem must be a forward, transposed or input pass, got {problem.operation}")
    if weight.shape != problem.weight_shape:
        raise ValueError(f"weight must have the problem's shape {problem.weight_shape}, got {weight.shape}")
    outputs, inputs = math.prod(problem.out_spatial), math.prod(problem.spatial)
    rows, columns = problem.co * outputs, problem.ci * inputs
    size = rows * columns * dtype.itemsize
    if size > LIMIT:
        raise ValueError(
            f"the matrix would have {rows} x {columns} = {rows * columns:,} entries, {size:,} bytes, above the limit "
            f"of {LIMIT:,}; the convolution itself takes {problem.multiply_adds:,} multiplications and no matrix"
        )
    matrix = np.zeros((problem.co, outputs, problem.ci, inputs), dtype)
    co, ci = problem.co // problem.groups, problem.ci // problem.groups
    for tap in np.ndindex(*problem.kernel):
        out, inside = _links(problem, tap)
        for g in range(problem.groups):
            of, source = slice(g * co, (g + 1) * co), slice(g * ci, (g + 1) * ci)
            matrix[of, out, source, inside] = weight[(of, slice(None), *tap)]
    matrix = matrix.reshape(rows, columns)
    return np.ascontiguousarray(matrix.T) if problem.direction == "input" else matrix


def _problem(shape: Any, weight: np.ndarray, options: dict[str, Any]) -> ConvProblem:
    """The forward problem of one image of a shape."""
    sizes = tuple(integer(f"problem[{i}]", n, 0) for i, n in enumerate(shape))
    ndim = weight.ndim - 2
    if ndim not in (1, 2, 3) or len(sizes) not in (ndim + 1, ndim + 2):
        raise ValueError(
            f"problem must be a ConvProblem or a shape (C, *spatial) or (N, C, *spatial), and weight have two axes "
            f"more than there are spatial ones, 3 to 5: got problem {shape!r} and weight of shape {weight.shape}"
        )
    unknown = set(options) - {"stride", "padding", "dilation", "groups"}
    if unknown:
        raise TypeError(f"options must be stride, padding, dilation or groups, got {sorted(unknown)}")
    return ConvProblem.make(f"conv{ndim}d", (1, *sizes[-ndim - 1 :]), weight.shape, weight.dtype, **options)


def _links(problem: ConvProblem, tap: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Flat (output positions, input positions) that a tap of the kernel links."""
    out_of, in_of = [], []
    for k, size, count, s, d, (before, _) in zip(
        tap, problem.spatial, problem.out_spatial, problem.stride, problem.dilation, problem.padding
    ):
        position = np.arange(count) * s + k * d - before
        inside = (position >= 0) & (position < size)
        out_of.append(np.flatnonzero(inside))
        in_of.append(position[inside])
    out = np.ravel_multi_index(np.ix_(*out_of), problem.out_spatial).ravel()
    return out, np.ravel_multi_index(np.ix_(*in_of), problem.spatial).ravel()
