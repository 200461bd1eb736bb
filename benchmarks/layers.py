"""Layers around convolutions, forward and with the way back, on a batch of a ResNet's first stage."""

import numpy as np

from numconv import nn, random
from numconv.autograd import Tensor, no_grad

from .common import Suite, image, once

LAYERS = {
    "BatchNorm2d": lambda: nn.BatchNorm2d(64),
    "GroupNorm": lambda: nn.GroupNorm(8, 64),
    "LayerNorm": lambda: nn.LayerNorm((64, 56, 56)),
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "Dropout": nn.Dropout,
    "MaxPool2d": lambda: nn.MaxPool2d(2),
    "Upsample": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "Conv2d": lambda: nn.Conv2d(64, 64, 3, padding=1),
    "DepthwiseSeparableConv2d": lambda: nn.DepthwiseSeparableConv2d(64, 64, 3, padding=1),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(64, 64, 2, 2),
    "Linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64 * 56 * 56, 10)),
}


class Layer(Suite):
    params = (list(LAYERS),)
    param_names = ("layer",)

    @once
    def setup(self, name):
        random.seed(0)
        self.layer = LAYERS[name]()
        self.x = Tensor(image((8, 64, 56, 56)), requires_grad=True)
        self.y_grad = Tensor(np.ones(self.layer(self.x).shape, np.float32))
        self.time_forward_and_backward(name)
        assert np.isfinite(self.x.grad.numpy()).all()

    def time_forward(self, name):
        with no_grad():
            self.layer(self.x)

    def time_forward_and_backward(self, name):
        self.x.grad = None
        self.layer(self.x).backward(self.y_grad)
