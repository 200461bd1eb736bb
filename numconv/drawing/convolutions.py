"""Convolutions as scenes: for each element of the result the products that are added up."""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.drawing.scene import Scene, Step, Tap, check_readable, number, one_image, positions, sizes
from numconv.ops import convolution, signal
from numconv.problem import ConvProblem, spatial_axes

Place = tuple[int, ...]
_NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _weight(array: np.ndarray, ndim: int) -> np.ndarray:
    """(out, in, *kernel); channels may be left out."""
    if array.ndim not in (ndim, ndim + 2):
        raise ValueError(f"weight must have {ndim + 2} axes, or {ndim} for one channel, got shape {array.shape}")
    return array if array.ndim == ndim + 2 else array[None, None]


def _described(problem: ConvProblem, mode: str, shapes: str) -> str:
    parts = [problem.operation]
    for name in ("stride", "dilation"):
        values = getattr(problem, name)
        if set(values) != {1}:
            parts.append(f"{name} {_short(values)}")
    if any(map(any, problem.padding)):
        kind = "" if mode == "zeros" else f" ({mode})"
        parts.append(f"padding {_short(problem.padding)}{kind}")
    if problem.groups > 1:
        parts.append(f"groups {problem.groups}")
    return f"{', '.join(parts)}:  {shapes}"


def _short(values: tuple[Any, ...]) -> str:
    """One for all where all are alike."""
    flat = [v for pair in values for v in (pair if isinstance(pair, tuple) else (pair,))]
    return str(flat[0]) if len(set(flat)) == 1 else str(values).replace(" ", "")


def _sentence(total: Any, bias: Any, problem: ConvProblem, result: Any) -> str:
    if bias is None and problem.activation is None:
        wrapped = problem.dtype.kind in "iu" and total != result
        between = f"{number(total)}, as {problem.dtype} " if wrapped else "= "
        return f"sum of the products {between}{number(result)}"
    added = "" if bias is None else f" + bias {number(bias)}"
    if problem.activation is None:
        return f"sum {number(total)}{added} = {number(result)}"
    return f"{problem.activation[0]}(sum {number(total)}{added}) = {number(result)}"


def _product(source: Place, place: Place, left: Any, right: Any) -> Tap:
    """A tap of two factors, multiplied as numbers of Python, which do not wrap."""
    left, right = left.item(), right.item()
    return Tap(source, place, left * right, (left, right))


def convolution_scene(operation: str, x: np.ndarray, weight: np.ndarray, bias: Any, options: dict[str, Any]) -> Scene:
    """The scene of ``conv{n}d`` or ``conv_transpose{n}d`` with the options of those."""
    ndim = spatial_axes(operation)
    last = convolution.layout_of(options.pop("data_format", None), ndim) == convolution.LAST
    image = one_image("x", np.moveaxis(x, -1, -ndim - 1) if last and x.ndim > ndim else x, ndim)
    weight = _weight(weight, ndim)
    bias = None if bias is None else np.asarray(bias)
    result = getattr(convolution, operation)(image[None], weight, bias, **options)[0]
    mode = options.pop("padding_mode", "zeros")
    used = {name: value for name, value in options.items() if name not in ("algorithm", "precision")}
    problem = ConvProblem.make(
        operation, (1, *image.shape), weight.shape, image.dtype,
        bias_shape=None if bias is None else bias.shape, **used,
    )  # fmt: skip
    scene = _transposed if operation.startswith("conv_transpose") else _forward
    return scene(problem, image, weight, bias, result, mode)


