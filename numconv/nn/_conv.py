"""Convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numconv.autograd import functional as F
from numconv.nn import init
from numconv.nn._module import Module
from numconv.nn._parameter import new
from numconv.problem import integer, per_axis

_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """What convolutions share: arguments, weights and their first values, which are PyTorch's.

    The weight is drawn evenly from -b to b, b = 1 / sqrt(fan_in), and so is the bias.
    """

    ndim: int
    transposed = False
    bias: Any

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
        output_padding: Any, groups: int, bias: bool, padding_mode: str, dtype: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.in_channels = integer("in_channels", in_channels, 1)
        self.out_channels = integer("out_channels", out_channels, 1)
        self.groups = integer("groups", groups, 1)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{name} must be divisible by groups, got {channels} and {groups}")
        modes = _MODES[:1] if self.transposed else _MODES
        if padding_mode not in modes:
            raise ValueError(f"padding_mode must be one of {modes} for {type(self).__name__}, got {padding_mode!r}")
        self.kernel_size = per_axis("kernel_size", kernel_size, self.ndim, 1)
        self.stride = per_axis("stride", stride, self.ndim, 1)
        self.dilation = per_axis("dilation", dilation, self.ndim, 1)
        self.output_padding = per_axis("output_padding", output_padding, self.ndim, 0)
        self.padding = _padding(padding, self.ndim)
        self.padding_mode = padding_mode
        sides = in_channels, out_channels
        first, second = sides if self.transposed else sides[::-1]
        self.weight = new((first, second // groups, *self.kernel_size), dtype)
        self.register_parameter("bias", new((out_channels,), dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(init.fans(self.weight)[0])
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * self.ndim:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.ndim:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * self.ndim:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


def _padding(padding: Any, ndim: int) -> Any:
    """A name or pairs as they are, else one number an axis."""
    if isinstance(padding, str) or (isinstance(padding, Sequence) and any(isinstance(p, Sequence) for p in padding)):
        return padding
    return per_axis("padding", padding, ndim, 0)


class _Forward(_Conv):
    _function: Any

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, dtype
        )

    def forward(self, input: Any) -> Any:
        return self._function(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups,
            padding_mode=self.padding_mode,
        )  # fmt: skip


class Conv1d(_Forward):
    """Convolution of sequences; arguments as in `Conv2d`. (N, C, L) or (C, L)."""

    ndim, _function = 1, staticmethod(F.conv1d)


class Conv2d(_Forward):
    """Convolution of pictures, with a weight ``(out, in / groups, *kernel)`` and a bias that are learned.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or sequence of int
    padding : int, sequence of int, pairs (before, after) or str
        As in `numconv.conv2d`: also "same", "valid", "same_lower", "full".
    groups : int
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
    dtype : dtype, optional
        Of the parameters, float32 where left out.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or `groups` does not divide the channels.
    """

    ndim, _function = 2, staticmethod(F.conv2d)


class Conv3d(_Forward):
    """Convolution of volumes; arguments as in `Conv2d`. (N, C, D, H, W) or (C, D, H, W)."""

    ndim, _function = 3, staticmethod(F.conv3d)


class _Transposed(_Conv):
    transposed = True
    _function: Any

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1, padding_mode: str = "zeros",
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
            padding_mode, dtype,
        )  # fmt: skip

    def forward(self, input: Any, output_size: Sequence[int] | None = None) -> Any:
        """`output_size`: the spatial size of the result, in place of `output_padding`; batch and channels may lead."""
        wanted = None if output_size is None else tuple(output_size)[-self.ndim :]
        return self._function(
            input, self.weight, self.bias, self.stride, self.padding, 0 if wanted else self.output_padding,
            self.groups, self.dilation, output_size=wanted,
        )  # fmt: skip


class ConvTranspose1d(_Transposed):
    """Transposed convolution of sequences; arguments as in `ConvTranspose2d`."""

    ndim, _function = 1, staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_Transposed):
    """Transposed convolution of pictures, with a weight ``(in, out / groups, *kernel)``: stride makes them larger.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, output_padding, dilation : int or sequence of int
    padding : int, sequence of int, pairs (before, after) or str
        As in `numconv.conv_transpose2d`.
    groups : int
    bias : bool
    padding_mode : {"zeros"}
    dtype : dtype, optional
        Of the parameters, float32 where left out.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or `groups` does not divide the channels.
    """

    ndim, _function = 2, staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_Transposed):
    """Transposed convolution of volumes; arguments as in `ConvTranspose2d`."""

    ndim, _function = 3, staticmethod(F.conv_transpose3d)


class DepthwiseSeparableConv2d(Module):
    """A convolution of each channel by itself, then a 1x1 convolution across them (Chollet 2017).

    Its parts are the Conv2d `depthwise`, without a bias, and `pointwise`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation
        As in `Conv2d`.
    bias : bool
        Of `pointwise`.
    depth_multiplier : int
        Channels that `depthwise` makes of each.
    dtype : dtype, optional

    Raises
    ------
    ValueError, TypeError
        As `Conv2d`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, bias: bool = True, depth_multiplier: int = 1, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        channels = in_channels * integer("depth_multiplier", depth_multiplier, 1)
        self.depthwise = Conv2d(
            in_channels, channels, kernel_size, stride, padding, dilation, in_channels, bias=False, dtype=dtype
        )
        self.pointwise = Conv2d(channels, out_channels, 1, bias=bias, dtype=dtype)

    def forward(self, input: Any) -> Any:
        return self.pointwise(self.depthwise(input))
