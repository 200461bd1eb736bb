"""Questions that poolings and their gradients are asked, with the oracle's answers."""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from passes import arranged

import numconv as nc
from numconv.kernels.cpu.tables import TABLES
from numconv.lab import reference as ref
from numconv.lab.cases import arrays, pool_cases
from numconv.problem import spatial_axes

OPERATIONS = tuple(sorted(name for name in TABLES if "pool" in name))
ENTRIES = [(operation, algorithm.name) for operation in OPERATIONS for algorithm in TABLES[operation]]
AVERAGES = ({}, {"count_include_pad": False}, {"divisor_override": -3})


class Question(NamedTuple):
    """Arguments with channels first, where a tuple is the shape of an input; the oracle's answers; an error's scale."""

    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    expected: tuple[np.ndarray, ...]
    scale: float = 1.0


def ask(operation: str, question: Question, layout: str = "first", **more) -> tuple[np.ndarray, ...]:
    """The public function on the arguments arranged; its results channels first."""
    last = layout.startswith("last")
    arguments = []
    for argument in question.arguments:
        if isinstance(argument, np.ndarray):
            arguments.append(arranged(argument, layout))
        else:
            n, c, *spatial = argument
            arguments.append((n, *spatial, c) if last else argument)
    options = dict(question.options, data_format="channels_last" if last else None, **more)
    results = getattr(nc, operation)(*arguments, **options)
    results = results if isinstance(results, tuple) else (results,)
    assert all(array.flags.c_contiguous and array.flags.writeable for array in results)
    return tuple(np.moveaxis(array, -1, 1) if last else array for array in results)


def asked(operation: str, question: Question, layout: str, algorithm: str) -> tuple[np.ndarray, ...] | None:
    """What one algorithm answers; None where it rejects the problem."""
    with nc.using(algorithm):
        try:
            return ask(operation, question, layout)
        except ValueError as error:
            if "rejects this problem" not in str(error):
                raise
            return None


def agree(results, question: Question, tolerance: float) -> None:
    """Within `tolerance` of the scale, NaN and infinity in the same places; integers and shapes exactly."""
    assert len(results) == len(question.expected)
    for actual, expected in zip(results, question.expected):
        assert actual.shape == expected.shape, question.name
        if expected.dtype.kind in "iu":
            np.testing.assert_array_equal(actual, expected, question.name)
        else:
            bound = tolerance * question.scale
            np.testing.assert_allclose(actual.astype(np.float64), expected, 0, bound, err_msg=question.name)


def read_only(question: Question) -> Question:
    for array in question.arguments:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return question


def gradient_of(array: np.ndarray, dtype) -> np.ndarray:
    rng = np.random.default_rng(3)
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 9, array.shape, dtype)
    return rng.standard_normal(array.shape).astype(dtype)


def gaussian(kernel) -> np.ndarray:
    """exp(-d^2 / 2), d the distance from the middle in quarters of the kernel."""
    axes = np.meshgrid(*((np.arange(k) - (k - 1) / 2) / (k / 4) for k in kernel), indexing="ij")
    return np.exp(-sum(axis**2 for axis in axes) / 2)


@functools.cache
def questions(operation: str, dtype: str) -> tuple[Question, ...]:
    """All named cases that an operation can be asked of."""
    family = operation.removesuffix("_input").rstrip("123d").rstrip("_")
    cases = pool_cases() if family.startswith("global") else pool_cases(f"{spatial_axes(operation)}d")
    make = globals()[f"_{family}"]
    backward = operation.endswith("_input")
    return tuple(read_only(question) for case in cases for question in make(case, np.dtype(dtype), backward))


def window_options(case, **more):
    return dict(kernel_size=case.kernel, stride=case.stride, padding=case.padding, dilation=case.dilation,
                ceil_mode=case.ceil_mode, **more)  # fmt: skip


def positional(case):
    return case.kernel, case.stride, case.padding


def _max_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    expected = ref.max_pool(x, *positional(case), case.dilation, case.ceil_mode)
    if not backward:
        yield Question(case.name, (x,), window_options(case), expected[:1])
        yield Question(f"{case.name}, with indices", (x,), window_options(case, return_indices=True), expected)
        return
    grad = gradient_of(expected[0], dtype)
    scale = ref.max_pool_input(x.shape, expected[1], np.abs(grad)).max(initial=0)
    yield Question(
        case.name, (x.shape, expected[1], grad), {}, (ref.max_pool_input(x.shape, expected[1], grad),), scale
    )


def _avg_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    for more in AVERAGES:
        options = (*positional(case), case.ceil_mode), dict(more, dilation=case.dilation)
        y = ref.avg_pool(x, *options[0], **options[1])
        oracle, given = functools.partial(ref.avg_pool), (x,)
        if backward:
            grad = gradient_of(y, dtype)
            oracle, given = functools.partial(ref.avg_pool_input, x.shape), (grad,)
            y = oracle(grad, *options[0], **options[1])
        scale = np.abs(oracle(np.abs(given[0]), *options[0], **options[1])).max(initial=0)
        arguments = (x.shape, *given) if backward else given
        yield Question(f"{case.name}, {more}", arguments, window_options(case, **more), (y,), scale)


