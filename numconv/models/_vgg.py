"""VGG (Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition")."""

from __future__ import annotations

from typing import Any

from numconv import nn
from numconv.autograd import functional as F
from numconv.models._blocks import draw, kaiming_fan_out, refuse_weights, small_normal

CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # before each pooling: columns D and E of table 1
CHANNELS = (64, 128, 256, 512, 512)


def make_layers(depth: int) -> nn.Sequential:
    """The convolutions, with a ReLU after each and a pooling after each stage."""
    layers: list[nn.Module] = []
    channels = 3
    for count, wider in zip(CONVOLUTIONS[depth], CHANNELS):
        for _ in range(count):
            layers += [nn.Conv2d(channels, wider, 3, padding=1), nn.ReLU(inplace=True)]
            channels = wider
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


class VGG(nn.Module):
    """Stages of 3x3 convolutions and three linear layers; pictures of 224x224, at least 32x32.

    Parameters
    ----------
    features : Module
        Gives 512 channels.
    num_classes : int
    init_weights : bool
        Draw the weights for a deep network with ReLU (He et al. 2015), not as PyTorch's layers do.
    dropout : float
    """

    def __init__(
        self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(True), nn.Dropout(dropout),
            nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )  # fmt: skip
        if init_weights:
            draw(self, kaiming_fan_out, small_normal)

    def forward(self, x: Any) -> Any:
        return self.classifier(F.flatten(self.avgpool(self.features(x)), 1))


def vgg16(*, weights: None = None, **kwargs: Any) -> VGG:
    """VGG of 16 layers, 138,357,544 parameters; arguments as in `VGG`, without `features`."""
    refuse_weights(weights)
    return VGG(make_layers(16), **kwargs)


def vgg19(*, weights: None = None, **kwargs: Any) -> VGG:
    """VGG of 19 layers, 143,667,240 parameters; arguments as in `VGG`, without `features`."""
    refuse_weights(weights)
    return VGG(make_layers(19), **kwargs)
