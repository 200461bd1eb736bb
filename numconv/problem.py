"""Problems: what is asked of a kernel, with every argument normalised and checked.

A problem is frozen and hashable, holds shapes and options but no data, and is the only place where
arguments are judged: whatever leaves this module is consistent, and the kernels below trust it.
Errors name the argument, what came and what was expected.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

Pairs = tuple[tuple[int, int], ...]

FIRST, LAST = "channels_first", "channels_last"
_FORMATS = {
    1: {"NCL": FIRST, "NCW": FIRST, "NLC": LAST, "NWC": LAST},
    2: {"NCHW": FIRST, "NHWC": LAST},
    3: {"NCDHW": FIRST, "NDHWC": LAST},
}
ACTIVATIONS = {
    "relu": 0.0,
    "relu6": 0.0,
    "leaky_relu": 0.01,
    "elu": 1.0,
    "gelu": 0.0,
    "sigmoid": 0.0,
    "tanh": 0.0,
    "silu": 0.0,
    "hardswish": 0.0,
}
_WITH_PARAMETER = ("leaky_relu", "elu")
FAR = 1 << 40  # strides, dilations and paddings beyond it would leave 64 bits when multiplied
PRECISIONS = ("strict", "default", "fast")
HALF = ("float16", "bfloat16")
_FLOATS = ("float32", "float64", *HALF)
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_COMPLEX = ("complex64", "complex128")


def integer(name: str, value: Any, least: int | None = None) -> int:
    """`value` as a Python integer, or an error that names the argument."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if least is not None and number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def per_axis(name: str, value: Any, ndim: int, least: int | None = None) -> tuple[int, ...]:
    """One integer an axis from an integer or a sequence of one or `ndim` integers."""
    if isinstance(value, (str, bytes, dict)):
        raise TypeError(f"{name} must be an integer or {ndim} integers, got {value!r}")
    if not isinstance(value, Iterable) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return (integer(name, value, least),) * ndim
    numbers = tuple(integer(name, v, least) for v in value)
    if len(numbers) == 1:
        numbers *= ndim
    if len(numbers) != ndim:
        raise ValueError(f"{name} must be an integer or have {ndim} entries, one for each axis, got {value!r}")
    return numbers


def layout_of(data_format: str | None, ndim: int) -> str:
    """`channels_first` or `channels_last` for a data format of `ndim` spatial axes."""
    if data_format is None:
        return FIRST
    if data_format in (FIRST, LAST):
        return data_format
    known = _FORMATS[ndim]
    if not isinstance(data_format, str) or data_format not in known:
        raise ValueError(f"data_format must be one of {[*known, FIRST, LAST]} or None, got {data_format!r}")
    return known[data_format]


def channel_axis(data_format: str | None, ndim: int) -> int:
    """The axis of the channels in an array of `ndim` spatial axes: `-ndim - 1` or `-1`."""
    return -1 if layout_of(data_format, ndim) == LAST else -ndim - 1


def parse_activation(activation: Any) -> tuple[str, float] | None:
    """(name, parameter) of an activation given as None, a name, or (name, parameter)."""
    if activation is None:
        return None
    name, parameter = activation, None
    if isinstance(activation, (tuple, list)) and len(activation) == 2:
        name, parameter = activation
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(
            f"activation must be None, (name, parameter) or one of {list(ACTIVATIONS)}, got {activation!r}"
        )
    if parameter is None:
        return name, ACTIVATIONS[name]
    if name not in _WITH_PARAMETER and parameter != ACTIVATIONS[name]:
        raise ValueError(f"activation {name!r} takes no parameter, got {parameter!r}")
    return name, float(parameter)


def supported_dtype(name: str, dtype: np.dtype) -> np.dtype:
    """The dtype in native byte order; TypeError for bool, object, long double and the like."""
    native = _computable(dtype)
    if native is None:
        raise TypeError(f"{name} must be of a float, integer or complex dtype up to 64 bits a part, got {dtype}")
    return native


@functools.cache
def _computable(dtype: np.dtype) -> np.dtype | None:
    """The dtype in native byte order, if it can be computed with: NumPy takes 1.5 us to name a dtype.

    It is the one that NumPy's own arrays have, and `is` tells so; `newbyteorder` would make another.
    """
    return np.dtype(dtype.type) if dtype.name in _FLOATS + _INTEGERS + _COMPLEX else None


