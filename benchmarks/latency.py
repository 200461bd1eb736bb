"""What a call costs beside its arithmetic: layers so small that little else is left."""

import numpy as np

import numconv as nc
from numconv.lab.shapes import FAMILIES

SHAPES = {shape.name: shape for shape in FAMILIES["tiny"]}


class Latency:
    params = (list(SHAPES),)
    param_names = ("shape",)

    def setup(self, name):
        shape = SHAPES[name]
        operation = f"conv{len(shape.kernel)}d"
        self.function, self.options = getattr(nc, operation), shape.options
        self.x = np.random.default_rng(0).standard_normal(shape.x, dtype=np.float32)
        self.weight = np.random.default_rng(1).standard_normal(shape.weight, dtype=np.float32)
        self.plan = nc.plan(operation, shape.x, self.weight, **shape.options)
        self.out = self.function(self.x, self.weight, **shape.options)
        np.testing.assert_allclose(self.plan(self.x), self.out, rtol=0, atol=1e-5 * np.abs(self.out).max())

    def time_call(self, name):
        self.function(self.x, self.weight, **self.options)

    def time_plan(self, name):
        self.plan(self.x)

    def time_plan_into_an_array(self, name):
        self.plan(self.x, out=self.out)

    def time_prepare(self, name):
        nc.plan("conv1d" if self.x.ndim == 3 else "conv2d", self.x.shape, self.weight, **self.options)
