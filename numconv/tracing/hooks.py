"""How a trace sees: wrappers around the methods that calls go through, and a listener to Numba's compiler.

They are in place while a trace is open, so that calls pay nothing otherwise: a test of a flag in `Call.run` would be a
hundredth of the shortest. What they measure of a call is kept by thread, since a call compiles, packs and computes in
its own. Every open trace gets everything.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from numconv import algorithm, forks
from numconv.algorithm import candidates
from numconv.autograd import walk
from numconv.graph import device_executor, executor
from numconv.kernels.cpu.replay import Replay
from numconv.nn import Module
from numconv.ops import convolution, device, pooling_call
from numconv.ops.choice import roofline
from numconv.options import get_num_threads, options
from numconv.plan import Call as PlanCall
from numconv.plan import Plan
from numconv.tracing import compilers
from numconv.tracing.records import Call, Candidate, Span, thread_number

_lock = threading.RLock()  # held while traces open and close
forks.locks.append(_lock)
_open: tuple[Any, ...] = ()  # traces
_restore = contextlib.ExitStack()  # puts back what was replaced
_weighed_before: dict[Any, list[tuple[Any, float, str | None]]] = {}


class _Thread(threading.local):
    """What a thread has spent so far, and where it is."""

    compiling = packing = 0.0
    compiled = 0  # functions
    chosen: tuple[Any, float] = (None, 0.0)  # the problem of a new call, and what it took to choose
    ahead: float | None = None  # what the weight took to pack that a GPU's call is to get
    names: dict[int, str] | None = None  # of modules within the outermost one
    layer = ""
    frozen = False


_here = _Thread()


def open_trace(trace: Any) -> None:
    """Let a trace have what is seen from now on."""
    global _open  # noqa: PLW0603
    with _lock:
        if any(other is trace for other in _open):
            raise RuntimeError("this trace is open already: open another by numconv.trace()")
        if not _open:
            try:
                _install()
            except BaseException:
                _restore.close()
                raise
        _open = (*_open, trace)


def close_trace(trace: Any) -> None:
    """Let it have no more."""
    global _open  # noqa: PLW0603
    with _lock:
        _open = tuple(other for other in _open if other is not trace)
        if not _open:
            _restore.close()
            _weighed_before.clear()


def _tell(span: Span) -> None:
    for trace in _open:
        trace.add(span)


def _install() -> None:
    for owner, name, wrapper in (
        (PlanCall, "run", _run),
        (PlanCall, "_pack", _pack),
        (Replay, "__call__", _replay),
        (pooling_call.Call, "run", _run),
        (Plan, "_checked", _choice),
        (convolution, "_checked", _choice),
        (convolution, "_checked_gradient", _choice),
        (convolution, "make_plan", _planning),
        (pooling_call, "_choose", _choice),
        (algorithm, "_load", _loading),
        (executor.Frame, "run", _frame),
        (device_executor.Frame, "run", _device_frame),
        (walk, "_step", _gradient),
        (Module, "__call__", _module),
    ):
        original = vars(owner)[name]
        setattr(owner, name, functools.wraps(original)(wrapper(original)))
        _restore.callback(setattr, owner, name, original)
    device.observer = _observer
    _restore.callback(setattr, device, "observer", None)
    _listen()


@contextlib.contextmanager
def _span(name: str, kind: str) -> Iterator[None]:
    start = perf_counter()
    try:
        yield
    finally:
        _tell(Span(name, kind, start, perf_counter() - start, thread_number()))


def _measured(
    problem: Any, chosen: Any, way: str, weight: Any, compute: Callable[[], Any], ahead: float = 0.0
) -> Any:  # fmt: skip
    """What `compute` gives; every open trace is told of the call.

    `weight` is one that the call packs, `ahead` the seconds for which one was packed before.
    """
    here = _here
    compiling, packing, compiled = here.compiling, here.packing, here.compiled
    (asked, choosing), here.chosen = here.chosen, (None, 0.0)
    error, start = "", perf_counter()
    try:
        return compute()
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        seconds = perf_counter() - start
        compiling, packing = here.compiling - compiling, here.packing - packing
        choosing = choosing if asked is problem else 0.0
        floors = roofline(problem)
        _tell(
            Call(
                problem.operation, "call", start, seconds, thread_number(), problem, chosen.name, way, here.layer,
                _weighed(problem, way != "call", weight), choosing, compiling, packing + ahead,
                max(seconds - compiling - packing, 1e-9), here.compiled - compiled, get_num_threads(),
                max(floors) if floors else None, error,
            )
        )  # fmt: skip


def _weighed(problem: Any, packed: bool, weight: Any) -> list[Candidate]:
    """Who could have run; looked up once for each problem, but for what a weight's values say."""
    key = problem, packed, options.version
    if key not in _weighed_before:
        _weighed_before[key] = candidates(problem, packed=packed)
    found = []
    for a, cost, reason in _weighed_before[key]:
        asked = reason is None and weight is not None and a.reads_weight
        said = a.rejects_weight(problem, weight) if asked else reason
        found.append(Candidate(a.name, cost if said is None else None, said))
    return found


