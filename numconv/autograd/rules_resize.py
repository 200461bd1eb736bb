"""Padding and interpolation on the tape: linear, so that each gradient's gradient is the operation itself."""

from __future__ import annotations

from typing import Any

from numconv.autograd.operations import operation
from numconv.autograd.tape import apply
from numconv.ops import resampling
from numconv.ops.device import by_device
from numconv.ops.layouts import channels_last, counted_first, counted_last, shape_last, turns
from numconv.problem import LAST


def _padding(run: Any) -> Any:
    """`pad` or its gradient, laid out in memory as what is given."""

    def forward(x: Any, *, pad: Any, **options: Any) -> Any:
        spatial = x.ndim - 2
        if spatial < 1 or not channels_last(x, spatial):
            return run(x, pad=pad, **options)
        pairs = resampling.pad_pairs(pad, x.ndim)
        if "input_size" in options:
            options["input_size"] = shape_last(options["input_size"], spatial)
        return counted_first(run(counted_last(x, spatial), pad=[pairs[0], *pairs[2:], pairs[1]], **options), spatial)

    return forward


def pad_backward(grad: Any, *, input_size: Any, pad: Any, mode: str) -> Any:
    return resampling.pad_input(input_size, grad, pad, mode)


def pad_rule(grad, output, inputs, attributes, needs):
    around, mode = attributes["pad"], attributes["mode"]
    return (apply("pad_input", grad, input_size=inputs[0].shape, pad=around, mode=mode),)


def pad_input_rule(grad, output, inputs, attributes, needs):
    return (apply("pad", grad, pad=attributes["pad"], mode=attributes["mode"], value=0),)


operation("pad", _padding(resampling.pad), pad_rule, reads=())
operation("pad_input", _padding(by_device(pad_backward)), pad_input_rule, reads=())


def _interpolation(run: Any) -> Any:
    """`interpolate` or its gradient, laid out in memory as what is given."""

    def forward(x: Any, *, data_format: Any, **options: Any) -> Any:
        spatial = x.ndim - 2
        if spatial < 1 or not turns(x, spatial, data_format):
            return run(x, data_format=data_format, **options)
        if "input_size" in options:
            options["input_size"] = shape_last(options["input_size"], spatial)
        return counted_first(run(counted_last(x, spatial), data_format=LAST, **options), spatial)

    return forward


def interpolate_backward(grad: Any, *, input_size: Any, **options: Any) -> Any:
    return resampling.interpolate_input(input_size, grad, **options)


def interpolate_rule(grad, output, inputs, attributes, needs):
    return (apply("interpolate_input", grad, input_size=inputs[0].shape, **attributes),)


def interpolate_input_rule(grad, output, inputs, attributes, needs):
    return (apply("interpolate", grad, **{name: value for name, value in attributes.items() if name != "input_size"}),)


operation("interpolate", _interpolation(resampling.interpolate), interpolate_rule, reads=())
operation("interpolate_input", _interpolation(by_device(interpolate_backward)), interpolate_input_rule, reads=())
