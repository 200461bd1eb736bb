"""Depthwise on channels-last arrays: channels along the vectors, the image read in place.

    result[p, c] = sum over taps of  weight[tap, c] * source[p * stride + offset(tap), c]

A tile is TILE positions of a row by VECTORS vectors of channels in registers; each tap loads its weights once for all
of them. Taps that fall outside the image are left out of the list that a tile walks: rows at the top and bottom share
a list, positions at the left and right have one each, and all others walk the full one. Nothing is copied or padded.
Loops, outside in: item (image, row of the result), channels by vectors, positions, taps. Forward and input pass (see
`sweep`). oneDNN's depthwise kernels for channels-last arrays are arranged like this.
"""

from __future__ import annotations

import numpy as np

from numconv.kernels.cpu import epilogue, jit, simd
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.strip import Strip
from numconv.problem import LAST, ConvProblem, remembered

TILE, VECTORS = 4, 4
MOST_TAPS = 128  # of the lists, and of a sum in one run of registers


@jit.kernel
def correlate(dtype):
    """The pass in float32 or float64."""
    width = VECTORS * simd.lanes(dtype)
    whole, single = simd.channel_tile(TILE, VECTORS), simd.channel_tile(1, VECTORS)
    lists, buffer, move = simd.stack(4 * MOST_TAPS, "int64"), simd.stack(TILE * width, dtype), simd.move(dtype)
    add, activate, store = epilogue.add_run(0), epilogue.activate_run(), epilogue.store_run(0, dtype)

    def body(start, stop, worker, x, packed, bias, residual, out, header, phases, taps, parameter, rows_of_image):
        reached, sums = lists(), buffer()  # the list of the row, then that of a position at the edge
        channels, rows = header[geo.GROUPS], rows_of_image[0]
        x_d, x_h, x_w, step_w = header[geo.X_D], header[geo.X_H], header[geo.X_W], header[geo.STEP_W]
        out_c, out_w = header[geo.OUT_C], step_w * header[geo.OUT_W]
        stride_w, source_w = header[geo.STRIDE_W], header[geo.SOURCE_W]
        has_residual, activated = header[geo.HAS_RESIDUAL] != 0, header[geo.ACTIVATION] != 0
        for item in range(start, stop):
            n, place = divmod(item, rows)
            phase = 0
            while phase + 1 < len(phases) and phases[phase + 1, geo.FIRST_ROW] <= place:
                phase += 1
            counts = phases[phase]
            positions, first_tap = counts[geo.COUNT_W], counts[geo.FIRST_TAP]
            d, h = divmod(place - counts[geo.FIRST_ROW], counts[geo.COUNT_H])
            listed, least, most = 0, 0, 0
            for t in range(first_tap, first_tap + counts[geo.TAP_COUNT]):
                in_d = d * header[geo.STRIDE_D] + taps[t, geo.OFFSET_D]
                in_h = h * header[geo.STRIDE_H] + taps[t, geo.OFFSET_H]
                if 0 <= in_d < header[geo.SOURCE_D] and 0 <= in_h < header[geo.SOURCE_H]:
                    reached[2 * listed] = in_d * x_d + in_h * x_h + taps[t, geo.OFFSET_W] * x_w
                    reached[2 * listed + 1] = taps[t, geo.TAP] * channels
                    reached[3 * MOST_TAPS + listed] = taps[t, geo.OFFSET_W]
                    least, most = min(least, taps[t, geo.OFFSET_W]), max(most, taps[t, geo.OFFSET_W])
                    listed += 1
            o = header[geo.OUT_0] + n * header[geo.OUT_N] + counts[geo.START_W] * header[geo.OUT_W]
            o += (counts[geo.START_D] + d * header[geo.STEP_D]) * header[geo.OUT_D]
            o += (counts[geo.START_H] + h * header[geo.STEP_H]) * header[geo.OUT_H]
            more = header[geo.RESIDUAL_0] + n * header[geo.RESIDUAL_N] + counts[geo.START_W] * header[geo.RESIDUAL_W]
            more += (counts[geo.START_D] + d * header[geo.STEP_D]) * header[geo.RESIDUAL_D]
            more += (counts[geo.START_H] + h * header[geo.STEP_H]) * header[geo.RESIDUAL_H]
            at = header[geo.X_0] + n * header[geo.X_N]
            for c in range(0, channels, width):
                some = min(width, channels - c)
                w = 0
                while w < positions:
                    left, right = w * stride_w + least, w * stride_w + most
                    source, here = at + w * stride_w * x_w + c, 1
                    move(sums, 0, bias, c, 0, some, width)
                    if left >= 0 and right + (TILE - 1) * stride_w < source_w and w + TILE <= positions:
                        here = TILE
                        for p in range(1, TILE):
                            move(sums, p * width, bias, c, 0, some, width)
                        whole(packed, x, source, stride_w * x_w, sums, 0, reached, 0, listed, c, some)
                    elif left >= 0 and right < source_w:
                        single(packed, x, source, 0, sums, 0, reached, 0, listed, c, some)
                    else:
                        inside = 0
                        for k in range(listed):
                            if 0 <= w * stride_w + reached[3 * MOST_TAPS + k] < source_w:
                                single(packed, x, source, 0, sums, 0, reached, 2 * k, 1, c, some)
                                inside += 1
                    for p in range(here):
                        if has_residual:
                            q = more + (w + p) * step_w * header[geo.RESIDUAL_W] + c * header[geo.RESIDUAL_C]
                            add(sums, p * width, some, residual, q, header[geo.RESIDUAL_C])
                        if activated:
                            activate(sums, p * width, p * width + some, header, parameter)
                        to = o + (w + p) * out_w + c * out_c
                        store(out, to, out_c, sums, p * width, some)
                    w += here

    return body


