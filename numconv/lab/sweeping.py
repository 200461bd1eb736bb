"""`sweep`: every variant that a factory makes of a kernel, checked, inspected and timed in turn."""

from __future__ import annotations

import itertools
import math
import os
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from numconv.lab.cases import conv_cases, pool_cases
from numconv.lab.inspection import inspect
from numconv.lab.layers import Layer, layers
from numconv.lab.operands import Operands
from numconv.lab.timing import Contender, Timing
from numconv.lab.timing import race as timed
from numconv.lab.user_kernel import UserKernel
from numconv.options import get_num_threads
from numconv.problem import ConvProblem, PoolProblem
from numconv.terminal import WIDTH, Progress, as_json, digits, table
from numconv.tracing.records import problem_fields

SMALL = 6  # named cases that each variant computes besides the problem


@dataclass
class Variant:
    """A kernel for one choice of the numbers.

    Attributes
    ----------
    numbers : dict
        What the factory was called with.
    kernel : UserKernel or None
        What it made.
    seconds, gflops, attained : float
        The fastest call, operations of the direct method a second, and their share of the FMA peak of as many threads;
        NaN of one that was dropped. On a GPU the share is that of the least traffic.
    first : float
        Seconds of the first call, which compiles.
    error : float
    inspection : Inspection, DeviceInspection or None
    dropped : str
        Why it was not timed, "" if it was.
    """

    numbers: dict[str, Any]
    kernel: UserKernel | None = None
    seconds: float = math.nan
    gflops: float = math.nan
    attained: float = math.nan
    first: float = math.nan
    error: float = math.nan
    inspection: Any = None
    dropped: str = ""

    @property
    def name(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.numbers.items())