def _lp_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    for p in (1, 2, 3, 2.5, math.inf, -math.inf):
        given = np.abs(x) if p == 2.5 else x
        geometry = {"padding": case.padding, "dilation": case.dilation}
        y = ref.lp_pool(given, p, case.kernel, case.stride, case.ceil_mode, **geometry)
        arguments = (given,)
        if backward:
            # An odd norm of a sum near zero magnifies what is lost in the sum.
            given = np.abs(x) if p in (1, 3) else given
            grad = gradient_of(y, dtype)
            y = ref.lp_pool_input(given, p, case.kernel, grad, case.stride, case.ceil_mode, **geometry)
            arguments = given, grad
        scale = np.abs(y[np.isfinite(y)]).max(initial=0)
        yield Question(f"{case.name}, p = {p}", arguments, window_options(case, norm_type=p), (y,), scale)


def _weighted_avg_pool(case, dtype, backward):
    if case.ceil_mode or set(case.dilation) != {1}:
        return
    (x,) = arrays(case, dtype)
    for given in ("gaussian", np.random.default_rng(5).random(case.kernel)):
        weights = gaussian(case.kernel) if isinstance(given, str) else given
        y = ref.weighted_avg_pool(x, *positional(case), weights=weights)
        arguments, scale = (x,), ref.weighted_avg_pool(np.abs(x), *positional(case), weights=weights).max(initial=0)
        if backward:
            grad = gradient_of(y, dtype)
            arguments = x.shape, grad
            y = ref.weighted_avg_pool_input(x.shape, grad, *positional(case), weights=weights)
            scale = ref.weighted_avg_pool_input(x.shape, np.abs(grad), *positional(case), weights=weights).max(
                initial=0
            )
        options = {"kernel_size": case.kernel, "stride": case.stride, "padding": case.padding, "weights": given}
        yield Question(f"{case.name}, {type(given).__name__}", arguments, options, (y,), scale)


def _output_sizes(case):
    """Ones, sizes that divide and that do not, more than there are, and none."""
    return {(1,) * len(case.spatial), tuple(-(-n // 2) for n in case.spatial), tuple(n // 3 + 1 for n in case.spatial),
            tuple(n + 2 for n in case.spatial)}  # fmt: skip


def _adaptive_avg_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    for out in _output_sizes(case) if "large" not in case.tags else [(7, 7)]:
        y = ref.adaptive_avg_pool(x, out)
        scale = np.abs(x).max(initial=0)
        if not backward:
            yield Question(f"{case.name} to {out}", (x,), {"output_size": out}, (y,), scale)
            continue
        grad = gradient_of(y, dtype)
        y, scale = (ref.adaptive_avg_pool_input(x.shape, g) for g in (grad, np.abs(grad)))
        yield Question(f"{case.name} from {out}", (x.shape, grad), {}, (y,), scale.max(initial=0))


def _adaptive_max_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    for out in _output_sizes(case) if "large" not in case.tags else [(7, 7)]:
        expected = ref.adaptive_max_pool(x, out)
        if not backward:
            yield Question(f"{case.name} to {out}", (x,), {"output_size": out}, expected[:1])
            options = {"output_size": out, "return_indices": True}
            yield Question(f"{case.name} to {out}, with indices", (x,), options, expected)
            continue
        grad = gradient_of(expected[0], dtype)
        y, scale = (ref.adaptive_max_pool_input(x.shape, expected[1], g) for g in (grad, np.abs(grad)))
        yield Question(f"{case.name} from {out}", (x.shape, expected[1], grad), {}, (y,), scale.max(initial=0))


def _global_avg_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    y = ref.adaptive_avg_pool(x, (1,) * len(case.spatial))
    if not backward:
        yield Question(case.name, (x,), {}, (y,), np.abs(x).max(initial=0))
        return
    grad = gradient_of(y, dtype)
    yield Question(case.name, (x.shape, grad), {}, (ref.adaptive_avg_pool_input(x.shape, grad),))


def _global_max_pool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    y, indices = ref.adaptive_max_pool(x, (1,) * len(case.spatial))
    if not backward:
        yield Question(case.name, (x,), {}, (y,))
        return
    grad = gradient_of(y, dtype)
    yield Question(case.name, (x, grad), {}, (ref.adaptive_max_pool_input(x.shape, indices, grad),))


def _max_unpool(case, dtype, backward):
    (x,) = arrays(case, dtype)
    if max(case.spatial) > 20:
        return
    for wider in (0, 1):
        usual = [(n - 1) * s + k - sum(p) for n, k, s, p in zip(case.spatial, case.kernel, case.stride, case.padding)]
        plane = tuple(u + wider * (s > 1) for u, s in zip(usual, case.stride))
        indices = np.random.default_rng(11).integers(0, math.prod(plane), x.shape)  # some are equal
        if not backward:
            options = {"kernel_size": case.kernel, "stride": case.stride, "padding": case.padding}
            options["output_size"] = plane
            yield Question(f"{case.name} to {plane}", (x, indices), options, (ref.max_unpool(x, indices, plane),))
            continue
        grad = gradient_of(np.empty((*x.shape[:2], *plane)), dtype)
        arguments = x.shape, indices, grad
        yield Question(f"{case.name} from {plane}", arguments, {}, (ref.max_unpool_input(indices, grad),))
