"""What suites share: how calls are sampled, and operands."""

import functools

import numpy as np

LAYOUTS = ["channels_last", "channels_first"]


class Suite:
    """How calls are sampled: one by one, in eight processes.

    Medians of the same call in five runs lay apart by a factor of 1.1 to 1.5 so, and of 1.2 to 1.7 in two processes
    with as many samples: a process keeps the places in memory and the clock speed that it happened to get.
    """

    rounds = 8
    repeat = (5, 25, 0.25)  # at least 5 samples, at most 25 or what fits in a quarter of a second


def once(setup):
    """A `setup` that works once for its parameters.

    asv_runner runs it before each call that it times (since 0.3). A first call of a plan takes up to 1.5 ms more than
    the next, so without this each sample would be of a first call.
    """

    @functools.wraps(setup)
    def unless_done(self, *parameters):
        if self.__dict__.get("done") != parameters:
            setup(self, *parameters)
            self.done = parameters

    return unless_done


def operation(shape):
    """The public function of a shape of `numconv.lab.shapes`."""
    return f"conv{'_transpose' if shape.transposed else ''}{len(shape.kernel)}d"


def image(size, layout="channels_first", seed=0):
    """Standard normal numbers; the size is channels first."""
    array = np.random.default_rng(seed).standard_normal(size, dtype=np.float32)
    return array if layout == "channels_first" else np.ascontiguousarray(np.moveaxis(array, 1, -1))


def weight_of(shape):
    """The weight of a shape."""
    return np.random.default_rng(1).standard_normal(shape.weight, dtype=np.float32)
