"""The named cases of `passes`, asked of arrays on a GPU."""

import math

import numpy as np
import pytest
from passes import LAYOUTS, problem_of

pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

import numconv as nc
from numconv.kernels.cuda import memory

# Python computes about a million multiplications a second in the simulator.
MOST_MULTIPLICATIONS = 60_000


def small(case, operation) -> bool:
    """Whether the simulator takes less than a second."""
    problem = problem_of(case, operation, "float32", "first")
    return problem.flops <= 2 * MOST_MULTIPLICATIONS and math.prod(problem.result_shape) <= 4000


def arranged(array, layout):
    """A channels-first host array as it is passed in a layout, on the device."""
    shown_last, kept_last = LAYOUTS[layout]
    last = array.ndim - 1
    if not kept_last:
        there = nc.cuda.to_device(array)
        return memory.transpose(there, (0, *range(2, last + 1), 1)) if shown_last else there
    there = nc.cuda.to_device(np.moveaxis(array, 1, -1))
    return there if shown_last else memory.transpose(there, (0, last, *range(1, last)))


def call(case, operation, operands, layout, **more):
    """The public function on channels-first host operands, copied to the device; its result on the host."""
    last = LAYOUTS[layout][0]
    function = getattr(nc, operation)
    more |= case.options | {"data_format": "channels_last" if last else None}
    x_shape = (case.n, *case.spatial, case.ci) if last else case.x_shape
    if operation.endswith("_input"):
        weight, gradient = operands
        result = function(x_shape, nc.cuda.to_device(weight), arranged(gradient, layout), **more)
    elif operation.endswith("_weight"):
        x, gradient = operands
        return nc.cuda.to_host(function(arranged(x, layout), case.weight_shape, arranged(gradient, layout), **more))
    else:
        x, *rest = operands
        result = function(arranged(x, layout), *map(nc.cuda.to_device, rest), **more)
    result = nc.cuda.to_host(result)
    return np.moveaxis(result, -1, 1) if last else result
