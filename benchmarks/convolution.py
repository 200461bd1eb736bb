"""The functional call and the plan on shapes of known networks."""

import numpy as np

import numconv as nc
from numconv.lab.shapes import FAMILIES, RESNET50

SHAPES = {f"resnet50/{s.name}": s for s in RESNET50}
SHAPES |= {f"{family}/{s.name}": s for family, members in FAMILIES.items() for s in members}


class Convolution:
    params = (list(SHAPES),)
    param_names = ("shape",)

    def setup(self, name):
        shape = SHAPES[name]
        operation = f"conv{'_transpose' if shape.transposed else ''}{len(shape.kernel)}d"
        self.function, self.options = getattr(nc, operation), shape.options
        self.x = np.random.default_rng(0).standard_normal(shape.x, dtype=np.float32)
        self.weight = np.random.default_rng(1).standard_normal(shape.weight, dtype=np.float32)
        self.plan = nc.plan(operation, shape.x, self.weight, **shape.options)
        call, planned = self.function(self.x, self.weight, **self.options), self.plan(self.x)
        np.testing.assert_allclose(call, planned, rtol=0, atol=1e-5 * np.abs(call).max())

    def time_call(self, name):
        self.function(self.x, self.weight, **self.options)

    def time_plan(self, name):
        self.plan(self.x)
