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
    if isinstance(problem, ConvProblem):
        layout = problem.layout_in
        options = {name: getattr(problem, name) for name in ("stride", "padding", "dilation", "groups", "activation")}
        if problem.operation.startswith("conv_transpose"):
            options["output_size"] = problem.spatial
    else:
        layout = problem.layout
        options = {name: getattr(problem, name) for name in ("stride", "padding", "dilation")}
        options["kernel_size"] = problem.kernel
        if problem.adaptive:
            options = {} if problem.operation.startswith("global") else {"output_size": problem.out_spatial}
        for name in ("norm_type", "divisor_override"):
            if getattr(problem, name, None) is not None:
                options[name] = getattr(problem, name)
        if problem.operation.startswith("avg"):
            options["count_include_pad"] = problem.count_include_pad
    if layout == LAST:
        options["data_format"] = LAST
    return options
