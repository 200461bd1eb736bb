"""Small kernels of what a warp does together, to be simulated and compiled."""

import pytest

pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numba import cuda, float32, uint16, uint32

from numconv.kernels.cuda import launch, ptx


@launch.kernel(threads=32)
def loaded(count, transposed):
    load = ptx.load_matrices(count, transposed)

    def body(x, out):
        shared = cuda.shared.array(256, uint16, alignment=16)
        registers = cuda.local.array(4, uint32)
        lane = cuda.threadIdx.x
        for i in range(8):
            shared[8 * lane + i] = x[8 * lane + i]
        cuda.syncwarp()
        load(registers, 0, shared, 8 * lane)
        for i in range(count):
            out[4 * lane + i] = registers[i]

    return body


@launch.kernel(threads=32)
def multiplied(dtype, rounds):
    """sums + a b of two by two tiles."""
    multiply, a_to_tf32, b_to_tf32 = ptx.multiply_add(dtype, 2, 2), ptx.to_tf32(8), ptx.to_tf32(4)

    def body(left, right, out):
        a, b, sums = cuda.local.array(8, uint32), cuda.local.array(4, uint32), cuda.local.array(16, float32)
        lane = cuda.threadIdx.x
        for i in range(8):
            a[i] = left[8 * lane + i]
        for i in range(4):
            b[i] = right[4 * lane + i]
        for i in range(16):
            sums[i] = float32(1)
        if rounds:
            a_to_tf32(a, 0)
            b_to_tf32(b, 0)
        multiply(sums, a, 0, b, 0)
        for i in range(16):
            out[16 * lane + i] = sums[i]

    return body


@launch.kernel(threads=32)
def staged(pitch):
    """Two 16 x 8 tiles of sums, the elements of which tell their place, by way of shared memory."""
    store = ptx.store_tiles(2)

    def body(out):
        shared, sums = cuda.shared.array(512, float32, alignment=16), cuda.local.array(12, float32)
        lane = cuda.threadIdx.x
        for i in range(8):
            row, column = lane // 4 + i % 4 // 2 * 8, i // 4 * 8 + lane % 4 * 2 + i % 2
            sums[4 + i] = float32(100 * row + column)
        store(shared, 16, pitch, sums, 4)
        cuda.syncwarp()
        for i in range(lane, 256, 32):
            out[i] = shared[16 + i // 16 * pitch + i % 16]

    return body


@launch.kernel(threads=64)
def copied(commits, most, meets, size, offset):
    """out = x by asynchronous copies of 16 bytes, in two groups; each thread reads what its neighbour copied."""
    wait = ptx.wait_copies(most) if most is not None else None

    def body(x, out):
        shared = cuda.shared.array(512, float32, alignment=16)
        thread = cuda.threadIdx.x
        for half in range(2):
            ptx.copy16(shared, 256 * half + 4 * thread, x, 256 * half + 4 * thread + offset, size)
            if commits:
                ptx.commit_copies()
        if wait is not None:
            wait()
        if meets:
            cuda.syncthreads()
        for half in range(2):
            for i in range(4):
                at = 256 * half + 4 * (thread ^ 1) + i
                out[at] = shared[at]

    return body
