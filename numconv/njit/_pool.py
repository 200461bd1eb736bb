"""Maximum and average pooling inside compiled functions: row by row of the result, a loop over its positions a tap."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import errors
from numba.extending import overload

import numconv
from numconv.kernels.cpu import simd
from numconv.njit import _arguments as given
from numconv.njit._flags import compiled
from numconv.njit._sweep import AFTER, BEFORE, DILATION, KERNEL, OUT, SIZE, STRIDE, inside

_write, _read, _apart = simd.store(0), simd.load(0), simd.keep_apart


@compiled
def _sizes(size, kernel, stride, dilation):
    geometry = np.zeros((3, 7), np.int64)
    for axis in range(3):
        if size[axis] < 1:
            raise ValueError("x must have at least one position along each spatial axis")
        geometry[axis, SIZE], geometry[axis, KERNEL] = size[axis], kernel[axis]
        geometry[axis, STRIDE], geometry[axis, DILATION] = stride[axis], dilation[axis]
    return geometry


@compiled
def _outputs(geometry, ceil_mode, halved):
    for axis in range(3):
        size, before, after = geometry[axis, SIZE], geometry[axis, BEFORE], geometry[axis, AFTER]
        stride, reach = geometry[axis, STRIDE], (geometry[axis, KERNEL] - 1) * geometry[axis, DILATION] + 1
        if halved and before > reach // 2:
            raise ValueError("padding must be at most half of the effective kernel; pairs may be more")
        count = (size + before + after - reach + (stride - 1 if ceil_mode else 0)) // stride + 1
        if ceil_mode and (count - 1) * stride >= size + before:
            count -= 1
        if count < 1:
            raise ValueError("kernel_size, with its dilation, is larger than the padded input")
        geometry[axis, OUT] = count


@compiled
def _larger(a, b):
    """The larger number; NaN wins and stays."""
    return b if b > a or np.isnan(b) else a


@compiled
def _take(target, to, source, at, count, largest):
    """Take source[at + i] into target[to + i]: a maximum, or a sum."""
    if largest:
        for i in range(count):
            _write(target, to + i, _larger(_read(target, to + i), _read(source, at + i)))
    else:
        for i in range(count):
            _write(target, to + i, _read(target, to + i) + _read(source, at + i))


@compiled
def _fill(target, to, count, value):
    for i in range(count):
        _write(target, to + i, value)


@compiled
def _part(line, size, step, room, parts):
    """parts[phase room + i] = line[phase + i step]."""
    if step == 2:
        for i in range(size // 2):
            even, odd = _read(line, 2 * i), _read(line, 2 * i + 1)
            _write(parts, i, even)
            _write(parts, room + i, odd)
        if size % 2:
            _write(parts, size // 2, _read(line, size - 1))
        return
    for phase in range(step):
        for i in range((size - phase + step - 1) // step):
            _write(parts, phase * room + i, _read(line, phase + i * step))


@compiled
def pool(x, shape, geometry, out, largest):
    """Maxima, or sums, of the windows of x, of shape (n, c, d, h, w); both arrays are flat.

    Of each row of the result the windows' rows are taken together first, place by place, and then their columns, of
    which those that a stride sets apart have been brought together.
    """
    _apart()
    start = out.dtype.type(-np.inf if largest else 0.0)
    count, step, taps, size = geometry[2, OUT], geometry[2, STRIDE], geometry[2, KERNEL], shape[4]
    room = size // step + 1
    line, parts = np.empty(size, x.dtype), np.empty(0 if step == 1 else step * room, x.dtype)
    to = 0
    for plane in range(shape[0] * shape[1]):
        for d in range(geometry[0, OUT]):
            for h in range(geometry[1, OUT]):
                _fill(line, 0, size, start)
                for kd in range(geometry[0, KERNEL]):
                    at_d = d * geometry[0, STRIDE] + kd * geometry[0, DILATION] - geometry[0, BEFORE]
                    for kh in range(geometry[1, KERNEL]):
                        at_h = h * geometry[1, STRIDE] + kh * geometry[1, DILATION] - geometry[1, BEFORE]
                        if 0 <= at_d < shape[2] and 0 <= at_h < shape[3]:
                            row = ((plane * shape[2] + at_d) * shape[3] + at_h) * size
                            _take(line, 0, x, row, size, largest)
                _fill(out, to, count, start)
                if step != 1:
                    _part(line, size, step, room, parts)
                for k in range(taps):
                    first = k * geometry[2, DILATION] - geometry[2, BEFORE]
                    low, past = inside(first, step, count, size)
                    if step == 1:
                        _take(out, to + low, line, first + low, past - low, largest)
                    else:
                        turn, phase = divmod(first, step)
                        _take(out, to + low, parts, phase * room + turn + low, past - low, largest)
                to += count


@compiled
def _count_taps(geometry, axis, with_padding):
    """How many taps of each window lie inside the image, or inside it and its padding."""
    counts = np.zeros(geometry[axis, OUT], np.int64)
    low = -geometry[axis, BEFORE] if with_padding else 0
    past = geometry[axis, SIZE] + (geometry[axis, AFTER] if with_padding else 0)
    for i in range(geometry[axis, OUT]):
        for k in range(geometry[axis, KERNEL]):
            at = i * geometry[axis, STRIDE] + k * geometry[axis, DILATION] - geometry[axis, BEFORE]
            counts[i] += low <= at < past
    return counts


@compiled
def divide(geometry, images, with_padding, divisor, out):
    """Divide sums by the taps of their windows, or by the divisor where it is not 0."""
    _apart()
    over_d, over_h = _count_taps(geometry, 0, with_padding), _count_taps(geometry, 1, with_padding)
    over_w = _count_taps(geometry, 2, with_padding)
    columns = np.empty(over_w.shape[0], out.dtype)
    for w in range(over_w.shape[0]):
        columns[w] = over_w[w]
    at = 0
    for _ in range(images):
        for d in range(over_d.shape[0]):
            for h in range(over_h.shape[0]):
                rows, over = out.dtype.type(over_d[d] * over_h[h]), out.dtype.type(divisor)
                for w in range(columns.shape[0]):
                    taps = max(rows * columns[w], out.dtype.type(1)) if divisor == 0 else over
                    _write(out, at + w, _read(out, at + w) / taps)
                at += columns.shape[0]


def _windows(x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, n: int) -> Any:
    """A compiled function that gives the geometry of arguments of these types."""
    given.floats("x", x, (n + 1, n + 2))
    given.boolean("ceil_mode", ceil_mode)
    kernels, dilations = given.per_axis("kernel_size", kernel_size, n, 1), given.per_axis("dilation", dilation, n, 1)
    if given.is_none(stride):
        strides = compiled(lambda stride, kernel: kernel)
    else:
        steps = given.per_axis("stride", stride, n, 1)
        strides = compiled(lambda stride, kernel: steps(stride))
    pad, halved = given.padding_of(padding, n), not given.is_text(padding) and not given.is_nested(padding)

    @compiled
    def windows(size, kernel_size, stride, padding, dilation, ceil_mode):
        kernel = kernels(kernel_size)
        geometry = _sizes(size, kernel, strides(stride, kernel), dilations(dilation))
        pad(padding, geometry)
        _outputs(geometry, ceil_mode, halved)
        return geometry

    return windows


def max_pool1d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Maximum pooling of (n, c, l) or (c, l); see `max_pool2d`."""
    return numconv.max_pool1d(x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The largest number of each window, to be called inside an `@njit` function; on the calling thread alone.

    Parameters
    ----------
    x : array of shape (n, c, h, w) or (c, h, w)
        Of float32 or float64, of any strides.
    kernel_size, dilation : int or tuple of int
    stride : int or tuple of int, optional
        The kernel's size where left out.
    padding : int, tuple of int, tuple of (before, after) pairs, or str
        As in `conv2d`; numbers are at most half of the effective kernel.
    ceil_mode : bool

    Returns
    -------
    array of shape (n, c, oh, ow) or (c, oh, ow)
        Without indices. A window with a NaN gives NaN.

    Raises
    ------
    numba.TypingError
        When the calling function is compiled, if a type is none of these.
    ValueError
        If sizes do not fit.
    """
    return numconv.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Maximum pooling of (n, c, d, h, w) or (c, d, h, w); see `max_pool2d`."""
    return numconv.max_pool3d(x, kernel_size, stride, padding, dilation, ceil_mode)


def avg_pool1d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None, dilation=1
):
    """Average pooling of (n, c, l) or (c, l); see `avg_pool2d`."""
    options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return numconv.avg_pool1d(x, *options, dilation=dilation)


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None, dilation=1
):
    """The mean of each window, to be called inside an `@njit` function; on the calling thread alone.

    Parameters
    ----------
    x, kernel_size, stride, padding, ceil_mode, dilation
        As in `max_pool2d`.
    count_include_pad : bool
        Whether padding counts among the numbers that are divided by.
    divisor_override : int, optional
        What sums are divided by instead.

    Returns
    -------
    array of shape (n, c, oh, ow) or (c, oh, ow)

    Raises
    ------
    numba.TypingError
        When the calling function is compiled, if a type is none of these.
    ValueError
        If sizes do not fit.
    """
    options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return numconv.avg_pool2d(x, *options, dilation=dilation)


