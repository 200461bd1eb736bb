"""Gradients that lie in memory as what they are the gradients of."""

from __future__ import annotations

from typing import Any

from numconv.autograd.node import Outline
from numconv.autograd.tape import apply
from numconv.ops.layouts import channels_last, turns


def laid_like(grad: Any, x: Any, ndim: int, data_format: str | None) -> Any:
    """A gradient of an operation on images `x`, with the channels last in memory if theirs are.

    Of one pixel, strides do not tell once something was computed with it.
    """
    shape = x if isinstance(x, Outline) else x.data
    if x.ndim == ndim + 2 and turns(shape, ndim, data_format) and not channels_last(grad.data, ndim):
        return apply("contiguous", grad, last=True)
    return grad
