"""Race our kernels on a GPU against cuDNN, through PyTorch: `numconv bench --device cuda`."""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import Any

import numpy as np

from numconv.commands.common import show, status_of, write_json
from numconv.files.dtypes import dtype_named
from numconv.lab.device_peers import cudnn_convolution, cudnn_pooling
from numconv.lab.device_race import copy_bandwidth, device_race
from numconv.lab.layers import families, operation, shapes
from numconv.lab.shapes import POOLINGS, RESNET50, Pooling, Shape
from numconv.lab.timing import Contender, Timing
from numconv.terminal import Progress, table

COLUMNS = ("numconv", "cuDNN", "vs cuDNN", "TFLOP/s", "of copy", "error", "algorithm")
TOLERANCES = {"float32": 5e-6, "fast": 2e-3, "float16": 2e-3, "bfloat16": 1.6e-2}


def report(options: argparse.Namespace) -> int:
    """Race each layer, channels last, print milliseconds and ratios, and give the exit status.

    "of copy" is the bytes that must be moved at least, a second, as a part of what a copy on the device moves.
    """
    import numconv as nc
    from numconv.kernels.cuda import toolkit

    toolkit.need()
    pattern, quick, dtype, fast, batch = options.pattern, options.quick, options.dtype, options.fast, options.batch
    rounds, budget = (2, 0.02) if quick else (5, 0.1)
    kinds: dict[str, Any] = {"resnet50": RESNET50, "depthwise": families()["depthwise"], "pooling": POOLINGS}
    chosen = shapes(pattern, quick, {**families(), **kinds} if pattern else kinds)
    bandwidth = copy_bandwidth()
    about = nc.cuda.info()
    records: list[dict[str, Any]] = []
    rows: list[tuple[str, ...]] = [("milliseconds", *COLUMNS)]
    with Progress("layers", len(chosen)) as progress:
        for family, shape in chosen:
            progress.begin(shape.name)
            of_pooling = isinstance(shape, Pooling)
            layer: Any = PoolingLayer(shape, batch, dtype) if of_pooling else ConvLayer(shape, batch, dtype, fast)
            timings = device_race(
                layer.contenders(), layer.expected, layer.scale, tolerance=TOLERANCES["fast" if fast else dtype],
                rounds=rounds, budget=budget,
            )  # fmt: skip
            record = figures(timings, layer, bandwidth) | {"family": family, "shape": shape.name, "count": shape.count}
            records.append(record)
            rows.append((f"{family}/{shape.name}", *cells(record)))
    title = f"{about['name']}, {about['memory'] / 2**30:.0f} GiB, a copy moves {bandwidth / 1e12:.2f} TB/s"
    how = f"batch {batch}, {dtype}{', TF32' if fast else ''}, channels last"
    show("\n".join([title, how, table(rows), *summary(records)]), options)
    write_json({"device": about, "bandwidth": bandwidth, "layers": records}, options)
    return status_of(f"{record['family']}/{record['shape']}" for record in records if math.isnan(record["seconds"]))


class ConvLayer:
    """A convolution of a shape: operands, the first image's right result, and who computes it."""

    def __init__(self, shape: Shape, batch: int, dtype: str, fast: bool) -> None:
        import numconv as nc

        self._shape, self._fast = shape, fast
        self._name = operation(shape)
        self._options: dict[str, Any] = dict(shape.options)
        rng = np.random.default_rng(0)
        self._dtype = dtype_named(dtype)
        x = rng.standard_normal((batch, *shape.x[1:]), np.float32).astype(self._dtype)
        self._x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        self._weight = rng.standard_normal(shape.weight, np.float32).astype(self._dtype)
        first, weight = x[:1].astype(np.float64), self._weight.astype(np.float64)
        function = getattr(nc, self._name)
        self.expected = function(first, weight, **self._options, algorithm="direct")
        self.scale = float(function(abs(first), abs(weight), **self._options, algorithm="direct").max())
        results = batch * self.expected.size
        self.operations = 2 * results * weight[0].size if not shape.transposed else 2 * x.size * weight[0].size
        self.bytes = self._dtype.itemsize * (x.size + results + weight.size)
        self.algorithm = ""

    def contenders(self) -> list[Contender]:
        """Our plan, and PyTorch's functional call where it has a GPU."""
        import numconv as nc

        weight = nc.cuda.to_device(self._weight)
        precision = "fast" if self._fast else "default"
        plan = nc.plan(
            self._name, self._x.shape, weight, data_format="channels_last", precision=precision, **self._options
        )
        self.algorithm = plan.algorithm
        x = nc.cuda.to_device(self._x)
        out = plan(x)
        ours = Contender("numconv", partial(plan, x, out=out), ours=True, read=first_image)
        return [ours, *cudnn_convolution(self._name, self._x, self._weight, self._options, self._fast)]


