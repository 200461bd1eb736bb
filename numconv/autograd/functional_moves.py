"""What moves elements of Tensors (im2col, shuffles), and convolution as signal processing means it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numconv.autograd.functional_arrays import flip, tensor
from numconv.autograd.modes import grad_mode
from numconv.autograd.tape import Tensor, apply
from numconv.ops.signal import MODES, outside, placed, sources


def unfold(
    x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1, *, data_format: str | None = None
) -> Tensor:
    """As `numconv.unfold` (im2col)."""
    return apply(
        "unfold", x, kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride,
        data_format=data_format,
    )  # fmt: skip


def fold(
    x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1, *,
    data_format: str | None = None,
) -> Tensor:  # fmt: skip
    """As `numconv.fold` (col2im)."""
    return apply(
        "fold", x, output_size=output_size, kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride,
        data_format=data_format,
    )  # fmt: skip


def pixel_shuffle(x: Any, upscale_factor: int, *, data_format: str | None = None) -> Tensor:
    """As `numconv.pixel_shuffle`."""
    return apply("pixel_shuffle", x, factor=upscale_factor, data_format=data_format)


def pixel_unshuffle(x: Any, downscale_factor: int, *, data_format: str | None = None) -> Tensor:
    """As `numconv.pixel_unshuffle`."""
    return apply("pixel_unshuffle", x, factor=downscale_factor, data_format=data_format)


def channel_shuffle(x: Any, groups: int, *, data_format: str | None = None) -> Tensor:
    """As `numconv.channel_shuffle`."""
    return apply("channel_shuffle", x, groups=groups, data_format=data_format)


def convolve(
    a: Any, v: Any, mode: str = "full", axes: Any = None, *, boundary: str = "zeros", cval: Any = 0,
    precision: str = "default",
) -> Tensor:  # fmt: skip
    """As `numconv.convolve`."""
    return _signal("convolve", a, v, mode, axes, boundary, cval, precision)


def correlate(
    a: Any, v: Any, mode: str = "valid", axes: Any = None, *, boundary: str = "zeros", cval: Any = 0,
    precision: str = "default",
) -> Tensor:  # fmt: skip
    """As `numconv.correlate`."""
    return _signal("correlate", a, v, mode, axes, boundary, cval, precision)


def filter(image: Any, kernel: Any, boundary: str = "reflect") -> Tensor:
    """As `numconv.filter`."""
    if not _recorded(image, kernel):
        return apply("filter", image, kernel, boundary=boundary)
    image, kernel = tensor(image), tensor(kernel)
    if image.ndim not in (2, 3):
        raise ValueError(f"image must have shape (height, width) or (height, width, channels), got {image.shape}")
    if kernel.ndim != 2 or 0 in kernel.shape:
        raise ValueError(f"kernel must have two axes and at least one entry, got shape {kernel.shape}")
    rule, fill = outside(boundary, 0, image.dtype)
    for axis, size in enumerate(kernel.shape):
        image = _extended(image, axis, size // 2, (size - 1) // 2, rule, fill)
    turned = flip(kernel, (0, 1))
    return _slide(image, turned if image.ndim == 2 else turned.unsqueeze(2), "valid", (0, 1), "default")


def _recorded(*operands: Any) -> bool:
    return grad_mode.get() and any(getattr(operand, "requires_grad", False) for operand in operands)


def _signal(name: str, a: Any, v: Any, mode: str, axes: Any, boundary: str, cval: Any, precision: str) -> Tensor:
    """A convolution or correlation; recorded, it is made of what has a gradient."""
    if not _recorded(a, v):
        return apply(name, a, v, mode=mode, axes=axes, boundary=boundary, cval=cval, precision=precision)
    a, v = tensor(a), tensor(v)
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    placed(a.data, v.data, axes)
    reverse = axes is None and a.ndim == v.ndim == 1 and v.shape > a.shape  # as NumPy exchanges them
    if reverse:
        a, v = v, a
    given = range(a.ndim - v.ndim, a.ndim) if axes is None else axes if isinstance(axes, Iterable) else (axes,)
    places = [axis % a.ndim for axis in given]
    along = tuple(sorted(places))
    if v.ndim < a.ndim:
        v = v.permute([places.index(axis) for axis in along])
        v = v.reshape([v.shape[along.index(i)] if i in along else 1 for i in range(a.ndim)])
    if name == "correlate":
        v = flip(v, along)
    result = _slide(*_sized(a, v, mode, along, *outside(boundary, cval, a.dtype)), along, precision)
    return flip(result, 0) if reverse and name == "correlate" else result


def _sized(a: Tensor, v: Tensor, mode: str, axes: tuple[int, ...], rule: str, fill: Any) -> tuple[Tensor, Tensor, str]:
    """Operands and mode, "full" or "valid", with what stands outside put around `a` where zeros will not do."""
    zeros = rule == "constant" and fill == 0
    if mode == "valid":
        shorter = any(a.shape[axis] < v.shape[axis] for axis in axes)
        return (v, a, mode) if shorter else (a, v, mode)
    if mode == "full" and zeros:
        return a, v, mode
    for axis in axes:
        reach = v.shape[axis] - 1
        before, after = (reach, reach) if mode == "full" else (reach - reach // 2, reach // 2)
        a = _extended(a, axis, before, after, rule, fill)
    return a, v, "valid"


def _extended(x: Tensor, axis: int, before: int, after: int, rule: str, fill: Any) -> Tensor:
    """x with what stands outside of it along an axis."""
    if rule == "constant":
        pads = [(0, 0)] * x.ndim
        pads[axis] = (before, after)
        return apply("pad", x, pad=tuple(pads), mode="constant", value=fill)
    return x[(slice(None),) * axis + (sources(x.shape[axis], before, after, rule),)]


def _slide(a: Tensor, v: Tensor, mode: str, axes: tuple[int, ...], precision: str) -> Tensor:
    """A convolution of operands with as many axes, with zeros outside."""
    return apply("convolve", a, v, mode=mode, axes=axes, boundary="zeros", cval=0, precision=precision)
