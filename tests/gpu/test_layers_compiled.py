"""What elementwise functions, norms, reductions and softmax compile to."""

import numpy as np
import pytest
from gpu.assembly import ARCHITECTURES, assembled
from gpu.compiled import memory_like

import numconv as nc

pytestmark = pytest.mark.ptx
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv.kernels.cuda import launch  # noqa: E402
from numconv.ops import arrays, indexing  # noqa: E402

IMAGE = (2, 16, 8, 8)


def array(shape=IMAGE, dtype="float32"):
    if dtype == "bfloat16":
        import ml_dtypes

        dtype = ml_dtypes.bfloat16
    return memory_like(shape, np.dtype(dtype))


def normed(data_format=None, shape=IMAGE, dtype="float32", **options):
    vectors = [array(16, dtype) for _ in range(4)]
    return nc.batch_norm(array(shape, dtype), *vectors, data_format=data_format, **options)


# What is called, and of how many bits its accesses are to be; False: any.
CALLS = {
    "add": (lambda: arrays.add(array(), array()), 128),
    "add a number": (lambda: arrays.add(array(), 2.5), 128),
    "add a vector": (lambda: arrays.add(array(), array((16, 1, 1))), False),
    "add a number in memory": (lambda: arrays.add(array(8), array(1)), False),
    "where": (lambda: arrays.where(array(dtype="bool"), array(), 0.5), False),
    "clamp": (lambda: arrays.clamp(array(), min=-1, max=2.5), 128),
    "power": (lambda: arrays.pow(array(), 0.75), 128),
    "maximum": (lambda: arrays.maximum(array(dtype="bfloat16"), 0.0), 64),
    "to float16": (lambda: arrays.astype(array(), dtype=np.float16), 64),
    "from integers": (lambda: arrays.astype(array(dtype="int64"), dtype=np.float32), False),
    "add integers": (lambda: arrays.add(array(dtype="int32"), 3), False),
    "relu of integers": (lambda: nc.relu(array(dtype="int8")), False),
    "tanh of float64": (lambda: nc.tanh(array(dtype="float64")), False),
    "gelu by tanh": (lambda: nc.gelu(array(), "tanh"), 128),
    "elu": (lambda: nc.elu(array(), 0.5), 128),
    "sigmoid": (lambda: nc.sigmoid(array()), 128),
    "hardswish of bfloat16": (lambda: nc.hardswish(array(dtype="bfloat16")), 64),
    "largest integer": (lambda: arrays.amax(array((4, 100), "int32"), axis=1), False),
    "smallest": (lambda: arrays.amin(array((4, 100), "float16"), axis=0), False),
    "softmax of bfloat16": (lambda: nc.softmax(array((4, 100), "bfloat16")), False),
    "softmax of float64": (lambda: nc.softmax(array(dtype="float64"), 1), False),
    "response norm of float16": (lambda: nc.local_response_norm(array(dtype="float16"), 4), False),
    "bilinear of bfloat16": (lambda: nc.interpolate(array(dtype="bfloat16"), (4, 4), mode="bilinear"), False),
    "linear of float16": (
        lambda: nc.linear(array((4, 8), "float16"), array((3, 8), "float16"), array(3, "float16")),
        False,
    ),
    "linear of float64": (lambda: nc.linear(array((4, 8), "float64"), array((3, 8), "float64"), None, "gelu"), False),
    "divide": (lambda: arrays.div(array(), array()), 128),
    "compare": (lambda: arrays.compare(array(), 0.0, relation="less"), False),
    "fill": (lambda: arrays.zeros(array()), 128),
    "relu": (lambda: nc.relu(array()), 128),
    "gelu": (lambda: nc.gelu(array()), 128),
    "silu": (lambda: nc.silu(array()), 128),
    "relu of bfloat16": (lambda: nc.relu(array(dtype="bfloat16")), 64),
    "gelu of float16": (lambda: nc.gelu(array(dtype="float16")), 64),
    "concatenate bytes of 2": (lambda: indexing.concatenate(*[array(dtype="float16")] * 2, axis=1), 64),
    "concatenate": (lambda: indexing.concatenate(array(), array(), axis=1), 128),
    "batch norm": (lambda: normed(activation="relu", residual=array()), 128),
    "batch norm, channels last": (lambda: normed("NHWC", (2, 8, 8, 16)), 128),
    "batch norm of odd planes": (lambda: normed(shape=(2, 16, 3, 3)), False),
    "batch norm of float16": (lambda: normed(dtype="float16"), 64),
    "sum over space": (lambda: arrays.sum(array((2, 8, 8, 16)), axis=(1, 2)), False),
    "mean of a row": (lambda: arrays.mean(array((4, 100)), axis=1), False),
    "softmax": (lambda: nc.softmax(array(), 1), False),
    "softmax of a row": (lambda: nc.softmax(array((4, 1000))), False),
    "log softmax of a row": (lambda: nc.log_softmax(array((4, 1000))), False),
    "local response norm": (lambda: nc.local_response_norm(array(), 5), False),
    "bilinear": (lambda: nc.interpolate(array(), (16, 16), mode="bilinear"), False),
    "nearest": (lambda: nc.interpolate(array(), (16, 16)), False),
}


@pytest.mark.parametrize("cc", ARCHITECTURES)
@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_spilled_and_memory_is_reached_by_fours(name, cc):
    call, bits = CALLS[name]
    with launch.recorded() as found:
        call()
    assert found
    codes = [assembled(f.kernel, f.types, cc) for f in found]
    assert not sum(code.spills + code.stack for code in codes)
    assert max(code.registers for code in codes) <= 96
    last = codes[-1].instructions
    if bits:
        assert [n for n in last if n.startswith("STG") and f".{bits}" in n]
        assert name == "fill" or [n for n in last if n.startswith("LDG") and (".64" in n or ".128" in n)]
    else:
        assert not [n for n in last if n.startswith("STG") and ".128" in n]


def test_no_array_is_divided_by_software_where_indices_are_reckoned():
    """Division by a number that is built in is a multiplication: no call of a routine, no loop."""
    with launch.recorded() as found:
        normed("NHWC", (2, 7, 9, 16), activation="relu")
    names = assembled(found[-1].kernel, found[-1].types, (9, 0)).instructions
    assert not [n for n in names if n.startswith(("CALL", "MUFU"))]


def test_a_kernel_serves_every_batch():
    def kernels(n):
        with launch.recorded() as found:
            arrays.mul(array((n, 16, 8, 8)), array((n, 16, 1, 1)))
            nc.softmax(array((n, 16, 8, 8)), 1)
            arrays.mean(array((n, 16, 8, 8)), axis=(2, 3))
            normed(shape=(n, 16, 8, 8))
            indexing.concatenate(array((n, 16, 8, 8)), array((n, 4, 8, 8)), axis=1)
            nc.interpolate(array((n, 16, 8, 8)), (16, 16), mode="bilinear")
        return [f.kernel for f in found]

    assert kernels(2) == kernels(3)
