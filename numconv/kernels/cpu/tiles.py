"""Register tiles, as compiled functions that kernels call by their address.

A tile keeps rows x vectors sums in registers over the whole of its loop (BLIS's microkernel: Van Zee and van de Geijn,
ACM TOMS 41, 2015). A kernel is compiled once for each dtype, and a tile, which is short, for each shape and activation:
0.2 s in place of 1.5 s for a variant, and the code around it cannot take registers from its sums.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from numconv.kernels.cpu import jit, simd

FIRST, LAST, RESIDUAL, STREAM = 1, 2, 4, 8  # bits of a tile's `mode`
TAP = 3  # numbers that a tile is told of a tap
AHEAD = 64  # steps by which weights are asked for in advance: 8 KB; 2 to 6 KB and 20 KB are slower from the third level


def indirect_tile(rows: int, vectors: int, dtype: str, activation: str) -> Any:
    """The register tile on rows that lie anywhere, with its epilogue in registers.

    A tile's operation on `(head, packed, sums, bias, parameter, first, taps, depth, skip, mode, at, some)`, of which
    the first five are addresses:

    sum[r, j] = sum over t < taps, k < depth of  row(t, r)[skip + k] * packed[place(t) + k width + j].

    From `head` on lie the addresses of `rows` rows of the result, then of the residual's, then of the source's; then
    three numbers a tap, of which those from tap `first` on count: its place in `packed`, where its list of `rows`
    addresses is, and how many bytes beyond them its rows lie. Unless `mode` has FIRST, the sums so far are added. With
    LAST the result's rows from channel `at` on become
    activation(sum + bias (+ residual where `mode` has RESIDUAL)) in their first `some` lanes; without it the sums are
    stored. `bias` is that of channel `at`. With STREAM all lanes are stored, on whole cache lines, past the caches.
    """

    def generate(builder: Any, values: list[Any]) -> None:
        i64 = ir.IntType(64)
        vector, size = simd.vector_type(dtype), np.dtype(dtype).itemsize
        element, count, width = vector.element, vector.count, vectors * vector.count
        head = builder.inttoptr(values[0], i64.as_pointer())
        weights, total_at, bias_at, slope_at = (builder.inttoptr(v, element.as_pointer()) for v in values[1:5])
        first, taps, depth, skip, mode, at, some = values[5:]
        zero = simd.constant(vector, 0.0)
        grid = list(itertools.product(range(rows), range(vectors)))

        def number(value: int) -> Any:
            return ir.Constant(i64, value)

        def read(place: int) -> Any:
            return builder.load(builder.gep(head, [number(place)]))

        def pointer(address: Any, offset: Any) -> Any:
            return builder.gep(builder.inttoptr(address, element.as_pointer()), [offset])

        def choose(wanted: bool, then: Callable[[list[Any]], list[Any]], bit: int, given: list[Any]) -> list[Any]:
            """`then(given)` where the mode has the bit (or, not `wanted`, has it not), else `given`."""
            has = builder.icmp_signed("!=", builder.and_(mode, number(bit)), number(0))
            before = builder.block
            yes, after = builder.append_basic_block("then"), builder.append_basic_block("after")
            builder.cbranch(has if wanted else builder.not_(has), yes, after)
            builder.position_at_end(yes)
            found, last = then(given), builder.block
            builder.branch(after)
            builder.position_at_end(after)
            joined = []
            for new, old in zip(found, given):
                joined.append(builder.phi(vector))
                joined[-1].add_incoming(new, last)
                joined[-1].add_incoming(old, before)
            return joined

        # Two loops, over taps and over depth, with the sums in registers throughout.
        entry = builder.block
        tap_loop, depth_loop, tap_done, done = (
            builder.append_basic_block(name) for name in ("tap", "depth", "tap.done", "done")
        )
        builder.cbranch(builder.icmp_signed(">", taps, number(0)), tap_loop, done)
        builder.position_at_end(tap_loop)
        tap = builder.phi(i64)
        carried = [builder.phi(vector) for _ in grid]
        record = builder.gep(head, [builder.add(number(3 * rows), builder.mul(builder.add(first, tap), number(TAP)))])
        place, listed, beyond = (builder.load(builder.gep(record, [number(k)])) for k in range(TAP))
        panel = builder.gep(weights, [place])
        listed = builder.inttoptr(listed, i64.as_pointer())
        sources = [
            pointer(builder.add(builder.load(builder.gep(listed, [number(r)])), beyond), skip) for r in range(rows)
        ]
        builder.branch(depth_loop)
        builder.position_at_end(depth_loop)
        k = builder.phi(i64)
        running = [builder.phi(vector) for _ in grid]
        step = builder.gep(panel, [builder.mul(k, number(width))])
        operands = [
            builder.load(simd.at_offset(builder, step, number(v * count), vector), align=size) for v in range(vectors)
        ]
        for v in range(vectors):
            simd.prefetch_line(builder, simd.at_offset(builder, step, number(AHEAD * width + v * count), vector))
        following = []
        for r, source in enumerate(sources):  # row after row: with all loads first there are too few registers
            splat = simd.splat(builder, vector, builder.load(builder.gep(source, [k])))
            following += [
                simd.vector_fma(builder, vector, splat, operand, running[r * vectors + v])
                for v, operand in enumerate(operands)
            ]
        next_k, next_tap = builder.add(k, number(1)), builder.add(tap, number(1))
        builder.cbranch(builder.icmp_signed("<", next_k, depth), depth_loop, tap_done)
        builder.position_at_end(tap_done)
        builder.cbranch(builder.icmp_signed("<", next_tap, taps), tap_loop, done)
        builder.position_at_end(done)
        totals = [builder.phi(vector) for _ in grid]
        for phi, start, again in ((tap, number(0), next_tap), (k, number(0), next_k)):
            phi.add_incoming(start, entry if phi is tap else tap_loop)
            phi.add_incoming(again, tap_done if phi is tap else depth_loop)
        for outer, inner, total, new in zip(carried, running, totals, following):
            outer.add_incoming(zero, entry)
            outer.add_incoming(new, tap_done)
            inner.add_incoming(outer, tap_loop)
            inner.add_incoming(new, depth_loop)
            total.add_incoming(zero, entry)
            total.add_incoming(new, tap_done)

        def in_sums(k: int) -> Any:
            return simd.at_offset(builder, total_at, number(k * count), vector)

        def add_earlier(given: list[Any]) -> list[Any]:
            return [builder.fadd(total, builder.load(in_sums(k), align=size)) for k, total in enumerate(given)]

        totals = choose(False, add_earlier, FIRST, totals)
        last, kept, end = (builder.append_basic_block(name) for name in ("last", "kept", "end"))
        is_last = builder.icmp_signed("!=", builder.and_(mode, number(LAST)), number(0))
        builder.cbranch(is_last, last, kept)
        builder.position_at_end(kept)
        for index, total in enumerate(totals):
            builder.store(total, in_sums(index), align=size)
        builder.branch(end)

        builder.position_at_end(last)
        masks = [simd.lane_mask(builder, count, some, v * count) for v in range(vectors)]
        added = [
            simd.masked_load(builder, simd.at_offset(builder, bias_at, number(v * count), vector), masks[v], zero, size)
            for v in range(vectors)
        ]
        totals = [builder.fadd(total, added[v]) for (_, v), total in zip(grid, totals)]

        def row_at(place: int, v: int) -> Any:
            return simd.at_offset(builder, pointer(read(place), at), number(v * count), vector)

        def add_residual(given: list[Any]) -> list[Any]:
            return [
                builder.fadd(total, simd.masked_load(builder, row_at(rows + r, v), masks[v], zero, size))
                for (r, v), total in zip(grid, given)
            ]

        totals = choose(True, add_residual, RESIDUAL, totals)
        slope = simd.splat(builder, vector, builder.load(slope_at))
        values = [simd.activated(builder, activation, slope, total) for total in totals]
        streamed, cached = (builder.append_basic_block(name) for name in ("streamed", "cached"))
        is_streamed = builder.icmp_signed("!=", builder.and_(mode, number(STREAM)), number(0))
        builder.cbranch(is_streamed, streamed, cached)
        builder.position_at_end(streamed)
        for (r, v), value in zip(grid, values):
            simd.stream(builder, value, row_at(r, v))
        builder.branch(end)
        builder.position_at_end(cached)
        for (r, v), value in zip(grid, values):
            simd.masked_store(builder, value, row_at(r, v), masks[v], size)
        builder.branch(end)
        builder.position_at_end(end)

    return simd.operation(generate)


def outer_tile(rows: int, vectors: int, dtype: str) -> Any:
    """Sums of outer products of two arrays read in place.

    A tile's operation on `(lines, sums, count, x, x_step, y, y_step, some)`, of which the first two are addresses:
    sums[r width + j] += sum over lines l < count, k < length(l) of  X(l)[x + k x_step + r] Y(l)[y + k y_step + j]
    for r < rows and j < some <= width. A line is three numbers: the addresses of X and Y, and its length. The sums are
    float64.
    """

    def generate(builder: Any, values: list[Any]) -> None:
        i64, vector, size = ir.IntType(64), simd.vector_type(dtype), np.dtype(dtype).itemsize
        element, n, zero = vector.element, vector.count, simd.constant(vector, 0.0)
        lines_at, sums_at = (builder.inttoptr(v, kind.as_pointer()) for v, kind in zip(values, (i64, ir.DoubleType())))
        count, x, x_step, y, y_step, some = values[2:]
        masks = [simd.lane_mask(builder, n, some, v * n) for v in range(vectors)]
        grid = range(rows * vectors)
        entry = builder.block
        line_loop, loop, line_done, done = (
            builder.append_basic_block(name) for name in ("line", "step", "line.done", "done")
        )
        builder.cbranch(builder.icmp_signed(">", count, i64(0)), line_loop, done)
        builder.position_at_end(line_loop)
        line = builder.phi(i64)
        carried = [builder.phi(vector) for _ in grid]
        place = builder.gep(lines_at, [builder.mul(line, i64(3))])
        first_x, first_y, length = (builder.load(builder.gep(place, [i64(k)])) for k in range(3))
        pointers = [
            builder.gep(builder.inttoptr(address, element.as_pointer()), [offset])
            for address, offset in ((first_x, x), (first_y, y))
        ]
        builder.branch(loop)
        builder.position_at_end(loop)
        k, at_x, at_y = builder.phi(i64), builder.phi(pointers[0].type), builder.phi(pointers[1].type)
        running = [builder.phi(vector) for _ in grid]
        operands = [
            simd.masked_load(builder, simd.at_offset(builder, at_y, i64(v * n), vector), masks[v], zero, size)
            for v in range(vectors)
        ]
        following = []
        for r in range(rows):
            splat = simd.splat(builder, vector, builder.load(builder.gep(at_x, [i64(r)])))
            following += [
                simd.vector_fma(builder, vector, splat, operand, running[r * vectors + v])
                for v, operand in enumerate(operands)
            ]
        next_k, next_x, next_y = builder.add(k, i64(1)), builder.gep(at_x, [x_step]), builder.gep(at_y, [y_step])
        next_line = builder.add(line, i64(1))
        builder.cbranch(builder.icmp_signed("<", next_k, length), loop, line_done)
        builder.position_at_end(line_done)
        builder.cbranch(builder.icmp_signed("<", next_line, count), line_loop, done)
        builder.position_at_end(done)
        totals = [builder.phi(vector) for _ in grid]
        line.add_incoming(i64(0), entry)
        line.add_incoming(next_line, line_done)
        for phi, start, again in ((k, i64(0), next_k), (at_x, pointers[0], next_x), (at_y, pointers[1], next_y)):
            phi.add_incoming(start, line_loop)
            phi.add_incoming(again, loop)
        for outer, inner, total, new in zip(carried, running, totals, following):
            outer.add_incoming(zero, entry)
            outer.add_incoming(new, line_done)
            inner.add_incoming(outer, line_loop)
            inner.add_incoming(new, loop)
            total.add_incoming(zero, entry)
            total.add_incoming(new, line_done)
        simd.add_to_memory(builder, [totals], sums_at, ir.DoubleType(), 8)

    return simd.operation(generate)


def turned_store(dtype: str, activation: str) -> Any:
    """Store sums whose channels lie side by side where the result's positions do, with the epilogue in registers.

    A tile's operation on `(sums, bias, residual, out, parameter, pitch, positions, channels, more_c, has_residual,
    out_c)`, of which the first five are addresses:
    out[j out_c + i] = activation(sums[i pitch + j] + bias[j] (+ residual[j more_c + i])) for i < positions and
    j < channels, at most a vector of either.
    """
    n = simd.lanes(dtype)

    def generate(builder: Any, values: list[Any]) -> None:
        i64, vector, size = ir.IntType(64), simd.vector_type(dtype), np.dtype(dtype).itemsize
        base, bias_at, more_at, target, slope_at = (
            builder.inttoptr(v, vector.element.as_pointer()) for v in values[:5]
        )
        pitch, positions, channels, more_c, has_residual, out_c = values[5:]
        zero, slope = simd.constant(vector, 0.0), simd.splat(builder, vector, builder.load(slope_at))
        inside = simd.lane_mask(builder, n, channels)
        added = simd.masked_load(builder, builder.bitcast(bias_at, vector.as_pointer()), inside, zero, size)
        square = simd.masked_square(builder, base, pitch, positions, channels, n, vector, size)
        with_residual = builder.icmp_signed("!=", has_residual, i64(0))
        residual_in = simd.lane_mask(builder, n, i64(n), where=with_residual)
        for j, column in enumerate(simd.turned(builder, [builder.fadd(row, added) for row in square])):
            mask = simd.lane_mask(builder, n, positions, where=builder.icmp_signed("<", i64(j), channels))
            place = simd.at_offset(builder, more_at, builder.mul(more_c, i64(j)), vector)
            extra = simd.masked_load(builder, place, builder.and_(mask, residual_in), zero, size)
            value = simd.activated(builder, activation, slope, builder.fadd(column, extra))
            simd.masked_store(
                builder, value, simd.at_offset(builder, target, builder.mul(out_c, i64(j)), vector), mask, size
            )

    return simd.operation(generate)


def body(operation: Any) -> Any:
    """What a tile's factory returns: a function that does the operation."""

    def tile(numbers):
        operation(numbers)

    return tile


@jit.function
def indirect(rows: int, vectors: int, dtype: str, activation: str) -> Any:
    """`indirect_tile`."""
    return body(indirect_tile(rows, vectors, dtype, activation))


@jit.function
def outer(rows: int, vectors: int, dtype: str) -> Any:
    """`outer_tile`."""
    return body(outer_tile(rows, vectors, dtype))


@jit.function
def turn_store(dtype: str, activation: str) -> Any:
    """`turned_store`."""
    return body(turned_store(dtype, activation))


@functools.cache
def address(factory: Any, arguments: int, *numbers: Any) -> int:
    """Where the tile `factory(*numbers)` of so many arguments is."""
    return jit.address(factory(*numbers), arguments)
