"""What a kernel for the CPU was compiled to: compiled anew, with the line of each instruction noted, and read."""

from __future__ import annotations

import os
import textwrap
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from numconv.lab import assembly
from numconv.lab.advice import Seen, advise
from numconv.lab.instructions import Mix, counted
from numconv.lab.source import (
    SourceLoop,
    deepest_loop,
    first_axis_inside,
    loop_at,
    names_within,
    shortened,
    started_at_a_literal,
)  # fmt: skip
from numconv.terminal import percent

WIDTH = 100  # characters of a printed line


@dataclass
class Inspection:
    """What was seen. It prints itself; `to_dict` gives it as numbers and strings.

    Attributes
    ----------
    name : str
        Of the kernel.
    kind : str
        How it is compiled, such as "@njit, parallel".
    function : str
        Where the loop that does the work stands, if in another function.
    depth : int
        How many loops it is the innermost of.
    loop : Mix
        Its instructions, counted.
    source : SourceLoop or None
        The loop in Python, where its lines are known; with its file where that is not the kernel's own.
    host_bits : int
        Width of the processor's vectors.
    seconds : float
        What compiling took.
    cache : str
        Whether it is kept on disk, and was found there.
    advice : list of str
    """

    name: str
    kind: str
    function: str
    depth: int
    loop: Mix
    source: SourceLoop | None
    host_bits: int
    seconds: float
    cache: str
    advice: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        found = asdict(self)
        found["loop"] |= {"names": dict(self.loop.names), "bytes_per_flop": self.loop.bytes_per_flop}
        found["loop"]["fma_share"] = self.loop.fma_share
        return found

    def __str__(self) -> str:
        mix, place = self.loop, f"in {self.function}, " if self.function else ""
        lines = [f"{self.name}: {self.kind}; compiled in {self.seconds:.2f} s; {self.cache}"]
        if mix.flops:
            where = f" of {os.path.basename(self.source.file)}" if self.source and self.source.file else ""
            text = f"line {self.source.line}{where}: {self.source.text}" if self.source else "its lines are not known"
            lines.append(f"hot loop   {shortened(text, 70)} ({place}{self.depth} deep)")
            lines += [f"  {head:<9}{rest}" for head, rest in _figures(mix, self.host_bits)]
        else:
            lines.append("hot loop   none that computes with floats")
        lines += [f"advice     {self.advice[0]}" if self.advice else "advice     none"]
        lines += [f"           {sentence}" for sentence in self.advice[1:]]
        return "\n".join(part for line in lines for part in _wrapped(line))

    __repr__ = __str__


def _figures(mix: Mix, host_bits: int) -> Iterator[tuple[str, str]]:
    element = f"float{mix.element_bits}"
    if mix.packed:
        yield "vectors", f"{mix.vector_bits} bits, {mix.vector_bits // mix.element_bits} {element} each"
    else:
        yield "vectors", f"none: single {element} numbers"
    yield (
        "compute",
        (
            f"FMA {mix.fma}, multiply {mix.multiplies}, add {mix.adds}, divide {mix.divisions}, "
            f"min/max {mix.compares}; sums in registers {mix.accumulators}"
        ),
    )
    yield (
        "memory",
        (
            f"loads {mix.loads}, stores {mix.stores}, gathers {mix.gathers + mix.scatters}, spills {mix.spills}; "
            f"{mix.bytes_per_flop:.2f} bytes per FLOP"
        ),
    )
    yield (
        "other",
        (
            f"shuffles {mix.shuffles}, conversions {mix.to_float64 + mix.to_integer}, integer divisions "
            f"{mix.integer_divisions}, index tests {mix.index_tests}, branches {mix.branches}, calls {len(mix.calls)}"
        ),
    )
    if mix.fma:
        share = percent(mix.fma_share * (mix.vector_bits or mix.element_bits) / host_bits)
        yield "limit", f"{share} of a core's FMA peak, by its vectors and its loads and stores of first-level cache"


def _wrapped(line: str) -> list[str]:
    """The line in pieces of at most `WIDTH` characters."""
    return textwrap.wrap(line, WIDTH, subsequent_indent=" " * 11) or [""]


def compiled(name: str, function: Any, types: tuple[Any, ...]) -> Inspection:
    """Compile a function anew and look at it."""
    import numba
    from numba.core import config as settings

    from numconv.kernels.cpu.simd import vector_bits

    given = function
    if not hasattr(given, "py_func"):
        given = numba.njit(function)
    fresh = _fresh(given)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of loops without lines
        fresh.compile(types)
    seconds = time.perf_counter() - start
    result = fresh.overloads[types]
    text = result.library.get_asm_str()
    own = result.fndesc.llvm_func_name
    loop, mix, source = _hot(counted(assembly.loops(text), assembly.architecture(text)), own, given.py_func, types)
    place = assembly.readable(loop.function) if loop is not None and loop.function != own else ""
    options = given.targetoptions
    single = {str(t.dtype) for t in types if hasattr(t, "dtype") and hasattr(t, "layout")} == {"float32"}
    cached, state = _cache_state(given, types, function is given)
    seen = Seen(
        mix, source, _fastmath(options.get("fastmath")), single, _float64(result, given.py_func, source),
        tuple(name for name, t in zip(given.py_func.__code__.co_varnames, types) if getattr(t, "layout", "") == "A"),
        vector_bits(),
        bool(options.get("boundscheck") or vars(settings).get("BOUNDSCHECK")), bool(options.get("parallel")),
        "numba_parallel_for" in text, options.get("error_model") == "numpy", function is given, cached, seconds,
    )  # fmt: skip
    parallel = ", parallel" if options.get("parallel") else ""
    how = f"@njit{parallel}" if function is given else "plain Python"
    depth = loop.depth if loop else 0
    return Inspection(name, how, place, depth, mix, source, vector_bits(), seconds, state, advise(seen))


