"""Poolings of known networks, of one image and of eight."""

import numpy as np

import numconv as nc
from numconv.lab.shapes import POOLINGS

SHAPES = {shape.name: shape for shape in POOLINGS}


class Pooling:
    params = (list(SHAPES), [1, 8])
    param_names = ("shape", "batch")

    def setup(self, name, batch):
        shape = SHAPES[name].batch(batch)
        self.function, self.options = getattr(nc, shape.operation), shape.options
        self.x = np.random.default_rng(0).standard_normal(shape.x, dtype=np.float32)
        self.function(self.x, **self.options)

    def time_call(self, name, batch):
        self.function(self.x, **self.options)