class PoolingLayer:
    """A pooling."""

    def __init__(self, shape: Pooling, batch: int, dtype: str) -> None:
        import numconv as nc

        self._shape = shape
        self._dtype = dtype_named(dtype)
        x = np.random.default_rng(0).standard_normal((batch, *shape.x[1:]), np.float32).astype(self._dtype)
        self._x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        self.expected = getattr(nc, shape.operation)(x[:1].astype(np.float64), **shape.options)
        self.scale, self.operations, self.algorithm = 1.0, 0, shape.operation
        self.bytes = self._dtype.itemsize * (x.size + batch * self.expected.size)

    def contenders(self) -> list[Contender]:
        """Our function, and PyTorch's where it has a GPU."""
        import numconv as nc

        x = nc.cuda.to_device(self._x)
        call = partial(getattr(nc, self._shape.operation), x, data_format="channels_last", **self._shape.options)
        ours = Contender("numconv", call, ours=True, read=first_image)
        return [ours, *cudnn_pooling(self._shape.operation, self._x, self._shape.options)]


def first_image(result: Any) -> np.ndarray:
    """The first image of our result, channels first."""
    import numconv as nc

    return np.moveaxis(nc.cuda.to_host(result)[:1], -1, 1).astype(np.float64)


def figures(timings: list[Timing], layer: Any, bandwidth: float) -> dict[str, Any]:
    """What the table shows of a layer; NaN where it is not known."""
    seconds = {timing.name: timing.seconds for timing in timings}
    ours, peer = seconds["numconv"], seconds.get("cuDNN", math.nan)
    return {
        "seconds": ours,
        "cudnn": peer,
        "ratio": peer / ours,
        "flops": layer.operations / ours,
        "of_copy": layer.bytes / ours / bandwidth,
        "error": max(timing.error for timing in timings if timing.ours),
        "algorithm": layer.algorithm,
    }


def cells(record: dict[str, Any]) -> list[str]:
    """A record as the table's cells."""
    texts = (
        f"{record['seconds'] * 1e3:.3f}", f"{record['cudnn'] * 1e3:.3f}", f"{record['ratio']:.2f}",
        f"{record['flops'] / 1e12:.1f}" if record["flops"] else "-", f"{record['of_copy']:.2f}",
        f"{record['error']:.0e}",
    )  # fmt: skip
    return [*("-" if text == "nan" else text for text in texts), record["algorithm"]]


def summary(records: list[dict[str, Any]]) -> list[str]:
    """A line a family."""
    lines = []
    for family in dict.fromkeys(record["family"] for record in records):
        mine = [record for record in records if record["family"] == family]
        text = f"{family}: of a copy's bandwidth {min(r['of_copy'] for r in mine):.2f} at least"
        if not any(math.isnan(record["ratio"]) for record in mine):
            mean = math.exp(sum(math.log(record["ratio"]) for record in mine) / len(mine))
            text += f"; vs cuDNN, geometric mean {mean:.2f}, least {min(record['ratio'] for record in mine):.2f}"
        lines.append(text)
    return lines
