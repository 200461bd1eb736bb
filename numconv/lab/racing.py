"""The race of kernels: one's own against ours, the libraries and the machine's limit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from numconv.algorithm import add, algorithms, rejection, select, table
from numconv.lab.layers import Layer, families, layers
from numconv.lab.operands import Operands
from numconv.lab.peers import PREPARED, peers
from numconv.lab.result import Heat, Race, Result
from numconv.lab.timing import Contender, Timing, timed_for
from numconv.lab.timing import race as timed
from numconv.ops.custom import FunctionAlgorithm
from numconv.options import get_num_threads
from numconv.problem import ConvProblem
from numconv.terminal import Progress

ALL = "all"


def race(
    kernels: Any = (),
    problem: Any = None,
    *,
    compare: bool = True,
    quick: bool = False,
    batch: int = 1,
    dtype: Any = "float32",
    data_format: str | None = None,
    rounds: int | None = None,
    seconds: float | None = None,
) -> Race:
    """Race kernels against our automatic choice, PyTorch, ONNX Runtime and SciPy, and set all beside the roofline.

    Each contender's first result is compared with the direct algorithm's in float64, and is not counted; one that is
    wrong, or raises, is shown so and not timed. Then all are timed in turn, round after round, and the fastest call
    counts. Convolutions are raced twice: as a functional call, which packs the weight each time, and packed beforehand,
    as a plan.

    Parameters
    ----------
    kernels : str, Algorithm or a sequence of them
        Of one's own (what `lab.kernel` makes, or `numconv.register`) or of ours, by name. "all" stands for every
        algorithm that takes a problem, as a functional call alone.
    problem : ConvProblem, PoolProblem, str, list, optional
        Or what `lab.problems` gives. A text names layers of known networks as ``numconv bench`` does: "resnet50",
        "depthwise", "pooling", "*3x3*"; they are asked as a kernel's operation where that is a gradient. Left out:
        those of ResNet-50, or of the first family that has the kernels' operation.
    compare : bool
        Whether libraries take part.
    quick : bool
        One layer of each family that is named, fewer rounds.
    batch, dtype, data_format
        Of layers that are named: images, dtype, and "NCHW", "NHWC", "channels_last" and so on.
    rounds : int, optional
    seconds : float, optional
        For which one contender is called in one round: 5 and 0.05 where left out, 2 and 0.02 when quick.

    Returns
    -------
    Race
        `print` shows a table, `chart(path)` draws it, `json(path)` writes every figure.

    Raises
    ------
    ValueError, TypeError
        If a kernel is none of the operation of any problem, two have one name, or nothing is asked.
    MissingPart
        If a kernel or a problem is of a GPU, and there is none.

    Examples
    --------
    >>> from numconv import lab
    >>> print(lab.race(["winograd_4x4", "im2col"], "resnet50/stage2_3x3"))  # doctest: +SKIP
    """
    rounds, seconds = timed_for(rounds, seconds, (2, 0.02) if quick else (5, 0.05))
    given = list(kernels) if isinstance(kernels, Iterable) and not isinstance(kernels, str) else [kernels]
    names = [name for name in map(_name, given) if name != "auto"]  # which always takes part
    _enter(given)
    options = {"quick": quick, "batch": batch, "dtype": dtype, "data_format": data_format}
    found = _usual(given, options) if problem is None else layers(problem, **options)
    if not found:
        raise ValueError(f"problem must be one at least, got {problem!r}")
    asked = _taken(names, [_for_kernels(layer, given) for layer in found], given)
    if any(layer.problem.device == "cuda" for layer in asked):
        from numconv.kernels.cuda import toolkit

        toolkit.need()
    with Progress("layers", len(asked)) as progress:
        heats = []
        for layer in asked:
            progress.begin(layer.name)
            heats.append(_heat(layer, names, compare, rounds, seconds))
    return Race(heats, get_num_threads(), dict.fromkeys(name for name in names if name != ALL))


def _name(kernel: Any) -> str:
    name = kernel if isinstance(kernel, str) else getattr(kernel, "name", None)
    if not isinstance(name, str) or not name:
        raise TypeError(f"kernels must be algorithms or their names, got {kernel!r}")
    return name


def _enter(kernels: list[Any]) -> None:
    """Register those that are not, such as the best of a sweep, so that their names are theirs."""
    seen: dict[str, Any] = {}
    for kernel in kernels:
        if isinstance(kernel, FunctionAlgorithm):
            if seen.setdefault(kernel.name, kernel) is not kernel:
                raise ValueError(f"kernels must have different names, got two that are called {kernel.name!r}")
            if not any(kernel is known for known in table(kernel.operation, kernel.device)):
                add(kernel.operation, kernel, False, kernel.device)


def _operations(kernels: list[Any]) -> set[str]:
    return {kernel.operation for kernel in kernels if hasattr(kernel, "operation")}


def _usual(kernels: list[Any], options: dict[str, Any]) -> list[Layer]:
    """The layers of the first family that asks the kernels' operation, or that of which it is a gradient."""
    wanted = {operation.removesuffix("_input").removesuffix("_weight") for operation in _operations(kernels)}
    if not wanted:
        return layers("resnet50/", **options)
    for family in (*families(), "pooling"):
        every = layers(f"{family}/", **options | {"quick": False})
        found = [layer for layer in every if layer.problem.operation in wanted]
        if found:
            return [min(found, key=lambda layer: layer.problem.flops)] if options["quick"] else found
    raise ValueError(f"problem must be given: no layer that has a name here asks {' or '.join(sorted(wanted))}")


