"""Gradients: Tensors, which remember the operations that they came from, and the walk back over them."""

from numconv.autograd import (
    functional,
    rules_arrays,
    rules_conv,
    rules_layers,
    rules_linear,
    rules_loss,
    rules_moves,
    rules_norm,
    rules_pool,
    rules_resize,
)
from numconv.autograd.gradcheck import gradcheck, gradgradcheck
from numconv.autograd.gradients import backward, grad
from numconv.autograd.modes import enable_grad, is_grad_enabled, no_grad, record, set_grad_enabled
from numconv.autograd.operations import OUTPUT, operation
from numconv.autograd.rules_arrays import summed_to
from numconv.autograd.tape import Tensor, apply

__all__ = [
    "OUTPUT",
    "Tensor",
    "apply",
    "backward",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "is_grad_enabled",
    "no_grad",
    "operation",
    "record",
    "rules_arrays",
    "rules_conv",
    "rules_layers",
    "rules_linear",
    "rules_loss",
    "rules_moves",
    "rules_norm",
    "rules_pool",
    "rules_resize",
    "set_grad_enabled",
    "summed_to",
]
