"""The fully connected layer."""

from __future__ import annotations

import math
from typing import Any

from numconv.autograd import functional as F
from numconv.nn import init
from numconv.nn._module import Module
from numconv.nn._parameter import new
from numconv.problem import integer


class Linear(Module):
    """input @ weight.T + bias over the last axis, both drawn evenly from -b to b, b = 1 / sqrt(in_features).

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : dtype, optional
        Of the parameters, float32 where left out.

    Raises
    ------
    ValueError, TypeError
        If a number of features is no integer of at least 0.
    """

    bias: Any

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None) -> None:
        super().__init__()
        self.in_features = integer("in_features", in_features, 0)
        self.out_features = integer("out_features", out_features, 0)
        self.weight = new((out_features, in_features), dtype)
        self.register_parameter("bias", new((out_features,), dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(max(self.in_features, 1))
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Any) -> Any:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
