"""Feature pyramids (Lin et al. 2017, "Feature pyramid networks for object detection") with torchvision's keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numconv import nn
from numconv.autograd import functional as F
from numconv.models._blocks import ConvNormActivation, draw
from numconv.models._resnet import SHAPES, Body
from numconv.nn import init


class FeaturePyramidNetwork(nn.Module):
    """Features of several scales, the coarse ones added to the finer ones.

    Parameters
    ----------
    in_channels_list : sequence of int
        Of the features, from fine to coarse.
    out_channels : int
    norm_layer : callable, optional
        Makes the normalisation of a number of channels.
    """

    def __init__(self, in_channels_list: Sequence[int], out_channels: int, norm_layer: Any = None) -> None:
        super().__init__()
        kind = {"norm_layer": norm_layer, "activation_layer": None}
        self.inner_blocks = nn.ModuleList(ConvNormActivation(n, out_channels, 1, **kind) for n in in_channels_list)
        self.layer_blocks = nn.ModuleList(
            ConvNormActivation(out_channels, out_channels, **kind) for _ in in_channels_list
        )
        draw(self, lambda weight: init.kaiming_uniform_(weight, a=1))

    def forward(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """Features by name, from fine to coarse, to features of the same names and sizes."""
        found: list[Any] = []
        above = None
        levels = zip(x.values(), self.inner_blocks, self.layer_blocks)
        for features, inner, layer in reversed([*levels]):
            lateral = inner(features)
            above = lateral if above is None else lateral + F.interpolate(above, lateral.shape[2:])
            found.append(layer(above))
        return dict(zip(x, reversed(found)))


class BackboneWithFPN(nn.Module):
    """A ResNet and the pyramid of its stages: features "0" to "3" at strides 4 to 32, and "pool" at 64.

    Parameters
    ----------
    body : Module
        Gives a list of what its stages give.
    in_channels_list : sequence of int
    out_channels : int
    """

    def __init__(self, body: nn.Module, in_channels_list: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramidNetwork(in_channels_list, out_channels)
        self.out_channels = out_channels

    def forward(self, x: Any) -> dict[str, Any]:
        found = self.fpn({str(i): features for i, features in enumerate(self.body(x))})
        return found | {"pool": F.max_pool2d(found["3"], 1, 2)}


def resnet_fpn_backbone(backbone_name: str = "resnet50", out_channels: int = 256, **kwargs: Any) -> BackboneWithFPN:
    """A feature pyramid on a ResNet, 26,852,416 parameters on ResNet-50.

    Parameters
    ----------
    backbone_name : {"resnet18", "resnet34", "resnet50"}
    out_channels : int
    **kwargs
        Of `ResNet`.

    Returns
    -------
    BackboneWithFPN

    Raises
    ------
    ValueError
        For another name.
    """
    if backbone_name not in SHAPES:
        raise ValueError(f"backbone_name must be one of {[*SHAPES]}, got {backbone_name!r}")
    block, layers = SHAPES[backbone_name]
    channels = [planes * block.expansion for planes in (64, 128, 256, 512)]
    return BackboneWithFPN(Body(block, layers, **kwargs), channels, out_channels)
