"""DeepLabV3 (Chen et al. 2017, "Rethinking atrous convolution for semantic image segmentation"): atrous spatial pyramid
pooling (ASPP) and a network with that head, with torchvision's keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numconv import nn
from numconv.autograd import functional as F
from numconv.models._blocks import ConvNormActivation, refuse_weights
from numconv.models._resnet import SHAPES, Body


class ASPPPooling(nn.Sequential):
    """The mean of the picture, at every pixel."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *ConvNormActivation(in_channels, out_channels, 1))

    def forward(self, input: Any) -> Any:
        return F.interpolate(super().forward(input), input.shape[2:], mode="bilinear", align_corners=False)


class ASPP(nn.Module):
    """Convolutions of several dilations side by side, and the mean of the picture.

    Parameters
    ----------
    in_channels : int
    atrous_rates : sequence of int
        Dilations.
    out_channels : int
    """

    def __init__(self, in_channels: int, atrous_rates: Sequence[int], out_channels: int = 256) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                ConvNormActivation(in_channels, out_channels, 1),
                *(ConvNormActivation(in_channels, out_channels, dilation=rate) for rate in atrous_rates),
                ASPPPooling(in_channels, out_channels),
            ]
        )
        self.project = nn.Sequential(
            *ConvNormActivation(len(self.convs) * out_channels, out_channels, 1), nn.Dropout(0.5)
        )

    def forward(self, x: Any) -> Any:
        return self.project(F.concatenate([conv(x) for conv in self.convs], 1))


class DeepLabHead(nn.Sequential):
    """ASPP and two convolutions: scores of classes at each position; arguments as in `ASPP`."""

    def __init__(self, in_channels: int, num_classes: int, atrous_rates: Sequence[int] = (12, 24, 36)) -> None:
        super().__init__(ASPP(in_channels, atrous_rates), *ConvNormActivation(256, 256), nn.Conv2d(256, num_classes, 1))


class FCNHead(nn.Sequential):
    """Two convolutions: scores of classes at each position."""

    def __init__(self, in_channels: int, channels: int) -> None:
        inner = in_channels // 4
        super().__init__(*ConvNormActivation(in_channels, inner), nn.Dropout(0.1), nn.Conv2d(inner, channels, 1))


class DeepLabV3(nn.Module):
    """A dilated ResNet and a head, enlarged to the picture's size.

    It gives a dictionary: "out", and "aux" where there is an auxiliary classifier.

    Parameters
    ----------
    backbone : Module
        Gives a list of what its stages give.
    classifier : Module
        On the last stage.
    aux_classifier : Module, optional
        On the stage before.
    """

    aux_classifier: Any

    def __init__(self, backbone: nn.Module, classifier: nn.Module, aux_classifier: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone, self.classifier, self.aux_classifier = backbone, classifier, aux_classifier

    def forward(self, x: Any) -> dict[str, Any]:
        stages, size = self.backbone(x), x.shape[2:]
        found = {"out": self.classifier(stages[-1])}
        if self.aux_classifier is not None:
            found["aux"] = self.aux_classifier(stages[-2])
        return {
            name: F.interpolate(scores, size, mode="bilinear", align_corners=False) for name, scores in found.items()
        }


def deeplabv3_resnet50(*, weights: None = None, num_classes: int = 21, aux_loss: bool = False) -> DeepLabV3:
    """torchvision's DeepLabV3 on ResNet-50, 39,638,869 parameters, 42,004,074 with `aux_loss`."""
    refuse_weights(weights)
    body = Body(*SHAPES["resnet50"], replace_stride_with_dilation=(False, True, True))
    return DeepLabV3(body, DeepLabHead(2048, num_classes), FCNHead(1024, num_classes) if aux_loss else None)
