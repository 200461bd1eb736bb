"""Tensor cores in the simulator: problems that cross the edges of tiles, in every dtype and layout."""

import numpy as np
import pytest

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

import ml_dtypes  # noqa: E402

import numconv as nc  # noqa: E402
from numconv.kernels.cuda import launch, memory, tensor_core, tensor_core_weight  # noqa: E402
from numconv.kernels.cuda.sweep import phases  # noqa: E402
from numconv.kernels.cuda.tensor_core_tile import TILES  # noqa: E402
from numconv.lab import reference  # noqa: E402
from numconv.options import options as limits  # noqa: E402
from numconv.problem import conv_output_shape  # noqa: E402

DTYPES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16, "float32": np.float32}
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def numbers(shape, dtype, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(DTYPES[dtype])


def shown(array, last):
    return nc.cuda.to_device(np.ascontiguousarray(np.moveaxis(array, 1, -1)) if last else array)


def check(dtype, x_shape, weight_shape, operation="conv2d", last=True, algorithm="tensor_core", **options):
    """Ask for a pass of random numbers, and compare with the oracle."""
    n = len(x_shape) - 2
    grid = {name: options.pop(name, usual) for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1))}
    groups = options.pop("groups", 1)
    wide = {name: (v,) * n if name != "padding" else ((v, v),) * n for name, v in grid.items()} | {"groups": groups}
    x, weight = numbers(x_shape, dtype), numbers(weight_shape, dtype, 1)
    grid |= {"groups": groups, "data_format": "channels_last" if last else None}
    grid |= {"precision": "fast", "algorithm": algorithm}
    if operation.endswith("input"):
        size = conv_output_shape(x_shape[2:], weight_shape[2:], *(grid[k] for k in ("stride", "padding", "dilation")))
        gradient = numbers((x_shape[0], weight_shape[0], *size), dtype, 2)
        whole = (x_shape[0], *x_shape[2:], x_shape[1]) if last else x_shape
        got = getattr(nc, operation)(whole, nc.cuda.to_device(weight), shown(gradient, last), **grid)
        oracle, operands = reference.conv_input, (x_shape, weight.astype(np.float64), gradient.astype(np.float64))
    elif operation.endswith("weight"):
        size = conv_output_shape(x_shape[2:], weight_shape[2:], *(grid[k] for k in ("stride", "padding", "dilation")))
        gradient = numbers((x_shape[0], weight_shape[0], *size), dtype, 2)
        got = getattr(nc, operation)(shown(x, last), weight_shape, shown(gradient, last), **grid)
        oracle, operands = reference.conv_weight, (x.astype(np.float64), weight_shape, gradient.astype(np.float64))
    else:
        got = getattr(nc, operation)(shown(x, last), nc.cuda.to_device(weight), **grid, **options)
        oracle, operands = reference.conv, (x.astype(np.float64), weight.astype(np.float64))
    got = nc.cuda.to_host(got)
    assert got.dtype == DTYPES[dtype]
    if last and not operation.endswith("weight"):
        got = np.moveaxis(got, -1, 1)
    got = got.astype(np.float64)
    scale, expected = reference.scale(oracle, *operands, **wide), oracle(*operands, **wide)
    bound = {"bfloat16": 2**-8, "float16": 2**-10, "float32": 2**-10}[dtype]
    error = np.abs(got - expected).max() / scale
    assert error <= bound
    assert dtype != "float32" or error > 1e-6  # it is TF32


@every_dtype
@pytest.mark.parametrize(
    "x_shape, weight_shape, options",
    [
        ((2, 8, 5, 7), (70, 8, 3, 3), {"padding": 1, "stride": 2}),  # results behind a tile's end; four taps a step
        ((1, 40, 9, 8), (20, 40, 1, 2), {"dilation": 2}),  # two tiles of rows; a step that begins within a tap
        ((1, 48, 3, 4), (12, 16, 2, 2), {"groups": 3, "padding": 1}),
    ],
    ids=["tails", "rows", "groups"],
)
def test_edges_of_tiles(dtype, x_shape, weight_shape, options):
    check(dtype, x_shape, weight_shape, **options)


@pytest.mark.parametrize("tile", TILES, ids=lambda tile: f"{tile.rows}x{tile.columns}")
def test_every_tile(tile, monkeypatch):
    monkeypatch.setattr(tensor_core, "tile_of", lambda *_: tile)
    monkeypatch.setattr(tensor_core, "padded_results", lambda _: 256)
    check("bfloat16", (1, 64, 9, 15), (130, 64, 1, 3), padding=1)  # six steps: every stage is used again


@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_gradient_of_a_strided_convolution(dtype, last):
    check(dtype, (2, 6, 7, 6), (8, 6, 3, 2), "conv2d_input", last, stride=2, padding=1)


@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
def test_channels_that_do_not_fill_sixteen_bytes(last):
    check("bfloat16", (2, 3, 6, 7), (5, 3, 3, 3), last=last, padding=1)
    check("float16", (2, 6, 4, 5), (4, 3, 2, 2), last=last, groups=2)


def test_rows_are_read_along_many_channels_first():
    check("float16", (2, 40, 9, 8), (9, 40, 1, 1), last=False)


def test_images_are_copied_a_few_at_a_time(monkeypatch):
    x, weight = (5, 3, 4, 4), (8, 3, 3, 3)
    monkeypatch.setattr(limits, "workspace_limit", 600 + 64 * 96 * 2)
    launches = recorded(x, weight)
    assert [launch.grid for launch in launches if "turned" in launch.kernel.name] == [2, 2, 1]
    check("bfloat16", x, weight, last=False, padding=1)


