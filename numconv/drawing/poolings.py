"""Poolings as scenes: for each element of the result the window that it comes from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numconv.drawing.scene import Scene, Step, Tap, check_readable, number, one_image, positions, sizes
from numconv.ops import pooling
from numconv.ops.pooling_call import pool_problem
from numconv.problem import LAST, PoolProblem, layout_of, spatial_axes

Place = tuple[int, ...]


def _place_of(index: int, spatial: tuple[int, ...]) -> str:
    """Where a flat index lies, in words."""
    place = tuple(map(int, np.unravel_index(index, spatial)))
    return f"position {place[0]}" if len(place) == 1 else f"position {place}"


def pooling_scene(operation: str, x: np.ndarray, options: dict[str, Any]) -> Scene:
    """The scene of a max, average, Lp, weighted average, adaptive or global pooling with the options of those."""
    everywhere = operation.startswith("global")
    ndim = _axes(x) if everywhere else spatial_axes(operation)
    last = pooling_layout(options.pop("data_format", None), ndim)
    image = one_image("x", np.moveaxis(x, -1, -ndim - 1) if last and x.ndim > ndim else x, ndim)
    options.pop("return_indices", None)
    p = options.get("norm_type")
    if p is not None and np.isinf(p):
        raise ValueError(f"an Lp pooling of infinite p is drawn as max_pool{ndim}d of the absolute values")
    result = getattr(pooling, operation)(image[None], **options)[0]
    options.pop("algorithm", None)
    weights = options.get("weights", "gaussian") if operation.startswith("weighted") else None
    problem = pool_problem(operation, image[None], **options)
    if everywhere or (problem.adaptive and problem.spatial != image.shape[1:]):  # written as a flat one
        out = result.shape[1:]
        problem = PoolProblem.make(f"adaptive_avg_pool{ndim}d", (1, *image.shape), output_size=out)
    filters = None if weights is None else _weights(weights, problem.kernel)
    source, inside = _shown(problem, image, -np.inf if "max" in operation else 0)
    check_readable(source, result)
    steps = []
    for c, *at in positions(result.shape):
        window, value = _window(problem, c, tuple(at), source, inside), result[c, *at]
        if "max" in operation:
            taps, sentence = _largest(window, value)
        elif filters is not None:
            taps, sentence = _weighted(window, filters, value)
        elif p is not None:
            taps, sentence = _powers(window, p, problem, value)
        else:
            taps, sentence = _mean(window, problem, value)
        shown = None if filters is None else filters[None]
        steps.append(Step((c, *at), range(c, c + 1), window.shape, taps, sentence, shown))
    middle = {"lp": "powers", "weighted": "products"}.get(operation.partition("_")[0], "window")
    title = f"{operation}{_described(problem, p)}:  {sizes(image.shape)} → {sizes(result.shape)}"
    return Scene(title, source, inside, result, steps, middle)


def _axes(x: np.ndarray) -> int:
    """Spatial axes of what is pooled globally: (C, *spatial), or (1, C, *spatial) where there are four axes or more."""
    batched = x.ndim > 3 and x.shape[0] == 1
    return min(max(x.ndim - 1 - batched, 1), 3)


def pooling_layout(data_format: str | None, ndim: int) -> bool:
    """Whether channels come last."""
    return layout_of(data_format, ndim) == LAST


def _described(problem: PoolProblem, p: Any) -> str:
    text = "" if p is None else f" p = {number(p)}"
    if problem.adaptive:
        return text
    text += f" {sizes(problem.kernel)}"
    if problem.stride != problem.kernel:
        text += f", stride {problem.stride[0] if len(set(problem.stride)) == 1 else problem.stride}"
    if set(problem.dilation) != {1}:
        text += f", dilation {problem.dilation[0] if len(set(problem.dilation)) == 1 else problem.dilation}"
    if any(map(any, problem.padding)):
        alike = len({v for pair in problem.padding for v in pair}) == 1
        text += f", padding {problem.padding[0][0] if alike else problem.padding}"
    return text


def _weights(weights: Any, kernel: tuple[int, ...]) -> np.ndarray:
    """The weights of a weighted average; "gaussian" is exp(-d^2 / 2), d in quarters of the kernel's size."""
    if not isinstance(weights, str):
        return np.asarray(weights, np.float64)
    far = sum(((np.arange(k) - (k - 1) / 2) / (k / 4)).reshape(-1, *(1,) * (len(kernel) - 1 - i)) ** 2
              for i, k in enumerate(kernel))  # fmt: skip
    return np.exp(-np.asarray(far) / 2)


def _shown(problem: PoolProblem, image: np.ndarray, lowest: float) -> tuple[np.ndarray, tuple[slice, ...]]:
    """The input with its padding, and with what windows of `ceil_mode` reach beyond it."""
    pads = []
    for n, o, k, s, (before, after), d in zip(
        problem.spatial, problem.out_spatial, problem.kernel, problem.stride, problem.padding, problem.dilation
    ):
        reach = 0 if problem.adaptive else (o - 1) * s + d * (k - 1) + 1 - n - before
        pads.append((before, max(after, reach)))
    inside = (slice(None), *(slice(b, b + n) for (b, _), n in zip(pads, problem.spatial)))
    return np.pad(image.astype(np.float64), ((0, 0), *pads), constant_values=lowest), inside


