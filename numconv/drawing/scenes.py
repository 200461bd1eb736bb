"""Which operations can be drawn, and the scene of each."""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.drawing.convolutions import convolution_scene, signal_scene
from numconv.drawing.moves import MOVES, moving_scene
from numconv.drawing.poolings import pooling_scene, unpooling_scene
from numconv.drawing.scene import Scene
from numconv.ops.convolution import as_array
from numconv.problem import LAST, ConvProblem, PoolProblem

POOLINGS = ("max", "avg", "lp", "weighted_avg", "adaptive_avg", "adaptive_max")
KNOWN = (
    *(f"{kind}{n}d" for kind in ("conv", "conv_transpose") for n in (1, 2, 3)),
    *(f"{kind}_pool{n}d" for kind in POOLINGS for n in (1, 2, 3)),
    "global_avg_pool",
    "global_max_pool",
    *(f"max_unpool{n}d" for n in (1, 2, 3)),
    "convolve",
    "correlate",
    *MOVES,
)


def scene_of(operation: str, x: np.ndarray, weight: Any, bias: Any, options: dict[str, Any]) -> Scene:
    """The scene of an operation by its name, with the options of its function."""
    if operation not in KNOWN:
        raise ValueError(f"operation must be one of {', '.join(KNOWN)}, got {operation!r}")
    if operation.startswith("max_unpool"):
        return unpooling_scene(operation, x, weight, options)
    takes_weight = operation.startswith("conv") or operation == "correlate"
    if (weight is None) == takes_weight or (bias is not None and not takes_weight):
        raise TypeError(f"{operation} takes {'a weight' if takes_weight else 'neither weight nor bias'}")
    if operation in ("convolve", "correlate"):
        return signal_scene(operation, x, np.asarray(as_array("weight", weight)), **{"mode": None, **options})
    if operation.startswith("conv"):
        return convolution_scene(operation, x, np.asarray(as_array("weight", weight)), bias, options)
    return (moving_scene if operation in MOVES else pooling_scene)(operation, x, options)


def options_of(problem: ConvProblem | PoolProblem) -> dict[str, Any]:
    """The arguments that make a problem."""
    options: dict[str, Any]
    if isinstance(problem, ConvProblem):
        layout = problem.layout_in
        options = {name: getattr(problem, name) for name in ("stride", "padding", "dilation", "groups", "activation")}
        if problem.operation.startswith("conv_transpose"):
            options["output_size"] = problem.spatial
    else:
        layout, options = problem.layout, _pooling_options(problem)
    if layout == LAST:
        options["data_format"] = LAST
    return options


def _pooling_options(problem: PoolProblem) -> dict[str, Any]:
    if problem.operation.startswith("global"):
        return {}
    if problem.adaptive:
        return {"output_size": problem.out_spatial}
    options: dict[str, Any] = {"kernel_size": problem.kernel, "stride": problem.stride, "padding": problem.padding}
    kind = problem.operation.partition("_pool")[0]
    if kind == "weighted_avg":
        if problem.weights != "gaussian":
            raise TypeError(f"the weights are not in the problem: name the operation, {problem.operation!r}")
        return options
    if problem.operation.startswith("max_unpool"):
        return options | {"output_size": problem.spatial}
    # Windows that reach beyond the padded input are there by `ceil_mode` alone.
    ends = ((o - 1) * s + d * (k - 1) + 1 - b - n - a for o, s, d, k, n, (b, a) in zip(
        problem.out_spatial, problem.stride, problem.dilation, problem.kernel, problem.spatial, problem.padding
    ))  # fmt: skip
    options |= {"dilation": problem.dilation, "ceil_mode": any(end > 0 for end in ends)}
    if kind == "lp":
        options["norm_type"] = problem.norm_type
    if kind == "avg":
        options |= {"count_include_pad": problem.count_include_pad, "divisor_override": problem.divisor_override}
    return options
