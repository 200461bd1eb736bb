"""A 1-D convolution near the processor's peak, of series with channels first: a matrix product a tap, of `lab.blocks`.

A tile takes 8 channels of the result and 48 positions. Its rows are those of the weight of one tap, its columns lie in
the series side by side, shifted by the tap; the products of all taps are added up.
"""

import numba
import numpy as np

import numconv as nc
from numconv import lab
from numconv.lab import blocks

ROWS, VECTORS = (8, 3) if blocks.size()[0] == 14 else (4, 2)  # no row of the usual numbers of channels is left over
COLUMNS = VECTORS * blocks.lanes()
tile = blocks.tile(ROWS, VECTORS)


def has_unit_stride(problem):
    return "it takes stride 1 without groups" if problem.stride != (1,) or problem.groups != 1 else True


@lab.kernel("conv1d", prepare=blocks.taps, when=has_unit_stride)
@numba.njit(parallel=True)
def blocks_series(x, w, out, stride, padding, dilation, groups):
    (n, ci, size), (taps, co, _), length = x.shape, w.shape, out.shape[2]
    weights, series, results = w.reshape(w.size), x.reshape(x.size), out.reshape(out.size)
    pieces = -(-length // COLUMNS)
    for item in numba.prange(n * pieces):
        image, piece = divmod(item, pieces)
        first = piece * COLUMNS
        for o in range(0, co, ROWS):
            for t in range(taps):
                tile(
                    weights, (t * co + o) * ci, ci, series, image * ci * size + first + t * dilation[0], size,
                    results, (image * co + o) * length + first, length,
                    ci, min(ROWS, co - o), min(COLUMNS, length - first), t > 0,
                )  # fmt: skip


if __name__ == "__main__":
    nc.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 128, 4000), np.float32)
    weight = rng.standard_normal((128, 128, 5), np.float32)
    plan = nc.plan("conv1d", x.shape, weight, algorithm="blocks_series")
    expected = nc.conv1d(x.astype(np.float64), weight.astype(np.float64), algorithm="direct")
    print(f"largest error: {np.abs(plan(x) - expected).max() / np.abs(expected).max():.1e}")
    out = plan(x)
    speed, peak = blocks.attained(lambda: plan(x, out=out), 2.0 * out.size * 5 * 128)
    print(f"{speed:.0f} GFLOP/s, {speed / peak:.0%} of the FMA peak of one thread, {peak:.0f}")
