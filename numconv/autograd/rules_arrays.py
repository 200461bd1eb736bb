"""Operations on arrays and the rules of their gradients."""

from __future__ import annotations

import math
from typing import Any

from numconv.autograd.operations import OUTPUT, operation
from numconv.autograd.tape import apply
from numconv.ops import arrays, indexing


def summed_to(grad: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of something that was repeated to the gradient's shape."""
    if grad.shape == shape:
        return grad
    lead = grad.ndim - len(shape)
    repeated = [lead + i for i, (n, m) in enumerate(zip(shape, grad.shape[lead:])) if n == 1 != m]
    total = grad.sum((*range(lead), *repeated))
    return total.reshape(shape) if repeated else total


def both(a: Any, b: Any, inputs: Any, needs: Any) -> tuple[Any, Any]:
    """Two gradients, given as functions that compute them, in the shapes of their inputs."""
    return (
        summed_to(a(), inputs[0].shape) if needs[0] else None,
        summed_to(b(), inputs[1].shape) if needs[1] else None,
    )


def add_rule(grad, output, inputs, attributes, needs):
    return both(lambda: grad, lambda: grad, inputs, needs)


def sub_rule(grad, output, inputs, attributes, needs):
    return both(lambda: grad, lambda: -grad, inputs, needs)


def mul_rule(grad, output, inputs, attributes, needs):
    a, b = inputs
    return both(lambda: grad * b, lambda: grad * a, inputs, needs)


def div_rule(grad, output, inputs, attributes, needs):
    b = inputs[1]
    return both(lambda: grad / b, lambda: -grad * output / b, inputs, needs)


def pow_rule(grad, output, inputs, attributes, needs):
    a, b = inputs

    def base():
        if not hasattr(b, "shape"):
            return grad * (b * a ** (b - 1)) if b else grad * 0.0
        return grad * b * a ** apply("where", b == 0, 1.0, b - 1)  # 0 where b is, whatever a

    def exponent():
        return grad * output * apply("log", apply("where", output == 0, 1.0, a))

    return both(base, exponent, inputs, needs)


operation("add", arrays.add, add_rule, reads=())
operation("sub", arrays.sub, sub_rule, reads=())
operation("mul", arrays.mul, mul_rule, reads=((1,), (0,)))
operation("div", arrays.div, div_rule, reads=((1,), (1, OUTPUT)))
operation("pow", arrays.pow, pow_rule, reads=((0, 1), (0, OUTPUT)))


def neg_rule(grad, output, inputs, attributes, needs):
    return (-grad,)


def exp_rule(grad, output, inputs, attributes, needs):
    return (grad * output,)


def log_rule(grad, output, inputs, attributes, needs):
    return (grad / inputs[0],)


def sqrt_rule(grad, output, inputs, attributes, needs):
    return (grad * 0.5 / output,)


def sin_rule(grad, output, inputs, attributes, needs):
    return (grad * apply("cos", inputs[0]),)


def cos_rule(grad, output, inputs, attributes, needs):
    return (-grad * apply("sin", inputs[0]),)


def abs_rule(grad, output, inputs, attributes, needs):
    return (grad * apply("sign", inputs[0]),)


operation("neg", arrays.neg, neg_rule, reads=())
operation("exp", arrays.exp, exp_rule, reads=((OUTPUT,),))
operation("log", arrays.log, log_rule, reads=((0,),))
operation("sqrt", arrays.sqrt, sqrt_rule, reads=((OUTPUT,),))
operation("sin", arrays.sin, sin_rule, reads=((0,),))
operation("cos", arrays.cos, cos_rule, reads=((0,),))
operation("abs", arrays.abs, abs_rule, reads=((0,),))
operation("sign", arrays.sign, None)
operation("compare", arrays.compare, None)


def maximum_rule(grad, output, inputs, attributes, needs):
    a, b = inputs  # of equal elements each gets a half, as in PyTorch
    return both(lambda: grad * _share(a > b, a >= b, grad), lambda: grad * _share(a < b, a <= b, grad), inputs, needs)


def minimum_rule(grad, output, inputs, attributes, needs):
    a, b = inputs
    return both(lambda: grad * _share(a < b, a <= b, grad), lambda: grad * _share(a > b, a >= b, grad), inputs, needs)


def _share(wins, not_loses, grad):
    return (wins.astype(grad.dtype) + not_loses.astype(grad.dtype)) * 0.5


def clamp_rule(grad, output, inputs, attributes, needs):
    low, high = attributes["min"], attributes["max"]
    for inside in ([inputs[0] >= low] if low is not None else []) + ([inputs[0] <= high] if high is not None else []):
        grad = grad * inside
    return (grad,)


def where_rule(grad, output, inputs, attributes, needs):
    def chosen(*pair):
        return lambda: apply("where", inputs[0], *pair)

    a, b = both(chosen(grad, 0.0), chosen(0.0, grad), inputs[1:], needs[1:])
    return None, a, b


operation("maximum", arrays.maximum, maximum_rule, reads=((0, 1), (0, 1)))
operation("minimum", arrays.minimum, minimum_rule, reads=((0, 1), (0, 1)))
operation("clamp", arrays.clamp, clamp_rule, reads=((0,),))
operation("where", arrays.where, where_rule, reads=((), (0,), (0,)))


def _spread(reduced, shape, attributes):
    """What a reduction gave, along the axes that it took away."""
    axes = range(len(shape)) if attributes["axis"] is None else attributes["axis"]
    axes = {axis % max(len(shape), 1) for axis in ((axes,) if isinstance(axes, int) else axes)}
    return reduced.reshape(tuple(1 if i in axes else n for i, n in enumerate(shape))).expand(shape)


def sum_rule(grad, output, inputs, attributes, needs):
    return (_spread(grad, inputs[0].shape, attributes),)


def mean_rule(grad, output, inputs, attributes, needs):
    shape = inputs[0].shape
    return (_spread(grad * (math.prod(grad.shape) / max(math.prod(shape), 1)), shape, attributes),)


def extreme_rule(grad, output, inputs, attributes, needs):
    x = inputs[0]
    equal = (x == _spread(output, x.shape, attributes)).astype(grad.dtype)
    count = _spread(equal.sum(attributes["axis"]), x.shape, attributes)
    return (_spread(grad, x.shape, attributes) * (equal / count),)


def along_rule(grad, output, inputs, attributes, needs):
    shape, axis = inputs[0].shape, attributes["axis"]
    indices = output[1].reshape(tuple(n for i, n in enumerate(shape) if i != axis % max(len(shape), 1)))
    chosen = apply("one_hot", indices, size=shape[axis], axis=axis, dtype=grad.dtype)
    return (_spread(grad, shape, attributes) * chosen,)


operation("sum", arrays.sum, sum_rule, reads=())
operation("mean", arrays.mean, mean_rule, reads=())
operation("amax", arrays.amax, extreme_rule, reads=((0, OUTPUT),))
operation("amin", arrays.amin, extreme_rule, reads=((0, OUTPUT),))
operation("max", arrays.max_along, along_rule, reads=())
operation("min", arrays.min_along, along_rule, reads=())
operation("argmax", arrays.argmax, None)
operation("argmin", arrays.argmin, None)
operation("one_hot", arrays.one_hot, None)


def matmul_rule(grad, output, inputs, attributes, needs):
    a, b = inputs
    rows = a.shape if a.ndim > 1 else (1, *a.shape)
    columns = b.shape if b.ndim > 1 else (*b.shape, 1)
    batch = grad.shape[: grad.ndim - (a.ndim > 1) - (b.ndim > 1)]
    grad = grad.reshape(*batch, rows[-2], columns[-1])
    return (
        summed_to(grad @ b.reshape(columns).transpose(-1, -2), rows).reshape(a.shape) if needs[0] else None,
        summed_to(a.reshape(rows).transpose(-1, -2) @ grad, columns).reshape(b.shape) if needs[1] else None,
    )


operation("matmul", arrays.matmul, matmul_rule, reads=((1,), (0,)))


def reshape_rule(grad, output, inputs, attributes, needs):
    return (grad.reshape(inputs[0].shape),)


def permute_rule(grad, output, inputs, attributes, needs):
    axes = attributes["axes"]
    return (grad.permute(tuple(sorted(range(len(axes)), key=axes.__getitem__))),)


def expand_rule(grad, output, inputs, attributes, needs):
    return (summed_to(grad, inputs[0].shape),)


def flip_rule(grad, output, inputs, attributes, needs):
    return (apply("flip", grad, axes=attributes["axes"]),)


def same_rule(grad, output, inputs, attributes, needs):
    return (grad,)


def concatenate_rule(grad, output, inputs, attributes, needs):
    axis, start, parts = attributes["axis"] % grad.ndim, 0, []
    for value, need in zip(inputs, needs):
        stop = start + value.shape[axis]
        parts.append(grad[(slice(None),) * axis + (slice(start, stop),)] if need else None)
        start = stop
    return tuple(parts)


def stack_rule(grad, output, inputs, attributes, needs):
    axis = attributes["axis"] % grad.ndim
    return tuple(grad[(slice(None),) * axis + (i,)] if need else None for i, need in enumerate(needs))


operation("reshape", indexing.reshape, reshape_rule, reads=(), view=True)
operation("permute", indexing.permute, permute_rule, reads=(), view=True)
operation("expand", indexing.expand, expand_rule, reads=(), view=True)
operation("flip", indexing.flip, flip_rule, reads=(), view=True)
operation("contiguous", arrays.contiguous, same_rule, reads=(), view=True)
operation("astype", arrays.astype, same_rule, reads=(), view=True)  # the walk gives gradients the dtype of inputs
operation("concatenate", indexing.concatenate, concatenate_rule, reads=())
operation("stack", indexing.stack, stack_rule, reads=())


def index_rule(grad, output, inputs, attributes, needs):
    return (apply("index_add", grad, shape=inputs[0].shape, index=attributes["index"]),)


def index_add_rule(grad, output, inputs, attributes, needs):
    return (grad[attributes["index"]],)


def set_index_rule(grad, output, inputs, attributes, needs):
    index = attributes["index"]
    return (
        apply("set_index", grad, 0.0, index=index) if needs[0] else None,
        summed_to(grad[index], inputs[1].shape) if needs[1] else None,
    )


operation("index", indexing.index, index_rule, reads=(), view=True)
operation("index_add", indexing.index_add, index_add_rule, reads=())
operation("set_index", indexing.set_index, set_index_rule, reads=())
