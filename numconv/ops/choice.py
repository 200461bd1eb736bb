"""Which algorithm runs and why: `explain` prints the candidates, `tune` times the best of them."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from numconv import measured
from numconv.algorithm import Algorithm, algorithms, candidates, select
from numconv.kernels.cpu.memory import native
from numconv.measured import Times
from numconv.ops.convolution import as_array, common_dtype
from numconv.ops.device import gpu, on_gpu
from numconv.ops.pooling_call import pool_problem
from numconv.options import get_num_threads, options
from numconv.plan import check_residual, execute, swept_view
from numconv.problem import (
    LAST,
    ConvProblem,
    PoolProblem,
    accumulator_dtype,
    integer,
    spatial_axes,
    with_batch,
)

_TURN = 2e-3  # seconds for which one candidate runs before the next takes its turn
_LOST = 2.0  # candidates so many times slower than the best are not timed again


class _Call(NamedTuple):
    """A convolution as a call sees it; `x` is batched, as it is swept."""

    problem: ConvProblem
    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None
    residual: np.ndarray | None


class Explanation:
    """The candidates for a problem: str() gives the table.

    Attributes
    ----------
    problem : ConvProblem or PoolProblem
    algorithm : str
        Name of the one that runs in a functional call, which packs the weight each time.
    planned : str
        Name of the one that a plan takes, whose weight is packed beforehand; the same of gradients and poolings.
    rejected : dict
        A sentence for each name that is not chosen automatically.
    estimated : dict
        Seconds of a functional call on one thread for each of the others.
    measured : dict
        (prepare, run) in seconds for each that `tune` timed, with the present number of threads.
    floor : float or None
        The least seconds that the machine allows direct summation; None where its ceilings were not measured.
    """

    def __init__(self, problem: Any, weight: np.ndarray | None, name: str) -> None:
        rows = candidates(problem, weight=weight)
        self.problem = problem
        self.algorithm = select(problem, name, weight=weight).name
        self.planned = select(problem, name, packed=_planned(problem), weight=weight).name
        self.rejected = {a.name: reason for a, _, reason in rows if reason is not None}
        self.estimated = {a.name: cost for a, cost, reason in rows if reason is None}
        self.measured = measured.times(problem)
        self._floor = roofline(problem)
        self.floor = max(self._floor) if self._floor else None
        self._algorithms = [a for a, _, _ in rows]

    def __str__(self) -> str:
        lines = [_title(self.problem)]
        for algorithm in self._algorithms:
            name = algorithm.name
            mark = "->" if name == self.algorithm else "  "
            lines.append(f"{mark} {name:12s} {self._said(algorithm)}")
        if self.planned != self.algorithm:
            lines.append(f"   a plan, which packs the weight once, takes {self.planned}")
        return "\n".join([*lines, f"   {'floor':12s} {self._floor_said()}"])

    def _said(self, algorithm: Algorithm) -> str:
        """What is known of one candidate."""
        name, p = algorithm.name, self.problem
        if name in self.rejected:
            return f"rejected: {self.rejected[name]}"
        said = f"{_ms(self.estimated[name])} estimated{'' if p.device == 'cuda' else ' on one thread'}, "
        if name in self.measured:
            seconds = self.measured[name]
            said += f"{_ms(seconds.run)} measured and {_ms(seconds.prepare)} to pack, "
        return said + f"{algorithm.workspace(p):,} bytes of workspace, error bound {algorithm.error_bound(p):.0e}"

    def _floor_said(self) -> str:
        """The roofline's least time of direct summation."""
        if self.problem.device == "cuda":
            return "not known of a GPU"
        if self._floor is None:
            return "not measured: run numconv bench --roofline"
        arithmetic, memory = self._floor
        return (
            f"{_ms(max(arithmetic, memory))} by the roofline on {_threads()}: "
            f"{_ms(arithmetic)} of arithmetic if summed directly, {_ms(memory)} of memory"
        )

    def __repr__(self) -> str:
        return f"<Explanation of {self.problem.operation}: {self.algorithm}>"


