"""Every pass of the named convolutions: its operands, its call in any layout, and the oracle's answer.

An *operation* is a key of the algorithms' tables, such as "conv2d", "conv1d_weight" or "conv_transpose3d".
"""

import functools
from typing import NamedTuple

import numpy as np

import numconv as nc
from numconv.lab import reference
from numconv.lab.cases import ConvCase, arrays, conv_cases
from numconv.problem import spatial_axes

# (whether the array's shape has its channels last, whether its memory has)
LAYOUTS = {
    "first": (False, False),
    "last": (True, True),
    "first_in_last_memory": (False, True),
    "last_in_first_memory": (True, False),
}


class Question(NamedTuple):
    """Operands (channels first, read-only), the oracle's answer and the scale that an error is measured by."""

    operands: tuple[np.ndarray, ...]
    expected: np.ndarray
    scale: float


def cases_of(operation: str) -> list[ConvCase]:
    """The named cases that an operation can be asked of."""
    transposed = "transpose" in operation
    return [case for case in conv_cases(f"{spatial_axes(operation)}d") if case.transposed == transposed]


@functools.cache
def question(case: ConvCase, operation: str, dtype: str) -> Question:
    """x, weight and bias of a forward pass; weight and output gradient; or input and output gradient."""
    x, weight, bias = arrays(case, np.dtype(dtype))
    options = case.options
    if operation.endswith("d"):
        oracle = reference.conv_transpose if case.transposed else reference.conv
        operands, expected = (x, weight, bias), oracle(x, weight, bias, **options)
        scale = max(reference.scale(oracle, x, weight, **options), float(np.abs(bias).max()))
    else:
        size = reference.conv_size(case.spatial, case.kernel, case.stride, case.padding, case.dilation)
        (gradient,) = arrays_like((case.n, case.co, *size), x.dtype)
        of_input = operation.endswith("_input")
        oracle = reference.conv_input if of_input else reference.conv_weight
        operands = (weight, gradient) if of_input else (x, gradient)
        given = (x.shape, weight, gradient) if of_input else (x, weight.shape, gradient)
        expected, scale = oracle(*given, **options), reference.scale(oracle, *given, **options)
    for array in (*operands, expected):
        array.flags.writeable = False
    return Question(operands, expected, scale)


def arrays_like(*shapes_and_dtype):
    """Standard normal arrays of the shapes given before the dtype."""
    *shapes, dtype = shapes_and_dtype
    rng = np.random.default_rng(7)
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


def arranged(array: np.ndarray, layout: str) -> np.ndarray:
    """A channels-first array as it is passed in a layout."""
    shown_last, kept_last = LAYOUTS[layout]
    if kept_last:
        array = np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
    return np.moveaxis(array, 1, -1) if shown_last else array


def call(
    case: ConvCase, operation: str, operands: tuple[np.ndarray, ...], layout: str, *,
    image=arranged, to_device=lambda array: array, to_host=lambda array: array, **more,
) -> np.ndarray:  # fmt: skip
    """The public function on channels-first operands, arranged; its result channels first.

    `image` arranges what has channels, on the device; `to_device` takes weights and biases there.
    """
    last = LAYOUTS[layout][0]
    function = getattr(nc, operation)
    more |= case.options | {"data_format": "channels_last" if last else None}
    x_shape = (case.n, *case.spatial, case.ci) if last else case.x_shape
    if operation.endswith("_input"):
        weight, gradient = operands
        result = function(x_shape, to_device(weight), image(gradient, layout), **more)
    elif operation.endswith("_weight"):
        x, gradient = operands
        return to_host(function(image(x, layout), case.weight_shape, image(gradient, layout), **more))
    else:
        x, *rest = operands
        result = function(image(x, layout), *map(to_device, rest), **more)
    result = to_host(result)
    return np.moveaxis(result, -1, 1) if last else result


def problem_of(case: ConvCase, operation: str, dtype: str, layout: str) -> nc.ConvProblem:
    """The problem that `call` makes, in a layout whose memory is as its shape."""
    x_shape = (case.n, *case.spatial, case.ci) if LAYOUTS[layout][0] else case.x_shape
    gradient = operation.endswith(("_input", "_weight"))
    forward = f"conv{len(case.spatial)}d" if gradient else operation
    problem = nc.ConvProblem.make(
        forward, x_shape, case.weight_shape, dtype, bias_shape=None if gradient else (case.co,),
        data_format="channels_last" if LAYOUTS[layout][0] else None, **case.options,
    )  # fmt: skip
    return problem.with_operation(operation) if gradient else problem


def takes(algorithm, case: ConvCase, operation: str, dtype: str, layout: str) -> bool:
    """Whether an algorithm rejects neither the problem nor the values of the weight."""
    problem = problem_of(case, operation, dtype, layout)
    if algorithm.rejects(problem) is not None:
        return False
    weight = question(case, operation, dtype).operands[0 if operation.endswith("_input") else 1]
    return not algorithm.reads_weight or algorithm.rejects_weight(problem, weight) is None


def error(actual: np.ndarray, asked: Question) -> float:
    """max|error| / scale; infinite for a wrong shape or NaN."""
    if actual.shape != asked.expected.shape:
        return np.inf
    worst = float(np.abs(actual - asked.expected).max(initial=0))
    if np.isnan(worst):
        return np.inf
    return worst / asked.scale if worst else 0.0
