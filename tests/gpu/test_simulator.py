"""The simulator's own errors: what a GPU would leave to chance."""

import numpy as np
import pytest

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numba import cuda, float32  # noqa: E402

from numconv.kernels.cuda import launch, memory, ptx  # noqa: E402

THREADS = 64


@launch.kernel(threads=THREADS)
def reversed_by(barrier):
    """out = x backwards, through shared memory."""

    def body(x, out):
        shared, t = cuda.shared.array(THREADS, float32), cuda.threadIdx.x
        shared[t] = x[t]
        if barrier == "block":
            cuda.syncthreads()
        elif barrier == "warp":
            cuda.syncwarp()
        out[t] = shared[THREADS - 1 - t]

    return body


@launch.kernel(threads=THREADS)
def stored(place):
    """One store by each thread, somewhere."""
    places = {"before": -1, "after": THREADS, "inside": 0}
    offset = places[place]

    def body(x, out):
        t = cuda.threadIdx.x
        out[t * 0 + offset] = x[t]

    return body


@launch.kernel(threads=THREADS)
def leaving(_):
    """Half of the threads end before the barrier."""

    def body(x, out):
        t = cuda.threadIdx.x
        if t < THREADS // 2:
            return
        cuda.syncthreads()
        out[t] = x[t]

    return body


@launch.kernel(threads=THREADS)
def overwriting(barriers):
    """Two rounds through the same shared memory: the second may come before all have read the first."""

    def body(x, out):
        shared, t = cuda.shared.array(THREADS, float32), cuda.threadIdx.x
        for turn in range(2):
            shared[t] = x[t] + turn
            cuda.syncthreads()
            if turn == 0:
                out[t] = shared[THREADS - 1 - t]
            if barriers == 2:
                cuda.syncthreads()

    return body


@launch.kernel(threads=THREADS)
def moved(step):
    """Four elements at a time."""

    def body(x, out):
        i = cuda.threadIdx.x * step
        ptx.store4(out, i, ptx.load4(x, i))

    return body


def ran(kernel, threads=THREADS):
    x, out = memory.to_device(np.arange(THREADS, dtype=np.float32)), memory.empty((THREADS,), np.float32)
    kernel(1, threads, x, out)
    return memory.to_host(out)


def test_what_nobody_has_written_is_no_number():
    assert np.isnan(memory.to_host(memory.empty((3,), np.float32))).all()
    assert (ran(reversed_by("block")) == np.arange(THREADS)[::-1]).all()
    assert np.isnan(ran(reversed_by("none"))[: THREADS // 2]).all()


def test_a_warp_waits_for_itself_alone():
    assert np.isnan(ran(reversed_by("warp"))[: THREADS // 2]).all()


def test_reading_late_what_another_has_overwritten():
    assert (ran(overwriting(2)) == np.arange(THREADS)[::-1]).all()
    assert (ran(overwriting(1)) != np.arange(THREADS)[::-1]).any()


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_store_outside_of_an_array(place):
    with pytest.raises(IndexError, match=r"thread \(0, 0, 0\) of block \(0, 0, 0\)"):
        ran(stored(place))
    ran(stored("inside"))


def test_threads_that_never_come_to_the_barrier():
    with pytest.raises(RuntimeError, match="stuck"):
        ran(leaving(0))


def test_wide_accesses_are_aligned_and_inside():
    assert (ran(moved(4), THREADS // 4) == np.arange(THREADS)).all()
    with pytest.raises(IndexError, match="multiple"):
        ran(moved(2), THREADS // 4)
    with pytest.raises(IndexError, match="at index 64"):
        ran(moved(4), THREADS // 4 + 1)
