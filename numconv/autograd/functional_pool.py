"""Poolings and unpoolings of Tensors, and what moves pixels, by the names and arguments of torch.nn.functional.

`**options` are data_format and algorithm, as in `numconv.max_pool2d`.
"""

from __future__ import annotations

import math
from typing import Any

from numconv.autograd.functional_arrays import abs
from numconv.autograd.modes import grad_mode
from numconv.autograd.tape import Tensor, apply


def _with_indices(name: str, x: Any, return_indices: bool, attributes: dict[str, Any]) -> Any:
    """A max pooling, which finds indices where they are asked for or a gradient will."""
    wanted = return_indices or (grad_mode.get() and getattr(x, "requires_grad", False))
    result = apply(name, x, return_indices=wanted, **attributes)
    return result[0] if wanted and not return_indices else result


def _max_pool(
    name: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    return_indices: bool, *, data_format: str | None = None, algorithm: str = "auto",
) -> Any:  # fmt: skip
    attributes = {
        "kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode,
        "data_format": data_format, "algorithm": algorithm,
    }  # fmt: skip
    return _with_indices(name, x, return_indices, attributes)


def max_pool1d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False, **options: Any,
) -> Any:  # fmt: skip
    """As `numconv.max_pool1d`."""
    return _max_pool("max_pool1d", x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, **options)


def max_pool2d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False, **options: Any,
) -> Any:  # fmt: skip
    """As `numconv.max_pool2d`."""
    return _max_pool("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, **options)


def max_pool3d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False, **options: Any,
) -> Any:  # fmt: skip
    """As `numconv.max_pool3d`."""
    return _max_pool("max_pool3d", x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, **options)


def _avg_pool(
    name: str, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool,
    divisor_override: int | None, *, dilation: Any = 1, data_format: str | None = None, algorithm: str = "auto",
) -> Tensor:  # fmt: skip
    return apply(
        name, x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, divisor_override=divisor_override, dilation=dilation,
        data_format=data_format, algorithm=algorithm,
    )  # fmt: skip


def avg_pool1d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None, **options: Any,
) -> Tensor:  # fmt: skip
    """As `numconv.avg_pool1d`."""
    return _avg_pool(
        "avg_pool1d", x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, **options
    )


def avg_pool2d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None, **options: Any,
) -> Tensor:  # fmt: skip
    """As `numconv.avg_pool2d`."""
    return _avg_pool(
        "avg_pool2d", x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, **options
    )


def avg_pool3d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None, **options: Any,
) -> Tensor:  # fmt: skip
    """As `numconv.avg_pool3d`."""
    return _avg_pool(
        "avg_pool3d", x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, **options
    )


def _lp_pool(
    ndim: int, x: Any, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool, *, padding: Any = 0,
    dilation: Any = 1, data_format: str | None = None, algorithm: str = "auto",
) -> Tensor:  # fmt: skip
    windows = {
        "kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode,
        "data_format": data_format, "algorithm": algorithm,
    }  # fmt: skip
    if isinstance(norm_type, float) and math.isinf(norm_type):
        y = _with_indices(f"max_pool{ndim}d", abs(x) if norm_type > 0 else -abs(x), False, windows)
        return y if norm_type > 0 else -y
    return apply(f"lp_pool{ndim}d", x, norm_type=norm_type, **windows)


def lp_pool1d(
    x: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False, **options: Any
) -> Tensor:
    """As `numconv.lp_pool1d`."""
    return _lp_pool(1, x, norm_type, kernel_size, stride, ceil_mode, **options)


def lp_pool2d(
    x: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False, **options: Any
) -> Tensor:
    """As `numconv.lp_pool2d`."""
    return _lp_pool(2, x, norm_type, kernel_size, stride, ceil_mode, **options)


def lp_pool3d(
    x: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False, **options: Any
) -> Tensor:
    """As `numconv.lp_pool3d`."""
    return _lp_pool(3, x, norm_type, kernel_size, stride, ceil_mode, **options)


def _weighted(
    name: str, x: Any, kernel_size: Any, stride: Any, padding: Any, *, weights: Any = "gaussian",
    data_format: str | None = None, algorithm: str = "auto",
) -> Tensor:  # fmt: skip
    if isinstance(weights, Tensor):
        if weights.requires_grad:
            raise TypeError("weights must not require grad: a weighted average has no gradient of its weights")
        weights = weights.data
    return apply(
        name, x, kernel_size=kernel_size, stride=stride, padding=padding, weights=weights, data_format=data_format,
        algorithm=algorithm,
    )  # fmt: skip