@functools.cache
def accumulator_dtype(dtype: np.dtype) -> np.dtype:
    """What sums of `dtype` are held in: float32 for half types, 64 bits for integers."""
    if dtype.name in HALF:
        return np.dtype(np.float32)
    if dtype.kind in "iu":
        return np.dtype(np.int64)
    return dtype


def remembered(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Decorate a function of a problem: its value is kept with the problem, where it is found without hashing."""

    @functools.wraps(function)
    def found(problem: Any) -> Any:
        try:
            return problem.memo[function]
        except KeyError:
            value = problem.memo[function] = function(problem)
            return value

    return found


def _is_pairs(padding: Any) -> bool:
    return (
        isinstance(padding, (tuple, list, np.ndarray))
        and len(padding) > 0
        and all(isinstance(p, (tuple, list, np.ndarray)) and np.ndim(p) == 1 for p in padding)
    )


def pairs(name: str, padding: Any, ndim: int) -> Pairs:
    """(before, after) an axis from an integer, one integer an axis, or nested pairs."""
    if _is_pairs(padding):
        if len(padding) not in (1, ndim) or any(len(p) != 2 for p in padding):
            raise ValueError(f"{name} must have {ndim} (before, after) pairs, one for each axis, got {padding!r}")
        nested = tuple((integer(name, a, 0), integer(name, b, 0)) for a, b in padding)
        return nested * ndim if len(nested) == 1 else nested
    return tuple((p, p) for p in per_axis(name, padding, ndim, 0))


def conv_padding(
    padding: Any, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Pairs:
    """(before, after) pairs of a convolution's `padding`, the named forms resolved."""
    ndim = len(size)
    if not isinstance(padding, str):
        return pairs("padding", padding, ndim)
    reach = [d * (k - 1) for k, d in zip(kernel, dilation)]
    if padding == "valid":
        return ((0, 0),) * ndim
    if padding == "full":
        return tuple((r, r) for r in reach)
    if padding not in ("same", "same_lower"):
        raise ValueError(f"padding must be integers, pairs, 'valid', 'same', 'same_lower' or 'full', got {padding!r}")
    total = [max((-(-n // s) - 1) * s + r + 1 - n, 0) for n, s, r in zip(size, stride, reach)]
    small, large = ([t // 2 for t in total], [t - t // 2 for t in total])
    return tuple(zip(small, large)) if padding == "same" else tuple(zip(large, small))


def window_output_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int) -> int:
    """floor((size + before + after - dilation (kernel - 1) - 1) / stride) + 1."""
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def conv_output_shape(
    input_size: int | Sequence[int], kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> tuple[int, ...]:
    """Spatial shape of a convolution's result.

    Parameters
    ----------
    input_size : int or sequence of int
        Spatial shape of the input, without batch and channels.
    kernel_size, stride, dilation : int or sequence of int
        As in `conv2d`.
    padding : int, sequence, pairs or str
        As in `conv2d`.

    Returns
    -------
    tuple of int
        floor((n + pads - dilation (kernel - 1) - 1) / stride) + 1 for each axis.

    Raises
    ------
    ValueError
        If the kernel does not fit into the padded input.

    Examples
    --------
    >>> conv_output_shape((28, 31), 5, stride=3, padding=2)
    (10, 11)
    """
    size = (input_size,) if not isinstance(input_size, Iterable) else tuple(input_size)
    ndim = len(size) if len(size) > 1 or not isinstance(kernel_size, Iterable) else len(tuple(kernel_size))
    size = per_axis("input_size", size, ndim, 0)
    kernel = per_axis("kernel_size", kernel_size, ndim, 1)
    strides, dilations = per_axis("stride", stride, ndim, 1), per_axis("dilation", dilation, ndim, 1)
    pads = conv_padding(padding, size, kernel, strides, dilations)
    return _checked_output(size, kernel, strides, pads, dilations)


def _checked_output(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], pads: Pairs, dilation: Sequence[int]
) -> tuple[int, ...]:
    out = []
    for n, k, s, (before, after), d in zip(size, kernel, stride, pads, dilation):
        if d * (k - 1) + 1 > n + before + after:
            raise ValueError(
                f"kernel_size {tuple(kernel)} with dilation {tuple(dilation)} is larger than the padded input: "
                f"input size {tuple(size)}, padding {pads}"
            )
        out.append(window_output_size(n, k, s, before, after, d))
    return tuple(out)


def conv_transpose_output_shape(
    input_size: int | Sequence[int],
    kernel_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
) -> tuple[int, ...]:
    """Spatial shape of a transposed convolution's result.

    Parameters
    ----------
    input_size : int or sequence of int
        Spatial shape of the input, without batch and channels.
    kernel_size, stride, padding, output_padding, dilation
        As in `conv_transpose2d`.

    Returns
    -------
    tuple of int
        (n - 1) stride - pads + dilation (kernel - 1) + output_padding + 1 for each axis.

    Raises
    ------
    ValueError
        If the padding leaves nothing.
    """
    size = (input_size,) if not isinstance(input_size, Iterable) else tuple(input_size)
    size = per_axis("input_size", size, len(size), 0)
    kernel = per_axis("kernel_size", kernel_size, len(size), 1)
    return _transposed(size, kernel, stride, padding, output_padding, dilation, None)[0]


def _transposed(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    output_size: Any,
) -> tuple[tuple[int, ...], Pairs, tuple[int, ...], tuple[int, ...]]:
    """(output size, pads, stride, dilation) of a transposed convolution, checked."""
    ndim = len(size)
    strides, dilations = per_axis("stride", stride, ndim, 1), per_axis("dilation", dilation, ndim, 1)
    extra = per_axis("output_padding", output_padding, ndim, 0)
    for e, s, d in zip(extra, strides, dilations):
        if e and e >= max(s, d):
            raise ValueError(
                f"output_padding must be smaller than stride or dilation, got output_padding {extra}, "
                f"stride {strides}, dilation {dilations}"
            )
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilations)]
    if isinstance(padding, str) and padding not in ("same", "same_lower", "valid"):
        raise ValueError(
            f"padding of a transposed convolution must be integers, pairs, 'same' or 'valid', got {padding!r}"
        )
    if isinstance(padding, str) and padding != "valid":
        if any(extra):
            raise ValueError(f"output_padding must be 0 with padding={padding!r}, got {extra}")
        out = tuple(n * s for n, s in zip(size, strides))
        pads = conv_padding(padding, out, kernel, strides, dilations)
        if output_size is not None and _spatial_size(output_size, ndim) != out:
            raise ValueError(f"output_size must be {out} with padding={padding!r}, got {output_size!r}")
        return out, pads, strides, dilations
    pads = conv_padding(padding, size, kernel, strides, dilations)
    least = tuple((n - 1) * s - b - a + r for n, s, (b, a), r in zip(size, strides, pads, reach))
    if output_size is None:
        out = tuple(n + e for n, e in zip(least, extra))
    else:
        if any(extra):
            raise ValueError(
                f"output_size and output_padding cannot be given together, got {output_size!r} and {extra}"
            )
        out = _spatial_size(output_size, ndim)
        for o, n, s, d in zip(out, least, strides, dilations):
            if not n <= o < n + max(s, d):
                most = tuple(n + max(s, d) - 1 for n, s, d in zip(least, strides, dilations))
                raise ValueError(f"output_size must be between {least} and {most}, got {out}")
    if any(o < (0 if n == 0 else 1) for o, n in zip(out, size)):
        raise ValueError(f"padding {pads} leaves no output: input size {size}, kernel_size {kernel}, output size {out}")
    return tuple(max(o, 0) for o in out), pads, strides, dilations


def _spatial_size(output_size: Any, ndim: int) -> tuple[int, ...]:
    return per_axis("output_size", output_size, ndim, 0)


def receptive_field(layers: Iterable[Any]) -> int | tuple[int, ...]:
    """Receptive field of stacked convolutions or poolings, in input elements.

    Parameters
    ----------
    layers : iterable
        From input to output: `(kernel_size, stride, dilation)` tuples (the last two may be left out), integers
        (a kernel size), dictionaries with those keys, or problems.

    Returns
    -------
    int or tuple of int
        One number where every layer gave integers, else one an axis.

    Notes
    -----
    r grows by dilation (kernel - 1) times the product of the strides below (Araujo, Norris and Sim, Distill 2019).

    Examples
    --------
    >>> receptive_field([(3, 1, 1), (3, 1, 2), (3, 1, 4)])
    15
    """
    fields, jumps, scalar = np.ones(1, np.int64), np.ones(1, np.int64), True
    for layer in layers:
        if isinstance(layer, (ConvProblem, PoolProblem)):
            parts: tuple[Any, ...] = (layer.kernel, layer.stride, layer.dilation)
        elif isinstance(layer, dict):
            parts = (layer["kernel_size"], layer.get("stride", 1), layer.get("dilation", 1))
        elif isinstance(layer, (tuple, list)):
            if not 1 <= len(layer) <= 3:
                raise ValueError(f"a layer must be (kernel_size, stride, dilation), got {layer!r}")
            parts = (*layer, *(1,) * (3 - len(layer)))
        else:
            parts = (layer, 1, 1)
        scalar = scalar and not any(isinstance(p, Iterable) for p in parts)
        names = ("kernel_size", "stride", "dilation")
        ndim = max(len(tuple(p)) if isinstance(p, Iterable) else 1 for p in parts)
        kernel, stride, dilation = (np.array(per_axis(name, p, ndim, 1)) for name, p in zip(names, parts))
        fields = fields + dilation * (kernel - 1) * jumps
        jumps = jumps * stride
    return int(fields[0]) if scalar else tuple(int(f) for f in fields)


def effective_kernel(kernel_size: int, dilation: int) -> int:
    """Extent of a dilated kernel: dilation (kernel_size - 1) + 1."""
    return dilation * (kernel_size - 1) + 1


def _made_anew(problem: Any) -> tuple[type, tuple[Any, ...]]:
    """How a problem is pickled: hashes of strings differ between processes, and what is remembered stays here."""
    return type(problem), tuple(getattr(problem, f.name) for f in fields(problem) if f.init)


@dataclass(frozen=True)
class ConvProblem:
    """One of the three passes of a convolution, or a transposed convolution.

    Sizes are those of the *forward* convolution: an input of `ci` channels and shape `spatial` gives a result of
    `co` channels and shape `out_spatial`. `operation` says which of the three arrays is wanted: `conv2d` the result,
    `conv2d_input` the input's gradient, `conv2d_weight` the weight's; `conv_transpose2d` is `conv2d_input` under its
    own name, with `out_spatial` the shape it is given and `spatial` the shape it makes.

    Attributes
    ----------
    operation : str
    n, ci, co, groups : int
    spatial, out_spatial, kernel, stride, dilation : tuple of int
        One entry for each spatial axis.
    padding : tuple of (int, int)
        Before and after each axis.
    dtype : numpy.dtype
        Of the operands and the result.
    layout_in, layout_out : str
        `channels_first` or `channels_last`: of the array that is swept and of the result. The weight pass
        has the layout of its input and of its output gradient there.
    bias, residual : bool
    activation : (str, float) or None
    precision, device : str
    """

    operation: str
    n: int
    ci: int
    co: int
    groups: int
    spatial: tuple[int, ...]
    out_spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    dtype: np.dtype
    layout_in: str = FIRST
    layout_out: str = FIRST
    bias: bool = False
    residual: bool = False
    activation: tuple[str, float] | None = None
    precision: str = "default"
    device: str = "cpu"
    _hash: int = field(default=0, init=False, repr=False, compare=False)
    memo: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = (self.operation, self.n, self.ci, self.co, self.groups, self.spatial, self.out_spatial, self.kernel)
        rest = (self.stride, self.padding, self.dilation, self.dtype, self.layout_in, self.layout_out, self.activation)
        object.__setattr__(self, "_hash", hash((parts, rest, self.bias, self.residual, self.precision)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> Any:
        return _made_anew(self)

    @classmethod
    def make(
        cls,
        operation: str,
        x_shape: Sequence[int],
        weight_shape: Sequence[int],
        dtype: Any = np.float32,
        *,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
        output_padding: Any = 0,
        output_size: Any = None,
        data_format: str | None = None,
        bias_shape: Sequence[int] | None = None,
        residual: bool = False,
        activation: Any = None,
        precision: str = "default",
    ) -> ConvProblem:
        """The problem of `conv{n}d` or `conv_transpose{n}d` on a batched `x`, every argument checked.

        Raises
        ------
        ValueError, TypeError
            Naming the argument, what came and what was expected.
        """
        transposed = operation.startswith("conv_transpose")
        ndim = spatial_axes(operation)
        layout = layout_of(data_format, ndim)
        x_shape, weight_shape = tuple(map(int, x_shape)), tuple(map(int, weight_shape))
        if len(x_shape) != ndim + 2:
            raise ValueError(f"x must have {ndim + 2} axes for {operation}, got shape {x_shape}")
        if len(weight_shape) != ndim + 2:
            raise ValueError(f"weight must have {ndim + 2} axes for {operation}, got shape {weight_shape}")
        n, channels, size = split_shape(x_shape, layout)
        kernel = weight_shape[2:]
        if any(k < 1 for k in kernel):
            raise ValueError(f"weight must have a kernel of at least 1 along each axis, got shape {weight_shape}")
        groups = integer("groups", groups, 1)
        if transposed:
            if channels != weight_shape[0]:
                raise ValueError(
                    f"weight must have x's {channels} channels as its first axis, got shape {weight_shape}"
                )
            co, ci = channels, weight_shape[1] * groups
            if co % groups:
                raise ValueError(f"groups must divide x's {co} channels, got {groups}")
            spatial, pads, strides, dilations = _transposed(
                size, kernel, stride, padding, output_padding, dilation, output_size
            )
            out_spatial, result_channels = size, ci
        else:
            co, ci = weight_shape[0], channels
            if ci != weight_shape[1] * groups:
                raise ValueError(
                    f"x has {ci} channels, but weight of shape {weight_shape} with groups={groups} "
                    f"expects {weight_shape[1] * groups}"
                )
            if co % groups:
                raise ValueError(f"groups must divide the {co} output channels of weight, got {groups}")
            spatial, result_channels = size, co
            strides, dilations = per_axis("stride", stride, ndim, 1), per_axis("dilation", dilation, ndim, 1)
            pads = conv_padding(padding, size, kernel, strides, dilations)
            out_spatial = _checked_output(size, kernel, strides, pads, dilations)
        for name, numbers in (("stride", strides), ("dilation", dilations), ("padding", sum(pads, ()))):
            if max(numbers, default=0) >= FAR:
                raise ValueError(f"{name} must be below 2**40, got {numbers}")
        if bias_shape is not None and tuple(bias_shape) != (result_channels,):
            raise ValueError(f"bias must have shape ({result_channels},), got {tuple(bias_shape)}")
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
        dtype = supported_dtype("dtype", np.dtype(dtype))
        activation = parse_activation(activation)
        if activation is not None and dtype.kind not in "fV":
            raise TypeError(f"activation needs a float dtype, got {dtype}")
        return cls(
            operation, n, ci, co, groups, spatial, out_spatial, kernel, strides, pads, dilations, dtype,
            layout, layout, bias_shape is not None, residual, activation, precision,
        )  # fmt: skip

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def direction(self) -> str:
        """Which pass it is: `forward`, `input` or `weight`."""
        if self.operation.endswith("_weight"):
            return "weight"
        return "input" if self.operation.endswith("_input") or "transpose" in self.operation else "forward"

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """``(out, in / groups, *kernel)`` of the forward convolution."""
        return (self.co, self.ci // self.groups, *self.kernel)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the forward convolution's input."""
        layout = self.layout_out if self.direction == "input" else self.layout_in
        return join_shape(self.n, self.ci, self.spatial, layout)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the forward convolution's output."""
        layout = self.layout_in if self.direction == "input" else self.layout_out
        return join_shape(self.n, self.co, self.out_spatial, layout)

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of what this problem computes."""
        return {"forward": self.output_shape, "input": self.input_shape, "weight": self.weight_shape}[self.direction]

    @property
    def parameters(self) -> int:
        """Entries of weight and, where there is one, bias."""
        bias = self.ci if self.direction == "input" else self.co
        return math.prod(self.weight_shape) + (bias if self.bias else 0)

    @property
    def multiply_adds(self) -> int:
        """Multiplications of the direct method, those with padding included."""
        return self.n * math.prod(self.out_spatial) * self.co * (self.ci // self.groups) * math.prod(self.kernel)

    @property
    def flops(self) -> int:
        """Two for each multiplication."""
        return 2 * self.multiply_adds

    @property
    def bytes(self) -> int:
        """Of input, weight, bias, residual and output, each touched once."""
        result = math.prod(self.result_shape)
        arrays = math.prod(self.input_shape) + math.prod(self.output_shape) + self.parameters
        return (arrays + (result if self.residual else 0)) * self.dtype.itemsize

    @property
    def depthwise(self) -> bool:
        """Whether each group has one input channel."""
        return self.groups == self.ci and self.groups >= 1

    @property
    def brief(self) -> str:
        """A few words, such as ``conv2d 3x3/2 1x64x56x56 -> 128x28x28 g2``: kernel, stride, sizes channels first."""
        first, last = (self.ci, *self.spatial), (self.co, *self.out_spatial)
        if "transpose" in self.operation:
            first, last = last, first
        notes = [f"d{_once(self.dilation)}"] if set(self.dilation) != {1} else []
        notes += [f"g{self.groups}"] if self.groups > 1 else []
        return _brief(self, first, last, notes, LAST in (self.layout_in, self.layout_out))

    def with_operation(self, operation: str) -> ConvProblem:
        """Another pass of the same convolution, such as `conv2d_weight`; gradients have no epilogue."""
        return replace(self, operation=operation, bias=False, residual=False, activation=None)


def spatial_axes(operation: str) -> int:
    """1, 2 or 3, read off an operation's name."""
    for n in (1, 2, 3):
        if f"{n}d" in operation:
            return n
    raise ValueError(f"operation must be one such as 'conv2d' or 'max_pool1d', got {operation!r}")


def split_shape(shape: Sequence[int], layout: str) -> tuple[int, int, tuple[int, ...]]:
    """(batch, channels, spatial) of a batched array's shape."""
    if layout == LAST:
        return shape[0], shape[-1], tuple(shape[1:-1])
    return shape[0], shape[1], tuple(shape[2:])


def join_shape(n: int, channels: int, spatial: Sequence[int], layout: str) -> tuple[int, ...]:
    """The shape that `split_shape` takes apart."""
    return (n, *spatial, channels) if layout == LAST else (n, channels, *spatial)


@dataclass(frozen=True)
class PoolProblem:
    """A pooling, the gradient of one, or an unpooling.

    Sizes are those of the pooling itself: an input of shape `spatial` gives a result of shape `out_spatial`. The
    gradient `avg_pool2d_input` and the unpooling `max_unpool2d` are given `out_spatial` and make `spatial`.

    Attributes
    ----------
    operation : str
        Such as "max_pool2d", "adaptive_avg_pool1d_input" or "global_max_pool".
    n, channels : int
    spatial, out_spatial, kernel, stride, dilation : tuple of int
        One entry for each spatial axis. Of adaptive and global poolings, kernel and stride are the usual ones.
    padding : tuple of (int, int)
        Before and after each axis.
    dtype : numpy.dtype
        Of the array that comes in.
    layout : str
        `channels_first` or `channels_last`, of both arrays.
    indices : bool
        Whether a max pooling gives its indices too.
    count_include_pad : bool
    divisor_override : int or None
    norm_type : float or None
        Of an Lp pooling.
    weights : str or None
        Of a weighted average: "gaussian", or "array" where they come as an array.
    device : str
    """

    operation: str
    n: int
    channels: int
    spatial: tuple[int, ...]
    out_spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    dtype: np.dtype
    layout: str = FIRST
    indices: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None
    norm_type: float | None = None
    weights: str | None = None
    device: str = "cpu"
    _hash: int = field(default=0, init=False, repr=False, compare=False)
    memo: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        sizes = (self.operation, self.n, self.channels, self.spatial, self.out_spatial, self.kernel, self.stride)
        rest = (self.padding, self.dilation, self.dtype, self.layout, self.indices, self.count_include_pad)
        object.__setattr__(self, "_hash", hash((sizes, rest, self.divisor_override, self.norm_type, self.weights)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> Any:
        return _made_anew(self)

    @classmethod
    def make(
        cls,
        operation: str,
        x_shape: Sequence[int],
        dtype: Any = np.float32,
        *,
        kernel_size: Any = None,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        output_size: Any = None,
        return_indices: bool = False,
        count_include_pad: bool = True,
        divisor_override: Any = None,
        norm_type: Any = None,
        weights: str | None = None,
        data_format: str | None = None,
    ) -> PoolProblem:
        """The problem of a pooling of a batched `x` of shape `x_shape`, every argument checked.

        Of an unpooling and its gradient, `x_shape` is the shape of what the unpooling is given. `dtype` is that of the
        array that comes in, which is the output's gradient for an operation that ends with `_input`. The gradients of
        max pooling and unpooling go by indices and take no windows, but the spatial shape of the output's gradient as
        `output_size`.

        Raises
        ------
        ValueError, TypeError
            Naming the argument, what came and what was expected.
        """
        x_shape = tuple(map(int, x_shape))
        everywhere = operation.startswith("global")
        ndim = len(x_shape) - 2 if everywhere else spatial_axes(operation)
        if ndim < 1 or len(x_shape) != ndim + 2:
            raise ValueError(f"x must have {max(ndim, 1) + 2} axes for {operation}, got shape {x_shape}")
        layout = layout_of(data_format, ndim)
        n, channels, size = split_shape(x_shape, layout)
        if any(s < 1 for s in size):
            raise ValueError(f"x must have at least one position along each spatial axis, got shape {x_shape}")
        dtype = supported_dtype("x", np.dtype(dtype))
        if dtype.kind == "c":
            raise TypeError(f"x must be of a float or integer dtype for {operation}, got {dtype}")
        indices = bool(return_indices)
        by_indices = operation.endswith("_input") and "max" in operation
        if operation.startswith(("global", "adaptive")) and not by_indices:
            out = (1,) * ndim if everywhere else _adaptive_size(output_size, size)
            kernel = tuple(-(-s // max(o, 1)) for s, o in zip(size, out))
            step = tuple(max(s // max(o, 1), 1) for s, o in zip(size, out))
            pads, ones = ((0, 0),) * ndim, (1,) * ndim
            return cls(operation, n, channels, size, out, kernel, step, pads, ones, dtype, layout, indices)
        if by_indices:  # the windows play no part
            other, ones = per_axis("output_size", output_size, ndim, 0), (1,) * ndim
            spatial, out = (other, size) if operation.startswith("max_unpool") else (size, other)
            return cls(operation, n, channels, spatial, out, ones, ones, ((0, 0),) * ndim, ones, dtype, layout)
        kernel = per_axis("kernel_size", kernel_size, ndim, 1)
        no_stride = stride is None or (isinstance(stride, (tuple, list)) and len(stride) == 0)
        strides = kernel if no_stride else per_axis("stride", stride, ndim, 1)
        if operation.startswith("max_unpool"):
            pads = pairs("padding", padding, ndim)
            _check_below("kernel_size, stride and padding", (*kernel, *strides, *itertools.chain(*pads)), 2**31)
            spatial = _unpooled_size(output_size, size, kernel, strides, pads, layout)
            return cls(operation, n, channels, spatial, size, kernel, strides, pads, (1,) * ndim, dtype, layout)
        dilations = per_axis("dilation", dilation, ndim, 1)
        for name, values in (("kernel_size", kernel), ("stride", strides), ("dilation", dilations)):
            _check_below(name, values, 2**31)
        pads = conv_padding(padding, size, kernel, strides, dilations)
        _check_below("padding", itertools.chain(*pads), 2**31)
        if not isinstance(padding, str) and not _is_pairs(padding):
            _check_half(pads, kernel, dilations)
        out = _pooled_size(size, kernel, strides, pads, dilations, ceil_mode)
        if divisor_override is not None and integer("divisor_override", divisor_override) == 0:
            raise ValueError("divisor_override must not be 0")
        if operation.startswith("lp"):
            norm_type = _norm_type(norm_type)
        if operation.startswith("weighted") and weights not in ("gaussian", "array"):
            raise ValueError(f"weights must be 'gaussian' or an array of shape {kernel}, got {weights!r}")
        if weights == "gaussian":  # which makes an array of them
            _check_below("kernel_size", kernel, 2**20)
        return cls(
            operation, n, channels, size, out, kernel, strides, pads, dilations, dtype, layout, indices,
            bool(count_include_pad), None if divisor_override is None else int(divisor_override), norm_type, weights,
        )  # fmt: skip

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def brief(self) -> str:
        """A few words, such as ``max_pool2d 3x3/2 1x64x112x112 -> 64x56x56``: window, stride, sizes channels first."""
        sizes = (self.channels, *self.spatial), (self.channels, *self.out_spatial)
        notes = [f"d{_once(self.dilation)}"] if set(self.dilation) != {1} else []
        return _brief(self, *sizes, notes, self.layout == LAST)

    @property
    def backward(self) -> bool:
        """Whether an array of shape `out_spatial` comes in and one of shape `spatial` goes out."""
        return self.operation.endswith("_input") != self.operation.startswith("max_unpool")

    @property
    def adaptive(self) -> bool:
        """Whether the windows follow from the two sizes, as those of adaptive and global pooling do."""
        return self.operation.startswith(("adaptive", "global"))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the pooling's input."""
        return join_shape(self.n, self.channels, self.spatial, self.layout)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the pooling's output."""
        return join_shape(self.n, self.channels, self.out_spatial, self.layout)

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of what this problem computes."""
        return self.input_shape if self.backward else self.output_shape

    @property
    def result_dtype(self) -> np.dtype:
        """The dtype itself where elements are picked; where they are averaged, integers give float64."""
        picks = "max" in self.operation
        return np.dtype(np.float64) if self.dtype.kind in "iu" and not picks else self.dtype

    @property
    def flops(self) -> int:
        """One for each position of each window, those in the padding included."""
        return self.n * self.channels * math.prod(self.out_spatial) * math.prod(self.kernel)

    @property
    def bytes(self) -> int:
        """Of input, output and, where there are any, indices, each touched once."""
        arrays = (math.prod(self.input_shape) + math.prod(self.output_shape)) * self.dtype.itemsize
        return arrays + (8 * math.prod(self.output_shape) if self.indices else 0)


def _brief(problem: Any, first: Sequence[int], last: Sequence[int], notes: list[str], channels_last: bool) -> str:
    stride = f"/{_once(problem.stride)}" if set(problem.stride) != {1} else ""
    notes += [problem.dtype.name] if problem.dtype != np.float32 else []
    notes += ["last"] if channels_last else []
    what = f"{problem.operation} {_times(problem.kernel)}{stride} {_times((problem.n, *first))} -> {_times(last)}"
    return " ".join([what, *notes])


def _times(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def _once(numbers: Sequence[int]) -> str:
    """One number where all are alike."""
    return str(numbers[0]) if len(set(numbers)) == 1 else _times(numbers)


def _adaptive_size(output_size: Any, size: tuple[int, ...]) -> tuple[int, ...]:
    """One size an axis; None keeps the input's."""
    if output_size is None:
        return size
    if isinstance(output_size, (tuple, list)) and len(output_size) == len(size):
        output_size = [s if o is None else o for o, s in zip(output_size, size)]
    return per_axis("output_size", output_size, len(size), 0)


def _unpooled_size(
    output_size: Any, size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], pads: Pairs, layout: str
) -> tuple[int, ...]:
    """The spatial shape that an unpooling makes: the given one, if a pooling could have come from it."""
    usual = tuple((n - 1) * s + k - b - a for n, k, s, (b, a) in zip(size, kernel, stride, pads))
    if output_size is None:
        if any(u < 1 for u in usual):
            raise ValueError(f"padding {pads} leaves no output: input size {size}, kernel_size {kernel}")
        return usual
    if isinstance(output_size, (tuple, list)) and len(output_size) == len(size) + 2:
        output_size = output_size[1:-1] if layout == LAST else output_size[2:]
    wanted = _spatial_size(output_size, len(size))
    if any(not u - s < w < u + s for u, s, w in zip(usual, stride, wanted)):
        raise ValueError(f"output_size must differ by less than the stride {stride} from {usual}, got {wanted}")
    if any(w < 1 for w in wanted):
        raise ValueError(f"output_size must be at least 1 along each axis, got {wanted}")
    return wanted


def _check_below(name: str, values: Iterable[int], limit: int) -> None:
    """Sums and products of them then fit into 64 bits."""
    for value in values:
        if value >= limit:
            raise ValueError(f"{name} must be less than {limit}, got {value}")


def _check_half(pads: Pairs, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> None:
    for (before, _), k, d in zip(pads, kernel, dilation):
        if before > effective_kernel(k, d) // 2:
            raise ValueError(
                f"padding must be at most half of the effective kernel, got padding {tuple(b for b, _ in pads)}, "
                f"kernel_size {kernel}, dilation {dilation}; more can be given as (before, after) pairs"
            )


def _pooled_size(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pads: Pairs,
    dilation: tuple[int, ...],
    ceil_mode: bool,
) -> tuple[int, ...]:
    """Output size; with `ceil_mode` rounded up, less a last window that would start behind the input."""
    out = []
    for n, k, s, (before, after), d in zip(size, kernel, stride, pads, dilation):
        count = window_output_size(n, k, s, before, after + (s - 1 if ceil_mode else 0), d)
        if ceil_mode and (count - 1) * s >= n + before:
            count -= 1
        if count < 1:
            raise ValueError(
                f"kernel_size {kernel} with dilation {dilation} is larger than the padded input: "
                f"input size {size}, padding {pads}"
            )
        out.append(count)
    return tuple(out)


def _norm_type(value: Any) -> float:
    """The exponent of an Lp pooling: any number but 0 and NaN."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"norm_type must be a number, got {value!r}")
    number = float(value)
    if number == 0 or math.isnan(number):
        raise ValueError(f"norm_type must be a number other than 0, got {value!r}")
    return number
