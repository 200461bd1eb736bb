"""What a kernel is asked by a check: small problems of any operation, their operands, and the oracle's answer.

A question is data: it can be made smaller (`shrinking`), printed, and asked in another process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

import numconv as nc
from numconv.algorithm import using
from numconv.lab import reference
from numconv.lab.cases import ConvCase, PoolCase, conv_cases, pool_cases
from numconv.problem import LAST, spatial_axes

LONGEST = 400_000  # multiply-adds of a question: the oracle takes 0.1 s for so many
TRIES = 400  # of a random problem that fits


@dataclass(frozen=True)
class Question:
    """A problem: the operation, a case, and what the case does not say.

    Attributes
    ----------
    last : bool
        Whether channels come last in the arrays of the call.
    dtype : str
    more : dict
        Further options of the public function.
    seed : int
        Of the numbers in its arrays.
    """

    operation: str
    case: ConvCase | PoolCase
    last: bool = False
    dtype: str = "float32"
    more: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __str__(self) -> str:
        c = self.case
        if isinstance(c, ConvCase):
            parts = [f"x {c.x_shape}", f"w {c.weight_shape}"]
            numbers: dict[str, Any] = {"groups": c.groups, "output_padding": c.output_padding}
        elif self.operation.startswith("global"):
            return f"{self.operation}: x {c.x_shape}, {self._said({})}"
        elif self.operation.startswith("adaptive"):
            return f"{self.operation}: x {c.x_shape}, output size {output_size(c)}, {self._said({})}"
        else:
            parts = [f"x {c.x_shape}", f"kernel {c.kernel}"]
            numbers = {"ceil_mode": c.ceil_mode}
        numbers = {"stride": c.stride, "padding": c.padding, "dilation": c.dilation} | numbers
        plain = {(1,) * len(c.spatial), (0,) * len(c.spatial), ((0, 0),) * len(c.spatial), 1, False}
        shown = {name: value for name, value in numbers.items() if value not in plain}
        return f"{self.operation}: {', '.join(parts)}, {self._said(shown)}"

    def _said(self, numbers: dict[str, Any]) -> str:
        numbers = numbers | {name: "an array" if isinstance(v, np.ndarray) else v for name, v in self.more.items()}
        said = [f"{name} {value}" for name, value in numbers.items()]
        return ", ".join([*said, self.dtype, *(["channels last"] if self.last else [])])

    @property
    def work(self) -> int:
        """About how many elements are looked at."""
        c = self.case
        if isinstance(c, ConvCase):
            size = (
                c.spatial if c.transposed else reference.conv_size(c.spatial, c.kernel, c.stride, c.padding, c.dilation)
            )
            return c.n * math.prod(size) * math.prod(c.kernel) * c.ci * c.co // c.groups
        return c.n * c.c * math.prod(c.spatial) * math.prod(c.kernel)


class Posed(NamedTuple):
    """A question with its arrays: what the public function is called with, and what it must give."""

    operands: tuple[Any, ...]
    options: dict[str, Any]
    expected: tuple[np.ndarray, ...]
    scale: float

    def ask(self, operation: str, name: str) -> tuple[np.ndarray, ...]:
        """The public function's results, by the algorithm of this name."""
        with using(name):
            result = getattr(nc, operation)(*self.operands, **self.options)
        return result if isinstance(result, tuple) else (result,)


