"""Vector instructions: the register tile, half-precision loads and stores, copies and stack buffers.

The tile computes c += a b for `rows` x `vectors` vectors held in registers over the whole sum: each step loads
`vectors` vectors of b, broadcasts `rows` numbers of a, and does rows x vectors fused multiply-adds. The sum starts at
zero in registers and is added to c in memory once, so a caller that hands over `STEPS` steps at a time gets blocked
summation, whose error grows with the square root of STEPS and of the number of blocks, not of all terms
(Higham, Accuracy and Stability of Numerical Algorithms, section 4.2).

The scheme of rows and vectors is BLIS's microkernel (Van Zee and van de Geijn, ACM TOMS 41, 2015). This is the only
file that emits LLVM instructions.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable
from typing import Any

import numba
import numba.extending
import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.np import arrayobj

intrinsic: Any = numba.extending.intrinsic  # its stubs do not know that kernels call without the typing context
# Terms added in registers before they join the sum in memory: a step costs 0.4 % more at 128 than at 512, 3 % at 64.
STEPS = 128


@functools.cache
def vector_bits() -> int:
    """Width of the vectors to use: the host's, or `NUMCONV_VECTOR_BITS` where that is smaller."""
    features = binding.get_host_cpu_features()
    host = 512 if features.get("avx512f") else 256 if features.get("avx2") and features.get("fma") else 128
    wanted = os.environ.get("NUMCONV_VECTOR_BITS", "")
    return min(host, int(wanted)) if wanted in ("128", "256", "512") else host


def lanes(dtype: Any) -> int:
    """How many numbers of a dtype a vector holds."""
    return vector_bits() // (8 * np.dtype(dtype).itemsize)


def tile_rows() -> int:
    """Rows of a tile two vectors wide that keep rows x 2 sums, 2 operands and a broadcast in registers."""
    return 14 if vector_bits() == 512 else 6


def _data(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def _vector_fma(builder: Any, kind: ir.VectorType, *operands: Any) -> Any:
    suffix = "f32" if isinstance(kind.element, ir.FloatType) else "f64"
    name = f"llvm.fma.v{kind.count}{suffix}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, operands)


def _splat(builder: Any, kind: ir.VectorType, scalar: Any) -> Any:
    lane = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, lane)
    mask = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)


def _at(builder: Any, pointer: Any, offset: Any, kind: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [offset]), kind.as_pointer())


def _masked_load(builder: Any, place: Any, mask: Any, zero: Any, size: int) -> Any:
    """A vector from `place`, zero where the mask is off; such lanes are not read."""
    i32 = ir.IntType(32)
    kind = ir.FunctionType(zero.type, [zero.type.as_pointer(), i32, mask.type, zero.type])
    name = f"llvm.masked.load.v{zero.type.count}f{8 * size}.p0"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [place, ir.Constant(i32, size), mask, zero])


def _masked_store(builder: Any, value: Any, place: Any, mask: Any, size: int) -> None:
    """Store the lanes whose mask is on; the others' memory is not touched."""
    i32 = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [value.type, value.type.as_pointer(), i32, mask.type])
    name = f"llvm.masked.store.v{value.type.count}f{8 * size}.p0"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    builder.call(function, [value, place, ir.Constant(i32, size), mask])


def _sum_in_registers(
    builder: Any, vector: Any, rows: int, vectors: int, steps: Any, factors: Callable[..., Any]
) -> Any:
    """rows x vectors sums of products over `steps` steps, from zero; `factors(step)` gives a pair of lists each row."""
    index, zero = steps.type, ir.Constant(vector, [0.0] * vector.count)
    entry = builder.block
    loop, done = builder.append_basic_block("tile"), builder.append_basic_block("tile.done")
    builder.cbranch(builder.icmp_signed(">", steps, ir.Constant(index, 0)), loop, done)

    builder.position_at_end(loop)
    step = builder.phi(index)
    sums = [[builder.phi(vector) for _ in range(vectors)] for _ in range(rows)]
    following = [
        [_vector_fma(builder, vector, x, y, s) for x, y, s in zip(xs, ys, row)]
        for (xs, ys), row in zip(factors(step), sums)
    ]
    after = builder.add(step, ir.Constant(index, 1))
    step.add_incoming(ir.Constant(index, 0), entry)
    step.add_incoming(after, loop)
    builder.cbranch(builder.icmp_signed("<", after, steps), loop, done)

    builder.position_at_end(done)
    totals = [[builder.phi(vector) for _ in range(vectors)] for _ in range(rows)]
    for r in range(rows):
        for v in range(vectors):
            for phi in (sums[r][v], totals[r][v]):
                phi.add_incoming(zero, entry)
                phi.add_incoming(following[r][v], loop)
    return totals


