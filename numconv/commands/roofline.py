"""How near each layer comes to what the machine can do: `numconv bench --roofline`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numconv.commands.common import show, write_json
from numconv.extras import MissingExtra
from numconv.lab.layers import operation, problem, shapes
from numconv.terminal import Progress, table

HEADER = ("algorithm", "layout", "FLOP/B", "bound by", "ms", "GFLOP/s", "roof", "attained")


@dataclass(frozen=True)
class Point:
    """A layer timed on so many threads, and the least seconds that it could take."""

    threads: int
    seconds: float
    floor: float
    bound: str

    @property
    def attained(self) -> float:
        return self.floor / self.seconds


@dataclass(frozen=True)
class Layer:
    """What was measured of a layer: in the layout that is faster on all threads."""

    family: str
    name: str
    count: int
    algorithm: str
    layout: str
    flops: int
    bytes: int
    one: Point
    all: Point

    @property
    def intensity(self) -> float:
        """Operations of the direct method for each byte of input, weight and output."""
        return self.flops / self.bytes

    def speed(self, seconds: float) -> float:
        """GFLOP/s of the direct method."""
        return self.flops / seconds / 1e9


def report(options: argparse.Namespace) -> None:
    """Measure layers and, between them, ceilings; print both, draw them, and keep the ceilings."""
    from numconv.lab import roofline
    from numconv.measured import cpu_name

    pattern, quick, dtype = options.pattern, options.quick, options.dtype
    chosen = shapes(pattern or ("" if quick else "resnet50/"), quick)
    rounds, budget = (2, 0.02) if quick else (5, 0.05)
    with Progress("layers", len(chosen)) as progress:
        progress.say("measuring what the machine can do")
        meter = roofline.Meter()
        threads = [each.threads for each in meter.ceilings()]
        timings = []
        for _, shape in chosen:
            progress.begin(shape.name)
            timings.append(time_layer(shape, dtype, threads, rounds, budget))
            meter.round(budget / 2)
    ceilings = meter.ceilings()
    layers = [judged(*named, timing, dtype, ceilings) for named, timing in zip(chosen, timings)]
    show(f"{machine(cpu_name(), ceilings)}\n\n{tables(layers)}\n\n{summary(layers)}", options)
    reason = roofline.store(*ceilings)
    if reason:
        show(f"not kept for nc.explain: {reason}", options)
    found = {"processor": cpu_name(), "dtype": dtype, "ceilings": [asdict(c) for c in ceilings]}
    write_json(found | {"layers": [asdict(layer) for layer in layers]}, options)
    show(draw(layers, ceilings, dtype, options.output), options)


def draw(layers: Sequence[Layer], ceilings: Sequence[Any], dtype: str, output: Path) -> str:
    """Write the picture, and say where it is or what it lacks."""
    from numconv.commands.roofline_picture import write_picture
    from numconv.measured import cpu_name

    try:
        write_picture(layers, ceilings, cpu_name(), dtype, output)
    except MissingExtra as error:
        return f"no picture: {error}"
    return f"picture: {output}"


class Timing(NamedTuple):
    """What ran, and its seconds for each number of threads."""

    algorithm: str
    layout: str
    seconds: list[float]


def time_layer(shape: Any, dtype: str, threads: Sequence[int], rounds: int, budget: float) -> Timing:
    """The layer in the layout that is faster on the last number of threads.

    Plans of both layouts, on each number of threads, in turn; results go to arrays that are there.
    """
    import numconv as nc
    from numconv.lab.timing import fastest

    x = np.random.default_rng(0).standard_normal(shape.x).astype(dtype)
    weight = np.random.default_rng(1).standard_normal(shape.weight).astype(dtype)
    ways = {}
    for layout, image in (("first", x), ("last", np.ascontiguousarray(np.moveaxis(x, 1, -1)))):
        plan = nc.plan(operation(shape), image.shape, weight, data_format=f"channels_{layout}", **shape.options)
        ways[layout] = plan, image, plan(image)
    best: dict[tuple[str, int], float] = {}
    before = nc.get_num_threads()
    try:
        for _ in range(rounds):
            for n in dict.fromkeys(threads):
                nc.set_num_threads(n)
                for layout, (plan, image, out) in ways.items():
                    taken = fastest(partial(plan, image, out=out), budget)
                    best[layout, n] = min(best.get((layout, n), math.inf), taken)
    finally:
        nc.set_num_threads(before)
    layout = min(ways, key=lambda name: best[name, threads[-1]])
    return Timing(ways[layout][0].algorithm, layout, [best[layout, n] for n in threads])


def judged(family: str, shape: Any, timing: Timing, dtype: str, ceilings: Sequence[Any]) -> Layer:
    """A layer's times beside its floors."""
    from numconv.lab.roofline import floor

    asked = problem(shape, dtype)
    floors = [floor(asked, each) for each in ceilings]
    points = [Point(c.threads, s, f.seconds, f.by) for c, s, f in zip(ceilings, timing.seconds, floors)]
    return Layer(family, shape.name, shape.count, timing.algorithm, timing.layout, asked.flops, asked.bytes, *points)


def machine(name: str, ceilings: Sequence[Any]) -> str:
    """The ceilings as text."""
    one, every = ceilings
    threads = [f"{c.threads} thread{'s' * (c.threads > 1)}" for c in ceilings]
    rows = [(name, *threads)]
    rows += [(f"FMA {dtype}, GFLOP/s", f"{one.fma[dtype]:.0f}", f"{every.fma[dtype]:.0f}") for dtype in one.fma]
    for field, text in (("memory", "memory, triad"), ("read", "memory, read"), ("cached", "last-level cache, triad")):
        rows.append((f"{text}, GB/s", f"{getattr(one, field):.1f}", f"{getattr(every, field):.1f}"))
    return table(rows)


def tables(layers: Sequence[Layer]) -> str:
    """A table for all threads and, where those are more, one for one: a line a layer."""
    found = []
    for points in dict.fromkeys((tuple(layer.all for layer in layers), tuple(layer.one for layer in layers))):
        n = points[0].threads
        rows: list[tuple[str, ...]] = [(f"{n} thread{'s' * (n > 1)}", *HEADER)]
        for layer, point in zip(layers, points):
            speeds = (f"{layer.speed(seconds):.0f}" for seconds in (point.seconds, point.floor))
            rows.append(
                (
                    f"{layer.family}/{layer.name}", layer.algorithm, layer.layout, f"{layer.intensity:.1f}",
                    point.bound, f"{point.seconds * 1e3:.3f}", *speeds, f"{point.attained:.0%}",
                )
            )  # fmt: skip
        found.append(table(rows, left=3))
    return "\n\n".join(found)


def summary(layers: Sequence[Layer]) -> str:
    """Sums over the layers, each as often as its network has it."""
    lines = []
    for name in ("all", "one"):
        seconds, floor = (
            sum(layer.count * getattr(getattr(layer, name), what) for layer in layers) for what in ("seconds", "floor")
        )
        n = getattr(layers[0], name).threads
        lines.append(
            f"sum of times, {n} thread{'s' * (n > 1)}: {seconds * 1e3:.2f} ms; "
            f"floor {floor * 1e3:.2f} ms; attained {floor / seconds:.0%}"
        )
    lines.append(
        "Operations are the direct method's: Winograd, FFT and separable factors do fewer, and may attain\nabove 100%."
    )
    return "\n".join(lines)
