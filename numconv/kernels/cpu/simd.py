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


def channel_tile(positions: int, vectors: int) -> Any:
    """Channels along the vectors, each by its own weight: `(w, x, xi, step, c, ci, taps, ti, count, first, some)`.

    c[ci + p width + j] += sum over k < count of w[taps[ti + 2 k + 1] + first + j] x[xi + taps[ti + 2 k] + p step + j]
    for p < positions and j < some <= width: lanes from `some` on read nothing and add zero.
    """

    @intrinsic
    def multiply_add(
        typing: Any, w: Any, x: Any, xi: Any, step: Any, c: Any, ci: Any, taps: Any, ti: Any, count: Any, first: Any,
        some: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds, values = signature.args, arguments
            vector = ir.VectorType(context.get_data_type(w.dtype), lanes(str(w.dtype)))
            size, index, count = w.dtype.bitwidth // 8, values[2].type, vector.count
            w0, x0, c0, pairs = (
                builder.gep(_data(context, builder, kinds[k], values[k]), [at])
                for k, at in ((0, values[9]), (1, values[2]), (4, values[5]), (6, values[7]))
            )
            zero, numbers = ir.Constant(vector, [0.0] * count), ir.VectorType(index, count)
            lane = [ir.Constant(numbers, list(range(v * count, (v + 1) * count))) for v in range(vectors)]
            masks = [builder.icmp_signed("<", number, _splat(builder, numbers, values[10])) for number in lane]

            def loads(pointer: Any) -> list[Any]:
                at = [_at(builder, pointer, ir.Constant(index, v * count), vector) for v in range(vectors)]
                return [_masked_load(builder, place, mask, zero, size) for place, mask in zip(at, masks)]

            def factors(step: Any) -> Any:
                pair = builder.gep(pairs, [builder.mul(step, ir.Constant(index, 2))])
                x_at = builder.gep(x0, [builder.load(pair)])
                weights = loads(builder.gep(w0, [builder.load(builder.gep(pair, [ir.Constant(index, 1)]))]))
                for p in range(positions):
                    yield loads(builder.gep(x_at, [builder.mul(values[3], ir.Constant(index, p))])), weights

            totals = _sum_in_registers(builder, vector, positions, vectors, values[8], factors)
            _add_to_memory(builder, totals, c0, context.get_data_type(c.dtype), size)
            return context.get_dummy_value()

        i = types.intp
        return types.void(w, x, i, i, c, i, taps, i, i, i, i), generate

    return multiply_add


@intrinsic
def _move_vector(typing: Any, target: Any, to: Any, source: Any, at: Any, low: Any, high: Any, length: Any) -> Any:
    """One vector of `move`: lanes outside low <= lane < high are zero, lanes from `length` on are not stored."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, size = signature.args, target.dtype.bitwidth // 8
        vector = ir.VectorType(context.get_data_type(target.dtype), lanes(str(target.dtype)))
        index, pointer, i32 = ir.VectorType(ir.IntType(64), vector.count), vector.as_pointer(), ir.IntType(32)
        lane, zero = ir.Constant(index, list(range(vector.count))), ir.Constant(vector, [0.0] * vector.count)
        low, high, length = (_splat(builder, index, a) for a in arguments[4:])
        inside = builder.and_(builder.icmp_signed(">=", lane, low), builder.icmp_signed("<", lane, high))
        source_at = _at(builder, _data(context, builder, kinds[2], arguments[2]), arguments[3], vector)
        target_at = _at(builder, _data(context, builder, kinds[0], arguments[0]), arguments[1], vector)
        value, stored = _masked_load(builder, source_at, inside, zero, size), builder.icmp_signed("<", lane, length)
        kind = ir.FunctionType(ir.VoidType(), [vector, pointer, i32, stored.type])
        store = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.v{vector.count}f{8 * size}.p0")
        builder.call(store, [value, target_at, ir.Constant(i32, size), stored])
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
