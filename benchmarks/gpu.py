"""Convolutions and poolings on a GPU, waited for. Skipped where there is none."""

import numpy as np

import numconv as nc
from numconv.lab.shapes import FAMILIES, POOLINGS, RESNET50

from .common import LAYOUTS, Suite, image, once, operation, weight_of

SHAPES = {s.name: s for s in (*RESNET50[:4], RESNET50[16], FAMILIES["depthwise"][0])}
POOLS = {shape.name: shape for shape in POOLINGS}
BATCH = 64


def skip_without_gpu():
    if not nc.cuda.is_available():
        raise NotImplementedError("no GPU, or the extra 'cuda' is not installed")


class Convolution(Suite):
    params = (list(SHAPES), ["float32", "float16"], LAYOUTS)
    param_names = ("shape", "dtype", "layout")

    @once
    def setup(self, name, dtype, layout):
        skip_without_gpu()
        shape = SHAPES[name].batch(BATCH)
        options = shape.options | {"data_format": layout}
        x, weight = image(shape.x, layout).astype(dtype), weight_of(shape).astype(dtype)
        self.x = nc.cuda.to_device(x)
        self.plan = nc.plan(operation(shape), self.x.shape, nc.cuda.to_device(weight), **options)
        self.out = self.plan(self.x)
        first = nc.conv2d(x[:1].astype(np.float32), weight.astype(np.float32), **options)
        found = nc.cuda.to_host(self.out)[:1]
        np.testing.assert_allclose(found, first, rtol=0, atol=2e-3 * np.abs(first).max())

    def time_plan(self, name, dtype, layout):
        self.plan(self.x, out=self.out)
        nc.cuda.synchronize()


class Pooling(Suite):
    params = (list(POOLS), LAYOUTS)
    param_names = ("shape", "layout")

    @once
    def setup(self, name, layout):
        skip_without_gpu()
        shape = POOLS[name].batch(BATCH)
        self.function, self.options = getattr(nc, shape.operation), shape.options | {"data_format": layout}
        self.x = nc.cuda.to_device(image(shape.x, layout))
        self.time_call(name, layout)

    def time_call(self, name, layout):
        self.function(self.x, **self.options)
        nc.cuda.synchronize()