class Tuning:
    """What `tune` found: str() gives the table, best first.

    Attributes
    ----------
    problem : ConvProblem
    times : dict
        (prepare, run) in seconds for each algorithm that was timed: to pack the weight, and to run.
    algorithm : str
        The fastest to run, which a plan takes for `algorithm="tuned"`; of a gradient, which packs in each call, the
        fastest to pack and run.
    in_calls : str
        The fastest to pack and run, which a functional call takes for `algorithm="tuned"`.
    not_kept : str
        Why the times were not written to disk, "" if they were. This process remembers them all the same.
    """

    def __init__(self, call: _Call, times: dict[str, Times], estimated: dict[str, float], not_kept: str) -> None:
        self.problem = call.problem
        self.times = times
        self.estimated = estimated
        self.not_kept = not_kept
        self.algorithm = select(call.problem, "tuned", packed=_planned(call.problem), weight=call.weight).name
        self.in_calls = select(call.problem, "tuned", weight=call.weight).name

    def __str__(self) -> str:
        lines = [f"{_title(self.problem)}, on {_threads()}"]
        for name in sorted(self.times, key=lambda name: self.times[name].run):
            prepare, run = self.times[name]
            said = f"{name:12s} {_ms(run)} to run, {_ms(prepare)} to pack, {_ms(self.estimated[name])} estimated"
            lines.append(f"{'->' if name == self.algorithm else '  '} {said}")
        if self.in_calls != self.algorithm:
            lines.append(f"   calls, which pack the weight each time, take {self.in_calls}")
        if self.not_kept:
            lines.append(f"   remembered by this process only: {self.not_kept}")
        return "\n".join(lines)

    __repr__ = __str__


def explain(operation: str, x: Any, weight: Any = None, bias: Any = None, **arguments: Any) -> Explanation:
    """Print which algorithms could run a convolution or pooling, in the order of the table, and which one does.

    Parameters
    ----------
    operation : str
        A name that `algorithms` takes, such as "conv2d", "conv_transpose1d", "conv2d_weight" or "max_pool2d".
    x, weight : array_like
        Of the forward operation, as for `conv2d`; for a gradient x is the input. Poolings have no weight. Arrays on a
        GPU give the GPU's candidates.
    bias : array_like, optional
    **arguments
        The operation's options; of a pooling's gradient, those of the pooling.

    Returns
    -------
    Explanation
        With `algorithm` (the name of the one chosen) and `rejected` (a sentence for each name).

    Raises
    ------
    ValueError, TypeError
        As the operation.

    Examples
    --------
    >>> import numpy as np, numconv as nc
    >>> nc.explain("max_pool2d", np.ones((1, 3, 8, 8), np.float32), kernel_size=2).algorithm  # doctest: +SKIP
    'separable'
    """
    name = arguments.pop("algorithm", "auto")
    algorithms(operation)  # refuses names that are none
    problem: ConvProblem | PoolProblem
    if operation.startswith("conv") and on_gpu(x, weight, bias):
        problem, values = gpu("convolution").problem(operation, x, weight, bias, arguments), None
    elif operation.startswith("conv"):
        call = _call(operation, x, weight, bias, arguments)
        problem, values = call.problem, None if call.problem.direction == "weight" else call.weight
    elif weight is not None or bias is not None:
        raise TypeError(f"weight and bias must be left out for {operation}: name its options, such as kernel_size")
    else:
        problem, values = pool_problem(operation, as_array("x", x), **arguments), None
    explanation = Explanation(problem, values, name)
    print(explanation)
    return explanation


