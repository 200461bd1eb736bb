"""A 1x1 convolution near the processor's peak: a matrix product of positions by channels, made of `lab.blocks`.

With channels last an image is a matrix, a row for each position, and a 1x1 convolution multiplies it by the weight. A
tile takes 14 positions and 32 channels of the result: 28 vectors of sums, which stay in registers.
"""

import numba
import numpy as np

import numconv as nc
from numconv import lab
from numconv.lab import blocks

ROWS, VECTORS = blocks.size()
COLUMNS = VECTORS * blocks.lanes()
BLOCK = 8 * ROWS  # positions that share a panel of the weight while it is in first-level cache
tile = blocks.tile(ROWS, VECTORS)


def is_pointwise(problem):
    if {*problem.kernel, *problem.stride} != {1} or problem.groups != 1:
        return "it takes 1x1 kernels at stride 1, without groups"
    return True


@lab.kernel("conv2d", layout="channels_last", prepare=blocks.panels, when=is_pointwise)
@numba.njit(parallel=True)
def blocks_pointwise(x, w, out, stride, padding, dilation, groups):
    ci, co = x.shape[3], out.shape[3]
    images, results = x.reshape(x.size), out.reshape(out.size)
    positions = out.size // co
    for item in numba.prange(-(-positions // BLOCK)):
        first, last = item * BLOCK, min((item + 1) * BLOCK, positions)
        for o in range(0, co, COLUMNS):
            for p in range(first, last, ROWS):
                tile(
                    images, p * ci, ci, w, o * ci, COLUMNS, results, p * co + o, co,
                    ci, min(ROWS, last - p), min(COLUMNS, co - o), False,
                )  # fmt: skip


if __name__ == "__main__":
    nc.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 56, 56, 256), np.float32)
    weight = rng.standard_normal((256, 256, 1, 1), np.float32)
    plan = nc.plan("conv2d", x.shape, weight, data_format="NHWC", algorithm="blocks_pointwise")
    expected = nc.conv2d(x.astype(np.float64), weight.astype(np.float64), data_format="NHWC", algorithm="direct")
    print(f"largest error: {np.abs(plan(x) - expected).max() / np.abs(expected).max():.1e}")
    out = plan(x)
    speed, peak = blocks.attained(lambda: plan(x, out=out), 2.0 * 56 * 56 * 256 * 256)
    print(f"{speed:.0f} GFLOP/s, {speed / peak:.0%} of the FMA peak of one thread, {peak:.0f}")
