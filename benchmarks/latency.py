"""What a call costs beside its arithmetic: layers so small that little else is left.

A thousand calls a sample: one takes as long as the clock and the loop around it.
"""

import numpy as np

import numconv as nc
from numconv.lab.shapes import FAMILIES

from .common import Suite, image, once, operation, weight_of

SHAPES = {shape.name: shape for shape in FAMILIES["tiny"]}


class Latency(Suite):
    params = (list(SHAPES),)
    param_names = ("shape",)

    @once
    def setup(self, name):
        shape = SHAPES[name]
        self.operation, self.options = operation(shape), shape.options
        self.function = getattr(nc, self.operation)
        self.x, self.weight = image(shape.x), weight_of(shape)
        self.plan = nc.plan(self.operation, shape.x, self.weight, **shape.options)
        self.out = self.function(self.x, self.weight, **shape.options)
        np.testing.assert_allclose(self.plan(self.x), self.out, rtol=0, atol=1e-5 * np.abs(self.out).max())

    def time_1000_calls(self, name):
        for _ in range(1000):
            self.function(self.x, self.weight, **self.options)

    def time_1000_plans(self, name):
        for _ in range(1000):
            self.plan(self.x)

    def time_1000_plans_into_an_array(self, name):
        for _ in range(1000):
            self.plan(self.x, out=self.out)

    def time_prepare(self, name):
        nc.plan(self.operation, self.x.shape, self.weight, **self.options)
