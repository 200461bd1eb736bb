"""Vector instructions: what register tiles are made of, half-precision loads and stores, copies and stack buffers.

`tile` and `tabled_tile` compute c += a b for `rows` x `vectors` vectors held in registers over the whole sum: each step
loads `vectors` vectors of b, broadcasts `rows` numbers of a, and does rows x vectors fused multiply-adds. The sum
starts at zero in registers and is added to c in memory once, so a caller that hands over `STEPS` steps at a time gets
blocked summation, whose error grows with the square root of STEPS and of the number of blocks, not of all terms
(Higham, Accuracy and Stability of Numerical Algorithms, section 4.2).

The tiles of `tiles`, `narrow_tile`, `transforms` and `placed_tile` are made of the functions here.

Where `NUMBA_DISABLE_JIT` is set, kernels run as plain Python (`PLAIN`): what moves numbers one by one then does so in
Python, and tiles, which are nothing but instructions, cannot be called.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import os
from collections.abc import Callable
from typing import Any

import numba
import numba.extending
import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.np import arrayobj

intrinsic: Any = numba.extending.intrinsic  # its stubs do not know that kernels call without the typing context
PLAIN = bool(vars(config)["DISABLE_JIT"])
# Terms added in registers before they join the sum in memory: a step costs 0.4 % more at 128 than at 512, 3 % at 64.
STEPS = 128


def _plainly(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """Decorate an intrinsic: `function` does the same in plain Python."""
    return lambda made: function if PLAIN else made


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


def data_of(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def vector_fma(builder: Any, kind: ir.VectorType, *operands: Any) -> Any:
    suffix = "f32" if isinstance(kind.element, ir.FloatType) else "f64"
    name = f"llvm.fma.v{kind.count}{suffix}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, operands)


def splat(builder: Any, kind: ir.VectorType, scalar: Any) -> Any:
    lane = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, lane)
    mask = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)


def at_offset(builder: Any, pointer: Any, offset: Any, kind: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [offset]), kind.as_pointer())


def masked_load(builder: Any, place: Any, mask: Any, zero: Any, size: int) -> Any:
    """A vector from `place`, zero where the mask is off; such lanes are not read."""
    i32 = ir.IntType(32)
    kind = ir.FunctionType(zero.type, [zero.type.as_pointer(), i32, mask.type, zero.type])
    name = f"llvm.masked.load.v{zero.type.count}f{8 * size}.p0"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [place, ir.Constant(i32, size), mask, zero])


def masked_store(builder: Any, value: Any, place: Any, mask: Any, size: int) -> None:
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
        [vector_fma(builder, vector, x, y, s) for x, y, s in zip(xs, ys, row)]
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


def add_to_memory(builder: Any, totals: Any, memory: Any, wide: Any, size: int) -> None:
    """memory += totals, row after row, in the memory's type."""
    summed = ir.VectorType(wide, totals[0][0].type.count)
    for k, total in enumerate(itertools.chain.from_iterable(totals)):
        place = at_offset(builder, memory, ir.Constant(ir.IntType(64), k * summed.count), summed)
        added = total if total.type.element == wide else builder.fpext(total, summed)
        builder.store(builder.fadd(builder.load(place, align=size), added), place, align=size)


