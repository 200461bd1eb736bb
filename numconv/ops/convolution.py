"""Convolutions of arrays: forward, transposed, separable; plans; how gradients are called.

`convolution` means cross-correlation, as in every framework. A call is looked up by its shapes, dtypes and options in
a bounded dictionary; on a miss the arguments are checked by making a problem, and the algorithm is selected.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from numconv.algorithm import forced, select
from numconv.ops import resampling
from numconv.ops.device import gpu, on_gpu, on_host
from numconv.options import options
from numconv.plan import (
    Call,
    Plan,
    arranged_problem,
    check_apart,
    check_out,
    check_residual,
    converted,
    layout,
    layout_of_out,
    make_plan,
)
from numconv.problem import (
    LAST,
    ConvProblem,
    accumulator_dtype,
    conv_padding,
    integer,
    layout_of,
    per_axis,
    spatial_axes,
    supported_dtype,
    with_batch,
)

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
# The options that `ConvProblem.make` is given by a call.
_FORWARD = ("stride", "padding", "dilation", "groups", "data_format", "activation", "precision")
_TRANSPOSED = (
    "stride", "padding", "output_padding", "groups", "dilation", "output_size", *_FORWARD[-3:],
)  # fmt: skip
_GRADIENT = ("stride", "padding", "dilation", "groups", "data_format", "precision")
_LIMIT = 4096  # calls remembered
_calls: dict[Any, Call] = {}


def as_array(name: str, value: Any) -> np.ndarray:
    """`value` as a NumPy array of a dtype that can be computed with."""
    if not isinstance(value, np.ndarray):
        value = on_host(name, value)
    if value.dtype.kind in "bOSUmM":
        raise TypeError(f"{name} must be of a float, integer or complex dtype, got {value.dtype}")
    return value


def common_dtype(**arrays: Any) -> np.dtype:
    """The dtype that NumPy promotes the arrays to."""
    present = {name: a.dtype for name, a in arrays.items() if a is not None}
    try:
        dtype = np.result_type(*present.values())
    except TypeError:
        raise TypeError(f"there is no common dtype of {', '.join(f'{n} ({d})' for n, d in present.items())}") from None
    return supported_dtype(next(iter(present)), dtype)


def _sizes(name: str, shape: Any) -> tuple[int, ...]:
    """A shape that is an argument, checked."""
    if type(shape) is tuple and {*map(type, shape)} == {int} and min(shape) >= 0:
        return shape
    if not isinstance(shape, Iterable):
        raise TypeError(f"{name} must be a sequence of integers, got {shape!r}")
    return tuple(integer(f"{name}[{i}]", n, 0) for i, n in enumerate(shape))


def _anywhere(name: str, value: Any) -> Any:
    """`value` as an array of NumPy, unless it is one on a GPU."""
    return value if on_gpu(value) else as_array(name, value)


def _remember(key: Any, call: Call) -> Call:
    if key is not None:
        if len(_calls) >= _LIMIT:
            _calls.clear()
        _calls[key] = call
    return call


def _run(
    operation: str, x: Any, weight: Any, bias: Any, names: tuple[str, ...], values: tuple[Any, ...], residual: Any,
    algorithm: str, out: np.ndarray | None,
) -> np.ndarray:  # fmt: skip
    """A forward or transposed convolution; names and values are those of options of `ConvProblem.make`."""
    kinds = tuple(map(type, values))  # True is no 1
    if list in kinds:
        values = tuple(tuple(v) if type(v) is list else v for v in values)
    try:
        key: Any = (
            operation, type(x), x.shape, x.strides, x.dtype, x.flags.num, type(weight), weight.shape, weight.dtype,
            weight.flags.num,
            bias is not None and layout(bias), out is not None and layout_of_out(out),
            residual is not None and (residual is out or layout(residual)), algorithm, forced(), options.version,
            values, kinds,
        )  # fmt: skip
        call = _calls.get(key)
    except (AttributeError, TypeError):  # a list in place of an array, an option that cannot be looked up
        key = call = None
    if call is None:
        if on_gpu(x, weight, bias, residual, out):
            arguments = dict(zip(names, values))
            return gpu("convolution").convolution(operation, x, weight, bias, arguments, residual, algorithm, out)
        x, weight = as_array("x", x), as_array("weight", weight)
        bias = None if bias is None else as_array("bias", bias)
        arguments = dict(zip(names, values))
        call = _remember(key, _checked(operation, x, weight, bias, arguments, residual is not None, algorithm))
    problem = call.problem
    if residual is not None:
        residual = check_residual(residual, call.shape, problem.dtype)
    if out is None:
        out = call.new()
    else:
        check_out(out, call.shape, problem.dtype, {"x": x, "weight": weight, "bias": bias, "residual": residual})
    if not call.as_given:
        weight, bias = _for_algorithms(problem, weight, bias)
    if call.algorithm.reads_weight:
        call = call.by(select(problem, algorithm, weight=weight))
    return call.run(weight, x, bias, residual, out)


def _checked(
    operation: str,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    arguments: dict[str, Any],
    residual: bool,
    algorithm: str,
) -> Call:
    """Check everything that does not depend on the values, and choose."""
    dtype = common_dtype(x=x, weight=weight, bias=bias)
    shape = with_batch("x", x.shape, operation)
    whole = x if x.ndim == len(shape) else x[None]
    problem = ConvProblem.make(
        operation, shape, weight.shape, dtype,
        bias_shape=None if bias is None else bias.shape, residual=residual, **arguments,
    )  # fmt: skip
    problem = arranged_problem(problem, converted(whole, dtype))
    call = Call(problem, select(problem, algorithm), x, problem.result_shape[whole.ndim - x.ndim :], packs=True)
    given = weight, bias
    call.as_given = all(ours is theirs for ours, theirs in zip(_for_algorithms(problem, *given), given))
    return call


def _for_algorithms(
    problem: ConvProblem, weight: np.ndarray, bias: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Weight and bias as algorithms get them: the arrays themselves or copies."""
    weight = np.ascontiguousarray(converted(weight, problem.dtype))
    return weight, None if bias is None else np.ascontiguousarray(converted(bias, accumulator_dtype(problem.dtype)))


