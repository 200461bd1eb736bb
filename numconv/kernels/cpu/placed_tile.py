"""The register tile on runs that start anywhere, with its sums stored at once and where they are wanted.

`simd.tabled_tile` adds to sums that lie together, which costs a pass of zeros before and a copy after it: a third of
the time where a tile has 15 steps.
"""

from __future__ import annotations

import itertools
from typing import Any

from llvmlite import ir
from numba.core import types

from numconv.kernels.cpu import simd


def placed_tile(rows: int, vectors: int) -> Any:
    """`simd.tabled_tile` with rows of sums anywhere: `(a, ai, b, bi, c, ci, pitch, steps, places, pi, start, more)`.

    c[ci + r pitch + j] = start + sum over k < steps of a[ai + k rows + r] b[bi + places[pi + k] + j], and where `more`
    is not 0 what was there is added.
    """

    @simd.intrinsic
    def multiply_add(
        typing: Any, a: Any, ai: Any, b: Any, bi: Any, c: Any, ci: Any, pitch: Any, steps: Any, places: Any, pi: Any,
        start: Any, more: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vector = ir.VectorType(context.get_data_type(a.dtype), simd.lanes(str(a.dtype)))
            size, index, count = a.dtype.bitwidth // 8, ir.IntType(64), vector.count
            a0, b0, c0, first = (
                builder.gep(simd.data_of(context, builder, signature.args[k], arguments[k]), [arguments[k + 1]])
                for k in (0, 2, 4, 8)
            )

            def vector_at(pointer: Any, v: int) -> Any:
                return simd.at_offset(builder, pointer, ir.Constant(index, v * count), vector)

            def factors(step: Any) -> Any:
                weights = builder.gep(a0, [builder.mul(step, ir.Constant(index, rows))])
                run = builder.gep(b0, [builder.load(builder.gep(first, [step]))])
                operand = [builder.load(vector_at(run, v), align=size) for v in range(vectors)]
                for r in range(rows):
                    weight = builder.load(builder.gep(weights, [ir.Constant(index, r)]))
                    yield [simd.splat(builder, vector, weight)] * vectors, operand

            totals = simd._sum_in_registers(builder, vector, rows, vectors, arguments[7], factors)
            start = simd.splat(builder, vector, arguments[10])
            nonzero = builder.icmp_signed("!=", arguments[11], ir.Constant(index, 0))
            targets = [builder.gep(c0, [builder.mul(arguments[6], ir.Constant(index, r))]) for r in range(rows)]
            places_of = [[vector_at(target, v) for v in range(vectors)] for target in targets]
            with builder.if_else(nonzero) as (added, stored):
                for branch, earlier in ((added, True), (stored, False)):
                    with branch:
                        for total, place in zip(itertools.chain(*totals), itertools.chain(*places_of)):
                            value = builder.fadd(total, start)
                            value = builder.fadd(value, builder.load(place, align=size)) if earlier else value
                            builder.store(value, place, align=size)
            return context.get_dummy_value()

        i = types.intp
        return types.void(a, i, b, i, c, i, i, i, places, i, a.dtype, i), generate

    return multiply_add
