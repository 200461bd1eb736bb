"""What implicit GEMM and its relatives compile to, for layers of ResNet-50 at batch 64.

A slice of 8 k's is 512 multiply-adds for 32 wide loads from shared memory, 16 to 1, and the loop over slices is little
else. Nothing is spilled; 512 threads of the largest tile share a multiprocessor.
"""

from typing import Any, NamedTuple

import pytest
from gpu.assembly import ARCHITECTURES, assembled
from gpu.compiled import launches, memory_like

from numconv.problem import ConvProblem

pytestmark = pytest.mark.ptx
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv.kernels.cuda import gemm_tile, implicit_gemm, implicit_gemm_weight, launch, matrix_product  # noqa: E402
from numconv.kernels.cuda.epilogue import Epilogue  # noqa: E402
from numconv.kernels.cuda.packing import terms  # noqa: E402
from numconv.kernels.cuda.sweep import phases  # noqa: E402


class Layer(NamedTuple):
    x: tuple[int, ...]
    weight: tuple[int, ...]
    options: dict[str, Any]


LAYERS = {
    "3x3_64": Layer((64, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}),
    "1x1_64_256": Layer((64, 64, 56, 56), (256, 64, 1, 1), {}),
    "stem": Layer((64, 3, 224, 224), (64, 3, 7, 7), {"stride": 2, "padding": 3}),
    "3x3_512": Layer((64, 512, 7, 7), (512, 512, 3, 3), {"padding": 1}),
    "1x1_strided": Layer((64, 256, 56, 56), (512, 256, 1, 1), {"stride": 2}),
}
SHARED = {256: 2 * 8 * (132 + 132) * 4, 128: 2 * 8 * (132 + 68) * 4, 64: 2 * 8 * (68 + 68) * 4}
# Of the loop, multiply-adds. Where channels come first a number's tap or position costs more to find.
SHARE = {"last": 0.72, "first": 0.74}
LESS = {
    ("stem", "conv2d", "first"): 0.58,
    ("3x3_64", "conv2d_weight", "first"): 0.55,
    ("stem", "conv2d_weight", "first"): 0.55,
    ("stem", "conv2d_weight", "last"): 0.55,
    ("3x3_512", "conv2d_weight", "first"): 0.55,
}


def products(found):
    """The launches of kernels that multiply, without repetitions."""
    kernels = {call.kernel: call for call in found}
    return [c for k, c in kernels.items() if k.name.startswith(("correlate", "dot", "multiply")) and len(c.grid) > 1]


def check(call, code, share, wide_stores=True):
    threads = call.block
    assert code.spills == code.stack == 0
    assert code.registers <= (128 if threads == 256 else 168)
    if "FFMA" not in code.instructions:
        assert code.shared == 0  # a phase without taps
        return
    assert code.shared == SHARED[threads]
    assert code.loop["FFMA"] == code.instructions["FFMA"] == 512
    assert code.loop["LDS.128"] == code.instructions["LDS.128"] == 32
    assert code.loop["BAR.SYNC.DEFER_BLOCKING"] == 1
    assert code.loop["FFMA"] >= share * sum(code.loop.values())
    if wide_stores:
        assert code.instructions["STG.E.128"] == 16 and code.instructions["STG.E"] == 0


