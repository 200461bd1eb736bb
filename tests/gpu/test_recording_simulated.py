"""Functions that are run once and launched again, and the pool that their memory comes from."""

from types import SimpleNamespace

import numpy as np
import pytest

import numconv as nc

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv.kernels.cuda import memory, pool  # noqa: E402
from numconv.ops import arrays  # noqa: E402
from numconv.ops.cuda.recording import Recording  # noqa: E402


def test_launches_are_done_again_on_the_same_arrays():
    x = nc.cuda.to_device(np.arange(8, dtype=np.float32))
    recording = Recording(lambda: nc.relu(arrays.sub(arrays.mul(x, x), 9.0)))
    assert len(recording) == 3
    np.testing.assert_array_equal(nc.cuda.to_host(recording.results), [0, 0, 0, 0, 7, 16, 27, 40])
    arrays.write(x, np.full(8, 4, np.float32))
    recording.run()
    np.testing.assert_array_equal(nc.cuda.to_host(recording.results), np.full(8, 7))
    arrays.write(x, np.zeros(8, np.float32))
    assert len(recording) == 3  # nothing is noted after it was made


def test_arrays_of_the_pool_are_kept_without_their_memory(monkeypatch):
    freed = []

    def unowned(x):
        freed.append(x)
        return memory.SimulatedArray(x._ary)

    monkeypatch.setattr(pool.PrivatePool, "holds", lambda self, address: address != memory.address(x))
    monkeypatch.setattr(memory, "unowned", unowned)
    x = nc.cuda.to_device(np.ones(8, np.float32))
    recording = Recording(lambda: arrays.add(arrays.add(x, x), x))
    assert len(freed) == 3  # two results, and the first as an operand
    arrays.write(x, np.full(8, 2, np.float32))
    recording.run()
    np.testing.assert_array_equal(nc.cuda.to_host(recording.results), np.full(8, 6))


class Context:
    """A device whose memory is counted out."""

    device = SimpleNamespace(id=0)

    def __init__(self):
        self.used = 0

    def memalloc(self, size):
        self.used += size
        return SimpleNamespace(device_pointer=1 << 20 | self.used - size)


def test_a_private_pool_lends_again_and_gives_nothing_away():
    context, own = Context(), pool.PrivatePool()
    key, piece = own.borrow(context, 0, 1000)
    own.give_back(key, piece, 0)  # none may lie idle in a pool for all
    own.drop()
    again = own.borrow(context, 0, 600)
    assert again[1] is piece and context.used == 1024
    other = own.borrow(context, 0, 600)[1]
    assert other is not piece
    for address, held in ((piece.device_pointer, True), (other.device_pointer + 1023, True), (1 << 19, False)):
        assert own.holds(address) == held
    assert not own.holds(other.device_pointer + 1024)


def test_a_pool_lends_within_its_block():
    own = pool.PrivatePool()
    assert pool._lending.get() is pool.shared
    with pool.lending(own):
        assert pool._lending.get() is own
    assert pool._lending.get() is pool.shared
