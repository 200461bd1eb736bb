"""MobileNet (Howard et al. 2017, "MobileNets: efficient convolutional neural networks for mobile vision applications")
and MobileNetV2 (Sandler et al. 2018, "MobileNetV2: inverted residuals and linear bottlenecks").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numconv import nn
from numconv.autograd import functional as F
from numconv.models._blocks import (
    ConvNormActivation,
    draw,
    kaiming_fan_out,
    make_divisible,
    refuse_weights,
    small_normal,
)

# table 1 of the first paper: channels, stride
SEPARABLE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
# table 2 of the second: expansion, channels, repetitions, stride of the first
INVERTED = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip


class MobileNetV1(nn.Module):
    """Depthwise and pointwise convolutions in turn, each with BN and ReLU; pictures of 224x224, or of any size.

    Parameters
    ----------
    num_classes : int
    width_mult : float
        Channels, relative to the paper's table.
    """

    def __init__(self, num_classes: int = 1000, width_mult: float = 1.0) -> None:
        super().__init__()
        channels = int(32 * width_mult)
        layers: list[nn.Module] = [ConvNormActivation(3, channels, stride=2)]
        for out, stride in SEPARABLE:
            wider = int(out * width_mult)
            depthwise = ConvNormActivation(channels, channels, stride=stride, groups=channels)
            layers.append(nn.Sequential(depthwise, ConvNormActivation(channels, wider, 1)))
            channels = wider
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)
        draw(self, kaiming_fan_out, small_normal)

    def forward(self, x: Any) -> Any:
        return self.classifier(F.flatten(F.adaptive_avg_pool2d(self.features(x), (1, 1)), 1))


class InvertedResidual(nn.Module):
    """Pointwise to more channels, depthwise, pointwise to fewer without activation; the input beside them."""

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: float, norm_layer: Any = nn.BatchNorm2d) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride must be 1 or 2, got {stride}")
        self.use_res_connect = stride == 1 and inp == oup
        hidden = round(inp * expand_ratio)
        kind = {"norm_layer": norm_layer, "activation_layer": nn.ReLU6}
        expand = [ConvNormActivation(inp, hidden, 1, **kind)] if expand_ratio != 1 else []
        depthwise = ConvNormActivation(hidden, hidden, stride=stride, groups=hidden, **kind)
        self.conv = nn.Sequential(*expand, depthwise, nn.Conv2d(hidden, oup, 1, bias=False), norm_layer(oup))

    def forward(self, x: Any) -> Any:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """Inverted residuals; pictures of 224x224, or of any size.

    Parameters
    ----------
    num_classes : int
    width_mult : float
        Channels, relative to the paper's table.
    inverted_residual_setting : sequence of (expansion, channels, repetitions, stride), optional
        Another table.
    round_nearest : int
        Channels are multiples of it.
    block : type
    norm_layer : callable
    dropout : float

    Raises
    ------
    ValueError
        If a row of `inverted_residual_setting` does not have four elements.
    """

    def __init__(
        self, num_classes: int = 1000, width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] = INVERTED, round_nearest: int = 8,
        block: Any = InvertedResidual, norm_layer: Any = nn.BatchNorm2d, dropout: float = 0.2,
    ) -> None:  # fmt: skip
        super().__init__()
        if not inverted_residual_setting or any(len(row) != 4 for row in inverted_residual_setting):
            raise ValueError(f"inverted_residual_setting must have rows of 4 elements, got {inverted_residual_setting}")
        channels = make_divisible(32 * width_mult, round_nearest)
        self.last_channel = make_divisible(1280 * max(1.0, width_mult), round_nearest)
        kind = {"norm_layer": norm_layer, "activation_layer": nn.ReLU6}
        layers: list[nn.Module] = [ConvNormActivation(3, channels, stride=2, **kind)]
        for expansion, out, repetitions, first in inverted_residual_setting:
            for i in range(repetitions):
                wide = make_divisible(out * width_mult, round_nearest)
                layers.append(block(channels, wide, first if i == 0 else 1, expansion, norm_layer))
                channels = wide
        layers.append(ConvNormActivation(channels, self.last_channel, 1, **kind))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes))
        draw(self, kaiming_fan_out, small_normal)

    def forward(self, x: Any) -> Any:
        return self.classifier(F.flatten(F.adaptive_avg_pool2d(self.features(x), (1, 1)), 1))


def mobilenet_v1(**kwargs: Any) -> MobileNetV1:
    """MobileNet, 4,231,976 parameters; arguments as in `MobileNetV1`."""
    return MobileNetV1(**kwargs)


def mobilenet_v2(*, weights: None = None, **kwargs: Any) -> MobileNetV2:
    """torchvision's MobileNetV2, 3,504,872 parameters; arguments as in `MobileNetV2`."""
    refuse_weights(weights)
    return MobileNetV2(**kwargs)
