"""A kernel of one's own: written in Python, checked, run by its name, and set beside the library's."""

import time

import numpy as np
from numba import prange

import numconv as nc
from numconv import lab


@lab.kernel("conv2d")
def textbook(x, w, out, stride, padding, dilation, groups):
    """The definition, a row of the result at a time; x has its padding already, out holds zeros."""
    for item in prange(out.shape[0] * out.shape[1]):  # shared among threads: each has channels of its own
        n, o = item // out.shape[1], item % out.shape[1]
        first = o // (w.shape[0] // groups) * w.shape[1]
        for i in range(out.shape[2]):
            for c in range(w.shape[1]):
                for u in range(w.shape[2]):
                    for v in range(w.shape[3]):
                        for j in range(out.shape[3]):
                            row, column = i * stride[0] + u * dilation[0], j * stride[1] + v * dilation[1]
                            out[n, o, i, j] += w[o, c, u, v] * x[n, first + c, row, column]


def simple(problem):
    """Whether a kernel takes a problem: True, or a sentence that says why not."""
    plain = {*problem.stride, *problem.dilation, problem.groups} == {1}
    return plain or "it takes stride 1, dilation 1 and one group"


@lab.kernel("conv2d", when=simple)
def hasty(x, w, out, stride, padding, dilation, groups):
    """The same, shared among threads by the input's channels. What is wrong with it?"""
    for c in prange(w.shape[1]):
        for n, o in np.ndindex(out.shape[0], out.shape[1]):
            for u, v in np.ndindex(w.shape[2], w.shape[3]):
                for i, j in np.ndindex(out.shape[2], out.shape[3]):
                    out[n, o, i, j] += w[o, c, u, v] * x[n, c, i + u, j + v]


if __name__ == "__main__":
    print(lab.check(textbook))  # some 120 problems, in a process of their own
    print()
    print(lab.check(hasty))
    print()

    x = np.random.default_rng(0).standard_normal((1, 32, 56, 56), dtype=np.float32)
    w = np.random.default_rng(1).standard_normal((32, 32, 3, 3), dtype=np.float32)
    expected = nc.conv2d(x, w, padding=1)
    for name in ("textbook", "direct", "auto"):
        result = nc.conv2d(x, w, padding=1, algorithm=name)  # compiles
        start = time.perf_counter()
        nc.conv2d(x, w, padding=1, algorithm=name)
        milliseconds = (time.perf_counter() - start) * 1e3
        print(f"{name:9} {milliseconds:8.3f} ms, largest difference {np.abs(result - expected).max():.1e}")

    nc.explain("conv2d", x, w, padding=1)
