"""The register tile on a panel of positions and rows of a weight, with its epilogue in registers."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu.tiles import FIRST, LAST, RESIDUAL, body

# Rows of a tile by its vectors: its sums, a row's number and the panel's vectors share the registers. 7 x 4 runs at 173
# GF/s where 6 x 4, 9 x 3 and 14 x 2 run at 222.
ROWS = (
    {1: (28, 14, 6), 2: (14, 12, 6), 3: (9, 8, 6), 4: (6,)}
    if simd.vector_bits() == 512
    else {1: (12, 8, 4), 2: (6, 5, 4), 3: (4, 3)}
)


def panel_tile(rows: int, vectors: int, dtype: str, activation: str) -> Any:
    """Rows of a weight times a panel.

    A tile's operation on `(weight, step, panel, pitch, depth, sums, mode, bias, parameter, out, out_step, more,
    more_step, some, positions)`, of which weight, panel, sums, bias, parameter, out and more are addresses:

    sum[r, j] = sum over k < depth of  weight[r step + k] * panel[k pitch + j].

    Unless `mode` has FIRST, the sums so far are added. With LAST out[r out_step + j] becomes
    activation(sum[r, j] + bias[r] (+ more[r more_step + j] where `mode` has RESIDUAL)) for r < some and j < positions;
    without it the sums are stored.
    """

    def generate(builder: Any, values: list[Any]) -> None:
        i64, vector, size = ir.IntType(64), simd.vector_type(dtype), np.dtype(dtype).itemsize
        count, zero = vector.count, simd.constant(vector, 0.0)
        weight, panel, sums_at, bias, slope_at, out, more = (
            builder.inttoptr(values[k], vector.element.as_pointer()) for k in (0, 2, 5, 7, 8, 9, 11)
        )
        step, pitch, depth, mode, out_step, more_step, some, positions = (
            values[k] for k in (1, 3, 4, 6, 10, 12, 13, 14)
        )
        grid = [(r, v) for r in range(rows) for v in range(vectors)]

        def has(bit: int) -> Any:
            return builder.icmp_signed("!=", builder.and_(mode, i64(bit)), i64(0))

        # Rows past the last are the last one again.
        last_row = builder.sub(some, i64(1))
        numbers = [builder.select(builder.icmp_signed("<", i64(r), some), i64(r), last_row) for r in range(rows)]
        factors = [builder.gep(weight, [builder.mul(number, step)]) for number in numbers]
        # Past the last position lies what is not the caller's.
        there = [simd.lane_mask(builder, count, positions, v * count) for v in range(vectors)]
        entry = builder.block
        loop, done = builder.append_basic_block("term"), builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed(">", depth, i64(0)), loop, done)
        builder.position_at_end(loop)
        k, at = builder.phi(i64), builder.phi(panel.type)
        running = [builder.phi(vector) for _ in grid]
        operands = [
            simd.masked_load(builder, simd.at_offset(builder, at, i64(v * count), vector), there[v], zero, size)
            for v in range(vectors)
        ]
        # The weight's next rows come meanwhile, a line of each while a line of these is used: 1.0 ms in place of 1.2
        # for 512 -> 1024 channels. The second level is near enough, and has room where rows share a set of the first.
        row = builder.and_(k, i64(15))
        row = builder.select(builder.icmp_signed("<", row, i64(rows)), row, i64(rows - 1))
        ahead = builder.add(builder.mul(builder.add(row, i64(rows)), step), k)
        simd.prefetch_line(builder, builder.gep(weight, [ahead]), level=2)
        following = []
        for r, factor in enumerate(factors):
            splat = simd.splat(builder, vector, builder.load(builder.gep(factor, [k])))
            following += [
                simd.vector_fma(builder, vector, splat, operand, running[r * vectors + v])
                for v, operand in enumerate(operands)
            ]
        next_k, next_at = builder.add(k, i64(1)), builder.gep(at, [pitch])
        builder.cbranch(builder.icmp_signed("<", next_k, depth), loop, done)
        builder.position_at_end(done)
        totals = [builder.phi(vector) for _ in grid]
        for phi, start, again in ((k, i64(0), next_k), (at, panel, next_at)):
            phi.add_incoming(start, entry)
            phi.add_incoming(again, loop)
        for phi, total, new in zip(running, totals, following):
            for each in (phi, total):
                each.add_incoming(zero, entry)
                each.add_incoming(new, loop)

        def in_sums(index: int) -> Any:
            return simd.at_offset(builder, sums_at, i64(index * count), vector)

        earlier = simd.lane_mask(builder, count, builder.select(has(FIRST), i64(0), i64(count)))
        totals = [
            builder.fadd(total, simd.masked_load(builder, in_sums(k), earlier, zero, size))
            for k, total in enumerate(totals)
        ]
        last, kept, end = (builder.append_basic_block(name) for name in ("last", "kept", "end"))
        builder.cbranch(has(LAST), last, kept)
        builder.position_at_end(kept)
        for index, total in enumerate(totals):
            builder.store(total, in_sums(index), align=size)
        builder.branch(end)
        builder.position_at_end(last)
        slope = simd.splat(builder, vector, builder.load(slope_at))
        with_residual = has(RESIDUAL)
        added = [simd.splat(builder, vector, builder.load(builder.gep(bias, [number]))) for number in numbers]
        for (r, v), total in zip(grid, totals):
            is_row = builder.icmp_signed("<", i64(r), some)
            mask = simd.lane_mask(builder, count, positions, v * count, where=is_row)
            extra_mask = simd.lane_mask(builder, count, positions, v * count, where=builder.and_(is_row, with_residual))
            place = builder.gep(more, [builder.mul(i64(r), more_step)])
            extra = simd.masked_load(
                builder, simd.at_offset(builder, place, i64(v * count), vector), extra_mask, zero, size
            )
            value = builder.fadd(builder.fadd(total, added[r]), extra)
            place = builder.gep(out, [builder.mul(i64(r), out_step)])
            simd.masked_store(
                builder, simd.activated(builder, activation, slope, value),
                simd.at_offset(builder, place, i64(v * count), vector), mask, size,
            )  # fmt: skip
        builder.branch(end)
        builder.position_at_end(end)

    return simd.operation(generate)


@jit.function
def panel(rows: int, vectors: int, dtype: str, activation: str) -> Any:
    """`panel_tile`."""
    return body(panel_tile(rows, vectors, dtype, activation))


@functools.cache
def address_of(rows: int, vectors: int, dtype: str, activation: str) -> int:
    """Where the tile is."""
    return jit.address(panel(rows, vectors, dtype, activation), 15)
