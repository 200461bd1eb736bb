"""Changes of layout in the simulator: tiles of transposed matrices, and what is no transposition."""

import numpy as np
import pytest

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

import numconv as nc  # noqa: E402
from numconv.kernels.cuda import launch, memory  # noqa: E402


def launched(x):
    """Names of the kernels that copy an array."""
    with launch.recorded() as found:
        memory.copied(x)
    return [one.kernel.name.split("(")[0] for one in found]


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int32"])
@pytest.mark.parametrize("shape", [(32, 32), (2, 33, 40), (3, 8, 65), (1, 31, 9), (2, 8, 5, 7)])
def test_channels_change_places_by_tiles(shape, dtype):
    host = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    order = (0, *range(2, len(shape)), 1) if len(shape) > 2 else (1, 0)
    x = memory.transpose(nc.cuda.to_device(host), order)
    assert launched(x) == ["transpose"]
    np.testing.assert_array_equal(nc.cuda.to_host(memory.copied(x)), host.transpose(order))


def test_parts_of_arrays_are_transposed():
    """Pitches are larger than rows, and the memory around the result is left alone."""
    host = np.arange(2 * 20 * 40, dtype=np.float32).reshape(2, 20, 40)
    x = memory.part(nc.cuda.to_device(host), 2, 3, 37)
    whole = nc.cuda.to_device(np.full((2, 34, 24), -1, np.float32))
    out = memory.part(whole, 2, 2, 22)
    memory.copy_into(out, memory.transpose(x, (0, 2, 1)))
    expected = np.full((2, 34, 24), -1, np.float32)
    expected[:, :, 2:22] = host[:, :, 3:37].transpose(0, 2, 1)
    np.testing.assert_array_equal(nc.cuda.to_host(whole), expected)


@pytest.mark.parametrize("view", [
    lambda x: memory.transpose(x, (0, 2, 1)),
    lambda x: memory.part(x, 1, 0, 3),
    lambda x: memory.broadcast_to(memory.part(x, 0, 0, 1), x.shape),
    lambda x: memory.transpose(x, (1, 0, 2)),
], ids=["narrow", "part", "repeated", "rows"])  # fmt: skip
def test_other_copies_take_an_element_a_thread(view):
    host = np.arange(9 * 4 * 10, dtype=np.float32).reshape(9, 4, 10)
    x = view(nc.cuda.to_device(host))
    assert launched(x) == ["_strided_copy"]
    np.testing.assert_array_equal(nc.cuda.to_host(memory.copied(x)), x._ary)
