"""Frozen models, batch 1: how long a picture takes, and how long freezing does."""

import numpy as np

from numconv import models, nn


class Frozen:
    params = (["resnet50", "mobilenet_v2", "vgg16"],)
    param_names = ("model",)
    timeout = 300

    def setup(self, name):
        self.model = models.get(name).eval()
        self.x = np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)
        self.frozen = nn.freeze(self.model, self.x)
        self.frozen(self.x)

    def time_picture(self, name):
        self.frozen(self.x)

    def time_freeze(self, name):
        nn.freeze(self.model, self.x)
