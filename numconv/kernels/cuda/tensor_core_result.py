"""From a warp's sums, staged in shared memory, to the result: epilogue, one rounding, and stores side by side.

Channels last a lane takes four neighbouring results of a row, and a warp writes a few rows at once. Channels first
lanes lie along the rows, which are neighbouring positions, and a warp goes from result to result.
"""

from __future__ import annotations

from numpy import float32, int32, int64, uint32

from numconv.kernels.cuda import epilogue, launch, ptx, values
from numconv.kernels.cuda.epilogue import Epilogue
from numconv.kernels.cuda.sweep import Phase


def is_last(phase: Phase) -> bool:
    """Whether neighbouring results lie side by side."""
    return phase.out.c == 1


def pitch_of(phase: Phase, columns: int) -> int:
    """Words from a staged row to the next.

    Rows differ by 8 banks, so that pairs are written and four read without meeting; channels first by 10, where 16
    lanes read down a column without meeting.
    """
    return columns + (8 if is_last(phase) else 10)


@launch.function
def target(phase: Phase):
    """`target(phase)(m)`: the element of the result where the channels of row m begin."""
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
        return index(index(m) * out_s.w)

    whole = all(axis.start == 0 and axis.step == 1 for axis in (d, h, w))
    return straight if whole and out_s.n == phase.positions * out_s.w else placed


def finish(phase: Phase, dtype: str, rows: int, columns: int, after: Epilogue):
    """`finish(...)(shared, at, lane, m, count, channel, group, place, bias, residual, out)`: store rows from m on.

    They are staged at `at`; their first column is the result `channel` of the group.
    """
    return (channels_last if is_last(phase) else channels_first)(phase, dtype, rows, columns, after)


@launch.function
def channels_last(phase: Phase, dtype: str, rows: int, columns: int, after: Epilogue):
    load, store = values.load(dtype), values.store(dtype)
    load4, store4 = values.load4(dtype), values.store4(dtype)
    activate = epilogue.activate(after.activation, after.parameter, "float32")
    has_bias, has_residual, results = after.bias, after.residual, phase.results
    pitch, lanes = pitch_of(phase, columns), columns // 4  # that write a row
    at_once = 32 // lanes

    @launch.inlined
    def loaded(bias, channel, first):
        last = first + results - 1
        c = first + channel
        if not has_bias:
            return float32(0), float32(0), float32(0), float32(0)
        a, b = load(bias, min(c, last)), load(bias, min(c + 1, last))
        return a, b, load(bias, min(c + 2, last)), load(bias, min(c + 3, last))

    @launch.inlined
    def four(sums, biases, residual, out, o, channel):
        a, b, c, d = sums[0] + biases[0], sums[1] + biases[1], sums[2] + biases[2], sums[3] + biases[3]
        if has_residual:
            e, f, g, h = load4(residual, o)
            a, b, c, d = a + e, b + f, c + g, d + h
        store4(out, o, (activate(a), activate(b), activate(c), activate(d)))

    @launch.inlined
    def each(sums, biases, residual, out, o, channel):
        for i in range(4):
            if channel + i < results:
                value = sums[i] + biases[i]
                if has_residual:
                    value += load(residual, o + i)
                store(out, o + i, activate(value))

    put = each if results % 4 else four

    def run(shared, at, lane, m, count, channel, group, place, bias, residual, out):
        first = group * results
        row, column = uint32(lane // uint32(lanes)), uint32(lane % uint32(lanes)) * uint32(4)
        at, channel = uint32(at + row * uint32(pitch) + column), channel + int64(column)
        biases = loaded(bias, channel, first)
        for i in range(rows // at_once):
            here = uint32(m + row + uint32(i * at_once))
            if here < count and channel < results:
                sums = ptx.load4(shared, uint32(at + uint32(i * at_once * pitch)))
                put(sums, biases, residual, out, place(here) + first + channel, channel)

    return run


@launch.function
def channels_first(phase: Phase, dtype: str, rows: int, columns: int, after: Epilogue):
    load, store = values.load(dtype), values.store(dtype)
    activate = epilogue.activate(after.activation, after.parameter, "float32")
    has_bias, has_residual, results, step = after.bias, after.residual, phase.results, phase.out.c
    pitch, at_once = pitch_of(phase, columns), 32 // rows  # results that a warp writes at once

    def run(shared, at, lane, m, count, channel, group, place, bias, residual, out):
        row, column = uint32(lane % uint32(rows)), uint32(lane // uint32(rows))
        here, first = uint32(m + row), group * results
        if here < count:
            start = int64(place(here)) + first * step
            for i in range(columns // at_once):
                c = channel + int64(column) + i * at_once
                if c < results:
                    value = shared[uint32(at + row * uint32(pitch) + column + uint32(i * at_once))]
                    o = start + c * step
                    if has_bias:
                        value += load(bias, first + c)
                    if has_residual:
                        value += load(residual, o)
                    store(out, o, activate(value))

    return run
