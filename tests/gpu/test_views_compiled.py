"""Views of Numba's device arrays: where they point, on a machine without a GPU."""

import math

import numpy as np
import pytest

pytestmark = pytest.mark.ptx
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv.kernels.cuda import memory  # noqa: E402

START = 1 << 20


def array(shape, dtype=np.float32, strides=None):
    """A device array of memory that nobody has."""
    from numba.cuda.cudadrv import driver

    dtype = np.dtype(dtype)
    strides = strides or memory.contiguous_strides(shape, dtype.itemsize)
    pointer = driver.binding.CUdeviceptr(START)
    piece = driver.MemoryPointer(None, pointer, math.prod(shape) * dtype.itemsize)
    return memory.array_type()(shape, strides, dtype, 0, piece)


def where(x):
    """(offset of the first element, shape, strides)."""
    interface = x.__cuda_array_interface__
    return interface["data"][0] - START, x.shape, x.strides


def test_views_point_to_their_first_element():
    x = array((2, 3, 4, 5))
    assert where(memory.transpose(x, (0, 2, 3, 1))) == (0, (2, 4, 5, 3), (240, 20, 4, 80))
    assert where(memory.part(x, 1, 1, 3)) == (80, (2, 2, 4, 5), (240, 80, 20, 4))
    assert where(memory.reshape(x, (6, 20))) == (0, (6, 20), (80, 4))
    assert where(memory.broadcast_to(memory.part(x, 0, 1, 2), (7, 3, 4, 5))) == (240, (7, 3, 4, 5), (0, 80, 20, 4))
    assert where(memory.flat(memory.part(x, 0, 1, 2))) == (240, (60,), (4,))
    assert memory.part(x, 0, 1, 2).gpu_data.owner is x
    assert memory.is_contiguous(x) and not memory.is_contiguous(memory.transpose(x, (0, 2, 3, 1)))


def test_what_an_array_with_negative_strides_reaches():
    x = array((4, 6), strides=(-24, 4))
    assert where(memory.reach(x, memory._lowest((4, 6), (-6, 1)))) == (-72, (24,), (4,))
    assert memory._span(x) == (START - 72, START + 24)
    assert memory.overlap(x, array((2,)))


def test_halves_are_seen_as_their_bits():
    for dtype in (np.float16, pytest.importorskip("ml_dtypes").bfloat16):
        x = array((3, 4), dtype)
        assert memory.flat(x).dtype == np.uint16 and memory.flat(x).size == 12
        assert memory.bits(memory.transpose(x, (1, 0))).strides == (2, 8)
        assert x._numba_type_.ndim == 2 or x.dtype.name == "bfloat16"