def _for_kernels(layer: Layer, kernels: list[Any]) -> Layer:
    """The layer on the kernels' device, and as the gradient that they compute."""
    problem: Any = layer.problem
    devices = {getattr(kernel, "device", None) for kernel in kernels} - {None, problem.device}
    if devices:
        problem = replace(problem, device=devices.pop())
    operations = _operations(kernels)
    if len(operations) == 1 and isinstance(problem, ConvProblem):
        (operation,) = operations
        if operation in (f"{problem.operation}_input", f"{problem.operation}_weight"):
            problem = problem.with_operation(operation)
    return replace(layer, problem=problem)


def _taken(names: list[str], asked: list[Layer], kernels: list[Any]) -> list[Layer]:
    """The layers of whose operation there is one of the kernels, or an error where one is of none of them."""
    places = {(layer.problem.operation, layer.problem.device) for layer in asked}
    known = {place: algorithms(*place) for place in places}
    for name in names:
        if name != ALL and not any(name in each for each in known.values()):
            where = ", ".join(f"{operation} on {device}" for operation, device in known)
            others = _operations([kernel for kernel in kernels if getattr(kernel, "name", "") == name])
            if others:
                raise ValueError(f"kernels: {name!r} computes {others.pop()}, and what is asked is {where}")
            there = f"there are {', '.join(dict.fromkeys(itertools.chain(*known.values())))}"
            raise ValueError(f"kernels: there is none called {name!r} for {where}; {there}")
    wanted = [name for name in names if name != ALL]
    if not wanted or ALL in names:
        return asked
    return [layer for layer in asked if {*wanted} & {*known[layer.problem.operation, layer.problem.device]}]


@dataclass
class _Entrant:
    """A contender, and what the table says of it besides its time."""

    contender: Contender
    algorithm: str
    packed: bool
    workspace: int | None


def _heat(layer: Layer, names: list[str], compare: bool, rounds: int, seconds: float) -> Heat:
    problem = layer.problem
    operands = Operands(problem)
    refused: dict[str, str] = {}
    field = list(_ours(operands, names, refused))
    if compare:
        prepared = PREPARED if isinstance(problem, ConvProblem) else ()
        field += [_Entrant(c, "", c.name in prepared, None) for c in _peers(problem, operands)]
    ways = [entrant.contender for entrant in field]
    options: dict[str, Any] = {"tolerance": operands.tolerance, "rounds": rounds, "budget": seconds}
    if problem.device == "cuda":
        from numconv.lab import device_race

        timings = device_race.device_race(ways, operands.expected, operands.scale, **options)
        floor, by = problem.bytes / device_race.copy_bandwidth(), "memory"
    else:
        from numconv.lab import roofline

        timings = timed(ways, operands.expected, operands.scale, **options)
        least = roofline.floor(problem, roofline.ceilings(get_num_threads()))
        floor, by = least.seconds, least.by
    results = [_result(entrant, timing, problem, floor) for entrant, timing in zip(field, timings)]
    results += [Result(name, name, failure=reason) for name, reason in refused.items()]
    return Heat(layer.name, problem, layer.count, floor, by, operands.tolerance, results)


def _ours(operands: Operands, names: list[str], refused: dict[str, str]) -> Iterator[_Entrant]:
    """Our choice and the kernels, each as a call and, where there is one, as a plan."""
    problem = operands.problem
    chosen = ["auto"]
    for algorithm in table(problem.operation, problem.device):
        if algorithm.name not in names and ALL not in names:
            continue
        try:
            reason = rejection(algorithm, problem)
        except Exception as raised:  # `when` of a kernel of the user's
            refused[algorithm.name] = f"{type(raised).__name__}: {raised}"
            continue
        if reason is None:
            chosen.append(algorithm.name)
        elif algorithm.name in names:
            refused[algorithm.name] = f"rejects: {reason}"
    for name in chosen:
        algorithm = select(problem, name)
        try:
            yield _Entrant(
                Contender(name, operands.call(name), True, operands.read, operands.into(name)),
                algorithm.name, False, algorithm.workspace(problem) + algorithm.packed_bytes(problem),
            )  # fmt: skip
            plan = operands.plan(name) if name == "auto" or name in names else None
        except Exception as raised:  # a kernel of the user's may raise where it is asked or packs
            refused[name] = f"{type(raised).__name__}: {raised}"
            continue
        if plan is not None:
            check = operands.planned(plan, out=True)
            contender = Contender(name, operands.planned(plan), True, operands.read, check)
            yield _Entrant(contender, plan.algorithm, True, plan.workspace)


def _peers(problem: Any, operands: Operands) -> list[Contender]:
    if problem.device == "cpu":
        return peers(problem, operands.arrays)
    from numconv.lab.device_peers import cudnn_problem

    return cudnn_problem(problem, operands.arrays)


def _result(entrant: _Entrant, timing: Timing, problem: Any, floor: float) -> Result:
    seconds = timing.seconds
    return Result(
        timing.name, entrant.algorithm, entrant.packed, timing.ours, timing.first, seconds, timing.error,
        problem.flops / seconds / 1e9 if seconds > 0 else math.nan, floor / seconds if seconds > 0 else math.nan,
        entrant.workspace, timing.failure,
    )  # fmt: skip