def _fresh(dispatcher: Any) -> Any:
    """A dispatcher like this one, without a cache, that notes the line of each instruction."""
    fresh = type(dispatcher)(
        dispatcher.py_func, dispatcher.locals, dict(dispatcher.targetoptions), dispatcher._compiler.pipeline_class
    )
    customise = fresh._compiler._customize_flags

    def with_lines(flags: Any) -> Any:
        flags = customise(flags)
        flags.debuginfo = flags.dbg_directives_only = True
        return flags

    fresh._compiler._customize_flags = with_lines
    return fresh


def _hot(loops: list[tuple[assembly.Loop, Mix]], own: str, function: Any, types: tuple[Any, ...]) -> Any:
    """The loop that does the work, its instructions, and the loop in Python; `own` is the name of the function's code.

    LLVM often makes two versions of a loop: on vectors for the case that a step happens to be 1, and one for all
    others. Where the source says that the step is not 1, the other version does the work.
    """
    if not loops or not loops[0][1].flops:
        return None, Mix(), None
    loop, mix = loops[0]
    source = _source_of(loop)
    if source is None and (loop.function == own or not assembly.readable(loop.function)):
        source = deepest_loop(function)
    others = [
        (other, mixed)
        for other, mixed in loops[1:]
        if (other.function, other.depth) == (loop.function, loop.depth)
        and mixed.flops
        and not mixed.packed
        and _source_of(other) == source
    ]
    if source is not None and loop.function == own and loop.depth > source.depth:
        source = None  # what stands at that line calls a function that LLVM has put in its place
    source = source and _own(source, function, types)
    special = (source is not None and source.far and not mix.gathers) or any(
        mixed.integer_divisions > mix.integer_divisions for _, mixed in others
    )
    if mix.packed and special and others:
        loop, mix = max(others, key=lambda entry: (entry[1].integer_divisions, entry[1].flops))
    return loop, mix, source


def _own(source: SourceLoop, function: Any, types: tuple[Any, ...]) -> SourceLoop:
    """The loop without its file where that is the function's, and without elements of arrays in Fortran's order."""
    turned = first_axis_inside(function, types)
    own = os.path.basename(source.file) == os.path.basename(function.__code__.co_filename)
    far = tuple(each for each in source.far if each.array not in turned)
    return replace(source, far=far, file="" if own else source.file)


def _source_of(loop: assembly.Loop) -> SourceLoop | None:
    """The loop in Python: lines of its multiplications and stores, else of all of it."""
    by_file: dict[str, list[int]] = {}
    for each in loop.instructions:
        if each.source[1]:
            by_file.setdefault(each.source[0], []).append(each.source[1])
    if not by_file:
        return None
    file = max(by_file, key=lambda name: len(by_file[name]))
    return loop_at(file, by_file[file])


def _fastmath(option: Any) -> set[str]:
    """LLVM's flags."""
    if not option:
        return set()
    if option is True:
        return {"fast", "reassoc", "contract", "nsz", "nnan", "ninf", "arcp", "afn"}
    flags = {name for name, on in option.items() if on} if isinstance(option, dict) else set(option)
    return _fastmath(True) if "fast" in flags else flags


def _float64(result: Any, function: Any, source: SourceLoop | None) -> tuple[tuple[str, int], ...]:
    """Named variables in the loop of a compiled function that are float64, with their lines.

    Those of parallel loops are not among what Numba tells: there it is sums that begin with a literal.
    """
    from numba import types
    from numba.core import ir

    notes = result.type_annotation
    found: dict[str, int] = {}
    for block in getattr(notes, "blocks", {}).values():
        for statement in block.body:
            if isinstance(statement, ir.Assign):
                name = statement.target.name
                if notes.typemap.get(name) == types.float64 and not name.startswith(("$", "_")):
                    found.setdefault(name.partition(".")[0], statement.loc.line)
    inside = names_within(function, source.line) if source else set()
    entries = tuple(sorted(found.items(), key=lambda entry: entry[1])) or started_at_a_literal(function)
    return tuple((name, line) for name, line in entries if name in inside or not inside)


def _cache_state(dispatcher: Any, types: tuple[Any, ...], is_compiled: bool) -> tuple[bool, str]:
    """Whether a dispatcher has a cache on disk, and in words what is in it."""
    from numba.core import sigutils

    cache = dispatcher._cache
    if not is_compiled or cache.cache_path is None:
        return False, "not cached"
    codegen = dispatcher.targetctx.codegen()
    if hasattr(cache, "_cache_file"):  # Numba's
        signature, _ = sigutils.normalize_signature(types)
        there = cache._index_key(signature, codegen) in cache._cache_file._load_index()
    else:
        entry = cache._entry(types, codegen)
        there = entry is not None and os.path.exists(entry[0])
    hits = sum(dispatcher.stats.cache_hits.values())
    loaded = ", loaded from there by this process" if hits else ""
    return True, f"cached on disk{loaded}" if there else "cached once it is compiled"
