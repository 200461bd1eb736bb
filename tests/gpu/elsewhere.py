"""The named cases of `passes`, asked of arrays on a GPU."""

import functools
import math

import numpy as np
import passes
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


# `passes.call` on the device, its result on the host.
call = functools.partial(passes.call, image=arranged, to_device=nc.cuda.to_device, to_host=nc.cuda.to_host)
