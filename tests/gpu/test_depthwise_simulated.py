"""The edges of depthwise and grouped convolution in the simulator: tails of tiles and blocks, cut lines, slices."""

import numpy as np
import pytest
from gpu.elsewhere import call
from passes import error, question

import numconv as nc
from numconv.lab import reference
from numconv.lab.cases import ConvCase

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv.algorithm import table  # noqa: E402
from numconv.kernels.cuda import depthwise_weight, launch, line_tile, memory  # noqa: E402


def case(name, x_shape, co, kernel, stride=1, padding=0, dilation=1, groups=1):
    n, ci, *spatial = x_shape
    each = [v if isinstance(v, tuple) else (v,) * len(spatial) for v in (kernel, stride, padding, dilation)]
    kernel, stride, padding, dilation = each
    pairs, none = tuple((p, p) for p in padding), (0,) * len(spatial)
    spatial = tuple(spatial)
    return ConvCase(name, n, ci, co, spatial, kernel, stride, pairs, dilation, groups, False, none, frozenset())


DEPTHWISE = (
    case("chunks_of_unlike_size", (3, 36, 7, 9), 36, 3, 1, 1, groups=36),  # 9 vectors of channels in two blocks
    case("blocks_of_rows", (5, 8, 19, 5), 8, 3, 1, 1, groups=8),
    case("many_tiles_along_both_axes", (1, 4, 19, 21), 4, 3, 1, 1, groups=4),
    case("cut_line", (1, 4, 9, 25), 4, (1, 19), 1, (0, 9), groups=4),
    case("cut_line_across", (1, 4, 25, 5), 4, (19, 1), 1, (9, 0), groups=4),
    case("far_apart_taps", (1, 4, 12, 24), 4, 3, 1, (4, 9), (4, 9), groups=4),
    case("far_padding", (1, 4, 5, 5), 4, 3, 1, 6, groups=4),
    case("stride_beyond_columns", (1, 4, 20, 39), 4, 2, (3, 18), 1, groups=4),
    case("input_pass_without_taps", (1, 4, 7, 11), 4, 2, 3, 0, groups=4),
    case("one_column", (2, 8, 6, 3), 8, 3, groups=8),
    case("multiplier_2", (1, 3, 5, 6), 6, 3, 1, 1, groups=3),
    case("multiplier_8", (1, 2, 5, 6), 16, 3, 1, 1, groups=2),
    case("two_slices", (2, 32, 12, 16), 32, (8, 1), 1, 0, groups=32),
    case("deep", (1, 4, 4, 3, 5), 4, (2, 3, 3), (2, 1, 1), 1, groups=4),
    case("row", (2, 4, 21), 4, 5, 2, 2, groups=4),
)
GROUPED = (
    case("four_to_four", (1, 8, 5, 9), 8, 3, 1, 1, groups=2),
    case("eight_to_eight", (1, 16, 4, 5), 16, 3, 2, 1, groups=2),
    case("three_to_six", (1, 6, 6, 5), 12, 3, 1, 1, 2, groups=2),
    case("six_to_one", (1, 12, 4, 5), 2, 2, groups=2),
    case("seven_taps", (1, 8, 3, 18), 8, (1, 7), 1, (0, 3), groups=2),  # the line is cut: 512 products a column of taps
    case("deep", (1, 8, 2, 3, 4), 8, 2, 1, 1, groups=2),
)
ALL = [pytest.param(c, "depthwise", id=f"depthwise-{c.name}") for c in DEPTHWISE]
ALL += [pytest.param(c, "grouped", id=f"grouped-{c.name}") for c in GROUPED]


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("form", ["conv{}d", "conv{}d_input", "conv{}d_weight"])
@pytest.mark.parametrize("given, algorithm", ALL)
def test_edges(given, algorithm, form, layout):
    operation = form.format(len(given.spatial))
    if operation.endswith("_input") and algorithm == "depthwise" and given.co != given.ci:
        algorithm = "grouped"  # each group sums over several channels
    asked = question(given, operation, "float32")
    actual = call(given, operation, asked.operands, layout, algorithm=algorithm)
    assert actual.dtype == np.float32 and error(actual, asked) <= 1e-6


def cut(name, data_format):
    """How the weight pass of a case is cut."""
    c = next(c for c in DEPTHWISE if c.name == name)
    shape = c.x_shape if data_format is None else (c.n, *c.spatial, c.ci)
    problem = nc.ConvProblem.make("conv2d", shape, c.weight_shape, data_format=data_format, **c.options)
    return depthwise_weight.works(problem.with_operation("conv2d_weight"))[0]


