"""The register tile of dot products of rows, whose positions lie along its vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from numconv.kernels.cpu import jit, simd
from numconv.kernels.cpu.tiles import body


def dot_tile(rows: int, taps: int, padded: bool, dtype: str) -> Any:
    """Sums of products of rows.

    A tile's operation on `(x, y, sums, images, x_image, y_image, lines, x_line, y_line, wide, y_channel, first, apart,
    size)`, of which the first three are addresses: for r < rows and t < taps, the lanes of
    sums[r, t] += sum over images, lines and k < wide of  Y(image, line)[r y_channel + k] X(image, line)[first + t apart
    + k]. Where `padded`, X is zero outside of 0 <= . < size. The sums are float64. There is at least one of everything.
    """

    def generate(builder: Any, values: list[Any]) -> None:
        i64, i32, vector, bytes_each = ir.IntType(64), ir.IntType(32), simd.vector_type(dtype), np.dtype(dtype).itemsize
        n, zero, grid = vector.count, simd.constant(vector, 0.0), range(rows * taps)
        whole = ir.VectorType(i32, n)
        x_0, y_0 = (builder.inttoptr(v, vector.element.as_pointer()) for v in values[:2])
        images, x_image, y_image, lines, x_line, y_line, wide, y_channel, first, apart, size = values[3:]
        columns = [builder.add(first, builder.mul(apart, i64(t))) for t in range(taps)]
        channels = [builder.mul(y_channel, i64(r)) for r in range(rows)]

        def loop(name: str, starts: list[Any], sums: list[Any]) -> tuple[list[Any], list[Any], Any]:
            """Begin a loop: (what changes, the sums, what ends it, given their next values and whether to go on)."""
            before, block = builder.block, builder.append_basic_block(name)
            builder.branch(block)
            builder.position_at_end(block)
            phis = [builder.phi(start.type) for start in (*starts, *sums)]
            after = builder.append_basic_block(f"{name}.done")

            def end(following: list[Any], again: Any) -> None:
                for phi, start, value in zip(phis, (*starts, *sums), following):
                    phi.add_incoming(start, before)
                    phi.add_incoming(value, builder.block)
                builder.cbranch(again, block, after)
                builder.position_at_end(after)

            return phis[: len(starts)], phis[len(starts) :], end

        def loaded(pointer: Any, at: Any, mask: Any) -> Any:
            return simd.masked_load(builder, simd.at_offset(builder, pointer, at, vector), mask, zero, bytes_each)

        def inside(column: Any) -> Any:
            """The lanes for which 0 <= column + lane < size."""
            places = builder.add(
                simd.splat(builder, whole, builder.trunc(column, i32)), ir.Constant(whole, list(range(n)))
            )
            return builder.icmp_unsigned("<", places, simd.splat(builder, whole, builder.trunc(size, i32)))

        (image, x_first, y_first), sums, end_image = loop("image", [i64(0), x_0, y_0], [zero for _ in grid])
        (k,), sums, end_vector = loop("vector", [i64(0)], sums)
        mask = simd.lane_mask(builder, n, builder.sub(wide, k))
        masks = [builder.and_(mask, inside(builder.add(k, column))) if padded else mask for column in columns]
        starts = [i64(0), builder.gep(x_first, [k]), builder.gep(y_first, [k])]
        (line, x_at, y_at), sums, end_line = loop("line", starts, sums)
        gradients = [loaded(y_at, channel, mask) for channel in channels]
        sources = [loaded(x_at, column, lanes) for column, lanes in zip(columns, masks)]
        sums = [
            simd.vector_fma(builder, vector, gradients[at // taps], sources[at % taps], total)
            for at, total in zip(grid, sums)
        ]
        more = builder.add(line, i64(1))
        moved = [builder.gep(x_at, [x_line]), builder.gep(y_at, [y_line])]
        end_line([more, *moved, *sums], builder.icmp_signed("<", more, lines))
        more = builder.add(k, i64(n))
        end_vector([more, *sums], builder.icmp_signed("<", more, wide))
        more = builder.add(image, i64(1))
        moved = [builder.gep(x_first, [x_image]), builder.gep(y_first, [y_image])]
        end_image([more, *moved, *sums], builder.icmp_signed("<", more, images))
        sums_at = builder.inttoptr(values[2], ir.DoubleType().as_pointer())
        simd.add_to_memory(builder, [sums], sums_at, ir.DoubleType(), 8)

    return simd.operation(generate)


@jit.function
def dot(rows: int, taps: int, padded: bool, dtype: str) -> Any:
    """`dot_tile`."""
    return body(dot_tile(rows, taps, padded, dtype))