def _add_to_memory(builder: Any, totals: Any, memory: Any, wide: Any, size: int) -> None:
    """memory += totals, row after row, in the memory's type."""
    summed = ir.VectorType(wide, totals[0][0].type.count)
    for k, total in enumerate(itertools.chain.from_iterable(totals)):
        place = _at(builder, memory, ir.Constant(ir.IntType(64), k * summed.count), summed)
        added = total if total.type.element == wide else builder.fpext(total, summed)
        builder.store(builder.fadd(builder.load(place, align=size), added), place, align=size)


def _multiply_add(rows: int, vectors: int, a_row: int, a_step: int, tabled: bool) -> Any:
    """The register tile; where `tabled`, step k reads b at places[pi + k] in place of k times the tile's width."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, values = signature.args, list(arguments)
        vector = ir.VectorType(context.get_data_type(kinds[0].dtype), lanes(str(kinds[0].dtype)))
        width, size, index = vectors * vector.count, kinds[0].dtype.bitwidth // 8, values[1].type
        a0, b0, c0 = (
            builder.gep(_data(context, builder, kinds[k], values[k]), [values[k + 1]]) for k in (0, 2, 4)
        )  # fmt: skip
        places = builder.gep(_data(context, builder, kinds[7], values[7]), [values[8]]) if tabled else None

        def constant(value: int) -> Any:
            return ir.Constant(index, value)

        def factors(step: Any) -> Any:
            a_at = builder.gep(a0, [builder.mul(step, constant(a_step))])
            b_at = builder.gep(
                b0, [builder.load(builder.gep(places, [step])) if tabled else builder.mul(step, constant(width))]
            )
            operand = [
                builder.load(_at(builder, b_at, constant(v * vector.count), vector), align=size) for v in range(vectors)
            ]
            for r in range(rows):
                scalar = builder.load(builder.gep(a_at, [constant(r * a_row)]))
                yield [_splat(builder, vector, scalar)] * vectors, operand

        totals = _sum_in_registers(builder, vector, rows, vectors, values[6], factors)
        _add_to_memory(builder, totals, c0, context.get_data_type(kinds[4].dtype), kinds[4].dtype.bitwidth // 8)
        return context.get_dummy_value()

    return generate


def tile(rows: int, vectors: int, a_row: int, a_step: int) -> Any:
    """The register tile as a function `(a, ai, b, bi, c, ci, steps)` to call in a kernel.

    c[ci + r width + j] += sum over k < steps of a[ai + r a_row + k a_step] b[bi + k width + j],
    for r < rows and j < width, where width is `vectors` vectors. a and b are of one dtype, float32 or float64; c is of
    that dtype or of float64.
    """
    generate = _multiply_add(rows, vectors, a_row, a_step, False)

    @intrinsic
    def multiply_add(typing: Any, a: Any, ai: Any, b: Any, bi: Any, c: Any, ci: Any, steps: Any) -> Any:
        return types.void(a, types.intp, b, types.intp, c, types.intp, types.intp), generate

    return multiply_add


def tabled_tile(rows: int, vectors: int) -> Any:
    """The register tile on runs of b that start anywhere: `(a, ai, b, bi, c, ci, steps, places, pi)`.

    c[ci + r width + j] += sum over k < steps of a[ai + k rows + r] b[bi + places[pi + k] + j].
    """
    generate = _multiply_add(rows, vectors, 1, rows, True)

    @intrinsic
    def multiply_add(
        typing: Any, a: Any, ai: Any, b: Any, bi: Any, c: Any, ci: Any, steps: Any, places: Any, pi: Any
    ) -> Any:
        index = types.intp
        return types.void(a, index, b, index, c, index, index, places, index), generate

    return multiply_add


FIRST, LAST, RESIDUAL = 1, 2, 4  # bits of a tile's `mode`
AHEAD = 64  # steps by which weights are asked for in advance: 8 KB; 2 to 6 KB and 20 KB are slower from the third level


def _vector(dtype: str) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if np.dtype(dtype).itemsize == 4 else ir.DoubleType(), lanes(dtype))


def _operation(generate: Callable[[Any, list[Any]], None]) -> Any:
    """A function of a tuple of integers, addresses among them, that does what `generate(builder, values)` emits."""

    @intrinsic
    def operation(typing: Any, numbers: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            generate(builder, [builder.extract_value(arguments[0], k) for k in range(numbers.count)])
            return context.get_dummy_value()

        return types.void(numbers), emit

    return operation


@intrinsic
def call(typing: Any, function: Any, numbers: Any) -> Any:
    """Call the compiled function at an address (see `jit.address`) with a tuple of integers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        convention = context.call_conv
        kind = convention.get_function_type(types.none, (numbers,))
        pointer = builder.inttoptr(arguments[0], kind.as_pointer())
        convention.call_function(builder, pointer, types.none, (numbers,), [arguments[1]])
        return context.get_dummy_value()

    return types.void(types.intp, numbers), generate


