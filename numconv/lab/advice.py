"""What to do about what was seen in a kernel's code: a sentence for each thing, tied to the code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from numconv.lab.assembly import readable
from numconv.lab.instructions import Mix
from numconv.lab.source import Access, SourceLoop, shortened

# A processor starts two FMAs a cycle, and each takes four: so many sums must be under way.
SUMS = 8
WARPS = 16  # a quarter of what a multiprocessor holds: fewer hide little of the memory's latency
COMPILE_SECONDS = 0.5
OUR_FASTMATH = "{'reassoc', 'contract', 'nsz'}"


@dataclass
class Seen:
    """What advice rests on.

    Attributes
    ----------
    mix : Mix
        Of the loop that does the work.
    source : SourceLoop or None
        That loop in Python.
    fastmath : set of str
        LLVM's flags.
    single : bool
        Whether all arrays are float32.
    float64 : tuple of (str, int)
        Variables that are float64 all the same, and their lines.
    strided : tuple of str
        Arrays that are not known to be contiguous.
    host_bits : int
        Width of the processor's vectors.
    """

    mix: Mix
    source: SourceLoop | None = None
    fastmath: set[str] = field(default_factory=set)
    single: bool = False
    float64: tuple[tuple[str, int], ...] = ()
    strided: tuple[str, ...] = ()
    host_bits: int = 0
    boundscheck: bool = False
    parallel: bool = False
    has_parallel_loop: bool = False
    divides_as_numpy: bool = False
    compiled: bool = True
    cached: bool = False
    seconds: float = 0.0


def advise(seen: Seen) -> list[str]:
    """Sentences, the weightiest first."""
    return [sentence for rule in _RULES for sentence in rule(seen)]


def _plain(seen: Seen) -> Iterator[str]:
    if not seen.compiled:
        yield "the function is plain Python: what stands here is what @numba.njit would make of it"


def _not_vectorised(seen: Seen) -> Iterator[str]:
    mix = seen.mix
    if mix.scalar and not mix.packed:
        yield f"the inner loop is not vectorised: {_why(seen)}"


def _why(seen: Seen) -> str:
    mix, source = seen.mix, seen.source
    if source is not None and source.far:
        far = source.far[0]
        return f"its index is not the last axis of {far.text} (line {far.line})"
    if mix.accumulators and "reassoc" not in seen.fastmath:
        return f"its sum is carried from turn to turn and fastmath is off; fastmath={OUR_FASTMATH} lets it be split"
    if mix.calls:
        return "it calls a function"
    if mix.integer_divisions:
        return "it divides integers"
    if mix.index_tests:
        return (
            "Numba tests its indices for being negative, as no sign is known; take the row before the loop, with its "
            "step (x[n, c, h, first::step]), and index it by the loop's own index"
        )
    if mix.branches and mix.divisions and not seen.divides_as_numpy:
        return "Numba tests each divisor for being 0; error_model='numpy' does not"
    if mix.branches:
        return "there is a test in it; split the loop where the test changes"
    if seen.strided:
        return _contiguous(seen)
    return "LLVM found no way; a loop over the last axis of contiguous arrays, without tests, has one"


def _contiguous(seen: Seen) -> str:
    return f"{seen.strided[0]} may have any strides; hand it np.ascontiguousarray({seen.strided[0]})"


def _integer_divisions(seen: Seen) -> Iterator[str]:
    if seen.mix.integer_divisions:
        yield "the loop divides integers, 10 to 20 cycles each: count instead, or divide before the loop"


def _float64(seen: Seen) -> Iterator[str]:
    if not (seen.single and seen.mix.to_float64):
        return
    if seen.float64:
        name, line = seen.float64[0]
        which = f": `{name}` (line {line}) is float64; begin a sum with np.float32(0), a literal 0.0 is float64"
    else:
        which = "; a literal such as 2.0 is float64, and so is float32 with an integer: write np.float32(2)"
    yield f"float64 conversions in the loop{which}"


def _no_fma(seen: Seen) -> Iterator[str]:
    mix = seen.mix
    if mix.multiplies and mix.adds and not mix.fma and "contract" not in seen.fastmath:
        yield f"no FMA: contract is off, so products and sums stay apart; fastmath={OUR_FASTMATH}"


def _spills(seen: Seen) -> Iterator[str]:
    if seen.mix.spills and not seen.mix.calls:  # around a call numbers are kept on the stack however few they are
        yield f"{seen.mix.spills} spills in the loop: its numbers do not fit into the registers; unroll less"


def _gathers(seen: Seen) -> Iterator[str]:
    mix = seen.mix
    if mix.gathers or mix.scatters:
        if seen.source and seen.source.far:
            far = f": {seen.source.far[0].text} (line {seen.source.far[0].line})"
        elif seen.strided:
            yield f"elements are gathered one by one: {_contiguous(seen)}"
            return
        else:
            far = ""
        yield f"elements are gathered one by one{far}; let the loop's index be the last axis, with step 1"


def _narrow(seen: Seen) -> Iterator[str]:
    bits = seen.mix.vector_bits
    if seen.mix.packed and bits < seen.host_bits:
        yield (f"its vectors have {bits} of the processor's {seen.host_bits} bits, as LLVM chose; blocks.tile uses all")


def _sums_in_memory(seen: Seen) -> Iterator[str]:
    mix = seen.mix
    if mix.packed and mix.fma and not mix.accumulators and mix.updates >= mix.fma:
        yield "every FMA loads its sum and stores it: keep sums in registers over an inner sum, as blocks.tile does"


def _few_sums(seen: Seen) -> Iterator[str]:
    mix = seen.mix
    if mix.packed and 0 < mix.accumulators < SUMS * min(mix.fma_share, 1):
        yield (
            f"{mix.accumulators} sums are under way where latency asks for {round(SUMS * mix.fma_share)}: "
            "compute several results at a time"
        )


def _calls(seen: Seen) -> Iterator[str]:
    if seen.mix.calls:
        named = dict.fromkeys(readable(call) for call in seen.mix.calls if not call.startswith("*"))  # not by address
        yield f"the loop calls {shortened(', '.join(named), 60) or 'functions'}, which are not inlined"


def _conversions(seen: Seen) -> Iterator[str]:
    if seen.mix.to_integer:
        yield "the loop converts between integers and floats: convert before it"


def _divisions(seen: Seen) -> Iterator[str]:
    roots = sum(count for name, count in seen.mix.names.items() if "sqrt" in name)
    if seen.mix.divisions > roots:
        yield "the loop divides floats: multiply by a reciprocal, computed before the loop where it can be"
    if roots:
        yield "the loop takes square roots, which are as slow as divisions: take them before it where they recur"


def _bounds(seen: Seen) -> Iterator[str]:
    if seen.boundscheck:
        yield "bounds are checked at each element: boundscheck=False (and NUMBA_BOUNDSCHECK unset) to time it"


def _parallel(seen: Seen) -> Iterator[str]:
    if seen.parallel and not seen.has_parallel_loop:
        yield "parallel=True, but no loop is: write `for i in numba.prange(n)`"


def _uncached(seen: Seen) -> Iterator[str]:
    if seen.compiled and not seen.cached and seen.seconds >= COMPILE_SECONDS:
        yield f"each process compiles it again, {seen.seconds:.1f} s: cache=True keeps it"


_RULES: tuple[Callable[[Seen], Iterator[str]], ...] = (
    _plain, _not_vectorised, _float64, _integer_divisions, _no_fma, _spills, _gathers, _sums_in_memory, _few_sums,
    _narrow, _calls, _conversions, _divisions, _bounds, _parallel, _uncached,
)  # fmt: skip


def advise_gpu(
    code: Any, ptx: dict[str, int], far: tuple[Access, ...], updated: tuple[Access, ...], single: bool, threads: int
) -> list[str]:  # fmt: skip
    """Sentences about a kernel for a GPU.

    Parameters
    ----------
    code : numconv.lab.sass.Code
    ptx : dict
        How many PTX instructions there are of a kind.
    far : tuple of Access
        Elements that neighbouring threads read far apart.
    updated : tuple of Access
        Elements in memory that a loop adds to in each turn.
    single : bool
        Whether all arrays are float32.
    threads : int
        Of a block.
    """
    found = []
    if far:
        found.append(
            f"uncoalesced: neighbouring threads differ in {far[0].index}, which is not the last index of "
            f"{far[0].text} (line {far[0].line})"
        )
    if code.spills:
        found.append(f"{code.spills} bytes spill: keep fewer numbers in a thread, or unroll less")
    elif code.stack:
        found.append(f"{code.stack} bytes of stack: a local array is indexed by what is not known when it is compiled")
    if single and any(map(code.count, ("DADD", "DMUL", "DFMA", "F2F.F64"))):
        found.append("float64 arithmetic on float32 arrays: begin a sum with np.float32(0), a literal 0.0 is float64")
    if ptx["divisions"]:
        found.append(f"{ptx['divisions']} divisions of 64-bit integers: about a hundred instructions each; use uint32")
    if updated and code.count("STG", loop=True):
        text, line = updated[0].text, updated[0].line
        found.append(
            f"the loop stores {text} (line {line}) to global memory in each turn: keep the sum in a register and store "
            "it once"
        )
    warps = registers_allow(code.registers)
    if warps < max(-(-threads // 32), WARPS):
        found.append(f"{code.registers} registers a thread: only {warps} warps fit on a multiprocessor")
    return found


def registers_allow(registers: int) -> int:
    """How many warps' registers a multiprocessor holds: 65536, given out by 256 a warp; 64 warps at most."""
    return min(65536 // (-(-max(registers, 1) * 32 // 256) * 256), 64)
