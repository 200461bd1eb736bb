"""Users' kernels for a GPU, simulated: what they are handed, launches, epilogue, plans."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numba import cuda  # noqa: E402

import numconv as nc  # noqa: E402
from numconv import lab  # noqa: E402
from numconv.kernels.cuda import launch  # noqa: E402

there, back = nc.cuda.to_device, nc.cuda.to_host


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def convolve(x, w, out, stride, padding, dilation, groups):
    """A thread an element."""
    i = cuda.grid(1)
    if i < out.size:
        column, rest = i % out.shape[3], i // out.shape[3]
        row, rest = rest % out.shape[2], rest // out.shape[2]
        o, n = rest % out.shape[1], rest // out.shape[1]
        first = o // (out.shape[1] // groups) * w.shape[1]
        for c in range(w.shape[1]):
            for u in range(w.shape[2]):
                for v in range(w.shape[3]):
                    h, k = row * stride[0] + u * dilation[0], column * stride[1] + v * dilation[1]
                    out[n, o, row, column] += w[o, c, u, v] * x[n, first + c, h, k]


def maxima(x, out, indices, kernel, stride, padding, dilation):
    i = cuda.grid(1)
    if i < out.size:
        n, o = i // out.shape[2], i % out.shape[2]
        best, where = x[0, n, o * stride[0]], o * stride[0]
        for u in range(kernel[0]):
            place = o * stride[0] + u * dilation[0]
            if x[0, n, place] > best:
                best, where = x[0, n, place], place
        out[0, n, o], indices[0, n, o] = best, where


@pytest.mark.parametrize("jit", [lambda f: f, cuda.jit], ids=["plain", "jit"])
def test_a_convolution(jit, registry):
    mine = lab.kernel("conv2d", device="cuda", name="mine", grid=lambda p: 2 + p.n, block=lambda p: 64)(jit(convolve))
    assert mine.python is convolve
    x, w, b = normal(2, 4, 5, 6), normal(6, 2, 3, 3, seed=1), normal(6, seed=2)
    options = {"padding": ((1, 0), (2, 1)), "stride": 2, "groups": 2, "activation": "relu"}
    expected = nc.conv2d(x, w, b, **options)
    launches = []
    with launch.heard(lambda kernel, grid, block, *arguments: launches.append((kernel.name, grid, block))):
        assert_allclose(back(mine(there(x), there(w), there(b), **options)), expected, atol=1e-5)
    assert ("mine", 4, 64) in launches
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    actual = mine(there(last), there(w), there(b), data_format="NHWC", **options)
    assert_allclose(np.moveaxis(back(actual), -1, 1), expected, atol=1e-5)
    plan = nc.plan("conv2d", x.shape, there(w), there(b), algorithm="mine", **options)
    assert_allclose(back(plan(there(x))), expected, atol=1e-5)


def test_as_many_threads_as_elements_where_nothing_is_said(registry):
    mine = lab.kernel("conv2d", device="cuda", name="mine")(convolve)
    x, w = normal(1, 2, 9, 30), normal(2, 2, 2, 2, seed=1)
    launches = []
    with launch.heard(lambda kernel, grid, block, *arguments: launches.append((kernel.name, grid, block))):
        assert_allclose(back(mine(there(x), there(w))), nc.conv2d(x, w), atol=1e-5)
    assert ("mine", -(-2 * 8 * 29 // 128), 128) in launches


def test_maxima_with_indices(registry):
    lab.kernel("max_pool1d", device="cuda")(maxima)
    x = normal(1, 3, 10)
    for options in ({}, {"padding": 1, "ceil_mode": True}):
        found = nc.max_pool1d(there(x), 3, 2, return_indices=True, algorithm="maxima", **options)
        for actual, expected in zip(found, nc.max_pool1d(x, 3, 2, return_indices=True, **options), strict=True):
            assert_array_equal(back(actual), expected)
    assert_array_equal(back(nc.max_pool1d(there(x), 3, algorithm="maxima")), nc.max_pool1d(x, 3))


# checks: each in a process of its own, in which kernels are simulated


def test_a_check_of_a_right_kernel(registry):
    right = lab.kernel("conv2d", device="cuda", name="right", when=lambda p: p.flops < 800)(cuda.jit(convolve))
    report = lab.check(right, random=4)
    assert report.ok and list(report.asked) == ["simulated"] and report.asked["simulated"] > 3, report


@cuda.jit(device=True)
def neighbour(part, i):
    cuda.syncthreads()
    return part[i ^ 1]


def test_threads_that_wait_in_a_function(registry):
    @lab.kernel("global_avg_pool", device="cuda", block=2, grid=lambda p: p.n * p.channels, when=lambda p: p.flops < 99)
    @cuda.jit
    def mine(x, out):
        part = cuda.shared.array(2, np.float32)
        i, n, c = cuda.threadIdx.x, cuda.blockIdx.x // x.shape[1], cuda.blockIdx.x % x.shape[1]
        part[i] = 0
        for k in range(i, x.shape[2], 2):
            part[i] += x[n, c, k]
        other = neighbour(part, i)
        if i == 0:
            out[n, c, 0] = (part[i] + other) / x.shape[2]

    report = lab.check(mine, random=4)
    assert report.ok, report


def test_an_error_in_a_thread_that_waits_is_shown_with_its_line(registry):
    @lab.kernel("global_avg_pool", device="cuda", grid=1)
    @cuda.jit
    def mine(x, out):
        cuda.syncthreads()
        raise ValueError("not yet")

    (failure,) = lab.check(mine, random=0).failures
    assert failure.kind == "raises" and failure.message.endswith("not yet") and failure.place[0] == __file__


def test_atomic_operations_are_no_race(registry):
    @lab.kernel("global_avg_pool", device="cuda", when=lambda p: p.flops < 100, grid=1, block=4)
    def mine(x, out):
        for n in range(x.shape[0]):
            for c in range(x.shape[1]):
                for i in range(cuda.threadIdx.x, x.shape[2], 4):
                    cuda.atomic.add(out, (n, c, 0), x[n, c, i] / x.shape[2])

    assert lab.check(mine, random=4).ok


@pytest.mark.parametrize("line, kind, words", [
    ("out[0, 0, out.size + cuda.grid(1)] = 1", "out of bounds", ", in thread (0, 0, 0) of block (0, 0, 0): its shape"),
    ("out[0, 0, 0] = cuda.grid(1)", "race", "thread (1, 0, 0) of block (0, 0, 0) writes out[0, 0, 0]"),
    ("x[0, 0, 0] = 1", "changes its input", "writes x[0, 0, 0], an operand"),
    ("cuda.syncthreads(); out[0, 0, 0] = cuda.blockIdx.x", "race", "block (1, 0, 0) writes out[0, 0, 0]"),
])  # fmt: skip
def test_a_check_of_a_wrong_kernel(line, kind, words, registry):
    names = {"lab": lab, "cuda": cuda}
    exec(
        "@lab.kernel('conv1d', device='cuda', grid=2, block=4)\n@cuda.jit\n"
        f"def mine(x, w, out, stride, padding, dilation, groups):\n    {line}\n",
        names,
    )
    report = lab.check(names["mine"], random=4)
    (failure,) = report.failures
    assert failure.kind == kind and words in failure.message and failure.mode == "simulated", report


def test_a_part_of_an_array_has_no_negative_index(registry):
    @lab.kernel("conv1d", device="cuda")
    def mine(x, w, out, stride, padding, dilation, groups):
        row = x[0, 0]
        if cuda.grid(1) == 0:
            out[0, 0, 0] = row[-1]

    with pytest.raises(IndexError, match="negative"):
        mine(there(normal(1, 1, 4)), there(normal(1, 1, 2)))
