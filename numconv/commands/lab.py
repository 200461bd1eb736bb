"""Write a kernel of one's own, have it checked, raced and explained.

examples:
  numconv lab new my_kernel
  numconv lab new my_pool --operation max_pool2d --device cuda
  numconv lab check my_kernel.py
  numconv lab race my_kernel.py --problem resnet50
  numconv lab inspect my_kernel.py --kernel my_kernel --json inspected.json

The exit status is 0 if all is well, 1 if a kernel is wrong or its file raises, 2 if this is used wrongly.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

from numconv.commands.common import add_json, new_file, show, write_json
from numconv.extras import require
from numconv.terminal import has_colour


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    new = actions.add_parser("new", help="write a starter file, which passes the check")
    new.add_argument("name", help="of the kernel")
    new.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    new.add_argument("--operation", default="conv2d", help="conv2d, conv_transpose1d, conv3d_weight, max_pool2d, …")
    new.add_argument("--path", metavar="FILE", help="default: NAME.py")
    new.set_defaults(act=write)
    for name, act, summary in (
        ("check", check, "compare a file's kernels with the oracle, and watch over what they read and write"),
        ("race", race, "time a file's kernels beside ours, other libraries and the machine's limit"),
        ("inspect", inspect, "show what a file's kernels were compiled to, and what to do about it"),
    ):
        child = actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        child.add_argument("file", type=Path, metavar="FILE", help="a Python file with kernels of numconv.lab")
        child.add_argument("--kernel", action="append", metavar="NAME", help="one of them, or several (all)")
        add_json(child)
        child.set_defaults(act=act)
    checking, racing = actions.choices["check"], actions.choices["race"]
    checking.add_argument("--random", type=int, default=40, metavar="N", help="random problems (40)")
    checking.add_argument("--seed", type=int, default=0, metavar="N", help="of their numbers (0)")
    racing.add_argument(
        "--problem", metavar="PATTERN",
        help="layers to run, as numconv bench names them (resnet50, or a family that has the kernels' operation)",
    )  # fmt: skip
    racing.add_argument("--chart", type=new_file, metavar="FILE", help="draw the race as a PNG")


def run(options: argparse.Namespace) -> int:
    return options.act(options)


def write(options: argparse.Namespace) -> int:
    """Write a starter file."""
    from numconv import lab

    file = lab.new(options.name, options.device, options.operation, options.path)
    print(f"{file} is written. Next: numconv lab check {file}")
    return 0


def check(options: argparse.Namespace) -> int:
    """Check kernels, one after another."""
    from numconv import lab

    kernels = _kernels(options)
    if kernels is None:
        return 1
    reports = []
    for kernel in kernels:
        reports.append(lab.check(kernel, random=options.random, seed=options.seed))
        show(str(reports[-1]), options)
    write_json([report.to_dict() for report in reports], options)
    return 0 if all(report.ok for report in reports) else 1


def race(options: argparse.Namespace) -> int:
    """Race kernels against each other and the rest."""
    from numconv import lab

    kernels = _kernels(options)
    if kernels is None:
        return 1
    if options.chart:
        require("matplotlib.figure", "demo")
    found: Any = lab.race(kernels, options.problem)
    show(found.text(has_colour(sys.stdout)), options)
    write_json(found.to_dict(), options)
    if options.chart:
        found.chart(options.chart)
    return 1 if found.wrong else 0


def inspect(options: argparse.Namespace) -> int:
    """Look into what kernels were compiled to."""
    from numconv import lab

    kernels = _kernels(options)
    if kernels is None:
        return 1
    found = []
    for kernel in kernels:
        try:
            found.append(lab.inspect(kernel))
        except Exception as error:
            if not type(error).__module__.startswith("numba"):
                raise
            print(f"numconv lab: {kernel.name} does not compile: {error}", file=sys.stderr)
        else:
            show(str(found[-1]), options)
    write_json([each.to_dict() for each in found], options)
    return 0 if len(found) == len(kernels) else 1


def _kernels(options: argparse.Namespace) -> list[Any] | None:
    """The kernels of the file, in their order; None where it raises, after its own words."""
    from numconv import lab

    file = options.file
    if not file.is_file():
        raise FileNotFoundError(2, "no such file", str(file))
    spec: Any = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None:
        raise ValueError(f"FILE must be a Python file, got {file}")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == file.resolve()]
        print("".join([*traceback.format_list(frames), *traceback.format_exception_only(error)]), file=sys.stderr)
        return None
    found = [value for value in vars(module).values() if isinstance(value, lab.UserKernel)]
    found = list({id(kernel): kernel for kernel in found}.values())
    names = [kernel.name for kernel in found]
    if not found:
        raise ValueError(f"{file} has no kernel: decorate a function with numconv.lab.kernel")
    for name in options.kernel or ():
        if name not in names:
            raise ValueError(f"--kernel must be one of {names}, got {name!r}")
    return [kernel for kernel in found if not options.kernel or kernel.name in options.kernel]
