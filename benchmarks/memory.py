"""Memory: workspace that algorithms ask for, packed weights, and the most that a process has, its arrays included.

64 channels of 512x512 in and out are 128 MiB.
"""

import numpy as np

import numconv as nc
from numconv.lab.shapes import FAMILIES, RESNET50

from .common import LAYOUTS, image, operation, weight_of

SHAPES = {s.name: s for s in (*RESNET50[:3], FAMILIES["dense"][2], FAMILIES["one_channel"][2], FAMILIES["3d"][2])}


def peakmem_import():
    """What numpy and numconv take by themselves (this file imports both)."""


class Workspace:
    params = (list(SHAPES), LAYOUTS)
    param_names = ("shape", "layout")
    unit = "bytes"

    def track_workspace(self, name, layout):
        shape = SHAPES[name]
        x = image(shape.x, layout)
        return nc.plan(operation(shape), x.shape, weight_of(shape), data_format=layout, **shape.options).workspace


class Large:
    params = (LAYOUTS,)
    param_names = ("layout",)

    def setup(self, layout):
        shape = (1, 64, 512, 512) if layout == "channels_first" else (1, 512, 512, 64)
        self.x = np.resize(np.random.default_rng(0).standard_normal(1_000_003, dtype=np.float32), shape)
        self.weight = np.random.default_rng(1).standard_normal((64, 64, 3, 3), dtype=np.float32)
        self.out = np.full_like(self.x, 7)
        self.options = {"padding": 1, "data_format": layout}

    def peakmem_arrays(self, layout):
        """For comparison: nothing is computed."""

    def peakmem_call(self, layout):
        nc.conv2d(self.x, self.weight, out=self.out, **self.options)

    def peakmem_plan(self, layout):
        nc.plan("conv2d", self.x.shape, self.weight, **self.options)(self.x, out=self.out)

    def peakmem_input_gradient(self, layout):
        nc.conv2d_input(self.x.shape, self.weight, self.x, out=self.out, **self.options)

    def peakmem_weight_gradient(self, layout):
        nc.conv2d_weight(self.x, self.weight.shape, self.out, **self.options)
