"""How every pooling is called: looked up by shapes and options in a bounded dictionary, checked on a miss, run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from numconv.algorithm import forced, select
from numconv.kernels.cpu.memory import LARGE, empty, native
from numconv.ops.convolution import as_array, common_dtype
from numconv.ops.device import gpu, on_gpu
from numconv.options import options as settings
from numconv.problem import (
    FIRST,
    HALF,
    LAST,
    PoolProblem,
    integer,
    join_shape,
    layout_of,
    split_shape,
    with_batch,
)

_LIMIT = 4096  # calls remembered
_INDEX = np.dtype(np.int64)
_calls: dict[Any, Call] = {}


class Call:
    """What is remembered of a call. Arrays are reshaped to those of the problem."""

    def __init__(self, problem: PoolProblem, algorithm: Any, shape: tuple[int, ...]) -> None:
        self.problem = problem
        self.source = problem.output_shape if problem.backward else problem.input_shape
        self.target = problem.result_shape
        self.algorithm, self._shape, self._dtype = algorithm, shape, problem.result_dtype
        self._large = math.prod(shape) * self._dtype.itemsize >= LARGE
        self._checks = "max" in problem.operation and (problem.backward or "unpool" in problem.operation)
        self._replays = algorithm.replays and hasattr(algorithm, "first_run")
        self._again: Callable[..., None] | None = None

    def run(self, *inputs: np.ndarray) -> Any:
        """The result, or (values, indices)."""
        new = empty if self._large else np.empty
        out = new(self._shape, self._dtype)
        found = new(self._shape, _INDEX) if self.problem.indices else None
        if not out.size:
            return out if found is None else (out, found)
        for array in inputs:
            if not array.size:
                out[...] = 0
                return out
        target = out if out.shape == self.target else out.reshape(self.target)
        outputs: tuple[np.ndarray, ...] = (target,)
        if found is not None:
            outputs = target, found.reshape(self.target)
        elif self._checks:
            outputs = target, np.zeros(1, np.uint8)
        self._compute(inputs, outputs)
        if self._checks and outputs[1][0]:
            _check_indices(inputs[0 if self.problem.operation.endswith("_input") else 1], self.problem)
        return out if found is None else (out, found)

    def _compute(self, inputs: tuple[np.ndarray, ...], outputs: tuple[np.ndarray, ...]) -> None:
        """Run the algorithm, or launch its kernels again, for which inputs must lie as at the first call."""
        replays = self._replays
        for array in inputs:
            replays = replays and array.flags.carray
        if not replays:
            self.algorithm.run(self.problem, inputs, outputs)
        elif self._again is not None:
            self._again(*inputs, *outputs)
        else:
            again = self.algorithm.first_run(self.problem, inputs, outputs)
            self._replays, self._again = again is not None, again


def pool(operation: str, x: Any, algorithm: str, *, weights: Any = None, **options: Any) -> Any:
    """A pooling of `x`; `options` are those of `PoolProblem.make`. Values, or (values, indices)."""
    if type(x) is not np.ndarray and on_gpu(x):
        return gpu("pooling").pool(operation, x, algorithm, weights=weights, **options)
    x = as_array("x", x)
    kind, given = _weights(weights)
    key, call = _find(operation, x.shape, x.dtype, x.strides, algorithm, kind, *options.values())
    if call is None:
        shape = x.shape if operation.startswith("global") else with_batch("x", x.shape, operation)
        problem = PoolProblem.make(operation, shape, x.dtype, weights=kind, **options)
        shape = problem.output_shape[len(shape) - x.ndim :]
        if problem.adaptive and set(problem.out_spatial) == {1} and x.flags.c_contiguous:
            problem = _collapsed(problem)
        call = _remember(key, _choose(problem, algorithm, shape))
    return call.run(_shaped(x, call.source), *_fitting(given, call.problem))


def pool_gradient(
    operation: str, input_size: Any, grad_output: Any, algorithm: str, *, weights: Any = None, **options: Any
) -> Any:
    """The gradient of a pooling that sums."""
    if type(grad_output) is not np.ndarray and on_gpu(grad_output):
        size = _size(input_size)
        return gpu("pooling").pool_gradient(operation, size, grad_output, algorithm, weights=weights, **options)
    grad_output, size = as_array("grad_output", grad_output), _size(input_size)
    kind, given = _weights(weights)
    key, call = _find(operation, size, grad_output.shape, grad_output.dtype, algorithm, kind, *options.values())
    if call is None:
        shape = size if operation.startswith("global") else with_batch("input_size", size, operation)
        problem = PoolProblem.make(operation, shape, grad_output.dtype, weights=kind, **options)
        _check_shape("grad_output", grad_output, problem.output_shape[len(shape) - len(size) :])
        if problem.adaptive and set(problem.out_spatial) == {1}:
            problem = _collapsed(problem)
        call = _remember(key, _choose(problem, algorithm, size))
    return call.run(_shaped(grad_output, call.source), *_fitting(given, call.problem))


def pool_problem(operation: str, x: np.ndarray, *, weights: Any = None, **options: Any) -> PoolProblem:
    """The problem that a call makes, given the options of the pooling; of a gradient, `x` is the pooling's input."""
    if _infinite(options.get("norm_type")):
        operation = operation.replace("lp", "max")
        del options["norm_type"]
    kind, given = _weights("gaussian" if weights is None and operation.startswith("weighted") else weights)
    if operation.startswith("global"):
        shape, options["data_format"] = _few_axes("x", x.shape, options.get("data_format"))
    else:
        shape = with_batch("x", x.shape, operation)
    by_indices = "max" in operation and operation.endswith("_input")
    forward = operation.removesuffix("_input") if by_indices else operation
    problem = PoolProblem.make(forward, shape, x.dtype, weights=kind, **options)
    _fitting(given, problem)
    if by_indices:
        size = split_shape(problem.result_shape, problem.layout)[2]
        return PoolProblem.make(operation, shape, x.dtype, output_size=size, data_format=options.get("data_format"))
    whole = problem.adaptive and set(problem.out_spatial) == {1}
    return _collapsed(problem) if whole and (problem.backward or x.flags.c_contiguous) else problem


