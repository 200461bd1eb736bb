"""What depthwise and grouped convolution compile to, on the layers of known networks at a batch of 64."""

import pytest
from gpu.assembly import assembled
from gpu.compiled import launches

pytestmark = pytest.mark.ptx

# MobileNetV2's first and strided; EfficientNet's 5x5; ConvNeXt's 7x7: channels, size, kernel, stride.
DEPTHWISE = {
    "3x3": (32, 112, 3, 1), "3x3_strided": (96, 112, 3, 2), "5x5": (240, 28, 5, 1),
    "7x7": (96, 56, 7, 1), "7x7_strided": (96, 56, 7, 2),
}  # fmt: skip
# ResNeXt-50's first and third stage, the strided layer between: channels, size, channels of a group, stride.
GROUPED = {"resnext_56": (128, 56, 4, 1), "resnext_14": (512, 14, 16, 1), "resnext_strided": (256, 56, 8, 2)}


def code_of(operation, channels, size, kernel, stride, of_group, layout, cc=(9, 0), dtype="float32"):
    """The kernels that compute, without the packing of the weight."""
    found = launches(
        operation, (64, channels, size, size), (channels, of_group, kernel, kernel), dtype, layout, stride=stride,
        padding=kernel // 2, groups=channels // of_group,
    )  # fmt: skip
    names = [launch.kernel.name.split("(")[0] for launch in found]
    assert "correlate" in names
    return [assembled(one.kernel, one.types, cc) for one, name in zip(found, names) if name == "correlate"]


def depthwise(name, operation="conv2d", layout="last", **more):
    return code_of(operation, *DEPTHWISE[name], 1, layout, **more)


def grouped(name, operation="conv2d", layout="last", **more):
    channels, size, of_group, stride = GROUPED[name]
    return code_of(operation, channels, size, 3, stride, of_group, layout, **more)


def loads(code, width=".128"):
    return code.instructions["LDG.E" + width], code.instructions["STG.E" + width]


def test_3x3_depthwise_is_unrolled():
    """A thread of 4 channels by 4 positions: 9 weights and 3 lines of 6 sources by 128 bits, 9 products a result."""
    (code,) = depthwise("3x3")
    assert loads(code) == (9 + 3 * 6, 4) and loads(code, "") == (0, 0)
    assert code.instructions["FFMA"] == 9 * 16
    assert sum(code.instructions.values()) - code.instructions["NOP"] <= 330
    assert code.registers <= 64 and code.spills == code.stack == 0


@pytest.mark.parametrize("name, columns, positions, registers", [
    ("3x3_strided", 9, 4, 80), ("5x5", 8, 4, 80), ("7x7", 14, 8, 112), ("7x7_strided", 15, 5, 96),
])  # fmt: skip
def test_each_source_is_loaded_once_for_a_row_of_the_kernel(name, columns, positions, registers):
    (code,) = depthwise(name)
    kernel = DEPTHWISE[name][2]
    rows = kernel if code.instructions["FFMA"] == kernel * kernel * positions * 4 else 1  # unrolled, or a loop
    assert loads(code) == (rows * (columns + kernel), positions)
    assert code.instructions["FFMA"] == rows * kernel * positions * 4
    assert code.registers <= registers and code.spills == code.stack == 0


@pytest.mark.parametrize("name", ["3x3", "3x3_strided", "7x7"])
def test_channels_first_reads_side_by_side(name):
    """A thread of 8 positions along h: a row of the kernel is a loop, or unrolled; no instructions for indices."""
    (code,) = depthwise(name, layout="first")
    assert code.instructions["FFMA"] > 0 and code.instructions["FFMA"] % DEPTHWISE[name][2] == 0
    assert sum(code.instructions.values()) - code.instructions["NOP"] <= 256
    assert code.registers <= 48 and code.spills == code.stack == 0


@pytest.mark.parametrize("layout", ["first", "last"])
def test_the_input_pass_of_a_strided_layer_is_a_kernel_for_each_phase(layout):
    found = depthwise("3x3_strided", "conv2d_input", layout)
    lanes = 4 * 4 if layout == "last" else 8
    assert [code.instructions["FFMA"] // lanes for code in found] == [1, 2, 2, 4]  # taps of each
    assert all(code.registers <= 64 and code.spills == code.stack == 0 for code in found)


@pytest.mark.parametrize("name, columns, positions", [
    ("resnext_56", 10, 8), ("resnext_14", 9, 7), ("resnext_strided", 15, 7),
])  # fmt: skip
def test_groups_multiply_16_numbers_for_each_source_and_weight_loaded(name, columns, positions):
    (code,) = grouped(name)
    assert loads(code) == (columns + 3 * 4, positions)
    assert code.instructions["FFMA"] == 3 * 16 * positions
    assert code.registers <= 128 and code.spills == code.stack == 0


@pytest.mark.parametrize("layout, cc", [("first", (9, 0)), ("last", (9, 0)), ("last", (8, 0))])
def test_weight_passes_keep_sums_in_registers(layout, cc):
    for code, products in (
        (depthwise("3x3", "conv2d_weight", layout, cc=cc)[0], 3 * 4 * 4 if layout == "last" else 3 * 8),
        (depthwise("7x7", "conv2d_weight", layout, cc=cc)[0], 7 * 4 * 4 if layout == "last" else 7 * 8),
        (grouped("resnext_56", "conv2d_weight", layout, cc=cc)[0], 3 * 16 * 4),
    ):
        assert code.instructions["FFMA"] == products
        assert code.registers <= 112 and code.spills == code.stack == 0 and code.shared <= 48 << 10


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("operation", ["conv2d", "conv2d_weight"])
def test_other_floats_are_read_by_four(operation, dtype):
    (code,) = depthwise("3x3", operation, dtype=dtype)
    assert code.instructions["LDG.E.128" if dtype == "float64" else "LDG.E.64"] >= 9
    (more,) = grouped("resnext_56", operation, dtype=dtype)
    assert code.spills == code.stack == more.spills == more.stack == 0


def test_a_line_of_many_taps_is_cut():
    (code,) = code_of("conv2d", 64, 28, 7, 1, 4, "last")
    assert code.instructions["FFMA"] <= 384 and code.stack == 0
    (code,) = code_of("conv2d", 64, 28, 21, 1, 1, "last")
    assert code.stack == 0
