"""Poolings on the tape, their gradients as operations, and the gradients of these.

Average poolings are linear: a pooling and its `_input` are each other's gradients. Max poolings send the gradient to
indices; what takes it from there, `max_unpool_input`, is the gradient of that.
"""

from __future__ import annotations

import math
from typing import Any

from numconv.autograd.layout import laid_like
from numconv.autograd.operations import operation
from numconv.autograd.tape import apply
from numconv.ops import arrays, pooling, pooling_gradients
from numconv.ops.layouts import counted_first, counted_last, shape_last, turns
from numconv.problem import LAST, per_axis


def _forward(run: Any, ndim: int) -> Any:
    """A pooling, of one or more operands of one layout, that keeps the layout in memory."""

    def forward(*operands: Any, data_format: Any = None, **options: Any) -> Any:
        if not turns(operands[0], ndim, data_format):
            return run(*operands, data_format=data_format, **options)
        result = run(*[counted_last(o, ndim) for o in operands], data_format=LAST, **options)
        if isinstance(result, tuple):
            return tuple([counted_first(part, ndim) for part in result])
        return counted_first(result, ndim)

    return forward


def _backward(run: Any, ndim: int) -> Any:
    """The gradient of a pooling, `run(input_size, [indices,] gradient)`: operands are the gradient [, indices]."""

    def forward(grad: Any, *indices: Any, input_size: Any, data_format: Any = None, **options: Any) -> Any:
        if not turns(grad, ndim, data_format):
            return run(input_size, *indices, grad, data_format=data_format, **options)
        operands = [counted_last(o, ndim) for o in (*indices, grad)]
        return counted_first(run(shape_last(input_size, ndim), *operands, data_format=LAST, **options), ndim)

    return forward


def _max_rules(name: str, ndim: int) -> tuple[Any, Any]:
    def pool_rule(grad, output, inputs, attributes, needs):
        x, data_format = inputs[0], attributes["data_format"]
        grad = laid_like(grad, x, ndim, data_format)
        return (apply(f"{name}_input", grad, output[1], input_size=x.shape, data_format=data_format),)

    def gradient_rule(grad, output, inputs, attributes, needs):
        given, indices = inputs
        options = {"input_size": given.shape, "data_format": attributes["data_format"]}
        taken = apply(f"max_unpool{ndim}d_input", grad, indices.clamp(min=0), **options)
        return taken * (indices >= 0), None  # -1 is no position

    return pool_rule, gradient_rule


def _unpool_rules(kind: str) -> tuple[Any, Any]:
    def unpool_rule(grad, output, inputs, attributes, needs):
        x, indices = inputs
        options = {"input_size": x.shape, "data_format": attributes["data_format"]}
        return apply(f"max_unpool{kind}_input", grad, indices, **options), None

    def gradient_rule(grad, output, inputs, attributes, needs):
        given, indices = inputs
        options = {"input_size": given.shape, "data_format": attributes["data_format"]}
        return apply(f"max_pool{kind}_input", grad, indices, **options), None

    return unpool_rule, gradient_rule


def _linear_rules(name: str) -> tuple[Any, Any]:
    """Rules of a pooling that sums, and of its gradient."""

    def pool_rule(grad, output, inputs, attributes, needs):
        x = inputs[0]
        grad = laid_like(grad, x, x.ndim - 2, attributes["data_format"])
        return (apply(f"{name}_input", grad, input_size=x.shape, **attributes),)

    def gradient_rule(grad, output, inputs, attributes, needs):
        return (apply(name, grad, **_without(attributes, "input_size")),)

    return pool_rule, gradient_rule


def _adaptive_rules(name: str, ndim: int) -> tuple[Any, Any]:
    """The same of an adaptive average, whose gradient finds the output's size in what it is given."""

    def pool_rule(grad, output, inputs, attributes, needs):
        x, options = inputs[0], _without(attributes, "output_size")
        grad = laid_like(grad, x, ndim, attributes["data_format"])
        return (apply(f"{name}_input", grad, input_size=x.shape, **options),)

    def gradient_rule(grad, output, inputs, attributes, needs):
        size = inputs[0].shape[_spatial(ndim, attributes)]
        return (apply(name, grad, output_size=size, **_without(attributes, "input_size")),)

    return pool_rule, gradient_rule


def _without(attributes: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if key != name}


def _spatial(ndim: int, attributes: dict[str, Any]) -> slice:
    """Where spatial axes stand in a shape."""
    last = attributes["data_format"] in (LAST, "NHWC", "NLC", "NWC", "NDHWC")
    return slice(-ndim - 1, -1) if last else slice(-ndim, None)


