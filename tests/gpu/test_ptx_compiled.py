"""What the instructions of a warp compile to."""

import pytest

pytestmark = pytest.mark.ptx
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from gpu import warp_kernels  # noqa: E402
from gpu.assembly import ARCHITECTURES, assembled  # noqa: E402
from numba import float32, types, uint16, uint32  # noqa: E402

every_architecture = pytest.mark.parametrize("cc", ARCHITECTURES)


def instructions(kernel, *dtypes, cc):
    """How often each instruction stands in a kernel of flat arrays, which keeps all in registers."""
    code = assembled(kernel, tuple(types.Array(dtype, 1, "C") for dtype in dtypes), cc)
    assert code.spills == code.stack == 0
    return code.instructions


def count(found, start):
    return sum(n for name, n in found.items() if name.startswith(start))


@every_architecture
@pytest.mark.parametrize("matrices, transposed", [(4, False), (2, False), (4, True), (2, True)])
def test_matrices_are_loaded_by_one_instruction(matrices, transposed, cc):
    found = instructions(warp_kernels.loaded(matrices, transposed), uint16, uint32, cc=cc)
    assert count(found, f"LDSM.16.M{'T' if transposed else ''}88.{matrices}") == count(found, "LDSM") == 1


@every_architecture
@pytest.mark.parametrize(
    "dtype, name", [("bfloat16", "16816.F32.BF16"), ("float16", "16816.F32"), ("float32", "1688.F32.TF32")]
)
def test_matrices_are_multiplied_by_tensor_cores(dtype, name, cc):
    found = instructions(warp_kernels.multiplied(dtype, dtype == "float32"), uint32, uint32, float32, cc=cc)
    assert found[f"HMMA.{name}"] == 4 and count(found, "HMMA") == 4


@every_architecture
def test_sums_are_stored_in_pairs(cc):
    found = instructions(warp_kernels.staged(24), float32, cc=cc)
    assert found["STS.64"] == count(found, "STS") == 4


@every_architecture
def test_copies_pass_registers_by(cc):
    found = instructions(warp_kernels.copied(True, 0, True, 16, 0), float32, float32, cc=cc)
    assert count(found, "LDGSTS.E.BYPASS") == count(found, "LDGSTS") == 2
    assert count(found, "LDGDEPBAR") == 2 and count(found, "DEPBAR") == 1
    assert count(found, "STS") == count(found, "LDG.") == 0
