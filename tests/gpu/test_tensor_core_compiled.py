"""What convolutions on tensor cores compile to, for layers of ResNet-50 at batch 64."""

import pytest
from gpu.assembly import ARCHITECTURES, assembled
from gpu.compiled import launches

pytestmark = pytest.mark.ptx

from numba import types  # noqa: E402

from numconv.kernels.cuda import tensor_core, tensor_core_tile  # noqa: E402
from numconv.kernels.cuda.epilogue import Epilogue  # noqa: E402
from numconv.lab.shapes import RESNET50  # noqa: E402
from numconv.problem import ConvProblem  # noqa: E402

SHAPES = {shape.name: shape for shape in RESNET50}
LAYERS = ("stage1_3x3", "stage2_3x3", "stage3_expand", "stage4_shortcut", "stem_7x7")
HMMA = {"bfloat16": "HMMA.16816.F32.BF16", "float16": "HMMA.16816.F32", "float32": "HMMA.1688.F32.TF32"}


def kernels(layer, dtype, operation="conv2d", layout="last", batch=64, **options):
    """The launches of a layer."""
    shape = SHAPES[layer].batch(batch)
    options |= {name: shape.options[name] for name in ("stride", "padding")} | {"precision": "fast"}
    return launches(operation, shape.x, shape.weight, dtype, layout, **options)


def count(found, start):
    return sum(n for name, n in found.items() if name.startswith(start))


def check(code, dtype, matrices="M88"):
    """What every variant must keep to: fragments, sums and addresses in registers, and none but the wide copies."""
    assert code.spills == code.stack == 0
    assert code.registers <= 255 and code.shared <= 48 << 10
    tensor = code.loop[HMMA[dtype]]
    assert tensor == count(code.loop, "HMMA") >= 16
    assert (
        count(code.loop, f"LDSM.16.{matrices}.4")
        == count(code.loop, "LDSM")
        <= (tensor // 4 if tensor == 64 else tensor // 2)
    )
    assert count(code.loop, "LDGSTS.E.BYPASS") == count(code.loop, "LDGSTS") <= 12
    assert count(code.loop, "BAR") == 1
    # LDS in a loop without a destination stand before asynchronous copies and are never done.
    assert count(code.loop, "LDS") - count(code.loop, "LDSM") <= 3
    assert count(code.loop, "STS") == count(code.loop, "LDG.") == count(code.loop, "LDL") == 0
    assert count(code.instructions, "STS.64") == count(code.instructions, "STS") > 0
    return tensor / code.loop.total()


@pytest.mark.parametrize("dtype", HMMA)
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_of_resnet(layer, dtype):
    *before, convolution = kernels(layer, dtype)
    assert [launch.kernel.name.partition("(")[0] for launch in before] == ["pack", "filled"][
        : 1 + (layer == "stem_7x7")
    ]
    code = assembled(convolution.kernel, convolution.types, (9, 0))
    # Of all instructions in the loop. TF32 is rounded there, by three each.
    assert check(code, dtype) > (0.18 if dtype == "float32" else 0.28)
    width = "STG.E.128" if dtype == "float32" else "STG.E.64"
    assert count(code.instructions, width) == count(code.instructions, "STG") > 0


@pytest.mark.parametrize("dtype", HMMA)
def test_older_architecture(dtype):
    convolution = kernels("stage2_3x3", dtype)[-1]
    check(assembled(convolution.kernel, convolution.types, (8, 0)), dtype)


@pytest.mark.parametrize("cc", ARCHITECTURES)
@pytest.mark.parametrize("operation, layout", [("conv2d_input", "last"), ("conv2d", "first")])
def test_gradients_and_channels_first(operation, layout, cc):
    first, *_, last = kernels("stage2_first_3x3", "bfloat16", operation, layout)
    code = assembled(first.kernel, first.types, cc)
    assert code.spills == code.stack == 0 and first.kernel.name.startswith("pack")
    check(assembled(last.kernel, last.types, cc), "bfloat16")


def test_images_are_turned_in_shared_memory():
    _, launch, _ = kernels("stage2_3x3", "bfloat16", layout="first", batch=2)
    code = assembled(launch.kernel, launch.types, (9, 0))
    assert launch.kernel.name.startswith("turned") and code.spills == code.stack == 0
    assert count(code.instructions, "STS") == count(code.instructions, "LDG") == 8


def test_small_problems_take_small_tiles():
    convolution = kernels("stage4_3x3", "bfloat16", batch=1)[-1]
    code = assembled(convolution.kernel, convolution.types, (9, 0))
    check(code, "bfloat16")
    assert code.registers <= 128 and code.loop.total() < 140


def test_the_epilogue_spills_nothing():
    x, weight = (2, 256, 9, 9), (128, 256, 1, 1)
    for activation in ("gelu", "silu"):
        convolution = launches("conv2d", x, weight, "bfloat16", "last", "tensor_core", activation=activation)[-1]
        check(assembled(convolution.kernel, convolution.types, (9, 0)), "bfloat16")


@pytest.mark.parametrize("cc", ARCHITECTURES)
@pytest.mark.parametrize("layer", ["stage1_3x3", "stage3_expand"])
def test_gradient_of_the_weight(layer, cc):
    dot, add_up = kernels(layer, "bfloat16", "conv2d_weight")
    code = assembled(dot.kernel, dot.types, cc)
    # The image's coordinates are found for each row, and a pointwise convolution has none.
    assert check(code, "bfloat16", "MT88") > (0.14 if layer == "stage1_3x3" else 0.23)
    assert count(code.instructions, "STG.E.128") == count(code.instructions, "STG") > 0
    assert assembled(add_up.kernel, add_up.types, cc).spills == 0


def test_arrays_of_more_than_two_to_the_31_elements():
    problem = ConvProblem.make("conv2d", (64, 56, 56, 64), (128, 64, 3, 3), "float16", padding=1, data_format="NHWC")
    (phase,) = tensor_core.filled_phases(problem)
    kernel = tensor_core_tile.multiply(phase._replace(wide=True), "float16", tensor_core_tile.TILES[0], 128, Epilogue())
    given = (*[types.Array(types.uint16, 1, "C")] * 3, types.int64)
    check(assembled(kernel, given, (9, 0)), "float16")
    assert ".shared .align 16" in kernel.ptx(given, (9, 0))
