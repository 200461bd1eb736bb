"""`sweep`: every variant that a factory makes of a kernel, checked, inspected and timed in turn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from typing import Any

import numpy as np

from numconv.lab.cases import conv_cases, pool_cases
from numconv.lab.inspection import inspect
from numconv.lab.layers import Layer, layers
from numconv.lab.operands import Operands
from numconv.lab.source import shortened
from numconv.lab.sweep_result import Sweep, Variant
from numconv.lab.timing import Contender, Timing, timed_for
from numconv.lab.timing import race as timed
from numconv.lab.user_kernel import UserKernel
from numconv.ops.custom import python
from numconv.options import get_num_threads
from numconv.problem import ConvProblem, PoolProblem, accumulator_dtype
from numconv.terminal import Progress

SMALL = 6  # named cases that each variant computes besides the problem


def sweep(
    factory: Callable[..., Any],
    *,
    problem: Any,
    rounds: int = 3,
    seconds: float = 0.05,
    **numbers: Sequence[Any],
) -> Sweep:
    """Make a kernel for every choice of numbers; check, inspect and time them all.

    A variant is dropped, and the reason kept, where the factory refuses its numbers with a ValueError or raises another
    error, where it does not compile, spills registers in its hot loop, does not take the problem, or is wrong: on the
    problem itself, or on the first of the small named cases of `numconv.lab.cases` that it takes. Those that are left
    are timed in turn.

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
    rounds, seconds = timed_for(rounds, seconds, (3, 0.05))
    choices = _choices(numbers)
    _check(factory, choices[0])
    asked = layers(problem)
    if len(asked) != 1:
        raise ValueError(f"problem must be one, got {len(asked)}: {', '.join(layer.name for layer in asked[:4])}, ...")
    layer = asked[0]
    if layer.problem.device == "cuda":
        from numconv.kernels.cuda import toolkit

        toolkit.need()
    operands = Operands(layer.problem)
    out = operands.unfilled()  # of all variants: a thousand results of their own may not fit
    found = Sweep(layer.problem, layer.name, get_num_threads())
    running: list[tuple[Variant, Contender]] = []
    with Progress("variants", len(choices)) as progress:
        for chosen in choices:
            variant = Variant(chosen)
            progress.begin(variant.name)
            variant.dropped, contender = _prepared(factory, variant, layer, operands, out)
            if contender is None:
                found.dropped.append(variant)
            else:
                running.append((variant, contender))
        timings = _timed([contender for _, contender in running], operands, rounds, seconds, progress)
    least = _least(operands.problem) if running else math.nan
    for (variant, _), timing in zip(running, timings):
        _note(variant, timing, operands, least)
        (found.dropped if variant.dropped else found.variants).append(variant)
    found.variants.sort(key=lambda variant: variant.seconds)
    return found


