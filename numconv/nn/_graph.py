"""Convolution on graphs.

    D^-1/2 (A + I) D^-1/2 X W + b        D: the degrees, row sums of A + I

T. Kipf and M. Welling, Semi-supervised classification with graph convolutional networks, ICLR 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.autograd import functional as F
from numconv.autograd.operations import operation
from numconv.autograd.tape import Tensor, apply
from numconv.nn import init
from numconv.nn._module import Module
from numconv.nn._parameter import new
from numconv.ops.sparse import sparse_matmul
from numconv.problem import integer


def _sparse_rule(grad: Tensor, output: Any, inputs: Any, attributes: dict[str, Any], needs: Any) -> tuple[Any, ...]:
    transposed = not attributes.get("transposed", False)
    return (apply("sparse_matmul", grad, matrix=attributes["matrix"], transposed=transposed),)


operation("sparse_matmul", sparse_matmul, _sparse_rule, reads=[[]])


def is_sparse(matrix: Any) -> bool:
    """Whether it is a sparse matrix or array of SciPy."""
    return hasattr(matrix, "tocsr")


def normalized_adjacency(adjacency: Any, dtype: Any = np.float32) -> Any:
    """D^-1/2 (A + I) D^-1/2 of a graph.

    Parameters
    ----------
    adjacency : Tensor, array_like or scipy.sparse matrix, shape (n, n)
        Weights of the edges, 0 where there is none.
    dtype : dtype
        Of the result, unless `adjacency` is a Tensor.

    Returns
    -------
    Tensor, or a sparse array of SciPy where one was given

    Raises
    ------
    ValueError
        If `adjacency` is not square.
    """
    if len(adjacency.shape) != 2 or adjacency.shape[0] != adjacency.shape[1]:
        raise ValueError(f"adjacency must be square, got shape {adjacency.shape}")
    n = adjacency.shape[0]
    if is_sparse(adjacency):
        from scipy import sparse

        looped = sparse.csr_array(adjacency).astype(dtype) + sparse.eye_array(n, dtype=dtype, format="csr")
        scale = sparse.diags_array(1 / np.sqrt(looped.sum(axis=1)), dtype=dtype)
        return (scale @ looped @ scale).tocsr()
    dense = adjacency if isinstance(adjacency, Tensor) else Tensor(np.asarray(adjacency, dtype))
    looped = dense + np.eye(n, dtype=dense.dtype)
    scale = looped.sum(1) ** -0.5
    return looped * scale.reshape(n, 1) * scale


class GraphConv(Module):
    """Each node's features become a mean over its neighbours and itself, times a weight that is learned.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    normalize : bool
        Whether `forward` gets an adjacency matrix; if not, what `normalized_adjacency` makes of one, so that it need
        not be made again each time.
    dtype : dtype, optional
        Of the parameters, float32 where left out.

    Raises
    ------
    ValueError, TypeError
        If a number of features is no integer of at least 1.
    """

    bias: Any

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, normalize: bool = True, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = integer("in_features", in_features, 1)
        self.out_features = integer("out_features", out_features, 1)
        self.normalize = normalize
        self.weight = new((in_features, out_features), dtype)
        self.register_parameter("bias", new((out_features,), dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight anew, by Xavier's formula, and set the bias to zeros."""
        init.xavier_uniform_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Any, adjacency: Any) -> Any:
        """`input` has shape (n, in_features), `adjacency` (n, n), dense or sparse."""
        if input.ndim != 2 or input.shape != (adjacency.shape[0], self.in_features):
            raise ValueError(
                f"input must have shape {(adjacency.shape[0], self.in_features)}, a row a node, got {input.shape}"
            )
        spread = normalized_adjacency(adjacency, self.weight.dtype) if self.normalize else adjacency
        features = F.matmul(input, self.weight)
        if is_sparse(spread):
            result = apply("sparse_matmul", features, matrix=spread)
        else:
            result = F.matmul(spread, features)
        return result if self.bias is None else result + self.bias

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