def _padded(operation: str, x: Any, weight: Any, values: tuple[Any, ...], mode: str, out: Any) -> tuple[Any, Any]:
    """x with its border filled in by another rule than zeros, and the options without that padding."""
    stride, padding, dilation, _, data_format, *_ = values
    if mode not in PADDING_MODES:
        raise ValueError(f"padding_mode must be one of {PADDING_MODES}, got {mode!r}")
    if isinstance(out, np.ndarray) and isinstance(x, np.ndarray):
        check_apart(out, {"x": x})
    ndim, x, weight = spatial_axes(operation), _anywhere("x", x), _anywhere("weight", weight)
    if x.ndim not in (ndim + 1, ndim + 2) or weight.ndim != ndim + 2:
        return x, values  # refused when the problem is made
    last = layout_of(data_format, ndim) == LAST
    size = tuple(x.shape)[-ndim - 1 : -1] if last else tuple(x.shape)[-ndim:]
    strides, dilations = per_axis("stride", stride, ndim, 1), per_axis("dilation", dilation, ndim, 1)
    pads = conv_padding(padding, size, weight.shape[2:], strides, dilations)
    padded = resampling.pad(x, (*pads, (0, 0)) if last else pads, mode)
    return padded, (stride, 0, *values[2:])


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, *,
    data_format: str | None = None, padding_mode: str = "zeros", activation: Any = None, residual: Any = None,
    algorithm: str = "auto", precision: str = "default", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Cross-correlate images with a bank of kernels.

    Parameters
    ----------
    x : array_like
        (N, C, H, W), or (C, H, W) without a batch; channels last with ``data_format="NHWC"``.
    weight : array_like
        (out channels, C / groups, kernel height, kernel width), in every data format.
    bias : array_like, optional
        (out channels,).
    stride, dilation : int or (int, int)
        Steps between positions, and between a kernel's taps.
    padding : int, (int, int), pairs or str
        Zeros around the image: for each axis one number or (before, after); or "valid" (none), "same" (result of
        ceil(input / stride), what is odd goes after), "same_lower" (before), "full" (every overlap).
    groups : int
        Channels are split into so many groups, each convolved on its own.
    data_format : str, optional
        "NCHW" (where left out) or "NHWC", of `x`, `residual` and the result.
    padding_mode : str
        What the padding holds: "zeros", "reflect", "replicate" or "circular".
    activation : str or (str, float), optional
        relu, relu6, leaky_relu, elu, gelu, sigmoid, tanh, silu or hardswish, with PyTorch's defaults.
    residual : array_like, optional
        Of the result's shape, added before the activation.
    algorithm : str
        "auto", or one of ``algorithms("conv2d")``.
    precision : str
        "strict" (direct summation only), "default" or "fast".
    out : numpy.ndarray, optional
        Where the result goes. It may be exactly `residual`, and overlap nothing else.

    Returns
    -------
    numpy.ndarray
        activation(convolution + bias + residual), of the dtype that NumPy promotes x, weight and bias to.

    Raises
    ------
    ValueError
        If shapes do not fit together or an option has no meaning; before any work.
    TypeError
        If a dtype is not supported (bool, object, long double) or an option is of a wrong type.

    Examples
    --------
    >>> import numpy as np, numconv as nc
    >>> nc.conv2d(np.ones((1, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32), padding=1).shape
    (1, 4, 8, 8)
    """
    values = (stride, padding, dilation, groups, data_format, activation, precision)
    if padding_mode != "zeros":
        x, values = _padded("conv2d", x, weight, values, padding_mode, out)
    return _run("conv2d", x, weight, bias, _FORWARD, values, residual, algorithm, out)


def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, *,
    data_format: str | None = None, padding_mode: str = "zeros", activation: Any = None, residual: Any = None,
    algorithm: str = "auto", precision: str = "default", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Cross-correlate signals (N, C, L) with kernels (out channels, C / groups, k): see `conv2d`."""
    values = (stride, padding, dilation, groups, data_format, activation, precision)
    if padding_mode != "zeros":
        x, values = _padded("conv1d", x, weight, values, padding_mode, out)
    return _run("conv1d", x, weight, bias, _FORWARD, values, residual, algorithm, out)


def conv3d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, *,
    data_format: str | None = None, padding_mode: str = "zeros", activation: Any = None, residual: Any = None,
    algorithm: str = "auto", precision: str = "default", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Cross-correlate volumes (N, C, D, H, W) with kernels (out channels, C / groups, kd, kh, kw): see `conv2d`."""
    values = (stride, padding, dilation, groups, data_format, activation, precision)
    if padding_mode != "zeros":
        x, values = _padded("conv3d", x, weight, values, padding_mode, out)
    return _run("conv3d", x, weight, bias, _FORWARD, values, residual, algorithm, out)


def conv_transpose2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1, *, output_size: Any = None, data_format: str | None = None,
    activation: Any = None, residual: Any = None, algorithm: str = "auto", precision: str = "default",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Transposed convolution: the gradient of `conv2d` with respect to its input, as an operation of its own.

    Parameters
    ----------
    x : array_like
        (N, C, H, W), or (C, H, W) without a batch; channels last with ``data_format="NHWC"``.
    weight : array_like
        (C, out channels / groups, kernel height, kernel width).
    bias : array_like, optional
        (out channels,).
    stride, dilation : int or (int, int)
    padding : int, (int, int), pairs or str
        What is cut off the full result; "same" gives input x stride, "valid" cuts nothing.
    output_padding : int or (int, int)
        Added to the result's size, after; smaller than stride or dilation.
    output_size : int or (int, int), optional
        The spatial shape wanted, in place of `output_padding`.
    groups, data_format, activation, residual, algorithm, precision, out
        As in `conv2d`.

    Returns
    -------
    numpy.ndarray
        Each axis (input - 1) stride - pads + dilation (kernel - 1) + output_padding + 1 long.

    Raises
    ------
    ValueError, TypeError
        As `conv2d`.

    Notes
    -----
    Computed by stride phases, without inserting zeros.
    """
    values = (stride, padding, output_padding, groups, dilation, output_size, data_format, activation, precision)
    return _run("conv_transpose2d", x, weight, bias, _TRANSPOSED, values, residual, algorithm, out)


def conv_transpose1d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1, *, output_size: Any = None, data_format: str | None = None,
    activation: Any = None, residual: Any = None, algorithm: str = "auto", precision: str = "default",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Transposed convolution of signals (N, C, L): see `conv_transpose2d`."""
    values = (stride, padding, output_padding, groups, dilation, output_size, data_format, activation, precision)
    return _run("conv_transpose1d", x, weight, bias, _TRANSPOSED, values, residual, algorithm, out)


def conv_transpose3d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1, *, output_size: Any = None, data_format: str | None = None,
    activation: Any = None, residual: Any = None, algorithm: str = "auto", precision: str = "default",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Transposed convolution of volumes (N, C, D, H, W): see `conv_transpose2d`."""
    values = (stride, padding, output_padding, groups, dilation, output_size, data_format, activation, precision)
    return _run("conv_transpose3d", x, weight, bias, _TRANSPOSED, values, residual, algorithm, out)


def gradient(
    operation: str, full: tuple[str, Any], other: tuple[str, Any], grad_output: Any, values: tuple[Any, ...],
    algorithm: str, out: np.ndarray | None,
) -> np.ndarray:  # fmt: skip
    """The input's or the weight's gradient: `full` is (name, shape wanted), `other` (name, the array that is known)."""
    shape = _sizes(*full)
    if on_gpu(other[1], grad_output, out):
        given = (full[0], other[0]), shape, other[1], grad_output, dict(zip(_GRADIENT, values))
        return gpu("convolution").gradient(operation, *given, algorithm, out)
    known, grad = as_array(*other), as_array("grad_output", grad_output)
    try:
        key: Any = (
            operation, shape, layout(known), layout(grad), out is not None and layout_of_out(out), algorithm,
            forced(), options.version, values, *map(type, values),
        )  # fmt: skip
        call = _calls.get(key)
    except (AttributeError, TypeError):
        key = call = None
    if call is None:
        names, arguments = (full[0], other[0]), dict(zip(_GRADIENT, values))
        call = _remember(key, _checked_gradient(operation, names, shape, known, grad, arguments, algorithm))
    problem = call.problem
    if out is None:
        out = call.new()
    else:
        check_out(out, shape, problem.dtype, {other[0]: known, "grad_output": grad})
    if problem.direction == "input":
        weight, x, target = np.ascontiguousarray(converted(known, problem.dtype)), grad, out
        if call.algorithm.reads_weight:
            call = call.by(select(problem, algorithm, weight=weight))
    else:
        weight, x = converted(grad, problem.dtype), known
        weight = weight if x.ndim == problem.ndim + 2 else weight[None]
        target = out if out.flags.c_contiguous else np.empty(shape, problem.dtype)
    call.run(weight, x, None, None, target)
    if target is not out:
        out[...] = target
    return out


def _checked_gradient(
    operation: str, names: tuple[str, str], shape: tuple[int, ...], known: np.ndarray, grad: np.ndarray,
    arguments: dict[str, Any], algorithm: str,
) -> Call:  # fmt: skip
    """Check everything that does not depend on the values, and choose."""
    ndim = spatial_axes(operation)
    of_input = operation.endswith("_input")
    x_shape, weight_shape = (shape, known.shape) if of_input else (known.shape, shape)
    whole = with_batch(names[0] if of_input else names[1], x_shape, operation)
    batched = len(x_shape) == len(whole)
    dtype = common_dtype(**{names[1]: known, "grad_output": grad})
    problem = ConvProblem.make(f"conv{ndim}d", whole, weight_shape, dtype, **arguments)
    expected = problem.output_shape if batched else problem.output_shape[1:]
    if grad.shape != expected:
        raise ValueError(f"grad_output must have the convolution's output shape {expected}, got {grad.shape}")
    problem = problem.with_operation(operation)
    if of_input:
        problem = arranged_problem(problem, converted(grad if batched else grad[None], dtype))
    return Call(problem, select(problem, algorithm), grad if of_input else known, shape, packs=True)


def separable_conv2d(
    x: Any, depthwise_weight: Any, pointwise_weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, *, data_format: str | None = None,
) -> np.ndarray:  # fmt: skip
    """A depthwise convolution followed by a pointwise one (Sifre, 2014; Chollet, CVPR 2017).

    Parameters
    ----------
    x : array_like
        (N, C, H, W) or (C, H, W); channels last with ``data_format="NHWC"``.
    depthwise_weight : array_like
        (C * multiplier, 1, kernel height, kernel width).
    pointwise_weight : array_like
        (out channels, C * multiplier, 1, 1).
    bias : array_like, optional
        (out channels,), added at the end.
    stride, padding, dilation
        Of the depthwise convolution, as in `conv2d`.
    data_format : str, optional

    Returns
    -------
    numpy.ndarray

    Raises
    ------
    ValueError, TypeError
        As `conv2d`.
    """
    depthwise_weight = _anywhere("depthwise_weight", depthwise_weight)
    pointwise_weight = _anywhere("pointwise_weight", pointwise_weight)
    if depthwise_weight.ndim != 4 or depthwise_weight.shape[1] != 1:
        raise ValueError(
            f"depthwise_weight must have shape (channels * multiplier, 1, height, width), got {depthwise_weight.shape}"
        )
    if pointwise_weight.shape[1:] != (depthwise_weight.shape[0], 1, 1):
        raise ValueError(
            f"pointwise_weight must have shape (out channels, {depthwise_weight.shape[0]}, 1, 1), "
            f"got {pointwise_weight.shape}"
        )
    x = _anywhere("x", x)
    if x.ndim not in (3, 4):
        raise ValueError(f"x must have 4 axes, or 3 without a batch, got shape {x.shape}")
    channels = tuple(x.shape)[-1 if layout_of(data_format, 2) == LAST else -3]
    between = conv2d(x, depthwise_weight, None, stride, padding, dilation, channels, data_format=data_format)
    return conv2d(between, pointwise_weight, bias, data_format=data_format)


def plan(
    operation: str, x_shape: Any, weight: Any, bias: Any = None, *, dtype: Any = None, algorithm: str = "auto",
    **arguments: Any,
) -> Plan:  # fmt: skip
    """Prepare a convolution for many calls: weights are packed once.

    Parameters
    ----------
    operation : str
        "conv{n}d" or "conv_transpose{n}d".
    x_shape : sequence of int
        Shape of the input, with or without a batch; the plan takes any batch size.
    weight, bias : array_like
        Copied.
    dtype : dtype, optional
        Of x and the result: that of weight and bias where left out.
    algorithm : str
        As in `conv2d`.
    **arguments
        The operation's other options: stride, padding, dilation, groups, output_padding, output_size, data_format,
        activation, precision.

    Returns
    -------
    Plan
        Call it with x: ``plan(x, residual=None, out=None)``.

    Raises
    ------
    ValueError, TypeError
        As the operation.

    Examples
    --------
    >>> import numpy as np, numconv as nc
    >>> p = nc.plan("conv2d", (1, 3, 32, 32), np.ones((8, 3, 3, 3), np.float32), padding="same", activation="relu")
    >>> p(np.ones((5, 3, 32, 32), np.float32)).shape
    (5, 8, 32, 32)
    """
    ndim = spatial_axes(operation)
    if operation not in (f"conv{ndim}d", f"conv_transpose{ndim}d"):
        raise ValueError(f"operation must be 'conv{ndim}d' or 'conv_transpose{ndim}d', got {operation!r}")
    if arguments.pop("padding_mode", "zeros") != "zeros":
        raise ValueError("padding_mode of a plan must be 'zeros': pad x first")
    if on_gpu(weight, bias):
        if dtype is not None and np.dtype(dtype) != weight.dtype:
            raise TypeError(f"dtype of a plan on a GPU must be the weight's, {weight.dtype}, got {dtype}")
        shape = _sizes("x_shape", x_shape)
        return gpu("convolution").plan(operation, shape, weight, bias, algorithm, arguments)
    weight = as_array("weight", weight)
    bias = None if bias is None else as_array("bias", bias)
    kind = common_dtype(weight=weight, bias=bias) if dtype is None else supported_dtype("dtype", np.dtype(dtype))
    shape = _sizes("x_shape", x_shape)
    whole = with_batch("x_shape", shape, operation)
    arguments["bias_shape"] = None if bias is None else bias.shape
    problem = ConvProblem.make(operation, whole, weight.shape, kind, **arguments)
    weight = np.ascontiguousarray(converted(weight, kind))
    return make_plan(problem, algorithm, weight, bias, len(shape) == len(whole), arguments)
