"""Convolution on tensor cores: forward and input pass by `tensor_core_tile`, of bfloat16, float16, and float32 as TF32.

The weight is packed as [group][result][tap, source channel], filled up with zeros to whole tiles. Images that do not
have their channels last, or not 16 bytes of them in each group, are first copied as `channels_last` has it, as many
at a time as the workspace holds.
"""

from __future__ import annotations

import math
from typing import Any

from numba import cuda
from numpy import float32, int64, uint16

from numconv.algorithm import Algorithm
from numconv.kernels.cuda import channels_last, epilogue, launch, memory, ptx
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.sweep import Phase, phases, strides
from numconv.kernels.cuda.tensor_core_tile import TILES, Tile, chunk_of, multiply, packed_length
from numconv.options import options
from numconv.problem import HALF, LAST, ConvProblem, remembered

MULTIPROCESSORS = 132  # of an H100, which the estimates are for
MOST_GROUPS = 65535  # blocks along a grid's second axis


@launch.kernel(threads=256)
def pack(phase: Phase, dtype: str, sources: int):
    """An element of a phase's packed weight a thread; `sources` of each tap are there, the rest is zero."""
    d, h, w, kernel, padded, results = phase.d, phase.h, phase.w, phase.kernel, phase.sources, phase.results
    rows, length, taps = padded_results(phase), packed_length(phase, dtype), phase.taps
    group_step, result_step, source_step = phase.weight
    element, narrow = (float32, True) if dtype == "float32" else (uint16, False)

    def body(weight, packed):
        i = int64(cuda.grid(1))
        if i >= packed.size:
            return
        k, r, g = i % length, i // length % rows, i // length // rows
        tap, s = k // padded, k % padded
        value = element(0)
        if r < results and tap < taps and s < sources:
            jd, jh, jw = tap // (h.taps * w.taps), tap // w.taps % h.taps, tap % w.taps
            at = ((d.tap + jd * d.tap_step) * kernel[1] + h.tap + jh * h.tap_step) * kernel[2] + w.tap + jw * w.tap_step
            value = weight[g * group_step + r * result_step + s * source_step + at]
            if narrow:
                value = ptx.round_tf32(value)
        packed[i] = value

    return body


