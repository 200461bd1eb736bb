"""ResNet (He et al. 2016, "Deep residual learning for image recognition") and ResNeXt (Xie et al. 2017, "Aggregated
residual transformations for deep neural networks"), with torchvision's stride in the 3x3 convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numconv import nn
from numconv.autograd import functional as F
from numconv.models._blocks import draw, kaiming_fan_out, norm_relu, refuse_weights
from numconv.nn import init


def conv3x3(in_planes: int, out_planes: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_planes, out_planes, 3, stride, dilation, dilation, groups, bias=False)


def conv1x1(in_planes: int, out_planes: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_planes, out_planes, 1, stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the input beside them."""

    expansion = 1
    downsample: Any

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None, groups: int = 1,
        base_width: int = 64, dilation: int = 1, norm_layer: Any = nn.BatchNorm2d,
    ) -> None:  # fmt: skip
        super().__init__()
        if groups != 1 or base_width != 64 or dilation > 1:
            raise ValueError(
                "BasicBlock takes groups=1, width_per_group=64 and no dilation, "
                f"got groups={groups}, width_per_group={base_width}, dilation={dilation}"
            )
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample

    def forward(self, x: Any) -> Any:
        out = norm_relu(self.bn1, self.relu, self.conv1(x))
        return norm_relu(self.bn2, self.relu, self.conv2(out), x if self.downsample is None else self.downsample(x))


class Bottleneck(nn.Module):
    """A 3x3 convolution on few channels, between two 1x1 convolutions, and the input beside them."""

    expansion = 4
    downsample: Any

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None, groups: int = 1,
        base_width: int = 64, dilation: int = 1, norm_layer: Any = nn.BatchNorm2d,
    ) -> None:  # fmt: skip
        super().__init__()
        width = int(planes * (base_width / 64)) * groups
        self.conv1 = conv1x1(inplanes, width)
        self.bn1 = norm_layer(width)
        self.conv2 = conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm_layer(width)
        self.conv3 = conv1x1(width, planes * self.expansion)
        self.bn3 = norm_layer(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Any) -> Any:
        out = norm_relu(self.bn1, self.relu, self.conv1(x))
        out = norm_relu(self.bn2, self.relu, self.conv2(out))
        return norm_relu(self.bn3, self.relu, self.conv3(out), x if self.downsample is None else self.downsample(x))


class ResNet(nn.Module):
    """Four stages of residual blocks; pictures of 224x224, or of any size.

    Parameters
    ----------
    block : type
        `BasicBlock` or `Bottleneck`.
    layers : sequence of int
        Blocks in each stage.
    num_classes : int
    zero_init_residual : bool
        Let each block begin as the identity.
    groups, width_per_group : int
        ResNeXt's.
    replace_stride_with_dilation : sequence of bool, optional
        Whether each of the last three stages keeps the size of the picture and dilates its kernels instead.
    norm_layer : callable
        Makes the normalisation of a number of channels.

    Raises
    ------
    ValueError
        If `replace_stride_with_dilation` does not have three elements, or the block takes no such groups.
    """

    def __init__(
        self, block: Any, layers: Sequence[int], num_classes: int = 1000, zero_init_residual: bool = False,
        groups: int = 1, width_per_group: int = 64, replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Any = nn.BatchNorm2d,
    ) -> None:  # fmt: skip
        super().__init__()
        dilate = replace_stride_with_dilation or (False, False, False)
        if len(dilate) != 3:
            raise ValueError(f"replace_stride_with_dilation must have 3 elements, got {replace_stride_with_dilation}")
        self.inplanes, self.dilation = 64, 1
        self.groups, self.base_width, self.norm_layer = groups, width_per_group, norm_layer
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm_layer(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], 2, dilate[0])
        self.layer3 = self._make_layer(block, 256, layers[2], 2, dilate[1])
        self.layer4 = self._make_layer(block, 512, layers[3], 2, dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        draw(self, kaiming_fan_out)
        for module in self.modules() if zero_init_residual else ():
            if isinstance(module, BasicBlock | Bottleneck):
                init.zeros_((module.bn3 if isinstance(module, Bottleneck) else module.bn2).weight)

    def _make_layer(self, block: Any, planes: int, blocks: int, stride: int = 1, dilate: bool = False) -> nn.Sequential:
        before, wide, downsample = self.dilation, planes * block.expansion, None
        if dilate:
            self.dilation, stride = self.dilation * stride, 1
        if stride != 1 or self.inplanes != wide:
            downsample = nn.Sequential(conv1x1(self.inplanes, wide, stride), self.norm_layer(wide))
        shared = self.groups, self.base_width
        made = [block(self.inplanes, planes, stride, downsample, *shared, before, self.norm_layer)]
        self.inplanes = wide
        made += [block(wide, planes, 1, None, *shared, self.dilation, self.norm_layer) for _ in range(1, blocks)]
        return nn.Sequential(*made)

    def stages(self, x: Any) -> list[Any]:
        """What the four stages give."""
        x = self.maxpool(norm_relu(self.bn1, self.relu, self.conv1(x)))
        found = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            found.append(x)
        return found

    def forward(self, x: Any) -> Any:
        return self.fc(F.flatten(self.avgpool(self.stages(x)[-1]), 1))


class Body(ResNet):
    """A ResNet without its head, which gives what the four stages give; what other networks are built on."""

    def __init__(self, block: Any, layers: Sequence[int], **kwargs: Any) -> None:
        super().__init__(block, layers, **kwargs)
        del self.fc, self.avgpool

    forward = ResNet.stages


SHAPES: dict[str, tuple[Any, Sequence[int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


def resnet18(*, weights: None = None, **kwargs: Any) -> ResNet:
    """ResNet of 18 layers, 11,689,512 parameters; arguments as in `ResNet`, without `block` and `layers`."""
    refuse_weights(weights)
    return ResNet(*SHAPES["resnet18"], **kwargs)


def resnet34(*, weights: None = None, **kwargs: Any) -> ResNet:
    """ResNet of 34 layers, 21,797,672 parameters; arguments as in `ResNet`, without `block` and `layers`."""
    refuse_weights(weights)
    return ResNet(*SHAPES["resnet34"], **kwargs)


def resnet50(*, weights: None = None, **kwargs: Any) -> ResNet:
    """ResNet of 50 layers, 25,557,032 parameters; arguments as in `ResNet`, without `block` and `layers`."""
    refuse_weights(weights)
    return ResNet(*SHAPES["resnet50"], **kwargs)


def resnext50_32x4d(*, weights: None = None, **kwargs: Any) -> ResNet:
    """ResNeXt of 50 layers, 32 groups of 4 channels, 25,028,904 parameters; arguments as in `ResNet`."""
    refuse_weights(weights)
    return ResNet(*SHAPES["resnet50"], **{"groups": 32, "width_per_group": 4, **kwargs})
