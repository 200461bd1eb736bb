"""Compile what an application will use, so that its first calls are fast.

examples:
  numconv warmup
  numconv warmup conv2d max_pool2d --dtype float32 float64 --data-format NCHW NHWC
  numconv warmup conv2d conv2d_input conv2d_weight

Runs each OPERATION on the shapes of known networks (those of 'numconv bench') and keeps what is compiled in the cache
that 'numconv info' shows. Without OPERATION: conv2d, conv_transpose2d, max_pool2d, avg_pool2d. Also known: the same in
1 and 3 dimensions, and the gradients conv{n}d_input and conv{n}d_weight.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from numconv.commands.common import add_json, named_dtype, show, write_json
from numconv.terminal import Progress

DEFAULT = ("conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d")
KINDS = ("conv{}d", "conv_transpose{}d", "conv{}d_input", "conv{}d_weight", "max_pool{}d", "avg_pool{}d")
KNOWN = tuple(kind.format(n) for kind in KINDS for n in (1, 2, 3))
POOLINGS = ((2, 2, 0), (3, 2, 1))  # kernel_size, stride, padding
POOLED = ((1, 16, 8), (1, 64, 48))  # batch, channels and length of each axis: one for one thread, one for all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("operations", nargs="*", metavar="OPERATION")
    parser.add_argument(
        "--dtype", type=named_dtype, nargs="+", default=[np.dtype("float32")], metavar="DTYPE", help="default: float32"
    )
    parser.add_argument("--data-format", nargs="+", default=["NCHW"], choices=("NCHW", "NHWC"), help="default: NCHW")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    operations = options.operations or DEFAULT
    for name in operations:
        if name not in KNOWN:
            raise ValueError(f"OPERATION: expected some of {', '.join(KNOWN)}, got {name!r}")
    records = []
    for name, dtype, data_format in itertools.product(operations, options.dtype, options.data_format):
        asked = list(calls(name, dtype, None if data_format == "NCHW" else "channels_last"))
        start = time.perf_counter()
        with Progress("shapes", len(asked)) as progress:
            for call in asked:
                progress.begin(f"{name} {dtype} {data_format}")
                call()
        seconds = time.perf_counter() - start
        show(f"{name} {dtype} {data_format}: {len(asked)} shapes, {seconds:.1f} s", options)
        record = {"operation": name, "dtype": dtype.name, "data_format": data_format, "shapes": len(asked)}
        records.append(record | {"seconds": seconds})
    write_json(records, options)


def calls(operation: str, dtype: np.dtype, data_format: str | None) -> Iterator[Callable[[], Any]]:
    """Calls of one operation that between them need all of its usual kernels."""
    import numconv as nc
    from numconv.problem import ConvProblem, spatial_axes

    dims = spatial_axes(operation)
    if "pool" in operation:
        for n, channels, length in POOLED:
            x = ones((n, channels, *(length,) * dims), dtype, data_format)
            for window in POOLINGS:
                yield partial(getattr(nc, operation), x, *window, data_format=data_format)
        return
    forward, _, gradient = operation.partition("_")
    transposed = gradient.startswith("transpose")
    for shape in network_shapes(dims, transposed):
        x, weight = ones(shape.x, dtype, data_format), np.ones(shape.weight, dtype)
        keywords = {**shape.options, "data_format": data_format}
        if transposed or not gradient:
            yield partial(getattr(nc, operation), x, weight, **keywords)
            continue
        problem = ConvProblem.make(forward, x.shape, weight.shape, dtype, **keywords)
        grad = np.ones(problem.result_shape, dtype)
        operands = (x.shape, weight, grad) if gradient == "input" else (x, weight.shape, grad)
        yield partial(getattr(nc, operation), *operands, **keywords)


def network_shapes(dims: int, transposed: bool) -> list[Any]:
    """The benchmark shapes of so many axes; where no network has one, a small one."""
    from numconv.lab.shapes import FAMILIES, RESNET50, Shape

    every = [*RESNET50, *(shape for family in FAMILIES.values() for shape in family)]
    found = [shape for shape in every if len(shape.kernel) == dims and shape.transposed == transposed]
    two, none = (2,) * dims, (0,) * dims
    return found or [Shape("up", (1, 16, *(12,) * dims), 16, two, two, none, (1,) * dims, 1, transposed, none)]


def ones(shape: tuple[int, ...], dtype: np.dtype, data_format: str | None) -> np.ndarray:
    """Ones of a channels-first shape, in the wanted layout."""
    return np.ones((shape[0], *shape[2:], shape[1]) if data_format else shape, dtype)
