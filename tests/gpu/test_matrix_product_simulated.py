"""Products of matrices in the simulator, against NumPy in float64."""

import numpy as np
import pytest

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv.kernels.cuda import emulated, gemm_schedule, gemm_tile, memory  # noqa: E402
from numconv.kernels.cuda.matrix_product import planned, product  # noqa: E402
from numconv.kernels.cuda.simulator import GuardedArray, simulate  # noqa: E402

# (rows, terms, columns): tails of each, several tiles, parts of a sum, and nothing to sum.
SHAPES = [(1, 1, 1), (5, 7, 3), (70, 40, 68), (130, 11, 129), (3, 300, 10), (64, 256, 64), (3, 0, 4), (0, 3, 4)]


def check(rows, depth, columns, transpose_b, bias=True, activation=None):
    rng = np.random.default_rng(3)
    a, b, added = (rng.standard_normal(s).astype("f4") for s in ((rows, depth), (depth, columns), (columns,)))
    out = memory.empty((rows, columns), "f4")
    product(
        memory.to_device(a), memory.to_device(b.T if transpose_b else b), out, transpose_b=transpose_b,
        bias=memory.to_device(added) if bias else None, activation=activation,
    )  # fmt: skip
    expected = a.astype(float) @ b + (added if bias else 0)
    scale = np.max(np.abs(a.astype(float)) @ np.abs(b), initial=1)
    if activation == "relu":
        expected = np.maximum(expected, 0)
    assert np.abs(memory.to_host(out) - expected).max(initial=0) <= 1e-6 * scale


@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_numpy(shape, transpose_b):
    check(*shape, transpose_b, activation="relu")


@pytest.mark.parametrize("tile", [gemm_tile.NARROW, gemm_tile.LARGE], ids=str)
@pytest.mark.parametrize("shape", [(130, 12, 130), (20, 19, 68)], ids=str)
def test_larger_tiles(tile, shape, monkeypatch):
    monkeypatch.setattr(gemm_schedule, "EFFICIENCY", {tile: 1.0})
    gemm_schedule.schedule.cache_clear()
    try:
        assert planned(shape[0], shape[2], shape[1]).tile == tile
        for transpose_b in (False, True):
            check(*shape, transpose_b, bias=False)
    finally:
        gemm_schedule.schedule.cache_clear()


def test_a_thread_adds_the_products_of_its_numbers():
    """What NumPy does in its place in the other tests."""
    tile = gemm_tile.SMALL
    row = tile.columns + gemm_tile.PAD
    step = gemm_tile.products(gemm_tile.DEPTH, tile)
    a, b = np.random.default_rng(2).standard_normal((2, gemm_tile.DEPTH * row + 8)).astype("f4")
    sums, expected = np.ones(64, "f4"), np.ones(64, "f4")

    def body(a, b, sums):
        step(a, b, 4, 8, sums)

    simulate(body, 1, 1, (a, b, sums))
    emulated.products(gemm_tile.DEPTH, row, row)(*map(GuardedArray, (a, b)), 4, 8, GuardedArray(expected))
    np.testing.assert_allclose(sums, expected, atol=1e-5)
