"""A convolution on a GPU in steps, from one thread a result to a tile in registers; docs/gpu.md tells the story.

The layer is a 3x3 convolution of 128 to 128 channels, channels last, without padding. For each step this prints what
the machine code of its innermost loop holds for each multiply-add; with a GPU also how long it takes, with
`NUMBA_ENABLE_CUDASIM=1` whether a small layer is right. Needs the extras `cuda` and `cuda-tools`.
"""

import sys

import numpy as np

import numconv as nc

if not nc.cuda.is_available() and "numba-cuda" in nc.cuda.info()["missing"]:
    sys.exit(f"{nc.cuda.info()['missing']}; nothing to show")

from numba import cuda, float32, types, uint32

from numconv.extras import MissingExtra
from numconv.kernels.cuda import launch, memory
from numconv.lab import sass

BLOCK = 256
LAYER = 64, 30, 128, 128  # images, their side, source and result channels


@launch.kernel(threads=BLOCK)
def naive(n, size, ci, co):
    """One thread a result; arrays have four axes."""

    def body(x, weight, out):
        i = cuda.grid(1)
        if i < out.size:
            o, rest = i % co, i // co
            column, rest = rest % (size - 2), rest // (size - 2)
            row, image = rest % (size - 2), rest // (size - 2)
            total = float32(0)
            for ky in range(3):
                for kx in range(3):
                    for c in range(ci):
                        total += x[image, row + ky, column + kx, c] * weight[ky, kx, c, o]
            out[image, row, column, o] = total

    return body