def tune(
    operation: str, x: Any, weight: Any, bias: Any = None, *, best_of: int = 4, seconds: float = 1.0, **arguments: Any
) -> Tuning:
    """Time the most promising algorithms of a convolution and remember the times for `algorithm="tuned"`.

    They are kept in the folder of compiled kernels and count for this problem (every shape and option, bias and
    activation included), processor, number of threads and version of numconv.

    Parameters
    ----------
    operation : str
        "conv{n}d", "conv_transpose{n}d", "conv{n}d_input" or "conv{n}d_weight".
    x, weight : array_like
        Of the forward convolution, as for `conv2d`; for a gradient x is the input, and any output gradient is taken.
    bias : array_like, optional
    best_of : int
        How many algorithms are timed: the cheapest by estimate of those that do not reject.
    seconds : float
        After about so many, beside compiling, it ends; each is timed at least once. Those after the first whose
        estimate alone is longer are not timed.
    **arguments
        The operation's options.

    Returns
    -------
    Tuning
        Prints as a table of name, times and estimate.

    Raises
    ------
    ValueError, TypeError
        As the operation.

    Examples
    --------
    >>> import numpy as np, numconv as nc
    >>> x, weight = np.ones((1, 64, 56, 56), np.float32), np.ones((64, 64, 3, 3), np.float32)
    >>> print(nc.tune("conv2d", x, weight, padding=1))  # doctest: +SKIP
    >>> plan = nc.plan("conv2d", x.shape, weight, padding=1, algorithm="tuned")  # doctest: +SKIP
    """
    best_of = integer("best_of", best_of, 1)
    if not seconds > 0:
        raise ValueError(f"seconds must be above 0, got {seconds!r}")
    algorithms(operation)
    if not operation.startswith("conv"):
        raise ValueError(f"operation must be a convolution or a gradient of one, got {operation!r}")
    call = _call(operation, x, weight, bias, arguments)
    if call.problem.direction == "weight":
        call = call._replace(weight=_gradient(call.problem))
    elif operation.endswith("_input"):
        call = call._replace(x=_gradient(call.problem))
    problem = call.problem
    rows = candidates(problem, packed=_planned(problem), weight=call.weight)
    taking = sorted(((cost, a) for a, cost, reason in rows if reason is None), key=lambda row: row[0])[:best_of]
    chosen = [a for i, (cost, a) in enumerate(taking) if i == 0 or cost <= seconds]
    times = _timed(call, chosen, seconds) if math.prod(problem.result_shape) else {}
    not_kept = measured.keep_times(problem, times) if times else ""
    options.version += 1  # what calls remember of "tuned" may be another now
    return Tuning(call, times, {a.name: cost for cost, a in taking}, not_kept)


def _timed(call: _Call, entries: list[Algorithm], seconds: float) -> dict[str, Times]:
    """The shortest times of each algorithm. They take turns, so that what else the machine does hits all alike."""
    problem, x, weight, bias, residual = call
    out = np.empty(problem.result_shape, problem.dtype)

    def prepare(algorithm: Algorithm) -> tuple[float, np.ndarray]:
        start = time.perf_counter()
        packed = algorithm.prepare(problem, weight)
        return time.perf_counter() - start, packed

    def run(algorithm: Algorithm, packed: np.ndarray) -> float:
        start = time.perf_counter()
        execute(problem, algorithm, packed, x, bias, residual, out)
        return time.perf_counter() - start

    for algorithm in entries:  # compiles
        run(algorithm, prepare(algorithm)[1])
    best = {algorithm.name: Times(math.inf, math.inf) for algorithm in entries}
    end = time.perf_counter() + seconds
    while entries:
        for algorithm in entries:
            turn = time.perf_counter() + _TURN
            packing, packed = prepare(algorithm)
            running = run(algorithm, packed)
            while time.perf_counter() < turn:
                running = min(running, run(algorithm, packed))
            before = best[algorithm.name]
            best[algorithm.name] = Times(min(before.prepare, packing), min(before.run, running))
        if time.perf_counter() > end:
            break
        least = min(best[a.name].run for a in entries), min(sum(best[a.name]) for a in entries)
        entries = [a for a in entries if best[a.name].run < _LOST * least[0] or sum(best[a.name]) < _LOST * least[1]]
    return best


