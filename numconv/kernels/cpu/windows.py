"""The windows of a pooling: which positions of the source each position of the result looks at.

Along one axis, the window of a result's position is `count` positions of the source, `first`, `first + step`, ...,
those outside the source already left out; `tap` is the kernel's tap of the first and changes by `tap_step` from one
to the next. With kernel k, stride s, dilation d and padding p before:

    forward    position o looks at o s + t d - p, for the taps t that lie inside
    adaptive   position o of T looks at floor(o n / T) to ceil((o + 1) n / T)
    backward   position i looks at the outputs o with o s + t d - p = i, which lie d / gcd(s, d) apart

The gradient of an average is so a pooling of its own, by gathering: it needs no atomics, and a sum has one order.
The transpose of an adaptive pooling is adaptive again, with n and T exchanged.

One and two spatial axes enter as three. Kernels get the header, a flat array read by the names below.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from numconv.kernels.cpu import jit
from numconv.kernels.cpu.memory import element_strides
from numconv.problem import LAST, PoolProblem

# Header. LANES channels are next to each other in the source, or it is 1 and PLANES holds the channels.
# A block is up to BLOCK lanes, a segment up to SEGMENT positions along the last axis.
PLANES, LANES, BLOCK, BLOCKS, SEGMENT, SEGMENTS = 0, 1, 2, 3, 4, 5
X_N, X_C, X_D, X_H, X_W, X_0, X_LANE = 6, 7, 8, 9, 10, 11, 12
OUT_N, OUT_C, OUT_D, OUT_H, OUT_W, OUT_0, OUT_LANE = 13, 14, 15, 16, 17, 18, 19
D, H, W, AXIS_LENGTH = 20, 36, 52, 16  # one group of fields for each axis
LENGTH = 68
# Fields of an axis: sizes of source and result, then the pooling's options.
SOURCES, TARGETS, MODE, KERNEL, STRIDE, BEFORE, AFTER, DILATION = range(8)
GCD, INVERSE, STEP, TAP_STEP, DIVISION, DIVISOR, TAPS, PERIOD = range(8, 16)
FORWARD, ADAPTIVE, BACKWARD = 0, 1, 2
# What a window is divided by along an axis: a given number, its taps inside the padded source, inside the source
# (both over DIVISOR), or the sum of their weights.
GIVEN, PADDED, INSIDE, WEIGHED = 0, 1, 2, 3

ROOM = 2048  # numbers in a kernel's buffer on the stack: 16 KB of float64
WIDEST = 1024  # positions of a segment
LANES_AT_ONCE = 64


@jit.function
def window():
    """A function (header, axis, target) -> (first, count, tap)."""

    def find(header, axis, target):
        n, t = header[axis + SOURCES], header[axis + TARGETS]
        if header[axis + MODE] == ADAPTIVE:
            first = target * n // t
            return first, -(-(target + 1) * n // t) - first, 0
        s, d, taps = header[axis + STRIDE], header[axis + DILATION], header[axis + KERNEL]
        if header[axis + MODE] == FORWARD:
            start = target * s - header[axis + BEFORE]
            before = max(0, -(start // d))
            after = min(taps, (n - 1 - start) // d + 1)
            return start + before * d, max(0, after - before), before
        place, g = target + header[axis + BEFORE], header[axis + GCD]
        apart = header[axis + STEP]
        low = max(0, -((taps - 1) * d - place) // s) if False else max(0, -(((taps - 1) * d - place) // s))
        first = low + (place // g % apart * header[axis + INVERSE] - low) % apart
        last = min(n - 1, place // s)
        if place % g or last < first:
            return low, 0, 0
        return first, (last - first) // apart + 1, (place - first * s) // d

    return find
