"""Poolings of one image after another, on one thread: those of the kernel `phased`, and maxima with their places."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numconv.kernels.cpu import phased_pooling, simd
from numconv.kernels.cpu.phased_pooling import AFTER, BEFORE, DILATION, KERNEL, OUT, ROOM, SIZE, SLACK, STRIDE
from numconv.njit._flags import compiled

_write, _read, _apart = simd.store(0), simd.load(0), simd.keep_apart
_widest = compiled(phased_pooling.widest)


@compiled
def sizes(size, kernel, stride, dilation):
    geometry = np.zeros((3, 7), np.int64)
    for axis in range(3):
        if size[axis] < 1:
            raise ValueError("x must have at least one position along each spatial axis")
        geometry[axis, SIZE], geometry[axis, KERNEL] = size[axis], kernel[axis]
        geometry[axis, STRIDE], geometry[axis, DILATION] = stride[axis], dilation[axis]
    return geometry


@compiled
def outputs(geometry, ceil_mode, halved):
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
        if count == 1:
            geometry[axis, STRIDE] = 1  # of no consequence, and a long one would take room


@functools.cache
def pool(dtype: str, sums: bool) -> Any:
    """A compiled function that fills `out` with the maxima of windows, or with their sums over the factors."""
    lines, start = phased_pooling.pool(0, dtype, sums), 0.0 if sums else -np.inf

    @compiled
    def pooled(x, planes, geometry, factors, out):
        _apart()
        count, step, taps, dilation = geometry[2, OUT], geometry[2, STRIDE], geometry[2, KERNEL], geometry[2, DILATION]
        wide = _widest(count, taps, step, dilation)
        reach = (wide - 1) * step + (taps - 1) * dilation + 1
        room = max(ROOM, -(-reach // step) * step) + SLACK
        values, phases, folded = np.empty(room, x.dtype), np.empty(room, x.dtype), np.empty(room, x.dtype)
        items = planes * geometry[0, OUT] * geometry[1, OUT] * -(-count // wide)
        lines(0, items, x, out, geometry, wide, factors, np.full(1, start, x.dtype), values, phases, folded)

    return pooled


@compiled
def find(x, planes, geometry, out, indices):
    """Maxima of windows and their places in the plane: of equal numbers the first, of NaNs the last."""
    _apart()
    deep, high, wide = geometry[0, SIZE], geometry[1, SIZE], geometry[2, SIZE]
    to = 0
    for plane in range(planes):
        for d in range(geometry[0, OUT]):
            for h in range(geometry[1, OUT]):
                for w in range(geometry[2, OUT]):
                    best, place = x.dtype.type(-np.inf), -1
                    for kd in range(geometry[0, KERNEL]):
                        at_d = d * geometry[0, STRIDE] + kd * geometry[0, DILATION] - geometry[0, BEFORE]
                        for kh in range(geometry[1, KERNEL]):
                            at_h = h * geometry[1, STRIDE] + kh * geometry[1, DILATION] - geometry[1, BEFORE]
                            if at_d < 0 or at_d >= deep or at_h < 0 or at_h >= high:
                                continue
                            row = (at_d * high + at_h) * wide
                            for kw in range(geometry[2, KERNEL]):
                                at_w = w * geometry[2, STRIDE] + kw * geometry[2, DILATION] - geometry[2, BEFORE]
                                if 0 <= at_w < wide:
                                    value = _read(x, plane * deep * high * wide + row + at_w)
                                    if place < 0 or value > best or np.isnan(value):
                                        best, place = value, row + at_w
                    _write(out, to, best)
                    _write(indices, to, place)
                    to += 1


@compiled
def divisors(geometry, with_padding, divisor, factors):
    """Fill in what sums are divided by along each axis: how many taps lie inside, or a divisor that is not 0."""
    at = 0
    for axis in range(3):
        low = -geometry[axis, BEFORE] if with_padding else 0
        past = geometry[axis, SIZE] + (geometry[axis, AFTER] if with_padding else 0)
        for i in range(geometry[axis, OUT]):
            count = 0
            for k in range(geometry[axis, KERNEL]):
                place = i * geometry[axis, STRIDE] + k * geometry[axis, DILATION] - geometry[axis, BEFORE]
                count += low <= place < past
            factors[at] = max(count, 1) if divisor == 0 else (divisor if axis == 0 else 1)
            at += 1