def _run(original: Callable[..., Any]) -> Callable[..., Any]:
    """Around `run` of what is remembered of a call, of a convolution or a pooling."""

    def run(call: Any, *operands: Any) -> Any:
        packs = getattr(call, "packs", True)
        way = "frozen" if _here.frozen else "call" if packs else "plan"
        of_weight = packs and isinstance(call, PlanCall) and call.problem.direction != "weight"
        compute = functools.partial(original, call, *operands)
        return _measured(call.problem, call.algorithm, way, operands[0] if of_weight else None, compute)

    return run


@contextlib.contextmanager
def _packing() -> Iterator[None]:
    """Count the block's time as packing, less what is compiled in it."""
    start, compiling = perf_counter(), _here.compiling
    try:
        with _span("pack", "pack"):
            yield
    finally:
        _here.packing += perf_counter() - start - (_here.compiling - compiling)


def _pack(original: Callable[..., Any]) -> Callable[..., Any]:
    def pack(call: PlanCall, weight: Any) -> Any:
        if not call.packs:
            return original(call, weight)
        with _packing():
            return original(call, weight)

    return pack


def _replay(original: Callable[..., Any]) -> Callable[..., Any]:
    def replay(again: Replay, *operands: Any) -> None:
        with contextlib.ExitStack() as stack:
            if again.packs:
                stack.enter_context(_packing())
            again.apart(stack.close, *operands)

    return replay


def _choice(original: Callable[..., Any]) -> Callable[..., Any]:
    """Around what checks arguments and selects, before a call that is new."""

    def choose(*arguments: Any) -> Any:
        start, compiling = perf_counter(), _here.compiling
        with _span("choose", "choose"):
            call = original(*arguments)
        _here.chosen = call.problem, perf_counter() - start - (_here.compiling - compiling)
        return call

    return choose


def _planning(original: Callable[..., Any]) -> Callable[..., Any]:
    """Around the making of a plan, which packs its weight."""

    def make(problem: Any, *arguments: Any) -> Any:
        with _span(f"plan {problem.operation}", "plan"):
            return original(problem, *arguments)

    return make


def _frame(original: Callable[..., Any]) -> Callable[..., Any]:
    """Around a call of a frozen model."""

    def each(node: Any, step: Any) -> None:
        problem = getattr(step, "problem", None)
        if problem is not None:
            _measured(problem, step.algorithm, "frozen", None, step)
        elif "plan" in node.attributes:
            step()
        else:
            with _span(node.operation, "operation"):
                step()

    def run(frame: Any, arrays: Any) -> Any:
        before, _here.frozen = _here.frozen, True
        try:
            with _span("frozen model", "model"):
                return original(frame, arrays, each)
        finally:
            _here.frozen = before

    return run


def _device_frame(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(frame: Any, arrays: Any) -> Any:
        before, _here.frozen = _here.frozen, True
        try:
            with _span("frozen model", "model"):
                return original(frame, arrays, apart=True)
        finally:
            _here.frozen = before

    return run


def _gradient(original: Callable[..., Any]) -> Callable[..., Any]:
    """Around the rule of one node of the tape."""

    def step(apply: Any, wrap: Any, node: Any, *rest: Any) -> None:
        with _span(f"gradient of {node.operation}", "gradient"):
            original(apply, wrap, node, *rest)

    return step


def _module(original: Callable[..., Any]) -> Callable[..., Any]:
    """Around a module's call: calls within are told the module's name in the outermost one."""

    def call(module: Any, *args: Any, **kwargs: Any) -> Any:
        here = _here
        outermost, before = here.names is None, here.layer
        if here.names is None:
            here.names = {id(part): name for name, part in module.named_modules()}
        here.layer = here.names.get(id(module), "") or type(module).__name__
        try:
            with _span(here.layer, "layer"):
                return original(module, *args, **kwargs)
        finally:
            here.layer = before
            if outermost:
                here.names = None

    return call


def _observer(what: str, call: Any, function: Callable[[], Any]) -> Any:
    """Of the two parts of a call on a GPU, each of which is waited for."""
    from numconv.cuda import synchronize

    def wait() -> Any:
        result = function()
        synchronize()
        return result

    synchronize()
    if what == "pack":
        start = perf_counter()
        with _span("pack", "pack"):
            packed = wait()
        _here.ahead = perf_counter() - start
        return packed
    ahead, _here.ahead = _here.ahead, None
    planned = ahead is None and getattr(call.problem, "direction", "weight") != "weight"
    way = "frozen" if _here.frozen else "plan" if planned else "call"
    return _measured(call.problem, call.algorithm, way, None, wait, ahead or 0.0)


def _loading(original: Callable[..., Any]) -> Callable[..., Any]:
    """Around the loading of kernels, which brings Numba."""

    def load(name: str) -> Any:
        with _span(f"load {name}", "load"):
            module = original(name)
        with _lock:
            _listen()
        return module

    return load


def _listen() -> None:
    """Hear Numba's compilers, once they are loaded."""
    compilers.listen(_restore, _compiled, _function)


def _compiled(seconds: float) -> None:
    _here.compiling += seconds


def _function(name: str, start: float, seconds: float) -> None:
    _here.compiled += 1
    _tell(Span(f"compile {name}", "compile", start, seconds, thread_number()))