def _constant(kind: ir.VectorType, value: float) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def _clipped(builder: Any, v: Any, low: float, high: float) -> Any:
    """min(max(v, low), high), NaN kept."""
    v = builder.select(builder.fcmp_ordered("<", v, _constant(v.type, low)), _constant(v.type, low), v)
    return builder.select(builder.fcmp_ordered(">", v, _constant(v.type, high)), _constant(v.type, high), v)


def _exponential(builder: Any, v: Any) -> Any:
    """exp(v) for |v| <= 87: 2^n times the Taylor polynomial of exp on |r| <= ln(2) / 2, to the last bit or two."""
    kind, single = v.type, isinstance(v.type.element, ir.FloatType)
    whole = ir.VectorType(ir.IntType(32 if single else 64), kind.count)
    name = f"llvm.rint.v{kind.count}f{32 if single else 64}"
    rint = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name)
    n = builder.call(rint, [builder.fmul(v, _constant(kind, 1 / math.log(2)))])
    high = 0.693145751953125  # ln 2 in few bits, so that n times it is exact
    r = _vector_fma(builder, kind, n, _constant(kind, -high), v)
    r = _vector_fma(builder, kind, n, _constant(kind, high - math.log(2)), r)
    terms = 7 if single else 13
    total = _constant(kind, 1 / math.factorial(terms))
    for k in reversed(range(terms)):
        total = _vector_fma(builder, kind, total, r, _constant(kind, 1 / math.factorial(k)))
    bits, bias = (23, 127) if single else (52, 1023)
    exponent = builder.add(builder.fptosi(n, whole), ir.Constant(whole, [bias] * kind.count))
    power = builder.bitcast(builder.shl(exponent, ir.Constant(whole, [bits] * kind.count)), kind)
    return builder.fmul(total, power)


def _activated(builder: Any, name: str, slope: Any, v: Any) -> Any:
    """PyTorch's definition of an activation, on a vector; NaN stays NaN."""
    kind = v.type
    zero = _constant(kind, 0.0)
    if name == "relu":
        return builder.select(builder.fcmp_ordered("<=", v, zero), zero, v)
    if name == "relu6":
        return _clipped(builder, v, 0.0, 6.0)
    if name == "leaky_relu":
        return builder.select(builder.fcmp_ordered(">", v, zero), v, builder.fmul(v, slope))
    if name == "hardswish":
        gate = _clipped(builder, builder.fadd(v, _constant(kind, 3.0)), 0.0, 6.0)
        return builder.fdiv(builder.fmul(v, gate), _constant(kind, 6.0))
    if name == "silu":
        most = 87.0 if isinstance(kind.element, ir.FloatType) else 700.0  # exp of it is finite
        down = _exponential(builder, _clipped(builder, builder.fneg(v), -most, most))
        gated = builder.fdiv(v, builder.fadd(down, _constant(kind, 1.0)))
        far = builder.fcmp_ordered("<", v, _constant(kind, -most))
        return builder.select(far, builder.fmul(v, zero), gated)
    return v


