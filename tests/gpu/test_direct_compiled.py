"""What direct convolution compiles to."""

import pytest
from gpu.assembly import ARCHITECTURES, assembled
from gpu.compiled import launches

pytestmark = pytest.mark.ptx


@pytest.mark.parametrize("cc", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int32", "complex64"])
@pytest.mark.parametrize("operation", ["conv2d", "conv2d_input", "conv2d_weight"])
def test_nothing_is_spilled(operation, dtype, cc):
    for launch in launches(
        operation, (2, 8, 9, 9), (16, 4, 3, 3), dtype, stride=2, padding=1, groups=2, algorithm="direct"
    ):
        code = assembled(launch.kernel, launch.types, cc)
        assert code.spills == 0 and code.registers <= 96
