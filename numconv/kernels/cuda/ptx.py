"""Instructions that Python has no word for, as intrinsics: the only place for inline PTX.

Each has a twin in `emulated`, which takes its place in the simulator. Indices are counted in elements; wide loads and
stores need an address that is a multiple of their size.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir

from numconv.kernels.cuda import emulated, launch

if not launch.simulated:
    from numba.cuda import types
    from numba.cuda.cgutils import pack_array, unpack_tuple
    from numba.cuda.extending import intrinsic
    from numba.cuda.np.arrayobj import make_array

_I16, _I32, _F32 = ir.IntType(16), ir.IntType(32), ir.FloatType()


def _intrinsic(function: Any) -> Any:
    """The intrinsic, or its twin in the simulator."""
    return getattr(emulated, function.__name__) if launch.simulated else intrinsic(function)


def _assembly(
    builder: Any, code: str, constraints: str, result: Any, *arguments: Any, effects: bool = False, whole: bool = False
) -> Any:
    """The value of inline PTX; a `whole` warp must come to it, so that it may not be moved under a condition."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    call = builder.call(ir.InlineAsm(kind, code, constraints, side_effect=effects), arguments)
    if whole:
        call.attributes.add("convergent")
    return call


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """A pointer to an element of a one-dimensional array, without a test or a wrap of the index."""
    data = make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index], inbounds=True)


@_intrinsic
def half_to_float(typingctx, bits):
    """The float32 of a float16, given as uint16."""

    def codegen(context, builder, signature, arguments):
        return _assembly(builder, "cvt.f32.f16 $0, $1;", "=f,h", _F32, arguments[0])

    return types.float32(types.uint16), codegen


@_intrinsic
def float_to_half(typingctx, value):
    """The float16 nearest to a float32, as uint16."""

    def codegen(context, builder, signature, arguments):
        return _assembly(builder, "cvt.rn.f16.f32 $0, $1;", "=h,f", _I16, arguments[0])

    return types.uint16(types.float32), codegen


@_intrinsic
def bfloat_to_float(typingctx, bits):
    """The float32 of a bfloat16, given as uint16."""

    def codegen(context, builder, signature, arguments):
        wide = builder.shl(builder.zext(arguments[0], _I32), _I32(16))
        return builder.bitcast(wide, _F32)

    return types.float32(types.uint16), codegen


@_intrinsic
def float_to_bfloat(typingctx, value):
    """The bfloat16 nearest to a float32, as uint16. Needs compute capability 8.0."""

    def codegen(context, builder, signature, arguments):
        return _assembly(builder, "cvt.rn.bf16.f32 $0, $1;", "=h,f", _I16, arguments[0])

    return types.uint16(types.float32), codegen