def lp_pool(operation: str, x: Any, norm_type: Any, algorithm: str, **windows: Any) -> Any:
    """An Lp pooling, of which an infinite p makes a max pooling of absolute values."""
    if not _infinite(norm_type):
        return pool(operation, x, algorithm, norm_type=norm_type, **windows)
    y = pool(operation.replace("lp", "max"), _magnitude(x, norm_type), algorithm, **windows)
    return y if norm_type > 0 else np.negative(y, out=y)


def _infinite(norm_type: Any) -> bool:
    return isinstance(norm_type, (float, np.floating)) and math.isinf(norm_type)


def _magnitude(x: Any, norm_type: float) -> np.ndarray:
    """|x|, or -|x| for p of minus infinity, in the dtype of the result."""
    x = as_array("x", x)
    x = np.abs(x.astype(np.float64) if x.dtype.kind in "iu" else x)
    return x if norm_type > 0 else np.negative(x, out=x)


def lp_gradient(operation: str, x: Any, grad_output: Any, norm_type: Any, algorithm: str, **windows: Any) -> Any:
    """The gradient of an Lp pooling."""
    x, grad_output = as_array("x", x), as_array("grad_output", grad_output)
    if _infinite(norm_type):
        name, options = operation.replace("lp", "max"), dict(windows, return_indices=True)
        _, indices = pool(name.removesuffix("_input"), _magnitude(x, norm_type), "auto", **options)
        gradient = max_gradient(name, x.shape, indices, grad_output, windows["data_format"])
        return gradient * np.sign(x.astype(np.float64) if x.dtype.kind in "iu" else x)
    options = dict(windows, norm_type=norm_type)
    dtype = common_dtype(x=x, grad_output=grad_output)
    key, call = _find(operation, x.shape, grad_output.shape, dtype, algorithm, *options.values())
    if call is None:
        shape = with_batch("x", x.shape, operation)
        problem = PoolProblem.make(operation, shape, dtype, **options)
        _check_shape("grad_output", grad_output, problem.output_shape[len(shape) - x.ndim :])
        call = _remember(key, _choose(problem, algorithm, x.shape))
    return call.run(_shaped(x, call.problem.input_shape), _shaped(grad_output, call.source))


