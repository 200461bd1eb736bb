"""The race of the demo: one layer of ResNet, 64 channels of 56 x 56 with a 3 x 3 kernel, in every way there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import numconv as nc
from numconv.algorithm import candidates
from numconv.lab.peers import peers
from numconv.lab.timing import Contender, Timing, race
from numconv.problem import ConvProblem
from numconv.terminal import digits, table

SHAPE, WEIGHT_SHAPE = (1, 64, 56, 56), (64, 64, 3, 3)
PROBLEM = ConvProblem.make("conv2d", SHAPE, WEIGHT_SHAPE, padding=1)
# DESIGN's bound for "default" precision; SciPy's FFT in float32 is within it too.
TOLERANCE = 5e-6
ROUNDS = 8


@dataclass(frozen=True)
class Layer:
    """The layer's operands, the right result in float64, and what errors are measured against."""

    x: np.ndarray
    weight: np.ndarray
    expected: np.ndarray
    scale: float


def make_layer() -> Layer:
    """Random operands, the same each time."""
    x = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
    weight = np.random.default_rng(1).standard_normal(WEIGHT_SHAPE, dtype=np.float32)
    wide = x.astype(np.float64), weight.astype(np.float64)
    return Layer(x, weight, numpy_way(*wide), float(numpy_way(*map(np.abs, wide)).max()))


def numpy_way(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What one writes with NumPy alone: windows of the padded image, contracted with the weight."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    return np.moveaxis(np.tensordot(windows, weight, axes=((1, 4, 5), (1, 2, 3))), 3, 1)


def contenders(layer: Layer) -> tuple[list[Contender], dict[str, str]]:
    """Everyone who runs, and (name, why not) of our algorithms that do not take this layer."""
    x, weight = layer.x, layer.weight
    plan = nc.plan("conv2d", x.shape, weight, padding=1)
    found = [Contender(f"numconv plan ({plan.algorithm})", lambda: plan(x), ours=True)]
    refused = {}
    for algorithm, _, reason in candidates(PROBLEM):
        if reason is None:
            found.append(Contender(f"numconv {algorithm.name}", named(layer, algorithm.name), ours=True))
        else:
            refused[algorithm.name] = reason
    found.append(Contender("NumPy sliding_window_view, tensordot", lambda: numpy_way(x, weight)))
    return found + peers(PROBLEM, {"x": x, "weight": weight}), refused


def named(layer: Layer, name: str) -> Callable[[], np.ndarray]:
    """A call of the algorithm `name`."""
    return lambda: nc.conv2d(layer.x, layer.weight, padding=1, algorithm=name)


def run(layer: Layer, field: list[Contender], progress: Callable[[], object]) -> list[Timing]:
    """Race them; the fastest first, wrong results last."""
    timings = race(field, layer.expected, layer.scale, tolerance=TOLERANCE, rounds=ROUNDS, progress=progress)
    return sorted(timings, key=lambda t: (np.isnan(t.seconds), t.seconds))


def gflops(timing: Timing) -> float:
    """Billions of floating-point operations of the direct method a second."""
    return PROBLEM.flops / timing.seconds / 1e9


def summary(timings: list[Timing]) -> str:
    """The race as text."""
    rows = [("3x3, 64 channels, 56x56", "ms", "GFLOP/s", "error", "first call, ms")]
    for t in timings:
        speed = (digits(t.seconds * 1e3), digits(gflops(t))) if t.seconds > 0 else ("wrong result", "")
        rows.append((t.name, *speed, f"{t.error:.1e}", f"{t.first * 1e3:.0f}"))
    return table(rows)
