"""The parallel form of every kernel: the compiled serial form, called by its address from Numba's threads.

Numba's threading layers offer one function,

    numba_parallel_for(chunk, args, dims, steps, data, inner_ndim, array_count, threads)

which calls `chunk(args, dims, steps, data)` for parts of range(dims[0]): args[0] is moved by the part's start times
steps[0], and dims[0] is its length. `numba.prange` goes the same way, but compiles the loop's body for each kernel
again (0.4 s a kernel); a launcher depends on the types of the arrays alone, so kernels share it.

Each worker has an even share of the items, which it takes in pieces: a half, a quarter, and two eighths. One that is
done takes what is left of the others' shares, since a core is often slowed by what else runs on the machine.

Besides simd.py and the tiles built on it this is the only file that emits LLVM instructions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

DONE, RAISED = 0, 1
PIECES = 4  # of a worker's share
LINE = 8  # numbers of a cache line: counters that lie apart do not slow each other

_INDEX = types.intp
_CHUNK_ARGUMENTS = (types.intp, types.intp, types.intp)  # start, stop, worker


def tag(arrays: Sequence[Any]) -> int:
    """A number above `RAISED` that stands for the types of a kernel's arrays."""
    return 2 + int.from_bytes(hashlib.sha256(str(list(arrays)).encode()).digest()[:7], "little")


@intrinsic
def _share(typing: Any, address: Any, known: Any, workers: Any, items: Any, arrays: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        own = context.get_constant(_INDEX, tag(arrays.types))
        result = cgutils.alloca_once_value(builder, own)
        with builder.if_then(builder.icmp_signed("==", arguments[1], own)):
            builder.store(_launch(context, builder, arrays.types, arguments), result)
        return builder.load(result)

    return _INDEX(_INDEX, _INDEX, _INDEX, _INDEX, arrays), generate


def _launch(context: Any, builder: Any, kinds: Sequence[Any], arguments: Sequence[Any]) -> Any:
    """Emit the call of the threading layer; gives `DONE` or `RAISED`."""
    address, _, workers, items, arrays = arguments
    number, byte_pointer, void = cgutils.intp_t, cgutils.voidptr_t, ir.VoidType()
    counters = builder.alloca(number, size=builder.mul(workers, number(LINE)))
    with cgutils.for_range(builder, workers) as share:
        builder.store(number(0), builder.gep(counters, [builder.mul(share.index, number(LINE))]))
    shared = ir.LiteralStructType([number, number, number, number, counters.type, arrays.type])
    data = cgutils.alloca_once(builder, shared)
    for field, value in enumerate((number(DONE), address, workers, items, counters, arrays)):
        builder.store(value, cgutils.gep_inbounds(builder, data, 0, field))
    base = builder.bitcast(data, byte_pointer)
    pointers = [cgutils.alloca_once_value(builder, value) for value in (base, workers, number(1))]

    def layer(name: str, result: Any, parameters: Sequence[Any]) -> Any:
        return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, parameters), name)

    c_int = cgutils.int32_t
    # The layer leaves the number of threads of this launch behind as Numba's own setting.
    setting = builder.call(layer("get_num_threads", c_int, []), [])
    wanted = builder.trunc(workers, c_int)
    threads = builder.select(builder.icmp_signed("<", wanted, setting), wanted, setting)
    chunk = _chunk(context, builder.module, shared, kinds)
    four = [builder.bitcast(pointer, byte_pointer) for pointer in (chunk, *pointers)]
    parallel_for = layer("numba_parallel_for", void, [byte_pointer] * 5 + [number, number, c_int])
    builder.call(parallel_for, [*four, base, number(0), number(1), threads])
    builder.call(layer("set_num_threads", void, [c_int]), [setting])
    return builder.load(cgutils.gep_inbounds(builder, data, 0, 0))


def _chunk(context: Any, module: Any, shared: Any, kinds: Sequence[Any]) -> Any:
    """The function that the layer calls: the kernel, for each worker of its part, while any share has pieces left."""
    number, byte_pointer = cgutils.intp_t, cgutils.voidptr_t
    parameters = [byte_pointer.as_pointer(), number.as_pointer(), number.as_pointer(), byte_pointer]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), parameters), module.get_unique_name("chunk"))
    function.linkage = "internal"
    args, dims, _, base = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    data = builder.bitcast(base, shared.as_pointer())
    address, workers, items, counters, arrays = (
        builder.load(cgutils.gep_inbounds(builder, data, 0, field)) for field in range(1, 6)
    )
    convention = context.call_conv
    kernel_types = (*_CHUNK_ARGUMENTS, *kinds)
    kernel_type = convention.get_function_type(types.none, kernel_types)
    kernel = builder.inttoptr(address, kernel_type.as_pointer())
    operands = [builder.extract_value(arrays, i) for i in range(len(kinds))]
    first = builder.sub(builder.ptrtoint(builder.load(args), number), builder.ptrtoint(base, number))
    with cgutils.for_range(builder, builder.load(dims)) as part, cgutils.for_range(builder, workers) as turn:
        worker = builder.add(first, part.index)
        share = builder.srem(builder.add(worker, turn.index), workers)
        low, high = (builder.sdiv(builder.mul(builder.add(share, number(k)), items), workers) for k in range(2))
        counter = builder.gep(counters, [builder.mul(share, number(LINE))])
        with cgutils.for_range(builder, number(PIECES)) as attempt:
            del attempt  # no share has more pieces than that
            piece = builder.atomic_rmw("add", counter, number(1), "monotonic")
            start, stop = (_bound(builder, low, high, builder.add(piece, number(k))) for k in range(2))
            with builder.if_then(builder.icmp_signed("<", start, stop)):
                values = [start, stop, worker, *operands]
                status, _ = convention.call_function(builder, kernel, types.none, kernel_types, values)
                with builder.if_then(status.is_error):
                    builder.store(number(RAISED), cgutils.gep_inbounds(builder, data, 0, 0))
    builder.ret_void()
    return function


def _bound(builder: Any, low: Any, high: Any, piece: Any) -> Any:
    """Emit where a piece of the share low <= . < high begins: 0, 1/2, 3/4 and 7/8 of it, then its end."""
    size, eighths = builder.sub(high, low), 1 << (PIECES - 1)
    left = builder.lshr(builder.mul(size, piece.type(eighths)), piece)
    inside = builder.sub(high, builder.sdiv(left, piece.type(eighths)))
    return builder.select(builder.icmp_signed("<", piece, piece.type(PIECES)), inside, high)


def launcher(address, known, workers, items, *arrays):
    """Call the kernel at `address`, of arrays whose `tag` is `known`, on all workers.

    Returns `DONE`, or `RAISED`, or, with nothing done, the tag of these arrays where it is another.
    """
    return _share(address, known, workers, items, arrays)