def adaptive_gradient(
    operation: str, input_size: Any, grad_output: Any, data_format: str | None, algorithm: str
) -> Any:
    """The gradient of an adaptive average: `pool_gradient` with the output's size from `grad_output`."""
    grad_output, size = _any_array("grad_output", grad_output), _size(input_size)
    shape = with_batch("input_size", size, operation)
    output_size = _spatial("grad_output", grad_output, size, shape, data_format)
    return pool_gradient(operation, size, grad_output, algorithm, output_size=output_size, data_format=data_format)


def global_pool(operation: str, x: Any, data_format: str | None, algorithm: str) -> np.ndarray:
    """A pooling of whole images, of any number of spatial axes."""
    x = _any_array("x", x)
    shape = tuple(x.shape)
    flat, data_format = _few_axes("x", shape, data_format)
    result = pool(operation, _reshaped(x, flat), algorithm, data_format=data_format)
    return _reshaped(result, _ones(shape, data_format))


def global_pool_gradient(input_size: Any, grad_output: Any, data_format: str | None, algorithm: str) -> np.ndarray:
    """The gradient of a global average."""
    size, grad_output = _size(input_size), _any_array("grad_output", grad_output)
    flat, data_format = _few_axes("input_size", size, data_format)
    _check_shape("grad_output", grad_output, _ones(size, data_format))
    grad_output = _reshaped(grad_output, _ones(flat, data_format))
    result = pool_gradient("global_avg_pool_input", flat, grad_output, algorithm, data_format=data_format)
    return _reshaped(result, size)


def global_max_gradient(x: Any, grad_output: Any, data_format: str | None) -> np.ndarray:
    """The gradient of a global maximum, which is looked for once more."""
    x, grad_output = _any_array("x", x), _any_array("grad_output", grad_output)
    shape = tuple(x.shape)
    flat, data_format = _few_axes("x", shape, data_format)
    _check_shape("grad_output", grad_output, _ones(shape, data_format))
    _, indices = pool("global_max_pool", _reshaped(x, flat), "auto", data_format=data_format, return_indices=True)
    grad_output = _reshaped(grad_output, indices.shape)
    return _reshaped(max_gradient("global_max_pool_input", flat, indices, grad_output, data_format), shape)


def _any_array(name: str, value: Any) -> Any:
    """As `as_array`, but an array on a GPU is left where it is."""
    return value if type(value) is not np.ndarray and on_gpu(value) else as_array(name, value)


def _reshaped(array: Any, shape: tuple[int, ...]) -> Any:
    """The array with another shape, wherever it is."""
    return array.reshape(shape) if isinstance(array, np.ndarray) else gpu("pooling").reshaped(array, shape)


def _on_gpu(a: Any, b: Any) -> bool:
    return (type(a) is not np.ndarray or type(b) is not np.ndarray) and on_gpu(a, b)


def _few_axes(name: str, shape: tuple[int, ...], data_format: str | None) -> tuple[tuple[int, ...], str | None]:
    """(a shape with at most three spatial axes, data format) of images with any number of them."""
    if len(shape) < 3:
        raise ValueError(f"{name} must have three or more axes, a batch, channels and space, got {shape}")
    if len(shape) <= 5:
        return shape, data_format
    if data_format not in (None, FIRST, LAST):
        raise ValueError(f"data_format must be '{FIRST}', '{LAST}' or None for {len(shape)} axes, got {data_format!r}")
    layout = data_format or FIRST
    n, channels, size = split_shape(shape, layout)
    return join_shape(n, channels, (math.prod(size),), layout), layout


