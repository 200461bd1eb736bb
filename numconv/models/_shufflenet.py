"""ShuffleNet (Zhang et al. 2018, "ShuffleNet: an extremely efficient convolutional neural network for mobile
devices").
"""

from __future__ import annotations

from typing import Any

from numconv import nn
from numconv.autograd import functional as F
from numconv.models._blocks import ConvNormActivation

CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # table 1: of the first stage, by groups; they double twice
REPETITIONS = (3, 7, 3)


class ShuffleUnit(nn.Module):
    """Grouped pointwise, channel shuffle, depthwise, grouped pointwise; the input beside them (figure 2).

    At stride 2 the input is pooled, and concatenated instead of added.
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int, stride: int, grouped: bool = True) -> None:
        super().__init__()
        width = out_channels // 4
        added = out_channels - in_channels if stride == 2 else out_channels
        self.compress = ConvNormActivation(in_channels, width, 1, groups=groups if grouped else 1)
        self.shuffle = nn.ChannelShuffle(groups)
        self.depthwise = ConvNormActivation(width, width, 3, stride, groups=width, activation_layer=None)
        self.expand = ConvNormActivation(width, added, 1, groups=groups, activation_layer=None)
        self.pool = nn.AvgPool2d(3, 2, 1)
        self.stride = stride

    def forward(self, x: Any) -> Any:
        out = self.expand(self.depthwise(self.shuffle(self.compress(x))))
        return F.relu(x + out if self.stride == 1 else F.concatenate([self.pool(x), out], 1))


class ShuffleNetV1(nn.Module):
    """Three stages of shuffle units; pictures of 224x224, or of any size.

    Parameters
    ----------
    num_classes : int
    groups : {1, 2, 3, 4, 8}
        Of the pointwise convolutions.

    Raises
    ------
    ValueError
        For another number of groups.
    """

    def __init__(self, num_classes: int = 1000, groups: int = 3) -> None:
        super().__init__()
        if groups not in CHANNELS:
            raise ValueError(f"groups must be one of {[*CHANNELS]}, got {groups!r}")
        self.stem = nn.Sequential(ConvNormActivation(3, 24, stride=2), nn.MaxPool2d(3, 2, 1))
        channels, units = 24, []
        for stage, repetitions in enumerate(REPETITIONS):
            wider = CHANNELS[groups] << stage
            # the first has too few channels for groups
            units.append(ShuffleUnit(channels, wider, groups, 2, grouped=stage > 0))
            units += [ShuffleUnit(wider, wider, groups, 1) for _ in range(repetitions)]
            channels = wider
        self.features = nn.Sequential(*units)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Any) -> Any:
        return self.fc(F.flatten(F.adaptive_avg_pool2d(self.features(self.stem(x)), (1, 1)), 1))


def shufflenet_v1(**kwargs: Any) -> ShuffleNetV1:
    """ShuffleNet of three groups, 1,865,728 parameters; arguments as in `ShuffleNetV1`."""
    return ShuffleNetV1(**kwargs)