def _choices(numbers: dict[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every choice, or an error."""
    if not numbers:
        raise TypeError("numbers must be given, such as rows=[4, 6, 8]: there is nothing to choose from")
    lists = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in numbers.items()}
    for name, values in lists.items():
        if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or len(values) == 0:
            raise TypeError(f"{name} must be a list of values to choose from, got {values!r}")
    return [dict(zip(lists, values)) for values in itertools.product(*lists.values())]


def _check(factory: Callable[..., Any], numbers: dict[str, Any]) -> None:
    """An error where the factory has other parameters."""
    if not callable(factory):
        raise TypeError(f"factory must be a function that returns a kernel, got {type(factory).__name__}")
    taken = signature(factory)
    try:
        taken.bind(**numbers)
    except TypeError as error:
        raise TypeError(f"factory takes {taken}, got {', '.join(numbers)}: {error}") from None


def _prepared(
    factory: Callable[..., Any], variant: Variant, layer: Layer, operands: Operands, out: Any
) -> tuple[str, Contender | None]:
    """Make, check on small problems and inspect a variant: why it is dropped, or what can be timed."""
    problem = layer.problem
    try:
        made = factory(**variant.numbers)
    except ValueError as error:
        return f"the factory refuses: {_line(error)}", None
    except Exception as error:
        return f"the factory raises {type(error).__name__}: {_line(error)}", None
    if not hasattr(python(made), "__code__") and not isinstance(made, UserKernel):
        raise TypeError(f"factory must return a kernel, got {type(made).__name__} for {variant.name}")
    kernel = made if isinstance(made, UserKernel) else _kernel(made, problem, variant.name)
    variant.kernel = kernel
    reason = kernel.rejects(problem)
    if reason is not None:
        return f"it does not take the problem: {reason}", None
    try:
        variant.inspection = inspect(kernel, problem=problem)
        spills = _spills(variant.inspection)
        if spills:
            return f"{spills} {'bytes spill' if problem.device == 'cuda' else 'spills in the hot loop'}", None
        for small in itertools.islice(_small(kernel, problem), SMALL):
            asked = Operands(small)
            wrong = _error(asked.runner(kernel)(), asked)
            if not wrong <= asked.tolerance:
                return f"wrong on {small.brief}: {_wrong_by(wrong, asked)}", None
        runner = operands.runner(kernel, out)
    except Exception as error:
        return f"{type(error).__name__}: {_line(error)}", None

    def check() -> Any:
        return operands.runner(kernel)()  # into an array of its own

    return "", Contender(variant.name, runner, True, operands.read, check)


def _spills(inspection: Any) -> int:
    """Of a hot loop that calls nothing: around a call numbers are kept on the stack however few they are."""
    if hasattr(inspection, "spills"):  # of a GPU
        return inspection.spills
    return 0 if inspection.loop.calls else inspection.loop.spills


def _line(error: Exception) -> str:
    """What it says, in one line."""
    return shortened(str(error), 300)


def _wrong_by(error: float, operands: Operands) -> str:
    if math.isnan(error):
        return "elements were not written, or are NaN"
    return f"error {error:.1e}, at most {operands.tolerance:.0e} is right"


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


def _timed(
    ways: list[Contender], operands: Operands, rounds: int, seconds: float, progress: Progress
) -> list[Timing]:  # fmt: skip
    options: dict[str, Any] = {"tolerance": operands.tolerance, "rounds": rounds, "budget": seconds}
    if operands.problem.device == "cuda":
        from numconv.lab.device_race import device_race

        progress.say(f"timing {len(ways)} variants")
        return device_race(ways, operands.expected, operands.scale, **options)
    steps = (f"checked {i} of {len(ways)} variants" for i in range(1, len(ways) + 1))
    turns = (f"timed {len(ways)} variants, round {i} of {rounds}" for i in range(1, rounds + 1))
    said = itertools.chain(steps, turns)
    return timed(ways, operands.expected, operands.scale, **options, progress=lambda: progress.say(next(said)))


def _least(problem: Any) -> float:
    """Seconds at the FMA peak of as many threads; on a GPU of the least traffic."""
    if problem.device == "cuda":
        from numconv.lab.device_race import copy_bandwidth

        return problem.bytes / copy_bandwidth()
    from numconv.lab.roofline import ceilings

    return problem.flops / ceilings(get_num_threads()).fma[accumulator_dtype(problem.dtype).name] / 1e9


def _note(variant: Variant, timing: Timing, operands: Operands, least: float) -> None:
    """What a timing says of a variant."""
    variant.first, variant.error = timing.first, timing.error
    if timing.failure:
        variant.dropped = timing.failure
    elif not timing.error <= operands.tolerance:
        variant.dropped = f"wrong: {_wrong_by(timing.error, operands)}"
    if variant.dropped:
        return
    variant.seconds = timing.seconds
    variant.gflops = operands.problem.flops / timing.seconds / 1e9
    variant.attained = least / timing.seconds
