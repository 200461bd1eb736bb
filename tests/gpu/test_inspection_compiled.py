"""What `inspect` sees in kernels for a GPU; each advice with a kernel that earns it and one that does not."""

import json

import numba
import numpy as np
import pytest

pytestmark = pytest.mark.ptx
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv import lab  # noqa: E402
from numconv.extras import MissingExtra  # noqa: E402
from numconv.kernels.cuda import toolkit  # noqa: E402
from numconv.lab.inspection import inspect  # noqa: E402

toolkit.load()
from numba import cuda  # noqa: E402

GRID, LINE = numba.float32[:, ::1], numba.float32[::1]


@cuda.jit
def by_column(x, w, out):
    j = cuda.grid(1)
    if j < x.shape[1]:
        s = np.float32(0)
        for i in range(x.shape[0]):
            s += x[i, j] * w[i]
        out[0, j] = s


@cuda.jit
def by_row(x, w, out):
    i = cuda.grid(1)
    if i < x.shape[0]:
        s = np.float32(0)
        for j in range(x.shape[1]):
            s += x[i, j] * w[j]
        out[i, 0] = s


@cuda.jit
def in_double(x, w, out):
    j = cuda.grid(1)
    if j < x.shape[1]:
        s = 0.0
        for i in range(x.shape[0]):
            s += x[i, j] * w[i]
        out[0, j] = s


@cuda.jit
def divided(x, w, out):
    i, j = divmod(cuda.grid(1), x.shape[1])
    if i < x.shape[0]:
        out[i, j] = x[i, j] * w[0]


@cuda.jit
def in_memory(x, w, out):
    j = cuda.grid(1)
    if j < x.shape[1]:
        for i in range(x.shape[0]):
            out[0, j] += x[i, j] * w[i]


@cuda.jit
def in_shared_memory(x, w, out):
    tile = cuda.shared.array((32, 33), numba.float32)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    tile[i, j] = x[j, i]
    cuda.syncthreads()
    out[j, i] = tile[i, j] * w[0]


@cuda.jit
def in_strides(x, w, out):
    for j in range(cuda.grid(1), x.shape[1], cuda.gridsize(1)):
        out[0, j] = x[0, j] * w[0] + w[1]


@cuda.jit
def in_strides_by_row(x, w, out):
    for i in range(cuda.grid(1), x.shape[0], cuda.gridsize(1)):
        out[i, 0] = x[i, 0] * w[0] + w[1]


@cuda.jit
def on_the_stack(x, w, out):
    j = cuda.grid(1)
    sums = cuda.local.array(16, numba.float32)
    for k in range(16):
        sums[k] = x[0, k]
    for i in range(x.shape[0]):
        sums[int(w[i]) & 15] += x[i, j]
    out[0, j] = sums[int(w[0]) & 15]


def with_sums(count, most):
    """A thread of so many sums, which are all needed until the end, in a block of so many threads at most."""

    @cuda.jit(launch_bounds=most)
    def kernel(x, w, out):
        j = cuda.grid(1)
        sums = cuda.local.array(count, numba.float32)
        for k in range(count):
            sums[k] = np.float32(0)
        for i in range(x.shape[0]):
            for k in range(count):
                sums[k] += x[i, j] * w[i + k]
        for k in range(count):
            out[k, j] = sums[k]

    return kernel


def seen(kernel, **more):
    try:
        return inspect(kernel, GRID, LINE, GRID, **more)
    except MissingExtra as error:
        pytest.skip(str(error))


def says(result, text):
    return [sentence for sentence in result.advice if text in sentence]


@pytest.mark.parametrize("text, kernel, other", [
    ("uncoalesced: neighbouring threads differ in i", lambda: by_row, lambda: by_column),
    ("uncoalesced", lambda: by_row, lambda: in_shared_memory),
    ("uncoalesced", lambda: in_strides_by_row, lambda: in_strides),
    ("float64 arithmetic on float32", lambda: in_double, lambda: by_column),
    ("divisions of 64-bit integers", lambda: divided, lambda: by_column),
    ("stores out[0, j] (line", lambda: in_memory, lambda: in_strides),
    ("bytes of stack", lambda: on_the_stack, lambda: by_column),
    ("bytes spill", lambda: with_sums(100, 1024), lambda: with_sums(8, 1024)),
    ("registers a thread", lambda: with_sums(120, 128), lambda: with_sums(8, 128)),
])  # fmt: skip
def test_each_advice_is_earned(text, kernel, other):
    assert says(seen(kernel()), text)
    assert not says(seen(other()), text)


def test_as_many_registers_as_the_launch_has():
    kernel = cuda.jit(max_registers=32)(with_sums(64, None).py_func)
    assert seen(kernel).registers <= 32 and says(seen(kernel), "bytes spill")


def test_the_first_axis_is_the_inner_one_in_fortrans_order():
    columns = numba.float32[::1, :]
    try:
        assert not says(inspect(by_row, columns, LINE, columns), "uncoalesced")
    except MissingExtra as error:
        pytest.skip(str(error))


def test_kernels_of_the_laboratory_are_looked_at_without_a_gpu(registry):
    @lab.kernel("conv1d", device="cuda", block=128)
    @cuda.jit
    def a_thread_each(x, w, out, stride, padding, dilation, groups):
        i = cuda.grid(1)
        if i < out.shape[2]:
            for n in range(out.shape[0]):
                for o in range(out.shape[1]):
                    total = np.float32(0)
                    for c in range(w.shape[1]):
                        for k in range(w.shape[2]):
                            total += w[o, c, k] * x[n, c, i * stride[0] + k * dilation[0]]
                    out[n, o, i] = total

    try:
        result = inspect(a_thread_each)
    except MissingExtra as error:
        pytest.skip(str(error))
    assert result.name == "a_thread_each" and result.loop["FFMA"] > 0 and not says(result, "uncoalesced")


@pytest.mark.parametrize("cc", [(9, 0), (8, 0)])
def test_figures_are_those_of_the_code(cc):
    result = seen(by_column, cc=cc)
    assert result.cc == cc and result.spills == result.stack == result.shared == 0 and result.advice == []
    assert result.loop["FFMA"] >= 1 and result.ptx["global loads"] >= 2
    text = str(result)
    assert text.startswith("by_column: @cuda.jit for sm_") and max(map(len, text.splitlines())) <= 100
    assert json.loads(json.dumps(result.to_dict()))["registers"] == result.registers
