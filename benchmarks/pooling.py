"""Poolings of known networks in both layouts, and their gradients."""

import numpy as np

import numconv as nc
from numconv.lab.shapes import POOLINGS

from .common import LAYOUTS, Suite, image, once

SHAPES = {shape.name: shape for shape in POOLINGS}


class Pooling(Suite):
    params = (list(SHAPES), [1, 8], LAYOUTS)
    param_names = ("shape", "batch", "layout")

    @once
    def setup(self, name, batch, layout):
        shape = SHAPES[name].batch(batch)
        self.function = getattr(nc, shape.operation)
        self.options = shape.options | {"data_format": layout}
        self.x = image(shape.x, layout)
        assert np.isfinite(self.function(self.x, **self.options)).all()

    def time_call(self, name, batch, layout):
        self.function(self.x, **self.options)


class Gradient(Suite):
    """Of a max pooling by its indices, and of an average."""

    params = (["max_pool2d", "avg_pool2d"], LAYOUTS)
    param_names = ("operation", "layout")

    @once
    def setup(self, operation, layout):
        x = image((8, 64, 56, 56), layout)
        function, gradient = getattr(nc, operation), getattr(nc, f"{operation}_input")
        options = {"data_format": layout}
        if operation == "max_pool2d":
            y, indices = function(x, 2, return_indices=True, **options)
            self.call = lambda: gradient(x.shape, indices, y, **options)
        else:
            y = function(x, 2, **options)
            self.call = lambda: gradient(x.shape, y, 2, **options)
        # The gradient is linear in y, and y's own sum comes back as often as each element was used.
        np.testing.assert_allclose(self.call().sum(dtype=np.float64), y.sum(dtype=np.float64), rtol=1e-4, atol=1e-2)

    def time_call(self, operation, layout):
        self.call()
