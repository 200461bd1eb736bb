"""Operands of suites."""

import numpy as np

LAYOUTS = ["channels_first", "channels_last"]


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
