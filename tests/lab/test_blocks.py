"""The parts that `lab.blocks` offers, and the examples that are made of them."""

import importlib.util
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core import serialize

import numconv as nc
from numconv.lab import blocks, check

EXAMPLES = Path(__file__).parents[2] / "examples"


def compiled(tile):
    @numba.njit
    def call(a, a_at, a_row, b, b_at, b_row, c, c_at, c_row, depth, some, columns, add):
        tile(a, a_at, a_row, b, b_at, b_row, c, c_at, c_row, depth, some, columns, add)

    return call


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tile_is_a_matrix_product(dtype):
    rows, vectors = 3, 2
    tile, most = blocks.tile(rows, vectors, dtype), vectors * blocks.lanes(dtype)
    call, rng = compiled(tile), np.random.default_rng(0)
    for some, columns, depth, add in ((3, most, 7, False), (2, most - 1, 300, True), (1, 1, 1, True), (3, 3, 0, True)):
        a_at, b_at, c_at, pitch = 5, 3, 2, most + 4
        # They end with the last number that the formula names.
        a = rng.standard_normal(a_at + (some - 1) * (depth + 2) + depth).astype(dtype)
        b = rng.standard_normal(b_at + max(depth - 1, 0) * pitch + columns).astype(dtype)
        c = rng.standard_normal(c_at + (some - 1) * pitch + columns).astype(dtype)
        expected, python = c.copy(), c.copy()
        for r in range(some):
            row = expected[c_at + r * pitch : c_at + r * pitch + columns]
            product = sum(a[a_at + r * (depth + 2) + k] * b[b_at + k * pitch :][:columns] for k in range(depth))
            row[:] = row * add + product
        numbers = (a, a_at, depth + 2, b, b_at, pitch)
        call(*numbers, c, c_at, pitch, depth, some, columns, add)
        tile(*numbers, python, c_at, pitch, depth, some, columns, add)
        for got in (c, python):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 if dtype == "float32" else 1e-12)
            outside = np.ones(c.size, bool)
            for r in range(some):
                outside[c_at + r * pitch : c_at + r * pitch + columns] = False
            assert np.array_equal(got[outside], expected[outside])


def test_tiles_are_made_once_and_must_fit():
    assert serialize.loads(serialize.dumps(blocks.tile(4, 2))) is blocks.tile(4, 2)
    with pytest.raises(AttributeError, match="tile_4"):
        blocks.tile_4  # noqa: B018
    assert blocks.tile(4, 2) is blocks.tile(4, 2)
    rows, vectors = blocks.size()
    blocks.tile(rows, vectors)
    with pytest.raises(ValueError, match=r"rows \* vectors .* got rows=40, vectors=2"):
        blocks.tile(40, 2)
    with pytest.raises(ValueError, match="rows"):
        blocks.tile(0, 1)
    with pytest.raises(ValueError, match=r"dtype must be .* got 'int32'"):
        blocks.tile(1, 1, "int32")


@numba.njit(parallel=True)
def in_parallel(tile_rows, a, b, c):
    for item in numba.prange(tile_rows):
        small(a, item * 8, 8, b, 0, 4, c, item * 4, 4, 8, min(1, tile_rows - item), 4, False)


small = blocks.tile(1, 1)


def test_the_unsigned_index_of_a_parallel_loop_is_taken():
    """Numba makes floats of what is computed with it."""
    a, b, c = np.ones(5 * 8, np.float32), np.ones(8 * 4, np.float32), np.zeros(5 * 4, np.float32)
    in_parallel(5, a, b, c)
    assert (c == 8).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_panels(dtype):
    weight = np.random.default_rng(0).standard_normal((2 * blocks.lanes(dtype) + 3, 5, 2, 3)).astype(dtype)
    columns = blocks.lanes(dtype)
    packed = blocks.panels(weight, columns).reshape(3, 6, 5, columns)
    padded = np.zeros((3 * columns, 5, 6), dtype)
    padded[: weight.shape[0]] = weight.reshape(-1, 5, 6)
    assert np.array_equal(packed, padded.reshape(3, columns, 5, 6).transpose(0, 3, 2, 1))
    assert np.array_equal(blocks.panels(weight), blocks.panels(weight, 2 * columns))
    with pytest.raises(ValueError, match=f"columns must be a multiple of {columns}, got 3"):
        blocks.panels(weight, 3)


def test_taps():
    weight = np.arange(24).reshape(2, 3, 4)
    taps = blocks.taps(weight)
    assert taps.shape == (4, 2, 3) and taps.flags.c_contiguous and taps[1, 0, 2] == weight[0, 2, 1]


@pytest.mark.parametrize("items, parts", [(10, 3), (2, 5), (0, 2), (7, 7)])
def test_shares_are_even_and_leave_nothing_out(items, parts):
    shares = [blocks.share(part, parts, items) for part in range(parts)]
    assert [i for low, past in shares for i in range(low, past)] == list(range(items))
    assert max(past - low for low, past in shares) - min(past - low for low, past in shares) <= 1
    assert numba.njit(lambda: blocks.share(1, 3, 10))() == (3, 6)


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


@pytest.mark.parametrize("name", ["blocks_pointwise", "blocks_3x3", "blocks_series"])
def test_examples_are_right_everywhere(name, registry):
    """As plain Python with every access recorded, and compiled between guard pages."""
    report = check(example(name), random=5)
    assert report.ok, str(report)


@pytest.mark.parametrize("name", ["blocks_pointwise", "blocks_3x3", "blocks_series"])
def test_examples_are_short(name):
    lines = (EXAMPLES / f"{name}.py").read_text("utf-8").splitlines()
    code = [line for line in lines[: lines.index('if __name__ == "__main__":')] if line.strip()]
    assert len(code) <= 50


def test_a_call_is_set_beside_the_peak():
    before = nc.get_num_threads()
    try:
        nc.set_num_threads(1)
        calls = []
        speed, peak = blocks.attained(lambda: calls.append(1), 1000.0, rounds=1, budget=0.001)
    finally:
        nc.set_num_threads(before)
    assert len(calls) >= 2 and speed > 0 and peak > 0