@launch.kernel(threads=BLOCK)
def flat(n, size, ci, co):
    """The same with flat arrays, sizes built in, unsigned indices, and a `while` loop, which compiles better."""
    side = size - 2

    def body(x, weight, out):
        i = uint32(cuda.grid(1))
        if i < n * side * side * co:
            o, pixel = uint32(i % uint32(co)), uint32(i // uint32(co))
            column, rest = uint32(pixel % uint32(side)), uint32(pixel // uint32(side))
            row, image = uint32(rest % uint32(side)), uint32(rest // uint32(side))
            total = float32(0)
            for ky in range(3):
                for kx in range(3):
                    at = uint32(((image * size + row + ky) * size + column + kx) * ci)
                    of = uint32((ky * 3 + kx) * ci * co + o)
                    c = uint32(0)
                    while c < ci:
                        total += x[uint32(at + c)] * weight[uint32(of + c * co)]
                        c = uint32(c + 1)
            out[i] = total

    return body


def tiled(rows, columns, depth, each):
    """A kernel whose blocks compute rows x columns results (pixels x channels), each thread each x each of them.

    A slice of `depth` products is brought to shared memory, where all threads of the block read it.
    """
    across, down = columns // each, rows // each
    threads, image_floats, weight_floats, results = across * down, depth * rows, depth * columns, each * each

    @launch.kernel(threads=threads)
    def step(n, size, ci, co):
        side = size - 2
        pixels, products = n * side * side, 9 * ci

        def body(x, weight, out):
            image_slice = cuda.shared.array(image_floats, float32)
            weight_slice = cuda.shared.array(weight_floats, float32)
            t = uint32(cuda.threadIdx.x)
            first, first_o = uint32(cuda.blockIdx.x * rows), uint32(cuda.blockIdx.y * columns)
            mine, mine_o = uint32(t // uint32(across)), uint32(t % uint32(across))
            sums = cuda.local.array(results, float32)
            left, right = cuda.local.array(each, float32), cuda.local.array(each, float32)
            for i in range(results):
                sums[i] = float32(0)
            start = uint32(0)
            while start < products:
                e = t
                while e < image_floats:
                    k, r = uint32(start + e % uint32(depth)), uint32(first + e // uint32(depth))
                    value = float32(0)
                    if k < products and r < pixels:
                        tap, c = uint32(k // uint32(ci)), uint32(k % uint32(ci))
                        column, rest = uint32(r % uint32(side)), uint32(r // uint32(side))
                        row, picture = uint32(rest % uint32(side)), uint32(rest // uint32(side))
                        y, z = uint32(row + tap // uint32(3)), uint32(column + tap % uint32(3))
                        value = x[uint32(((picture * size + y) * size + z) * ci + c)]
                    image_slice[uint32(e % uint32(depth) * rows + e // uint32(depth))] = value
                    e = uint32(e + threads)
                e = t
                while e < weight_floats:
                    k, o = uint32(start + e // uint32(columns)), uint32(first_o + e % uint32(columns))
                    value = float32(0)
                    if k < products and o < co:
                        value = weight[uint32(k * co + o)]
                    weight_slice[e] = value
                    e = uint32(e + threads)
                cuda.syncthreads()
                for k in range(depth):
                    for i in range(each):
                        left[i] = image_slice[uint32(k * rows + mine + i * down)]
                    for j in range(each):
                        right[j] = weight_slice[uint32(k * columns + mine_o + j * across)]
                    for i in range(each):
                        for j in range(each):
                            sums[i * each + j] += left[i] * right[j]
                cuda.syncthreads()
                start = uint32(start + depth)
            for i in range(each):
                r = uint32(first + mine + i * down)
                for j in range(each):
                    o = uint32(first_o + mine_o + j * across)
                    if r < pixels and o < co:
                        out[uint32(r * co + o)] = sums[i * each + j]

        return body

    step.grid = lambda n, size, co: (launch.blocks(n * (size - 2) ** 2, rows), launch.blocks(co, columns))
    step.block = threads
    return step


STEPS = {
    "1 one thread a result": naive,
    "2 flat, built in, unsigned": flat,
    "3 a tile in shared memory": tiled(16, 16, 16, 1),
    "4 a tile in registers, 4x4": tiled(64, 64, 16, 4),
    "5 a larger one, 8x8": tiled(128, 128, 8, 8),
}


LIBRARY = "6 the library's"


def run(step, x, weight, out):
    """Launch a step on device arrays of four axes."""
    n, size, _, ci = x.shape
    co = out.shape[3]
    grid = step.grid(n, size, co) if hasattr(step, "grid") else launch.blocks(out.size, BLOCK)
    arrays = (x, weight, out) if step is naive else map(memory.flat, (x, weight, out))
    step(n, size, ci, co)(grid, getattr(step, "block", BLOCK), *arrays)


def layer(n, size, ci, co):
    """Operands on the device, and the result that is expected of them."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((n, size, size, ci), np.float32), rng.standard_normal((co, ci, 3, 3), np.float32)
    expected = nc.conv2d(x, weight, data_format="channels_last")
    packed = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
    return nc.cuda.to_device(x), nc.cuda.to_device(packed), nc.cuda.to_device(np.zeros_like(expected)), expected


def arguments(step):
    """The types of a step's arrays."""
    kind = types.Array(types.float32, 4 if step is naive else 1, "C")
    return kind, kind, kind


def main():
    simulated = nc.cuda.is_available() and nc.cuda.info()["simulated"]
    if simulated:
        for name, step in STEPS.items():
            x, weight, out, expected = layer(1, 5, 3, 5)
            run(step, x, weight, out)
            error = np.abs(nc.cuda.to_host(out) - expected).max()
            print(f"{name:<28} largest difference {error:.1e}")
            assert error < 1e-5
        return
    columns = ("per multiply-add: all", "from memory", "from shared", "registers", "milliseconds")
    print(" " * 28 + "".join(f"{c:>{len(c) + 2}}" for c in columns))
    codes = {name: sass.assembled(step(*LAYER), arguments(step), (9, 0)) for name, step in STEPS.items()}
    times = {name: timed(step) for name, step in STEPS.items()}
    codes[LIBRARY], times[LIBRARY] = library(), timed(None)
    for name, found in codes.items():
        products = found.count("FFMA", loop=True)
        counts = [sum(found.loop.values()), found.count("LDG", loop=True), found.count("LDS", loop=True)]
        cells = [f"{n / products:.2f}" for n in counts] + [str(found.registers), times[name]]
        print(f"{name:<28}" + "".join(f"{cell:>{len(c) + 2}}" for c, cell in zip(columns, cells)))


def library():
    """The code of the library's kernel for the layer: launches are noted in place of being done."""
    n, size, ci, co = LAYER
    x, weight = (memory.wrap(memory.FakeCUDAArray(np.empty(s, np.float32)))
                 for s in ((n, size, size, ci), (co, ci, 3, 3)))  # fmt: skip
    with launch.recorded() as launches:
        nc.conv2d(x, weight, data_format="channels_last", algorithm="implicit_gemm")
    return sass.assembled(launches[-1].kernel, launches[-1].types, (9, 0))


def timed(step):
    """Milliseconds of the layer at batch 64, where there is a GPU; of the library without a step."""
    if not nc.cuda.is_available():
        return "-"
    from numconv.lab.device_race import seconds_of

    x, weight, out, expected = layer(*LAYER)
    if step is None:
        plain = nc.cuda.to_device(nc.cuda.to_host(weight).transpose(3, 2, 0, 1))
        plan = nc.plan("conv2d", x.shape, plain, data_format="channels_last", algorithm="implicit_gemm")
        return f"{seconds_of(lambda: plan(x, out=out), 0.1, 5) * 1e3:.3f}"
    run(step, x, weight, out)
    assert np.abs(nc.cuda.to_host(out) - expected).max() < 1e-3
    return f"{seconds_of(lambda: run(step, x, weight, out), 0.1, 5) * 1e3:.3f}"


if __name__ == "__main__":
    try:
        main()
    except MissingExtra as error:
        sys.exit(str(error))
