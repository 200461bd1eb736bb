"""What the simulator makes of the instructions of a warp: layouts of fragments, and copies that land at the wait."""

import numpy as np
import pytest

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

import ml_dtypes  # noqa: E402
from gpu import warp_kernels  # noqa: E402

import numconv as nc  # noqa: E402
from numconv.kernels.cuda import memory, ptx  # noqa: E402

DTYPES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16, "float32": np.float32}


def on_device(array):
    return memory.flat(nc.cuda.to_device(array))


def filled(shape, dtype):
    return np.random.default_rng(3).standard_normal(shape).astype(DTYPES[dtype])


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_are_dealt_out_as_the_isa_says(count, transposed):
    x = np.arange(256, dtype=np.uint16)
    out = nc.cuda.to_device(np.zeros((32, 4), np.uint32))
    warp_kernels.loaded(count, transposed)(1, 32, on_device(x), memory.flat(out))
    registers = nc.cuda.to_host(out)
    matrices = x.reshape(4, 8, 8)
    for lane in range(32):
        row, column = lane // 4, 2 * (lane % 4)
        for m in range(count):
            pair = matrices[m, column : column + 2, row] if transposed else matrices[m, row, column : column + 2]
            assert registers[lane, m] == int(pair[0]) | int(pair[1]) << 16


def rounded(array, dtype):
    """In float64, float32 to 11 bits."""
    if dtype != "float32":
        return array.astype(np.float64)
    mantissa, exponent = np.frexp(array.astype(np.float64))
    return np.ldexp(np.round(mantissa * 2**11), exponent - 11)


def fragments(matrices, first_rows):
    """registers[lane] of 16- or 8-row matrices of 32 bytes: 4 bytes each, of row g (and g + 8), 4 t and 4 t + 16."""
    rows = matrices.view(np.uint32)  # eight words
    found = np.zeros((32, len(rows) // first_rows, 2 * first_rows // 8), np.uint32)
    for lane in range(32):
        g, t = lane // 4, lane % 4
        for tile in range(len(rows) // first_rows):
            places = [(g + down, t + 4 * right) for right in (0, 1) for down in range(0, first_rows, 8)]
            found[lane, tile] = [rows[first_rows * tile + row, word] for row, word in places]
    return found.reshape(32, -1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_warp_multiplies_matrices(dtype):
    k = 32 // np.dtype(DTYPES[dtype]).itemsize
    a, b = filled((32, k), dtype), filled((16, k), dtype)
    out = nc.cuda.to_device(np.zeros((32, 2, 2, 2, 2), np.float32))
    operands = on_device(fragments(a, 16)), on_device(fragments(b, 8))
    warp_kernels.multiplied(dtype, dtype == "float32")(1, 32, *operands, memory.flat(out))
    expected, sums = 1 + rounded(a, dtype) @ rounded(b, dtype).T, nc.cuda.to_host(out)
    for lane in range(32):
        g, t = lane // 4, lane % 4
        for row, column, down, right in np.ndindex(2, 2, 2, 2):
            there = expected[16 * row + 8 * down + g, 8 * column + 2 * t + right]
            assert sums[lane, row, column, down, right] == pytest.approx(there, rel=1e-6, abs=1e-6)


def test_float32_must_be_rounded_before():
    a, b = filled((32, 8), "float32"), filled((16, 8), "float32")
    out = nc.cuda.to_device(np.zeros(512, np.float32))
    with pytest.raises(ValueError, match="not rounded"):
        warp_kernels.multiplied("float32", False)(
            1, 32, on_device(fragments(a, 16)), on_device(fragments(b, 8)), memory.flat(out)
        )


@pytest.mark.parametrize("value, nearest", [(1 + 2**-11, 1 + 2**-10), (1 + 2**-12, 1), (-3e38, None), (np.inf, np.inf)])
def test_values_are_rounded_to_tf32(value, nearest):
    value = np.float32(value)
    got = ptx.round_tf32(value)
    assert got == (nearest if nearest is not None else rounded(value, "float32"))


def test_sums_reach_shared_memory():
    out = nc.cuda.to_device(np.zeros((16, 16), np.float32))
    warp_kernels.staged(24)(1, 32, memory.flat(out))
    assert (nc.cuda.to_host(out) == 100 * np.arange(16)[:, None] + np.arange(16)).all()


def copied(commits=True, most=0, meets=True, size=16, offset=0):
    x = np.arange(520, dtype=np.float32)
    out = nc.cuda.to_device(np.zeros(512, np.float32))
    warp_kernels.copied(commits, most, meets, size, offset)(1, 64, on_device(x), memory.flat(out))
    return nc.cuda.to_host(out)


def test_copies_have_landed_after_the_wait_and_a_barrier():
    assert (copied() == np.arange(512)).all()
    assert (copied(size=0) == 0).all()
    assert (copied(offset=4) == np.arange(512) + 4).all()


@pytest.mark.parametrize(
    "missing", [{"most": None}, {"commits": False}, {"most": 2}], ids=["no wait", "no commit", "a wait for too few"]
)
def test_copies_have_not_landed_without(missing):
    assert np.isnan(copied(**missing)).all()


def test_a_wait_leaves_the_latest_groups_under_way():
    got = copied(most=1)
    assert (got[:256] == np.arange(256)).all() and np.isnan(got[256:]).all()


def test_a_wait_is_for_the_copies_of_one_thread():
    assert np.isnan(copied(meets=False)[4:8]).all()


def test_copies_are_of_sixteen_aligned_bytes():
    with pytest.raises(IndexError, match="no multiple"):
        copied(offset=2)
    with pytest.raises(ValueError, match="0 or 16"):
        copied(size=8)
