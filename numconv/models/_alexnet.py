"""AlexNet as torchvision has it (Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks")
and as it won (Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks").
"""

from __future__ import annotations

from typing import Any

from numconv import nn
from numconv.autograd import functional as F
from numconv.models._blocks import draw, refuse_weights, small_normal
from numconv.nn import init

# section 3.3; PyTorch divides alpha by the size of the window, the paper does not
NORM: dict[str, Any] = {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0}


class AlexNet(nn.Module):
    """Five convolutions and three linear layers, of 2014; pictures of 224x224, at least 63x63.

    Parameters
    ----------
    num_classes : int
    dropout : float
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(inplace=True),
            nn.Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return self.classifier(F.flatten(self.avgpool(self.features(x)), 1))


class AlexNet2012(AlexNet):
    """The paper's: two groups, as on its two GPUs, and local response normalisation; pictures of 227x227.

    First values as there (section 5): weights normal with deviation 0.01; biases 1 in the second, fourth and fifth
    convolution and the hidden linear layers, 0 elsewhere. Arguments as in `AlexNet`.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__(num_classes, dropout)
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), nn.LocalResponseNorm(**NORM), nn.MaxPool2d(3, 2),
            nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), nn.LocalResponseNorm(**NORM), nn.MaxPool2d(3, 2),
            nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        draw(self, small_normal, small_normal)
        for i in (4, 10, 12):
            init.ones_(self.features[i].bias)
        for i in (1, 4):
            init.ones_(self.classifier[i].bias)


def alexnet(*, weights: None = None, **kwargs: Any) -> AlexNet:
    """torchvision's AlexNet, 61,100,840 parameters; arguments as in `AlexNet`."""
    refuse_weights(weights)
    return AlexNet(**kwargs)


def alexnet_2012(**kwargs: Any) -> AlexNet2012:
    """The paper's AlexNet, 60,965,224 parameters; arguments as in `AlexNet`."""
    return AlexNet2012(**kwargs)
