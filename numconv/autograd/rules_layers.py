"""Activations, softmax and dropout on the tape.

An activation's gradient is an operation of its own, which takes the activation's result or input, and the gradient.
It has a rule again, made of the second derivative.
"""

from __future__ import annotations

import math
from typing import Any

from numconv.autograd.gradients import grad
from numconv.autograd.modes import enable_grad, is_grad_enabled
from numconv.autograd.operations import OUTPUT, operation
from numconv.autograd.tape import Tensor, apply
from numconv.ops import activation, activation_gradients, dropout
from numconv.ops.device import by_device
from numconv.ops.layouts import channels_last, counted_first, counted_last


def composed(definition: Any, gradient: Any, inputs: Any, attributes: Any, needs: Any) -> tuple[Any, ...]:
    """The gradients of `definition(*inputs, **attributes)`, which is made of operations, for inputs that want one."""
    record = is_grad_enabled()
    with enable_grad():
        # Views, so that what inputs are made of is not followed: two may have something in common.
        own = [
            (value.reshape(value.shape) if record else Tensor(value.data, True)) if need else value
            for value, need in zip(inputs, needs)
        ]
        result = definition(*own, **attributes)
    wanted = [value for value, need in zip(own, needs) if need]
    found = iter(grad(result, wanted, gradient, create_graph=record, allow_unused=True))
    return tuple(next(found) if need else None for need in needs)


def by_definition(definition: Any) -> Any:
    """The rule of an operation that `definition` makes of others."""

    def rule(grad, output, inputs, attributes, needs):
        return composed(definition, grad, inputs, attributes, needs)

    return rule


def keeps_layout(run: Any) -> Any:
    """`run` on arrays of one shape, elementwise: the result lies in memory as the first does."""

    def forward(x: Any, *others: Any, **options: Any) -> Any:
        spatial = x.ndim - 2
        if spatial > 0 and channels_last(x, spatial):
            views = [counted_last(array, spatial) for array in (x, *others)]
            return counted_first(run(*views, **options), spatial)
        return run(x, *others, **options)

    return forward


# --- activations


def activation_rule(name: str, reads_output: bool) -> Any:
    def rule(grad, output, inputs, attributes, needs):
        return (apply(f"{name}_input", output if reads_output else inputs[0], grad, **attributes),)

    return rule


def gradient_rule(name: str, second: Any) -> Any:
    """The rule of a gradient (v, g): linear in g; `second(v, g, **attributes)` is g times the second derivative."""

    def rule(grad, output, inputs, attributes, needs):
        v, g = inputs
        of_v = None
        if needs[0] and second is not None:
            of_v = second(v, grad * g, **attributes)
        return of_v, apply(f"{name}_input", v, grad, **attributes) if needs[1] else None

    return rule


def _elu(x, g, alpha=1.0):
    return apply("where", x > 0, 0.0, apply("elu_input", x, g, alpha=alpha))


def _gelu(x, g, approximate="none"):
    square = x * x
    if approximate == "none":
        return g * (square * -0.5).exp() * (2 - square) / math.sqrt(2 * math.pi)
    scale, cubic = math.sqrt(2 / math.pi), 0.044715
    t = apply("tanh", (x + x * square * cubic) * scale)
    slope, curve = (1 + square * (3 * cubic)) * scale, x * (6 * cubic * scale)
    return g * (1 - t * t) * (slope + x * (curve * 0.5 - t * slope * slope))


def _silu(x, g):
    gate = apply("sigmoid", x)
    return g * gate * (1 - gate) * (2 + x * (1 - 2 * gate))


def _hardswish(x, g):
    return apply("where", x.abs() < 3, g, 0.0) / 3.0


_SECOND = {
    "relu": None,
    "relu6": None,
    "leaky_relu": None,
    "hardswish": _hardswish,
    "elu": _elu,
    "gelu": _gelu,
    "silu": _silu,
    "tanh": lambda y, g: g * y * -2.0,
    "sigmoid": lambda y, g: g * (1 - 2 * y),
}
for _name, _second in _SECOND.items():
    _reads_output = _name in ("relu", "tanh", "sigmoid")
    operation(
        _name, keeps_layout(getattr(activation, _name)), activation_rule(_name, _reads_output),
        reads=((OUTPUT if _reads_output else 0,),),
    )  # fmt: skip
    _gradient = keeps_layout(by_device(getattr(activation_gradients, f"{_name}_input")))
    operation(f"{_name}_input", _gradient, gradient_rule(_name, _second), reads=((0, 1), (0,)))


# --- softmax


def _softmax_input(y, g, axis):
    return y * (g - (y * g).sum(axis, keepdim=True))


def _log_softmax_input(y, g, axis):
    return g - y.exp() * g.sum(axis, keepdim=True)


for _name, _definition in {"softmax": _softmax_input, "log_softmax": _log_softmax_input}.items():
    operation(_name, getattr(activation, _name), activation_rule(_name, True), reads=((OUTPUT,),))
    _forward = by_device(getattr(activation_gradients, f"{_name}_input"))
    operation(f"{_name}_input", _forward, by_definition(_definition))


# --- dropout


def dropout_rule(grad, output, inputs, attributes, needs):
    return (apply("dropout_input", output[1], grad, p=attributes["p"]),)


def dropout_input_rule(grad, output, inputs, attributes, needs):
    return None, apply("dropout_input", inputs[0], grad, **attributes)


operation("dropout", dropout.dropout_and_mask, dropout_rule, reads=())
operation("dropout_input", keeps_layout(by_device(dropout.dropout_input)), dropout_input_rule, reads=((), (0,)))
