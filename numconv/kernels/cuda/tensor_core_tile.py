"""Implicit GEMM on tensor cores: bfloat16 and float16, and float32 rounded to TF32 where the caller asks for "fast".

    result[m, r] = sum over k of  image[m, k] * weight[r, k]        m = image and position, k = tap and source channel

The image's matrix exists only as tiles in shared memory, of rows of 64 bytes: a block of four warps computes a tile of
the result, each warp a quarter of it, and goes along k in steps of 64 bytes through a ring of three or four stages.
Each stage is filled by asynchronous copies of 16 bytes, side by side along the source channels; what lies in the
padding, behind the last position or behind the last tap is filled with zeros. The 16 bytes with number c of row r lie
at c ^ (r / 2 % 4), so that neither copies nor `ldmatrix` meet in a bank. A warp reads the fragments for the next
`mma.sync`s while those before are multiplied. Whether a tap lies within the image is one bit for each axis and tap,
found once for each row. Sums are float32; they go through shared memory to the epilogue, which reads and writes four
neighbouring channels at a time.

Of a float32 tile 64 x 64 of a warp, 8 ldmatrix feed 32 mma: shared memory allows two thirds of the tensor cores' peak,
just above what `mma.sync` reaches on an H100. The scheme is CUTLASS's for Ampere (implicit GEMM, analytic iterators).
"""

from __future__ import annotations

from typing import NamedTuple

from numba import cuda
from numpy import float32, int32, int64, uint32, uint64

from numconv.kernels.cuda import epilogue, launch, ptx
from numconv.kernels.cuda.epilogue import Epilogue
from numconv.kernels.cuda.sweep import Axis, Phase
from numconv.kernels.cuda.tensor_core_result import finish, pitch_of, target

CHUNKS = 4  # of 16 bytes in a row of a tile
WORDS = 4 * CHUNKS  # of 32 bits in a row


