"""Small matrices applied to vectors in registers, squares or lines of them: the transforms of Winograd's algorithm."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from numconv.kernels.cpu import simd


def _linear(builder: Any, matrix: Any, values: list[Any]) -> list[Any]:
    """matrix @ values, in few operations: entries that pair up to a sign along a row or a column are shared."""
    kind = values[0].type
    rows, values = [list(row) for row in matrix], list(values)
    for j in range(len(values) - 1):  # columns c and +-c: of their sum and difference
        left, right = [row[j] for row in rows], [row[j + 1] for row in rows]
        if left != right and any(left) and [abs(c) for c in left] == [abs(c) for c in right]:
            first, second = values[j : j + 2]
            values[j : j + 2] = builder.fadd(first, second), builder.fsub(first, second)
            for row, a, b in zip(rows, left, right):
                row[j : j + 2] = [a, 0.0] if a == b else [0.0, a]

    def dot(row: list[float]) -> Any:
        total = None
        # A factor of one first: it costs nothing.
        for factor, value in sorted(((f, v) for f, v in zip(row, values) if f), key=lambda term: term[0] != 1):
            if total is None:
                total = value if factor == 1 else builder.fmul(value, simd.constant(kind, factor))
            elif factor in (1, -1):
                total = builder.fadd(total, value) if factor == 1 else builder.fsub(total, value)
            else:
                total = simd.vector_fma(builder, kind, value, simd.constant(kind, factor), total)
        return simd.constant(kind, 0.0) if total is None else total

    found: list[Any] = []
    while len(found) < len(rows):
        row, other = rows[len(found)], rows[len(found) + 1] if len(found) + 1 < len(rows) else []
        same, apart = ([f if keep == (f == g) else 0.0 for f, g in zip(row, other)] for keep in (True, False))
        if any(same) and any(apart) and [abs(f) for f in row] == [abs(f) for f in other]:
            even, odd = dot(same), dot(apart)
            found += [builder.fadd(even, odd), builder.fsub(even, odd)]
        else:
            found.append(dot(row))
    return found


def _both_sides(builder: Any, left: Any, right: Any, square: list[list[Any]]) -> list[list[Any]]:
    """left @ square @ right.T, of vectors."""
    across = [_linear(builder, right, row) for row in square]
    columns = [_linear(builder, left, list(column)) for column in zip(*across)]
    return [list(row) for row in zip(*columns)]


def transform(left: Any, right: Any) -> Any:
    """left @ square @ right.T for a square of vectors: `(x, at, steps, span, some, y, to, y_steps)`.

    Vector (i, j) is x[at + i steps[0] + j steps[1]:], zero unless span[0] <= i < span[1] and span[2] <= j < span[3],
    and in lanes from `some` on; the result's goes to y[to + i y_steps[0] + j y_steps[1]:].
    """

    @simd.intrinsic
    def transformed(
        typing: Any, x: Any, at: Any, steps: Any, span: Any, some: Any, y: Any, to: Any, y_steps: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds, (_, at, steps, span, some, _, to, y_steps) = signature.args, arguments
            i64, size = ir.IntType(64), x.dtype.bitwidth // 8
            vector = ir.VectorType(context.get_data_type(x.dtype), simd.lanes(str(x.dtype)))
            source = builder.gep(simd.data_of(context, builder, kinds[0], arguments[0]), [at])
            target = builder.gep(simd.data_of(context, builder, kinds[5], arguments[5]), [to])
            zero, n = simd.constant(vector, 0.0), vector.count
            bounds = [builder.extract_value(span, k) for k in range(4)]

            def within(k: int, low: Any, high: Any) -> Any:
                number = ir.Constant(i64, k)
                return builder.and_(builder.icmp_signed(">=", number, low), builder.icmp_signed("<", number, high))

            row_in = [simd.lane_mask(builder, n, i64(n), where=within(i, *bounds[:2])) for i in range(len(left[0]))]
            column_in = [simd.lane_mask(builder, n, some, where=within(j, *bounds[2:])) for j in range(len(right[0]))]

            def clamped(k: int, low: Any, high: Any) -> Any:
                number = builder.select(builder.icmp_signed(">", low, i64(k)), low, i64(k))
                return builder.select(builder.icmp_signed("<", number, high), number, builder.sub(high, i64(1)))

            # Masked loads read nothing, but one from a page that is not there takes 140 ns: they stay in the span.
            over_rows, over_columns = (
                [
                    builder.mul(builder.extract_value(steps, axis), clamped(k, *bounds[2 * axis :][:2]))
                    for k in range(len(matrix[0]))
                ]
                for axis, matrix in enumerate((left, right))
            )

            def read(i: int, j: int) -> Any:
                mask = builder.and_(row_in[i], column_in[j])
                place = simd.at_offset(builder, source, builder.add(over_rows[i], over_columns[j]), vector)
                return simd.masked_load(builder, place, mask, zero, size)

            def place(i: int, j: int) -> Any:
                over = [builder.mul(builder.extract_value(y_steps, k), i64(n)) for k, n in enumerate((i, j))]
                return simd.at_offset(builder, target, builder.add(*over), vector)

            square = [[read(i, j) for j in range(len(right[0]))] for i in range(len(left[0]))]
            for i, row in enumerate(_both_sides(builder, left, right, square)):
                for j, value in enumerate(row):
                    builder.store(value, place(i, j), align=size)
            return context.get_dummy_value()

        i, pair = types.intp, types.UniTuple(types.intp, 2)
        return types.void(x, i, pair, types.UniTuple(i, 4), i, y, i, pair), generate

    return transformed


def transform_store(left: Any, right: Any, dtype: str, activation: str) -> Any:
    """left @ square @ right.T with its epilogue, of a square of vectors.

    A tile's operation on `(x, bias, residual, out, parameter, pitch, has_residual, more_step, more_step, step, step,
    high, wide, some)`, of which the first five are addresses. The square's k-th vector is x[k pitch:]; the result's
    (i, j) becomes activation(it + bias (+ residual[i more_step + j more_step:])) at out[i step + j step:], for
    i < high, j < wide and in the first `some` lanes.
    """

    def generate(builder: Any, values: list[Any]) -> None:
        i64, vector, size = ir.IntType(64), simd.vector_type(dtype), np.dtype(dtype).itemsize
        source, bias_at, more_at, target, slope_at = (
            builder.inttoptr(v, vector.element.as_pointer()) for v in values[:5]
        )
        pitch, has_residual, more_steps, steps, (high, wide, some) = (
            values[5],
            values[6],
            values[7:9],
            values[9:11],
            values[11:],
        )
        inside, zero, n = simd.lane_mask(builder, vector.count, some), simd.constant(vector, 0.0), vector.count
        added = simd.masked_load(builder, builder.bitcast(bias_at, vector.as_pointer()), inside, zero, size)
        slope = simd.splat(builder, vector, builder.load(slope_at))
        with_residual = builder.icmp_signed("!=", has_residual, i64(0))

        def read(k: int) -> Any:
            return builder.load(simd.at_offset(builder, source, builder.mul(pitch, i64(k)), vector), align=size)

        def place(pointer: Any, steps: list[Any], i: int, j: int) -> Any:
            over = [builder.mul(step, i64(k)) for step, k in zip(steps, (i, j))]
            return simd.at_offset(builder, pointer, builder.add(*over), vector)

        across = len(right[0])
        square = [[read(i * across + j) for j in range(across)] for i in range(len(left[0]))]

        def below(k: int, bound: Any, some: Any) -> Any:
            return simd.lane_mask(builder, n, some, where=builder.icmp_signed("<", i64(k), bound))

        column_in = [below(j, wide, some) for j in range(len(right))]
        residual_in = simd.lane_mask(builder, n, i64(n), where=with_residual)
        for i, row in enumerate(_both_sides(builder, left, right, square)):
            row_in = below(i, high, i64(n))
            for j, value in enumerate(row):
                mask = builder.and_(row_in, column_in[j])
                more_mask = builder.and_(mask, residual_in)
                extra = simd.masked_load(builder, place(more_at, more_steps, i, j), more_mask, zero, size)
                total = builder.fadd(builder.fadd(value, added), extra)
                total = simd.activated(builder, activation, slope, total)
                simd.masked_store(builder, total, place(target, steps, i, j), mask, size)

    return simd.operation(generate)


def transform_line(matrix: Any, dtype: str) -> Any:
    """matrix @ line, for a run of lines and all their channels in one call.

    A tile's operation on `(x, y, count, channels, step, over, first, past, apart, pitch)`, of which the first two are
    addresses: number j of line t is the vector x[t step + j over + c:], zero unless first <= j < past and in channels
    from the last on; number k of its transform goes to y[t apart + k pitch + c:]. At least one number is there: it is
    what masked loads of the others point to, which take 10 times as long where no memory is.
    """

    def generate(builder: Any, values: list[Any]) -> None:
        i64, vector, size = ir.IntType(64), simd.vector_type(dtype), np.dtype(dtype).itemsize
        source, target = (builder.inttoptr(v, vector.element.as_pointer()) for v in values[:2])
        count, channels, step, over, first, past, apart, pitch = values[2:]
        zero, n = simd.constant(vector, 0.0), i64(vector.count)
        rest = builder.srem(channels, n)
        whole = builder.sub(channels, rest)

        numbers = [i64(j) for j in range(len(matrix[0]))]
        inside = [builder.and_(builder.icmp_signed(">=", j, first), builder.icmp_signed("<", j, past)) for j in numbers]
        of_whole, of_rest = (
            [simd.lane_mask(builder, vector.count, some, where=where) for where in inside] for some in (n, rest)
        )
        reads = [builder.mul(over, builder.select(where, j, first)) for where, j in zip(inside, numbers)]
        writes = [builder.mul(pitch, i64(k)) for k in range(len(matrix))]

        def transformed(line: Any, c: Any, masks: list[Any]) -> None:
            at = builder.gep(source, [builder.add(builder.mul(line, step), c)])
            to = builder.gep(target, [builder.add(builder.mul(line, apart), c)])
            numbers = [
                simd.masked_load(builder, simd.at_offset(builder, at, offset, vector), mask, zero, size)
                for offset, mask in zip(reads, masks)
            ]
            for value, offset in zip(_linear(builder, matrix, numbers), writes):
                builder.store(value, simd.at_offset(builder, to, offset, vector), align=size)

        with cgutils.for_range(builder, count) as lines:
            with cgutils.for_range_slice(builder, i64(0), whole, n, i64) as (c, _):
                transformed(lines.index, c, of_whole)
            with builder.if_then(builder.icmp_signed(">", rest, i64(0))):
                transformed(lines.index, whole, of_rest)

    return simd.operation(generate)


def store_line(matrix: Any, dtype: str, activation: str) -> Any:
    """matrix @ line with its epilogue, for a vector of channels of a run of lines in one call.

    A tile's operation on `(sums, bias, residual, out, parameter, count, apart, pitch, has_residual, more_step,
    more_over, step, over, results, some, streams)`, of which the first five are addresses. Number k of line t is the
    vector sums[t apart + k pitch:]; result j, for j < results, becomes activation(it + bias (+ residual[t more_step +
    j more_over:])) at out[t step + j over:], in the first `some` lanes. Where it `streams`, all results and lanes are
    stored, on multiples of a vector, past the caches, and there is no residual.
    """

    def generate(builder: Any, values: list[Any]) -> None:
        i64, vector, size = ir.IntType(64), simd.vector_type(dtype), np.dtype(dtype).itemsize
        source, bias_at, more_at, target, slope_at = (
            builder.inttoptr(v, vector.element.as_pointer()) for v in values[:5]
        )
        count, apart, pitch, has_residual, more_step, more_over, step, over, results, some, streams = values[5:]
        zero, n = simd.constant(vector, 0.0), vector.count
        lane = simd.lane_mask(builder, n, some)
        added = simd.masked_load(builder, builder.bitcast(bias_at, vector.as_pointer()), lane, zero, size)
        slope = simd.splat(builder, vector, builder.load(slope_at))
        numbers = [i64(j) for j in range(len(matrix))]
        inside = [builder.icmp_signed("<", j, results) for j in numbers]
        masks = [simd.lane_mask(builder, n, some, where=where) for where in inside]
        places = [builder.select(where, j, i64(0)) for where, j in zip(inside, numbers)]  # memory that is there

        def lines(with_residual: bool, streamed: bool) -> None:
            with cgutils.for_range(builder, count) as loop:
                at, more, to = (
                    builder.gep(pointer, [builder.mul(loop.index, by)])
                    for pointer, by in ((source, apart), (more_at, more_step), (target, step))
                )

                def place(pointer: Any, by: Any, k: Any) -> Any:
                    return simd.at_offset(builder, pointer, builder.mul(by, k), vector)

                sums = [builder.load(place(at, pitch, i64(k)), align=size) for k in range(len(matrix[0]))]
                for j, mask, value in zip(places, masks, _linear(builder, matrix, sums)):
                    total = builder.fadd(value, added)
                    if with_residual:
                        extra = simd.masked_load(builder, place(more, more_over, j), mask, zero, size)
                        total = builder.fadd(total, extra)
                    total = simd.activated(builder, activation, slope, total)
                    if streamed:
                        simd.stream(builder, total, place(to, over, j))
                    else:
                        simd.masked_store(builder, total, place(to, over, j), mask, size)

        with builder.if_else(builder.icmp_signed("!=", streams, i64(0))) as (past_caches, cached):
            with past_caches:
                lines(False, True)
            with cached, builder.if_else(builder.icmp_signed("!=", has_residual, i64(0))) as (summed, alone):
                with summed:
                    lines(True, False)
                with alone:
                    lines(False, False)

    return simd.operation(generate)


def transform_turned(left: Any, right: Any, dtype: str, adds: bool) -> Any:
    """left @ square @ right.T of squares of vectors, the numbers of each lane stored side by side.

    A tile's operation on `(x, out, pitch, squares, x_step, out_step, lane_step, some)`, of which the first two are
    addresses. Vector k of square q < squares is x[q x_step + k pitch:]; the result's (i, j) of lane l < some goes to
    out[q out_step + l lane_step + i len(right) + j], where `adds` adds it.
    """

    def generate(builder: Any, values: list[Any]) -> None:
        i64, vector, size = ir.IntType(64), simd.vector_type(dtype), np.dtype(dtype).itemsize
        source, target = (builder.inttoptr(v, vector.element.as_pointer()) for v in values[:2])
        pitch, squares, x_step, out_step, lane_step, some = values[2:]
        n, zero, across = vector.count, simd.constant(vector, 0.0), len(right[0])
        there = [builder.icmp_signed("<", i64(lane), some) for lane in range(n)]
        entry = builder.block
        loop, done = builder.append_basic_block("square"), builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed(">", squares, i64(0)), loop, done)
        builder.position_at_end(loop)
        q, x, out = builder.phi(i64), builder.phi(source.type), builder.phi(target.type)

        def read(k: int) -> Any:
            return builder.load(simd.at_offset(builder, x, builder.mul(pitch, i64(k)), vector), align=size)

        square = [[read(i * across + j) for j in range(across)] for i in range(len(left[0]))]
        results = [value for row in _both_sides(builder, left, right, square) for value in row]
        for first in range(0, len(results), n):
            some_results = results[first : first + n]
            block = some_results + [ir.Constant(vector, ir.Undefined)] * (n - len(some_results))
            for lane, numbers in enumerate(simd.turned(builder, block)):
                mask = simd.lane_mask(builder, n, i64(len(some_results)), where=there[lane])
                to = builder.add(builder.mul(lane_step, i64(lane)), i64(first))
                place = simd.at_offset(builder, out, to, vector)
                before = [simd.masked_load(builder, place, mask, zero, size)] if adds else []
                simd.masked_store(builder, functools.reduce(builder.fadd, before, numbers), place, mask, size)
        following = builder.add(q, i64(1)), builder.gep(x, [x_step]), builder.gep(out, [out_step])
        for phi, start, again in zip((q, x, out), (i64(0), source, target), following):
            phi.add_incoming(start, entry)
            phi.add_incoming(again, loop)
        builder.cbranch(builder.icmp_signed("<", following[0], squares), loop, done)
        builder.position_at_end(done)

    return simd.operation(generate)