class Depthwise(Strip):
    """Groups of one input channel: channels-last arrays as above, others by strips (any multiplier and dtype)."""

    name = "depthwise"
    accepts = ("depthwise_3x3", "depthwise_5x5_strided", "depthwise_7x7", "depthwise_1d", "depthwise_3d", "one_pixel")

    def rejects(self, problem: ConvProblem) -> str | None:
        if problem.groups != problem.ci:
            return f"it is not depthwise: {problem.ci} input channels in {problem.groups} groups"
        return None if in_place(problem) else super().rejects(problem)

    def worker_bytes(self, problem: ConvProblem) -> int:
        return 0 if in_place(problem) else super().worker_bytes(problem)

    def packed_bytes(self, problem: ConvProblem) -> int:
        if in_place(problem):
            return problem.co * len(geo.sweep(problem).taps) * problem.dtype.itemsize
        return super().packed_bytes(problem)

    def cost(self, problem: ConvProblem) -> float:
        return seconds(problem) if in_place(problem) else super().cost(problem)

    def prepare(self, problem: ConvProblem, weight: np.ndarray) -> np.ndarray:
        if not in_place(problem):
            return super().prepare(problem, weight)
        return np.ascontiguousarray(weight.reshape(problem.groups, -1).T).reshape(-1)  # taps, then channels

    def run(self, problem, packed, x, bias, residual, out, workspace):
        if not in_place(problem):
            super().run(problem, packed, x, bias, residual, out, workspace)
            return
        swept = geo.sweep(problem)
        if x.strides[-1] != x.itemsize:
            x = np.ascontiguousarray(x)
        given = geo.operands(problem, x, bias, residual, out)
        items = problem.n * swept.rows
        workers = min(jit.workers(seconds(problem)), max(items, 1))
        correlate(swept.kind)(
            workers, items, given.x, packed, given.bias, given.residual, given.out, given.header, swept.phases,
            swept.taps, given.parameter, swept.row_count,
        )  # fmt: skip


@remembered
def in_place(problem: ConvProblem) -> bool:
    """Whether channels lie last in both arrays, one to one, and the taps fit into a list."""
    one_to_one = problem.groups == problem.ci == problem.co
    last = problem.layout_in == problem.layout_out == LAST
    floats = problem.dtype.name in ("float32", "float64")
    return one_to_one and last and floats and len(geo.sweep(problem).taps) <= MOST_TAPS


@remembered
def seconds(problem: ConvProblem) -> float:
    """Estimate for one thread: 40 GF/s in float32 on whole vectors, and 0.4 us a row (3x3 on 32 to 960 channels)."""
    swept, width = geo.sweep(problem), VECTORS * simd.lanes(problem.dtype)
    padded = -(-problem.groups // width) * width / max(problem.groups, 1)
    return 6e-6 + problem.flops * padded * problem.dtype.itemsize / 16e10 + problem.n * swept.rows * 4e-7