def output_size(case: PoolCase) -> tuple[int, ...]:
    """What an adaptive pooling is asked for: windows of about the kernel, or, of kernels of 1, more than elements."""
    return tuple(n * s if k == 1 else max(1, n // k) for n, k, s in zip(case.spatial, case.kernel, case.stride))


def pose(q: Question) -> Posed:
    """Arrays and answer of a question. ValueError where the operation has no such problem."""
    rng = np.random.default_rng(q.seed)
    wide = "max" in q.operation  # a maximum must not begin at a number that only seems low

    def fill(*shape: int) -> np.ndarray:
        if np.dtype(q.dtype).kind in "iu":
            whole = np.iinfo(q.dtype)
            low, high = (whole.min, whole.max) if wide else (max(whole.min, -8), 8)
            return rng.integers(low, high, shape, q.dtype, endpoint=True)
        values = rng.standard_normal(shape) * (1e3 if wide else 1)
        return (values + 1j * rng.standard_normal(shape) if np.dtype(q.dtype).kind == "c" else values).astype(q.dtype)

    options: dict[str, Any] = {"data_format": LAST} if q.last else {}
    posed = (_convolution if isinstance(q.case, ConvCase) else _pooling)(q, q.case, fill)  # type: ignore[arg-type]
    return Posed(
        tuple(_turned(a) if q.last and isinstance(a, _Image) else _bare(a) for a in posed.operands),
        options | posed.options,
        tuple(np.moveaxis(y, 1, -1) if q.last and not q.operation.endswith("_weight") else y for y in posed.expected),
        posed.scale,
    )


class _Image(NamedTuple):
    """An operand, or the shape of one, whose channels may come last."""

    value: Any


def _bare(operand: Any) -> Any:
    return operand.value if isinstance(operand, _Image) else operand


def _turned(operand: _Image) -> Any:
    if isinstance(operand.value, tuple):
        n, c, *spatial = operand.value
        return (n, *spatial, c)
    return np.ascontiguousarray(np.moveaxis(operand.value, 1, -1))


def _convolution(q: Question, c: ConvCase, fill: Any) -> Posed:
    x, w, options = fill(*c.x_shape), fill(*c.weight_shape), c.options
    operation = q.operation
    if not operation.endswith(("_input", "_weight")):
        forward: Any = reference.conv_transpose if c.transposed else reference.conv
        expected, scale = forward(x, w, None, **options), reference.scale(forward, x, w, **options)
        return Posed((_Image(x), w), options, (expected,), scale)
    size = reference.conv_size(c.spatial, c.kernel, c.stride, c.padding, c.dilation)
    gradient = fill(c.n, c.co, *size)
    if operation.endswith("_input"):
        given: tuple[Any, ...] = (x.shape, w, gradient)
        oracle: Any = reference.conv_input
        shown: tuple[Any, ...] = (_Image(x.shape), w, _Image(gradient))
    else:
        given, oracle = (x, w.shape, gradient), reference.conv_weight
        shown = (_Image(x), w.shape, _Image(gradient))
    return Posed(shown, options, (oracle(*given, **options),), reference.scale(oracle, *given, **options))


def _pooling(q: Question, c: PoolCase, fill: Any) -> Posed:
    x, ones = fill(*c.x_shape), (1,) * len(c.spatial)
    name, gradient = q.operation.removesuffix("_input"), q.operation.endswith("_input")
    kind = name.rpartition("_pool")[0] or "max_un"  # max, adaptive_avg, ...
    window: dict[str, Any] = {"stride": c.stride, "padding": c.padding}
    if kind in ("max", "avg", "lp"):
        window |= {"dilation": c.dilation, "ceil_mode": c.ceil_mode}
    size = {"kernel_size": c.kernel}
    if "max" in kind:
        return _maximum(q, c, x, fill, kind, window | size)
    if kind in ("adaptive_avg", "global_avg"):
        out = output_size(c) if kind == "adaptive_avg" else ones
        if gradient:
            g = fill(c.n, c.c, *out)
            return _summed(reference.adaptive_avg_pool_input, (x.shape, g), {}, (_Image(x.shape), _Image(g)), {})
        shown = (_Image(x), out) if kind == "adaptive_avg" else (_Image(x),)
        return _summed(reference.adaptive_avg_pool, (x, out), {}, shown, {})
    y_size = reference.pool_size(c.spatial, c.kernel, c.stride, c.padding, c.dilation, c.ceil_mode)
    g = fill(c.n, c.c, *y_size)
    if kind == "lp":
        p, x = q.more.get("norm_type", 2.0), np.abs(x) + np.asarray(0.5, x.dtype)
        rest = {name: value for name, value in q.more.items() if name != "norm_type"} | window
        if gradient:
            return _summed(reference.lp_pool_input, (x, p, c.kernel, g), rest, (_Image(x), _Image(g), p), rest | size)
        return _summed(reference.lp_pool, (x, p, c.kernel), rest, (_Image(x), p), rest | size)
    options = q.more | window
    oracle_options = dict(options)
    if kind == "weighted_avg":
        options["weights"] = oracle_options["weights"] = 1.0 + np.arange(math.prod(c.kernel)).reshape(c.kernel)
    oracle = getattr(reference, f"{kind}_pool{'_input' if gradient else ''}")
    if gradient:
        return _summed(oracle, (x.shape, g, c.kernel), oracle_options, (_Image(x.shape), _Image(g)), options | size)
    return _summed(oracle, (x, c.kernel), oracle_options, (_Image(x),), options | size)


def _summed(oracle: Any, given: tuple[Any, ...], more: dict[str, Any], shown: tuple[Any, ...], options: Any) -> Posed:
    expected = oracle(*given, **more)
    scale = (
        float(np.abs(expected).max(initial=0)) if "lp" in oracle.__name__ else reference.scale(oracle, *given, **more)
    )
    return Posed(shown, options, (expected,), scale)


def _maximum(q: Question, c: PoolCase, x: np.ndarray, fill: Any, kind: str, window: dict[str, Any]) -> Posed:
    """Maxima, and what goes by their indices."""
    ones, everywhere = (1,) * len(c.spatial), q.operation.startswith("global")
    if kind == "max":
        named = {name: value for name, value in window.items() if name != "kernel_size"}
        values, indices = reference.max_pool(x, c.kernel, **named)
    elif kind == "max_un":
        values, indices = reference.adaptive_max_pool(x, output_size(replace(c, stride=ones)))
    else:
        values, indices = reference.adaptive_max_pool(x, ones if everywhere else output_size(c))
    if "unpool" in q.operation:
        back = {"kernel_size": 1, "stride": 10**6, "output_size": c.spatial}
        if q.operation.endswith("_input"):
            g = fill(*c.x_shape)
            shown = (_Image(values.shape), _Image(indices), _Image(g))
            return Posed(shown, {}, (reference.max_unpool_input(indices, g),), 1.0)
        values = values.astype(x.dtype)
        step = tuple(max(1, -(-n // m)) for n, m in zip(c.spatial, values.shape[2:]))
        back |= {"kernel_size": step, "stride": step}
        return Posed((_Image(values), _Image(indices)), back, (reference.max_unpool(values, indices, c.spatial),), 1.0)
    if q.operation.endswith("_input") and not everywhere:
        g = fill(*values.shape)
        given = (x.shape, indices, g)
        scale = float(reference.max_pool_input(x.shape, indices, np.abs(g)).max(initial=0))
        shown = (_Image(x.shape), _Image(indices), _Image(g))
        return Posed(shown, {}, (reference.max_pool_input(*given),), scale)
    if everywhere:
        if q.operation.endswith("_input"):
            g = fill(*values.shape)
            return Posed((_Image(x), _Image(g)), {}, (reference.max_pool_input(x.shape, indices, g),), 1.0)
        return Posed((_Image(x),), {}, (values,), 1.0)
    options = window if kind == "max" else {"output_size": output_size(c)}
    if q.more.get("return_indices"):
        return Posed((_Image(x),), options | q.more, (values, indices), 1.0)
    return Posed((_Image(x),), options, (values,), 1.0)


def questions(operation: str, dtypes: tuple[str, ...], indexed: bool, random: int, seed: int) -> Iterator[Question]:
    """The named cases of an operation, then random problems; small ones first."""
    found = [q for q in (*_named(operation), *_large(operation)) if q.work <= LONGEST]
    rng = np.random.default_rng(seed)
    made = (_random(operation, rng) for _ in range(TRIES))
    found += [q for q in made if q is not None][:random]
    main = "float32" if "float32" in dtypes else dtypes[0]
    for i, q in enumerate(sorted(found, key=lambda q: ("empty" in q.case.tags, q.work))):
        dtype = dtypes[i // 2 % len(dtypes)] if i % 2 else main
        more = dict(_options(operation, i))
        if indexed and i % 3:
            more["return_indices"] = True
        yield replace(q, last=i % 4 == 3, dtype=dtype, more=more, seed=seed + i)


def _options(operation: str, i: int) -> dict[str, Any]:
    if operation.startswith("avg_pool"):
        return ({}, {"count_include_pad": False}, {"divisor_override": 5})[i % 3]
    if operation.startswith("lp_pool"):
        return ({"norm_type": 2.0}, {"norm_type": 3.0})[i % 2]
    return {}


def _named(operation: str) -> Iterator[Question]:
    if operation.startswith("conv"):
        for case in conv_cases(f"{spatial_axes(operation)}d"):
            if case.transposed == ("transpose" in operation):
                yield Question(operation, case)
        return
    axes = 2 if operation.startswith("global") else spatial_axes(operation)
    plain = operation.startswith("weighted")
    for pool in pool_cases(f"{axes}d"):
        if plain and (pool.ceil_mode or set(pool.dilation) != {1}):
            continue
        yield Question(operation, pool)


def _large(operation: str) -> Iterator[Question]:
    """Problems of which one number is large, since kernels go other ways where blocks and vectors are full."""
    axes = 2 if operation.startswith("global") else spatial_axes(operation)
    spatial, kernel = {1: ((8,), (3,)), 2: ((3, 4), (2, 2)), 3: ((2, 3, 3), (2, 2, 2))}[axes]
    ones, none = (1,) * axes, ((0, 0),) * axes
    plain: Any = PoolCase("large", 1, 2, spatial, kernel, ones, none, ones, False, frozenset())
    counts: list[dict[str, Any]] = [{"n": 9}, {"c": 32}, {"c": 65}, {"c": 130}]
    if operation.startswith("conv"):
        transposed = "transpose" in operation
        plain = ConvCase("large", 1, 2, 2, spatial, kernel, ones, none, ones, 1, transposed, (0,) * axes, frozenset())
        counts = [
            {"n": 9}, {"ci": 65}, {"co": 65}, {"ci": 130}, {"co": 130}, {"ci": 32, "co": 32}, {"ci": 64, "co": 64},
            {"ci": 16, "co": 32, "groups": 8}, {"ci": 40, "co": 40, "groups": 40},
        ]  # fmt: skip
    for numbers in counts:
        yield Question(operation, replace(plain, **numbers))
    for axis in range(axes):
        for longest in (130, 257) if axis == axes - 1 else (33,):
            yield Question(operation, replace(plain, spatial=changed(spatial, axis, longest)))
        roomy = replace(plain, spatial=changed(spatial, axis, 19))
        for name, value in (("kernel", 11), ("stride", 5), ("dilation", 5)):
            if not (operation.startswith("weighted") and name == "dilation"):
                yield Question(operation, replace(roomy, **{name: changed(getattr(roomy, name), axis, value)}))


def changed(values: tuple[Any, ...], axis: int, value: Any) -> tuple[Any, ...]:
    """The values with another one for an axis."""
    return (*values[:axis], value, *values[axis + 1 :])


def _random(operation: str, rng: Any) -> Question | None:
    """A random problem, or None where the numbers drawn make none."""
    axes = 2 if operation.startswith("global") else spatial_axes(operation)

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(int(v) for v in rng.integers(low, high, axes))

    longest, widest = {1: (24, 7), 2: (10, 5), 3: (6, 4)}[axes]
    spatial, kernel, stride, dilation = each(1, longest), each(1, widest), each(1, 4), each(1, 3)
    padding = tuple((int(b), int(a)) for b, a in rng.integers(0, 3, (axes, 2)))
    n = int(rng.integers(1, 4))
    try:
        if not operation.startswith("conv"):
            if operation.startswith("weighted"):
                dilation, ceil = (1,) * axes, False
            else:
                ceil = bool(rng.integers(2))
            case: ConvCase | PoolCase = PoolCase(
                "random", n, int(rng.integers(1, 6)), spatial, kernel, stride, padding, dilation, ceil, frozenset()
            )
            sizes = reference.pool_size(spatial, kernel, stride, padding, dilation, ceil)
            return Question(operation, case) if min(sizes) > 0 else None
        groups = int(rng.choice([1, 1, 2, 3]))
        ci, co = (groups * int(v) for v in rng.integers(1, 5, 2))
        transposed = "transpose" in operation
        extra = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation)) if transposed else (0,) * axes
        conv = ConvCase(
            "random", n, ci, co, spatial, kernel, stride, padding, dilation, groups, transposed, extra, frozenset()
        )
        forward = operation if transposed else f"conv{axes}d"
        nc.ConvProblem.make(forward, conv.x_shape, conv.weight_shape, **conv.options)  # type: ignore[arg-type]
        return Question(operation, conv)
    except ValueError:
        return None
