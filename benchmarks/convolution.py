"""Convolutions: the functional call, the plan, each algorithm, and threads."""

import numpy as np

import numconv as nc
from numconv.algorithm import rejection, table
from numconv.lab.shapes import FAMILIES, RESNET50

from .common import LAYOUTS, Suite, image, once, operation, weight_of

SHAPES = {f"resnet50/{s.name}": s for s in RESNET50}
SHAPES |= {f"{family}/{s.name}": s for family, members in FAMILIES.items() for s in members}
# Layers that differ in what suits them: wide and deep, pointwise, few channels in, depthwise, a picture.
DIFFERENT = [
    "resnet50/stage1_3x3",
    "resnet50/stage3_expand",
    "resnet50/stem_7x7",
    "depthwise/mobilenet_v2_first",
    "one_channel/picture_7x7",
]


class Convolution(Suite):
    """Every shape of `numconv bench`."""

    params = (list(SHAPES), LAYOUTS)
    param_names = ("shape", "layout")

    @once
    def setup(self, name, layout):
        shape = SHAPES[name]
        self.function = getattr(nc, operation(shape))
        self.options = shape.options | {"data_format": layout}
        self.x, self.weight = image(shape.x, layout), weight_of(shape)
        self.plan = nc.plan(operation(shape), self.x.shape, self.weight, **self.options)
        self.out = self.plan(self.x)
        call = self.function(self.x, self.weight, **self.options)
        np.testing.assert_allclose(call, self.out, rtol=0, atol=1e-5 * np.abs(call).max())

    def time_call(self, name, layout):
        self.function(self.x, self.weight, **self.options)

    def time_plan(self, name, layout):
        self.plan(self.x, out=self.out)


def taken():
    """Algorithms and the layers that they take in one of the layouts, "direct" apart."""
    for name in DIFFERENT:
        shape = SHAPES[name]
        problems = [
            nc.ConvProblem.make(
                "conv2d", image(shape.x, layout).shape, shape.weight, data_format=layout, **shape.options
            )
            for layout in LAYOUTS
        ]
        for algorithm in table("conv2d")[:-1]:
            if any(rejection(algorithm, problem) is None for problem in problems):
                yield f"{algorithm.name} on {name}"


class Algorithms(Suite):
    """Each algorithm on layers that it takes, with packed weights."""

    params = (list(taken()), ["float32", "float64"], LAYOUTS)
    param_names = ("algorithm", "dtype", "layout")

    @once
    def setup(self, pair, dtype, layout):
        algorithm, _, name = pair.partition(" on ")
        shape = SHAPES[name]
        options = shape.options | {"data_format": layout}
        self.x, weight = image(shape.x, layout).astype(dtype), weight_of(shape).astype(dtype)
        try:
            self.plan = nc.plan("conv2d", self.x.shape, weight, algorithm=algorithm, **options)
        except ValueError as rejected:
            raise NotImplementedError(str(rejected)) from None
        self.out = self.plan(self.x)
        auto = nc.conv2d(self.x, weight, **options)
        np.testing.assert_allclose(self.out, auto, rtol=0, atol=1e-5 * np.abs(auto).max())

    def time_plan(self, pair, dtype, layout):
        self.plan(self.x, out=self.out)


class Threads(Suite):
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

    @once
    def setup(self, name, threads):
        shape = SHAPES[name]
        nc.set_num_threads(threads)
        self.x = image(shape.x, "channels_last")
        options = shape.options | {"data_format": "channels_last"}
        self.plan = nc.plan(operation(shape), self.x.shape, weight_of(shape), **options)
        self.out = self.plan(self.x)

    def time_plan(self, name, threads):
        self.plan(self.x, out=self.out)
