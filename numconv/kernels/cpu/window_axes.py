"""The windows of a pooling along one axis: which positions of the source each position of the result looks at.

The window of a result's position is `looks` positions of the source, `first`, `first + step`, ..., those outside the
source left out. With kernel k, stride s, dilation d, padding p before, n positions in and T out:

    forward    position o looks at o s + t d - p, for the taps t < k that lie inside
    adaptive   position o looks at floor(o n / T) to ceil((o + 1) n / T)
    backward   position i looks at the outputs o with o s + t d - p = i, which lie d / gcd(s, d) apart

The gradient of an average is so a pooling of its own, by gathering: it needs no atomics, and a sum has one order.
The transpose of an adaptive pooling is adaptive again, with n and T exchanged.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numconv.problem import PoolProblem


class Axis(NamedTuple):
    """Windows along an axis, for a range of the result's positions, a number for each.

    The weight of a window's j-th position is `weights[weight + j * next_weight]`, where weights of two dimensions have
    a row for each window; the sum is divided by `by`.
    """

    first: np.ndarray
    looks: np.ndarray
    weight: np.ndarray
    by: np.ndarray
    weights: np.ndarray
    next_weight: int
    step: int


def _adaptive(n: int, targets: int, o: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first = o * n // targets
    return first, -(-(o + 1) * n // targets) - first


def forward(problem: PoolProblem, axis: int, o: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first, count, first tap) of outputs."""
    n = problem.spatial[axis]
    if problem.adaptive:
        return *_adaptive(n, problem.out_spatial[axis], o), np.zeros_like(o)
    d = problem.dilation[axis]
    start = o * problem.stride[axis] - problem.padding[axis][0]
    tap = np.maximum(0, -(start // d))
    stop = np.minimum(problem.kernel[axis], (n - 1 - start) // d + 1)
    count = np.maximum(0, stop - tap)
    return start + tap * d, count, np.where(count > 0, tap, 0)


def _backward(problem: PoolProblem, axis: int, i: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first output, how many, tap of the first) of inputs."""
    if problem.adaptive:
        return *_adaptive(problem.out_spatial[axis], problem.spatial[axis], i), np.zeros_like(i)
    k, s, d = problem.kernel[axis], problem.stride[axis], problem.dilation[axis]
    g = math.gcd(s, d)
    apart, place = d // g, i + problem.padding[axis][0]
    low = np.maximum(0, -(((k - 1) * d - place) // s))
    inverse = pow(s // g, -1, apart) if apart > 1 else 0
    first = low + (place // g % apart * inverse - low) % apart
    last = np.minimum(problem.out_spatial[axis] - 1, place // s)
    count = np.where((place % g != 0) | (last < first), 0, (last - first) // apart + 1)
    return first, count, np.where(count > 0, (place - first * s) // d, 0)


def gaussian(kernel: int) -> np.ndarray:
    """Weights that fall with the distance from the middle of a kernel: sigma is a quarter of it."""
    distance = np.arange(kernel) - (kernel - 1) / 2
    return np.exp(-0.5 * (distance / (kernel / 4)) ** 2)


def _divisors(problem: PoolProblem, axis: int, o: np.ndarray) -> np.ndarray:
    """What the sums of outputs are divided by on behalf of an axis."""
    _, count, tap = forward(problem, axis, o)
    if "max" in problem.operation or problem.weights == "array":
        return np.ones(len(o))
    if problem.weights == "gaussian":
        total = np.concatenate([[0.0], np.cumsum(gaussian(problem.kernel[axis]))])
        return np.where(count > 0, total[tap + count] - total[tap], 1.0)
    if problem.divisor_override is not None:
        return np.full(len(o), float(problem.divisor_override if axis == 0 else 1))
    if problem.adaptive or not problem.count_include_pad:
        return np.maximum(count, 1).astype(float)
    start = o * problem.stride[axis] - problem.padding[axis][0]
    room = problem.spatial[axis] + problem.padding[axis][1] - 1 - start
    padded = np.minimum(problem.kernel[axis], room // problem.dilation[axis] + 1)
    return padded / (problem.kernel[axis] if problem.norm_type is not None else 1)


def windows_along(problem: PoolProblem, axis: int, begin: int, end: int) -> Axis:
    targets = np.arange(begin, end)
    s, d = problem.stride[axis], problem.dilation[axis]
    one, ones = np.ones(1), np.ones(len(targets))
    taps = gaussian(problem.kernel[axis]) if problem.weights == "gaussian" else one
    if not problem.backward:
        first, count, tap = forward(problem, axis, targets)
        weighted, step = int(problem.weights is not None), 1 if problem.adaptive else d
        return Axis(first, count, tap * weighted, _divisors(problem, axis, targets), taps, weighted, step)
    first, count, tap = _backward(problem, axis, targets)
    step, back = (1, 0) if problem.adaptive else (d // math.gcd(s, d), -(s // math.gcd(s, d)))
    if problem.weights == "array":
        return Axis(first, count, tap, ones, one, back, step)
    j = np.arange(count.max(initial=1))
    output = np.minimum(first[:, None] + j * step, problem.out_spatial[axis] - 1)
    weights = taps[np.clip(tap[:, None] + j * back, 0, len(taps) - 1)]
    weights = weights / _divisors(problem, axis, output.ravel()).reshape(output.shape)
    if np.ptp(weights) == 0:
        return Axis(first, count, np.zeros_like(first), ones, weights[0, :1], 0, step)
    return Axis(first, count, np.arange(len(targets)) * len(j), ones, weights, 1, step)


def absent() -> Axis:
    zero, one = np.zeros(1, np.int64), np.ones(1)
    return Axis(zero, zero + 1, zero.copy(), one, one, 0, 1)


def row_order(problem: PoolProblem) -> list[int]:
    """The axes, those of one position first, so that rows are as long as can be."""
    return sorted(range(problem.ndim), key=lambda a: problem.spatial[a] > 1 or problem.out_spatial[a] > 1)


def most(problem: PoolProblem, axis: int) -> int:
    """How many positions a window looks at along an axis, at most."""
    n, t = problem.spatial[axis], problem.out_spatial[axis]
    if problem.backward:
        n, t = t, n
    if problem.adaptive:
        return max(1, min(-(-n // max(t, 1)) + 1, n))
    k, s, d = problem.kernel[axis], problem.stride[axis], problem.dilation[axis]
    return max(1, min(-(-k // (s // math.gcd(s, d))) if problem.backward else k, n))


def extent(problem: PoolProblem) -> int:
    """From the first to the last position that a window looks at along a row, at most."""
    row = row_order(problem)[-1]
    k, s, d = problem.kernel[row], problem.stride[row], problem.dilation[row]
    n, t = problem.spatial[row], problem.out_spatial[row]
    if problem.adaptive:
        n, t = (t, n) if problem.backward else (n, t)
        return min(-(-n // max(t, 1)) + 1, n)
    return min((k - 1) * d // s + 2, t) if problem.backward else min((k - 1) * d + 1, n)
