"""The weight's gradient on tensor cores, of bfloat16 and float16.

    gradient[r, q] = sum over k of  output_gradient[k, r] * image[k, q]       k = image and position, q = tap and source

Both matrices lie with k from row to row, so tiles are 32 rows of k in shared memory, of 64 or 128 results or columns,
and `ldmatrix` transposes what it reads. The 16 bytes with number c of row k lie at c ^ (k % 8): the eight rows of a
matrix then lie in different banks. A thread copies the same column of every tile, so its tap is known; where it lies in
the image is found for each k. Few tiles have many k's: these are shared out among blocks in a number that depends on
the problem alone, and the float32 sums of the parts are added in order by a second kernel. Stages and fragments are
those of `tensor_core_tile`.
"""

from __future__ import annotations

import math

from numba import cuda
from numpy import float32, int32, int64, uint32, uint64

from numconv.algorithm import Algorithm
from numconv.kernels.cuda import channels_last, launch, memory, ptx, values
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.sweep import Phase, phases, strides
from numconv.kernels.cuda.tensor_core_tile import THREADS, Tile
from numconv.problem import HALF, LAST, ConvProblem, remembered

CHUNK = 8  # elements of 16 bytes
DEPTH = 32  # of k in a step
TILES = (Tile(128, 128, 64, 64, 3, 1.6), Tile(64, 128, 64, 64, 4, 1.75), Tile(64, 64, 32, 32, 4, 3.0))
BLOCKS = 2 * 132  # that an H100 runs at once
LEAST_STEPS = 16  # of a block; estimate, not measured
MOST_PARTS = 32 << 20  # bytes
MOST_GROUPS = 65535
FAR = 1 << 29  # coordinates are computed with 32 bits