def _multiply_add(rows: int, vectors: int, a_row: int, a_step: int, tabled: bool) -> Any:
    """The register tile; where `tabled`, step k reads b at places[pi + k] in place of k times the tile's width."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, values = signature.args, list(arguments)
        vector = ir.VectorType(context.get_data_type(kinds[0].dtype), lanes(str(kinds[0].dtype)))
        width, size, index = vectors * vector.count, kinds[0].dtype.bitwidth // 8, values[1].type
        a0, b0, c0 = (
            builder.gep(data_of(context, builder, kinds[k], values[k]), [values[k + 1]]) for k in (0, 2, 4)
        )  # fmt: skip
        places = builder.gep(data_of(context, builder, kinds[7], values[7]), [values[8]]) if tabled else None

        def constant(value: int) -> Any:
            return ir.Constant(index, value)

        def factors(step: Any) -> Any:
            a_at = builder.gep(a0, [builder.mul(step, constant(a_step))])
            b_at = builder.gep(
                b0, [builder.load(builder.gep(places, [step])) if tabled else builder.mul(step, constant(width))]
            )
            operand = [
                builder.load(at_offset(builder, b_at, constant(v * vector.count), vector), align=size)
                for v in range(vectors)
            ]
            for r in range(rows):
                scalar = builder.load(builder.gep(a_at, [constant(r * a_row)]))
                yield [splat(builder, vector, scalar)] * vectors, operand

        totals = _sum_in_registers(builder, vector, rows, vectors, values[6], factors)
        add_to_memory(builder, totals, c0, context.get_data_type(kinds[4].dtype), kinds[4].dtype.bitwidth // 8)
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


def _clipped(builder: Any, v: Any, low: float, high: float) -> Any:
    """min(max(v, low), high), NaN kept."""
    v = builder.select(builder.fcmp_ordered("<", v, constant(v.type, low)), constant(v.type, low), v)
    return builder.select(builder.fcmp_ordered(">", v, constant(v.type, high)), constant(v.type, high), v)


def _exponential(builder: Any, v: Any) -> Any:
    """exp(v) for |v| <= 87: 2^n times the Taylor polynomial of exp on |r| <= ln(2) / 2, to the last bit or two."""
    kind, single = v.type, isinstance(v.type.element, ir.FloatType)
    whole = ir.VectorType(ir.IntType(32 if single else 64), kind.count)
    name = f"llvm.rint.v{kind.count}f{32 if single else 64}"
    rint = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name)
    n = builder.call(rint, [builder.fmul(v, constant(kind, 1 / math.log(2)))])
    high = 0.693145751953125  # ln 2 in few bits, so that n times it is exact
    r = vector_fma(builder, kind, n, constant(kind, -high), v)
    r = vector_fma(builder, kind, n, constant(kind, high - math.log(2)), r)
    terms = 7 if single else 13
    total = constant(kind, 1 / math.factorial(terms))
    for k in reversed(range(terms)):
        total = vector_fma(builder, kind, total, r, constant(kind, 1 / math.factorial(k)))
    bits, bias = (23, 127) if single else (52, 1023)
    exponent = builder.add(builder.fptosi(n, whole), ir.Constant(whole, [bias] * kind.count))
    power = builder.bitcast(builder.shl(exponent, ir.Constant(whole, [bits] * kind.count)), kind)
    return builder.fmul(total, power)


def activated(builder: Any, name: str, slope: Any, v: Any) -> Any:
    """PyTorch's definition of an activation, on a vector; NaN stays NaN."""
    kind = v.type
    zero = constant(kind, 0.0)
    if name == "relu":
        return builder.select(builder.fcmp_ordered("<=", v, zero), zero, v)
    if name == "relu6":
        return _clipped(builder, v, 0.0, 6.0)
    if name == "leaky_relu":
        return builder.select(builder.fcmp_ordered(">", v, zero), v, builder.fmul(v, slope))
    if name == "hardswish":
        gate = _clipped(builder, builder.fadd(v, constant(kind, 3.0)), 0.0, 6.0)
        return builder.fdiv(builder.fmul(v, gate), constant(kind, 6.0))
    if name == "silu":
        most = 87.0 if isinstance(kind.element, ir.FloatType) else 700.0  # exp of it is finite
        down = _exponential(builder, _clipped(builder, builder.fneg(v), -most, most))
        gated = builder.fdiv(v, builder.fadd(down, constant(kind, 1.0)))
        far = builder.fcmp_ordered("<", v, constant(kind, -most))
        return builder.select(far, builder.fmul(v, zero), gated)
    return v


def vector_type(dtype: str) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if np.dtype(dtype).itemsize == 4 else ir.DoubleType(), lanes(dtype))


