"""Poolings, their gradients, unpoolings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numconv.problem.arguments import (
    FIRST,
    LAST,
    Pairs,
    integer,
    is_pairs,
    join_shape,
    layout_of,
    pairs,
    per_axis,
    spatial_axes,
    split_shape,
    supported_dtype,
)
from numconv.problem.common import briefly, made_anew
from numconv.problem.sizes import conv_padding, effective_kernel, spatial_size, window_output_size


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
        return made_anew(self)

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
        if not isinstance(padding, str) and not is_pairs(padding):
            _check_half(pads, kernel, dilations)
        out = pooled_size(size, kernel, strides, pads, dilations, ceil_mode)
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
        return briefly(self, *sizes, self.layout == LAST)

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
    wanted = spatial_size(output_size, len(size))
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


def pooled_size(
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