class TensorCore(Algorithm):
    """Forward and input pass."""

    name = "tensor_core"
    accepts = (
        "grouped_2", "dilated_strided", "no_images", "no_channels", "causal_1d", "conv_3d_unlike", "transposed_gaps",
        "transposed_grouped", "transposed_no_images", "transposed_1d", "transposed_3d",
    )  # fmt: skip

    def rejects(self, problem: ConvProblem) -> str | None:
        dtype = problem.dtype.name
        if dtype not in (*HALF, "float32"):
            return f"tensor cores multiply bfloat16, float16 and float32, not {dtype}"
        if dtype == "float32" and problem.precision != "fast":
            return "float32 is rounded to TF32 on tensor cores, which only precision='fast' allows"
        if sum(problem.kernel) + 3 - problem.ndim > 31:
            return f"the kernel must have at most 31 taps along all axes together, got {problem.kernel}"
        if problem.n * max(math.prod(problem.spatial), math.prod(problem.out_spatial)) >= 1 << 31:
            return "there must be fewer than 2^31 positions in all images"
        if problem.groups > MOST_GROUPS:
            return f"there must be at most {MOST_GROUPS} groups, got {problem.groups}"
        return None

    def cost(self, problem: ConvProblem) -> float:
        """Estimate, not measured: the tiles' clocks at 1.7 GHz, at least the bytes, copies with them, at 2.5 TB/s."""
        found = filled_phases(problem)
        busy = sum(clocks(phase, problem.n, problem.dtype.name) for phase in found)
        size = problem.bytes + 2 * problem.n * image_bytes(problem)
        return 5e-6 * len(found) + max(busy / 1.7e9, size / 2.5e12)

    def packing(self, problem: ConvProblem) -> float:
        """Estimate, not measured."""
        return 5e-6 * len(phases(problem)) + self.packed_bytes(problem) / 0.5e12

    def error_bound(self, problem: ConvProblem) -> float:
        """Rounding of the result, or of both factors; and truncation of the sums, once for each mma along k."""
        dtype = problem.dtype.name
        terms = problem.multiply_adds // max(math.prod(problem.result_shape), 1)
        rounding = {"bfloat16": 2**-8, "float16": 2**-10, "float32": 2**-10}[dtype]
        return rounding + (1 + terms / (2 * chunk_of(dtype))) * 2**-22

    def shared_bytes(self, problem: ConvProblem) -> int:
        each = image_bytes(problem)
        room = (options.workspace_limit - self.packed_bytes(problem)) // max(each, 1)
        return each * max(min(problem.n, room), 1)

    def packed_bytes(self, problem: ConvProblem) -> int:
        return problem.dtype.itemsize * sum(packed_size(phase, problem) for phase in filled_phases(problem))

    def prepare(self, problem: ConvProblem, weight: Any) -> Any:
        packed = memory.empty((self.packed_bytes(problem) // problem.dtype.itemsize,), problem.dtype)
        for phase, part in parts(problem, packed):
            kernel = pack(phase, problem.dtype.name, sources_of(problem))
            kernel(launch.blocks(part.size, 256), 256, flat(weight), flat(part))
        return packed

    def run(self, problem, packed, x, bias, residual, out, workspace):
        each, n = image_bytes(problem), problem.n
        if not each:
            swept(problem, packed, x, bias, residual, out)
            return
        images = memory.seen_as(workspace, problem.dtype)
        first = filled_phases(problem)[0]
        size, at_once = each // problem.dtype.itemsize, workspace.nbytes // each
        spatial = problem.spatial if problem.direction == "forward" else problem.out_spatial
        for start in range(0, n, at_once):
            stop = min(start + at_once, n)
            some = memory.part(images, 0, 0, size * (stop - start))
            channels_last.copy_into(
                some, memory.part(x, 0, start, stop), problem.layout_in == LAST, first.groups, sources_of(problem),
                first.sources, math.prod(spatial),
            )  # fmt: skip
            rest = (None if array is None else memory.part(array, 0, start, stop) for array in (residual, out))
            swept(problem, packed, some, bias, *rest)


def swept(problem: ConvProblem, packed: Any, x: Any, bias: Any, residual: Any, out: Any) -> None:
    """Convolve images that have their channels last and filled up."""
    dtype, after, n = problem.dtype.name, epilogue.of(problem), out.shape[0]
    for phase, part in parts(problem, packed):
        tile, count = tile_of(phase, n, dtype), n * phase.positions
        grid = launch.blocks(count, tile.rows) * launch.blocks(phase.results, tile.columns), phase.groups
        arrays = [*epilogue.given(bias, residual), out]
        kernel = multiply(phase, dtype, tile, padded_results(phase), after)
        kernel(grid, tile.threads, flat(x), flat(part), *map(flat, arrays), count)


def sources_of(problem: ConvProblem) -> int:
    """Source channels of a group."""
    return (problem.ci if problem.direction == "forward" else problem.co) // max(problem.groups, 1)


@remembered
def filled_phases(problem: ConvProblem) -> tuple[Phase, ...]:
    """The phases on images that have their channels last and filled up to 16 bytes in each group."""
    chunk = chunk_of(problem.dtype.name)
    sources = max(launch.blocks(sources_of(problem), chunk), 1) * chunk
    spatial = problem.spatial if problem.direction == "forward" else problem.out_spatial
    lie = strides(LAST, problem.groups * sources, spatial)
    return tuple(phase._replace(sources=sources, x=lie) for phase in phases(problem))


@remembered
def image_bytes(problem: ConvProblem) -> int:
    """Of the copy of one image, if it must be copied."""
    sources, found = sources_of(problem), filled_phases(problem)
    if not found or (problem.layout_in == LAST and sources == found[0].sources):
        return 0
    return problem.dtype.itemsize * found[0].x.n


def padded_results(phase: Phase) -> int:
    """Rows of a group's packed weight."""
    least = min(tile.columns for tile in TILES)
    return launch.blocks(phase.results, least) * least


def packed_size(phase: Phase, problem: ConvProblem) -> int:
    """Elements of a phase's packed weight."""
    return phase.groups * padded_results(phase) * packed_length(phase, problem.dtype.name)


def parts(problem: ConvProblem, packed: Any) -> list[tuple[Phase, Any]]:
    """Each phase with its part of the packed weight."""
    found, start = [], 0
    for phase in filled_phases(problem):
        stop = start + packed_size(phase, problem)
        found.append((phase, memory.part(packed, 0, start, stop)))
        start = stop
    return found


def clocks(phase: Phase, n: int, dtype: str, tile: Tile | None = None) -> float:
    """Clocks of the multiprocessor that has the most to do."""
    tile = tile or tile_of(phase, n, dtype)
    blocks = launch.blocks(n * phase.positions, tile.rows) * launch.blocks(phase.results, tile.columns) * phase.groups
    products = packed_length(phase, dtype) // (2 * chunk_of(dtype)) * tile.rows * tile.columns // 128
    return launch.blocks(blocks, MULTIPROCESSORS) * products * tile.clocks


def tile_of(phase: Phase, n: int, dtype: str) -> Tile:
    """The tile that is done first. All sum in the same order."""
    fitting = [tile for tile in TILES if padded_results(phase) % tile.columns == 0]
    return min(fitting, key=lambda tile: clocks(phase, n, dtype, tile))
