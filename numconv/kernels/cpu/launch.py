"""The parallel form of every kernel: the compiled serial form, called by its address from Numba's threads.

Numba's threading layers offer one function,

    numba_parallel_for(chunk, args, dims, steps, data, inner_ndim, array_count, threads)

which calls `chunk(args, dims, steps, data)` for parts of range(dims[0]): args[0] is moved by the part's start times
steps[0], and dims[0] is its length. `numba.prange` goes the same way, but compiles the loop's body for each kernel
again (0.4 s a kernel). Here launches are numbers in a table; what calls a kernel, its arrays unpacked from memory,
depends on the arrays' types alone, so kernels share it.

Each worker goes through the table. Of each launch it has an even share of the items, which it takes in pieces: a half,
a quarter, and two eighths. One that is done takes what is left of the others' shares, since a core is often slowed by
what else runs on the machine; then it waits until all pieces are done. So nobody waits for a worker that has not begun:
the layer may give fewer threads than there are workers, and run these one after the other.

Besides simd.py and the tiles built on it this is the only file that emits LLVM instructions.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

DONE, RAISED = 0, 1
PIECES = 4  # of a worker's share
LINE = 8  # numbers of a cache line: counters that lie apart do not slow each other
# A launch in a table: addresses of what calls the kernel, of the kernel and of its arrays, then how many of each.
CALLER, KERNEL, ARRAYS, WORKERS, ITEMS, NUMBERS = range(6)
# Its counters, a line each: workers that came, pieces that are done, then each share's pieces that are taken.
CAME, FINISHED, TAKEN = range(3)
# Looks at a counter, 70 us, and microseconds for which others then get the core. Where two more threads are busy on two
# cores a frozen MobileNetV2 takes 8 ms so, and 11 where it yields in place of sleeping, which moves nobody to its core.
SPINS, NAP = 5000, 20

_INDEX = types.intp
_NUMBER = cgutils.intp_t
_POINTER = cgutils.voidptr_t
_CHUNK_ARGUMENTS = (types.intp, types.intp, types.intp)  # start, stop, worker
_CALLER_TYPE = ir.FunctionType(_NUMBER, [_NUMBER] * 5)  # kernel, arrays, start, stop, worker; whether it raised
_DATA = ir.LiteralStructType([_NUMBER, _NUMBER.as_pointer(), _NUMBER, _NUMBER, _NUMBER.as_pointer()])
STATUS, TABLE, COUNT, MOST_WORKERS, COUNTERS = range(5)


def tag(arrays: Sequence[Any]) -> int:
    """A number above `RAISED` that stands for the types of a kernel's arrays."""
    return 2 + int.from_bytes(hashlib.sha256(str(list(arrays)).encode()).digest()[:7], "little")


