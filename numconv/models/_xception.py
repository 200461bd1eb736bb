"""Xception (Chollet 2017, "Xception: deep learning with depthwise separable convolutions")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numconv import nn
from numconv.autograd import functional as F
from numconv.models._blocks import ConvNormActivation


def separable(in_channels: int, out_channels: int) -> list[nn.Module]:
    """A separable convolution and BN."""
    return [
        nn.DepthwiseSeparableConv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
    ]


class Block(nn.Module):
    """Separable convolutions, each after a ReLU, and the input beside them; at stride 2 with a pooling.

    Parameters
    ----------
    in_channels : int
    channels : sequence of int
        Of the result of each convolution.
    stride : int
    first : bool
        Whether there is a ReLU before the first convolution.
    """

    skip: Any

    def __init__(self, in_channels: int, channels: Sequence[int], stride: int = 1, first: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((in_channels, *channels), channels):
            layers += [nn.ReLU(), *separable(before, after)]
        pool = [nn.MaxPool2d(3, stride, 1)] if stride != 1 else []
        self.body = nn.Sequential(*layers[0 if first else 1 :], *pool)
        shortcut = ConvNormActivation(in_channels, channels[-1], 1, stride, activation_layer=None)
        self.skip = shortcut if stride != 1 else None

    def forward(self, x: Any) -> Any:
        return self.body(x) + (x if self.skip is None else self.skip(x))


class Xception(nn.Module):
    """Entry flow, middle flow of eight blocks, exit flow (figure 5); pictures of 299x299, at least 7x7.

    Parameters
    ----------
    num_classes : int
    dropout : float
        Before the last layer.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.entry = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            Block(64, (128, 128), 2, first=False), Block(128, (256, 256), 2), Block(256, (728, 728), 2),
        )  # fmt: skip
        self.middle = nn.Sequential(*(Block(728, (728, 728, 728)) for _ in range(8)))
        self.exit = nn.Sequential(
            Block(728, (728, 1024), 2), *separable(1024, 1536), nn.ReLU(), *separable(1536, 2048), nn.ReLU()
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.exit(self.middle(self.entry(x)))
        return self.fc(self.dropout(F.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1)))


def xception(**kwargs: Any) -> Xception:
    """Xception, 22,855,952 parameters; arguments as in `Xception`."""
    return Xception(**kwargs)
