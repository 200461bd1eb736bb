"""The functional call and the plan on shapes of known networks, in both layouts."""

import numpy as np

import numconv as nc
from numconv.lab.shapes import FAMILIES, GRADIENTS, RESNET50

SHAPES = {f"resnet50/{s.name}": s for s in RESNET50}
SHAPES |= {f"{family}/{s.name}": s for family, members in FAMILIES.items() for s in members}
LAYOUTS = ["channels_first", "channels_last"]
THREES = {f"{family}/{s.name}": s for family, members in GRADIENTS.items() for s in members}


def operation(shape):
    return f"conv{'_transpose' if shape.transposed else ''}{len(shape.kernel)}d"


def image(size, layout, seed=0):
    """Standard normal numbers; the size is channels first."""
    array = np.random.default_rng(seed).standard_normal(size, dtype=np.float32)
    return array if layout == "channels_first" else np.ascontiguousarray(np.moveaxis(array, 1, -1))


class Convolution:
    params = (list(SHAPES), LAYOUTS)
    param_names = ("shape", "layout")

    def setup(self, name, layout):
        shape = SHAPES[name]
        self.function = getattr(nc, operation(shape))
        self.options = shape.options | {"data_format": layout}
        self.x = image(shape.x, layout)
        self.weight = np.random.default_rng(1).standard_normal(shape.weight, dtype=np.float32)
        self.plan = nc.plan(operation(shape), self.x.shape, self.weight, **self.options)
        self.out = self.plan(self.x)
        call = self.function(self.x, self.weight, **self.options)
        np.testing.assert_allclose(call, self.out, rtol=0, atol=1e-5 * np.abs(call).max())

    def time_call(self, name, layout):
        self.function(self.x, self.weight, **self.options)

    def time_plan(self, name, layout):
        self.plan(self.x, out=self.out)


class Gradients:
    """Of the 3x3 layers of stride 1: those of `numconv bench --gradients`."""

    params = (list(THREES), LAYOUTS)
    param_names = ("layer", "layout")

    def setup(self, layer, layout):
        channels, size = THREES[layer].x[1:3]
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


class Threads:
    """How far a second thread helps: a dense, a pointwise and a depthwise layer, large and small."""

    params = (
        [
            "resnet50/stage1_3x3",
            "resnet50/stage4_3x3",
            "resnet50/stage3_expand",
            "depthwise/mobilenet_v2_first",
            "depthwise/mobilenet_v2_last",
            "tiny/digits_3x3",
        ],
        [1, 2],
    )
    param_names = ("shape", "threads")

    def setup(self, name, threads):
        shape = SHAPES[name]
        nc.set_num_threads(threads)
        self.x = image(shape.x, "channels_last")
        weight = np.random.default_rng(1).standard_normal(shape.weight, dtype=np.float32)
        options = shape.options | {"data_format": "channels_last"}
        self.plan = nc.plan(operation(shape), self.x.shape, weight, **options)
        self.out = self.plan(self.x)

    def time_plan(self, name, threads):
        self.plan(self.x, out=self.out)
