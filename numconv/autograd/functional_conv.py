"""Convolutions of Tensors, by the names and arguments of torch.nn.functional; the rest of the options is numconv's.

`**options` are data_format, padding_mode, activation, residual, algorithm and precision, as in `numconv.conv2d`.
"""

from __future__ import annotations

from typing import Any

from numconv.autograd.functional_arrays import tensor
from numconv.autograd.modes import grad_mode
from numconv.autograd.tape import Tensor, apply
from numconv.problem import channel_axis, conv_padding, parse_activation, per_axis

_PARAMETERS = {"leaky_relu": "negative_slope", "elu": "alpha"}


def activated(y: Tensor, activation: Any) -> Tensor:
    """An activation given as convolutions take it, as an operation of its own."""
    parsed = parse_activation(activation)
    if parsed is None:
        return y
    name, parameter = parsed
    return apply(name, y, **({_PARAMETERS[name]: parameter} if name in _PARAMETERS else {}))


def _convolve(name: str, operands: tuple[Any, ...], activation: Any, options: dict[str, Any]) -> Tensor:
    """A convolution; its activation is fused where no gradient is wanted."""
    if activation is None or not grad_mode.get() or not any(getattr(o, "requires_grad", False) for o in operands):
        return apply(name, *operands, activation=activation, **options)
    parse_activation(activation)
    return activated(apply(name, *operands, activation=None, **options), activation)


def _conv(
    ndim: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int, *,
    data_format: str | None = None, padding_mode: str = "zeros", activation: Any = None, residual: Any = None,
    algorithm: str = "auto", precision: str = "default",
) -> Tensor:  # fmt: skip
    if padding_mode != "zeros":
        x, padding = _padded(ndim, tensor(x), tensor(weight), stride, padding, dilation, data_format, padding_mode), 0
    options = {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "data_format": data_format,
        "algorithm": algorithm, "precision": precision,
    }  # fmt: skip
    return _convolve(f"conv{ndim}d", (x, weight, bias, residual), activation, options)


def _padded(
    ndim: int, x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, data_format: str | None, mode: str
) -> Tensor:
    """x with its border filled in by another rule than zeros."""
    channel = channel_axis(data_format, ndim)
    size = x.shape[-ndim - 1 : -1] if channel == -1 else x.shape[-ndim:]
    pads = conv_padding(
        padding, size, weight.shape[2:], per_axis("stride", stride, ndim, 1), per_axis("dilation", dilation, ndim, 1)
    )
    if channel == -1:
        pads = (*pads, (0, 0))
    return apply("pad", x, pad=pads, mode=mode, value=0)


def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    **options: Any,
) -> Tensor:  # fmt: skip
    """As `numconv.conv1d`."""
    return _conv(1, x, weight, bias, stride, padding, dilation, groups, **options)


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    **options: Any,
) -> Tensor:  # fmt: skip
    """As `numconv.conv2d`; of images whose channels lie last in memory the result's do, too."""
    return _conv(2, x, weight, bias, stride, padding, dilation, groups, **options)


def conv3d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    **options: Any,
) -> Tensor:  # fmt: skip
    """As `numconv.conv3d`."""
    return _conv(3, x, weight, bias, stride, padding, dilation, groups, **options)


def _conv_transpose(
    ndim: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int,
    dilation: Any, *, output_size: Any = None, data_format: str | None = None, activation: Any = None,
    residual: Any = None, algorithm: str = "auto", precision: str = "default",
) -> Tensor:  # fmt: skip
    options = {
        "stride": stride, "padding": padding, "output_padding": output_padding, "groups": groups, "dilation": dilation,
        "output_size": output_size, "data_format": data_format, "algorithm": algorithm, "precision": precision,
    }  # fmt: skip
    return _convolve(f"conv_transpose{ndim}d", (x, weight, bias, residual), activation, options)


def conv_transpose1d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1, **options: Any,
) -> Tensor:  # fmt: skip
    """As `numconv.conv_transpose1d`."""
    return _conv_transpose(1, x, weight, bias, stride, padding, output_padding, groups, dilation, **options)


