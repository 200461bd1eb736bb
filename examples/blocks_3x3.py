"""A 3x3 convolution near the processor's peak: shifted matrix products, made of `lab.blocks`; nothing is rearranged.

With channels last, the three pixels under a row of the kernel lie side by side in memory: the positions of a row of the
result, times that row of the kernel, are one matrix product of three times the channels. Three of them are added up.
"""

import numba
import numpy as np

import numconv as nc
from numconv import lab
from numconv.lab import blocks

ROWS, VECTORS = blocks.size()
COLUMNS = VECTORS * blocks.lanes()
tile = blocks.tile(ROWS, VECTORS)


def has_neighbours(problem):
    if problem.dilation[1] != 1 or problem.groups != 1:
        return "it takes kernels without dilation along their rows and without groups"
    return True


def panels(weight):
    """(tile of channels, row of the kernel, tap of the row and source, channel of the tile)."""
    co, ci, kh, kw = weight.shape
    return blocks.panels(weight).reshape(-(-co // COLUMNS), kh, kw * ci, COLUMNS)


@lab.kernel("conv2d", layout="channels_last", prepare=panels, when=has_neighbours)
@numba.njit(parallel=True)
def blocks_3x3(x, w, out, stride, padding, dilation, groups):
    (n, high, wide, ci), (oh, ow, co) = x.shape, out.shape[1:]
    images, results, weights = x.reshape(x.size), out.reshape(out.size), w.reshape(w.size)
    kh, run = w.shape[1], w.shape[2]  # rows of the kernel, numbers of x under one
    for item in numba.prange(n * oh):
        image, h = divmod(item, oh)
        for o in range(0, co, COLUMNS):
            for u in range(kh):
                panel = (o // COLUMNS * kh + u) * run * COLUMNS
                row = ((image * high + h * stride[0] + u * dilation[0]) * wide) * ci
                for p in range(0, ow, ROWS):
                    tile(
                        images, row + p * stride[1] * ci, stride[1] * ci, weights, panel, COLUMNS,
                        results, (item * ow + p) * co + o, co, run, min(ROWS, ow - p), min(COLUMNS, co - o), u > 0,
                    )  # fmt: skip


if __name__ == "__main__":
    nc.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 28, 28, 128), np.float32)
    weight = rng.standard_normal((128, 128, 3, 3), np.float32)
    options = {"padding": 1, "data_format": "NHWC"}
    plan = nc.plan("conv2d", x.shape, weight, **options, algorithm="blocks_3x3")
    expected = nc.conv2d(x.astype(np.float64), weight.astype(np.float64), **options, algorithm="direct")
    print(f"largest error: {np.abs(plan(x) - expected).max() / np.abs(expected).max():.1e}")
    out = plan(x)
    speed, peak = blocks.attained(lambda: plan(x, out=out), 2.0 * 28 * 28 * 9 * 128 * 128)
    print(f"{speed:.0f} GFLOP/s, {speed / peak:.0%} of the FMA peak of one thread, {peak:.0f}")
