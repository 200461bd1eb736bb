"""Fully convolutional networks (Long, Shelhamer and Darrell 2015, "Fully convolutional networks for semantic
segmentation"), on VGG-16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv import nn
from numconv.autograd import Tensor, no_grad
from numconv.models._blocks import draw, kaiming_fan_out
from numconv.models._vgg import make_layers
from numconv.nn import init


class FCN(nn.Module):
    """A class for each pixel: VGG-16 with its linear layers as convolutions, and transposed convolutions back up.

    `features` has VGG-16's keys. Pictures of any size from 32x32; sizes of results are those of the pictures. In place
    of the paper's border of 100 pixels, the layer of 7x7 is padded.

    Parameters
    ----------
    num_classes : int
    stride : {8, 16, 32}
        Of the last upsampling: FCN-8s adds scores of the third and fourth pooling, 16s of the fourth, 32s none.
    hidden : int
        Channels of the layers that were linear.
    dropout : float

    Raises
    ------
    ValueError
        For another stride.
    """

    def __init__(self, num_classes: int = 21, stride: int = 8, hidden: int = 4096, dropout: float = 0.5) -> None:
        super().__init__()
        if stride not in (8, 16, 32):
            raise ValueError(f"stride must be 8, 16 or 32, got {stride!r}")
        self.features = make_layers(16)
        self.classifier = nn.Sequential(
            nn.Conv2d(512, hidden, 7, padding=3), nn.ReLU(), nn.Dropout2d(dropout),
            nn.Conv2d(hidden, hidden, 1), nn.ReLU(), nn.Dropout2d(dropout),
            nn.Conv2d(hidden, num_classes, 1),
        )  # fmt: skip
        beside = {8: (512, 256), 16: (512,), 32: ()}[stride]
        self.scores = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for channels in beside)
        self.ups = nn.ModuleList(upsampling(num_classes, 2) for _ in beside)
        self.last = upsampling(num_classes, stride)
        draw(self.features, kaiming_fan_out)
        draw(self.classifier, kaiming_fan_out)
        for score in (self.classifier[-1], *self.scores):  # the paper's: zero
            init.zeros_(score.weight)
            init.zeros_(score.bias)

    def forward(self, x: Any) -> Any:
        size, pooled = x.shape[2:], []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pooled.append(x)
        x = self.classifier(x)
        for up, score, beside in zip(self.ups, self.scores, pooled[-2::-1]):
            x = up(x, beside.shape[2:]) + score(beside)
        return self.last(x, size)


def upsampling(channels: int, stride: int) -> nn.ConvTranspose2d:
    """A transposed convolution that begins as bilinear interpolation of each channel."""
    layer = nn.ConvTranspose2d(channels, channels, 2 * stride, stride, stride // 2, bias=False)
    line = 1 - np.abs((np.arange(2 * stride) + 0.5) / stride - 1)
    weight = np.eye(channels)[:, :, None, None] * np.outer(line, line)
    with no_grad():
        layer.weight.copy_(Tensor(weight.astype(np.float32)))
    return layer


def fcn(**kwargs: Any) -> FCN:
    """FCN-8s on VGG-16, 134,489,759 parameters; arguments as in `FCN`."""
    return FCN(**kwargs)
