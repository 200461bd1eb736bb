"""Pooling on ResNet's shapes."""

import numpy as np

import numconv as nc


class Pooling:
    params = (["max_pool2d", "avg_pool2d"], [(1, 64, 112, 112), (8, 64, 112, 112)])
    param_names = ("operation", "shape")

    def setup(self, operation, shape):
        self.function = getattr(nc, operation)
        self.x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        self.function(self.x, 3, 2, 1)

    def time_call(self, operation, shape):
        self.function(self.x, 3, 2, 1)