def indirect_tile(rows: int, vectors: int, dtype: str, activation: str) -> Any:
    """The register tile on rows that lie anywhere, with its epilogue in registers.

    A tile's operation on `(head, packed, sums, bias, parameter, first, taps, depth, skip, mode, at, some)`, of which
    the first five are addresses:

    sum[r, j] = sum over t < taps, k < depth of  row(t, r)[skip + k] * packed[place(t) + k width + j].

    From `head` on lie the addresses of `rows` rows of the result, then of the residual's; then for each tap its place
    in `packed` and the addresses of `rows` rows of the source, of which those from tap `first` on count. Unless `mode`
    has FIRST, the sums so far are added. With LAST the result's rows from channel `at` on become
    activation(sum + bias (+ residual where `mode` has RESIDUAL)) in their first `some` lanes; without it the sums are
    stored. `bias` is that of channel `at`.
    """
    record = rows + 1

    def generate(builder: Any, values: list[Any]) -> None:
        i64 = ir.IntType(64)
        vector, size = _vector(dtype), np.dtype(dtype).itemsize
        element, count, width = vector.element, vector.count, vectors * vector.count
        head = builder.inttoptr(values[0], i64.as_pointer())
        weights, total_at, bias_at, slope_at = (builder.inttoptr(v, element.as_pointer()) for v in values[1:5])
        first, taps, depth, skip, mode, at, some = values[5:]
        zero = _constant(vector, 0.0)
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
        place = builder.gep(head, [builder.add(number(2 * rows), builder.mul(builder.add(first, tap), number(record)))])
        panel = builder.gep(weights, [builder.load(place)])
        sources = [pointer(builder.load(builder.gep(place, [number(1 + r)])), skip) for r in range(rows)]
        builder.branch(depth_loop)
        builder.position_at_end(depth_loop)
        k = builder.phi(i64)
        running = [builder.phi(vector) for _ in grid]
        step = builder.gep(panel, [builder.mul(k, number(width))])
        operands = [builder.load(_at(builder, step, number(v * count), vector), align=size) for v in range(vectors)]
        for v in range(vectors):
            _prefetch(builder, _at(builder, step, number(AHEAD * width + v * count), vector))
        following = []
        for r, source in enumerate(sources):  # row after row: with all loads first there are too few registers
            splat = _splat(builder, vector, builder.load(builder.gep(source, [k])))
            following += [
                _vector_fma(builder, vector, splat, operand, running[r * vectors + v])
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
            return _at(builder, total_at, number(k * count), vector)

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
        masks = [_lane_mask(builder, count, some, v * count) for v in range(vectors)]
        added = [
            _masked_load(builder, _at(builder, bias_at, number(v * count), vector), masks[v], zero, size)
            for v in range(vectors)
        ]
        totals = [builder.fadd(total, added[v]) for (_, v), total in zip(grid, totals)]

        def row_at(place: int, v: int) -> Any:
            return _at(builder, pointer(read(place), at), number(v * count), vector)

        def add_residual(given: list[Any]) -> list[Any]:
            return [
                builder.fadd(total, _masked_load(builder, row_at(rows + r, v), masks[v], zero, size))
                for (r, v), total in zip(grid, given)
            ]

        totals = choose(True, add_residual, RESIDUAL, totals)
        slope = _splat(builder, vector, builder.load(slope_at))
        for (r, v), total in zip(grid, totals):
            value = _activated(builder, activation, slope, total)
            _masked_store(builder, value, row_at(r, v), masks[v], size)
        builder.branch(end)
        builder.position_at_end(end)

    return _operation(generate)


def outer_tile(rows: int, vectors: int, dtype: str) -> Any:
    """Sums of outer products of two arrays read in place.

    A tile's operation on `(lines, sums, count, x, x_step, y, y_step, some)`, of which the first two are addresses:
    sums[r width + j] += sum over lines l < count, k < length(l) of  X(l)[x + k x_step + r] Y(l)[y + k y_step + j]
    for r < rows and j < some <= width. A line is three numbers: the addresses of X and Y, and its length. The sums are
    float64.
    """

    def generate(builder: Any, values: list[Any]) -> None:
        i64, vector, size = ir.IntType(64), _vector(dtype), np.dtype(dtype).itemsize
        element, n, zero = vector.element, vector.count, _constant(vector, 0.0)
        lines_at, sums_at = (builder.inttoptr(v, kind.as_pointer()) for v, kind in zip(values, (i64, ir.DoubleType())))
        count, x, x_step, y, y_step, some = values[2:]
        masks = [_lane_mask(builder, n, some, v * n) for v in range(vectors)]
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
            _masked_load(builder, _at(builder, at_y, i64(v * n), vector), masks[v], zero, size) for v in range(vectors)
        ]
        following = []
        for r in range(rows):
            splat = _splat(builder, vector, builder.load(builder.gep(at_x, [i64(r)])))
            following += [
                _vector_fma(builder, vector, splat, operand, running[r * vectors + v])
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
        _add_to_memory(builder, [totals], sums_at, ir.DoubleType(), 8)

    return _operation(generate)


def _prefetch(builder: Any, place: Any) -> None:
    i32, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.bitcast(place, pointer), i32(0), i32(3), i32(1)])


@intrinsic
def prefetch(typing: Any, place: Any) -> Any:
    """Ask for the cache line at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _prefetch(builder, builder.inttoptr(arguments[0], ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp), generate


@intrinsic
def address(typing: Any, array: Any, i: Any) -> Any:
    """The address of array[i]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.gep(_data(context, builder, signature.args[0], arguments[0]), [arguments[1]])
        return builder.ptrtoint(place, ir.IntType(64))

    return types.intp(array, types.intp), generate


def _turn(builder: Any, square: list[Any]) -> list[Any]:
    """The columns of a square of vectors, by rounds of shuffles that exchange ever smaller squares in it.

    Eklundh's method (IEEE Trans. Computers C-21, 1972).
    """
    square, n = list(square), len(square)
    half = n // 2
    while half:
        low = [k if k % (2 * half) < half else n + k - half for k in range(n)]
        high = [k + half if k % (2 * half) < half else n + k for k in range(n)]
        for i in range(n):
            if i % (2 * half) < half:
                pair = square[i], square[i + half]
                square[i], square[i + half] = (
                    builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(ir.IntType(32), n), order))
                    for order in (low, high)
                )
        half //= 2
    return square


def _masked_square(builder: Any, base: Any, pitch: Any, rows: Any, columns: Any, n: int, vector: Any, size: int) -> Any:
    """n vectors, `pitch` numbers apart, zero from row `rows` and column `columns` on."""
    found = []
    for i in range(n):
        number = ir.Constant(pitch.type, i)
        mask = _lane_mask(builder, n, columns, where=builder.icmp_signed("<", number, rows))
        place = _at(builder, base, builder.mul(pitch, number), vector)
        found.append(_masked_load(builder, place, mask, _constant(vector, 0.0), size))
    return found


