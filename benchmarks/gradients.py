"""Both gradients of 3x3 layers of stride 1: those of `numconv bench --gradients`."""

import numpy as np

import numconv as nc
from numconv.lab.shapes import GRADIENTS

from .common import LAYOUTS, Suite, image, once

SHAPES = {f"{family}/{s.name}": s for family, members in GRADIENTS.items() for s in members}


class Gradients(Suite):
    params = (list(SHAPES), LAYOUTS)
    param_names = ("layer", "layout")

    @once
    def setup(self, layer, layout):
        channels, size = SHAPES[layer].x[1:3]
        self.x, self.grad = (image((1, channels, size, size), layout, seed) for seed in (0, 2))
        self.weight = np.random.default_rng(1).standard_normal((channels, channels, 3, 3), dtype=np.float32)
        self.options = {"padding": 1, "data_format": layout}
        # <conv(x), grad> = <x, gradient of x> = <weight, gradient of weight>
        expected = np.vdot(nc.conv2d(self.x, self.weight, **self.options), self.grad)
        for found in (np.vdot(self.x, self.input()), np.vdot(self.weight, self.of_weight())):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * self.x.size**0.5 * channels**0.5)

    def input(self):
        return nc.conv2d_input(self.x.shape, self.weight, self.grad, **self.options)

    def of_weight(self):
        return nc.conv2d_weight(self.x, self.weight.shape, self.grad, **self.options)

    def time_input(self, layer, layout):
        self.input()

    def time_weight(self, layer, layout):
        self.of_weight()