def _lp_rules(ndim: int) -> tuple[Any, Any]:
    """With S = A(x^p), where A sums over windows: y = S^(1/p), and its gradient is x^(p-1) A'(g S^(1/p-1))."""

    def pool_rule(grad, output, inputs, attributes, needs):
        return (apply(f"lp_pool{ndim}d_input", inputs[0], grad, **attributes),)

    def gradient_rule(grad, output, inputs, attributes, needs):
        x, g = inputs
        p = attributes["norm_type"]
        windows = _without(attributes, "norm_type")
        count = math.prod(per_axis("kernel_size", windows["kernel_size"], ndim, 1))

        def summed(v):  # a window that hangs over the edge counts its missing positions at the mean of the others
            return apply(f"avg_pool{ndim}d", v, **windows) * count

        def spread(v):
            return apply(f"avg_pool{ndim}d_input", v, input_size=x.shape, **windows) * count

        def power(exponent):
            return apply("where", total == 0, 0.0, total**exponent)

        slope = x ** (p - 1)
        total, along = summed(x**p), summed(slope * grad)
        dx = slope * spread(g * along * power(1 / p - 2)) * (1 - p)
        if p != 1:
            dx = dx + x ** (p - 2) * spread(g * power(1 / p - 1)) * grad * (p - 1)
        return dx, power(1 / p - 1) * along

    return pool_rule, gradient_rule


def global_max_rule(grad, output, inputs, attributes, needs):
    return (apply("global_max_pool_input", inputs[0], grad, data_format=attributes["data_format"]),)


def global_max_gradient_rule(grad, output, inputs, attributes, needs):
    x, given = inputs
    ones = arrays.full(grad.data, value=1, shape=given.shape)
    taken = grad * apply("global_max_pool_input", x, ones, **attributes)
    ndim = x.ndim - 2
    axes = tuple(range(x.ndim))[_spatial(ndim, attributes)]
    return None, taken.sum(axes, keepdim=True)


def _global_max_input(x: Any, grad: Any, *, data_format: Any) -> Any:
    return pooling_gradients.global_max_pool_input(x, grad, data_format=data_format)


def _add(name: str, ndim: int, rules: tuple[Any, Any], reads: Any = ((),), gradient_reads: Any = ((),)) -> None:
    """Put a pooling and its gradient into the table."""
    run, gradient = getattr(pooling, name), getattr(pooling_gradients, f"{name}_input")
    operation(name, _forward(run, ndim), rules[0], reads=reads)
    operation(f"{name}_input", _backward(gradient, ndim), rules[1], reads=gradient_reads)


for _ndim in (1, 2, 3):
    _kind = f"{_ndim}d"
    for _name in (f"max_pool{_kind}", f"adaptive_max_pool{_kind}"):
        _add(_name, _ndim, _max_rules(_name, _ndim), gradient_reads=((1,),))
    for _name in (f"avg_pool{_kind}", f"weighted_avg_pool{_kind}"):
        _add(_name, _ndim, _linear_rules(_name))
    _add(f"adaptive_avg_pool{_kind}", _ndim, _adaptive_rules(f"adaptive_avg_pool{_kind}", _ndim))
    _add(f"max_unpool{_kind}", _ndim, _unpool_rules(_kind), reads=((1,),), gradient_reads=((1,),))
    _rules = _lp_rules(_ndim)
    operation(f"lp_pool{_kind}", _forward(getattr(pooling, f"lp_pool{_kind}"), _ndim), _rules[0], reads=((0,),))
    operation(
        f"lp_pool{_kind}_input", _forward(getattr(pooling_gradients, f"lp_pool{_kind}_input"), _ndim), _rules[1],
        reads=((0, 1), (0,)),
    )  # fmt: skip


def _any_rank(run: Any) -> Any:
    """A global pooling, of any number of spatial axes, that keeps the layout in memory."""

    def forward(x: Any, *, data_format: Any = None, **options: Any) -> Any:
        return _forward(run, x.ndim - 2)(x, data_format=data_format, **options)

    return forward


def _any_rank_backward(grad: Any, *, input_size: Any, data_format: Any = None, **options: Any) -> Any:
    run = pooling_gradients.global_avg_pool_input
    return _backward(run, len(input_size) - 2)(grad, input_size=input_size, data_format=data_format, **options)


_rules = _linear_rules("global_avg_pool")
operation("global_avg_pool", _any_rank(pooling.global_avg_pool), _rules[0], reads=())
operation("global_avg_pool_input", _any_rank_backward, _rules[1], reads=())
operation("global_max_pool", _any_rank(pooling.global_max_pool), global_max_rule, reads=((0,),))
operation("global_max_pool_input", _global_max_input, global_max_gradient_rule, reads=((), (0,)))
