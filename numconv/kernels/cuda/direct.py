"""Direct convolution: the definition, for any problem and without workspace. The oracle on the device.

    result[n, r, t] = sum over taps, then source channels s, of  weight[r, s, tap] * source[n, s, t * stride + offset]

Each thread computes one element. Threads lie along the result's memory, so that they store side by side: channels last
they share a window of the image and read neighbouring channels' weights; channels first they share the weights and read
along the row. Sums are float64, int64 or complex128: one rounding, at the store.

The weight's gradient is one dot product over images and positions for each weight, a thread each, in order.
"""

from __future__ import annotations

import math

import numpy as np
from numba import cuda
from numpy import int64, uint32, uint64

from numconv.algorithm import Algorithm
from numconv.kernels.cuda import epilogue, launch, values
from numconv.kernels.cuda.epilogue import Epilogue
from numconv.kernels.cuda.memory import flat
from numconv.kernels.cuda.sweep import Phase, phases
from numconv.problem import LAST, ConvProblem

THREADS = 128


@launch.kernel(threads=THREADS)
def correlate(phase: Phase, dtype: str, last: bool, after: Epilogue):
    """Forward and input pass: `count` elements of a phase."""
    d, h, w, groups, sources, results, kernel, x_s, out_s, weight_s, wide = phase
    index = uint64 if wide else uint32
    sums = values.sum_dtype(dtype)
    number, load, store = getattr(np, sums), values.load(dtype), values.store(dtype)
    activate = epilogue.activate(after.activation, after.parameter, sums) if after.activation else None
    channels, has_bias, has_residual = groups * results, after.bias, after.residual

    def body(x, weight, bias, residual, out, count):
        i = index(cuda.grid(1))
        if i >= count:
            return
        rest = i
        if last:
            channel = int64(rest % index(channels))
            rest = index(rest // index(channels))
        tw = int64(rest % index(w.positions))
        rest = index(rest // index(w.positions))
        th = int64(rest % index(h.positions))
        rest = index(rest // index(h.positions))
        td = int64(rest % index(d.positions))
        rest = index(rest // index(d.positions))
        if not last:
            channel = int64(rest % index(channels))
            rest = index(rest // index(channels))
        n = int64(rest)
        g, r = channel // results, channel % results
        total = number(0)
        for jd in range(d.taps):
            in_d = td * d.stride + d.offset + jd * d.offset_step
            for jh in range(h.taps):
                in_h = th * h.stride + h.offset + jh * h.offset_step
                for jw in range(w.taps):
                    in_w = tw * w.stride + w.offset + jw * w.offset_step
                    if 0 <= in_d < d.size and 0 <= in_h < h.size and 0 <= in_w < w.size:
                        tap = ((d.tap + jd * d.tap_step) * kernel[1] + h.tap + jh * h.tap_step) * kernel[2]
                        of = g * weight_s[0] + r * weight_s[1] + tap + w.tap + jw * w.tap_step
                        at = n * x_s.n + g * sources * x_s.c + in_d * x_s.d + in_h * x_s.h + in_w * x_s.w
                        s = 0
                        while s < sources:  # see launch on loops
                            total += number(load(weight, of + s * weight_s[2])) * number(load(x, at + s * x_s.c))
                            s += 1
        o = n * out_s.n + channel * out_s.c + (d.start + td * d.step) * out_s.d
        o += (h.start + th * h.step) * out_s.h + (w.start + tw * w.step) * out_s.w
        if has_bias:
            total += number(load(bias, channel))
        if has_residual:
            total += number(load(residual, o))
        if activate is not None:
            total = activate(total)
        store(out, o, total)

    return epilogue.entry(body, after)


@launch.kernel(threads=THREADS)
def dot(phase: Phase, dtype: str):
    """Weight pass: `gradient` is the output's, of n images."""
    d, h, w, sources, results, kernel, x_s, out_s = *phase[:3], *phase[4:9]
    sums = values.sum_dtype(dtype)
    number, load, store = getattr(np, sums), values.load(dtype), values.store(dtype)
    taps = math.prod(kernel)

    def body(x, gradient, out, n):
        i = int64(cuda.grid(1))
        if i >= out.size:
            return
        tap, s = i % taps, i // taps % sources
        channel = i // (taps * sources)
        source = channel // results * sources + s
        jd, jh, jw = tap // (kernel[1] * kernel[2]), tap // kernel[2] % kernel[1], tap % kernel[2]
        total = number(0)
        for image in range(n):
            for td in range(d.positions):
                in_d = td * d.stride + d.offset + jd * d.offset_step
                for th in range(h.positions):
                    in_h = th * h.stride + h.offset + jh * h.offset_step
                    tw = 0
                    while tw < w.positions:
                        in_w = tw * w.stride + w.offset + jw * w.offset_step
                        if 0 <= in_d < d.size and 0 <= in_h < h.size and 0 <= in_w < w.size:
                            at = image * x_s.n + source * x_s.c + in_d * x_s.d + in_h * x_s.h + in_w * x_s.w
                            o = image * out_s.n + channel * out_s.c + td * out_s.d + th * out_s.h + tw * out_s.w
                            total += number(load(x, at)) * number(load(gradient, o))
                        tw += 1
        store(out, i, total)

    return body


class Direct(Algorithm):
    """Forward and input pass."""

    name = "direct"

    def cost(self, problem: ConvProblem) -> float:
        """Estimate: 300 GF/s, not measured yet."""
        return 5e-6 * len(phases(problem)) + problem.flops / 300e9

    def run(self, problem, packed, x, bias, residual, out, workspace):
        last = problem.layout_out == LAST
        arrays = [flat(x), flat(packed), *epilogue.given(bias, residual), flat(out)]
        for phase in phases(problem):
            count = problem.n * phase.groups * phase.results * phase.positions
            kernel = correlate(phase, problem.dtype.name, last, epilogue.of(problem))
            kernel(launch.blocks(count, THREADS), THREADS, *arrays, count)


class DirectWeight(Algorithm):
    """Weight pass."""

    name = "direct"

    def cost(self, problem: ConvProblem) -> float:
        """Estimate: 100 GF/s where there are enough weights for all threads, not measured yet."""
        weights = math.prod(problem.weight_shape)
        return 5e-6 + problem.flops / 100e9 * max(1.0, 1e5 / max(weights, 1))

    def run(self, problem, packed, x, bias, residual, out, workspace):
        (phase,) = phases(problem)
        kernel = dot(phase, problem.dtype.name)
        kernel(launch.blocks(out.size, THREADS), THREADS, flat(x), flat(packed), flat(out), problem.n)
