"""DenseNet (Huang et al. 2017, "Densely connected convolutional networks")."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from numconv import nn
from numconv.autograd import functional as F
from numconv.models._blocks import draw, refuse_weights
from numconv.nn import init

_OLD_KEY = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")  # as torchvision's published files have them


class DenseLayer(nn.Module):
    """BN, ReLU and 1x1 convolution; BN, ReLU and 3x3 convolution; of all results of the block so far."""

    def __init__(self, num_input_features: int, growth_rate: int, bn_size: int, drop_rate: float) -> None:
        super().__init__()
        width = bn_size * growth_rate
        self.norm1 = nn.BatchNorm2d(num_input_features)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(num_input_features, width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, growth_rate, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(drop_rate)

    def forward(self, features: Sequence[Any]) -> Any:
        out = self.conv1(self.relu1(self.norm1(F.concatenate(features, 1))))
        return self.dropout(self.conv2(self.relu2(self.norm2(out))))


class DenseBlock(nn.ModuleDict):
    """Layers of which each sees the results of all before it."""

    def __init__(
        self, num_layers: int, num_input_features: int, bn_size: int, growth_rate: int, drop_rate: float
    ) -> None:
        super().__init__()
        for i in range(num_layers):
            self[f"denselayer{i + 1}"] = DenseLayer(
                num_input_features + i * growth_rate, growth_rate, bn_size, drop_rate
            )

    def forward(self, init_features: Any) -> Any:
        features = [init_features]
        for layer in self.values():
            features.append(layer(features))
        return F.concatenate(features, 1)


def transition(num_input_features: int, num_output_features: int) -> nn.Sequential:
    """Fewer channels and half the size."""
    return nn.Sequential(
        {
            "norm": nn.BatchNorm2d(num_input_features),
            "relu": nn.ReLU(inplace=True),
            "conv": nn.Conv2d(num_input_features, num_output_features, 1, bias=False),
            "pool": nn.AvgPool2d(2, 2),
        }
    )


class DenseNet(nn.Module):
    """Dense blocks with transitions between them; pictures of 224x224, at least 29x29.

    Parameters
    ----------
    growth_rate : int
        Channels that each layer adds (k in the paper).
    block_config : sequence of int
        Layers in each block.
    num_init_features : int
        Channels of the first convolution.
    bn_size : int
        Channels of a layer's 1x1 convolution, in multiples of `growth_rate`.
    drop_rate : float
    num_classes : int
    """

    def __init__(
        self, growth_rate: int = 32, block_config: Sequence[int] = (6, 12, 24, 16), num_init_features: int = 64,
        bn_size: int = 4, drop_rate: float = 0.0, num_classes: int = 1000,
    ) -> None:  # fmt: skip
        super().__init__()
        self.features = nn.Sequential(
            {
                "conv0": nn.Conv2d(3, num_init_features, 7, stride=2, padding=3, bias=False),
                "norm0": nn.BatchNorm2d(num_init_features),
                "relu0": nn.ReLU(inplace=True),
                "pool0": nn.MaxPool2d(3, 2, 1),
            }
        )
        channels = num_init_features
        for i, layers in enumerate(block_config, 1):
            block = DenseBlock(layers, channels, bn_size, growth_rate, drop_rate)
            self.features.add_module(f"denseblock{i}", block)
            channels += layers * growth_rate
            if i < len(block_config):
                self.features.add_module(f"transition{i}", transition(channels, channels // 2))
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)
        draw(self, init.kaiming_normal_)
        init.zeros_(self.classifier.bias)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.features(x))
        return self.classifier(F.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Any:
        """As in `Module`; torchvision's published files, whose keys have a dot more, are taken too."""
        if isinstance(state_dict, Mapping):
            state_dict = {_OLD_KEY.sub(r"\1", name): array for name, array in state_dict.items()}
        return super().load_state_dict(state_dict, strict)


def densenet121(*, weights: None = None, **kwargs: Any) -> DenseNet:
    """DenseNet of 121 layers, 7,978,856 parameters; arguments as in `DenseNet`."""
    refuse_weights(weights)
    return DenseNet(**kwargs)
