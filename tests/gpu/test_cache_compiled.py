"""The cache of kernels for a GPU, as Numba's dispatcher uses it, with a device that is only a number."""

import numpy as np
import pytest

pytestmark = pytest.mark.ptx
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from types import SimpleNamespace  # noqa: E402

from numba import cuda, types  # noqa: E402

from numconv.kernels.cpu.cache import Counts  # noqa: E402
from numconv.kernels.cuda import launch, memory  # noqa: E402


@pytest.fixture
def device(monkeypatch, tmp_path):
    """A compute capability where a GPU would be, and an empty cache."""
    from numba.cuda import codegen, dispatcher

    from numconv.kernels.cpu import cache

    gpu = SimpleNamespace(compute_capability=(9, 0))
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: gpu)
    monkeypatch.setattr(codegen.JITCUDACodegen, "magic_tuple", lambda self: ((13, 0), gpu.compute_capability))
    monkeypatch.setattr(codegen.devices, "get_context", lambda *_: SimpleNamespace(device=gpu))
    monkeypatch.setattr(dispatcher._Kernel, "bind", lambda self: self._codelibrary.get_cubin(gpu.compute_capability))
    monkeypatch.setattr(cache, "_folder", lambda: str(tmp_path))
    return gpu


def compiled(kernel):
    """(machine code, whether it was compiled anew) by a dispatcher of its own."""
    vars(kernel).pop("dispatcher", None)
    before = Counts.compilations
    dispatcher = kernel.dispatcher
    array = types.Array(types.float32, 1, "C")
    code = dispatcher.compile(types.void(array, array))
    return code._codelibrary._cubin_cache, Counts.compilations > before


def test_an_entry_is_found_again(device, tmp_path):
    kernel = memory._strided_copy((6, 5), (1, 6), (5, 1), 0, 0)
    first, anew = compiled(kernel)
    assert anew and list(first) == [(9, 0)]
    again, anew = compiled(kernel)
    assert not anew and list(again) == [(9, 0)] and again[9, 0].code == first[9, 0].code
    other, anew = compiled(memory._strided_copy((5, 6), (1, 5), (6, 1), 0, 0))
    assert anew and other[9, 0].code != first[9, 0].code
    assert len(list(tmp_path.iterdir())) == 2


def test_another_device_has_its_own(device):
    kernel = memory._strided_copy((6, 5), (1, 6), (5, 1), 0, 0)
    assert compiled(kernel)[1]
    device.compute_capability = (8, 0)
    assert compiled(kernel)[1]


def test_a_broken_entry_is_compiled_anew(device, tmp_path):
    kernel = memory._strided_copy((6, 5), (1, 6), (5, 1), 0, 0)
    first, _ = compiled(kernel)
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(entry.read_bytes()[:-9])
    again, anew = compiled(kernel)
    assert anew and list(again) == list(first)


def test_launches_are_noted_and_not_done():
    x = memory.FakeCUDAArray(np.zeros((2, 3), np.float32))
    with launch.recorded() as launches:
        memory.contiguous(memory.transpose(x, (1, 0)))
    (noted,) = launches
    assert noted.grid == 1 and noted.block == 256 and [t.dtype.name for t in noted.types] == ["float32"] * 2
    assert ".entry" in noted.kernel.ptx(noted.types, (8, 0))
    assert cuda.is_available() or not launch.simulated