@intrinsic
def _share(typing: Any, address: Any, known: Any, workers: Any, items: Any, arrays: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, known, workers, items, held = arguments
        own = context.get_constant(_INDEX, tag(arrays.types))
        result = cgutils.alloca_once_value(builder, own)
        with builder.if_then(builder.icmp_signed("==", known, own)):
            launch = cgutils.alloca_once(builder, _NUMBER, size=NUMBERS)
            memory = cgutils.alloca_once(builder, held.type)
            _write(context, builder, arrays.types, launch, memory, (address, workers, items, held))
            counters = builder.alloca(_NUMBER, size=builder.mul(builder.add(workers, _NUMBER(TAKEN)), _NUMBER(LINE)))
            builder.store(_run(builder, launch, _NUMBER(1), workers, counters), result)
        return builder.load(result)

    return _INDEX(_INDEX, _INDEX, _INDEX, _INDEX, arrays), generate


@intrinsic
def _bind(typing: Any, launch: Any, memory: Any, address: Any, workers: Any, items: Any, arrays: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        launch, memory, address, workers, items, held = arguments
        launch = builder.inttoptr(launch, _NUMBER.as_pointer())
        memory = builder.inttoptr(memory, held.type.as_pointer())
        _write(context, builder, arrays.types, launch, memory, (address, workers, items, held))
        return context.get_dummy_value()

    return types.none(_INDEX, _INDEX, _INDEX, _INDEX, _INDEX, arrays), generate


@intrinsic
def _run_all(typing: Any, table: Any, count: Any, workers: Any, counters: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table, count, workers, counters = arguments
        table, counters = (builder.inttoptr(place, _NUMBER.as_pointer()) for place in (table, counters))
        return _run(builder, table, count, workers, counters)

    return _INDEX(_INDEX, _INDEX, _INDEX, _INDEX), generate


def _write(context: Any, builder: Any, kinds: Sequence[Any], launch: Any, memory: Any, given: Sequence[Any]) -> None:
    """Emit what writes a launch, and its arrays to `memory`, where what calls the kernel finds them."""
    address, workers, items, arrays = given
    builder.store(arrays, memory)
    caller = builder.ptrtoint(_caller(context, builder.module, kinds, arrays.type), _NUMBER)
    for field, value in enumerate((caller, address, builder.ptrtoint(memory, _NUMBER), workers, items)):
        builder.store(value, builder.gep(launch, [_NUMBER(field)]))


def _caller(context: Any, module: Any, kinds: Sequence[Any], held: Any) -> Any:
    """The function that calls a kernel, given where its arrays are held."""
    function = ir.Function(module, _CALLER_TYPE, module.get_unique_name("caller"))
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    address, memory, *chunk = function.args
    arrays = builder.load(builder.inttoptr(memory, held.as_pointer()))
    convention, kernel_types = context.call_conv, (*_CHUNK_ARGUMENTS, *kinds)
    kernel = builder.inttoptr(address, convention.get_function_type(types.none, kernel_types).as_pointer())
    values = [*chunk, *(builder.extract_value(arrays, i) for i in range(len(kinds)))]
    status, _ = convention.call_function(builder, kernel, types.none, kernel_types, values)
    builder.ret(builder.zext(status.is_error, _NUMBER))
    return function


def _run(builder: Any, table: Any, count: Any, workers: Any, counters: Any) -> Any:
    """Emit the call of the threading layer; gives `DONE`, or the place in the table, from 1, of what raised."""
    lines = builder.mul(count, builder.add(workers, _NUMBER(TAKEN)))
    cgutils.memset(builder, counters, builder.mul(lines, _NUMBER(8 * LINE)), 0)
    data = cgutils.alloca_once(builder, _DATA)
    for field, value in enumerate((_NUMBER(DONE), table, count, workers, counters)):
        builder.store(value, cgutils.gep_inbounds(builder, data, 0, field))
    base = builder.bitcast(data, _POINTER)
    pointers = [cgutils.alloca_once_value(builder, value) for value in (base, workers, _NUMBER(1))]

    c_int = cgutils.int32_t
    # The layer leaves the number of threads of this launch behind as Numba's own setting.
    setting = builder.call(_outside(builder, "get_num_threads", c_int, []), [])
    wanted = builder.trunc(workers, c_int)
    threads = builder.select(builder.icmp_signed("<", wanted, setting), wanted, setting)
    four = [builder.bitcast(pointer, _POINTER) for pointer in (_chunk(builder.module), *pointers)]
    parameters = [_POINTER] * 5 + [_NUMBER, _NUMBER, c_int]
    parallel_for = _outside(builder, "numba_parallel_for", ir.VoidType(), parameters)
    builder.call(parallel_for, [*four, base, _NUMBER(0), _NUMBER(1), threads])
    builder.call(_outside(builder, "set_num_threads", ir.VoidType(), [c_int]), [setting])
    return builder.load(cgutils.gep_inbounds(builder, data, 0, STATUS))


def _outside(builder: Any, name: str, result: Any, parameters: Sequence[Any]) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, parameters), name)


def _chunk(module: Any) -> Any:
    """The function that the layer calls: each worker of its part goes through the table."""
    parameters = [_POINTER.as_pointer(), _NUMBER.as_pointer(), _NUMBER.as_pointer(), _POINTER]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), parameters), module.get_unique_name("chunk"))
    function.linkage = "internal"
    args, dims, _, base = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    data = builder.bitcast(base, _DATA.as_pointer())
    status = cgutils.gep_inbounds(builder, data, 0, STATUS)
    table, count, most, counters = (
        builder.load(cgutils.gep_inbounds(builder, data, 0, field)) for field in (TABLE, COUNT, MOST_WORKERS, COUNTERS)
    )
    lines = builder.add(most, _NUMBER(TAKEN))
    first = builder.sub(builder.ptrtoint(builder.load(args), _NUMBER), builder.ptrtoint(base, _NUMBER))
    with cgutils.for_range(builder, builder.load(dims)) as part, cgutils.for_range(builder, count) as step:
        launch = builder.gep(table, [builder.mul(step.index, _NUMBER(NUMBERS))])
        own = builder.gep(counters, [builder.mul(builder.mul(step.index, lines), _NUMBER(LINE))])
        workers = builder.load(builder.gep(launch, [_NUMBER(WORKERS)]))
        # Where not all are needed it is those that come first.
        worker = cgutils.alloca_once_value(builder, builder.add(first, part.index))
        with builder.if_then(builder.icmp_signed("<", workers, most)):
            came = _line(builder, own, _NUMBER(CAME))
            builder.store(builder.atomic_rmw("add", came, _NUMBER(1), "monotonic"), worker)
        finished = _line(builder, own, _NUMBER(FINISHED))
        with builder.if_then(builder.icmp_signed("<", builder.load(worker), workers)):
            pieces = _work(builder, launch, own, builder.load(worker), workers, status, step.index)
            builder.atomic_rmw("add", finished, pieces, "acq_rel")
        with builder.if_then(builder.icmp_signed("<", builder.add(step.index, _NUMBER(1)), count)):
            _wait(builder, finished, builder.mul(workers, _NUMBER(PIECES)))
    builder.ret_void()
    return function


