"""What suites share: how calls are sampled, and operands."""

import functools

import numpy as np

LAYOUTS = ["channels_first", "channels_last"]


class Suite:
    """Single calls, many of them, in place of asv's ten samples: at least 5, at most 100 or what a second holds."""

    repeat = (5, 100, 1.0)


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