def transpose(dtype: str) -> Any:
    """`transpose(dtype)(source, at, pitch, rows, columns, block)`: a square of lanes x lanes numbers, turned.

    block[j lanes + i] = source[at + i pitch + j] for i < rows and j < columns <= lanes, and 0 elsewhere in the square.
    """
    n = lanes(dtype)

    @intrinsic
    def transposed(typing: Any, source: Any, at: Any, pitch: Any, rows: Any, columns: Any, block: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds, (_, at, pitch, rows, columns, _) = signature.args, arguments
            vector, size = ir.VectorType(context.get_data_type(source.dtype), n), source.dtype.bitwidth // 8
            base = builder.gep(_data(context, builder, kinds[0], arguments[0]), [at])
            target = _data(context, builder, kinds[5], arguments[5])
            square = _masked_square(builder, base, pitch, rows, columns, n, vector, size)
            for j, column in enumerate(_turn(builder, square)):
                builder.store(column, _at(builder, target, ir.Constant(pitch.type, j * n), vector), align=size)
            return context.get_dummy_value()

        i = types.intp
        return types.void(source, i, i, i, i, block), generate

    return transposed


def turn_store(dtype: str, activation: str) -> Any:
    """Store sums whose channels lie side by side where the result's positions do, with the epilogue in registers.

    A tile's operation on `(sums, bias, residual, out, parameter, pitch, positions, channels, more_c, has_residual,
    out_c)`, of which the first five are addresses:
    out[j out_c + i] = activation(sums[i pitch + j] + bias[j] (+ residual[j more_c + i])) for i < positions and
    j < channels, at most a vector of either.
    """
    n = lanes(dtype)

    def generate(builder: Any, values: list[Any]) -> None:
        i64, vector, size = ir.IntType(64), _vector(dtype), np.dtype(dtype).itemsize
        base, bias_at, more_at, target, slope_at = (
            builder.inttoptr(v, vector.element.as_pointer()) for v in values[:5]
        )
        pitch, positions, channels, more_c, has_residual, out_c = values[5:]
        zero, slope = _constant(vector, 0.0), _splat(builder, vector, builder.load(slope_at))
        inside = _lane_mask(builder, n, channels)
        added = _masked_load(builder, builder.bitcast(bias_at, vector.as_pointer()), inside, zero, size)
        square = _masked_square(builder, base, pitch, positions, channels, n, vector, size)
        with_residual = builder.icmp_signed("!=", has_residual, i64(0))
        residual_in = _lane_mask(builder, n, i64(n), where=with_residual)
        for j, column in enumerate(_turn(builder, [builder.fadd(row, added) for row in square])):
            mask = _lane_mask(builder, n, positions, where=builder.icmp_signed("<", i64(j), channels))
            place = _at(builder, more_at, builder.mul(more_c, i64(j)), vector)
            extra = _masked_load(builder, place, builder.and_(mask, residual_in), zero, size)
            value = _activated(builder, activation, slope, builder.fadd(column, extra))
            _masked_store(builder, value, _at(builder, target, builder.mul(out_c, i64(j)), vector), mask, size)

    return _operation(generate)


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
                total = value if factor == 1 else builder.fmul(value, _constant(kind, factor))
            elif factor in (1, -1):
                total = builder.fadd(total, value) if factor == 1 else builder.fsub(total, value)
            else:
                total = _vector_fma(builder, kind, value, _constant(kind, factor), total)
        return _constant(kind, 0.0) if total is None else total

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


def _lane_mask(builder: Any, count: int, some: Any, first: int = 0, where: Any = None) -> Any:
    """Which of the lanes numbered first, first + 1, ... are below `some`; none unless the condition `where` holds.

    The condition enters through the number: a select between masks would become a branch.
    """
    kind, most = ir.VectorType(ir.IntType(32), count), ir.Constant(some.type, first + count)
    some = builder.select(builder.icmp_signed("<", some, most), some, most)
    if where is not None:
        some = builder.select(where, some, ir.Constant(some.type, 0))
    bound = _splat(builder, kind, builder.trunc(some, ir.IntType(32)))
    return builder.icmp_signed("<", ir.Constant(kind, list(range(first, first + count))), bound)


def transform(left: Any, right: Any) -> Any:
    """left @ square @ right.T for a square of vectors: `(x, at, steps, span, some, y, to, y_steps)`.

    Vector (i, j) is x[at + i steps[0] + j steps[1]:], zero unless span[0] <= i < span[1] and span[2] <= j < span[3],
    and in lanes from `some` on; the result's goes to y[to + i y_steps[0] + j y_steps[1]:].
    """

    @intrinsic
    def transformed(
        typing: Any, x: Any, at: Any, steps: Any, span: Any, some: Any, y: Any, to: Any, y_steps: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds, (_, at, steps, span, some, _, to, y_steps) = signature.args, arguments
            i64, size = ir.IntType(64), x.dtype.bitwidth // 8
            vector = ir.VectorType(context.get_data_type(x.dtype), lanes(str(x.dtype)))
            source = builder.gep(_data(context, builder, kinds[0], arguments[0]), [at])
            target = builder.gep(_data(context, builder, kinds[5], arguments[5]), [to])
            zero, n = _constant(vector, 0.0), vector.count
            bounds = [builder.extract_value(span, k) for k in range(4)]

            def within(k: int, low: Any, high: Any) -> Any:
                number = ir.Constant(i64, k)
                return builder.and_(builder.icmp_signed(">=", number, low), builder.icmp_signed("<", number, high))

            row_in = [_lane_mask(builder, n, i64(n), where=within(i, *bounds[:2])) for i in range(len(left[0]))]
            column_in = [_lane_mask(builder, n, some, where=within(j, *bounds[2:])) for j in range(len(right[0]))]

            def place(pointer: Any, pair: Any, i: int, j: int) -> Any:
                over = [builder.mul(builder.extract_value(pair, k), i64(n)) for k, n in enumerate((i, j))]
                return _at(builder, pointer, builder.add(*over), vector)

            def read(i: int, j: int) -> Any:
                mask = builder.and_(row_in[i], column_in[j])
                return _masked_load(builder, place(source, steps, i, j), mask, zero, size)

            square = [[read(i, j) for j in range(len(right[0]))] for i in range(len(left[0]))]
            for i, row in enumerate(_both_sides(builder, left, right, square)):
                for j, value in enumerate(row):
                    builder.store(value, place(target, y_steps, i, j), align=size)
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
        i64, vector, size = ir.IntType(64), _vector(dtype), np.dtype(dtype).itemsize
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
        inside, zero, n = _lane_mask(builder, vector.count, some), _constant(vector, 0.0), vector.count
        added = _masked_load(builder, builder.bitcast(bias_at, vector.as_pointer()), inside, zero, size)
        slope = _splat(builder, vector, builder.load(slope_at))
        with_residual = builder.icmp_signed("!=", has_residual, i64(0))

        def read(k: int) -> Any:
            return builder.load(_at(builder, source, builder.mul(pitch, i64(k)), vector), align=size)

        def place(pointer: Any, steps: list[Any], i: int, j: int) -> Any:
            over = [builder.mul(step, i64(k)) for step, k in zip(steps, (i, j))]
            return _at(builder, pointer, builder.add(*over), vector)

        across = len(right[0])
        square = [[read(i * across + j) for j in range(across)] for i in range(len(left[0]))]

        def below(k: int, bound: Any, some: Any) -> Any:
            return _lane_mask(builder, n, some, where=builder.icmp_signed("<", i64(k), bound))

        column_in = [below(j, wide, some) for j in range(len(right))]
        residual_in = _lane_mask(builder, n, i64(n), where=with_residual)
        for i, row in enumerate(_both_sides(builder, left, right, square)):
            row_in = below(i, high, i64(n))
            for j, value in enumerate(row):
                mask = builder.and_(row_in, column_in[j])
                more_mask = builder.and_(mask, residual_in)
                extra = _masked_load(builder, place(more_at, more_steps, i, j), more_mask, zero, size)
                total = builder.fadd(builder.fadd(value, added), extra)
                total = _activated(builder, activation, slope, total)
                _masked_store(builder, total, place(target, steps, i, j), mask, size)

    return _operation(generate)


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
    `out` that are `out_step` apart. With LAST in `mode` every column and position is there. That is done for `vectors`
    vectors side by side, whose weights are `pitch` apart, as far as there are channels left.
    """
    columns = sorted({p * stride + k * dilation for p in range(positions) for k in range(taps)})

    def generate(builder: Any, values: list[Any]) -> None:
        i64, vector, size = ir.IntType(64), _vector(dtype), np.dtype(dtype).itemsize
        n, zero = vector.count, _constant(vector, 0.0)
        groups = min(n // results, n // sources)
        lines_at = builder.inttoptr(values[0], i64.as_pointer())
        x_0, w_0, out_0, bias_0, more_0, slope_at = (
            builder.inttoptr(v, vector.element.as_pointer()) for v in values[1:7]
        )
        count, step, low, past, sources_left, pitch, out_step, results_left, here, more_step, mode, vectors = values[7:]
        slope = _splat(builder, vector, builder.load(slope_at))
        everywhere = builder.icmp_signed("!=", builder.and_(mode, i64(LAST)), i64(0))
        with_residual = builder.icmp_signed("!=", builder.and_(mode, i64(RESIDUAL)), i64(0))

        def sums_over_lines(x_at: Any, w_at: Any, masks: Any) -> list[Any]:
            """A loop over the kernel's lines with the sums in registers."""
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
                builder.load(_at(builder, weights_at, i64(k * n), vector), align=size) for k in range(taps * sources)
            ]
            for index, column in enumerate(columns):
                place = _at(builder, row, builder.mul(step, i64(column)), vector)
                if masks:
                    source = _masked_load(builder, place, masks[index], zero, size)
                else:
                    source = builder.load(place, align=size)
                for s in range(sources):
                    order = [j // results * sources + s if j < groups * results else 0 for j in range(n)]
                    indices = ir.Constant(ir.VectorType(ir.IntType(32), n), order)
                    factor = source if order == list(range(n)) else builder.shuffle_vector(source, source, indices)
                    for p in range(positions):
                        k, rest = divmod(column - p * stride, dilation)
                        if rest == 0 and 0 <= k < taps:
                            weight = weights[k * sources + s]
                            totals[p] = _vector_fma(builder, vector, factor, weight, totals[p])
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

        blocks = [builder.append_basic_block(name) for name in ("vector", "whole", "more", "plain", "edge", "next")]
        vector_loop, whole, more, plain, edge, following = blocks
        done, start = builder.append_basic_block("done"), builder.block
        builder.cbranch(builder.icmp_signed(">", vectors, i64(0)), vector_loop, done)
        builder.position_at_end(vector_loop)
        v = builder.phi(i64)
        results_at, sources_at = (builder.mul(v, i64(groups * k)) for k in (results, sources))
        left, left_in = builder.sub(results_left, results_at), builder.sub(sources_left, sources_at)
        x_at, w_at = builder.gep(x_0, [sources_at]), builder.gep(w_0, [builder.mul(v, pitch)])
        out_at, bias_at, more_at = (builder.gep(pointer, [results_at]) for pointer in (out_0, bias_0, more_0))
        # Whole vectors of results, read from whole vectors of the source, need no masks.
        enough = [builder.icmp_signed(">=", number, i64(n)) for number in (left, left_in)]
        fits = groups * results == n
        builder.cbranch(
            builder.and_(everywhere, builder.and_(*enough)) if fits else ir.Constant(ir.IntType(1), 0), whole, edge
        )

        def at_position(pointer: Any, step: Any, p: int) -> Any:
            return _at(builder, pointer, builder.mul(step, i64(p)), vector)

        builder.position_at_end(whole)
        totals = sums_over_lines(x_at, w_at, None)
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
        for p, total in enumerate(joined):
            builder.store(_activated(builder, activation, slope, total), at_position(out_at, out_step, p), align=size)
        builder.branch(following)

        builder.position_at_end(edge)
        if not fits:
            left = builder.select(builder.icmp_signed("<", left, i64(groups * results)), left, i64(groups * results))
            left_in = builder.select(
                builder.icmp_signed("<", left_in, i64(groups * sources)), left_in, i64(groups * sources)
            )
        stored = _lane_mask(builder, n, left)
        masks = []
        for column in columns:
            there = builder.and_(
                builder.icmp_signed(">=", i64(column), low), builder.icmp_signed("<", i64(column), past)
            )
            masks.append(_lane_mask(builder, n, left_in, where=there))
        totals = sums_over_lines(x_at, w_at, masks)
        added = _masked_load(builder, builder.bitcast(bias_at, vector.as_pointer()), stored, zero, size)
        residual_in = _lane_mask(builder, n, i64(n), where=with_residual)
        for p, total in enumerate(totals):
            mask = _lane_mask(builder, n, left, where=builder.icmp_signed("<", i64(p), here))
            extra = at_position(more_at, more_step, p)
            extra = _masked_load(builder, extra, builder.and_(residual_in, mask), zero, size)
            value = _activated(builder, activation, slope, builder.fadd(builder.fadd(total, added), extra))
            _masked_store(builder, value, at_position(out_at, out_step, p), mask, size)
        builder.branch(following)

        builder.position_at_end(following)
        next_v = builder.add(v, i64(1))
        v.add_incoming(i64(0), start)
        v.add_incoming(next_v, following)
        builder.cbranch(builder.icmp_signed("<", next_v, vectors), vector_loop, done)
        builder.position_at_end(done)

    return _operation(generate)


@intrinsic
def _move_vector(typing: Any, target: Any, to: Any, source: Any, at: Any, low: Any, high: Any, length: Any) -> Any:
    """One vector of `move`: lanes outside low <= lane < high are zero, lanes from `length` on are not stored."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, size = signature.args, target.dtype.bitwidth // 8
        vector = ir.VectorType(context.get_data_type(target.dtype), lanes(str(target.dtype)))
        index = ir.VectorType(ir.IntType(64), vector.count)
        lane, zero = ir.Constant(index, list(range(vector.count))), ir.Constant(vector, [0.0] * vector.count)
        low, high, length = (_splat(builder, index, a) for a in arguments[4:])
        inside = builder.and_(builder.icmp_signed(">=", lane, low), builder.icmp_signed("<", lane, high))
        source_at = _at(builder, _data(context, builder, kinds[2], arguments[2]), arguments[3], vector)
        target_at = _at(builder, _data(context, builder, kinds[0], arguments[0]), arguments[1], vector)
        value, stored = _masked_load(builder, source_at, inside, zero, size), builder.icmp_signed("<", lane, length)
        _masked_store(builder, value, target_at, stored, size)
        return context.get_dummy_value()

    index = types.intp
    return types.void(target, index, source, index, index, index, index), generate


@functools.cache
def move(dtype: str) -> Any:
    """`move(dtype)(target, to, source, at, low, high, length)`: copy a run whose ends may lie outside the source.

    target[to + i] = source[at + i] where low <= i < high, else 0, for 0 <= i < length; nothing else is touched.
    Short runs are the rule (a row of a small image), where masked vectors are several times as fast as memcpy.
    """
    step = lanes(dtype)

    def moved(target, to, source, at, low, high, length):
        for i in range(0, length, step):
            _move_vector(target, to + i, source, at + i, low - i, high - i, length - i)

    return numba.njit(moved, inline="always")


def stack(count: int, dtype: str) -> Any:
    """A function that gives an uninitialised array of `count` numbers on the stack of the calling kernel."""
    kind = getattr(types, dtype)

    @intrinsic
    def buffer(typing: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            memory = cgutils.alloca_once(builder, context.get_value_type(kind), size=count)
            memory.align = 64
            size, length = context.get_constant(types.intp, kind.bitwidth // 8), context.get_constant(types.intp, count)
            array = context.make_array(signature.return_type)(context, builder)
            shape, strides = cgutils.pack_array(builder, [length]), cgutils.pack_array(builder, [size])
            arrayobj.populate_array(array, data=memory, shape=shape, strides=strides, itemsize=size, meminfo=None)
            return array._getvalue()

        return types.Array(kind, 1, "C")(), generate

    return buffer


@intrinsic
def _from_half(typing: Any, bits: Any) -> Any:
    """float16 bits (uint16) to float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


@intrinsic
def _to_half(typing: Any, value: Any) -> Any:
    """float32 to float16 bits (uint16), to nearest even."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.fptrunc(arguments[0], ir.HalfType()), ir.IntType(16))

    return types.uint16(types.float32), generate


@intrinsic
def _bits(typing: Any, value: Any) -> Any:
    """The 32 bits of a float32, and back."""
    result = types.uint32 if value == types.float32 else types.float32

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(result))

    return result(value), generate


@intrinsic
def _read(typing: Any, array: Any, i: Any) -> Any:
    """array[i] for i >= 0: without Numba's test for a negative index, which turns vector loads into gathers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.gep(_data(context, builder, signature.args[0], arguments[0]), [arguments[1]])
        return context.unpack_value(builder, array.dtype, place)

    return array.dtype(array, types.intp), generate


@intrinsic
def _write(typing: Any, array: Any, i: Any, value: Any) -> Any:
    """array[i] = value for i >= 0: as `_read`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.gep(_data(context, builder, signature.args[0], arguments[0]), [arguments[1]])
        context.pack_value(builder, array.dtype, arguments[2], place)
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), generate


def _load_native(array: Any, i: Any) -> Any:
    return _read(array, i)


def _load_float16(array: Any, i: Any) -> Any:
    return _from_half(_read(array, i))


def _load_bfloat16(array: Any, i: Any) -> Any:
    return _bits(np.uint32(np.uint32(_read(array, i)) << np.uint32(16)))


def _store_native(array: Any, i: Any, value: Any) -> None:
    _write(array, i, value)


def _store_float16(array: Any, i: Any, value: Any) -> None:
    _write(array, i, _to_half(np.float32(value)))


def _store_bfloat16(array: Any, i: Any, value: Any) -> None:
    bits = _bits(np.float32(value))
    if (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000):  # NaN stays NaN and is made quiet
        _write(array, i, np.uint16((bits >> np.uint32(16)) | np.uint32(64)))
    else:
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        _write(array, i, np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)))


_LOADS: tuple[Callable[..., Any], ...] = (_load_native, _load_float16, _load_bfloat16)
_STORES: tuple[Callable[..., Any], ...] = (_store_native, _store_float16, _store_bfloat16)


@functools.cache
def load(kind: int) -> Any:
    """`load(kind)(array, i)`, i >= 0: a number, half types (`memory.half_kind`) widened to float32."""
    return numba.njit(_LOADS[kind], inline="always")


@functools.cache
def store(kind: int) -> Any:
    """`store(kind)(array, i, value)`, i >= 0: half types (`memory.half_kind`) rounded to nearest even."""
    return numba.njit(_STORES[kind], inline="always")


def _fill(array: Any, first: Any, last: Any, value: Any) -> None:
    for i in range(first, last):
        _write(array, i, value)


@functools.cache
def fill() -> Any:
    """`fill()(array, first, last, value)`: array[first:last] = value."""
    return numba.njit(_fill, inline="always")