def _planned(problem: ConvProblem | PoolProblem) -> bool:
    """Whether it may be asked of a plan, whose weight is packed beforehand."""
    return isinstance(problem, ConvProblem) and not problem.operation.endswith(("_input", "_weight"))


def _call(operation: str, x: Any, weight: Any, bias: Any, arguments: dict[str, Any]) -> _Call:
    """The problem that a call of these makes, and its operands as algorithms get them."""
    x, weight = as_array("x", x), as_array("weight", weight)
    bias = None if bias is None else as_array("bias", bias)
    ndim, gradient = spatial_axes(operation), operation.endswith(("_input", "_weight"))
    residual, activation = arguments.pop("residual", None), arguments.get("activation")
    if arguments.pop("padding_mode", "zeros") != "zeros":
        raise ValueError("padding_mode must be 'zeros': pad x first")
    if gradient and not (bias is residual is activation is None):
        raise TypeError(f"bias, residual and activation must be left out for {operation}")
    whole = with_batch("x", x.shape, operation)
    batched = x.ndim == len(whole)
    dtype = common_dtype(x=x, weight=weight, bias=bias)
    problem = ConvProblem.make(
        f"conv{ndim}d" if gradient else operation, whole, weight.shape, dtype,
        bias_shape=None if bias is None else bias.shape, residual=residual is not None, **arguments,
    )  # fmt: skip
    if residual is not None:
        residual = check_residual(residual, problem.result_shape[0 if batched else 1 :], dtype)
        residual = residual if batched else residual[None]
    x = native(x.astype(dtype, copy=False))
    x = x if batched else x[None]
    if gradient:
        problem = problem.with_operation(operation)
    else:
        x, from_last = swept_view(x, problem.layout_out)
        problem = replace(problem, layout_in=LAST) if from_last else problem
    return _Call(problem, x, native(np.ascontiguousarray(weight, dtype)), bias, residual)


def _gradient(problem: ConvProblem) -> np.ndarray:
    """An output's gradient: any numbers will do."""
    return np.random.default_rng(0).random(problem.output_shape, np.float32).astype(problem.dtype)


def roofline(problem: Any) -> tuple[float, float] | None:
    """(seconds of arithmetic, seconds of memory) at the machine's ceilings: no direct summation takes less than both.

    The rate of float32 stands for all that is summed in it; float64 has half of it, a complex product is four real
    ones. Integers' rate is not measured and counts as unlimited.
    """
    ceilings, threads = measured.ceilings(), get_num_threads()
    if ceilings is None or problem.device == "cuda":
        return None
    fma = min(threads * ceilings.fma_1, ceilings.fma_all)
    bandwidth = min(threads * ceilings.bandwidth_1, ceilings.bandwidth_all)
    width = accumulator_dtype(problem.dtype).itemsize / 4  # of a complex number twice the part's
    work = {"i": 0.0, "u": 0.0, "c": 2 * width}.get(problem.dtype.kind, width)
    return problem.flops * work / fma / 1e9, problem.bytes / bandwidth / 1e9


def _title(problem: ConvProblem | PoolProblem) -> str:
    if isinstance(problem, PoolProblem):
        size = f"{problem.input_shape} to {problem.output_shape}, {problem.dtype}, {problem.flops:,} operations"
    else:
        size = (
            f"{problem.input_shape} and {problem.weight_shape}, {problem.dtype}, "
            f"{problem.multiply_adds:,} multiply-adds"
        )
    return f"{problem.operation}: {size}, {problem.bytes:,} bytes"


def _threads() -> str:
    n = get_num_threads()
    return f"{n} thread{'s' * (n > 1)}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4f} ms"
