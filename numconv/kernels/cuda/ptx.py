"""Instructions that Python has no word for, as intrinsics: the only place for inline PTX.

Each has a twin in `emulated`, which takes its place in the simulator. Indices are counted in elements; wide loads and
stores need an address that is a multiple of their size.
"""

from __future__ import annotations

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


def _assembly(builder: Any, code: str, constraints: str, result: Any, *arguments: Any, effects: bool = False) -> Any:
    """The value of inline PTX."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(ir.InlineAsm(kind, code, constraints, side_effect=effects), arguments)


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