def _vectors(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> tuple[Any, list[Any]]:
    """(elements, alignment), and pointers to the vectors of at most 16 bytes that four elements are moved in."""
    element, size = context.get_data_type(array_type.dtype), array_type.dtype.bitwidth // 8
    width = min(4, 16 // size)
    first = builder.bitcast(
        _address(context, builder, array_type, array, index), ir.VectorType(element, width).as_pointer()
    )
    return (width, width * size), [builder.gep(first, [_I32(i)], inbounds=True) for i in range(4 // width)]


@_intrinsic
def load4(typingctx, array, index):
    """Four neighbouring elements by loads of up to 128 bits; `index` is a multiple of 4."""
    result = types.UniTuple(array.dtype, 4)

    def codegen(context, builder, signature, arguments):
        (width, align), pointers = _vectors(context, builder, signature.args[0], *arguments)
        vectors = [builder.load(pointer, align=align) for pointer in pointers]
        return pack_array(builder, [builder.extract_element(v, _I32(i)) for v in vectors for i in range(width)])

    return result(array, index), codegen


@_intrinsic
def store4(typingctx, array, index, values):
    """Four neighbouring elements by stores of up to 128 bits; `index` is a multiple of 4."""

    def codegen(context, builder, signature, arguments):
        (width, align), pointers = _vectors(context, builder, signature.args[0], *arguments[:2])
        given = unpack_tuple(builder, arguments[2], 4)
        for part, pointer in enumerate(pointers):
            vector: Any = ir.Constant(pointer.type.pointee, ir.Undefined)
            for i in range(width):
                vector = builder.insert_element(vector, given[part * width + i], _I32(i))
            builder.store(vector, pointer, align=align)
        return context.get_dummy_value()

    return types.void(array, index, values), codegen


# Tensor cores: what the 32 threads of a warp do together. Fragments lie in local arrays of uint32 and float32, at
# offsets that the compiler knows, so that they stay in registers.


def _shared_address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """The 32-bit address, within shared memory, of an element of a shared array."""
    data = make_array(array_type)(context, builder, array).data
    there = builder.addrspacecast(data, ir.PointerType(data.type.pointee, addrspace=3))
    start = builder.ptrtoint(there, _I32)
    index = index if index.type == _I32 else builder.trunc(index, _I32)
    return builder.add(start, builder.mul(index, _I32(array_type.dtype.bitwidth // 8)))


def _elements(context: Any, builder: Any, array_type: Any, array: Any, at: Any, count: int) -> list[Any]:
    """Pointers to `count` elements of a local array."""
    data = make_array(array_type)(context, builder, array).data
    return [builder.gep(data, [builder.add(at, at.type(i))], inbounds=True) for i in range(count)]


@functools.cache
def load_matrices(count: int, transposed: bool = False) -> Any:
    """`load_matrices(count)(fragments, at, shared, index)`: ldmatrix, of 2 or 4 matrices of 8 rows of 16 bytes.

    Lane 8 m + r gives the index of row r of matrix m, a multiple of 16 bytes. Each thread gets, into
    fragments[at + m], the bytes 4 (lane % 4) to 4 (lane % 4) + 3 of row lane // 4; transposed, the 16-bit elements
    lane // 4 of rows 2 (lane % 4) and the next.
    """
    if launch.simulated:
        return emulated.load_matrices(count, transposed)
    targets = ",".join(f"${i}" for i in range(count))
    way = ".trans" if transposed else ""
    code = f"ldmatrix.sync.aligned.m8n8.x{count}{way}.shared.b16 {{{targets}}}, [${count}];"

    @intrinsic
    def load(typingctx, fragments, at, shared, index):
        def codegen(context, builder, signature, arguments):
            address = _shared_address(context, builder, signature.args[2], *arguments[2:])
            result = ir.LiteralStructType([_I32] * count)
            rows = _assembly(builder, code, "=r," * count + "r,~{memory}", result, address, effects=True, whole=True)
            for i, pointer in enumerate(
                _elements(context, builder, signature.args[0], arguments[0], arguments[1], count)
            ):
                builder.store(builder.extract_value(rows, i), pointer)
            return context.get_dummy_value()

        return types.void(fragments, at, shared, index), codegen

    return load


_MMA = {
    "bfloat16": "m16n8k16.row.col.f32.bf16.bf16.f32",
    "float16": "m16n8k16.row.col.f32.f16.f16.f32",
    "float32": "m16n8k8.row.col.f32.tf32.tf32.f32",
}


@functools.cache
def multiply_add(dtype: str, rows: int, columns: int) -> Any:
    """`multiply_add(dtype, rows, columns)(sums, a, at_a, b, at_b)`: sums += a b, by mma on tensor cores.

    `a` holds `rows` tiles of 16 x 32 bytes, four registers each, `b` `columns` tiles of 32 bytes x 8, two each, `sums`
    rows x columns tiles of 16 x 8, four each. float32 must have been rounded by `to_tf32`.
    """
    if launch.simulated:
        return emulated.multiply_add(dtype, rows, columns)
    code = f"mma.sync.aligned.{_MMA[dtype]} {{$0,$1,$2,$3}}, {{$4,$5,$6,$7}}, {{$8,$9}}, {{$10,$11,$12,$13}};"
    result = ir.LiteralStructType([_F32] * 4)

    @intrinsic
    def multiply(typingctx, sums, a, at_a, b, at_b):
        def codegen(context, builder, signature, arguments):
            sums_type, a_type, _, b_type, _ = signature.args
            sums, a, at_a, b, at_b = arguments
            places = _elements(context, builder, sums_type, sums, at_a.type(0), 4 * rows * columns)
            left = [builder.load(p) for p in _elements(context, builder, a_type, a, at_a, 4 * rows)]
            right = [builder.load(p) for p in _elements(context, builder, b_type, b, at_b, 2 * columns)]
            for row in range(rows):
                for column in range(columns):
                    tile = places[4 * (row * columns + column) :][:4]
                    given = [*left[4 * row :][:4], *right[2 * column :][:2], *map(builder.load, tile)]
                    total = _assembly(builder, code, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", result, *given, whole=True)
                    for i, place in enumerate(tile):
                        builder.store(builder.extract_value(total, i), place)
            return context.get_dummy_value()

        return types.void(sums, a, at_a, b, at_b), codegen

    return multiply


def _rounded_tf32(builder: Any, value: Any) -> Any:
    return _assembly(builder, "cvt.rna.tf32.f32 $0, $1;", "=r,f", _I32, value)


@_intrinsic
def round_tf32(typingctx, value):
    """The float32 nearest to a value that has the 10 bits of mantissa that tensor cores multiply."""

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(_rounded_tf32(builder, arguments[0]), _F32)

    return types.float32(types.float32), codegen


@functools.cache
def to_tf32(count: int) -> Any:
    """`to_tf32(count)(fragments, at)`: `round_tf32` of the float32 in so many registers."""
    if launch.simulated:
        return emulated.to_tf32(count)

    @intrinsic
    def convert(typingctx, fragments, at):
        def codegen(context, builder, signature, arguments):
            for place in _elements(context, builder, signature.args[0], *arguments, count):
                value = builder.bitcast(builder.load(place), _F32)
                builder.store(_rounded_tf32(builder, value), place)
            return context.get_dummy_value()

        return types.void(fragments, at), codegen

    return convert


@functools.cache
def store_tiles(columns: int) -> Any:
    """`store_tiles(columns)(shared, index, pitch, sums, at)`: a row of 16 x 8 tiles of sums to a shared float32 array.

    `index` is where the first tile begins, `pitch`, a constant, the distance of rows; both are even.
    """
    if launch.simulated:
        return emulated.store_tiles(columns)
    pair = ir.VectorType(_F32, 2)

    @intrinsic
    def store(typingctx, shared, index, pitch, sums, at):
        def codegen(context, builder, signature, arguments):
            shared_type, index_type, pitch_type, sums_type, _ = signature.args
            shared, index, pitch, sums, at = arguments
            index, pitch = (
                context.cast(builder, v, t, types.int64) for v, t in ((index, index_type), (pitch, pitch_type))
            )
            values = [builder.load(p) for p in _elements(context, builder, sums_type, sums, at, 4 * columns)]
            lane = builder.zext(_assembly(builder, "mov.u32 $0, %laneid;", "=r", _I32), ir.IntType(64))
            row, column = builder.lshr(lane, lane.type(2)), builder.shl(builder.and_(lane, lane.type(3)), lane.type(1))
            upper = builder.add(builder.add(index, column), builder.mul(row, pitch))
            lower = builder.add(upper, builder.mul(pitch, lane.type(8)))
            for tile in range(columns):
                for half, start in enumerate((upper, lower)):
                    vector: Any = ir.Constant(pair, ir.Undefined)
                    for i in range(2):
                        vector = builder.insert_element(vector, values[4 * tile + 2 * half + i], _I32(i))
                    place = _address(context, builder, shared_type, shared, builder.add(start, lane.type(8 * tile)))
                    builder.store(vector, builder.bitcast(place, pair.as_pointer()), align=8)
            return context.get_dummy_value()

        return types.void(shared, index, pitch, sums, at), codegen

    return store


@_intrinsic
def copy16(typingctx, shared, index, source, at, size):
    """Begin to copy 16 bytes into shared memory (cp.async), around registers and the first cache.

    Of the source `size` bytes are read, 16 or 0; the rest is zero. The copy has happened for this thread after
    `wait_copies`, for others after a barrier that follows.
    """

    def codegen(context, builder, signature, arguments):
        shared, index, source, at, size = arguments
        target = _shared_address(context, builder, signature.args[0], shared, index)
        at = context.cast(builder, at, signature.args[3], types.intp)
        place = _address(context, builder, signature.args[2], source, at)
        place = builder.addrspacecast(place, ir.PointerType(place.type.pointee, addrspace=1))
        size = size if size.type == _I32 else builder.trunc(size, _I32)
        code = "cp.async.cg.shared.global.L2::128B [$0], [$1], 16, $2;"
        _assembly(builder, code, "r,l,r,~{memory}", ir.VoidType(), target, place, size, effects=True)
        return context.get_dummy_value()

    return types.void(shared, index, source, at, size), codegen


@_intrinsic
def commit_copies(typingctx):
    """Close the group of the copies that this thread began since the last one."""

    def codegen(context, builder, signature, arguments):
        _assembly(builder, "cp.async.commit_group;", "~{memory}", ir.VoidType(), effects=True)
        return context.get_dummy_value()

    return types.void(), codegen


@functools.cache
def wait_copies(most: int) -> Any:
    """`wait_copies(most)()`: wait until at most so many groups of this thread's copies, the latest, are under way."""
    if launch.simulated:
        return emulated.wait_copies(most)

    @intrinsic
    def wait(typingctx):
        def codegen(context, builder, signature, arguments):
            _assembly(builder, f"cp.async.wait_group {most};", "~{memory}", ir.VoidType(), effects=True)
            return context.get_dummy_value()

        return types.void(), codegen

    return wait


@_intrinsic
def load4_bits(typingctx, array, index):
    """Four neighbouring elements of a uint16 array by one 64-bit load; `index` is a multiple of 4."""
    result = types.UniTuple(types.uint16, 4)

    def codegen(context, builder, signature, arguments):
        pointer = _address(context, builder, signature.args[0], *arguments)
        vector = builder.load(builder.bitcast(pointer, ir.VectorType(_I16, 4).as_pointer()), align=8)
        return pack_array(builder, [builder.extract_element(vector, _I32(i)) for i in range(4)])

    return result(array, index), codegen


@_intrinsic
def store4_bits(typingctx, array, index, values):
    """Four neighbouring elements of a uint16 array by one 64-bit store; `index` is a multiple of 4."""

    def codegen(context, builder, signature, arguments):
        pointer = _address(context, builder, signature.args[0], *arguments[:2])
        vector: Any = ir.Constant(ir.VectorType(_I16, 4), ir.Undefined)
        for i, value in enumerate(unpack_tuple(builder, arguments[2], 4)):
            vector = builder.insert_element(vector, value, _I32(i))
        builder.store(vector, builder.bitcast(pointer, ir.VectorType(_I16, 4).as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(array, index, values), codegen