def conv_transpose2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1, **options: Any,
) -> Tensor:  # fmt: skip
    """As `numconv.conv_transpose2d`."""
    return _conv_transpose(2, x, weight, bias, stride, padding, output_padding, groups, dilation, **options)


def conv_transpose3d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1, **options: Any,
) -> Tensor:  # fmt: skip
    """As `numconv.conv_transpose3d`."""
    return _conv_transpose(3, x, weight, bias, stride, padding, output_padding, groups, dilation, **options)


def conv_input(
    ndim: int, input_size: Any, weight: Any, grad_output: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1, *, data_format: str | None = None, algorithm: str = "auto", precision: str = "default",
) -> Tensor:  # fmt: skip
    """The gradient of a convolution of `ndim` spatial axes with respect to its input."""
    return apply(
        f"conv{ndim}d_input", weight, grad_output, input_size=tuple(input_size), stride=stride, padding=padding,
        dilation=dilation, groups=groups, data_format=data_format, algorithm=algorithm, precision=precision,
    )  # fmt: skip


def conv_weight(
    ndim: int, input: Any, weight_size: Any, grad_output: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1, *, data_format: str | None = None, algorithm: str = "auto", precision: str = "default",
) -> Tensor:  # fmt: skip
    """The gradient of a convolution of `ndim` spatial axes with respect to its weight."""
    return apply(
        f"conv{ndim}d_weight", input, grad_output, weight_size=tuple(weight_size), stride=stride, padding=padding,
        dilation=dilation, groups=groups, data_format=data_format, algorithm=algorithm, precision=precision,
    )  # fmt: skip


def conv1d_input(input_size: Any, weight: Any, grad_output: Any, *arguments: Any, **options: Any) -> Tensor:
    """As `numconv.conv1d_input`."""
    return conv_input(1, input_size, weight, grad_output, *arguments, **options)


def conv2d_input(input_size: Any, weight: Any, grad_output: Any, *arguments: Any, **options: Any) -> Tensor:
    """As `numconv.conv2d_input`."""
    return conv_input(2, input_size, weight, grad_output, *arguments, **options)


def conv3d_input(input_size: Any, weight: Any, grad_output: Any, *arguments: Any, **options: Any) -> Tensor:
    """As `numconv.conv3d_input`."""
    return conv_input(3, input_size, weight, grad_output, *arguments, **options)


def conv1d_weight(input: Any, weight_size: Any, grad_output: Any, *arguments: Any, **options: Any) -> Tensor:
    """As `numconv.conv1d_weight`."""
    return conv_weight(1, input, weight_size, grad_output, *arguments, **options)


def conv2d_weight(input: Any, weight_size: Any, grad_output: Any, *arguments: Any, **options: Any) -> Tensor:
    """As `numconv.conv2d_weight`."""
    return conv_weight(2, input, weight_size, grad_output, *arguments, **options)


def conv3d_weight(input: Any, weight_size: Any, grad_output: Any, *arguments: Any, **options: Any) -> Tensor:
    """As `numconv.conv3d_weight`."""
    return conv_weight(3, input, weight_size, grad_output, *arguments, **options)


def separable_conv2d(
    x: Any, depthwise_weight: Any, pointwise_weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, *, data_format: str | None = None,
) -> Tensor:  # fmt: skip
    """As `numconv.separable_conv2d`: a depthwise convolution, then a pointwise one."""
    x, depthwise, pointwise = tensor(x), tensor(depthwise_weight), tensor(pointwise_weight)
    if depthwise.ndim != 4 or depthwise.shape[1] != 1:
        raise ValueError(f"depthwise_weight must have shape (channels, 1, height, width), got {depthwise.shape}")
    if pointwise.shape[1:] != (depthwise.shape[0], 1, 1):
        raise ValueError(
            f"pointwise_weight must have shape (out channels, {depthwise.shape[0]}, 1, 1), got {pointwise.shape}"
        )
    if x.ndim not in (3, 4):
        raise ValueError(f"x must have 4 axes, or 3 without a batch, got shape {x.shape}")
    channels = x.shape[channel_axis(data_format, 2)]
    between = conv2d(x, depthwise, None, stride, padding, dilation, channels, data_format=data_format)
    return conv2d(between, pointwise, bias, data_format=data_format)
