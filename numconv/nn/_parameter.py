"""Parameters: what a layer learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numconv.autograd.tape import Tensor
from numconv.ops import arrays


class Parameter(Tensor):
    """A Tensor that a module learns: assigned to an attribute of one, it is among its parameters.

    Parameters
    ----------
    data : Tensor or array_like
        Copied, since optimisers change parameters in place.
    requires_grad : bool
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        data = data.data if isinstance(data, Tensor) else arrays.asarray(data)
        super().__init__(arrays.contiguous(arrays.copy(data), last=False), requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def new(shape: Sequence[int], dtype: Any = None) -> Parameter:
    """A Parameter of zeros, float32 unless said otherwise; the layer fills it."""
    parameter = Parameter.__new__(Parameter)
    Tensor.__init__(parameter, np.zeros(tuple(shape), np.float32 if dtype is None else dtype), True)
    return parameter