def test_cases_cross_what_they_are_named_for():
    assert cut("two_slices", "channels_last").grid[1] == 2
    assert cut("cut_line_across", None).lines.cuts > 1 and cut("cut_line", "channels_last").lines.cuts > 1
    assert launch.blocks(cut("chunks_of_unlike_size", "channels_last").lines.vectors, 8) == 2
    several_blocks_of_rows = cut("cut_line", None)
    assert several_blocks_of_rows.all_rows > several_blocks_of_rows.rows


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("operation", ["conv2d", "conv2d_input", "conv2d_weight"])
@pytest.mark.parametrize("given, algorithm", [ALL[0], ALL[len(DEPTHWISE)]])
def test_other_floats(given, algorithm, operation, dtype, layout):
    import ml_dtypes

    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    asked = question(given, operation, "float64")
    operands = tuple(a.astype(kind) for a in asked.operands)
    actual = call(given, operation, operands, layout, algorithm=algorithm)
    assert actual.dtype == kind
    assert error(actual.astype(np.float64), asked) <= {"float64": 1e-12, "float16": 4e-3, "bfloat16": 3e-2}[dtype]


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("activation", [None, "relu6", ("leaky_relu", 0.25), "silu"])
@pytest.mark.parametrize("given, algorithm", [ALL[1], ALL[len(DEPTHWISE) + 1]])
def test_epilogue(given, algorithm, activation, layout):
    rng = np.random.default_rng(3)
    asked = question(given, "conv2d", "float32")
    residual = rng.standard_normal(asked.expected.shape).astype(np.float32)
    there = np.moveaxis(residual, 1, -1) if layout == "last" else residual
    actual = call(
        given, "conv2d", asked.operands, layout, algorithm=algorithm, activation=activation,
        residual=nc.cuda.to_device(there),
    )  # fmt: skip
    expected = asked.expected + residual
    if activation is not None:
        expected = reference.activate(activation, expected)
    assert np.abs(actual - expected).max() <= 1e-6 * asked.scale


@pytest.mark.parametrize("operation", ["conv2d", "conv2d_weight"])
@pytest.mark.parametrize("given, algorithm", [ALL[1], ALL[len(DEPTHWISE)]])
def test_arrays_that_start_between_vectors(given, algorithm, operation):
    """A view one element into a larger array cannot be read by 128 bits."""
    asked = question(given, operation, "float32")
    x = np.moveaxis(asked.operands[0], 1, -1)
    flat = nc.cuda.to_device(np.concatenate([np.full(1, np.nan, np.float32), x.reshape(-1)]))
    shifted = memory.reshape(memory.part(flat, 0, 1, flat.size), x.shape)
    assert not memory.aligned(shifted)
    options = given.options | {"data_format": "channels_last", "algorithm": algorithm}
    if operation == "conv2d":
        actual = nc.conv2d(shifted, *map(nc.cuda.to_device, asked.operands[1:]), **options)
        actual = np.moveaxis(nc.cuda.to_host(actual), -1, 1)
    else:
        gradient = nc.cuda.to_device(np.moveaxis(asked.operands[1], 1, -1))
        actual = nc.cuda.to_host(nc.conv2d_weight(shifted, given.weight_shape, gradient, **options))
    assert error(actual, asked) <= 1e-6


@pytest.mark.parametrize("operation", ["conv2d", "conv2d_weight"])
def test_what_is_rejected_is_told(operation):
    wide = nc.ConvProblem.make("conv2d", (1, 66, 4, 4), (66, 33, 3, 3), groups=2).with_operation(operation)
    whole = nc.ConvProblem.make("conv2d", (1, 4, 4, 4), (4, 1, 3, 3), np.int32, groups=4).with_operation(operation)
    entries = {algorithm.name: algorithm for algorithm in table(operation, "cuda")}
    depthwise, grouped = entries["depthwise"], entries["grouped"]
    assert "33" in depthwise.rejects(wide) and "33" in grouped.rejects(wide)
    assert "int32" in depthwise.rejects(whole) and "int32" in grouped.rejects(whole)


def test_offsets_ascend():
    axis = line_tile._ascending(line_tile.Axis(5, 0, 2, 9, 1, 3, 2, -1, 0, 2))
    assert [(axis.offset + j * axis.offset_step, axis.tap + j * axis.tap_step) for j in range(3)] == [
        (0, 4), (1, 2), (2, 0)
    ]  # fmt: skip
