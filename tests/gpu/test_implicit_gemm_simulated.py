"""The edges of implicit GEMM's tiles in the simulator, beyond the named cases."""

import numpy as np
import pytest
from gpu.elsewhere import arranged, call
from passes import LAYOUTS, error, problem_of, question

import numconv as nc
from numconv.lab.cases import ConvCase
from numconv.lab.reference import conv

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv.algorithm import rejection, table  # noqa: E402
from numconv.kernels.cuda import gemm_schedule, gemm_tile, memory, packing  # noqa: E402
from numconv.kernels.cuda.sweep import phases  # noqa: E402

TILES = [gemm_tile.LARGE, gemm_tile.NARROW, gemm_tile.WIDE, gemm_tile.SMALL]
formats = {"first": None, "last": "channels_last"}
both_layouts = pytest.mark.parametrize("layout", ["first", "last"])


def case(name, x_shape, co, kernel, stride=1, padding=0, dilation=1, groups=1):
    n, ci, *spatial = x_shape
    dims = len(spatial)
    stride, dilation = (stride,) * dims, (dilation,) * dims
    pads = ((padding, padding),) * dims
    return ConvCase(
        name, n, ci, co, tuple(spatial), kernel, stride, pads, dilation, groups, False, (0,) * dims, frozenset()
    )  # fmt: skip


@pytest.fixture
def only(monkeypatch):
    """Let products have one tile."""

    def choose(tile):
        monkeypatch.setattr(gemm_schedule, "EFFICIENCY", {tile: 1.0})
        gemm_schedule.schedule.cache_clear()

    yield choose
    gemm_schedule.schedule.cache_clear()


def check(asked_of, operation, layout, algorithm="implicit_gemm"):
    asked = question(asked_of, operation, "float32")
    actual = call(asked_of, operation, asked.operands, layout, algorithm=algorithm)
    assert error(actual, asked) <= 1e-6


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_tails_of_several_tiles(tile, layout, only):
    """Two blocks along both axes of the result, the second ones nearly empty; k's fill two slices and a part."""
    only(tile)
    images = 3 if tile.rows == 128 else 2
    check(case("tiled", (images, 4, 45), tile.columns + 4, (5,), padding=2), "conv1d", layout)


def named(operation):
    """The algorithm that is tested here."""
    return next(algorithm for algorithm in table(operation, "cuda") if algorithm.name == "implicit_gemm")