@pytest.mark.parametrize("cc", ARCHITECTURES)
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("operation", ["conv2d", "conv2d_input", "conv2d_weight"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_resnet(name, operation, layout, cc):
    if name == "stem" and operation == "conv2d_input":
        pytest.skip("nobody asks for a picture's gradient, and 3 of 64 columns are there")
    x, weight, options = LAYERS[name]
    found = products(launches(operation, x, weight, layout=layout, algorithm="implicit_gemm", **options))
    assert found
    for call in found:
        code = assembled(call.kernel, call.types, cc)
        by_four = layout == "last" or operation == "conv2d_weight" or (x[2] * x[3] % 16 == 0 and operation == "conv2d")
        by_four = by_four and (name, operation) != ("stem", "conv2d_weight")
        check(call, code, LESS.get((name, operation, layout), SHARE[layout]), by_four)
        if layout == "last" and name != "stem" and code.loop["FFMA"]:
            assert code.instructions["LDG.E"] == 0 and code.loop["LDG.E.128"] >= 2


def epilogue_code(layout, activation, cc):
    """Of a large tile with all of an epilogue."""
    problem = ConvProblem.make(
        "conv2d", (64, 28, 28, 128) if layout == "last" else (64, 128, 28, 28), (128, 128, 3, 3), "f4", padding=1,
        data_format="channels_last" if layout == "last" else None,
    )  # fmt: skip
    (phase,) = phases(problem)
    stores, after = "columns" if layout == "last" else "rows", Epilogue(True, True, activation, 0.1)
    counted = terms(phase, problem.layout_in)
    kernel = implicit_gemm.correlate(phase, gemm_tile.LARGE, 1, 0, 144, counted, stores, after, False)
    array = launch._type_of(memory_like((8,), "f4"))
    return assembled(kernel, (*(array,) * 5, launch._type_of(8)), cc)


@pytest.mark.parametrize("cc", ARCHITECTURES)
@pytest.mark.parametrize("layout", ["last", "first"])
def test_an_epilogue_stays_in_registers(layout, cc):
    for activation in ("relu", "leaky_relu", "relu6"):
        code = epilogue_code(layout, activation, cc)
        assert code.spills == code.stack == 0 and code.registers <= 128
        assert code.instructions["STG.E.128"] == code.instructions["LDG.E.128"] - 2 * code.loop["LDG.E.128"] == 16


def test_a_long_activation_reads_a_copy_of_the_sums():
    """And only that: the loop over slices works in registers."""
    for activation in ("gelu", "silu", "hardswish"):
        code = epilogue_code("last", activation, (9, 0))
        assert code.spills == 0 and code.stack <= 256 and code.registers <= 128
        products = code.loop["FFMA"]
        assert products == 512 and not any(name.startswith(("LDL", "STL")) for name in code.loop)


@pytest.mark.parametrize("layout", ["last", "first"])
def test_wide_indices(layout):
    """Arrays of more than 2**31 numbers: no simulator has room for them."""
    shape, weight = (64, 64, 56, 56), (64, 64, 3, 3)
    problem = ConvProblem.make(
        "conv2d", (64, 56, 56, 64) if layout == "last" else shape, weight, "f4", padding=1,
        data_format="channels_last" if layout == "last" else None,
    )  # fmt: skip
    (phase,) = phases(problem)
    array, number = launch._type_of(memory_like((8,), "f4")), launch._type_of(8)
    forward = implicit_gemm.correlate(
        phase, gemm_tile.NARROW, 1, 0, 72, terms(phase, problem.layout_in), "", Epilogue(), True
    )
    (phase,) = phases(problem.with_operation("conv2d_weight"))
    backward = implicit_gemm_weight.dot(phase, gemm_tile.SMALL, layout == "last", layout == "last", True)
    for kernel in (forward, backward):
        code = assembled(kernel, (array, array, array, number), (9, 0))
        assert code.spills == code.stack == 0 and code.loop["FFMA"] == 512


@pytest.mark.parametrize("cc", ARCHITECTURES)
@pytest.mark.parametrize("transpose_b", [False, True])
def test_matrices(transpose_b, cc):
    a, b, out = ((4096, 1024), (1000, 1024) if transpose_b else (1024, 1000), (4096, 1000))
    with launch.recorded() as found:
        matrix_product.product(
            *(memory_like(s, "f4") for s in (a, b, out)), transpose_b=transpose_b, bias=memory_like((1000,), "f4"),
            activation="relu",
        )  # fmt: skip
    (call,) = found
    check(call, assembled(call.kernel, call.types, cc), 0.8)
