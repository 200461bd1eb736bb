"""What poolings compile to: the stem's max pooling of ResNet-50 at batch 64, averages, whole images, gradients."""

import numpy as np
import pytest
from gpu.assembly import ARCHITECTURES, assembled
from gpu.compiled import memory_like

pytestmark = pytest.mark.ptx

import numconv as nc  # noqa: E402
from numconv.kernels.cuda import launch, windows  # noqa: E402

WINDOWS = {"kernel_size": 3, "stride": 2, "padding": 1}
INSIDE = WINDOWS | {"count_include_pad": False}
BIG, SMALL, LAST = (64, 64, 112, 112), (64, 64, 56, 56), (64, 2048, 7, 7)
PIXEL = (64, 2048, 1, 1)
# What is called and, channels first, the shapes: a tuple (shape, "shape") is no array but an argument.
CALLS = {
    "max": ("max_pool2d", [BIG], WINDOWS),
    "max with indices": ("max_pool2d", [BIG], WINDOWS | {"return_indices": True}),
    "max gradient": ("max_pool2d_input", [(BIG, "shape"), (SMALL, "int64"), SMALL], {}),
    "average": ("avg_pool2d", [BIG], WINDOWS),
    "average inside": ("avg_pool2d", [BIG], INSIDE),
    "average gradient": ("avg_pool2d_input", [(BIG, "shape"), SMALL], WINDOWS),
    "average gradient inside": ("avg_pool2d_input", [(BIG, "shape"), SMALL], INSIDE),
    "halving": ("avg_pool2d", [BIG], {"kernel_size": 2}),
    "halving gradient": ("avg_pool2d_input", [(BIG, "shape"), SMALL], {"kernel_size": 2}),
    "adaptive": ("adaptive_avg_pool2d", [SMALL], {"output_size": 7}),
    "whole average": ("global_avg_pool", [LAST], {}),
    "whole maximum": ("global_max_pool", [LAST], {}),
    "whole average gradient": ("global_avg_pool_input", [(LAST, "shape"), PIXEL], {}),
    "whole maximum gradient": ("global_max_pool_input", [LAST, PIXEL], {}),
    "unpooling": ("max_unpool2d", [SMALL, (SMALL, "int64")], {"kernel_size": 2}),
    "unpooling gradient": ("max_unpool2d_input", [(SMALL, "shape"), (SMALL, "int64"), BIG], {}),
}


def launches(name, layout, dtype=np.float32):
    operation, operands, options = CALLS[name]

    def shown(shape):
        return (shape[0], *shape[2:], shape[1]) if layout == "last" else shape

    given = []
    for operand in operands:
        shape, kind = operand if isinstance(operand[-1], str) else (operand, dtype)
        given.append(shown(shape) if kind == "shape" else memory_like(shown(shape), kind))
    with launch.recorded() as found:
        getattr(nc, operation)(*given, data_format="channels_last" if layout == "last" else None, **options)
    return found


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("name", CALLS)
def test_registers_and_wide_accesses(name, layout):
    found = launches(name, layout)
    assert found
    for cc in ARCHITECTURES:
        codes = [assembled(launch.kernel, launch.types, cc) for launch in found]
        for code in codes:
            assert code.spills == code.stack == 0 and code.registers <= 64
        counted = codes[-1].instructions
        if layout == "last" and name != "unpooling gradient":
            assert counted["LDG.E.128"] and counted["STG.E.128"]
            assert not counted["STG.E"] + counted["STG.E.64"]


@pytest.mark.parametrize("cc", ARCHITECTURES)
@pytest.mark.parametrize(("name", "layout", "most"), [
    ("max", "last", 220), ("max", "first", 190), ("average", "last", 320), ("halving", "last", 100),
    ("halving gradient", "last", 64), ("halving gradient", "first", 56),
])  # fmt: skip
def test_instructions(name, layout, most, cc):
    """All loads of a small window at once, without a branch between them, and little arithmetic on indices."""
    (done,) = launches(name, layout)
    code = assembled(done.kernel, done.types, cc)
    taps = {"max": 9, "average": 9, "halving": 4, "halving gradient": 1}[name]
    assert sum(n for key, n in code.instructions.items() if key.startswith("LDG")) == taps
    assert sum(code.instructions.values()) <= most
    if name != "average":  # whose division has a branch for what is subnormal
        assert code.instructions["BRA"] == 1 and not code.instructions["BSSY"]


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int8"])
def test_nothing_is_spilled_of_other_types(dtype):
    import ml_dtypes

    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    for name in ("max with indices", "average inside", "whole average", "max gradient", "average gradient"):
        for done in launches(name, "last", kind):
            code = assembled(done.kernel, done.types, (9, 0))
            assert code.spills == 0 and code.registers <= 96
        if kind.itemsize == 2 and name != "max gradient":
            assert code.instructions["LDG.E.64"] and code.instructions["STG.E.64"]


@pytest.mark.parametrize("name", ["max with indices", "average", "max gradient", "unpooling gradient"])
def test_indices_of_64_bits(name, monkeypatch):
    narrow = windows.geometry
    monkeypatch.setattr(windows, "geometry", lambda problem: narrow(problem)._replace(wide=True))
    for done in launches(name, "last"):
        code = assembled(done.kernel, done.types, (9, 0))
        assert code.spills == 0 and code.registers <= 96
