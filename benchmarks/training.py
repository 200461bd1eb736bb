"""One training step: forward, loss, backward, optimiser; and the optimisers alone."""

import numpy as np

from numconv import models, nn, optim, random
from numconv.autograd import Tensor

from .common import Suite, image, once

MODELS = {
    "lenet5, batch 32": (models.lenet5, (32, 1, 32, 32), 10),
    "lenet5 relu max, batch 32": (lambda: models.lenet5(activation="relu", pooling="max"), (32, 1, 32, 32), 10),
    "resnet18, batch 4, 64x64": (lambda: models.resnet18(num_classes=10), (4, 3, 64, 64), 10),
    "unet3d, width 8, 32x32x32": (lambda: models.unet3d(1, 3, 8, 2, 1), (1, 1, 32, 32, 32), 3),
}
OPTIMIZERS = {
    "SGD": lambda params: optim.SGD(params, 0.01, momentum=0.9),
    "Adam": optim.Adam,
    "RMSprop": optim.RMSprop,
}


class Step(Suite):
    params = (list(MODELS),)
    param_names = ("model",)

    @once
    def setup(self, name):
        build, shape, classes = MODELS[name]
        random.seed(0)
        self.model, self.loss = build(), nn.CrossEntropyLoss()
        self.x = Tensor(image(shape))
        self.y = np.random.default_rng(0).integers(0, classes, shape[:1] if len(shape) == 4 else (shape[0], *shape[2:]))
        self.optimizer = optim.Adam(self.model.parameters())
        losses = [self.time_step(name) for _ in range(4)]
        assert losses[-1] < losses[0]

    def time_step(self, name):
        self.optimizer.zero_grad()
        loss = self.loss(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def time_forward(self, name):
        self.model(self.x)

    def peakmem_step(self, name):
        self.time_step(name)


class Optimizer(Suite):
    """A step with the parameters of LeNet-5, ten small arrays, and of ResNet-18, eleven million numbers."""

    params = (list(OPTIMIZERS), ["lenet5", "resnet18"])
    param_names = ("optimizer", "model")

    @once
    def setup(self, optimizer, model):
        random.seed(0)
        parameters = list(models.get(model).parameters())
        for p in parameters:
            p.grad = Tensor(np.full(p.shape, 1e-3, np.float32))
        self.optimizer = OPTIMIZERS[optimizer](parameters)
        self.optimizer.step()

    def time_step(self, optimizer, model):
        self.optimizer.step()
