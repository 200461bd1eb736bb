"""The GPU where there is none: what is said of it, and that the CPU's paths know nothing of it."""

import importlib.util

import pytest
from processes import run

from numconv.kernels.cuda.pool import Pool, rounded

NUMBA_CUDA = importlib.util.find_spec("numba_cuda") is not None
HIDE = """
import importlib.util, json, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Hidden())
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in hidden else found(name, package)
"""
ASKED = """
import numpy as np
import numconv as nc
said = []
for ask in (lambda: nc.cuda.to_device(np.ones(3)), nc.cuda.synchronize, lambda: nc.algorithms("conv2d", "cuda")):
    try:
        ask()
    except nc.cuda.MissingPart as error:
        said.append(str(error))
ones = np.ones((1, 1, 3, 3), np.float32)
cpu = float(nc.conv2d(ones, ones).item())
info = nc.cuda.info()
print(json.dumps([nc.cuda.is_available(), info["available"], info["missing"], said, cpu, nc.cuda.to_host(ones).shape]))
"""


def asked(tmp_path, hidden=()):
    (tmp_path / "code.py").write_text(f"hidden = {hidden!r}{HIDE}{ASKED}")
    return run(tmp_path / "code.py")


def test_without_numba_cuda(tmp_path):
    available, really, missing, said, cpu, shape = asked(tmp_path, ("numba_cuda",))
    assert (available, really, cpu, shape) == (False, False, 9.0, [1, 1, 3, 3])
    assert len(said) == 3
    for sentence in (missing, *said):
        assert "numba-cuda" in sentence and "numconv[cuda]" in sentence


@pytest.mark.skipif(not NUMBA_CUDA, reason="pip install 'numconv[cuda]'")
def test_without_a_driver(tmp_path):
    from numconv.kernels.cuda import toolkit

    if not toolkit.missing():
        pytest.skip("there is a GPU")
    available, really, missing, said, cpu, _ = asked(tmp_path)
    assert (available, really, cpu) == (False, False, 9.0)
    assert len(said) == 2  # tables can be read without a driver
    for sentence in (missing, *said):
        assert "driver" in sentence


def test_the_cpu_loads_nothing_of_it(tmp_path):
    code = """
import json, sys
import numpy as np
import numconv as nc
ones = np.ones((1, 1, 3, 3), np.float32)
nc.conv2d(ones, ones, padding=1)
nc.max_pool2d(ones, 2)
prefixes = "numba.cuda", "numba_cuda", "numconv.kernels.cuda."
print(json.dumps([name for name in sys.modules if name.startswith(prefixes)]))
"""
    (tmp_path / "code.py").write_text(code)
    assert set(run(tmp_path / "code.py")) <= {"numconv.kernels.cuda.toolkit"}


def test_the_simulator_is_not_chosen_by_itself(tmp_path):
    code = """
import json
import numconv as nc
print(json.dumps(nc.cuda.info()["simulated"]))
"""
    (tmp_path / "code.py").write_text(code)
    assert run(tmp_path / "code.py") is False
    if NUMBA_CUDA:
        assert run(tmp_path / "code.py", NUMBA_ENABLE_CUDASIM="1") is True


class Context:
    """Hands out memory as a driver's context does, as long as there is some."""

    def __init__(self, room=1 << 40):
        self.device = type("Device", (), {"id": 0})
        self.room, self.sizes = room, []

    def memalloc(self, size):
        if size > self.room:
            raise MemoryError
        self.room -= size
        self.sizes.append(size)
        return Piece(self, size)


class Piece:
    def __init__(self, context, size):
        self.context, self.size = context, size

    def __del__(self):
        self.context.room += self.size


def test_device_memory_is_lent_again_on_its_stream():
    context, pool = Context(), Pool()
    key, piece = pool.borrow(context, 7, 1000)
    assert key == (0, 7, 1024) and context.sizes == [1024]
    pool.give_back(key, piece, 1 << 30)
    assert pool.borrow(context, 8, 1000)[1] is not piece  # another stream may be behind
    assert pool.borrow(context, 7, 600)[1] is piece
    assert pool.borrow(context, 7, 600)[1] is not piece  # it is lent
    assert pool.idle_bytes == 0


def test_little_device_memory_lies_idle():
    context, pool = Context(), Pool()
    lent = [pool.borrow(context, 0, 3 << 20) for _ in range(3)]
    room = context.room
    while lent:
        key, piece = lent.pop()
        pool.give_back(key, piece, 6 << 20)
        del piece
    assert pool.idle_bytes == 6 << 20 and context.room == room + (3 << 20)


def test_idle_device_memory_is_given_up_for_another_size():
    context, pool = Context(room=5 << 20), Pool()
    pool.give_back(*pool.borrow(context, 0, 3 << 20), 1 << 30)
    key, _piece = pool.borrow(context, 0, 4 << 20)
    assert key[2] == 4 << 20 and pool.idle_bytes == 0
    with pytest.raises(MemoryError):
        pool.borrow(context, 0, 2 << 20)


@pytest.mark.parametrize("size, piece", [(0, 512), (1, 512), (512, 512), (513, 1024), (1 << 20, 1 << 20),
                                         ((1 << 20) + 1, 2 << 20), (5 << 20, 5 << 20)])  # fmt: skip
def test_pieces_of_device_memory(size, piece):
    assert rounded(size) == piece
