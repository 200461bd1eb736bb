"""Convolutions on the tape: forward, transposed, and their two gradients, which are each other's gradients.

With y = conv(x, w), and G the gradient of what comes out:

    conv             x: conv_input(w, G)          w: conv_weight(x, G)
    conv_transpose   x: conv(G, w)                w: conv_weight(G, x)
    conv_input       w: conv_weight(G, grad)      grad: conv(G, w)
    conv_weight      x: conv_input(G, grad)       grad: conv(x, G)
"""

from __future__ import annotations

from typing import Any

from numconv.algorithm import algorithms
from numconv.autograd.functional_conv import conv_input, conv_weight
from numconv.autograd.layout import laid_like
from numconv.autograd.operations import operation
from numconv.autograd.tape import apply
from numconv.ops import convolution, convolution_gradients
from numconv.ops.layouts import counted_first, counted_last, shape_last, turns
from numconv.problem import LAST, channel_axis, conv_padding, per_axis

_OPTIONS = ("stride", "padding", "dilation", "groups", "data_format", "algorithm", "precision")


def _options(operation: str, attributes: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The options of a convolution for another operation, where its algorithm is forced if it has one of the name."""
    options = {name: attributes[name] for name in _OPTIONS} | changed
    forced = options["algorithm"]
    if forced not in ("auto", "tuned") and forced not in algorithms(operation):
        options["algorithm"] = "auto"
    return options


def _forward(run: Any, ndim: int) -> Any:
    """A convolution, forward or transposed, that keeps the layout in memory."""

    def forward(
        x: Any, weight: Any, bias: Any = None, residual: Any = None, *, data_format: Any, **options: Any
    ) -> Any:
        if not turns(x, ndim, data_format):
            return run(x, weight, bias, residual=residual, data_format=data_format, **options)
        x, residual = counted_last(x, ndim), counted_last(residual, ndim)
        return counted_first(run(x, weight, bias, residual=residual, data_format=LAST, **options), ndim)

    return forward


def _input(run: Any, ndim: int) -> Any:
    """The input's gradient, laid out as the result's."""

    def forward(weight: Any, grad: Any, *, input_size: Any, data_format: Any, **options: Any) -> Any:
        if not turns(grad, ndim, data_format):
            return run(input_size, weight, grad, data_format=data_format, **options)
        size = shape_last(input_size, ndim)
        return counted_first(run(size, weight, counted_last(grad, ndim), data_format=LAST, **options), ndim)

    return forward


def _weight(run: Any, ndim: int) -> Any:
    def forward(x: Any, grad: Any, *, weight_size: Any, data_format: Any, **options: Any) -> Any:
        if not (turns(x, ndim, data_format) or turns(grad, ndim, data_format)):
            return run(x, weight_size, grad, data_format=data_format, **options)
        return run(counted_last(x, ndim), weight_size, counted_last(grad, ndim), data_format=LAST, **options)

    return forward


def _like(value: Any) -> int:
    """The number of spatial axes of a convolution, of its weight."""
    return value.ndim - 2


def bias_gradient(grad: Any, ndim: int, data_format: str | None) -> Any:
    """The sum over everything but channels."""
    return apply("channel_sum", grad, axis=channel_axis(data_format, ndim) % grad.ndim)


def conv_rule(grad, output, inputs, attributes, needs):
    x, weight, *_ = inputs
    ndim = _like(weight)
    grad = laid_like(grad, x, ndim, attributes["data_format"])
    dx = dw = db = None
    if needs[0]:
        dx = conv_input(ndim, x.shape, weight, grad, **_options(f"conv{ndim}d_input", attributes))
    if needs[1]:
        dw = conv_weight(ndim, x, weight.shape, grad, **_options(f"conv{ndim}d_weight", attributes))
    if needs[2]:
        db = bias_gradient(grad, ndim, attributes["data_format"])
    return dx, dw, db, grad if needs[3] else None


def conv_transpose_rule(grad, output, inputs, attributes, needs):
    x, weight, *_ = inputs
    ndim = _like(weight)
    grad = laid_like(grad, x, ndim, attributes["data_format"])
    dx = dw = db = None
    whole, padding = _without_excess(grad, x, weight, ndim, attributes)
    if needs[0]:
        options = _options(f"conv{ndim}d", attributes, padding=padding)
        dx = apply(f"conv{ndim}d", whole, weight, None, None, activation=None, **options)
    if needs[1]:
        options = _options(f"conv{ndim}d_weight", attributes, padding=padding)
        dw = conv_weight(ndim, whole, weight.shape, x, **options)
    if needs[2]:
        db = bias_gradient(grad, ndim, attributes["data_format"])
    return dx, dw, db, grad if needs[3] else None


def _without_excess(grad: Any, x: Any, weight: Any, ndim: int, attributes: dict[str, Any]) -> tuple[Any, Any]:
    """(gradient, padding) of which a convolution makes the shape of x.

    An output padding of a stride or more, which dilation allows, would make more: so much padding, or gradient, is
    taken away at the end.
    """
    padding = attributes["padding"]
    last = channel_axis(attributes["data_format"], ndim) == -1
    place = slice(-ndim - 1, -1) if last else slice(-ndim, None)
    size, count, kernel = grad.shape[place], x.shape[place], weight.shape[2:]
    stride = per_axis("stride", attributes["stride"], ndim, 1)
    dilation = per_axis("dilation", attributes["dilation"], ndim, 1)
    pads = conv_padding(padding, size, kernel, stride, dilation)
    extra = [
        n + b + a - d * (k - 1) - 1 - (m - 1) * s
        for n, (b, a), d, k, m, s in zip(size, pads, dilation, kernel, count, stride)
    ]
    if all(e < s for e, s in zip(extra, stride)):
        return grad, padding
    cut = [max(e - a, 0) for e, (_, a) in zip(extra, pads)]
    index = tuple(slice(0, n - c) for n, c in zip(size, cut))
    pads = tuple((b, max(a - e, 0)) for e, (b, a) in zip(extra, pads))
    return grad[(..., *index, slice(None)) if last else (..., *index)], pads


def conv_input_rule(grad, output, inputs, attributes, needs):
    weight, grad_output = inputs
    ndim = _like(weight)
    dw = dg = None
    if needs[0]:
        dw = conv_weight(ndim, grad, weight.shape, grad_output, **_options(f"conv{ndim}d_weight", attributes))
    if needs[1]:
        dg = apply(f"conv{ndim}d", grad, weight, None, None, activation=None, **_options(f"conv{ndim}d", attributes))
    return dw, dg


def conv_weight_rule(grad, output, inputs, attributes, needs):
    x, grad_output = inputs
    ndim = _like(grad)
    dx = dg = None
    if needs[0]:
        dx = conv_input(ndim, x.shape, grad, grad_output, **_options(f"conv{ndim}d_input", attributes))
    if needs[1]:
        dg = apply(f"conv{ndim}d", x, grad, None, None, activation=None, **_options(f"conv{ndim}d", attributes))
    return dx, dg


for _ndim in (1, 2, 3):
    for _module, _name, _make, _rule in (
        (convolution, f"conv{_ndim}d", _forward, conv_rule),
        (convolution, f"conv_transpose{_ndim}d", _forward, conv_transpose_rule),
        (convolution_gradients, f"conv{_ndim}d_input", _input, conv_input_rule),
        (convolution_gradients, f"conv{_ndim}d_weight", _weight, conv_weight_rule),
    ):
        operation(_name, _make(getattr(_module, _name), _ndim), _rule, reads=((1,), (0,)))
