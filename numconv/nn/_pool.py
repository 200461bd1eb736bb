"""Pooling and unpooling. Arguments as the functions of numconv take them, which check them when they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numconv.autograd import functional as F
from numconv.nn._module import Module, shown
from numconv.problem import per_axis


class _Max(Module):
    _function: Any

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Any) -> Any:
        return self._function(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return shown(self, "kernel_size", "stride", "padding", "dilation", "ceil_mode")


class MaxPool1d(_Max):
    """The largest of each window of (N, C, L); arguments as in `MaxPool2d`."""

    _function = staticmethod(F.max_pool1d)


class MaxPool2d(_Max):
    """The largest of each window of (N, C, H, W).

    Parameters
    ----------
    kernel_size, stride, padding, dilation
        As in `numconv.max_pool2d`; the stride is the kernel's size where left out.
    return_indices : bool
        Whether to return (maxima, where they were), for `MaxUnpool2d`.
    ceil_mode : bool
        Whether a last window may reach beyond the input.
    """

    _function = staticmethod(F.max_pool2d)


class MaxPool3d(_Max):
    """The largest of each window of (N, C, D, H, W); arguments as in `MaxPool2d`."""

    _function = staticmethod(F.max_pool3d)


class _Avg(Module):
    _function: Any

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Any) -> Any:
        return self._function(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return shown(self, "kernel_size", "stride", "padding")


class AvgPool1d(_Avg):
    """The mean of each window of (N, C, L); arguments as in `AvgPool2d`."""

    _function = staticmethod(F.avg_pool1d)

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.kernel_size = per_axis("kernel_size", self.kernel_size, 1, 1)
        self.stride = per_axis("stride", self.stride, 1, 1)
        self.padding = per_axis("padding", padding, 1, 0)


class AvgPool2d(_Avg):
    """The mean of each window of (N, C, H, W).

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As in `numconv.avg_pool2d`; the stride is the kernel's size where left out.
    """

    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(_Avg):
    """The mean of each window of (N, C, D, H, W); arguments as in `AvgPool2d`."""

    _function = staticmethod(F.avg_pool3d)


class _Lp(Module):
    _function: Any

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Any) -> Any:
        return self._function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return shown(self, "norm_type", "kernel_size", "stride", "ceil_mode")


class LPPool1d(_Lp):
    """The norm of each window of (N, C, L); see `numconv.lp_pool1d`."""

    _function = staticmethod(F.lp_pool1d)


class LPPool2d(_Lp):
    """The norm of each window of (N, C, H, W); see `numconv.lp_pool2d`."""

    _function = staticmethod(F.lp_pool2d)


class LPPool3d(_Lp):
    """The norm of each window of (N, C, D, H, W); see `numconv.lp_pool3d`."""

    _function = staticmethod(F.lp_pool3d)


class _WeightedAvg(Module):
    _function: Any

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, weights: Any = "gaussian") -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.weights = weights

    def forward(self, input: Any) -> Any:
        return self._function(input, self.kernel_size, self.stride, self.padding, weights=self.weights)

    def extra_repr(self) -> str:
        return shown(self, "kernel_size", "stride", "padding")


class WeightedAvgPool1d(_WeightedAvg):
    """The weighted mean of each window of (N, C, L); see `numconv.weighted_avg_pool1d`."""

    _function = staticmethod(F.weighted_avg_pool1d)


class WeightedAvgPool2d(_WeightedAvg):
    """The weighted mean of each window of (N, C, H, W); see `numconv.weighted_avg_pool2d`."""

    _function = staticmethod(F.weighted_avg_pool2d)


class WeightedAvgPool3d(_WeightedAvg):
    """The weighted mean of each window of (N, C, D, H, W); see `numconv.weighted_avg_pool3d`."""

    _function = staticmethod(F.weighted_avg_pool3d)


class _AdaptiveAvg(Module):
    _function: Any

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        return self._function(input, self.output_size)

    def extra_repr(self) -> str:
        return shown(self, "output_size")


class AdaptiveAvgPool1d(_AdaptiveAvg):
    """Means of windows that give a length; see `numconv.adaptive_avg_pool1d`."""

    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvg):
    """Means of windows that give a size; see `numconv.adaptive_avg_pool2d`."""

    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvg):
    """Means of windows that give a size; see `numconv.adaptive_avg_pool3d`."""

    _function = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMax(_AdaptiveAvg):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Any) -> Any:
        return self._function(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """Maxima of windows that give a length; see `numconv.adaptive_max_pool1d`."""

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """Maxima of windows that give a size; see `numconv.adaptive_max_pool2d`."""

    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMax):
    """Maxima of windows that give a size; see `numconv.adaptive_max_pool3d`."""

    _function = staticmethod(F.adaptive_max_pool3d)


class GlobalAvgPool(Module):
    """The mean over all of space; see `numconv.global_avg_pool`."""

    def forward(self, input: Any) -> Any:
        return F.global_avg_pool(input)


class GlobalMaxPool(Module):
    """The largest over all of space; see `numconv.global_max_pool`."""

    def forward(self, input: Any) -> Any:
        return F.global_max_pool(input)


class _Unpool(Module):
    ndim: int
    _function: Any

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size = per_axis("kernel_size", kernel_size, self.ndim, 1)
        self.stride = self.kernel_size if stride is None else per_axis("stride", stride, self.ndim, 1)
        self.padding = per_axis("padding", padding, self.ndim, 0)

    def forward(self, input: Any, indices: Any, output_size: Sequence[int] | None = None) -> Any:
        """`output_size` is the spatial size of the result; batch and channels may lead."""
        wanted = None if output_size is None else tuple(output_size)[-self.ndim :]
        return self._function(input, indices, self.kernel_size, self.stride, self.padding, wanted)

    def extra_repr(self) -> str:
        return shown(self, "kernel_size", "stride", "padding")


class MaxUnpool1d(_Unpool):
    """Put maxima back where they were; arguments as in `MaxUnpool2d`."""

    ndim, _function = 1, staticmethod(F.max_unpool1d)


class MaxUnpool2d(_Unpool):
    """Put maxima back where they were, among zeros: `unpool(*pool(x))` of a `MaxPool2d(..., return_indices=True)`.

    Parameters
    ----------
    kernel_size, stride, padding
        Those of the pooling.
    """

    ndim, _function = 2, staticmethod(F.max_unpool2d)


class MaxUnpool3d(_Unpool):
    """Put maxima back where they were; arguments as in `MaxUnpool2d`."""

    ndim, _function = 3, staticmethod(F.max_unpool3d)