@dataclass
class Sweep:
    """What `lab.sweep` gives. It prints itself, the fastest variant first.

    Attributes
    ----------
    problem : ConvProblem or PoolProblem
    layer : str
        What the problem is called.
    threads : int
    variants : list of Variant
        Those that were timed, the fastest first.
    dropped : list of Variant
    """

    problem: Any
    layer: str
    threads: int
    variants: list[Variant] = field(default_factory=list)
    dropped: list[Variant] = field(default_factory=list)

    @property
    def best(self) -> Variant:
        """The fastest.

        Raises
        ------
        ValueError
            If all were dropped; the message says why.
        """
        if not self.variants:
            raise ValueError(f"every variant was dropped; {self.dropped[0].name}: {self.dropped[0].dropped}")
        return self.variants[0]

    def to_dict(self) -> dict[str, Any]:
        """Every figure, as JSON takes it; times in seconds."""
        found = {"layer": self.layer, "problem": problem_fields(self.problem), "threads": self.threads}
        return found | {
            "variants": [_as_dict(variant) for variant in self.variants],
            "dropped": [{"numbers": v.numbers, "reason": v.dropped} for v in self.dropped],
        }

    def json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` to a file."""
        Path(path).write_text(as_json(self.to_dict()), "utf-8")

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        lines = [f"{self.layer}, {self.problem.dtype}, {threads}"]
        if self.variants:
            names = list(self.variants[0].numbers)
            rows = [(*names, "ms", "GF/s", "of peak", *_seen(None))]
            for v in self.variants:
                figures = (digits(v.seconds * 1e3), digits(v.gflops), f"{v.attained:.0%}")
                rows.append((*map(str, v.numbers.values()), *figures, *_seen(v.inspection)))
            lines.append(table(rows, left=0))
            advice = self.variants[0].inspection.advice
            lines += [f"the fastest: {sentence}" for sentence in advice]
        lines += [f"dropped {v.name}: {v.dropped}" for v in self.dropped]
        return "\n".join(part for line in lines for part in _cut(line))

    __repr__ = __str__


def _cut(text: str) -> list[str]:
    """A sentence in lines of at most `WIDTH` characters; a table as it is."""
    return [text] if "\n" in text else textwrap.wrap(text, WIDTH, subsequent_indent="    ")


def _as_dict(variant: Variant) -> dict[str, Any]:
    names = ("numbers", "seconds", "gflops", "attained", "first", "error")
    found = {name: getattr(variant, name) for name in names}
    return found | {"inspection": variant.inspection.to_dict()}


def _seen(inspection: Any) -> tuple[str, ...]:
    """Columns of what `inspect` saw; their names of None."""
    if inspection is None:
        return "bits", "FMA", "loads", "stores", "sums"
    if not hasattr(inspection, "depth"):  # of a GPU
        return "32", str(inspection.loop["FFMA"]), *(str(_starting(inspection, n)) for n in ("LDG", "STG")), "-"
    mix = inspection.loop
    return str(mix.vector_bits), str(mix.fma), str(mix.loads), str(mix.stores), str(mix.accumulators)


def _starting(inspection: Any, name: str) -> int:
    return sum(count for full, count in inspection.loop.items() if full.startswith(name))


def sweep(
    factory: Callable[..., Any],
    *,
    problem: Any,
    rounds: int = 3,
    seconds: float = 0.05,
    **numbers: Sequence[Any],
) -> Sweep:
    """Make a kernel for every choice of numbers; check, inspect and time them all.

    A variant is dropped, and the reason kept, where the factory refuses its numbers with a ValueError, where it does
    not compile, spills registers in its hot loop, does not take the problem, or is wrong: on the problem itself, or on
    the first of the small named cases of `numconv.lab.cases` that it takes. Those that are left are timed in turn.

    Parameters
    ----------
    factory : callable
        Called with the numbers by name, it returns a function that computes the problem's operation, or what
        `lab.kernel` made of one.
    problem : ConvProblem, PoolProblem or str
        One; a text names a layer, such as "resnet50/stage2_3x3".
    rounds : int
    seconds : float
        For which one variant is called in one round.
    **numbers : sequence
        What to choose from, for each parameter of the factory.

    Returns
    -------
    Sweep
        `print` shows a table; `.best.kernel` is the fastest kernel, `.best.numbers` its numbers.

    Raises
    ------
    ValueError, TypeError
        If there is nothing to choose from, or not one problem.
    MissingPart
        If the problem is one for a GPU, and there is none.

    Examples
    --------
    >>> found = sweep(make, rows=[4, 6, 8], unroll=[1, 2, 4], problem="resnet50/stage2_3x3")  # doctest: +SKIP
    """
    choices = _choices(numbers)
    asked = layers(problem)
    if len(asked) != 1:
        raise ValueError(f"problem must be one, got {len(asked)}: {', '.join(layer.name for layer in asked[:4])}, ...")
    layer = asked[0]
    if layer.problem.device == "cuda":
        from numconv.kernels.cuda import toolkit

        toolkit.need()
    operands = Operands(layer.problem)
    found = Sweep(layer.problem, layer.name, get_num_threads())
    running: list[tuple[Variant, Contender]] = []
    with Progress("variants", len(choices)) as progress:
        for chosen in choices:
            variant = Variant(chosen)
            progress.begin(variant.name)
            variant.dropped, contender = _prepared(factory, variant, layer, operands)
            if contender is None:
                found.dropped.append(variant)
            else:
                running.append((variant, contender))
        progress.say(f"timing {len(running)} variants")
        timings = _timed([contender for _, contender in running], operands, rounds, seconds)
    for (variant, _), timing in zip(running, timings):
        _note(variant, timing, operands)
        (found.dropped if variant.dropped else found.variants).append(variant)
    found.variants.sort(key=lambda variant: variant.seconds)
    return found


def _choices(numbers: dict[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every choice, or an error."""
    if not numbers:
        raise TypeError("numbers must be given, such as rows=[4, 6, 8]: there is nothing to choose from")
    for name, values in numbers.items():
        if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or len(values) == 0:
            raise TypeError(f"{name} must be a list of values to choose from, got {values!r}")
    return [dict(zip(numbers, values)) for values in itertools.product(*numbers.values())]


def _prepared(
    factory: Callable[..., Any], variant: Variant, layer: Layer, operands: Operands
) -> tuple[str, Contender | None]:
    """Make, check on small problems and inspect a variant: why it is dropped, or what can be timed."""
    problem = layer.problem
    try:
        made = factory(**variant.numbers)
    except ValueError as error:
        return f"the factory refuses: {error}", None
    kernel = made if isinstance(made, UserKernel) else _kernel(made, problem, variant.name)
    variant.kernel = kernel
    reason = kernel.rejects(problem)
    if reason is not None:
        return f"it does not take the problem: {reason}", None
    try:
        variant.inspection = inspect(kernel, problem=problem)
        spills = getattr(variant.inspection, "spills", None)
        spills = variant.inspection.loop.spills if spills is None else spills
        if spills:
            return f"{spills} {'bytes spill' if problem.device == 'cuda' else 'spills in the hot loop'}", None
        for small in itertools.islice(_small(kernel, problem), SMALL):
            asked = Operands(small)
            wrong = _error(asked.runner(kernel)(), asked)
            if not wrong <= asked.tolerance:
                return f"wrong on {small.brief}: error {wrong:.1e}, at most {asked.tolerance:.0e} is right", None
        return "", Contender(variant.name, operands.runner(kernel), True, operands.read)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}", None


def _kernel(function: Any, problem: Any, name: str) -> UserKernel:
    """A function as a kernel of the problem's operation, layout and dtype."""
    layout = problem.layout if isinstance(problem, PoolProblem) else problem.layout_in
    return UserKernel(
        problem.operation, function, name, grid=None, block=None, default=False, device=problem.device, layout=layout,
        dtypes=(problem.dtype.name,),
    )  # fmt: skip


def _small(kernel: UserKernel, problem: Any) -> Iterator[Any]:
    """Small problems of the same operation that the kernel takes."""
    pooling = isinstance(problem, PoolProblem)
    made = _poolings(problem) if pooling else _convolutions(problem)
    yield from (small for small in made if kernel.rejects(small) is None)


def _poolings(problem: PoolProblem) -> Iterator[PoolProblem]:
    if problem.operation.removesuffix(f"{problem.ndim}d") not in ("max_pool", "avg_pool"):
        return  # the others are checked on the problem alone
    for case in pool_cases(f"{problem.ndim}d"):
        yield PoolProblem.make(
            problem.operation, _shape(case.x_shape, problem.layout), problem.dtype, kernel_size=case.kernel,
            stride=case.stride, padding=case.padding, dilation=case.dilation, ceil_mode=case.ceil_mode,
            data_format=problem.layout,
        )  # fmt: skip


def _convolutions(problem: ConvProblem) -> Iterator[ConvProblem]:
    forward = problem.operation.removesuffix("_input").removesuffix("_weight")
    for case in conv_cases(f"{problem.ndim}d"):
        if case.transposed == ("transpose" in forward) and "empty" not in case.tags:
            options: dict[str, Any] = {**case.options, "data_format": problem.layout_in}
            shape = _shape(case.x_shape, problem.layout_in)
            yield ConvProblem.make(forward, shape, case.weight_shape, problem.dtype, **options).with_operation(
                problem.operation
            )


def _shape(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """A channels-first shape in a layout."""
    return (shape[0], *shape[2:], shape[1]) if layout == "channels_last" else shape


def _error(result: Any, operands: Operands) -> float:
    return float(np.max(np.abs(operands.read(result) - operands.expected), initial=0)) / operands.scale


def _timed(ways: list[Contender], operands: Operands, rounds: int, seconds: float) -> list[Timing]:
    options: dict[str, Any] = {"tolerance": operands.tolerance, "rounds": rounds, "budget": seconds}
    if operands.problem.device == "cuda":
        from numconv.lab.device_race import device_race

        return device_race(ways, operands.expected, operands.scale, **options)
    return timed(ways, operands.expected, operands.scale, **options)


def _note(variant: Variant, timing: Timing, operands: Operands) -> None:
    """What a timing says of a variant."""
    problem = operands.problem
    variant.first, variant.error = timing.first, timing.error
    if timing.failure:
        variant.dropped = timing.failure
    elif not timing.error <= operands.tolerance:
        variant.dropped = f"wrong: error {timing.error:.1e}, at most {operands.tolerance:.0e} is right"
    if variant.dropped:
        return
    variant.seconds = timing.seconds
    variant.gflops = problem.flops / timing.seconds / 1e9
    if problem.device == "cuda":
        from numconv.lab.device_race import copy_bandwidth

        variant.attained = problem.bytes / timing.seconds / copy_bandwidth()
    else:
        from numconv.lab.roofline import ceilings

        wide = "float64" if problem.dtype == np.float64 else "float32"
        variant.attained = variant.gflops / ceilings(get_num_threads()).fma[wide]
