"""What is done to gradients between `backward` and the optimiser's step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from numconv.autograd.tape import Tensor
from numconv.ops import optimizer


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """Scale gradients in place so that their norm, as one vector, is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are skipped.
    max_norm : float
    norm_type : float
        inf is the largest magnitude.
    error_if_nonfinite : bool
        Whether a norm of NaN or Inf is an error; if not, gradients become NaN or 0.

    Returns
    -------
    float
        The norm before.

    Raises
    ------
    RuntimeError
        If the norm is not finite and `error_if_nonfinite` is set.
    """
    gradients = _gradients(parameters)
    norm = _joined([optimizer.norm(g.data, norm_type) for g in gradients], norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"the norm of the gradients is {norm}, so they cannot be clipped")
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1:
        for g in gradients:
            optimizer.scale(g.data, factor)
            g.bump()
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Cut gradients off in place at -clip_value and clip_value."""
    for g in _gradients(parameters):
        optimizer.clip(g.data, clip_value)
        g.bump()


def _joined(norms: list[float], norm_type: float) -> float:
    """The norm of parts' norms."""
    if any(map(math.isnan, norms)):
        return math.nan
    if norm_type == math.inf:
        return max(norms, default=0.0)
    return sum(norm**norm_type for norm in norms) ** (1 / norm_type)


def _gradients(parameters: Any) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in given if p.grad is not None]
