"""Race the algorithms on the shapes of known networks, beside PyTorch and ONNX Runtime where installed.

examples:
  numconv bench --quick
  numconv bench resnet50
  numconv bench '*3x3*' --json race.json
  numconv bench --roofline --output roofline.png
  numconv bench --gradients
  numconv bench --device cuda --dtype bfloat16 --json h100.json

PATTERN chooses shapes by a part of their family's or their own name, or by wildcards. Figures are milliseconds, the
fastest of all rounds; "auto" is the functional call, "plan" the same with weights packed beforehand, then each
algorithm by name. "vs peer" is the best peer's time over the better of auto and plan: above 1, numconv is faster.
Results are first compared with the direct algorithm in float64; "wrong" marks one outside the documented bound.

--roofline measures how fast this machine multiplies and moves data, on one thread and on all, keeps both figures for
nc.explain, and sets each layer (of ResNet-50 without PATTERN) beside the least time that they allow; the picture needs
the extra: pip install numconv[demo]. docs/roofline.md says how to read it.

--gradients races conv2d_input and conv2d_weight (of 3x3 layers without PATTERN) against PyTorch's, each contender in a
process of its own.

--device cuda races ResNet-50, depthwise layers and poolings on a GPU against cuDNN, through PyTorch where it is
installed with CUDA, by the device's clock; "of copy" is the least traffic of a layer against that of a copy.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from numconv.commands import roofline
from numconv.lab.layers import operation, problem, shapes

PEERS, OURS = ("PyTorch", "ONNX Runtime"), ("auto", "plan")
TOLERANCE = 5e-6  # DESIGN's bound for float32 in default precision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="", metavar="PATTERN")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--roofline", action="store_true", help="how near layers come to what the machine can do")
    kind.add_argument("--gradients", action="store_true", help="input and weight gradients beside PyTorch's")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where: on a GPU, against cuDNN")
    parser.add_argument("--quick", action="store_true", help="one shape of each family, fewer rounds")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=("float32", "float64", "float16", "bfloat16"),
        help="float64 with --roofline and --gradients; float16 and bfloat16 with --device cuda",
    )
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="images at a time, with --device cuda")
    parser.add_argument("--fast", action="store_true", help="TF32 multiplication, with --device cuda")
    parser.add_argument("--output", type=Path, default=Path("roofline.png"), metavar="FILE", help="of --roofline")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure, in seconds, to FILE")


def run(options: argparse.Namespace) -> None:
    if options.device == "cuda":
        from numconv.commands import device

        if options.roofline or options.gradients or options.dtype == "float64":
            raise ValueError("--device cuda: it races layers in float32, float16 and bfloat16")
        device.report(options.pattern, options.quick, options.dtype, options.fast, options.batch, options.json)
        return
    if options.dtype in ("float16", "bfloat16") or options.fast:
        raise ValueError("--dtype float16, bfloat16 and --fast go with --device cuda")
    if options.roofline:
        roofline.report(options.pattern, options.quick, options.dtype, options.output, options.json)
        return
    if options.gradients:
        from numconv.commands import gradients

        gradients.report(options.pattern, options.quick, options.dtype, options.json)
        return
    if options.dtype != "float32":
        raise ValueError("--dtype: the race of algorithms is in float32; float64 goes with --roofline and --gradients")
    chosen = shapes(options.pattern, options.quick)
    rounds, budget = (2, 0.02) if options.quick else (5, 0.1)
    columns = column_names([shape for _, shape in chosen])
    widths = [max(len(name) + 2, 10) for name in (*columns, "vs peer")]
    print(line("shape", (*columns, "vs peer"), widths))
    records = []
    for family, shape in chosen:
        timings = race_shape(shape, rounds, budget)
        cells = [cell(timings.get(name)) for name in columns]
        print(line(f"{family}/{shape.name}", (*cells, ratio(timings)), widths), flush=True)
        figures = {name: vars(timing) for name, timing in timings.items()}
        records.append({"family": family, "shape": shape.name, "count": shape.count, "timings": figures})
    if options.json:
        options.json.write_text(json.dumps(records, indent=1), "utf-8")


def race_shape(shape: Any, rounds: int, budget: float) -> dict[str, Any]:
    """The timings of everyone who can compute the shape."""
    import numconv as nc
    from numconv.algorithm import candidates
    from numconv.lab.peers import peers
    from numconv.lab.timing import Contender, race

    x = np.random.default_rng(0).standard_normal(shape.x, dtype=np.float32)
    weight = np.random.default_rng(1).standard_normal(shape.weight, dtype=np.float32)
    name, keywords = operation(shape), shape.options
    function = getattr(nc, name)
    wide = x.astype(np.float64), weight.astype(np.float64)
    expected = function(*wide, **keywords, algorithm="direct")
    scale = float(function(*map(np.abs, wide), **keywords, algorithm="direct").max())
    plan = nc.plan(name, x.shape, weight, **keywords)
    call = partial(function, x, weight, **keywords)
    field = [Contender("auto", call, ours=True), Contender("plan", partial(plan, x), ours=True)]
    for algorithm, _, reason in candidates(problem(shape)):
        if reason is None:
            field.append(Contender(algorithm.name, partial(call, algorithm=algorithm.name), ours=True))
    field += peers(name, x, weight, keywords)
    return {t.name: t for t in race(field, expected, scale, tolerance=TOLERANCE, rounds=rounds, budget=budget)}


def column_names(chosen: list[Any]) -> list[str]:
    """auto, plan, every algorithm that any shape's operation has, the peers."""
    import numconv as nc

    names = [name for shape in chosen for name in nc.algorithms(operation(shape))]
    return list(dict.fromkeys(["auto", "plan", *names, *PEERS]))


def ratio(timings: dict[str, Any]) -> str:
    """The best peer's time over ours."""
    peer, ours = (min((timings[n].seconds for n in names if n in timings), default=math.nan) for names in (PEERS, OURS))
    return f"{peer / ours:.2f}" if peer > 0 and ours > 0 else "-"


def cell(timing: Any) -> str:
    """A timing in milliseconds."""
    if timing is None:
        return "-"
    return f"{timing.seconds * 1e3:.3f}" if timing.seconds > 0 else "wrong"


def line(name: str, cells: Sequence[str], widths: list[int]) -> str:
    """One line of the table."""
    return f"{name:<34}" + "".join(text.rjust(width) for text, width in zip(cells, widths, strict=True))