def _ones(shape: tuple[int, ...], data_format: str | None) -> tuple[int, ...]:
    """A shape with spatial axes of one position."""
    ndim = len(shape) - 2
    layout = layout_of(data_format, min(ndim, 3))
    n, channels, _ = split_shape(shape, layout)
    return join_shape(n, channels, (1,) * ndim, layout)


def max_gradient(operation: str, input_size: Any, indices: Any, grad_output: Any, data_format: str | None) -> Any:
    """The gradient of a max pooling, by its indices."""
    if _on_gpu(indices, grad_output):
        return gpu("pooling").max_gradient(operation, _size(input_size), indices, grad_output, data_format)
    grad_output, size = as_array("grad_output", grad_output), _size(input_size)
    key, call = _find(operation, size, grad_output.shape, grad_output.dtype, data_format)
    if call is None:
        shape = size if operation.startswith("global") else with_batch("input_size", size, operation)
        spatial = _spatial("grad_output", grad_output, size, shape, data_format)
        problem = PoolProblem.make(operation, shape, grad_output.dtype, output_size=spatial, data_format=data_format)
        _check_shape("grad_output", grad_output, problem.output_shape[len(shape) - len(size) :])
        call = _remember(key, _choose(problem, "auto", size))
    indices = _indices(indices, grad_output.shape, "grad_output", call.problem)
    return call.run(_shaped(indices, call.source), _shaped(grad_output, call.source))


def unpool(operation: str, x: Any, indices: Any, **options: Any) -> Any:
    """The elements of `x` at their indices, zeros elsewhere."""
    if _on_gpu(x, indices):
        return gpu("pooling").unpool(operation, x, indices, **options)
    x = as_array("x", x)
    key, call = _find(operation, x.shape, x.dtype, *options.values())
    if call is None:
        shape = with_batch("x", x.shape, operation)
        problem = PoolProblem.make(operation, shape, x.dtype, **options)
        call = _remember(key, _choose(problem, "auto", problem.input_shape[len(shape) - x.ndim :]))
    indices = _indices(indices, x.shape, "x", call.problem)
    return call.run(_shaped(x, call.source), _shaped(indices, call.source))


def unpool_gradient(operation: str, input_size: Any, indices: Any, grad_output: Any, data_format: str | None) -> Any:
    """The gradient of an unpooling: the elements of `grad_output` at the indices."""
    if _on_gpu(indices, grad_output):
        return gpu("pooling").unpool_gradient(operation, _size(input_size), indices, grad_output, data_format)
    grad_output, size = as_array("grad_output", grad_output), _size(input_size)
    key, call = _find(operation, size, grad_output.shape, grad_output.dtype, data_format)
    if call is None:
        shape = with_batch("input_size", size, operation)
        spatial = _spatial("grad_output", grad_output, size, shape, data_format)
        problem = PoolProblem.make(operation, shape, grad_output.dtype, output_size=spatial, data_format=data_format)
        _check_shape("grad_output", grad_output, problem.input_shape[len(shape) - len(size) :])
        call = _remember(key, _choose(problem, "auto", size))
    indices = _indices(indices, size, "input_size", call.problem)
    return call.run(_shaped(indices, call.target), _shaped(grad_output, call.problem.input_shape))


def _choose(problem: PoolProblem, algorithm: str, shape: tuple[int, ...]) -> Call:
    return Call(problem, select(problem, algorithm), shape)


