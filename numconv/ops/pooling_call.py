"""How every pooling is called: looked up by shapes and options in a bounded dictionary, checked on a miss, run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from numconv.algorithm import Algorithm, forced, select
from numconv.kernels.cpu.memory import native
from numconv.ops.convolution import as_array
from numconv.options import options as settings
from numconv.problem import FIRST, LAST, PoolProblem, integer, join_shape, layout_of, spatial_axes, split_shape

_LIMIT = 4096  # calls remembered
_calls: dict[Any, _Call] = {}


class _Call(NamedTuple):
    """What is remembered of a call. Arrays are reshaped to those of the problem."""

    problem: PoolProblem
    algorithm: Any
    source: tuple[int, ...]
    target: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype


def _choose(problem: PoolProblem, algorithm: str, shape: tuple[int, ...]) -> _Call:
    source, target = problem.input_shape, problem.result_shape
    if problem.backward:
        source = problem.output_shape
    return _Call(problem, select(problem, algorithm), source, target, shape, problem.result_dtype)


def _remember(key: Any, call: _Call) -> _Call:
    if key is not None:
        if len(_calls) >= _LIMIT:
            _calls.clear()
        _calls[key] = call
    return call


def _find(*parts: Any) -> tuple[Any, _Call | None]:
    """(key, what is remembered); no key for arguments that cannot be one, such as lists."""
    key = (*parts, *map(type, parts), forced(), settings.version)
    try:
        return key, _calls.get(key)
    except TypeError:
        return None, None


def _batched(name: str, shape: tuple[int, ...], operation: str, layout: str) -> tuple[int, ...]:
    """The shape with a batch axis."""
    ndim = spatial_axes(operation)
    if len(shape) not in (ndim + 1, ndim + 2):
        raise ValueError(
            f"{name} must have {ndim + 2} axes, or {ndim + 1} without a batch, for {operation}, got shape {shape}"
        )
    return shape if len(shape) == ndim + 2 else (1, *shape)


def _collapsed(problem: PoolProblem) -> PoolProblem:
    """The problem with its spatial axes as one, where each window is the whole image."""
    size, one = (math.prod(problem.spatial),), (1,)
    return replace(
        problem, spatial=size, out_spatial=one, kernel=size, stride=size, padding=((0, 0),), dilation=one
    )


def run(call: _Call, inputs: tuple[np.ndarray, ...], fill: bool = False) -> Any:
    """The result, or a tuple of values and indices."""
    make = np.zeros if fill else np.empty
    out = make(call.shape, call.dtype)
    found = np.empty(call.shape, np.int64) if call.problem.indices else None
    if out.size:
        outputs = [array.reshape(call.target) for array in (out, found) if array is not None]
        if all(array.size for array in inputs):
            call.algorithm.run(call.problem, inputs, tuple(outputs))
        else:
            out[...] = 0
    return out if found is None else (out, found)


def pool(operation: str, x: Any, algorithm: str, weights: Any = None, **options: Any) -> Any:
    """A pooling of `x`; `options` are those of `PoolProblem.make`."""
    x = as_array("x", x)
    if weights is not None:
        weights, options["weights"] = _weights(weights)
    key, call = _find(operation, x.shape, x.dtype, x.strides, algorithm, *options.values())
    if call is None:
        shape = _batched("x", x.shape, operation, FIRST)
        problem = PoolProblem.make(operation, shape, x.dtype, **options)
        shape = problem.output_shape[len(shape) - x.ndim :]
        if problem.adaptive and max(problem.out_spatial) == min(problem.out_spatial) == 1 and x.flags.c_contiguous:
            problem = _collapsed(problem)
        call = _remember(key, _choose(problem, algorithm, shape))
    x = native(x).reshape(call.source)
    return run(call, (x,) if weights is None or weights is _GAUSSIAN else (x, _checked_weights(weights, call.problem)))
