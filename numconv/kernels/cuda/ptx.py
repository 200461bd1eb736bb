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


def _vector(context: Any, array_type: Any, count: int) -> Any:
    """(type of `count` neighbouring elements of an array, its alignment)."""
    kind = context.get_value_type(array_type.dtype)
    return ir.VectorType(kind, count), min(16, count * array_type.dtype.bitwidth // 8)


@_intrinsic
def load4(typingctx, array, index):
    """Four neighbouring elements of an array, by one 128-bit load of float32; `index` is a multiple of 4."""
    result = types.UniTuple(array.dtype, 4)

    def codegen(context, builder, signature, arguments):
        pointer = _address(context, builder, signature.args[0], *arguments)
        kind, align = _vector(context, signature.args[0], 4)
        vector = builder.load(builder.bitcast(pointer, kind.as_pointer()), align=align)
        return pack_array(builder, [builder.extract_element(vector, _I32(i)) for i in range(4)])

    return result(array, index), codegen


@_intrinsic
def store4(typingctx, array, index, values):
    """Four neighbouring elements of an array, by one 128-bit store of float32; `index` is a multiple of 4."""

    def codegen(context, builder, signature, arguments):
        pointer = _address(context, builder, signature.args[0], *arguments[:2])
        kind, align = _vector(context, signature.args[0], 4)
        vector: Any = ir.Constant(kind, ir.Undefined)
        for i, value in enumerate(unpack_tuple(builder, arguments[2], 4)):
            vector = builder.insert_element(vector, value, _I32(i))
        builder.store(vector, builder.bitcast(pointer, kind.as_pointer()), align=align)
        return context.get_dummy_value()

    return types.void(array, index, values), codegen
