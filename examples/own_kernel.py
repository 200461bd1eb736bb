"""A kernel of one's own: register a function, race it against the built-in ones, see why one is chosen."""

import time

import numba
import numpy as np

import numconv as nc


@numba.njit(fastmath=True)
def textbook(x, weight, out, stride, padding, dilation, groups):
    """Seven loops, as in the definition."""
    n, co, oh, ow = out.shape
    ci, kh, kw = weight.shape[1:]
    per_group = co // groups
    for b in range(n):
        for o in range(co):
            first = o // per_group * ci
            for i in range(oh):
                for c in range(ci):
                    for u in range(kh):
                        for v in range(kw):
                            row = x[b, first + c, i * stride[0] + u * dilation[0]]
                            w = weight[o, c, u, v]
                            for j in range(ow):
                                out[b, o, i, j] += w * row[j * stride[1] + v * dilation[1]]


nc.register("conv2d", textbook, name="textbook")

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
