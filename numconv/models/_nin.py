"""Network in network (Lin, Chen and Yan 2014, "Network in network"), the one for CIFAR-10."""

from __future__ import annotations

from typing import Any

from numconv import nn
from numconv.autograd import functional as F


def mlpconv(in_channels: int, channels: tuple[int, int, int], kernel_size: int) -> list[nn.Module]:
    """A convolution and a small network at each pixel: two of 1x1."""
    first, second, third = channels
    return [
        nn.Conv2d(in_channels, first, kernel_size, padding=kernel_size // 2), nn.ReLU(),
        nn.Conv2d(first, second, 1), nn.ReLU(),
        nn.Conv2d(second, third, 1), nn.ReLU(),
    ]  # fmt: skip


class NIN(nn.Module):
    """Three such convolutions; the mean of a map is the score of a class. Pictures of 32x32, or of any size.

    Parameters
    ----------
    num_classes, in_channels : int
    dropout : float
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *mlpconv(in_channels, (192, 160, 96), 5), nn.MaxPool2d(3, 2, 1), nn.Dropout(dropout),
            *mlpconv(96, (192, 192, 192), 5), nn.AvgPool2d(3, 2, 1), nn.Dropout(dropout),
            *mlpconv(192, (192, 192, num_classes), 3),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return F.flatten(F.adaptive_avg_pool2d(self.features(x), (1, 1)), 1)


def nin(**kwargs: Any) -> NIN:
    """Network in network, 966,986 parameters; arguments as in `NIN`."""
    return NIN(**kwargs)
