"""Sizes along each axis: what windows make of them, and the padding that a named form stands for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from numconv.problem.arguments import Pairs, pairs, per_axis


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
    return checked_output(size, kernel, strides, pads, dilations)


def checked_output(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], pads: Pairs, dilation: Sequence[int]
) -> tuple[int, ...]:
    """Sizes of a result, or an error where the kernel does not fit."""
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
    return transposed_sizes(size, kernel, stride, padding, output_padding, dilation, None)[0]


def transposed_sizes(
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
        if output_size is not None and spatial_size(output_size, ndim) != out:
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
        out = spatial_size(output_size, ndim)
        for o, n, s, d in zip(out, least, strides, dilations):
            if not n <= o < n + max(s, d):
                most = tuple(n + max(s, d) - 1 for n, s, d in zip(least, strides, dilations))
                raise ValueError(f"output_size must be between {least} and {most}, got {out}")
    if any(o < (0 if n == 0 else 1) for o, n in zip(out, size)):
        raise ValueError(f"padding {pads} leaves no output: input size {size}, kernel_size {kernel}, output size {out}")
    return tuple(max(o, 0) for o in out), pads, strides, dilations


def spatial_size(output_size: Any, ndim: int) -> tuple[int, ...]:
    """One size an axis."""
    return per_axis("output_size", output_size, ndim, 0)


def effective_kernel(kernel_size: int, dilation: int) -> int:
    """Extent of a dilated kernel: dilation (kernel_size - 1) + 1."""
    return dilation * (kernel_size - 1) + 1