class _Window(NamedTuple):
    """A window of one channel: for each place in it a position in the padded input, and the element there."""

    channel: int
    shape: Place
    places: dict[Place, Place]
    values: dict[Place, Any]
    within: set[Place]  # the places that are not in the padding

    def tap(self, k: Place, value: Any, terms: tuple[Any, ...] = (), wins: bool = False) -> Tap:
        return Tap((self.channel, *self.places[k]), (self.channel, *k), value, terms, wins)


def _window(problem: PoolProblem, channel: int, at: Place, source: np.ndarray, inside: tuple[slice, ...]) -> _Window:
    if problem.adaptive:
        sizes_of = list(zip(at, problem.spatial, problem.out_spatial))
        starts, ends = [i * n // m for i, n, m in sizes_of], [-(-(i + 1) * n // m) for i, n, m in sizes_of]
        shape = tuple(end - start for start, end in zip(starts, ends))
        places = {k: tuple(s + i for s, i in zip(starts, k)) for k in positions(shape)}
    else:
        shape = problem.kernel
        places = {
            k: tuple(p * s + i * d for p, s, i, d in zip(at, problem.stride, k, problem.dilation))
            for k in positions(shape)
        }
    values = {k: source[channel, *i] for k, i in places.items()}
    within = {k for k, i in places.items() if all(s.start <= v < s.stop for v, s in zip(i, inside[1:]))}
    return _Window(channel, shape, places, values, within)


def _largest(window: _Window, result: Any) -> tuple[list[Tap], str]:
    alike = [k for k, v in window.values.items() if k in window.within and (v == result or np.isnan(v))]
    winner = alike[-1 if np.isnan(result) else 0] if alike else None  # of equal ones the first, of NaN the last
    taps = [window.tap(k, value, wins=k == winner) for k, value in window.values.items()]
    return taps, f"largest = {number(result)}"


def _weighted(window: _Window, weights: np.ndarray, result: Any) -> tuple[list[Tap], str]:
    taps = [window.tap(k, value * weights[k], (value, weights[k])) for k, value in window.values.items()]
    total, share = sum(tap.value for tap in taps), sum(weights[k] for k in window.within)
    return taps, f"sum {number(total)} / weights inside {number(share)} = {number(result)}"


def _powers(window: _Window, p: Any, problem: PoolProblem, result: Any) -> tuple[list[Tap], str]:
    taps = [window.tap(k, value**p) for k, value in window.values.items()]
    total, size, counted = sum(tap.value for tap in taps), len(taps), _divisor(problem, window)
    missing = "" if counted == size else f" · {size}/{counted}"
    return taps, f"(sum of x^{number(p)} {number(total)}{missing})^(1/{number(p)}) = {number(result)}"


def _mean(window: _Window, problem: PoolProblem, result: Any) -> tuple[list[Tap], str]:
    total = sum(window.values.values())
    taps = [window.tap(k, value) for k, value in window.values.items()]
    return taps, f"sum {number(total)} / {_divisor(problem, window)} = {number(result)}"


def _divisor(problem: PoolProblem, window: _Window) -> int:
    if problem.divisor_override is not None:
        return problem.divisor_override
    if not problem.count_include_pad:
        return len(window.within)
    ends = [b + n + a for (b, a), n in zip(problem.padding, problem.spatial)]
    return sum(all(v < e for v, e in zip(i, ends)) for i in window.places.values())


def unpooling_scene(operation: str, x: np.ndarray, indices: Any, options: dict[str, Any]) -> Scene:
    """The scene of ``max_unpool{n}d``: each element goes where its index says."""
    ndim = spatial_axes(operation)
    if pooling_layout(options.pop("data_format", None), ndim):
        raise ValueError(f"{operation} is drawn with channels first")
    if indices is None:
        raise ValueError(f"{operation} needs the indices of the max pooling as its weight argument, got None")
    image, places = one_image("x", x, ndim), one_image("indices", np.asarray(indices), ndim)
    result = getattr(pooling, operation)(image[None], places[None], **options)[0]
    check_readable(image, result, steps=image.size)
    spatial = result.shape[1:]
    steps = []
    for c, *at in positions(image.shape):
        index = int(places[c, *at])
        tap = Tap((c, *at), (c, *(0,) * ndim), image[c, *at], (), True)
        sentence = f"index {index}: back to {_place_of(index, spatial)}"
        target = (c, *map(int, np.unravel_index(index, spatial)))
        steps.append(Step(target, range(c, c + 1), (1,) * ndim, [tap], sentence))
    title = f"{operation}:  {sizes(image.shape)} → {sizes(result.shape)}"
    return Scene(title, image, (slice(None),) * image.ndim, result, steps, "moved")
