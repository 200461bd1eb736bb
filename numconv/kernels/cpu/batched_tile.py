"""The register tile on pairs of panels, one pair after another: a batch of small matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu.tiles import body

# Most rows of a tile: a power of two, as they lie in one vector of a panel. 8 x 2 sums run at 240 GF/s, as 14 x 2 do.
ROWS = 8 if simd.vector_bits() == 512 else 4


def batched_tile(rows: int, vectors: int, dtype: str) -> Any:
    """Products of panels of few columns with panels of `vectors` vectors.

    A tile's operation on `(x, y, sums, batch, x_pitch, y_pitch, sums_pitch, steps, x_step, first)`, of which the first
    three are addresses: for b < batch, r < rows and j < width,

    sums[b sums_pitch + r width + j] += sum over k < steps of  x[b x_pitch + k x_step + r] y[b y_pitch + k width + j],

    from zero where `first` is not 0. There is at least one step.
    """

    def generate(builder: Any, values: list[Any]) -> None:
        i64, vector, size = ir.IntType(64), simd.vector_type(dtype), np.dtype(dtype).itemsize
        count, width, zero = vector.count, vectors * vector.count, simd.constant(vector, 0.0)
        pointers = [builder.inttoptr(v, vector.element.as_pointer()) for v in values[:3]]
        batch, *pitches, steps, x_step, first = values[3:]
        grid = range(rows * vectors)
        entry = builder.block
        pair_loop, earlier, start, loop, stored, done = (
            builder.append_basic_block(name) for name in ("pair", "earlier", "start", "step", "stored", "done")
        )
        is_first = builder.icmp_signed("!=", first, i64(0))
        builder.cbranch(builder.icmp_signed(">", batch, i64(0)), pair_loop, done)
        builder.position_at_end(pair_loop)
        b, *places = builder.phi(i64), *(builder.phi(p.type) for p in pointers)
        in_sums = [simd.at_offset(builder, places[2], i64(k * count), vector) for k in grid]
        builder.cbranch(is_first, start, earlier)
        builder.position_at_end(earlier)
        before = [builder.load(place, align=size) for place in in_sums]
        builder.branch(start)
        builder.position_at_end(start)
        initial = [builder.phi(vector) for _ in grid]
        for phi, value in zip(initial, before):
            phi.add_incoming(zero, pair_loop)
            phi.add_incoming(value, earlier)
        builder.branch(loop)
        builder.position_at_end(loop)
        k, at_x, at_y = builder.phi(i64), builder.phi(places[0].type), builder.phi(places[1].type)
        running = [builder.phi(vector) for _ in grid]
        operands = [
            builder.load(simd.at_offset(builder, at_y, i64(v * count), vector), align=size) for v in range(vectors)
        ]
        following = []
        for r in range(rows):
            splat = simd.splat(builder, vector, builder.load(builder.gep(at_x, [i64(r)])))
            following += [
                simd.vector_fma(builder, vector, splat, operand, running[r * vectors + v])
                for v, operand in enumerate(operands)
            ]
        next_k, next_x, next_y = builder.add(k, i64(1)), builder.gep(at_x, [x_step]), builder.gep(at_y, [i64(width)])
        for phi, value, again in zip(
            (k, at_x, at_y, *running), (i64(0), *places[:2], *initial), (next_k, next_x, next_y, *following)
        ):
            phi.add_incoming(value, start)
            phi.add_incoming(again, loop)
        builder.cbranch(builder.icmp_signed("<", next_k, steps), loop, stored)
        builder.position_at_end(stored)
        for place, total in zip(in_sums, following):
            builder.store(total, place, align=size)
        next_b = builder.add(b, i64(1))
        b.add_incoming(i64(0), entry)
        b.add_incoming(next_b, stored)
        for phi, pointer, pitch in zip(places, pointers, pitches):
            phi.add_incoming(pointer, entry)
            phi.add_incoming(builder.gep(phi, [pitch]), stored)
        builder.cbranch(builder.icmp_signed("<", next_b, batch), pair_loop, done)
        builder.position_at_end(done)

    return simd.operation(generate)


@jit.function
def batched(rows: int, vectors: int, dtype: str) -> Any:
    """`batched_tile`."""
    return body(batched_tile(rows, vectors, dtype))