def recorded(x, weight):
    x, weight = (memory.FakeCUDAArray(np.empty(shape, ml_dtypes.bfloat16)) for shape in (x, weight))
    with launch.recorded() as found:
        nc.conv2d(x, weight, padding=1, algorithm="tensor_core")
    return found


@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
@pytest.mark.parametrize("co", [8, 6])
def test_epilogue(last, co):
    x, weight, bias = numbers((2, 8, 4, 5), "bfloat16"), numbers((co, 4, 3, 3), "bfloat16"), numbers((co,), "bfloat16")
    residual = numbers((2, co, 2, 3), "bfloat16", 3)
    got = nc.conv2d(
        shown(x, last), nc.cuda.to_device(weight), nc.cuda.to_device(bias), groups=2, activation="hardswish",
        residual=shown(residual, last), algorithm="tensor_core", data_format="channels_last" if last else None,
    )  # fmt: skip
    got = nc.cuda.to_host(got).astype(np.float64)
    options = {"stride": (1, 1), "padding": ((0, 0),) * 2, "dilation": (1, 1), "groups": 2}
    x, weight, bias, residual = (a.astype(np.float64) for a in (x, weight, bias, residual))
    total = reference.conv(x, weight, bias, **options) + residual
    expected = total * np.clip(total + 3, 0, 6) / 6
    np.testing.assert_allclose(np.moveaxis(got, -1, 1) if last else got, expected, rtol=2**-8, atol=2**-8)


def test_arrays_that_begin_anywhere_are_copied():
    def slice_of(array):
        larger = nc.cuda.to_device(np.concatenate([array.ravel()[:1], array.ravel()]))
        return memory.reshape(memory.part(larger, 0, 1, larger.size), array.shape)

    x, weight = numbers((2, 4, 4, 8), "float16"), numbers((8, 8, 1, 1), "float16")
    residual = numbers((2, 4, 4, 8), "float16", 3)
    options = {"data_format": "channels_last", "algorithm": "tensor_core"}
    plain = nc.conv2d(*map(nc.cuda.to_device, (x, weight)), residual=nc.cuda.to_device(residual), **options)
    out = slice_of(np.zeros_like(residual))
    nc.conv2d(slice_of(x), slice_of(weight), residual=slice_of(residual), out=out, **options)
    assert not memory.aligned(out) and (nc.cuda.to_host(out) == nc.cuda.to_host(plain)).all()
    with launch.recorded() as found:
        nc.conv2d(slice_of(x), slice_of(weight), residual=slice_of(residual), out=out, **options)
    assert sum("copy" in launch.kernel.name for launch in found) == 4


def test_it_is_chosen_for_half_precision_and_where_the_caller_asks_for_fast():
    def chosen(dtype, **options):
        weight = memory.FakeCUDAArray(np.empty((64, 64, 3, 3), DTYPES[dtype]))
        with launch.recorded():
            return nc.plan("conv2d", (8, 64, 28, 28), weight, **options).algorithm

    assert chosen("bfloat16") == chosen("float16") == "tensor_core"
    assert chosen("float32", precision="fast") == "tensor_core" != chosen("float32")
    with pytest.raises(ValueError, match="only precision='fast' allows"):
        chosen("float32", algorithm="tensor_core")


def test_what_is_rejected_says_why():
    x, weight = numbers((1, 8, 40, 1), "float16"), numbers((8, 8, 33, 1), "float16")
    with pytest.raises(ValueError, match="at most 31 taps"):
        nc.conv2d(nc.cuda.to_device(x), nc.cuda.to_device(weight), algorithm="tensor_core")


def test_indices_of_64_bits(monkeypatch):
    for module in (tensor_core, tensor_core_weight):
        monkeypatch.setattr(module, "phases", lambda p: tuple(phase._replace(wide=True) for phase in phases(p)))
    check("bfloat16", (2, 8, 4, 5), (8, 8, 3, 3), padding=1)
    check("bfloat16", (2, 8, 4, 5), (8, 8, 3, 3), "conv2d_weight", padding=1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gradient_of_the_weight(dtype):
    check(dtype, (3, 16, 16, 16), (72, 16, 2, 2), "conv2d_weight", stride=2)  # two tiles down, six steps
    check(dtype, (1, 16, 5, 4), (8, 8, 3, 2), "conv2d_weight", groups=2, padding=1, dilation=2)


@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
def test_gradient_of_the_weight_of_few_channels(last):
    check("bfloat16", (2, 6, 5, 4), (10, 3, 3, 2), "conv2d_weight", last, groups=2, padding=1)


@pytest.mark.parametrize("width", [5, 6, 7])  # what is chosen is remembered with the problem
def test_every_tile_of_the_weight(width, monkeypatch):
    tile = tensor_core_weight.TILES[width - 5]
    monkeypatch.setattr(tensor_core_weight, "TILES", (tile,))
    check("bfloat16", (1, 136, 7, width), (136, 136, 1, 1), "conv2d_weight")


def test_parts_of_the_weight_are_added_up(monkeypatch):
    monkeypatch.setattr(tensor_core_weight, "LEAST_STEPS", 1)
    check("float16", (5, 8, 6, 5), (16, 8, 1, 1), "conv2d_weight")
    problem = nc.ConvProblem.make("conv2d", (5, 8, 6, 5), (16, 8, 1, 1), np.float16)
    assert tensor_core_weight.schedule(problem.with_operation("conv2d_weight"))[1:] == (5, 1)
