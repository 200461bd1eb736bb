"""Direct convolution: the definition, summed in 64 bits, for any problem and without workspace.

    result[r, p] = sum over taps, then source channels s, of  weight[r, s, tap] * source[s, p * stride + offset(tap)]

Loop order: a row of the result (the parallel item), blocks of BLOCK positions along it, taps, source channels,
positions. The innermost loop runs along the row with sums in a stack buffer, so it vectorises where the source is
contiguous along its last axis; the range of positions that a tap reaches inside the source is found once a tap, so
there is no test inside. Sums are float64, int64 or complex128: one rounding, at the store.

The weight's gradient is one dot product over images and rows for each weight, the same ranges at work.
"""

from __future__ import annotations

import math

import numpy as np

from numconv.algorithm import Algorithm
from numconv.kernels.cpu import epilogue, jit, simd
from numconv.kernels.cpu import sweep as geo
from numconv.kernels.cpu.memory import flat
from numconv.problem import LAST, ConvProblem, remembered

BLOCK = 256  # positions summed at a time: 2 KB of float64


def sum_dtype(dtype: np.dtype) -> str:
    """What is summed in: float64, int64 or complex128."""
    return {"c": "complex128", "i": "int64", "u": "int64"}.get(dtype.kind, "float64")


@jit.kernel
def correlate(sums_in, half):
    """Forward and input pass."""
    load, clip, wide, fill = simd.load(half), geo.valid_range(), getattr(np, sums_in), simd.fill()
    read, write = simd.load(0), simd.store(0)
    add, store = epilogue.add_run(half), epilogue.store_run(half, "")
    activate = epilogue.activate_run() if sums_in == "float64" else None
    buffer = simd.stack(BLOCK, sums_in)

    def body(start, stop, worker, x, weight, bias, residual, out, header, phases, taps, parameter, rows_of_image):
        sums = buffer()
        rows, channels = rows_of_image[0], header[geo.GROUPS] * header[geo.R]
        step, x_c = header[geo.STRIDE_W] * header[geo.X_W], header[geo.X_C]
        over_s, sources = header[geo.WEIGHT_S], header[geo.S]
        for item in range(start, stop):
            rest, place = divmod(item, rows)
            n, channel = divmod(rest, channels)
            g, r = divmod(channel, header[geo.R])
            phase = 0
            while phase + 1 < len(phases) and phases[phase + 1, geo.FIRST_ROW] <= place:
                phase += 1
            counts = phases[phase]
            d, h = divmod(place - counts[geo.FIRST_ROW], counts[geo.COUNT_H])
            out_d = counts[geo.START_D] + d * header[geo.STEP_D]
            out_h = counts[geo.START_H] + h * header[geo.STEP_H]
            base = header[geo.X_0] + n * header[geo.X_N] + g * header[geo.S] * header[geo.X_C]
            for w in range(0, counts[geo.COUNT_W], BLOCK):
                count = min(BLOCK, counts[geo.COUNT_W] - w)
                fill(sums, 0, count, wide(bias[channel]))
                for t in range(counts[geo.FIRST_TAP], counts[geo.FIRST_TAP] + counts[geo.TAP_COUNT]):
                    in_d = d * header[geo.STRIDE_D] + taps[t, geo.OFFSET_D]
                    in_h = h * header[geo.STRIDE_H] + taps[t, geo.OFFSET_H]
                    in_w = w * header[geo.STRIDE_W] + taps[t, geo.OFFSET_W]
                    if not (0 <= in_d < header[geo.SOURCE_D] and 0 <= in_h < header[geo.SOURCE_H]):
                        continue
                    low, high = clip(in_w, header[geo.STRIDE_W], count, header[geo.SOURCE_W])
                    at = base + in_d * header[geo.X_D] + in_h * header[geo.X_H] + in_w * header[geo.X_W]
                    of = g * header[geo.WEIGHT_G] + r * header[geo.WEIGHT_R] + taps[t, geo.TAP]
                    for s in range(sources):
                        factor = wide(load(weight, of + s * over_s))
                        source = at + s * x_c
                        if step == 1:
                            for i in range(low, high):
                                write(sums, i, read(sums, i) + factor * wide(load(x, source + i)))
                        else:
                            for i in range(low, high):
                                write(sums, i, read(sums, i) + factor * wide(load(x, source + i * step)))
                out_w = counts[geo.START_W] + w * header[geo.STEP_W]
                o = header[geo.OUT_0] + n * header[geo.OUT_N] + channel * header[geo.OUT_C]
                o += out_d * header[geo.OUT_D] + out_h * header[geo.OUT_H] + out_w * header[geo.OUT_W]
                q = header[geo.RESIDUAL_0] + n * header[geo.RESIDUAL_N] + channel * header[geo.RESIDUAL_C]
                q += out_d * header[geo.RESIDUAL_D] + out_h * header[geo.RESIDUAL_H] + out_w * header[geo.RESIDUAL_W]
                if header[geo.HAS_RESIDUAL]:
                    add(sums, 0, count, residual, q, header[geo.STEP_W] * header[geo.RESIDUAL_W])
                if activate is not None:
                    activate(sums, 0, count, header, parameter)
                store(out, o, header[geo.STEP_W] * header[geo.OUT_W], sums, 0, count)

    return body


