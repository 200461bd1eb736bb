"""Whole models on one picture, as they are and frozen; how long freezing takes, and the most memory of the process."""

import numpy as np

from numconv import models, nn, random
from numconv.autograd import no_grad

from .common import Suite, image, once


class Eager(Suite):
    params = (["resnet18", "resnet50", "mobilenet_v2", "densenet121"],)
    param_names = ("model",)
    timeout = 300

    @once
    def setup(self, name):
        random.seed(0)
        self.model, self.x = models.get(name).eval(), image((1, 3, 224, 224))
        self.time_picture(name)

    def time_picture(self, name):
        with no_grad():
            self.model(self.x)


class Frozen(Suite):
    params = (["resnet18", "resnet50", "mobilenet_v2", "densenet121", "vgg16"],)
    param_names = ("model",)
    timeout = 300

    @once
    def setup(self, name):
        random.seed(0)
        self.model, self.x = models.get(name).eval(), image((1, 3, 224, 224))
        self.frozen = nn.freeze(self.model, self.x)
        with no_grad():
            expected = np.asarray(self.model(self.x))
        np.testing.assert_allclose(self.frozen(self.x), expected, rtol=0, atol=1e-4 * np.abs(expected).max())

    def time_picture(self, name):
        self.frozen(self.x)

    def time_freeze(self, name):
        nn.freeze(self.model, self.x)

    def peakmem_picture(self, name):
        self.frozen(self.x)
