"""The fully connected layer on the tape, its two gradients, and sums over everything but channels."""

from __future__ import annotations

from numconv.autograd.operations import operation
from numconv.autograd.rules_arrays import summed_to
from numconv.autograd.tape import apply
from numconv.ops import channels, linear


def linear_rule(grad, output, inputs, attributes, needs):
    x, weight, bias = inputs
    return (
        apply("linear_input", weight, grad) if needs[0] else None,
        apply("linear_weight", x, grad) if needs[1] else None,
        summed_to(grad, bias.shape) if needs[2] else None,
    )


def linear_input_rule(grad, output, inputs, attributes, needs):
    weight, given = inputs
    return (
        apply("linear_weight", grad, given) if needs[0] else None,
        apply("linear", grad, weight, None) if needs[1] else None,
    )


def linear_weight_rule(grad, output, inputs, attributes, needs):
    x, given = inputs
    return (
        apply("linear_input", grad, given) if needs[0] else None,
        apply("linear", x, grad, None) if needs[1] else None,
    )


operation("linear", linear.linear, linear_rule, reads=((1,), (0,)))
operation("linear_input", linear.linear_input, linear_input_rule, reads=((1,), (0,)))
operation("linear_weight", linear.linear_weight, linear_weight_rule, reads=((1,), (0,)))


def channel_sum_rule(grad, output, inputs, attributes, needs):
    shape = inputs[0].shape
    axis = attributes["axis"] % len(shape)
    return (grad.reshape(tuple(-1 if i == axis else 1 for i in range(len(shape)))).expand(shape),)


operation("channel_sum", channels.channel_sum, channel_sum_rule, reads=())
