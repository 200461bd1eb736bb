"""Convolutions: forward, their gradients, transposed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from numconv.problem.arguments import (
    FIRST,
    LAST,
    Pairs,
    integer,
    join_shape,
    layout_of,
    parse_activation,
    per_axis,
    spatial_axes,
    split_shape,
    supported_dtype,
)
from numconv.problem.common import briefly, made_anew
from numconv.problem.sizes import checked_output, conv_padding, transposed_sizes

PRECISIONS = ("strict", "default", "fast")
FAR = 1 << 40  # strides, dilations and paddings beyond it would leave 64 bits when multiplied


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
        return made_anew(self)

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
            spatial, pads, strides, dilations = transposed_sizes(
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
            out_spatial = checked_output(size, kernel, strides, pads, dilations)
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
    def swept_shape(self) -> tuple[int, ...]:
        """Shape of the array that is swept: the input, or where its gradient is wanted the output's."""
        return self.output_shape if self.direction == "input" else self.input_shape

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
        groups = [f"g{self.groups}"] if self.groups > 1 else []
        return briefly(self, first, last, LAST in (self.layout_in, self.layout_out), groups)

    def with_operation(self, operation: str) -> ConvProblem:
        """Another pass of the same convolution, such as `conv2d_weight`; gradients have no epilogue."""
        return replace(self, operation=operation, bias=False, residual=False, activation=None)