def operation(generate: Callable[[Any, list[Any]], None]) -> Any:
    """A function of a tuple of integers, addresses among them, that does what `generate(builder, values)` emits."""

    @intrinsic
    def operation(typing: Any, numbers: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            # LLVM would unroll loops, and one that fills the registers then spills (14 x 2 sums of `outer_tile`).
            builder.function.attributes.add("optsize")
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


@_plainly(lambda *_: None)
@intrinsic
def keep_apart(typing: Any) -> Any:
    """Let no function take this one into itself: a tile's registers are then its own."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


def constant(kind: ir.VectorType, value: float) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def prefetch_line(builder: Any, place: Any, level: int = 1) -> None:
    """Ask for the cache line at `place`, to be in the cache of a level."""
    i32, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.bitcast(place, pointer), i32(0), i32(4 - level), i32(1)])


@_plainly(lambda *_: None)
@intrinsic
def prefetch(typing: Any, place: Any) -> Any:
    """Ask for the cache line at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        prefetch_line(builder, builder.inttoptr(arguments[0], ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp), generate


def stream(builder: Any, value: Any, place: Any) -> None:
    """Store a vector, on a multiple of its size, without bringing its line into the caches first."""
    bits = value.type.count * (32 if isinstance(value.type.element, ir.FloatType) else 64)
    hint = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
    builder.store(value, place, align=bits // 8).set_metadata("nontemporal", hint)


@_plainly(lambda *_: None)
@intrinsic
def settle(typing: Any) -> Any:
    """Wait until what was streamed is in memory, before other threads are told of it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@_plainly(lambda array, i: array.ctypes.data + int(i) * array.itemsize)
@intrinsic
def address(typing: Any, array: Any, i: Any) -> Any:
    """The address of array[i]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.gep(data_of(context, builder, signature.args[0], arguments[0]), [arguments[1]])
        return builder.ptrtoint(place, ir.IntType(64))

    return types.intp(array, types.intp), generate


def turned(builder: Any, square: list[Any]) -> list[Any]:
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


def masked_square(builder: Any, base: Any, pitch: Any, rows: Any, columns: Any, n: int, vector: Any, size: int) -> Any:
    """n vectors, `pitch` numbers apart, zero from row `rows` and column `columns` on."""
    found = []
    for i in range(n):
        number = ir.Constant(pitch.type, i)
        mask = lane_mask(builder, n, columns, where=builder.icmp_signed("<", number, rows))
        place = at_offset(builder, base, builder.mul(pitch, number), vector)
        found.append(masked_load(builder, place, mask, constant(vector, 0.0), size))
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
            base = builder.gep(data_of(context, builder, kinds[0], arguments[0]), [at])
            target = data_of(context, builder, kinds[5], arguments[5])
            square = masked_square(builder, base, pitch, rows, columns, n, vector, size)
            for j, column in enumerate(turned(builder, square)):
                builder.store(column, at_offset(builder, target, ir.Constant(pitch.type, j * n), vector), align=size)
            return context.get_dummy_value()

        i = types.intp
        return types.void(source, i, i, i, i, block), generate

    return transposed


def lane_mask(builder: Any, count: int, some: Any, first: int = 0, where: Any = None) -> Any:
    """Which of the lanes numbered first, first + 1, ... are below `some`; none unless the condition `where` holds.

    The condition enters through the number: a select between masks would become a branch.
    """
    kind, most = ir.VectorType(ir.IntType(32), count), ir.Constant(some.type, first + count)
    some = builder.select(builder.icmp_signed("<", some, most), some, most)
    if where is not None:
        some = builder.select(where, some, ir.Constant(some.type, 0))
    bound = splat(builder, kind, builder.trunc(some, ir.IntType(32)))
    return builder.icmp_signed("<", ir.Constant(kind, list(range(first, first + count))), bound)


def _move_plainly(target: Any, to: int, source: Any, at: int, low: int, high: int, length: int) -> None:
    for lane in range(min(lanes(target.dtype), length)):
        target[to + lane] = source[at + lane] if low <= lane < high else 0


@_plainly(_move_plainly)
@intrinsic
def _move_vector(typing: Any, target: Any, to: Any, source: Any, at: Any, low: Any, high: Any, length: Any) -> Any:
    """One vector of `move`: lanes outside low <= lane < high are zero, lanes from `length` on are not stored."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, size = signature.args, target.dtype.bitwidth // 8
        vector = ir.VectorType(context.get_data_type(target.dtype), lanes(str(target.dtype)))
        index = ir.VectorType(ir.IntType(64), vector.count)
        lane, zero = ir.Constant(index, list(range(vector.count))), ir.Constant(vector, [0.0] * vector.count)
        low, high, length = (splat(builder, index, a) for a in arguments[4:])
        inside = builder.and_(builder.icmp_signed(">=", lane, low), builder.icmp_signed("<", lane, high))
        source_at = at_offset(builder, data_of(context, builder, kinds[2], arguments[2]), arguments[3], vector)
        target_at = at_offset(builder, data_of(context, builder, kinds[0], arguments[0]), arguments[1], vector)
        value, stored = masked_load(builder, source_at, inside, zero, size), builder.icmp_signed("<", lane, length)
        masked_store(builder, value, target_at, stored, size)
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

    @_plainly(lambda: np.empty(count, dtype))
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


@_plainly(lambda bits: np.float32(bits.view(np.float16)))
@intrinsic
def _from_half(typing: Any, bits: Any) -> Any:
    """float16 bits (uint16) to float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


@_plainly(lambda value: np.float16(value).view(np.uint16))
@intrinsic
def _to_half(typing: Any, value: Any) -> Any:
    """float32 to float16 bits (uint16), to nearest even."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.fptrunc(arguments[0], ir.HalfType()), ir.IntType(16))

    return types.uint16(types.float32), generate


@_plainly(lambda value: value.view(np.uint32 if value.dtype == np.float32 else np.float32))
@intrinsic
def _bits(typing: Any, value: Any) -> Any:
    """The 32 bits of a float32, and back."""
    result = types.uint32 if value == types.float32 else types.float32

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(result))

    return result(value), generate


@_plainly(operator.getitem)
@intrinsic
def _read(typing: Any, array: Any, i: Any) -> Any:
    """array[i] for i >= 0: without Numba's test for a negative index, which turns vector loads into gathers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.gep(data_of(context, builder, signature.args[0], arguments[0]), [arguments[1]])
        return context.unpack_value(builder, array.dtype, place)

    return array.dtype(array, types.intp), generate


@_plainly(operator.setitem)
@intrinsic
def _write(typing: Any, array: Any, i: Any, value: Any) -> Any:
    """array[i] = value for i >= 0: as `_read`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.gep(data_of(context, builder, signature.args[0], arguments[0]), [arguments[1]])
        context.pack_value(builder, array.dtype, arguments[2], place)
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), generate


@_plainly(lambda condition, a, b: a if condition else b)
@intrinsic
def choose(typing: Any, condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, else b, both of one type and computed in any case."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return a(types.boolean, a, a), generate


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