@launch.function
def find(phase: Phase):
    """`find(phase)(k, in_d, in_h, in_w)`: (element that a tap sees from position k, whether it is one).

    From the first position of all it sees the point (in_d, in_h, in_w).
    """
    d, h, w, x_s = phase.d, phase.h, phase.w, phase.x
    index = int64 if phase.wide else int32

    def found(k, in_d, in_h, in_w):
        rest = uint32(k // uint32(w.positions))
        at_w = int32(int32(k % uint32(w.positions)) * w.stride + in_w)
        at_h = int32(int32(rest % uint32(h.positions)) * h.stride + in_h)
        rest = uint32(rest // uint32(h.positions))
        at_d = int32(int32(rest % uint32(d.positions)) * d.stride + in_d)
        n = index(rest // uint32(d.positions))
        # Negative ones are large when unsigned.
        inside = (uint32(at_d) < d.size) & (uint32(at_h) < h.size) & (uint32(at_w) < w.size)
        at = index(n * x_s.n + index(at_d) * x_s.d + index(at_h) * x_s.h + index(at_w) * x_s.w)
        return at, inside

    def same(k, in_d, in_h, in_w):
        return index(index(k) * x_s.w), True

    whole = all(axis[3:7] == (axis.positions, 1, 1, 0) for axis in (d, h, w))  # pointwise
    return same if whole else found


@launch.kernel(threads=(THREADS, 2))
def dot(phase: Phase, dtype: str, tile: Tile):
    """The sums of one part of k: `steps` of a block, `count` k's in all."""
    d, h, w, sources, results = phase.d, phase.h, phase.w, phase.sources, phase.results
    index, unsigned = (int64, uint64) if phase.wide else (int32, uint32)
    columns, channels = phase.taps * sources, phase.groups * results
    blocks_along = launch.blocks(columns, tile.columns)
    find_source = find(phase)

    left_words, right_words = tile.rows // 2, tile.columns // 2  # of a row of k
    right = DEPTH * left_words  # where the image's rows begin in a stage
    stages, stage = tile.stages, DEPTH * (left_words + right_words)
    last_stage = (stages - 1) * stage
    left_chunks, right_chunks = tile.rows // CHUNK, tile.columns // CHUNK
    left_rows, right_rows = tile.threads // left_chunks, tile.threads // right_chunks  # copied at once
    warp_rows, warp_columns = tile.warp_rows, tile.warp_columns
    warps_across = tile.columns // warp_columns
    tiles_down, tiles_across = warp_rows // 16, warp_columns // 8
    shared_size, sums_size = stages * stage, 4 * tiles_down * tiles_across
    a_size, b_size = 2 * 4 * tiles_down, 2 * 2 * tiles_across
    half, pitch, lanes = tiles_down // 2, warp_columns + 8, warp_columns // 4
    load4, wait = ptx.load_matrices(4, True), ptx.wait_copies(tile.stages - 2)
    multiply_add, stage_sums = ptx.multiply_add(dtype, tiles_down, tiles_across), ptx.store_tiles(tiles_across)

    @launch.inlined
    def swizzled(row, chunk, words):
        return uint32(row * uint32(words) + (chunk ^ (row & uint32(7))) * uint32(4))

    @launch.inlined
    def fill(shared, to, gradient, x, thread, k, end, result, own, in_d, in_h, in_w):
        """Begin the copies of a step; `result` is this thread's, of `results` or none, `own` its source channel."""
        row, chunk = uint32(thread // uint32(left_chunks)), uint32(thread % uint32(left_chunks))
        for i in range(DEPTH // left_rows):
            there = uint32(row + uint32(i * left_rows))
            valid = (uint32(k + there) < end) & (result >= 0)
            at = unsigned(index(k + there) * channels + result) if valid else unsigned(0)
            target = uint32(to + swizzled(there, chunk, left_words))
            ptx.copy16(shared, target, gradient, at, uint32(16) if valid else uint32(0))
        row, chunk = uint32(thread // uint32(right_chunks)), uint32(thread % uint32(right_chunks))
        for i in range(DEPTH // right_rows):
            there = uint32(row + uint32(i * right_rows))
            at, inside = find_source(uint32(k + there), in_d, in_h, in_w)
            valid = inside & (uint32(k + there) < end) & (own >= 0)
            at = unsigned(at + own) if valid else unsigned(0)
            target = uint32(to + uint32(right) + swizzled(there, chunk, right_words))
            ptx.copy16(shared, target, x, at, uint32(16) if valid else uint32(0))

    @launch.inlined
    def fragments(shared, a, b, which, at, a_row, a_chunk, b_row, b_chunk):
        """Read those of 16 k's."""
        for i in range(tiles_down):
            place = uint32(at + swizzled(a_row, uint32(a_chunk + uint32(2 * i)), left_words))
            load4(a, which * 4 * tiles_down + 4 * i, shared, place)
        for i in range(tiles_across // 2):
            place = uint32(at + uint32(right) + swizzled(b_row, uint32(b_chunk + uint32(2 * i)), right_words))
            load4(b, which * 2 * tiles_across + 4 * i, shared, place)

    def body(x, gradient, out, count, steps):
        shared = cuda.shared.array(shared_size, float32, alignment=16)
        sums = cuda.local.array(sums_size, float32)
        a, b = cuda.local.array(a_size, uint32), cuda.local.array(b_size, uint32)
        thread, group = uint32(cuda.threadIdx.x), index(cuda.blockIdx.y)
        column = int32(uint32(cuda.blockIdx.x) % uint32(blocks_along)) * tile.columns
        first = int32(uint32(cuda.blockIdx.x) // uint32(blocks_along)) * tile.rows
        for i in range(sums_size):
            sums[i] = float32(0)

        k = uint32(uint32(cuda.blockIdx.z) * uint32(steps) * uint32(DEPTH))
        end = uint32(min(int64(count), int64(k) + int64(steps) * DEPTH))
        result = int32(first + int32(thread % uint32(left_chunks)) * CHUNK)
        result = index(group * results + result) if result < results else index(-1)
        q = uint32(column + int32(thread % uint32(right_chunks)) * CHUNK)
        own = index(group * sources + index(q % uint32(sources))) if q < columns else index(-1)
        tap = uint32(q // uint32(sources))
        rest = uint32(tap // uint32(w.taps))
        in_w = int32(w.offset + int32(tap % uint32(w.taps)) * w.offset_step)
        in_h = int32(h.offset + int32(rest % uint32(h.taps)) * h.offset_step)
        in_d = int32(d.offset + int32(rest // uint32(h.taps)) * d.offset_step)

        # Which row of 8 results or columns its lane names: the second half of lanes are 8 k's or 8 columns further.
        lane, warp = uint32(thread & uint32(31)), uint32(thread >> uint32(5))
        down, across = uint32(warp // uint32(warps_across)), uint32(warp % uint32(warps_across))
        low, high = uint32((lane >> uint32(3)) & uint32(1)), uint32(lane >> uint32(4))
        a_row = uint32((lane & uint32(7)) + high * uint32(8))
        b_row = uint32((lane & uint32(7)) + low * uint32(8))
        a_chunk = uint32(down * uint32(warp_rows // CHUNK) + low)
        b_chunk = uint32(across * uint32(warp_columns // CHUNK) + high)
        a_next, b_next = uint32(a_row + uint32(16)), uint32(b_row + uint32(16))

        for i in range(stages - 1):
            if i < steps:
                fill(shared, uint32(i * stage), gradient, x, thread, k, end, result, own, in_d, in_h, in_w)
                k = uint32(k + uint32(DEPTH))
            ptx.commit_copies()
        wait()
        cuda.syncthreads()
        fragments(shared, a, b, 0, uint32(0), a_row, a_chunk, b_row, b_chunk)
        read, write = uint32(0), uint32(last_stage)
        for step in range(steps):
            fragments(shared, a, b, 1, read, a_next, a_chunk, b_next, b_chunk)
            if step < steps - stages + 1:
                fill(shared, write, gradient, x, thread, k, end, result, own, in_d, in_h, in_w)
                k = uint32(k + uint32(DEPTH))
            ptx.commit_copies()
            multiply_add(sums, a, 0, b, 0)
            wait()
            cuda.syncthreads()
            write = read
            read = uint32(0) if read == uint32(last_stage) else uint32(read + uint32(stage))
            fragments(shared, a, b, 0, read, a_row, a_chunk, b_row, b_chunk)
            multiply_add(sums, a, 4 * tiles_down, b, 2 * tiles_across)

        cuda.syncthreads()  # the fragments read last are not used, but a race checker would see them written over
        mine = uint32(warp * uint32(half * 16 * pitch))
        row, rank = uint32(lane // uint32(lanes)), uint32(lane % uint32(lanes)) * uint32(4)
        q = uint32(uint32(column) + across * uint32(warp_columns) + rank)
        r = int64(first) + int64(down) * warp_rows + int64(row)
        for part in range(2):
            for i in range(half):
                tiles = 4 * tiles_across * (part * half + i)
                stage_sums(shared, uint32(mine + uint32(i * 16 * pitch)), pitch, sums, tiles)
            cuda.syncwarp()
            for i in range(half * 16 * lanes // 32):
                if r < results and q < columns:
                    o = (int64(cuda.blockIdx.z) * channels + int64(group) * results + r) * columns + int64(q)
                    at = uint32(mine + (row + uint32(i * (32 // lanes))) * uint32(pitch) + rank)
                    ptx.store4(out, o, ptx.load4(shared, at))
                r += 32 // lanes
            cuda.syncwarp()

    return body


@launch.kernel(threads=256)
def add_up(phase: Phase, dtype: str, results: int, sources: int):
    """The weight's gradient from its parts, in order, for so many results of each group and sources of each tap."""
    padded, padded_results, taps, store = phase.sources, phase.results, phase.taps, values.store(dtype)
    size = phase.groups * phase.results * taps * padded

    def body(parts, out, many):
        i = int64(cuda.grid(1))
        s, tap, row = i % padded, i // padded % taps, i // (padded * taps)
        r, g = row % padded_results, row // padded_results
        if i < size and r < results and s < sources:
            total = float32(0)
            for part in range(many):
                total += parts[part * size + i]
            store(out, ((g * results + r) * sources + s) * taps + tap, total)

    return body


class TensorCoreWeight(Algorithm):
    """Weight pass."""

    name = "tensor_core"
    accepts = ("grouped_2", "dilated_strided", "no_images", "causal_1d", "conv_3d_unlike")

    def rejects(self, problem: ConvProblem) -> str | None:
        dtype = problem.dtype.name
        if dtype not in HALF:
            return f"tensor cores sum the weight's gradient of bfloat16 and float16, not of {dtype}"
        if problem.groups > MOST_GROUPS:
            return f"there must be at most {MOST_GROUPS} groups, got {problem.groups}"
        if not problem.n * math.prod(problem.out_spatial) or not problem.co or not problem.ci:
            return "there is nothing to sum"
        if problem.n * math.prod(problem.out_spatial) >= 1 << 31:
            return "there must be fewer than 2^31 positions in all images"
        if (
            max(*problem.stride, *map(math.prod, zip(problem.kernel, problem.dilation)), *map(max, problem.padding))
            > FAR
        ):
            return f"strides, dilated kernels and paddings must be at most {FAR}"
        return None

    def cost(self, problem: ConvProblem) -> float:
        """Estimate, not measured: the tiles' clocks at 1.7 GHz, at least the bytes, copies with them, at 2.5 TB/s."""
        phase, (tile, parts, steps) = filled_phase(problem), schedule(problem)
        blocks = parts * tiles(phase, tile)
        clocks = launch.blocks(blocks, 132) * steps * 2 * (tile.rows * tile.columns // 128) * tile.clocks
        size = problem.bytes + 2 * (self.shared_bytes(problem))
        return 1e-5 + max(clocks / 1.7e9, size / 2.5e12)

    def error_bound(self, problem: ConvProblem) -> float:
        """Rounding of the result, and truncation of the sums, once for each mma along k."""
        _, parts, steps = schedule(problem)
        return {"bfloat16": 2**-8, "float16": 2**-10}[problem.dtype.name] + (parts + 2 * steps) * 2**-22

    def shared_bytes(self, problem: ConvProblem) -> int:
        image, gradient = copies(problem)
        return image + gradient + schedule(problem)[1] * part_bytes(filled_phase(problem))

    def run(self, problem, packed, x, bias, residual, out, workspace):
        phase, dtype, (tile, parts, steps) = filled_phase(problem), problem.dtype.name, schedule(problem)
        last, (image, gradient) = problem.layout_in == LAST, copies(problem)
        sources, results = problem.ci // problem.groups, problem.co // problem.groups
        if image:
            whole = memory.seen_as(memory.part(workspace, 0, 0, image), problem.dtype)
            positions = math.prod(problem.spatial)
            channels_last.copy_into(whole, x, last, phase.groups, sources, phase.sources, positions)
            x = whole
        if gradient:
            whole = memory.seen_as(memory.part(workspace, 0, image, image + gradient), problem.dtype)
            last = problem.layout_out == LAST
            channels_last.copy_into(whole, packed, last, phase.groups, results, phase.results, phase.positions)
            packed = whole
        sums = memory.seen_as(memory.part(workspace, 0, image + gradient, workspace.size), "float32")
        grid = tiles(phase, tile) // phase.groups, phase.groups, parts
        count = problem.n * phase.positions
        dot(phase, dtype, tile)(grid, tile.threads, flat(x), flat(packed), sums, count, steps)
        numbers = part_bytes(phase) // 4
        add_up(phase, dtype, results, sources)(launch.blocks(numbers, 256), 256, sums, flat(out), parts)


@remembered
def filled_phase(problem: ConvProblem) -> Phase:
    """The pass on arrays that have their channels last, filled up to 16 bytes in each group."""
    (phase,) = phases(problem)
    sources, results = (launch.blocks(c, CHUNK) * CHUNK for c in (phase.sources, phase.results))
    lie = strides(LAST, phase.groups * sources, problem.spatial)
    return phase._replace(sources=sources, results=results, x=lie)


@remembered
def copies(problem: ConvProblem) -> tuple[int, int]:
    """Bytes of the copies of image and output gradient, 0 where none is needed."""
    phase, size = filled_phase(problem), problem.dtype.itemsize
    image = problem.layout_in != LAST or problem.ci != phase.groups * phase.sources
    gradient = problem.layout_out != LAST or problem.co != phase.groups * phase.results
    channels = phase.groups * phase.results
    return (
        problem.n * phase.x.n * size if image else 0,
        problem.n * phase.positions * channels * size if gradient else 0,
    )


def part_bytes(phase: Phase) -> int:
    """Of the float32 sums of one part."""
    return 4 * phase.groups * phase.results * phase.taps * phase.sources


def tiles(phase: Phase, tile: Tile) -> int:
    """Of all groups."""
    rows, columns = launch.blocks(phase.results, tile.rows), launch.blocks(phase.taps * phase.sources, tile.columns)
    return phase.groups * rows * columns


@remembered
def schedule(problem: ConvProblem) -> tuple[Tile, int, int]:
    """The tile, in how many parts k is summed, and the steps of each."""
    phase = filled_phase(problem)
    # The fewest clocks if all multiprocessors were busy.
    tile = min(TILES, key=lambda t: tiles(phase, t) * t.rows * t.columns * t.clocks)
    steps = launch.blocks(problem.n * phase.positions, DEPTH)
    most = min(BLOCKS // tiles(phase, tile), steps // LEAST_STEPS, MOST_PARTS // part_bytes(phase))
    each = launch.blocks(steps, max(most, 1))
    return tile, launch.blocks(steps, each), each