def _shaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array as kernels take it, of a shape with the same elements."""
    if array.flags.carray and array.dtype.isnative:
        return array if array.shape == shape else array.reshape(shape)
    return native(array).reshape(shape)


def _find(*parts: Any) -> tuple[Any, Call | None]:
    """(key, what is remembered of a call); no key where an argument cannot be part of one, such as a list."""
    key = (*parts, *map(type, parts), forced(), settings.version)
    try:
        return key, _calls.get(key)
    except TypeError:
        return None, None


def _remember(key: Any, call: Call) -> Call:
    if key is not None:
        if len(_calls) >= _LIMIT:
            _calls.clear()
        _calls[key] = call
    return call


def _collapsed(problem: PoolProblem) -> PoolProblem:
    """A problem whose windows are whole images, with fewer axes: one of space, or positions by channels."""
    size, channels = math.prod(problem.spatial), problem.channels
    if problem.layout == LAST and not problem.indices:
        kernel, pads, ones = (size, 1), ((0, 0),) * 2, (1, 1)
        return replace(
            problem, channels=1, spatial=(size, channels), out_spatial=(1, channels), kernel=kernel, stride=kernel,
            padding=pads, dilation=ones, layout=FIRST,
        )  # fmt: skip
    one = (size,)
    return replace(problem, spatial=one, out_spatial=(1,), kernel=one, stride=one, padding=((0, 0),), dilation=(1,))


def _size(input_size: Any) -> tuple[int, ...]:
    if type(input_size) is tuple and {*map(type, input_size)} == {int} and min(input_size) >= 0:
        return input_size
    if not isinstance(input_size, (tuple, list)):
        raise TypeError(f"input_size must be the shape of the pooling's input, got {input_size!r}")
    return tuple(integer("input_size", n, 0) for n in input_size)


def _spatial(
    name: str, array: np.ndarray, size: tuple[int, ...], shape: tuple[int, ...], data_format: str | None
) -> tuple[int, ...]:
    """The spatial axes of an array with as many axes as `size`, which has its batch axis in `shape`."""
    if array.ndim != len(size):
        raise ValueError(f"{name} must have as many axes as input_size {size}, got shape {array.shape}")
    missing = len(shape) - len(size)
    return split_shape((*(1,) * missing, *array.shape), layout_of(data_format, len(shape) - 2))[2]


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if tuple(array.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")


def _indices(indices: Any, shape: tuple[int, ...], like: str, problem: PoolProblem) -> np.ndarray:
    """Indices as int64. Whether those that come as such lie in the plane is seen as they are used."""
    indices = np.asarray(indices)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices must be of an integer dtype, got {indices.dtype}")
    if indices.shape != shape:
        raise ValueError(f"indices must have the shape of {like}, {shape}, got {indices.shape}")
    if indices.dtype == _INDEX:
        return indices
    _check_indices(indices, problem)
    return indices.astype(_INDEX)


def _check_indices(indices: np.ndarray, problem: PoolProblem) -> None:
    """An error where an index is outside the plane; the gradient of a max pooling has -1, too."""
    if indices.size:
        least, size = 0 if "unpool" in problem.operation else -1, math.prod(problem.spatial)
        low, high = int(indices.min()), int(indices.max())
        if low < least or high >= size:
            raise ValueError(f"indices must be from {least} to {size - 1}, got {low if low < least else high}")


def _weights(weights: Any) -> tuple[str | None, np.ndarray | None]:
    """("gaussian" or "array", the array) of a weighted average."""
    if weights is None or isinstance(weights, str):
        return weights, None
    weights = np.asarray(weights)
    if weights.dtype.kind not in "fiuV" or (weights.dtype.kind == "V" and weights.dtype.name not in HALF):
        raise TypeError(f"weights must be 'gaussian' or an array of numbers, got dtype {weights.dtype}")
    return "array", weights.astype(np.float64)


def _fitting(weights: np.ndarray | None, problem: PoolProblem) -> tuple[np.ndarray, ...]:
    if weights is None:
        return ()
    if weights.shape != problem.kernel:
        raise ValueError(f"weights must have the shape of kernel_size, {problem.kernel}, got {weights.shape}")
    return (weights,)
