"""Race the gradients of 3x3 layers against PyTorch's: `numconv bench --gradients`."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import math
from functools import partial
from typing import Any

import numpy as np

from numconv.commands.common import show, status_of, write_json
from numconv.lab.layers import families, problem, shapes
from numconv.lab.shapes import GRADIENTS, Shape
from numconv.lab.timing import Contender, Crew, Timing, race_apart
from numconv.terminal import Progress, table

DIRECTIONS = ("input", "weight")
COLUMNS = ("numconv NCHW", "numconv NHWC", "PyTorch NCHW", "PyTorch NHWC", "vs peer", "error")
# DESIGN's bounds in default precision.
TOLERANCES = {"float32": 5e-6, "float64": 1e-12}


def report(options: argparse.Namespace) -> int:
    """Race both gradients of every layer, print milliseconds and ratios, and give the exit status."""
    pattern, quick, dtype = options.pattern, options.quick, options.dtype
    rounds, budget = (2, 0.02) if quick else (7, 0.1)
    among: Any = GRADIENTS
    if pattern:
        among = {f: [s for s in m if len(s.kernel) == 2 and not s.transposed] for f, m in families().items()}
    chosen = shapes(pattern, quick, among)
    names = [f"{direction} {family}/{shape.name}" for direction in DIRECTIONS for family, shape in chosen]
    rows: list[tuple[str, ...]] = [("milliseconds", *COLUMNS)]
    records, wrong = [], []
    with contextlib.ExitStack() as stack:
        crews = [stack.enter_context(Crew("numconv", numconv_ways, ours=True))]
        progress = stack.enter_context(Progress("gradients", len(names)))
        if importlib.util.find_spec("torch"):
            crews.append(stack.enter_context(Crew("PyTorch", torch_ways)))
        for name, (direction, (family, shape)) in zip(names, ((d, c) for d in DIRECTIONS for c in chosen)):
            progress.begin(name)
            timings = race_layer(crews, direction, shape, dtype, rounds, budget)
            rows.append((name, *cells(timings)))
            figures = {timing.name: vars(timing) for timing in timings}
            records.append({"gradient": direction, "family": family, "shape": shape.name, "timings": figures})
            records[-1]["ratio"] = ratio(timings)
            wrong += [f"{timing.name} on {name}" for timing in timings if timing.ours and math.isnan(timing.seconds)]
    lines = [table(rows)]
    for direction in DIRECTIONS:
        ratios = [record["ratio"] for record in records if record["gradient"] == direction]
        if not any(map(math.isnan, ratios)):
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            lines.append(f"{direction}: geometric mean of the ratios {mean:.2f}, least {min(ratios):.2f}")
    show("\n".join(lines), options)
    write_json(records, options)
    return status_of(wrong)


def operands(shape: Shape, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input, weight and the output's gradient, channels first; the same in every process."""
    x, weight, grad = (
        np.random.default_rng(seed).standard_normal(size).astype(dtype)
        for seed, size in enumerate((shape.x, shape.weight, problem(shape).output_shape))
    )
    return x, weight, grad


def numconv_ways(direction: str, shape: Shape, dtype: str, threads: int) -> list[Contender]:
    """Our functional call in both layouts."""
    import numconv as nc

    nc.set_num_threads(threads)
    x, weight, grad = operands(shape, dtype)
    ways = [Contender("numconv NCHW", gradient_call(direction, x, weight, grad, **shape.options))]
    x, grad = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, grad))
    call = gradient_call(direction, x, weight, grad, data_format="NHWC", **shape.options)
    return [*ways, Contender("numconv NHWC", call, read=channels_first if direction == "input" else np.asarray)]


def channels_first(result: np.ndarray) -> np.ndarray:
    """A channels-last image seen channels first."""
    return np.moveaxis(result, -1, 1)


def gradient_call(direction: str, x: np.ndarray, weight: np.ndarray, grad: np.ndarray, **keywords: Any) -> Any:
    """The call of conv2d_input or conv2d_weight."""
    import numconv as nc

    if direction == "input":
        return partial(nc.conv2d_input, x.shape, weight, grad, **keywords)
    return partial(nc.conv2d_weight, x, weight.shape, grad, **keywords)


def torch_ways(direction: str, shape: Shape, dtype: str, threads: int) -> list[Contender]:
    """PyTorch's gradient in both memory formats."""
    import numconv as nc
    from numconv.lab.peers import torch_gradients

    nc.set_num_threads(threads)
    return torch_gradients(direction, *operands(shape, dtype), shape.options)


def race_layer(crews: list[Crew], direction: str, shape: Shape, dtype: str, rounds: int, budget: float) -> list[Timing]:
    """One gradient of one layer; errors are against the direct algorithm in float64."""
    import numconv as nc

    direct = {**shape.options, "algorithm": "direct"}
    x, weight, grad = (a.astype(np.float64) for a in operands(shape, dtype))
    expected = gradient_call(direction, x, weight, grad, **direct)()
    scale = float(gradient_call(direction, abs(x), abs(weight), abs(grad), **direct)().max())
    task = direction, shape, dtype, nc.get_num_threads()
    return race_apart(crews, task, expected, scale, tolerance=TOLERANCES[dtype], rounds=rounds, budget=budget)


def ratio(timings: list[Timing]) -> float:
    """The peer's best time over ours; NaN without a peer, or where a result of ours is wrong."""
    ours, peer = ([t.seconds for t in timings if t.ours == whose] for whose in (True, False))
    return min(peer, default=math.nan) / (min(ours) if not any(map(math.isnan, ours)) else math.nan)


def cells(timings: list[Timing]) -> list[str]:
    """Milliseconds of each, the ratio, and our worst error."""
    seconds = {timing.name: timing.seconds for timing in timings}
    found = [f"{seconds.get(name, math.nan) * 1e3:.3f}" for name in COLUMNS[:4]]
    worst = max(timing.error for timing in timings if timing.ours)
    texts = [*found, f"{ratio(timings):.2f}", f"{worst:.1e}"]
    return ["-" if text == "nan" else text for text in texts]
