"""LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition")."""

from __future__ import annotations

from typing import Any

from numconv import nn
from numconv.autograd import functional as F

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}
POOLINGS = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}


class LeNet5(nn.Module):
    """Two convolutions with poolings and three linear layers; pictures of 32x32.

    Plain averages stand for the paper's trained subsampling, full connections for its table of some, a linear layer for
    its radial basis functions: so it is written today.

    Parameters
    ----------
    num_classes, in_channels : int
    activation : {"tanh", "relu", "sigmoid"}
    pooling : {"average", "max"}

    Raises
    ------
    ValueError
        For another activation or pooling.
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, activation: str = "tanh", pooling: str = "average"
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {[*ACTIVATIONS]}, got {activation!r}")
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {[*POOLINGS]}, got {pooling!r}")
        act, pool = ACTIVATIONS[activation], POOLINGS[pooling]
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5), act(), pool(2),
            nn.Conv2d(6, 16, 5), act(), pool(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120), act(), nn.Linear(120, 84), act(), nn.Linear(84, num_classes)
        )

    def forward(self, x: Any) -> Any:
        return self.classifier(F.flatten(self.features(x), 1))


def lenet5(**kwargs: Any) -> LeNet5:
    """LeNet-5, 61,706 parameters; arguments as in `LeNet5`."""
    return LeNet5(**kwargs)