def _line(builder: Any, counters: Any, which: Any) -> Any:
    return builder.gep(counters, [builder.mul(which, _NUMBER(LINE))])


def _work(builder: Any, launch: Any, counters: Any, worker: Any, workers: Any, status: Any, step: Any) -> Any:
    """Emit the call of the kernel for pieces of the own share, then of others'; gives how many."""
    caller, kernel, arrays, _, items = (builder.load(builder.gep(launch, [_NUMBER(k)])) for k in range(NUMBERS))
    call = builder.inttoptr(caller, _CALLER_TYPE.as_pointer())
    done = cgutils.alloca_once(builder, _NUMBER)
    builder.store(_NUMBER(0), done)
    # Where there is one worker, the first piece is all.
    stride = builder.select(builder.icmp_signed("==", workers, _NUMBER(1)), _NUMBER(PIECES), _NUMBER(1))
    with cgutils.for_range(builder, workers) as turn:
        share = builder.srem(builder.add(worker, turn.index), workers)
        low, high = (builder.sdiv(builder.mul(builder.add(share, _NUMBER(k)), items), workers) for k in range(2))
        counter = _line(builder, counters, builder.add(share, _NUMBER(TAKEN)))
        with cgutils.for_range(builder, _NUMBER(PIECES)) as attempt:
            del attempt  # no share has more pieces than that
            piece = builder.atomic_rmw("add", counter, _NUMBER(1), "monotonic")
            with builder.if_then(builder.icmp_signed("<", piece, _NUMBER(PIECES))):
                builder.store(builder.add(builder.load(done), _NUMBER(1)), done)
                bounds = [builder.mul(builder.add(piece, _NUMBER(k)), stride) for k in range(2)]
                start, stop = (_bound(builder, low, high, bound) for bound in bounds)
                well = builder.icmp_signed("==", builder.load_atomic(status, "monotonic", 8), _NUMBER(DONE))
                with builder.if_then(builder.and_(builder.icmp_signed("<", start, stop), well)):
                    raised = builder.call(call, [kernel, arrays, start, stop, worker])
                    with builder.if_then(builder.icmp_signed("!=", raised, _NUMBER(0))):
                        builder.store_atomic(builder.add(step, _NUMBER(RAISED)), status, "monotonic", 8)
    return builder.load(done)


def _bound(builder: Any, low: Any, high: Any, piece: Any) -> Any:
    """Emit where a piece of the share low <= . < high begins: 0, 1/2, 3/4 and 7/8 of it, then its end."""
    size, eighths = builder.sub(high, low), 1 << (PIECES - 1)
    shift = builder.select(builder.icmp_signed("<", piece, _NUMBER(PIECES)), piece, _NUMBER(0))
    left = builder.lshr(builder.mul(size, _NUMBER(eighths)), shift)
    inside = builder.sub(high, builder.sdiv(left, _NUMBER(eighths)))
    return builder.select(builder.icmp_signed("<", piece, _NUMBER(PIECES)), inside, high)


def _wait(builder: Any, counter: Any, target: Any) -> None:
    """Emit what waits until a counter has reached the target."""
    entry = builder.block
    loop, again, tired, done = (builder.append_basic_block(name) for name in ("look", "again", "tired", "done"))
    builder.branch(loop)
    builder.position_at_end(loop)
    looks = builder.phi(_NUMBER)
    looks.add_incoming(_NUMBER(0), entry)
    reached = builder.icmp_signed("==", builder.load_atomic(counter, "acquire", 8), target)
    builder.cbranch(reached, done, again)
    builder.position_at_end(again)
    if binding.get_process_triple().startswith("x86_64"):
        builder.call(_outside(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
    more = builder.add(looks, _NUMBER(1))
    looks.add_incoming(more, again)
    builder.cbranch(builder.icmp_signed("<", more, _NUMBER(SPINS)), loop, tired)
    builder.position_at_end(tired)
    if sys.platform == "win32":
        builder.call(_outside(builder, "SwitchToThread", cgutils.int32_t, []), [])
    else:
        builder.call(_outside(builder, "usleep", cgutils.int32_t, [cgutils.int32_t]), [cgutils.int32_t(NAP)])
    looks.add_incoming(_NUMBER(0), tired)
    builder.branch(loop)
    builder.position_at_end(done)


def launcher(address, known, workers, items, *arrays):
    """Call the kernel at `address`, of arrays whose `tag` is `known`, on all workers.

    Returns `DONE`, or `RAISED`, or, with nothing done, the tag of these arrays where it is another.
    """
    return _share(address, known, workers, items, arrays)


def binder(launch, memory, address, workers, items, *arrays):
    """Write a launch to the `NUMBERS` of a table at address `launch`, and its arrays to those at `memory`."""
    _bind(launch, memory, address, workers, items, arrays)


def runner(table, count, workers, counters):
    """Run the launches of a table on at most `workers`. `counters` has `TAKEN` + workers lines for each of them.

    Returns `DONE`, or the place in the table, from 1, of a launch that raised; those after it are then not run.
    """
    return _run_all(table, count, workers, counters)