class Tile(NamedTuple):
    """What a block and each of its warps compute, and how many stages its ring has."""

    rows: int
    columns: int
    warp_rows: int
    warp_columns: int
    stages: int
    clocks: float  # of a multiprocessor for one mma: an estimate, not measured

    @property
    def threads(self) -> int:
        return 32 * (self.rows // self.warp_rows) * (self.columns // self.warp_columns)


# The clocks are those that shared memory takes for the copies and ldmatrix, at least the 1.6 of mma.sync.
TILES = (Tile(128, 128, 64, 64, 3, 1.6), Tile(128, 64, 64, 64, 4, 1.75), Tile(64, 64, 32, 32, 4, 3.0))
THREADS = 128  # at most


def chunk_of(dtype: str) -> int:
    """Elements of 16 bytes."""
    return 4 if dtype == "float32" else 8


def packed_length(phase: Phase, dtype: str) -> int:
    """Elements of a row of the packed weight: those of k, filled up to whole steps of 64 bytes."""
    depth = CHUNKS * chunk_of(dtype)
    return launch.blocks(phase.taps * phase.sources, depth) * depth


@launch.function
def locate(phase: Phase):
    """`locate(phase)(m)`: (element of the source that the first tap of a row sees, which taps lie outside)."""
    d, h, w, x_s = phase.d, phase.h, phase.w, phase.x
    index = int64 if phase.wide else int32
    at_h, at_w = d.taps + 1, d.taps + 1 + h.taps

    def outside(axis: Axis, shift: int):
        size, step, taps = axis.size, axis.offset_step, axis.taps

        def bits(first):
            found = uint32(0)
            for j in range(taps):
                if not 0 <= first + j * step < size:
                    found = uint32(found | uint32(uint32(1) << uint32(shift + j)))
            return found

        return launch.inlined(bits)

    d_bits, h_bits, w_bits = outside(d, 0), outside(h, at_h), outside(w, at_w)
    behind = uint32(1 << d.taps)

    def located(m):
        rest = m // uint32(w.positions)
        in_w = int32(m % uint32(w.positions)) * w.stride + w.offset
        in_h = int32(rest % uint32(h.positions)) * h.stride + h.offset
        rest = uint32(rest // uint32(h.positions))
        in_d = int32(rest % uint32(d.positions)) * d.stride + d.offset
        n = index(rest // uint32(d.positions))
        base = index(n * x_s.n + in_d * x_s.d + in_h * x_s.h + in_w * x_s.w)
        return base, uint32(behind | d_bits(in_d) | h_bits(in_h) | w_bits(in_w))

    return located


@launch.kernel(threads=(THREADS, 2))
def multiply(phase: Phase, dtype: str, tile: Tile, padded: int, after: Epilogue):
    """Forward and input pass: a phase of `count` rows; `padded` are the rows of a group's packed weight."""
    d, h, w, sources, results = phase.d, phase.h, phase.w, phase.sources, phase.results
    index, unsigned = (int64, uint64) if phase.wide else (int32, uint32)
    chunk, length = chunk_of(dtype), packed_length(phase, dtype)
    depth = CHUNKS * chunk
    steps = length // depth
    blocks_along = launch.blocks(results, tile.columns)
    at_h, at_w = d.taps + 1, d.taps + 1 + h.taps
    d_step, h_step, w_step = d.offset_step * phase.x.d, h.offset_step * phase.x.h, w.offset_step * phase.x.w
    one = uint32(1)
    together = sources % depth == 0  # all threads of a block are then at the same tap
    locate_row, place = locate(phase), target(phase)

    stages, stage = tile.stages, (tile.rows + tile.columns) * WORDS
    last_stage = (stages - 1) * stage
    lines = tile.threads // CHUNKS  # that the block copies at once
    image_lines, weight_lines = tile.rows // lines, tile.columns // lines
    warp_rows, warp_columns = tile.warp_rows, tile.warp_columns
    warps_across = tile.columns // warp_columns
    tiles_down, tiles_across = warp_rows // 16, warp_columns // 8
    shared_size, sums_size = stages * stage, 4 * tiles_down * tiles_across
    a_size, b_size = 2 * 4 * tiles_down, 2 * 2 * tiles_across  # fragments of 32 bytes of k, twice
    half = tiles_down // 2  # rows of tiles that are staged at once
    pitch = pitch_of(phase, warp_columns)
    load4, wait = ptx.load_matrices(4), ptx.wait_copies(tile.stages - 2)
    multiply_add = ptx.multiply_add(dtype, tiles_down, tiles_across)
    round_image = ptx.to_tf32(4 * tiles_down) if dtype == "float32" else None
    stage_sums = ptx.store_tiles(tiles_across)
    store_rows = finish(phase, dtype, half * 16, warp_columns, after)

    @launch.inlined
    def fill(shared, to, x, base, outside, weight, at, k):
        """Begin the copies of a step into a stage: those of this thread from k on, `at` in the weight."""
        tap, s = uint32(k // uint32(sources)), index(k % uint32(sources))
        rest, jw = uint32(tap // uint32(w.taps)), uint32(tap % uint32(w.taps))
        jd, jh = uint32(rest // uint32(h.taps)), uint32(rest % uint32(h.taps))
        jd = jd if jd < d.taps else uint32(d.taps)  # behind the last tap
        bits = uint32(uint32(one << jd) | uint32(one << uint32(jh + uint32(at_h))))
        bits = uint32(bits | uint32(one << uint32(jw + uint32(at_w))))
        delta = index(index(jd) * d_step + index(jh) * h_step + index(jw) * w_step + s)
        for i in range(image_lines):
            valid = uint32(outside[i] & bits) == uint32(0)
            source = unsigned(base[i] + delta) if valid else unsigned(0)  # extended to 64 bits by no instruction
            ptx.copy16(shared, uint32(to + uint32(i * lines * WORDS)), x, source, uint32(16) if valid else uint32(0))
        to = uint32(to + uint32(tile.rows * WORDS))
        for i in range(weight_lines):
            ptx.copy16(shared, uint32(to + uint32(i * lines * WORDS)), weight, at + i * lines * length, uint32(16))

    @launch.inlined
    def fragments(shared, a, b, which, image_at, weight_at):
        """Read those of 32 bytes of k."""
        for i in range(tiles_down):
            load4(a, which * 4 * tiles_down + 4 * i, shared, uint32(image_at + uint32(i * 16 * WORDS)))
        for i in range(tiles_across // 2):
            load4(b, which * 2 * tiles_across + 4 * i, shared, uint32(weight_at + uint32(i * 16 * WORDS)))
        if round_image is not None:
            round_image(a, which * 4 * tiles_down)

    def body(x, weight, bias, residual, out, count):
        shared = cuda.shared.array(shared_size, float32, alignment=16)
        sums = cuda.local.array(sums_size, float32)
        a, b = cuda.local.array(a_size, uint32), cuda.local.array(b_size, uint32)
        base = cuda.local.array(image_lines, index)
        outside = cuda.local.array(image_lines, uint32)
        thread, group = uint32(cuda.threadIdx.x), index(cuda.blockIdx.y)
        across = index(uint32(cuda.blockIdx.x) % uint32(blocks_along))
        first = uint32(uint32(uint32(cuda.blockIdx.x) // uint32(blocks_along)) * uint32(tile.rows))
        for i in range(sums_size):
            sums[i] = float32(0)

        # What this thread copies: 16 bytes of some rows.
        line, own = uint32(thread >> uint32(2)), uint32(thread & uint32(3))
        skip = index(index(own) * chunk)
        for i in range(image_lines):
            m = uint32(first + line + uint32(i * lines))
            base[i], outside[i] = 0, uint32(0xFFFFFFFF)
            if m < count:
                start, bits = locate_row(m)
                base[i] = index(start + group * sources + (skip if together else 0))
                outside[i] = bits
        to = uint32(line * uint32(WORDS) + (own ^ ((line >> uint32(1)) & uint32(3))) * uint32(4))
        at = (int64(group) * padded + int64(across) * tile.columns + int64(line)) * length + int64(skip)
        k = uint32(0) if together else uint32(skip)

        # Which row of 16 bytes its lane names, in the first 32 bytes of k and, a bit further, in the second.
        lane, warp = uint32(thread & uint32(31)), uint32(thread >> uint32(5))
        down = uint32(uint32(warp // uint32(warps_across)) * uint32(warp_rows))
        right = uint32((warp % uint32(warps_across)) * uint32(warp_columns))
        turn = uint32((lane >> uint32(1)) & uint32(3))
        image_at = uint32((down + (lane & uint32(15))) * uint32(WORDS))
        image_at = uint32(image_at + ((lane >> uint32(4)) ^ turn) * uint32(4))
        weight_at = uint32(uint32(tile.rows) + right + (lane & uint32(7)) + (lane >> uint32(4)) * uint32(8))
        weight_at = uint32(weight_at * uint32(WORDS) + (((lane >> uint32(3)) & uint32(1)) ^ turn) * uint32(4))
        image_next, weight_next = uint32(image_at ^ uint32(8)), uint32(weight_at ^ uint32(8))

        for i in range(stages - 1):
            if i < steps:
                fill(shared, uint32(to + uint32(i * stage)), x, base, outside, weight, at, k)
                k, at = uint32(k + uint32(depth)), at + depth
            ptx.commit_copies()
        wait()
        cuda.syncthreads()
        if steps:
            fragments(shared, a, b, 0, image_at, weight_at)
        read, write = uint32(0), uint32(last_stage)
        for step in range(steps):
            fragments(shared, a, b, 1, uint32(read + image_next), uint32(read + weight_next))
            if step < steps - stages + 1:
                fill(shared, uint32(write + to), x, base, outside, weight, at, k)
                k, at = uint32(k + uint32(depth)), at + depth
            ptx.commit_copies()
            multiply_add(sums, a, 0, b, 0)
            wait()
            cuda.syncthreads()
            write = read
            read = uint32(0) if read == uint32(last_stage) else uint32(read + uint32(stage))
            fragments(shared, a, b, 0, uint32(read + image_at), uint32(read + weight_at))
            multiply_add(sums, a, 4 * tiles_down, b, 2 * tiles_across)

        cuda.syncthreads()  # the fragments read last are not used, but a race checker would see them written over
        mine = uint32(warp * uint32(half * 16 * pitch))
        channel, m = index(across * tile.columns + index(right)), uint32(first + down)
        for part in range(2):
            for i in range(half):
                tiles = 4 * tiles_across * (part * half + i)
                stage_sums(shared, uint32(mine + uint32(i * 16 * pitch)), pitch, sums, tiles)
            cuda.syncwarp()
            store_rows(shared, mine, lane, m, count, channel, group, place, bias, residual, out)
            m = uint32(m + uint32(half * 16))
            cuda.syncwarp()

    return epilogue.entry(body, after)
