"""Layers that move elements: shapes, channels, borders, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numconv.autograd import functional as F
from numconv.nn._module import Module, shown
from numconv.problem import integer, per_axis


class Identity(Module):
    """Gives what it gets; takes any arguments when it is made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Flatten(Module):
    """Axes from `start_dim` to `end_dim` made one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Any) -> Any:
        return F.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return shown(self, "start_dim", "end_dim")


class Unflatten(Module):
    """The axis `dim` made several, of sizes `unflattened_size`, of which one may be -1."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = integer("dim", dim), tuple(unflattened_size)

    def forward(self, input: Any) -> Any:
        dim, shape = self.dim % input.ndim, input.shape
        return F.reshape(input, (*shape[:dim], *self.unflattened_size, *shape[dim + 1 :]))

    def extra_repr(self) -> str:
        return shown(self, "dim", "unflattened_size")


class PixelShuffle(Module):
    """(N, C r^2, H, W) to (N, C, H r, W r); see `numconv.pixel_shuffle`."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return shown(self, "upscale_factor")


class PixelUnshuffle(Module):
    """(N, C, H r, W r) to (N, C r^2, H, W); see `numconv.pixel_unshuffle`."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return shown(self, "downscale_factor")


class ChannelShuffle(Module):
    """Channels of several groups dealt out in turn; see `numconv.channel_shuffle`."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Any) -> Any:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return shown(self, "groups")


class Unfold(Module):
    """Windows of pictures as columns of a matrix (im2col); see `numconv.unfold`."""

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Any) -> Any:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return shown(self, "kernel_size", "dilation", "padding", "stride")


class Fold(Module):
    """Columns added up into pictures (col2im); see `numconv.fold`."""

    def __init__(
        self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.output_size, self.kernel_size, self.dilation = output_size, kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Any) -> Any:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return shown(self, "output_size", "kernel_size", "dilation", "padding", "stride")


class Upsample(Module):
    """Another size, by interpolation.

    Parameters
    ----------
    size : int or sequence of int, optional
        Of the result.
    scale_factor : float or sequence of float, optional
        In place of `size`.
    mode : {"nearest", "linear", "bilinear", "bicubic", "trilinear"}
    align_corners, recompute_scale_factor : bool, optional
        As in `numconv.interpolate`.
    """

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        several = isinstance(scale_factor, Sequence)
        self.size, self.mode, self.align_corners = size, mode, align_corners
        self.scale_factor = tuple(map(float, scale_factor)) if several else scale_factor and float(scale_factor)
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Any) -> Any:
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        name = "size" if self.scale_factor is None else "scale_factor"
        return f"{name}={getattr(self, name)!r}, mode={self.mode!r}"


class _Pad(Module):
    """A wider border: one number for all sides, or those before and after each axis, the last axis first."""

    ndim: int
    mode: str

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self.padding = per_axis("padding", padding, 2 * self.ndim)

    def forward(self, input: Any) -> Any:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _Constant(_Pad):
    mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Any) -> Any:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return shown(self, "padding", "value")


class ConstantPad1d(_Constant):
    """A border of `value`: (left, right). A negative number cuts off."""

    ndim = 1


class ConstantPad2d(_Constant):
    """A border of `value`: (left, right, top, bottom). A negative number cuts off."""

    ndim = 2


class ConstantPad3d(_Constant):
    """A border of `value`: (left, right, top, bottom, front, back). A negative number cuts off."""

    ndim = 3


class ZeroPad1d(_Pad):
    """A border of zeros: (left, right)."""

    ndim, mode = 1, "constant"


class ZeroPad2d(_Pad):
    """A border of zeros: (left, right, top, bottom)."""

    ndim, mode = 2, "constant"


class ZeroPad3d(_Pad):
    """A border of zeros: (left, right, top, bottom, front, back)."""

    ndim, mode = 3, "constant"


class ReflectionPad1d(_Pad):
    """A border that mirrors what is inside, the edge not repeated."""

    ndim, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """A border that mirrors what is inside, the edge not repeated."""

    ndim, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """A border that mirrors what is inside, the edge not repeated."""

    ndim, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """A border that repeats the edge."""

    ndim, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """A border that repeats the edge."""

    ndim, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """A border that repeats the edge."""

    ndim, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """A border that continues from the other side."""

    ndim, mode = 1, "circular"


class CircularPad2d(_Pad):
    """A border that continues from the other side."""

    ndim, mode = 2, "circular"


class CircularPad3d(_Pad):
    """A border that continues from the other side."""

    ndim, mode = 3, "circular"
