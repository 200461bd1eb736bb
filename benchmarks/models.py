"""Whole models: the answer to one picture, and a step of training."""

import numpy as np

from numconv import models, nn, optim
from numconv.autograd import functional as F
from numconv.autograd import no_grad


def pictures(shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


class Inference:
    params = (["resnet18", "resnet50", "mobilenet_v2", "densenet121", "vgg16"],)
    param_names = ("model",)

    def setup(self, name):
        nn.init.seed(0)
        self.model, self.x = models.get(name).eval(), pictures((1, 3, 224, 224))
        with no_grad():
            assert np.isfinite(self.model(self.x).numpy()).all()

    def time_one_picture(self, name):
        with no_grad():
            self.model(self.x)


class Training:
    params = (["lenet5, 32 of 32x32", "resnet18, 8 of 224x224"],)
    param_names = ("model",)

    def setup(self, case):
        name, _, batch = case.partition(", ")
        number, _, size = batch.partition(" of ")
        side = int(size.partition("x")[0])
        nn.init.seed(0)
        self.model = models.get(name)
        self.x = pictures((int(number), 1 if name == "lenet5" else 3, side, side))
        self.y = np.arange(int(number)) % 10
        self.optimizer = optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        losses = [self.time_step(case) for _ in range(2)]
        assert losses[1] < losses[0]

    def time_step(self, case):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def peakmem_step(self, case):
        self.time_step(case)
