"""The register tile of narrow groups, whose channels lie along its vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu.tiles import LAST, RESIDUAL, STREAM, body


def edge(taps: int, dilation: int) -> int:
    """How many columns at either end of a tile have masks of their own: those that "same" padding may miss.

    With a mask for each column a tile of 14 positions spills them, twice as many as there are registers.
    """
    return min((taps - 1) * dilation // 2, 3)


def narrow_tile(
    positions: int, taps: int, stride: int, dilation: int, sources: int, results: int, dtype: str, activation: str
) -> Any:
    """Narrow groups along the vectors: `positions` of a row, each source vector loaded once for all taps of a row.

    With `sources` channels in and `results` out of each group, lane j of a vector of results takes source lanes
    j // results * sources + s; a vector holds whole groups. A tile's operation on `(lines, x, w, out, bias, residual,
    parameter, count, step, low, past, sources_left, pitch, out_step, results_left, here, more_step, mode, vectors)`, of
    which the first seven are addresses: line k < count of the kernel reads the source's row at x[lines[2 k]:], whose
    columns are `step` apart and there in low <= column < past, with the vectors of taps and sources at
    w[lines[2 k + 1]:]. The results of the first `here` positions become activation(sum + bias (+ residual)) in rows of
    `out` that are `out_step` apart. With LAST in `mode` every position is there, and every column but for the first and
    last `edge`; with STREAM whole vectors lie on multiples of their size and are stored past the caches. That is done
    for `vectors` vectors side by side, whose weights are `pitch` apart, as far as there are channels left.
    """
    columns = sorted({p * stride + k * dilation for p in range(positions) for k in range(taps)})
    ends = [c for c in columns if c < edge(taps, dilation) or c > columns[-1] - edge(taps, dilation)]

    def generate(builder: Any, values: list[Any]) -> None:
        i64, vector, size = ir.IntType(64), simd.vector_type(dtype), np.dtype(dtype).itemsize
        n, zero = vector.count, simd.constant(vector, 0.0)
        groups = min(n // results, n // sources)
        lines_at = builder.inttoptr(values[0], i64.as_pointer())
        x_0, w_0, out_0, bias_0, more_0, slope_at = (
            builder.inttoptr(v, vector.element.as_pointer()) for v in values[1:7]
        )
        count, step, low, past, sources_left, pitch, out_step, results_left, here, more_step, mode, vectors = values[7:]
        slope = simd.splat(builder, vector, builder.load(slope_at))
        everywhere, with_residual, streamed = (
            builder.icmp_signed("!=", builder.and_(mode, i64(bit)), i64(0)) for bit in (LAST, RESIDUAL, STREAM)
        )
        of_groups = ir.Constant(ir.VectorType(ir.IntType(1), n), [j < groups * sources for j in range(n)])

        def sums_over_lines(x_at: Any, w_at: Any, masks: dict[int, Any]) -> list[Any]:
            """A loop over the kernel's lines with the sums in registers; `masks` are those of columns."""
            entry = builder.block
            loop, after = builder.append_basic_block("line"), builder.append_basic_block("line.done")
            builder.cbranch(builder.icmp_signed(">", count, i64(0)), loop, after)
            builder.position_at_end(loop)
            line = builder.phi(i64)
            sums = [builder.phi(vector) for _ in range(positions)]
            totals = list(sums)
            place = builder.gep(lines_at, [builder.mul(line, i64(2))])
            row = builder.gep(x_at, [builder.load(place)])
            weights_at = builder.gep(w_at, [builder.load(builder.gep(place, [i64(1)]))])
            weights = [
                builder.load(simd.at_offset(builder, weights_at, i64(k * n), vector), align=size)
                for k in range(taps * sources)
            ]
            for column in columns:
                place = simd.at_offset(builder, row, builder.mul(step, i64(column)), vector)
                if column in masks:
                    source = simd.masked_load(builder, place, masks[column], zero, size)
                elif groups * sources == n:
                    source = builder.load(place, align=size)
                else:
                    source = simd.masked_load(builder, place, of_groups, zero, size)
                for s in range(sources):
                    order = [j // results * sources + s if j < groups * results else 0 for j in range(n)]
                    indices = ir.Constant(ir.VectorType(ir.IntType(32), n), order)
                    factor = source if order == list(range(n)) else builder.shuffle_vector(source, source, indices)
                    for p in range(positions):
                        k, rest = divmod(column - p * stride, dilation)
                        if rest == 0 and 0 <= k < taps:
                            weight = weights[k * sources + s]
                            totals[p] = simd.vector_fma(builder, vector, factor, weight, totals[p])
            following = builder.add(line, i64(1))
            builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
            line.add_incoming(i64(0), entry)
            line.add_incoming(following, loop)
            builder.position_at_end(after)
            found = [builder.phi(vector) for _ in sums]
            for phi, total, result in zip(sums, totals, found):
                for each, new in ((phi, total), (result, total)):
                    each.add_incoming(zero, entry)
                    each.add_incoming(new, loop)
            return found

        names = "vector", "whole", "more", "plain", "stream", "cached", "edge", "next"
        blocks = [builder.append_basic_block(name) for name in names]
        vector_loop, whole, more, plain, stream, cached, edge, following = blocks
        done, start = builder.append_basic_block("done"), builder.block
        builder.cbranch(builder.icmp_signed(">", vectors, i64(0)), vector_loop, done)
        builder.position_at_end(vector_loop)
        v = builder.phi(i64)
        results_at, sources_at = (builder.mul(v, i64(groups * k)) for k in (results, sources))
        left, left_in = builder.sub(results_left, results_at), builder.sub(sources_left, sources_at)
        x_at, w_at = builder.gep(x_0, [sources_at]), builder.gep(w_0, [builder.mul(v, pitch)])
        out_at, bias_at, more_at = (builder.gep(pointer, [results_at]) for pointer in (out_0, bias_0, more_0))
        # Whole vectors of results, whose groups' sources are all there, need no masks of their own.
        enough = [
            builder.icmp_signed(">=", number, i64(lanes)) for number, lanes in ((left, n), (left_in, groups * sources))
        ]
        fits = groups * results == n
        builder.cbranch(
            builder.and_(everywhere, builder.and_(*enough)) if fits else ir.Constant(ir.IntType(1), 0), whole, edge
        )

        def mask(column: int, lanes: Any) -> Any:
            there = builder.and_(
                builder.icmp_signed(">=", i64(column), low), builder.icmp_signed("<", i64(column), past)
            )
            return simd.lane_mask(builder, n, lanes, where=there)

        def at_position(pointer: Any, step: Any, p: int) -> Any:
            return simd.at_offset(builder, pointer, builder.mul(step, i64(p)), vector)

        builder.position_at_end(whole)
        totals = sums_over_lines(x_at, w_at, {c: mask(c, i64(groups * sources)) for c in ends})
        added = builder.load(builder.bitcast(bias_at, vector.as_pointer()), align=size)
        totals = [builder.fadd(total, added) for total in totals]
        before = builder.block
        builder.cbranch(with_residual, more, plain)
        builder.position_at_end(more)
        extended = [
            builder.fadd(total, builder.load(at_position(more_at, more_step, p), align=size))
            for p, total in enumerate(totals)
        ]
        builder.branch(plain)
        builder.position_at_end(plain)
        joined = [builder.phi(vector) for _ in totals]
        for phi, total, extra in zip(joined, totals, extended):
            phi.add_incoming(total, before)
            phi.add_incoming(extra, more)
        values = [simd.activated(builder, activation, slope, total) for total in joined]
        builder.cbranch(streamed, stream, cached)
        builder.position_at_end(stream)
        for p, value in enumerate(values):
            simd.stream(builder, value, at_position(out_at, out_step, p))
        builder.branch(following)
        builder.position_at_end(cached)
        for p, value in enumerate(values):
            builder.store(value, at_position(out_at, out_step, p), align=size)
        builder.branch(following)

        builder.position_at_end(edge)
        if not fits:
            left = builder.select(builder.icmp_signed("<", left, i64(groups * results)), left, i64(groups * results))
            left_in = builder.select(
                builder.icmp_signed("<", left_in, i64(groups * sources)), left_in, i64(groups * sources)
            )
        stored = simd.lane_mask(builder, n, left)
        totals = sums_over_lines(x_at, w_at, {column: mask(column, left_in) for column in columns})
        added = simd.masked_load(builder, builder.bitcast(bias_at, vector.as_pointer()), stored, zero, size)
        residual_in = simd.lane_mask(builder, n, i64(n), where=with_residual)
        for p, total in enumerate(totals):
            inside = simd.lane_mask(builder, n, left, where=builder.icmp_signed("<", i64(p), here))
            extra = at_position(more_at, more_step, p)
            extra = simd.masked_load(builder, extra, builder.and_(residual_in, inside), zero, size)
            value = simd.activated(builder, activation, slope, builder.fadd(builder.fadd(total, added), extra))
            simd.masked_store(builder, value, at_position(out_at, out_step, p), inside, size)
        builder.branch(following)

        builder.position_at_end(following)
        next_v = builder.add(v, i64(1))
        v.add_incoming(i64(0), start)
        v.add_incoming(next_v, following)
        builder.cbranch(builder.icmp_signed("<", next_v, vectors), vector_loop, done)
        builder.position_at_end(done)

    return simd.operation(generate)


@jit.function
def narrow(
    positions: int, taps: int, stride: int, dilation: int, sources: int, results: int, dtype: str, activation: str
) -> Any:
    """`narrow_tile`."""
    return body(narrow_tile(positions, taps, stride, dilation, sources, results, dtype, activation))
