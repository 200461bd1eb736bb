"""Normalisation on the tape: gradients by kernels, and gradients of gradients by the definitions."""

from __future__ import annotations

from typing import Any

from numconv.autograd.modes import is_grad_enabled
from numconv.autograd.operations import OUTPUT, operation
from numconv.autograd.rules_layers import composed
from numconv.autograd.tape import apply
from numconv.ops import batch_norm, normalisation, normalisation_gradients
from numconv.ops.device import by_device
from numconv.ops.layouts import counted_first, counted_last, turns
from numconv.problem import FIRST, LAST, layout_of


def _along(vector: Any, ndim: int, axis: int) -> Any:
    """A vector along one of `ndim` axes; None stays None."""
    return None if vector is None else vector.reshape(tuple(-1 if i == axis else 1 for i in range(ndim)))


def _normalised(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    centred = x - x.mean(axes, keepdim=True)
    return centred / ((centred * centred).mean(axes, keepdim=True) + eps).sqrt()


def _scaled(y: Any, weight: Any, bias: Any) -> Any:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _last(data_format: str | None, ndim: int) -> bool:
    return data_format is not None and layout_of(data_format, min(max(ndim - 2, 1), 3)) == LAST


def _in_memory(run: Any) -> Any:
    """`run(x, *others, data_format, ...)` that keeps the layout in memory of its result, or of the first of them."""

    def forward(x: Any, *others: Any, data_format: Any, **options: Any) -> Any:
        spatial = x.ndim - 2
        if spatial < 1 or not turns(x, spatial, data_format):
            return run(x, *others, data_format=data_format, **options)
        others = tuple(counted_last(o, spatial) if getattr(o, "shape", None) == x.shape else o for o in others)
        result = run(counted_last(x, spatial), *others, data_format=LAST, **options)
        if isinstance(result, tuple):
            return counted_first(result[0], spatial), *result[1:]
        return counted_first(result, spatial)

    return forward


# --- batch norm


def batch_norm_forward(
    x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, residual: Any = None, *,
    training: bool, momentum: float, eps: float, data_format: Any, activation: Any,
) -> Any:  # fmt: skip
    return batch_norm.batch_norm_statistics(
        x, weight, bias, running_mean, running_var, training, momentum, eps, data_format=data_format,
        activation=activation, residual=residual,
    )  # fmt: skip


def batch_norm_backward(
    x: Any, grad: Any, statistics: Any, weight: Any, bias: Any, *, training: bool, data_format: Any, activation: Any
) -> Any:
    return batch_norm.batch_norm_gradients(
        x, grad, statistics, weight, bias, training, data_format=data_format, activation=activation
    )


def batch_norm_parameters_backward(
    x: Any, grad: Any, statistics: Any, weight: Any, bias: Any, *, training: bool, data_format: Any, activation: Any
) -> Any:
    return batch_norm.batch_norm_gradients(
        x, grad, statistics, weight, bias, training, data_format=data_format, activation=activation, input_too=False
    )[1:]


def _batch_norm_definition(statistics: Any) -> Any:
    def definition(x, mean, var, weight, bias, training, momentum, eps, data_format, activation):
        ndim = x.ndim
        axis = ndim - 1 if _last(data_format, ndim) else 1
        if training:
            y = _normalised(x, tuple(i for i in range(ndim) if i != axis), eps)
        else:
            mean, inverse = (_along(statistics[i].astype(x.dtype), ndim, axis) for i in range(2))
            y = (x - mean) * inverse
        y = _scaled(y, _along(weight, ndim, axis), _along(bias, ndim, axis))
        return y if activation is None else apply(activation, y)

    return definition


def batch_norm_rule(grad, output, inputs, attributes, needs):
    statistics = output[1]
    if is_grad_enabled():
        return composed(_batch_norm_definition(statistics), grad, inputs, attributes, needs)
    x, _, _, weight, bias = inputs
    options = {name: attributes[name] for name in ("training", "data_format", "activation")}
    of_x = None
    if needs[0]:
        of_x, of_weight, of_bias = apply("batch_norm_gradients", x, grad, statistics, weight, bias, **options)
    else:
        of_weight, of_bias = apply("batch_norm_parameter_gradients", x, grad, statistics, weight, bias, **options)
    return of_x, None, None, of_weight if needs[3] else None, of_bias if needs[4] else None


def batch_norm_add_rule(grad, output, inputs, attributes, needs):
    """The residual gets the gradient of the sum, which relu's mask is on."""
    if attributes["activation"] is not None:
        grad = apply("relu_input", output[0], grad)
    options = attributes | {"activation": None}
    return *batch_norm_rule(grad, output, inputs[:5], options, needs[:5]), grad if needs[5] else None


_READ = (0, 3, 4)  # the gradients of each need all three
_READ_ALL = (*_READ, OUTPUT)
operation("batch_norm", _in_memory(batch_norm_forward), batch_norm_rule, reads=(_READ, (), (), _READ, _READ))
operation(
    "batch_norm_add", _in_memory(batch_norm_forward), batch_norm_add_rule,
    reads=(_READ_ALL, (), (), _READ_ALL, _READ_ALL, (OUTPUT,)),
)  # fmt: skip
operation("batch_norm_gradients", _in_memory(by_device(batch_norm_backward)), None)
operation("batch_norm_parameter_gradients", _in_memory(by_device(batch_norm_parameters_backward)), None)


# --- group norm and layer norm


def _group_norm(x, weight, bias, num_groups, eps, data_format):
    last, shape = _last(data_format, x.ndim), x.shape
    split, axes, parts = normalisation.group_shape(shape, num_groups, LAST if last else FIRST)
    y = _normalised(x.reshape(split), axes, eps)
    return _scaled(y, *(None if p is None else p.reshape(parts) for p in (weight, bias))).reshape(shape)


def _layer_norm(x, weight, bias, normalized_shape, eps):
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    return _scaled(_normalised(x, axes, eps), weight, bias)


def _either(definition: Any, gradients: str) -> Any:
    """A rule: by kernels, or, where gradients are to have gradients, by the definition."""

    def rule(grad, output, inputs, attributes, needs):
        if is_grad_enabled():
            return composed(definition, grad, inputs, attributes, needs)
        x, weight, _ = inputs
        found = apply(gradients, x, grad, weight, **attributes)
        return tuple(value if need else None for value, need in zip(found, needs))

    return rule


def group_norm_forward(x: Any, weight: Any, bias: Any, *, num_groups: int, eps: float, data_format: Any) -> Any:
    return normalisation.group_norm(x, num_groups, weight, bias, eps, data_format=data_format)


def group_norm_backward(x: Any, grad: Any, weight: Any, *, num_groups: int, eps: float, data_format: Any) -> Any:
    return normalisation_gradients.group_norm_gradients(x, grad, num_groups, weight, eps, data_format=data_format)


def layer_norm_forward(x: Any, weight: Any, bias: Any, *, normalized_shape: Any, eps: float) -> Any:
    return normalisation.layer_norm(x, normalized_shape, weight, bias, eps)


def layer_norm_backward(x: Any, grad: Any, weight: Any, *, normalized_shape: Any, eps: float) -> Any:
    return normalisation_gradients.layer_norm_gradients(x, grad, normalized_shape, weight, eps)


_READS = ((0, 1, 2),) * 3
operation("group_norm", _in_memory(group_norm_forward), _either(_group_norm, "group_norm_gradients"), reads=_READS)
operation("group_norm_gradients", _in_memory(by_device(group_norm_backward)), None)
operation("layer_norm", layer_norm_forward, _either(_layer_norm, "layer_norm_gradients"), reads=_READS)
operation("layer_norm_gradients", by_device(layer_norm_backward), None)


# --- local response norm


def _local_response_norm(x, size, alpha, beta, k, data_format):
    axis = x.ndim - 1 if _last(data_format, x.ndim) else 1
    channels, total = x.shape[axis], None
    squares = x * x
    around = [(0, 0)] * x.ndim
    around[axis] = (size // 2, (size - 1) // 2)
    padded = apply("pad", squares, pad=around, mode="constant", value=0)
    for start in range(size):
        part = padded[(slice(None),) * axis + (slice(start, start + channels),)]
        total = part if total is None else total + part
    return x / (total * (alpha / size) + k) ** beta


def local_response_norm_rule(grad, output, inputs, attributes, needs):
    if is_grad_enabled():
        return composed(_local_response_norm, grad, inputs, attributes, needs)
    return (apply("local_response_norm_input", inputs[0], grad, **attributes),)


operation("local_response_norm", _in_memory(normalisation.local_response_norm), local_response_norm_rule, reads=((0,),))
operation("local_response_norm_input", _in_memory(by_device(normalisation_gradients.local_response_norm_input)), None)