def weighted_avg_pool1d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, **options: Any) -> Tensor:
    """As `numconv.weighted_avg_pool1d`."""
    return _weighted("weighted_avg_pool1d", x, kernel_size, stride, padding, **options)


def weighted_avg_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, **options: Any) -> Tensor:
    """As `numconv.weighted_avg_pool2d`."""
    return _weighted("weighted_avg_pool2d", x, kernel_size, stride, padding, **options)


def weighted_avg_pool3d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, **options: Any) -> Tensor:
    """As `numconv.weighted_avg_pool3d`."""
    return _weighted("weighted_avg_pool3d", x, kernel_size, stride, padding, **options)


def _adaptive_avg(name: str, x: Any, output_size: Any, data_format: str | None = None, algorithm: str = "auto") -> Any:
    return apply(name, x, output_size=output_size, data_format=data_format, algorithm=algorithm)


def adaptive_avg_pool1d(x: Any, output_size: Any, **options: Any) -> Tensor:
    """As `numconv.adaptive_avg_pool1d`."""
    return _adaptive_avg("adaptive_avg_pool1d", x, output_size, **options)


def adaptive_avg_pool2d(x: Any, output_size: Any, **options: Any) -> Tensor:
    """As `numconv.adaptive_avg_pool2d`."""
    return _adaptive_avg("adaptive_avg_pool2d", x, output_size, **options)


def adaptive_avg_pool3d(x: Any, output_size: Any, **options: Any) -> Tensor:
    """As `numconv.adaptive_avg_pool3d`."""
    return _adaptive_avg("adaptive_avg_pool3d", x, output_size, **options)


def _adaptive_max(
    name: str, x: Any, output_size: Any, return_indices: bool, data_format: str | None = None, algorithm: str = "auto"
) -> Any:
    attributes = {"output_size": output_size, "data_format": data_format, "algorithm": algorithm}
    return _with_indices(name, x, return_indices, attributes)


def adaptive_max_pool1d(x: Any, output_size: Any, return_indices: bool = False, **options: Any) -> Any:
    """As `numconv.adaptive_max_pool1d`."""
    return _adaptive_max("adaptive_max_pool1d", x, output_size, return_indices, **options)


def adaptive_max_pool2d(x: Any, output_size: Any, return_indices: bool = False, **options: Any) -> Any:
    """As `numconv.adaptive_max_pool2d`."""
    return _adaptive_max("adaptive_max_pool2d", x, output_size, return_indices, **options)


def adaptive_max_pool3d(x: Any, output_size: Any, return_indices: bool = False, **options: Any) -> Any:
    """As `numconv.adaptive_max_pool3d`."""
    return _adaptive_max("adaptive_max_pool3d", x, output_size, return_indices, **options)


def global_avg_pool(x: Any, *, data_format: str | None = None, algorithm: str = "auto") -> Tensor:
    """As `numconv.global_avg_pool`."""
    return apply("global_avg_pool", x, data_format=data_format, algorithm=algorithm)


def global_max_pool(x: Any, *, data_format: str | None = None, algorithm: str = "auto") -> Tensor:
    """As `numconv.global_max_pool`."""
    return apply("global_max_pool", x, data_format=data_format, algorithm=algorithm)


def _max_unpool(
    name: str, x: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any, output_size: Any,
    data_format: str | None = None,
) -> Tensor:  # fmt: skip
    return apply(
        name, x, indices, kernel_size=kernel_size, stride=stride, padding=padding, output_size=output_size,
        data_format=data_format,
    )  # fmt: skip


def max_unpool1d(
    x: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None,
    **options: Any,
) -> Tensor:  # fmt: skip
    """As `numconv.max_unpool1d`."""
    return _max_unpool("max_unpool1d", x, indices, kernel_size, stride, padding, output_size, **options)


def max_unpool2d(
    x: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None,
    **options: Any,
) -> Tensor:  # fmt: skip
    """As `numconv.max_unpool2d`."""
    return _max_unpool("max_unpool2d", x, indices, kernel_size, stride, padding, output_size, **options)


def max_unpool3d(
    x: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None,
    **options: Any,
) -> Tensor:  # fmt: skip
    """As `numconv.max_unpool3d`."""
    return _max_unpool("max_unpool3d", x, indices, kernel_size, stride, padding, output_size, **options)
