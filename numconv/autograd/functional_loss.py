"""Losses of Tensors, by the names and arguments of torch.nn.functional; hinge, Dice and penalties are numconv's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numconv.autograd.tape import Tensor, apply

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dice_loss",
    "hinge_loss",
    "l1_loss",
    "l1_penalty",
    "l2_penalty",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]


def cross_entropy(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """As `numconv.cross_entropy`; targets that are probabilities may want gradients, too."""
    return apply(
        "cross_entropy", input, target, weight, ignore_index=ignore_index, reduction=reduction,
        label_smoothing=float(label_smoothing),
    )[0]  # fmt: skip


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """As `numconv.nll_loss`."""
    return apply("nll_loss", input, target, weight, ignore_index=ignore_index, reduction=reduction)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """(input - target)^2."""
    return apply("mse_loss", input, target, reduction=reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """``|input - target|``."""
    return apply("l1_loss", input, target, reduction=reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """As `numconv.smooth_l1_loss`."""
    return apply("smooth_l1_loss", input, target, reduction=reduction, beta=float(beta))


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """As `numconv.binary_cross_entropy_with_logits`."""
    return apply("binary_cross_entropy_with_logits", input, target, weight, pos_weight, reduction=reduction)


def hinge_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """max(0, margin - input target), for targets -1 and 1."""
    return apply("hinge_loss", input, target, margin=float(margin), reduction=reduction)


def dice_loss(input: Any, target: Any, smooth: float = 1.0, reduction: str = "mean") -> Tensor:
    """As `numconv.dice_loss`."""
    return apply("dice_loss", input, target, smooth=smooth, reduction=reduction)


def _penalty(name: str, parameters: Any) -> Tensor:
    given = parameters if isinstance(parameters, Iterable) and not isinstance(parameters, Tensor) else (parameters,)
    terms = [apply(name, parameter) for parameter in given]
    if not terms:
        raise ValueError("parameters must hold a Tensor, got none")
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def l1_penalty(parameters: Any) -> Tensor:
    """The sum of the absolute values of a Tensor, or of several."""
    return _penalty("l1_penalty", parameters)


def l2_penalty(parameters: Any) -> Tensor:
    """The sum of the squares of a Tensor, or of several."""
    return _penalty("l2_penalty", parameters)
