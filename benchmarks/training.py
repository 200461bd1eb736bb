"""One training step: forward, loss, backward, Adam."""

import numpy as np

from numconv import models, nn, optim, random
from numconv.autograd import Tensor

MODELS = {
    "lenet5, batch 32": (models.lenet5, (32, 1, 32, 32), 10),
    "lenet5 relu max, batch 32": (lambda: models.lenet5(activation="relu", pooling="max"), (32, 1, 32, 32), 10),
    "resnet18, batch 4, 64x64": (lambda: models.resnet18(num_classes=10), (4, 3, 64, 64), 10),
    "unet3d, width 8, 32x32x32": (lambda: models.unet3d(1, 3, 8, 2, 1), (1, 1, 32, 32, 32), 3),
}


class Step:
    params = (list(MODELS),)
    param_names = ("model",)

    def setup(self, name):
        build, shape, classes = MODELS[name]
        random.seed(0)
        rng = np.random.default_rng(0)
        self.model, self.loss = build(), nn.CrossEntropyLoss()
        self.x = Tensor(rng.standard_normal(shape, dtype=np.float32))
        self.y = rng.integers(0, classes, shape[:1] if len(shape) == 4 else (shape[0], *shape[2:]))
        self.optimizer = optim.Adam(self.model.parameters())
        self.time_step(name)

    def time_step(self, name):
        self.optimizer.zero_grad()
        self.loss(self.model(self.x), self.y).backward()
        self.optimizer.step()

    def time_forward(self, name):
        self.model(self.x)
