"""Poolings of arrays on a GPU, their gradients, and unpooling: the twins of `numconv.ops.pooling_call`.

Arguments are checked as on the host. What depends on values is not: whether indices lie in the plane would have to be
read back, and the host would wait for it; those outside are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from numconv.algorithm import Algorithm, forced, select
from numconv.kernels.cuda import memory
from numconv.ops import pooling_call as host
from numconv.ops.cuda.borders import check_together, taking
from numconv.ops.cuda.convolution import _lies_last
from numconv.ops.device import observed
from numconv.options import options as settings
from numconv.problem import LAST, PoolProblem, layout_of, spatial_axes, with_batch

_LIMIT = 4096  # calls remembered
_INDEX = np.dtype(np.int64)
_calls: dict[Any, Call] = {}


class Call:
    """What calls of one kind share."""

    def __init__(self, problem: PoolProblem, algorithm: Algorithm, shape: tuple[int, ...]) -> None:
        self.problem, self.algorithm, self._shape = problem, algorithm, shape
        self.source = problem.output_shape if problem.backward else problem.input_shape

    def run(self, *inputs: Any) -> Any:
        """The result, or (values, indices)."""
        problem, target = self.problem, self.problem.result_shape
        out = memory.empty(self._shape, problem.result_dtype)
        found = memory.empty(self._shape, _INDEX) if problem.indices else None
        if out.size:
            if all(array.size for array in inputs):
                outputs = [memory.reshape(array, target) for array in (out, found) if array is not None]
                run: Any = self.algorithm.run
                observed("run", self, run, problem, inputs, tuple(outputs))
            else:  # an adaptive pooling to nothing
                memory.copy_into(out, memory.broadcast_to(memory.to_device(np.zeros(1, out.dtype)), self._shape))
        return out if found is None else (out, found)


def _find(key: Any, make: Callable[[], tuple[PoolProblem, str, tuple[int, ...]]]) -> Call:
    """A remembered call, or one of the problem, algorithm and shape that `make` gives."""
    key = (*key, *map(type, key), forced(), settings.version)
    try:
        call = _calls.get(key)
    except TypeError:  # an option that cannot be looked up, such as a list
        key = call = None
    if call is None:
        problem, algorithm, shape = make()
        problem = replace(problem, device="cuda")
        call = Call(problem, select(problem, algorithm), shape)
        if key is not None:
            if len(_calls) >= _LIMIT:
                _calls.clear()
            _calls[key] = call
    return call


def _shaped(array: Any, shape: tuple[int, ...]) -> Any:
    """The array as kernels take it, of a shape with the same elements."""
    return memory.reshape(memory.realigned(array), shape)


def _supported(operation: str, given: dict[str, Any]) -> None:
    if operation.startswith(("lp", "weighted")):
        raise TypeError(f"{operation} runs on the CPU only, and got an array on a GPU: copy it to the host first")
    given.pop("weights", None)


@taking
def pool(operation: str, x: Any, algorithm: str, **options: Any) -> Any:
    """A pooling of `x`; `options` are those of `PoolProblem.make`. Values, or (values, indices)."""
    _supported(operation, options)
    ndim = x.ndim - 2 if operation.startswith("global") else spatial_axes(operation)
    if x.ndim > ndim and _lies_last(x, ndim) and layout_of(options["data_format"], ndim) != LAST:
        channel = x.ndim - ndim - 1  # counted channels first: what is written is mostly less than what is read
        view = memory.transpose(x, (*range(channel), *range(channel + 1, x.ndim), channel))
        found = pool(operation, view, algorithm, **options | {"data_format": LAST})
        back = (*range(channel), x.ndim - 1, *range(channel, x.ndim - 1))
        if isinstance(found, tuple):
            return tuple(memory.contiguous(memory.transpose(part, back)) for part in found)
        return memory.contiguous(memory.transpose(found, back))

    def make() -> tuple[PoolProblem, str, tuple[int, ...]]:
        shape = x.shape if operation.startswith("global") else with_batch("x", x.shape, operation)
        problem = PoolProblem.make(operation, shape, x.dtype, **options)
        return problem, algorithm, problem.output_shape[len(shape) - x.ndim :]

    call = _find((operation, x.shape, x.dtype, algorithm, *options.values()), make)
    return call.run(_shaped(x, call.source))


@taking
def pool_gradient(operation: str, size: tuple[int, ...], grad_output: Any, algorithm: str, **options: Any) -> Any:
    """The gradient of a pooling that sums."""
    _supported(operation, options)

    def make() -> tuple[PoolProblem, str, tuple[int, ...]]:
        shape = size if operation.startswith("global") else with_batch("input_size", size, operation)
        problem = PoolProblem.make(operation, shape, grad_output.dtype, **options)
        host._check_shape("grad_output", grad_output, problem.output_shape[len(shape) - len(size) :])
        return problem, algorithm, size

    key = operation, size, grad_output.shape, grad_output.dtype, algorithm, *options.values()
    call = _find(key, make)
    return call.run(_shaped(grad_output, call.source))


@taking
def max_gradient(operation: str, size: tuple[int, ...], indices: Any, grad_output: Any, data_format: Any) -> Any:
    """The gradient of a max pooling, by its indices."""
    check_together(indices=indices, grad_output=grad_output)

    def make() -> tuple[PoolProblem, str, tuple[int, ...]]:
        shape = size if operation.startswith("global") else with_batch("input_size", size, operation)
        spatial = host._spatial("grad_output", grad_output, size, shape, data_format)
        problem = PoolProblem.make(operation, shape, grad_output.dtype, output_size=spatial, data_format=data_format)
        host._check_shape("grad_output", grad_output, problem.output_shape[len(shape) - len(size) :])
        return problem, "auto", size

    call = _find((operation, size, grad_output.shape, grad_output.dtype, data_format), make)
    _check_indices(indices, grad_output.shape, "grad_output")
    return call.run(_shaped(indices, call.source), _shaped(grad_output, call.source))


@taking
def unpool(operation: str, x: Any, indices: Any, **options: Any) -> Any:
    """The elements of `x` at their indices, zeros elsewhere."""
    check_together(x=x, indices=indices)

    def make() -> tuple[PoolProblem, str, tuple[int, ...]]:
        shape = with_batch("x", x.shape, operation)
        problem = PoolProblem.make(operation, shape, x.dtype, **options)
        return problem, "auto", problem.input_shape[len(shape) - x.ndim :]

    call = _find((operation, x.shape, x.dtype, *options.values()), make)
    _check_indices(indices, x.shape, "x")
    return call.run(_shaped(x, call.source), _shaped(indices, call.source))


@taking
def unpool_gradient(operation: str, size: tuple[int, ...], indices: Any, grad_output: Any, data_format: Any) -> Any:
    """The gradient of an unpooling: the elements of `grad_output` at the indices."""
    check_together(indices=indices, grad_output=grad_output)

    def make() -> tuple[PoolProblem, str, tuple[int, ...]]:
        shape = with_batch("input_size", size, operation)
        spatial = host._spatial("grad_output", grad_output, size, shape, data_format)
        problem = PoolProblem.make(operation, shape, grad_output.dtype, output_size=spatial, data_format=data_format)
        host._check_shape("grad_output", grad_output, problem.input_shape[len(shape) - len(size) :])
        return problem, "auto", size

    call = _find((operation, size, grad_output.shape, grad_output.dtype, data_format), make)
    _check_indices(indices, size, "input_size")
    problem = call.problem
    return call.run(_shaped(indices, problem.output_shape), _shaped(grad_output, problem.input_shape))


@taking
def reshaped(x: Any, shape: tuple[int, ...]) -> Any:
    """The array, or a copy, with another shape."""
    return memory.reshape(memory.contiguous(x), shape)


def _check_indices(indices: Any, shape: tuple[int, ...], like: str) -> None:
    """An error unless these are indices of a shape. Their values are not looked at."""
    if indices.dtype != _INDEX:
        raise TypeError(f"indices on a GPU must be of dtype int64, got {indices.dtype}")
    if tuple(indices.shape) != tuple(shape):
        raise ValueError(f"indices must have the shape of {like}, {tuple(shape)}, got {tuple(indices.shape)}")
