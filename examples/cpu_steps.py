"""A convolution on a CPU in steps, from the loops of the definition to the limit; docs/algorithms.md tells the story.

The layer is a 3x3 convolution of 64 to 64 channels on a padded picture, 56x56 results, on one thread. For each step
this prints how long it takes, at how many operations a second of the definition, and which part of the peak that is,
measured as well: what the register tile reaches on operands in the first-level cache. A second table has one picture
and kernels that grow, where FFT and separable factors pay.
"""

import numba
import numpy as np

import numconv as nc
from numconv.lab.roofline import Meter
from numconv.lab.timing import fastest

CHANNELS, SIZE = 64, 56
FLOPS = 2 * CHANNELS * CHANNELS * 9 * SIZE * SIZE

compiled = numba.njit(fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")


def definition(x, w, out):
    """Six loops in the order of the formula."""
    for o in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                total = np.float32(0)
                for c in range(x.shape[0]):
                    for u in range(3):
                        for v in range(3):
                            total += w[o, c, u, v] * x[c, i + u, j + v]
                out[o, i, j] = total


@compiled
def columns_inside(x, w, out):
    """The loop along a row stands innermost: neighbours in memory, so that it becomes vector instructions."""
    out[:] = 0
    for o in range(out.shape[0]):
        for c in range(x.shape[0]):
            for i in range(out.shape[1]):
                row = out[o, i]
                for u in range(3):
                    for v in range(3):
                        weight, source = w[o, c, u, v], x[c, i + u, v : v + len(row)]
                        for j in range(len(row)):
                            row[j] += weight * source[j]


@compiled
def nine_taps(x, w, out):
    """All taps of a channel in one loop: a result is loaded and stored once for nine products."""
    out[:] = 0
    for o in range(out.shape[0]):
        for c in range(x.shape[0]):
            k = w[o, c]
            for i in range(out.shape[1]):
                row, a, b, d = out[o, i], x[c, i], x[c, i + 1], x[c, i + 2]
                for j in range(len(row)):
                    top = k[0, 0] * a[j] + k[0, 1] * a[j + 1] + k[0, 2] * a[j + 2]
                    middle = k[1, 0] * b[j] + k[1, 1] * b[j + 1] + k[1, 2] * b[j + 2]
                    row[j] += top + middle + (k[2, 0] * d[j] + k[2, 1] * d[j + 1] + k[2, 2] * d[j + 2])


@compiled
def two_channels(x, w, out):
    """And two filters at a time: a number of the picture is loaded once for two results."""
    out[:] = 0
    for o in range(0, out.shape[0], 2):
        for c in range(x.shape[0]):
            k, l = w[o, c], w[o + 1, c]  # noqa: E741
            for i in range(out.shape[1]):
                row, other, a, b, d = out[o, i], out[o + 1, i], x[c, i], x[c, i + 1], x[c, i + 2]
                for j in range(len(row)):
                    a0, a1, a2, b0, b1, b2 = a[j], a[j + 1], a[j + 2], b[j], b[j + 1], b[j + 2]
                    d0, d1, d2 = d[j], d[j + 1], d[j + 2]
                    first = k[0, 0] * a0 + k[0, 1] * a1 + k[0, 2] * a2 + k[1, 0] * b0 + k[1, 1] * b1
                    row[j] += first + k[1, 2] * b2 + k[2, 0] * d0 + k[2, 1] * d1 + k[2, 2] * d2
                    second = l[0, 0] * a0 + l[0, 1] * a1 + l[0, 2] * a2 + l[1, 0] * b0 + l[1, 1] * b1
                    other[j] += second + l[1, 2] * b2 + l[2, 0] * d0 + l[2, 1] * d1 + l[2, 2] * d2


def matrix_product(x, w, out):
    """im2col and one product of matrices, by NumPy's BLAS."""
    windows = nc.unfold(x[None], 3)[0]
    np.matmul(w.reshape(CHANNELS, -1), windows, out=out.reshape(CHANNELS, -1))


def by_plan(name, layout):
    """The library's algorithm on packed weights."""

    def made(x, w):
        source = np.ascontiguousarray(np.moveaxis(x, 0, -1)) if layout == "NHWC" else x
        plan = nc.plan("conv2d", source[None].shape, w, algorithm=name, data_format=layout)
        result = np.empty((1, SIZE, SIZE, CHANNELS) if layout == "NHWC" else (1, CHANNELS, SIZE, SIZE), np.float32)

        def run():
            plan(source[None], out=result)
            return np.moveaxis(result[0], -1, 0) if layout == "NHWC" else result[0]

        return run

    return made


def filling(function):
    """A function that fills `out` as a step."""

    def made(x, w):
        out = np.empty((CHANNELS, SIZE, SIZE), np.float32)

        def run():
            function(x, w, out)
            return out

        return run

    return made


STEPS = {
    "1 the definition, compiled": filling(compiled(definition)),
    "2 rows inside": filling(columns_inside),
    "3 nine taps at a time": filling(nine_taps),
    "4 two filters at a time": filling(two_channels),
    "5 im2col and BLAS": filling(matrix_product),
    "6 a register tile: indirect": by_plan("indirect", "NHWC"),
    "7 Winograd, F(2x2, 3x3)": by_plan("winograd_2x2", "NHWC"),
    "8 Winograd, F(4x4, 3x3)": by_plan("winograd_4x4", "NHWC"),
}


def main():
    nc.set_num_threads(1)
    try:
        from threadpoolctl import threadpool_limits

        threadpool_limits(1, "blas")
    except ImportError:
        print("(without threadpoolctl, BLAS takes as many threads as it likes)")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((CHANNELS, SIZE + 2, SIZE + 2), dtype=np.float32)
    w = rng.standard_normal((CHANNELS, CHANNELS, 3, 3), dtype=np.float32)
    expected, scale = nc.conv2d(x, w, precision="strict"), nc.conv2d(abs(x), abs(w)).max()
    few = np.empty((1, 2, SIZE), np.float32)
    python = fastest(lambda: definition(x, w, few), 0) * CHANNELS * SIZE / 2  # of two rows of one channel
    steps = {name: made(x, w) for name, made in STEPS.items()}
    best = dict.fromkeys(steps, np.inf)
    for name, run in steps.items():
        error = np.abs(run() - expected).max() / scale
        assert error < 5e-6, f"{name}: error {error}"
    meter = Meter()
    for _ in range(5):  # in turns: the clock of a processor changes
        meter.round(0.02)
        for name, run in steps.items():
            best[name] = min(best[name], fastest(run, 0.1))
    peak = meter.ceilings()[0].fma["float32"]
    large = large_kernels(rng)
    print(f"one thread, peak {peak:.0f} GF/s; 3x3, {CHANNELS} to {CHANNELS} channels, {SIZE}x{SIZE} results")
    print(f"{'step':30} {'ms':>9} {'GF/s':>8} {'of the peak':>12} {'against 1':>10}")
    first = best["1 the definition, compiled"]
    for name, seconds in {"0 the definition, in Python": python, **best}.items():
        speed = FLOPS / seconds / 1e9
        print(f"{name:30} {seconds * 1e3:9.3f} {speed:8.3g} {speed / peak:12.2%} {first / seconds:10.3g}")
    print(f"\none picture of 512x512, milliseconds\n{'kernel':10} {'direct':>9} {'FFT':>9} {'separable':>10}")
    for size, times in large.items():
        print(f"{size:2} x {size:2}    {times['rows']:9.3f} {times['fft']:9.3f} {times['separable']:10.3f}")


def large_kernels(rng):
    """Milliseconds of three algorithms for each size of a kernel, Gaussian so that it is separable."""
    x = rng.standard_normal((1, 1, 512, 512), dtype=np.float32)
    found = {}
    for size in (7, 11, 15, 21, 31, 63):
        kernel = nc.kernels.gaussian(size / 6, size)[None, None].astype(np.float32)
        plans = {
            name: nc.plan("conv2d", x.shape, kernel, padding="same", algorithm=name)
            for name in ("rows", "fft", "separable")
        }
        outs = {name: plan(x) for name, plan in plans.items()}
        assert max(np.abs(outs["rows"] - out).max() for out in outs.values()) < 1e-4
        found[size] = {name: fastest(lambda plan=plan: plan(x), 0.1) * 1e3 for name, plan in plans.items()}
    return found


if __name__ == "__main__":
    main()