def avg_pool3d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None, dilation=1
):
    """Average pooling of (n, c, d, h, w) or (c, d, h, w); see `avg_pool2d`."""
    options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return numconv.avg_pool3d(x, *options, dilation=dilation)


def _maximum(public: Any, n: int) -> None:
    @overload(public)
    def typed(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        windows = _windows(x, kernel_size, stride, padding, dilation, ceil_mode, n)
        shape_of, shaped, flat = given.sizes(x.ndim, n), given.shaped(x.ndim, n), given.flat

        def implementation(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
            size = shape_of(x)
            geometry = windows(size[2:], kernel_size, stride, padding, dilation, ceil_mode)
            shape = (size[0], size[1], geometry[0, OUT], geometry[1, OUT], geometry[2, OUT])
            y = np.empty(shape[0] * shape[1] * shape[2] * shape[3] * shape[4], x.dtype)
            pool(flat(x), size, geometry, y, True)
            return shaped(y, shape)

        return implementation


def _average(public: Any, n: int) -> None:
    @overload(public)
    def typed(
        x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None,
        dilation=1,
    ):  # fmt: skip
        windows = _windows(x, kernel_size, stride, padding, dilation, ceil_mode, n)
        given.boolean("count_include_pad", count_include_pad)
        shape_of, shaped, flat = given.sizes(x.ndim, n), given.shaped(x.ndim, n), given.flat
        if given.is_none(divisor_override):
            divisor = compiled(lambda value: 0)
        else:
            given.integer("divisor_override", divisor_override)
            divisor = _divisor

        def implementation(
            x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None,
            dilation=1,
        ):  # fmt: skip
            size = shape_of(x)
            geometry = windows(size[2:], kernel_size, stride, padding, dilation, ceil_mode)
            over = divisor(divisor_override)
            shape = (size[0], size[1], geometry[0, OUT], geometry[1, OUT], geometry[2, OUT])
            y = np.empty(shape[0] * shape[1] * shape[2] * shape[3] * shape[4], x.dtype)
            pool(flat(x), size, geometry, y, False)
            divide(geometry, shape[0] * shape[1], count_include_pad, over, y)
            return shaped(y, shape)

        return implementation


@compiled
def _divisor(value):
    if value == 0:
        raise ValueError("divisor_override must not be 0")
    return value


def relu(x):
    """max(x, 0) of each number, NaN kept; inside `@njit` a new array of float32 or float64, contiguous."""
    return numconv.relu(x)


@overload(relu)
def _relu(x):
    if not hasattr(x, "dtype") or str(x.dtype) not in ("float32", "float64"):
        raise errors.NumbaTypeError(f"x must be an array of float32 or float64, got {x}")

    def implementation(x):
        y = np.empty(x.shape, x.dtype)
        zero = x.dtype.type(0)
        for index, value in np.ndenumerate(x):
            y[index] = zero if value <= zero else value
        return y

    return implementation


for _n, _names in enumerate(((max_pool1d, avg_pool1d), (max_pool2d, avg_pool2d), (max_pool3d, avg_pool3d)), 1):
    _maximum(_names[0], _n)
    _average(_names[1], _n)
