"""Dropout. Numbers come from the process's generator (see `numconv.random`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.autograd import functional as F
from numconv.autograd.tape import Tensor
from numconv.nn._module import Module, shown
from numconv.random import default_generator


class Dropout(Module):
    """In training, zero each element with probability `p` and scale the others by 1 / (1 - p).

    Parameters
    ----------
    p : float
    inplace : bool
        Shown, for PyTorch's sake; the result is a new array all the same.

    Raises
    ------
    ValueError
        If `p` is not from 0 to 1.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p must be from 0 to 1, got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input: Any) -> Any:
        if not self.training or self.p == 0:
            return input
        return F.dropout(input, self.p, True, rng=default_generator())

    def extra_repr(self) -> str:
        return shown(self, "p", "inplace")


class _Channels(Dropout):
    """Dropout of whole channels (Tompson et al. 2015)."""

    ndim: int

    def forward(self, input: Any) -> Any:
        if not self.training or self.p == 0:
            return input
        if input.ndim not in (self.ndim + 1, self.ndim + 2):
            raise ValueError(f"input must have {self.ndim + 2} axes, or {self.ndim + 1}, got shape {input.shape}")
        ones = Tensor(np.ones((*input.shape[: -self.ndim], *(1,) * self.ndim), input.dtype))
        return input * F.dropout(ones, self.p, True, rng=default_generator())


class Dropout1d(_Channels):
    """In training, zero each channel of (N, C, L) with probability `p`; arguments as in `Dropout`."""

    ndim = 1


class Dropout2d(_Channels):
    """In training, zero each channel of (N, C, H, W) with probability `p`; arguments as in `Dropout`."""

    ndim = 2


class Dropout3d(_Channels):
    """In training, zero each channel of (N, C, D, H, W) with probability `p`; arguments as in `Dropout`."""

    ndim = 3
