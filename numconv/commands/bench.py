"""Race the algorithms on layers of known networks, beside PyTorch, ONNX Runtime and SciPy.

examples:
  numconv bench --quick
  numconv bench resnet50 --compare peers
  numconv bench '*3x3*' --json race.json --chart race.png
  numconv bench --roofline --output roofline.png
  numconv bench --gradients
  numconv bench --device cuda --dtype bfloat16 --json h100.json

PATTERN chooses layers by a part of their family's or their own name, or by wildcards. Figures are milliseconds, the
fastest of all rounds; "auto" is the functional call, "plan" the same with weights packed beforehand, then each
algorithm by name. "vs peer" is the best library's time over the best of ours: above 1, numconv is faster;
"roofline" is the least time that this machine allows direct summation. Results are first compared with the direct
algorithm in float64; "wrong" marks one outside the documented bound, and one of ours makes the exit status 1.
--compare peers races auto and plan against the libraries alone, on the layers that the benchmarks for asv have.

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
import sys
from pathlib import Path

from numconv.commands import roofline
from numconv.commands.common import add_json, new_file, show, status_of, write_json
from numconv.extras import require
from numconv.terminal import has_colour


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="", metavar="PATTERN")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--roofline", action="store_true", help="how near layers come to what the machine can do")
    kind.add_argument("--gradients", action="store_true", help="input and weight gradients beside PyTorch's")
    kind.add_argument(
        "--compare", choices=("all", "algorithms", "peers"), default="all",
        help="who races: every algorithm and the libraries, or one of the two; default: all",
    )  # fmt: skip
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where: on a GPU, against cuDNN")
    parser.add_argument("--quick", action="store_true", help="one layer of each family, fewer rounds")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=("float32", "float64", "float16", "bfloat16"),
        help="float16 and bfloat16 not with --roofline and --gradients",
    )
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="images at a time, with --device cuda")
    parser.add_argument("--fast", action="store_true", help="TF32 multiplication, with --device cuda")
    parser.add_argument("--output", type=new_file, default=Path("roofline.png"), metavar="FILE", help="of --roofline")
    parser.add_argument("--chart", type=new_file, metavar="FILE", help="draw the race of algorithms as a PNG")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    if options.chart and (options.roofline or options.gradients or options.device == "cuda"):
        raise ValueError("--chart draws the race of algorithms: leave out --roofline, --gradients and --device")
    if options.device == "cuda":
        from numconv.commands import device

        if options.roofline or options.gradients or options.dtype == "float64":
            raise ValueError("--device cuda: it races layers in float32, float16 and bfloat16")
        return device.report(options)
    if options.fast:
        raise ValueError("--fast goes with --device cuda")
    if options.roofline or options.gradients:
        from numconv.commands import gradients

        if options.dtype in ("float16", "bfloat16"):
            raise ValueError("--dtype float16 and bfloat16 go with the race of algorithms and with --device cuda")
        if options.gradients:
            return gradients.report(options)
        roofline.report(options)
        return 0
    return race(options)


def race(options: argparse.Namespace) -> int:
    """The race of algorithms, `lab.race`."""
    from numconv import lab
    from numconv.files.dtypes import dtype_named

    if options.chart:
        require("matplotlib.figure", "demo")  # rather now than after the race
    race = lab.race(
        () if options.compare == "peers" else "all", options.pattern, compare=options.compare != "algorithms",
        quick=options.quick, dtype=dtype_named(options.dtype), seconds=None if options.quick else 0.1,
    )  # fmt: skip
    show(race.text(has_colour(sys.stdout)), options)
    write_json(race.to_dict(), options)
    if options.chart:
        race.chart(options.chart)
    return status_of(race.wrong)