@jit.kernel
def dot(sums_in, half):
    """Weight pass: `gradient` is the output's, described by the header's OUT fields."""
    load, store, clip, wide = simd.load(half), simd.store(half), geo.valid_range(), getattr(np, sums_in)

    def body(start, stop, worker, x, gradient, out, header, phases, taps):
        counts = phases[0]
        step = header[geo.STRIDE_W] * header[geo.X_W]
        for item in range(start, stop):
            rest, t = divmod(item, header[geo.TAPS])
            channel, s = divmod(rest, header[geo.S])
            source = channel // header[geo.R] * header[geo.S] + s
            low, high = clip(taps[t, geo.OFFSET_W], header[geo.STRIDE_W], counts[geo.COUNT_W], header[geo.SOURCE_W])
            total = wide(0)
            for n in range(header[geo.N]):
                for d in range(counts[geo.COUNT_D]):
                    in_d = d * header[geo.STRIDE_D] + taps[t, geo.OFFSET_D]
                    if not 0 <= in_d < header[geo.SOURCE_D]:
                        continue
                    for h in range(counts[geo.COUNT_H]):
                        in_h = h * header[geo.STRIDE_H] + taps[t, geo.OFFSET_H]
                        if not 0 <= in_h < header[geo.SOURCE_H]:
                            continue
                        at = header[geo.X_0] + n * header[geo.X_N] + source * header[geo.X_C] + in_d * header[geo.X_D]
                        at += in_h * header[geo.X_H] + taps[t, geo.OFFSET_W] * header[geo.X_W]
                        o = header[geo.OUT_0] + n * header[geo.OUT_N] + channel * header[geo.OUT_C]
                        o += d * header[geo.OUT_D] + h * header[geo.OUT_H]
                        for i in range(low, high):
                            total += wide(load(x, at + i * step)) * wide(load(gradient, o + i * header[geo.OUT_W]))
            store(out, item, total)

    return body


class Direct(Algorithm):
    """Forward and input pass."""

    replays = True

    name = "direct"

    def cost(self, problem: ConvProblem) -> float:
        return _launch(problem)[2]

    def run(self, problem, packed, x, bias, residual, out, workspace):
        problem, x, residual, out = geo.joined(problem, x, residual, out)
        swept = geo.sweep(problem)
        kernel, items, seconds = _launch(problem)
        given = geo.operands(problem, x, bias, residual, out)
        kernel(
            min(jit.workers(seconds), items), items, given.x, flat(packed)[0], given.bias, given.residual, given.out,
            given.header, swept.phases, swept.taps, given.parameter, swept.row_count,
        )  # fmt: skip


@remembered
def _launch(problem: ConvProblem) -> tuple[jit.Kernel, int, float]:
    """Kernel, items, and an estimate for one thread: 20 GF/s contiguous, 3 strided, and 6 ns a row, tap and channel."""
    swept = geo.sweep(problem)
    unit = problem.layout_in != LAST or swept.source_channels * problem.groups == 1
    contiguous = unit and swept.fixed_header[geo.STRIDE_W] == 1
    items = problem.n * problem.groups * swept.result_channels * swept.rows
    runs = items * math.prod(problem.kernel) * swept.source_channels / max(len(swept.phases), 1)
    seconds = 2e-6 + problem.flops / (20e9 if contiguous else 3e9) + runs * 6e-9
    return correlate(sum_dtype(problem.dtype), swept.half), max(items, 1), seconds


class DirectWeight(Algorithm):
    """Weight pass."""

    name = "direct"
    replays = True

    def cost(self, problem: ConvProblem) -> float:
        """Estimate for one thread: 8 GF/s contiguous, 1 GF/s strided, 8 ns a row and tap."""
        rows = problem.n * math.prod(problem.out_spatial[:-1]) * math.prod(problem.weight_shape)
        contiguous = problem.layout_in != "channels_last" or problem.ci == problem.co == 1
        return 2e-6 + problem.flops / (8e9 if contiguous else 1e9) + rows * 8e-9

    def run(self, problem, packed, x, bias, residual, out, workspace):
        swept = geo.sweep(problem)
        given = geo.operands(problem, x, None, None, packed)
        kernel = dot(sum_dtype(problem.dtype), swept.half)
        items = math.prod(problem.weight_shape)
        workers = min(jit.workers(problem.flops / 8e9), max(items, 1))
        kernel(workers, items, given.x, given.out, flat(out)[0], given.header, swept.phases, swept.taps)