@both_layouts
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_tails_of_several_tiles_of_a_weight(tile, layout, only):
    only(tile)
    check(case("tiled", (2, tile.columns // 4 + 2, 10), tile.rows + 2, (4,), padding=1), "conv1d_weight", layout)


@both_layouts
@pytest.mark.parametrize("channels", [(300, 6), (260, 8)], ids=str)
def test_sums_in_parts(channels, layout):
    """Forward and input pass: few tiles, many k's. The second kernel applies the epilogue."""
    ci, co = channels
    deep = case("deep", (2, ci, 2, 3), co, (1, 1))
    problem = problem_of(deep, "conv2d", "float32", layout)
    algorithm = named("conv2d")
    assert algorithm.workspace(problem) >= 2 * 4 * np.prod(problem.result_shape)
    check(deep, "conv2d", layout)
    check(case("deep", (2, co, 2, 3), ci, (1, 1)), "conv2d_input", layout)


@both_layouts
def test_weights_in_parts(layout):
    many = case("many", (5, 4, 9, 8), 5, (2, 1))
    algorithm = named("conv2d_weight")
    problem = problem_of(many, "conv2d_weight", "float32", layout)
    assert algorithm.workspace(problem) >= 2 * 4 * np.prod(many.weight_shape)
    check(many, "conv2d_weight", layout)


SMALL_CASES = [
    case("as_many_taps_as_bits", (1, 2, 40), 3, (32,), padding=9),
    case("more_taps_than_bits", (2, 2, 40), 3, (35,), padding=20),
    case("more_taps_by_four_channels", (1, 4, 6, 7), 5, (6, 6), padding=3),
    case("flat_row", (1, 3, 9, 10), 4, (3, 5), stride=2, padding=2),
    case("flat_row_unpadded", (2, 5, 5, 8), 4, (2, 3)),
    case("flat_row_far_left", (1, 3, 3, 4), 4, (1, 5), padding=4),
    case("grouped_by_fours", (1, 16, 5, 6), 24, (3, 3), padding=1, groups=2),
    case("grouped_by_sixes", (1, 12, 4, 4), 18, (3, 3), padding=1, groups=3),
    case("deep_3d", (1, 8, 3, 4, 4), 9, (2, 3, 2), stride=2, padding=1),
    case("dilated_by_eights", (2, 8, 9, 8), 4, (3, 3), padding=2, dilation=2),
]


@both_layouts
@pytest.mark.parametrize("which", ["d", "d_input", "d_weight"])
@pytest.mark.parametrize("small", SMALL_CASES, ids=lambda c: c.name)
def test_ways_to_count(small, which, layout):
    check(small, f"conv{len(small.spatial)}{which}", layout)


@both_layouts
@pytest.mark.parametrize("shape, co", [((2, 4, 4, 6), 8), ((1, 3, 3, 5), 6)], ids=["by_four", "one_by_one"])
@pytest.mark.parametrize("parts", [1, 2])
def test_epilogue(shape, co, parts, layout):
    rng = np.random.default_rng(1)
    shape = (shape[0], 290, *shape[2:]) if parts == 2 else shape
    x = rng.standard_normal(shape).astype("f4")
    weight = rng.standard_normal((co, shape[1], 1, 1)).astype("f4")
    bias, residual = rng.standard_normal(co).astype("f4"), rng.standard_normal((shape[0], co, *shape[2:])).astype("f4")
    expected = conv(x.astype(float), weight.astype(float), bias.astype(float)) + residual
    for activation, after in ((None, expected), (("leaky_relu", 0.5), np.where(expected > 0, expected, expected / 2))):
        if parts == 2 and activation is None:
            continue
        actual = nc.conv2d(
            arranged(x, layout), nc.cuda.to_device(weight), nc.cuda.to_device(bias), algorithm="implicit_gemm",
            residual=arranged(residual, layout), activation=activation, data_format=formats[layout],
        )  # fmt: skip
        actual = nc.cuda.to_host(actual)
        actual = np.moveaxis(actual, -1, 1) if layout == "last" else actual
        assert np.abs(actual - after).max() <= 1e-6 * np.abs(x).sum(1).max() * np.abs(weight).max()


def test_im2col_in_bands(monkeypatch):
    """Patches of two bands, of whole tiles of rows each."""
    monkeypatch.setattr(nc.options, "workspace_limit", 4 * 128 * 6)
    for layout in ("last", "last_in_first_memory"):
        check(case("banded", (2, 2, 80), 5, (3,), padding=1), "conv1d", layout, "im2col")
    monkeypatch.undo()


def test_no_channels_are_nothing_to_lay_out():
    check(case("no_channels", (2, 0, 5), 4, (3,), padding=1), "conv1d", "last", "im2col")


def test_nan_stays_where_its_windows_are():
    """Padded k's multiply zeros of the weight with what lies next to a window: that is never read."""
    x = np.ones((1, 3, 4, 9), "f4")
    x[0, :, 1, 6] = np.nan
    weight = np.ones((4, 3, 2, 5), "f4")
    for layout in ("first", "last"):
        y = nc.conv2d(
            arranged(x, layout), nc.cuda.to_device(weight), algorithm="implicit_gemm",
            data_format=formats[layout],
        )  # fmt: skip
        y = nc.cuda.to_host(y)
        y = np.moveaxis(y, -1, 1) if layout == "last" else y
        np.testing.assert_array_equal(np.isnan(y), np.isnan(conv(x.astype(float), weight.astype(float))))


def test_rejections():
    for shape, weight, dtype, words in (
        ((1, 8, 4, 4), (8, 8, 3, 3), "float64", "float32"),
        ((1, 8, 4, 4), (8, 1, 3, 3), "float32", "one channel a group"),
    ):
        problem = nc.ConvProblem.make("conv2d", shape, weight, dtype, groups=8 // weight[1])
        for operation in ("conv2d", "conv2d_input", "conv2d_weight"):
            of_pass = problem if operation == "conv2d" else problem.with_operation(operation)
            assert words in rejection(named(operation), of_pass)


def test_the_stem_is_counted_by_flat_rows():
    """Channels last 7 taps of 3 channels are 21 neighbours, counted as 24; channels first each number finds its tap."""
    for last, expected in ((True, (21, 24, 7)), (False, (3, 3, 49))):
        problem = nc.ConvProblem.make(
            "conv2d", (8, 224, 224, 3) if last else (8, 3, 224, 224), (64, 3, 7, 7), "f4", stride=2, padding=3,
            data_format="channels_last" if last else None,
        )  # fmt: skip
        (phase,) = phases(problem)
        assert packing.terms(phase, problem.layout_in)[2:] == expected


def test_what_begins_between_16_bytes_is_copied():
    buffer = memory.to_device(np.arange(9, dtype="f4"))
    shifted = memory.part(buffer, 0, 1, 9)
    assert not memory.aligned(shifted) and memory.aligned(memory.contiguous(shifted))
    np.testing.assert_array_equal(memory.to_host(shifted), np.arange(1, 9))


def test_a_schedule_keeps_to_its_workspace():
    for room in (0, 1 << 20, 1 << 26):
        plan = gemm_schedule.schedule(64, 576, 200_000, 1, 1 << 20, room)
        assert plan.parts * 4 * 64 * 576 <= max(room, 4 * 64 * 576)
        assert (plan.parts - 1) * plan.slices < 25_000 <= plan.parts * plan.slices


def largest_error(depth, parts):
    """Of 2000 sums of products of one sign, each in parts as kernels add them; in sums of the largest."""
    rng = np.random.default_rng(4)
    a, b = rng.random((2, depth, 2000)).astype("f4")
    exact = (a.astype(float) * b).sum(0)
    each, total = -(-depth // parts), np.zeros(2000, "f4")
    for start in range(0, depth, each):
        part = np.zeros(2000, "f4")
        for k in range(start, min(start + each, depth)):
            part = (part + a[k].astype(float) * b[k]).astype("f4")
        total += part
    return np.abs(total - exact).max() / exact.max()


@pytest.mark.parametrize("depth, precision", [(256, "strict"), (2304, "strict"), (6144, "default")])
def test_sums_in_pieces_keep_to_their_bound(depth, precision):
    parts = gemm_schedule.pieces(depth, precision)
    assert largest_error(depth, parts) <= gemm_schedule.error_bound(precision)
    assert precision == "default" or depth == 256 or largest_error(depth, 1) > 1e-6


@both_layouts
def test_strict_sums_add_to_the_result_so_far(layout, monkeypatch):
    """Where blocks do not share a tile: bias and activation come with the last piece, the residual with the first."""
    monkeypatch.setattr(gemm_schedule, "FEWEST", 1 << 30)
    gemm_schedule.schedule.cache_clear()
    rng = np.random.default_rng(5)
    x, weight = rng.standard_normal((1, 264, 1, 5)).astype("f4"), rng.standard_normal((3, 264, 1, 1)).astype("f4")
    bias, residual = rng.standard_normal(3).astype("f4"), rng.standard_normal((1, 3, 1, 5)).astype("f4")
    out = arranged(residual, layout)
    nc.conv2d(
        arranged(x, layout), nc.cuda.to_device(weight), nc.cuda.to_device(bias), residual=out, out=out,
        activation="relu", data_format=formats[layout], algorithm="implicit_gemm", precision="strict",
    )  # fmt: skip
    gemm_schedule.schedule.cache_clear()
    expected = np.maximum(conv(x.astype(float), weight.astype(float), bias.astype(float)) + residual, 0)
    actual = nc.cuda.to_host(out)
    actual = np.moveaxis(actual, -1, 1) if layout == "last" else actual
    assert np.abs(actual - expected).max() <= 1e-6 * 264


def test_strict_sums_of_phases():
    strided = case("strided", (1, 3, 4), 264, (1,), stride=2)
    asked = question(strided, "conv1d_input", "float32")
    for layout in ("first", "last"):
        actual = call(strided, "conv1d_input", asked.operands, layout, algorithm="implicit_gemm", precision="strict")
        assert error(actual, asked) <= 1e-6
