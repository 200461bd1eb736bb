"""Losses on the tape: gradients by the scores in one step; all others, and gradients of these, by the definitions."""

from __future__ import annotations

import math
from typing import Any

from numconv.autograd.modes import is_grad_enabled
from numconv.autograd.operations import operation
from numconv.autograd.rules_layers import composed
from numconv.autograd.tape import Tensor, apply
from numconv.ops import arrays, classification, dice, loss
from numconv.ops.device import by_device


def _reduced(values: Any, reduction: str) -> Any:
    return values if reduction == "none" else values.sum() if reduction == "sum" else values.mean()


def _mse(x, target, reduction):
    d = x - target
    return _reduced(d * d, reduction)


def _l1(x, target, reduction):
    return _reduced(abs(x - target), reduction)


def _smooth_l1(x, target, reduction, beta):
    d = x - target
    size = abs(d)
    values = apply("where", size < beta, d * d * (0.5 / beta), size - 0.5 * beta) if beta else size
    return _reduced(values, reduction)


def _binary(x, target, weight, pos_weight, reduction):
    pair = apply("stack", x, Tensor(arrays.zeros(x.data)), axis=-1)
    soft = -apply("log_softmax", pair, axis=-1)[..., 0]  # log(1 + exp(-x))
    values = (1 - target) * x + (soft if pos_weight is None else (1 + (pos_weight - 1) * target) * soft)
    return _reduced(values if weight is None else values * weight, reduction)


def _hinge(x, target, margin, reduction):
    kept = x * target
    return _reduced(apply("where", kept < margin, margin - kept, 0.0), reduction)


def _dice(x, target, smooth, reduction):
    axes = tuple(range(2, x.ndim))
    above = (x * target).sum(axes) * 2 + smooth
    return _reduced(1 - above / (x.sum(axes) + target.sum(axes) + smooth), reduction)


def _loss_rule(name: str, definition: Any) -> Any:
    def rule(grad, output, inputs, attributes, needs):
        if is_grad_enabled() or any(needs[1:]):
            return composed(definition, grad, inputs, attributes, needs)
        x, target, *others = inputs
        return apply(f"{name}_input", x, target, grad, *others, **attributes), *(None for _ in needs[1:])

    return rule


def binary_cross_entropy_forward(x: Any, target: Any, weight: Any, pos_weight: Any, *, reduction: str) -> Any:
    return loss.binary_cross_entropy_with_logits(x, target, weight, reduction, pos_weight)


def binary_cross_entropy_backward(
    x: Any, target: Any, grad: Any, weight: Any, pos_weight: Any, *, reduction: str
) -> Any:
    return loss.binary_cross_entropy_with_logits_input(x, target, grad, weight, reduction, pos_weight)


_BINARY = "binary_cross_entropy_with_logits"
_LOSSES: dict[str, tuple[Any, Any, Any, int]] = {
    "mse_loss": (loss.mse_loss, loss.mse_loss_input, _mse, 2),
    "l1_loss": (loss.l1_loss, loss.l1_loss_input, _l1, 2),
    "smooth_l1_loss": (loss.smooth_l1_loss, loss.smooth_l1_loss_input, _smooth_l1, 2),
    "hinge_loss": (loss.hinge_loss, loss.hinge_loss_input, _hinge, 2),
    "dice_loss": (dice.dice_loss, dice.dice_loss_input, _dice, 2),
    _BINARY: (binary_cross_entropy_forward, binary_cross_entropy_backward, _binary, 4),
}
for _name, (_forward, _backward, _definition, _count) in _LOSSES.items():
    _all = tuple(range(_count))
    operation(_name, by_device(_forward), _loss_rule(_name, _definition), reads=(_all,) * _count)
    operation(f"{_name}_input", by_device(_backward), None)


# --- losses of class scores


def _weighed(logs: Any, target: Any, weight: Any, options: dict[str, Any]) -> Any:
    """Minus the logarithms of probabilities, each times what the target makes of it."""
    axis, reduction, smoothing = min(1, logs.ndim - 1), options["reduction"], options["label_smoothing"]
    if target.dtype.kind in "iu":
        goal: Any = classification.goal_of(
            logs.data, *(t.data if isinstance(t, Tensor) else t for t in (target, weight)), **options
        )
    else:
        classes = logs.shape[axis]
        goal = target * (1 - smoothing) + smoothing / classes
        if weight is not None:
            goal = goal * weight.astype(logs.dtype).reshape((-1,) + (1,) * (logs.ndim - 1 - axis))
        if reduction == "mean":
            goal = goal / (math.prod(logs.shape) / classes)
    values = -(logs * goal).sum(axis)
    return values if reduction == "none" else values.sum()


def _cross_entropy(x, target, weight, **options):
    return _weighed(apply("log_softmax", x, axis=min(1, x.ndim - 1)), target, weight, options)


def _nll(x, target, weight, **options):
    return _weighed(x, target, weight, options | {"label_smoothing": 0.0})


def cross_entropy_rule(grad, output, inputs, attributes, needs):
    if is_grad_enabled() or any(needs[1:]):
        return composed(_cross_entropy, grad, inputs, attributes, needs)
    x, target, weight = inputs
    return apply("cross_entropy_input", x, target, grad, weight, *output[1:], **attributes), None, None


def nll_rule(grad, output, inputs, attributes, needs):
    if is_grad_enabled():
        return composed(_nll, grad, inputs, attributes, needs)
    x, target, weight = inputs
    return apply("nll_loss_input", x, target, grad, weight, **attributes), None, None


def cross_entropy_forward(
    x: Any, target: Any, weight: Any, *, ignore_index: int, reduction: str, label_smoothing: float
) -> Any:
    return classification.cross_entropy_and_more(x, target, weight, ignore_index, reduction, label_smoothing)


def cross_entropy_backward(
    x: Any, target: Any, grad: Any, weight: Any, norms: Any = None, count: Any = None, **options: Any
) -> Any:
    return classification.cross_entropy_input(x, target, grad, weight, norms=norms, count=count, **options)


_READS = ((0, 1, 2),) * 3
operation("cross_entropy", by_device(cross_entropy_forward), cross_entropy_rule, reads=_READS)
operation("cross_entropy_input", by_device(cross_entropy_backward), None)
operation("nll_loss", by_device(classification.nll_loss), nll_rule, reads=_READS)
operation("nll_loss_input", by_device(classification.nll_loss_input), None)


# --- penalties


def l1_penalty_rule(grad, output, inputs, attributes, needs):
    return (apply("sign", inputs[0]) * grad,)


def l2_penalty_rule(grad, output, inputs, attributes, needs):
    return (inputs[0] * (grad * 2),)


operation("l1_penalty", by_device(loss.l1_penalty), l1_penalty_rule, reads=((0,),))
operation("l2_penalty", by_device(loss.l2_penalty), l2_penalty_rule, reads=((0,),))
