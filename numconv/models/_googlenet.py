"""GoogLeNet (Szegedy et al. 2015, "Going deeper with convolutions"): as torchvision has it, with batch norm, and as in
the paper, Inception v1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numconv import nn
from numconv.autograd import functional as F
from numconv.models._blocks import draw, refuse_weights
from numconv.nn import init

# table 1: input, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, projection after pooling
TABLE = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


class GoogLeNetOutputs(NamedTuple):
    """What the network gives in training: the paper's loss is that of `logits` and 0.3 of the others'."""

    logits: Any
    aux_logits2: Any
    aux_logits1: Any


class BasicConv2d(nn.Module):
    """Convolution, BN and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Any) -> Any:
        return F.relu(self.bn(self.conv(x)))


class PlainConv2d(nn.Module):
    """Convolution and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, **kwargs)

    def forward(self, x: Any) -> Any:
        return F.relu(self.conv(x))


class Inception(nn.Module):
    """Four branches side by side: 1x1, 3x3, larger, pooling."""

    larger = 3  # torchvision's: the paper's is 5, but its published weights came from a model with 3

    def __init__(
        self, in_channels: int, ch1x1: int, ch3x3red: int, ch3x3: int, ch5x5red: int, ch5x5: int, pool_proj: int,
        conv_block: Any = BasicConv2d,
    ) -> None:  # fmt: skip
        super().__init__()
        self.branch1 = conv_block(in_channels, ch1x1, kernel_size=1)
        self.branch2 = nn.Sequential(
            conv_block(in_channels, ch3x3red, kernel_size=1), conv_block(ch3x3red, ch3x3, kernel_size=3, padding=1)
        )
        self.branch3 = nn.Sequential(
            conv_block(in_channels, ch5x5red, kernel_size=1),
            conv_block(ch5x5red, ch5x5, kernel_size=self.larger, padding=self.larger // 2),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), conv_block(in_channels, pool_proj, kernel_size=1)
        )

    def forward(self, x: Any) -> Any:
        return F.concatenate([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Inception5x5(Inception):
    """The paper's."""

    larger = 5


class InceptionAux(nn.Module):
    """A classifier on the way, so that gradients reach the first half."""

    def __init__(self, in_channels: int, num_classes: int, conv_block: Any = BasicConv2d, dropout: float = 0.7) -> None:
        super().__init__()
        self.conv = conv_block(in_channels, 128, kernel_size=1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Any:
        x = F.flatten(self.conv(F.adaptive_avg_pool2d(x, (4, 4))), 1)
        return self.fc2(self.dropout(F.relu(self.fc1(x))))


class GoogLeNet(nn.Module):
    """Nine inception modules; pictures of 224x224, at least 15x15. In training it gives `GoogLeNetOutputs`.

    Parameters
    ----------
    num_classes : int
    aux_logits : bool
        Have the two auxiliary classifiers.
    transform_input : bool
        Take pictures normalised by ImageNet's mean and deviation to those normalised by 0.5.
    init_weights : bool
        Draw weights from a truncated normal distribution of deviation 0.01, not as PyTorch's layers do.
    blocks : (convolution, inception module, auxiliary classifier), optional
    dropout, dropout_aux : float
    """

    aux1: Any
    aux2: Any

    def __init__(
        self, num_classes: int = 1000, aux_logits: bool = True, transform_input: bool = False,
        init_weights: bool = True, blocks: Sequence[Any] = (BasicConv2d, Inception, InceptionAux),
        dropout: float = 0.2, dropout_aux: float = 0.7,
    ) -> None:  # fmt: skip
        super().__init__()
        conv, inception, aux = blocks
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.conv1 = conv(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = conv(64, 64, kernel_size=1)
        self.conv3 = conv(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        for name, row in TABLE.items():
            setattr(self, f"inception{name}", inception(*row, conv_block=conv))
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.aux1 = aux(512, num_classes, conv, dropout_aux) if aux_logits else None
        self.aux2 = aux(528, num_classes, conv, dropout_aux) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        if init_weights:
            self._init_weights()

    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                init.trunc_normal_(module.weight, std=0.01)

    def _transformed(self, x: Any) -> Any:
        scales, shifts = (0.229, 0.224, 0.225), (0.485, 0.456, 0.406)
        parts = [x[:, i : i + 1] * (scales[i] / 0.5) + (shifts[i] - 0.5) / 0.5 for i in range(3)]
        return F.concatenate(parts, 1)

    def stem(self, x: Any) -> Any:
        """Up to the first inception module."""
        return self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))

    def forward(self, x: Any) -> Any:
        use_aux = self.training and self.aux_logits
        x = self.stem(self._transformed(x) if self.transform_input else x)
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4a(x)
        aux1 = self.aux1(x) if use_aux else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        aux2 = self.aux2(x) if use_aux else None
        x = self.maxpool4(self.inception4e(x))
        x = self.inception5b(self.inception5a(x))
        x = self.fc(self.dropout(F.flatten(self.avgpool(x), 1)))
        return GoogLeNetOutputs(x, aux2, aux1) if use_aux else x


class InceptionV1(GoogLeNet):
    """The paper's: 5x5 branches and local response normalisation, no batch norm.

    First values as Caffe's model of it: Xavier's, biases 0.2 (0 in the classifiers' last layers).

    Parameters
    ----------
    num_classes : int
    aux_logits : bool
        Have the two auxiliary classifiers.
    dropout, dropout_aux : float
    """

    def __init__(
        self, num_classes: int = 1000, aux_logits: bool = True, dropout: float = 0.4, dropout_aux: float = 0.7
    ) -> None:
        blocks = PlainConv2d, Inception5x5, InceptionAux
        super().__init__(num_classes, aux_logits, blocks=blocks, dropout=dropout, dropout_aux=dropout_aux)
        self.maxpool4 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)

    def _init_weights(self) -> None:
        draw(self, init.xavier_uniform_, init.xavier_uniform_)
        for module in self.modules():
            if isinstance(module, PlainConv2d):
                init.constant_(module.conv.bias, 0.2)
            elif isinstance(module, InceptionAux):
                init.constant_(module.fc1.bias, 0.2)

    def stem(self, x: Any) -> Any:
        x = self.conv2(self.norm(self.maxpool1(self.conv1(x))))
        return self.maxpool2(self.norm(self.conv3(x)))


def googlenet(*, weights: None = None, **kwargs: Any) -> GoogLeNet:
    """torchvision's GoogLeNet, 6,624,904 parameters with `aux_logits=False`; arguments as in `GoogLeNet`."""
    refuse_weights(weights)
    return GoogLeNet(**kwargs)


def inception_v1(**kwargs: Any) -> InceptionV1:
    """The paper's GoogLeNet, 13,378,280 parameters, 6,998,552 of them in use; arguments as in `InceptionV1`."""
    return InceptionV1(**kwargs)