def _forward(
    problem: ConvProblem, image: np.ndarray, weight: np.ndarray, bias: Any, result: np.ndarray, mode: str
) -> Scene:
    source = np.pad(image, ((0, 0), *problem.padding), mode=_NUMPY_MODES[mode])  # type: ignore[call-overload]
    check_readable(source, result)
    inside = (slice(None), *(slice(b, b + n) for (b, _), n in zip(problem.padding, problem.spatial)))
    each, per = problem.ci // problem.groups, problem.co // problem.groups
    steps = []
    for o, *at in positions(result.shape):
        first = o // per * each
        taps = []
        for c, *k in positions((each, *problem.kernel)):
            place = tuple(p * s + i * d for p, s, i, d in zip(at, problem.stride, k, problem.dilation))
            taps.append(_product((first + c, *place), (first + c, *k), source[first + c, *place], weight[o, c, *k]))
        total = sum(tap.value for tap in taps)
        sentence = _sentence(total, None if bias is None else bias[o], problem, result[o, *at])
        steps.append(Step((o, *at), range(first, first + each), problem.kernel, taps, sentence, weight[o]))
    shapes = f"{sizes(image.shape)} → {sizes(result.shape)}"
    return Scene(_described(problem, mode, shapes), source, inside, result, steps, "products")


def _transposed(
    problem: ConvProblem, image: np.ndarray, weight: np.ndarray, bias: Any, result: np.ndarray, mode: str
) -> Scene:
    check_readable(image, result)
    each, per = problem.co // problem.groups, problem.ci // problem.groups
    steps = []
    for o, *at in positions(result.shape):
        group, column = divmod(o, per)
        first = group * each
        taps = []
        for c, *k in positions((each, *problem.kernel)):
            reach = [p + b - i * d for p, (b, _), i, d in zip(at, problem.padding, k, problem.dilation)]
            place = [r // s for r, s in zip(reach, problem.stride)]
            hit = all(r % s == 0 and 0 <= p < n for r, s, p, n in zip(reach, problem.stride, place, image.shape[1:]))
            if hit:
                taps.append(
                    _product(
                        (first + c, *place), (first + c, *k), image[first + c, *place], weight[first + c, column, *k]
                    )
                )
        total = sum(tap.value for tap in taps)
        sentence = _sentence(total, None if bias is None else bias[o], problem, result[o, *at])
        filters = weight[first : first + each, column]
        steps.append(Step((o, *at), range(first, first + each), problem.kernel, taps, sentence, filters))
    shapes = f"{sizes(image.shape)} → {sizes(result.shape)}"
    everything = (slice(None),) * image.ndim
    return Scene(_described(problem, "zeros", shapes), image, everything, result, steps, "products")


def signal_scene(operation: str, a: np.ndarray, v: np.ndarray, mode: str | None) -> Scene:
    """The scene of ``convolve`` or ``correlate`` of two arrays: the kernel of a convolution is turned round."""
    if a.ndim != v.ndim or not 1 <= a.ndim <= 3:
        raise ValueError(f"{operation} is drawn for two arrays of 1 to 3 axes alike, got shapes {a.shape}, {v.shape}")
    if any(n < k for n, k in zip(a.shape, v.shape)):
        raise ValueError(f"v must be no larger than a, got shapes {a.shape} and {v.shape}")
    mode = mode or ("full" if operation == "convolve" else "valid")
    axes = None if a.ndim == 1 else tuple(range(a.ndim))
    result = getattr(signal, operation)(a, v, mode, axes)
    kernel = np.flip(v) if operation == "convolve" else v
    padding: Any = mode
    if mode == "same":  # of an even kernel, NumPy keeps the place of the result's middle in the full one
        starts = [(k - 1) // 2 for k in v.shape]
        padding = tuple((k - 1 - s, s) for k, s in zip(v.shape, starts))
    scene = convolution_scene(f"conv{a.ndim}d", a, kernel, None, {"padding": padding})
    turned = " (kernel turned round)" if operation == "convolve" else ""
    title = f"{operation}, {mode}{turned}:  {sizes(a.shape)} → {sizes(result.shape)}"
    steps = [step._replace(sentence=f"sum of the products = {number(result[step.result[1:]])}") for step in scene.steps]
    return Scene(title, scene.source, scene.inside, result[None], steps, scene.middle)
