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

import math
from typing import Any, NamedTuple

from numba import cuda, float32, int32, int64, uint32

from numconv.algorithm import Algorithm
from numconv.kernels.cuda import epilogue, launch, memory, ptx, values
from numconv.kernels.cuda.epilogue import Epilogue
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.sweep import Axis, Phase, phases
from numconv.problem import HALF, LAST, ConvProblem

CHUNKS = 4  # of 16 bytes in a row of a tile
WORDS = 4 * CHUNKS  # of 32 bits in a row
PITCH = 8  # words behind a row of staged sums: pairs of eight rows then lie in different banks


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
MULTIPROCESSORS = 132  # of an H100; the estimates are for one
MOST_GROUPS = 65535  # blocks along a grid's second axis


def depth_of(dtype: str) -> int:
    """Elements of k in a row of a tile."""
    return CHUNKS * (4 if dtype == "float32" else 8)


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


@launch.function
def target(phase: Phase):
    """`target(phase)(m)`: the element of the result where a row's channels begin."""
    d, h, w, out_s = phase.d, phase.h, phase.w, phase.out
    index = int64 if phase.wide else int32

    def placed(m):
        rest = uint32(m // uint32(w.positions))
        out_w = index(m % uint32(w.positions)) * w.step + w.start
        out_h = index(rest % uint32(h.positions)) * h.step + h.start
        rest = uint32(rest // uint32(h.positions))
        out_d = index(rest % uint32(d.positions)) * d.step + d.start
        n = index(rest // uint32(d.positions))
        return index(n * out_s.n + out_d * out_s.d + out_h * out_s.h + out_w * out_s.w)

    def straight(m):
        return index(m * index(out_s.w))

    whole = all(axis.start == 0 and axis.step == 1 for axis in (d, h, w))
    return straight if whole and out_s.n == phase.positions * out_s.w else placed


@launch.function
def ending(dtype: str, results: int, after: Epilogue):
    """`ending(...)(sums, bias, residual, out, o, channel)`: store four sums, of the results from `channel` on."""
    load, store = values.load(dtype), values.store(dtype)
    load4, store4 = values.load4(dtype), values.store4(dtype)
    activate = epilogue.activate(after.activation, after.parameter, "float32")
    has_residual = after.residual

    def four(sums, bias, residual, out, o, channel):
        a, b, c, d = sums[0] + bias[0], sums[1] + bias[1], sums[2] + bias[2], sums[3] + bias[3]
        if has_residual:
            e, f, g, h = load4(residual, o)
            a, b, c, d = a + e, b + f, c + g, d + h
        store4(out, o, (activate(a), activate(b), activate(c), activate(d)))

    def each(sums, bias, residual, out, o, channel):
        for i in range(4):
            if channel + i < results:
                value = sums[i] + bias[i]
                if has_residual:
                    value += load(residual, o + i)
                store(out, o + i, activate(value))

    return each if results % 4 else four


@launch.function
def four_biases(dtype: str, results: int, has_bias: bool):
    """`four_biases(...)(bias, channel, first)`: those of four results of the group that begins at `first`."""
    load = values.load(dtype)

    def loaded(bias, channel, first):
        c, last = first + channel, first + results - 1
        return (
            load(bias, min(c, last)),
            load(bias, min(c + 1, last)),
            load(bias, min(c + 2, last)),
            load(bias, min(c + 3, last)),
        )

    def zeros(bias, channel, first):
        return float32(0), float32(0), float32(0), float32(0)

    return loaded if has_bias else zeros


@launch.kernel(threads=(THREADS, 2))
def multiply(phase: Phase, dtype: str, tile: Tile, padded: int, after: Epilogue):
    """Forward and input pass: a phase of `count` rows; `padded` are the rows of a group's packed weight."""
    d, h, w, sources, results = phase.d, phase.h, phase.w, phase.sources, phase.results
    index = int64 if phase.wide else int32
    depth = depth_of(dtype)
    chunk = depth // CHUNKS
    steps = launch.blocks(phase.taps * sources, depth)
    length = packed_length(phase, dtype)
    blocks_along = launch.blocks(results, tile.columns)
    at_h, at_w = d.taps + 1, d.taps + 1 + h.taps
    d_step, h_step, w_step = d.offset_step * phase.x.d, h.offset_step * phase.x.h, w.offset_step * phase.x.w
    turns, one = launch.blocks(depth, sources), uint32(1)
    together = sources % depth == 0  # all threads of a block are then at the same tap
    locate_row, target_row = locate(phase), target(phase)

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
    pitch = warp_columns + PITCH
    lanes = warp_columns // 4  # that write a row of the result
    load4, wait = ptx.load_matrices(4), ptx.wait_copies(tile.stages - 2)
    multiply_add = ptx.multiply_add(dtype, tiles_down, tiles_across)
    round_image = ptx.to_tf32(4 * tiles_down) if dtype == "float32" else None
    stage_sums = ptx.store_tiles(tiles_across)
    biases, finish = four_biases(dtype, results, after.bias), ending(dtype, results, after)

    @launch.inlined
    def follow(s, jd, jh, jw):
        """The tap and channel that `s` names, which may lie behind the tap's last channel."""
        for _ in range(turns):
            if s >= sources:
                s = index(s - sources)
                jw = uint32(jw + uint32(1))
                if jw == w.taps:
                    jw = uint32(0)
                    jh = uint32(jh + uint32(1))
                    if jh == h.taps:
                        jh = uint32(0)
                        jd = uint32(jd + uint32(jd < d.taps))  # behind the last tap it stays
        return s, jd, jh, jw

    @launch.inlined
    def fill(shared, to, x, base, outside, weight, at, s, jd, jh, jw):
        """Begin the copies of a step into a stage."""
        d_bit, h_bit = uint32(one << jd), uint32(one << uint32(jh + uint32(at_h)))
        tap = uint32(uint32(d_bit | h_bit) | uint32(one << uint32(jw + uint32(at_w))))
        delta = index(index(jd) * d_step + index(jh) * h_step + index(jw) * w_step + s)
        for i in range(image_lines):
            valid = uint32(outside[i] & tap) == uint32(0)
            source = index(base[i] + delta) if valid else index(0)
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

    @launch.inlined
    def drain(shared, sums, part, mine, m, count, lane, group, channel, four, residual, out):
        """Store half of a warp's rows."""
        for i in range(half):
            stage_sums(shared, mine + uint32(i * 16 * pitch), pitch, sums, (part * half + i) * 4 * tiles_across)
        cuda.syncwarp()
        row = uint32(lane // uint32(lanes))
        at = uint32(mine + row * uint32(pitch) + (lane % uint32(lanes)) * uint32(4))
        m = uint32(m + row)
        for _ in range(half * 16 * lanes // 32):
            if m < count and channel < results:
                o = index(target_row(m) + group * results + channel)
                finish(ptx.load4(shared, at), four, residual, out, o, channel)
            m = uint32(m + uint32(32 // lanes))
            at = uint32(at + uint32(32 // lanes * pitch))
        cuda.syncwarp()

    def body(x, weight, bias, residual, out, count):
        shared = cuda.shared.array(shared_size, float32)
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
        s, jd, jh, jw = index(0) if together else skip, uint32(0), uint32(0), uint32(0)

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
                s, jd, jh, jw = follow(s, jd, jh, jw)
                fill(shared, uint32(to + uint32(i * stage)), x, base, outside, weight, at, s, jd, jh, jw)
                s, at = index(s + depth), at + depth
            ptx.commit_copies()
        wait()
        cuda.syncthreads()
        if steps:
            fragments(shared, a, b, 0, image_at, weight_at)
        read, write = uint32(0), uint32(last_stage)
        for step in range(steps):
            fragments(shared, a, b, 1, uint32(read + image_next), uint32(read + weight_next))
            if step < steps - stages + 1:
                s, jd, jh, jw = follow(s, jd, jh, jw)
                fill(shared, uint32(write + to), x, base, outside, weight, at, s, jd, jh, jw)
                s, at = index(s + depth), at + depth
            ptx.commit_copies()
            multiply_add(sums, a, 0, b, 0)
            wait()
            cuda.syncthreads()
            write = read
            read = uint32(0) if read == uint32(last_stage) else uint32(read + uint32(stage))
            fragments(shared, a, b, 0, uint32(read + image_at), uint32(read + weight_at))
            multiply_add(sums, a, 4 * tiles_down, b, 2 * tiles_across)

        cuda.syncthreads()
        mine = uint32(warp * uint32(half * 16 * pitch))
        channel = index(across * tile.columns + index(right) + index(lane % uint32(lanes)) * 4)
        four = biases(bias, channel, index(group * results))
        m = uint32(first + down)
        drain(shared, sums, 0, mine, m, count, lane, group, channel, four, residual, out)
        m = uint32(m + uint32(half * 16))
        drain(shared, sums, 1, mine, m, count, lane, group, channel, four, residual, out)

    return epilogue.entry(body, after)


@launch.kernel(threads=256)
def pack(phase: Phase, dtype: str, padded: int):
    """packed[group, r, k] = the weight of result r, rounded to TF32 if it is float32; zeros fill rows and columns."""
    d, h, w, kernel = phase.d, phase.h, phase.w, phase.kernel
    sources, results, length = phase.sources, phase.results, packed_length(phase, dtype)
    group_step, result_step, source_step = phase.weight
    narrow = dtype == "float32"

    def body(weight, packed):
        i = int64(cuda.grid(1))
        if i >= packed.size:
            return
        k, r = i % length, i // length % padded
        tap, s = k // sources, k % sources
        value = packed[i] ^ packed[i] if not narrow else float32(0)
        if r < results and tap < d.taps * h.taps * w.taps:
            jd, jh, jw = tap // (h.taps * w.taps), tap // w.taps % h.taps, tap % w.taps
            at = ((d.tap + jd * d.tap_step) * kernel[1] + h.tap + jh * h.tap_step) * kernel[2] + w.tap + jw * w.tap_step
            value = weight[i // length // padded * group_step + r * result_step + s * source_step + at]
            if narrow:
                value = ptx.round_tf32(value)
        packed[i] = value

    return body


def packed_length(phase: Phase, dtype: str) -> int:
    """Elements of a row of the packed weight: those of k, filled up to whole steps."""
    depth = depth_of(dtype)
    return launch.blocks(phase.taps * phase.sources, depth) * depth


class TensorCore(Algorithm):
    """Forward and input pass."""

    name = "tensor_core"

    def rejects(self, problem: ConvProblem) -> str | None:
        dtype = problem.dtype.name
        if dtype not in (*HALF, "float32"):
            return f"tensor cores multiply bfloat16, float16 and float32, not {dtype}"
        if dtype == "float32" and problem.precision != "fast":
            return "float32 is rounded to TF32 on tensor cores, which only precision='fast' allows"
        if not problem.layout_in == problem.layout_out == LAST:
            return "channels must come last"
        sources = (problem.ci if problem.direction == "forward" else problem.co) // max(problem.groups, 1)
        if sources == 0 or sources % (4 if dtype == "float32" else 8):
            return f"the source channels of a group must fill 16 bytes, got {sources}"
        if sum(problem.kernel) + 3 - problem.ndim > 31:
            return f"the kernel must have at most 31 taps along all axes together, got {problem.kernel}"
        if problem.groups > MOST_GROUPS:
            return f"there must be at most {MOST_GROUPS} groups, got {problem.groups}"
        return None

    def cost(self, problem: ConvProblem) -> float:
        """Estimate, not measured: the tiles' clocks at 1.7 GHz, at least the bytes at 2.5 TB/s."""
        dtype = problem.dtype.name
        busy = sum(clocks(phase, problem.n, dtype, tile_of(phase, problem.n, dtype)) for phase in phases(problem))
        return 5e-6 * len(phases(problem)) + max(busy / 1.7e9, problem.bytes / 2.5e12)

    def error_bound(self, problem: ConvProblem) -> float:
        """Rounding of the result, or of both factors; and of the sums, once for each mma along k, truncated."""
        dtype = problem.dtype.name
        terms = problem.multiply_adds // max(math.prod(problem.result_shape), 1)
        rounding = {"bfloat16": 2**-8, "float16": 2**-10, "float32": 2**-10}[dtype]
        return rounding + terms / (8 if dtype == "float32" else 16) * 2**-22

    def packed_bytes(self, problem: ConvProblem) -> int:
        dtype = problem.dtype
        return dtype.itemsize * sum(packed_size(phase, dtype.name) for phase in phases(problem))

    def prepare(self, problem: ConvProblem, weight: Any) -> Any:
        dtype = problem.dtype.name
        packed = memory.empty((self.packed_bytes(problem) // problem.dtype.itemsize,), problem.dtype)
        for phase, part in parts(problem, packed):
            pack(phase, dtype, padded_results(phase))(launch.blocks(part.size, 256), 256, flat(weight), flat(part))
        return packed

    def run(self, problem, packed, x, bias, residual, out, workspace):
        dtype, after = problem.dtype.name, epilogue.of(problem)
        arrays = [*epilogue.given(bias, residual), out]
        for phase, part in parts(problem, packed):
            tile = tile_of(phase, problem.n, dtype)
            kernel = multiply(phase, dtype, tile, padded_results(phase), after)
            count = problem.n * phase.positions
            grid = launch.blocks(count, tile.rows) * launch.blocks(phase.results, tile.columns), phase.groups
            kernel(grid, tile.threads, flat(x), flat(part), *map(flat, arrays), count)


def padded_results(phase: Phase) -> int:
    """Rows of a group's packed weight."""
    least = min(tile.columns for tile in TILES)
    return launch.blocks(phase.results, least) * least


def packed_size(phase: Phase, dtype: str) -> int:
    """Elements of a phase's packed weight."""
    return phase.groups * padded_results(phase) * packed_length(phase, dtype)


def parts(problem: ConvProblem, packed: Any) -> list[tuple[Phase, Any]]:
    """Each phase with its part of the packed weight."""
    found, start = [], 0
    for phase in phases(problem):
        stop = start + packed_size(phase, problem.dtype.name)
        found.append((phase, memory.part(packed, 0, start, stop)))
        start = stop
    return found


def clocks(phase: Phase, n: int, dtype: str, tile: Tile) -> float:
    """Clocks of the multiprocessor that has the most to do."""
    blocks = launch.blocks(n * phase.positions, tile.rows) * launch.blocks(phase.results, tile.columns) * phase.groups
    steps = packed_length(phase, dtype) // depth_of(dtype)
    return launch.blocks(blocks, MULTIPROCESSORS) * steps * tile.rows * tile.columns / 64 * tile.clocks


def tile_of(phase: Phase, n: int, dtype: str) -> Tile:
    """The tile that is done first. All sum in the same order."""
    fitting = [tile for tile in TILES if padded_results(phase) % tile.columns == 0]
    return min(fitting, key=lambda tile: clocks(phase, n, dtype, tile))
