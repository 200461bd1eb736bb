"""Losses, and penalties on parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numconv.autograd import functional as F
from numconv.autograd.tape import Tensor
from numconv.nn._module import Module


class _Loss(Module):
    """What losses share: `reduction`, "mean", "sum" or "none", is what is made of the values."""

    _function: Any

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Any:
        return self._function(input, target, reduction=self.reduction)


class CrossEntropyLoss(_Loss):
    """Minus the logarithm of the softmax of scores (N, C, ...), at the targets.

    Parameters
    ----------
    weight : array_like, shape (C,), optional
        What each class counts.
    ignore_index : int
        A target that does not count.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float
        What part of each target is given to all classes alike.

    Raises
    ------
    ValueError
        If an option is out of range; in `forward`, as `numconv.ops.loss.cross_entropy`.
    """

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must be from 0 to 1, got {label_smoothing}")
        self.register_buffer("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        return F.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, label_smoothing=self.label_smoothing
        )


class NLLLoss(_Loss):
    """Minus the logarithm of the target's probability, given `LogSoftmax`'s; arguments as in `CrossEntropyLoss`."""

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Any:
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class MSELoss(_Loss):
    """(input - target)^2."""

    _function = staticmethod(F.mse_loss)


class L1Loss(_Loss):
    """``|input - target|``."""

    _function = staticmethod(F.l1_loss)


class SmoothL1Loss(_Loss):
    """d^2 / (2 beta) where d = ``|input - target|`` < beta, else d - beta / 2 (Girshick 2015)."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Any:
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class BCEWithLogitsLoss(_Loss):
    """Cross entropy of yes and no, given scores; targets from 0 to 1.

    Parameters
    ----------
    weight : array_like, optional
        What each element counts.
    reduction : {"mean", "sum", "none"}
    pos_weight : array_like, optional
        What a yes counts more than a no.
    """

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class HingeLoss(_Loss):
    """max(0, margin - input target), for targets -1 and 1."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input: Any, target: Any) -> Any:
        return F.hinge_loss(input, target, self.margin, self.reduction)


class DiceLoss(_Loss):
    """1 - (2 sum(input target) + smooth) / (sum(input) + sum(target) + smooth), sums over space (Milletari 2016)."""

    def __init__(self, smooth: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.smooth = smooth

    def forward(self, input: Any, target: Any) -> Any:
        return F.dice_loss(input, target, self.smooth, self.reduction)


class _Penalty(Module):
    """`weight` times a size of parameters, to be added to a loss."""

    _function: Any

    def __init__(self, weight: float) -> None:
        super().__init__()
        if not weight >= 0:
            raise ValueError(f"weight must be at least 0, got {weight}")
        self.weight = weight

    def forward(self, parameters: Tensor | Iterable[Tensor]) -> Any:
        """Such as `model.parameters()`."""
        given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        if not given:
            raise ValueError("parameters must not be empty")
        total = self._function(given[0])
        for parameter in given[1:]:
            total = total + self._function(parameter)
        return total * self.weight

    def extra_repr(self) -> str:
        return f"weight={self.weight}"


class L1Penalty(_Penalty):
    """`weight` times the sum of ``|p|``, which makes parameters sparse: `loss + penalty(model.parameters())`."""

    _function = staticmethod(F.l1_penalty)


class L2Penalty(_Penalty):
    """`weight` times the sum of p^2, which keeps parameters small: `loss + penalty(model.parameters())`."""

    _function = staticmethod(F.l2_penalty)
