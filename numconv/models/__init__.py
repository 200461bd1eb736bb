"""Models by torchvision's names, with its arguments and `state_dict` keys, and others after their papers; `look`, to
look inside them.

>>> from numconv import models
>>> model = models.resnet18(num_classes=10)
>>> model = models.get("lenet5", activation="relu", pooling="max")
"""

from __future__ import annotations

from typing import Any

from numconv.models import look
from numconv.models._alexnet import AlexNet, AlexNet2012, alexnet, alexnet_2012
from numconv.models._autoencoder import ConvAutoencoder, conv_autoencoder
from numconv.models._blocks import ConvNormActivation, SqueezeExcitation
from numconv.models._dcgan import Discriminator, Generator, dcgan_discriminator, dcgan_generator
from numconv.models._deeplab import ASPP, DeepLabHead, DeepLabV3, deeplabv3_resnet50
from numconv.models._densenet import DenseNet, densenet121
from numconv.models._fcn import FCN, fcn
from numconv.models._fpn import BackboneWithFPN, FeaturePyramidNetwork, resnet_fpn_backbone
from numconv.models._googlenet import GoogLeNet, GoogLeNetOutputs, InceptionV1, googlenet, inception_v1
from numconv.models._lenet import LeNet5, lenet5
from numconv.models._mobilenet import MobileNetV1, MobileNetV2, mobilenet_v1, mobilenet_v2
from numconv.models._nin import NIN, nin
from numconv.models._resnet import ResNet, resnet18, resnet34, resnet50, resnext50_32x4d
from numconv.models._shufflenet import ShuffleNetV1, shufflenet_v1
from numconv.models._tcn import TCN, tcn
from numconv.models._unet import UNet, unet, unet3d
from numconv.models._vgg import VGG, vgg16, vgg19
from numconv.models._xception import Xception, xception
from numconv.nn import Module

__all__ = [
    "ASPP",
    "FCN",
    "NIN",
    "TCN",
    "VGG",
    "AlexNet",
    "AlexNet2012",
    "BackboneWithFPN",
    "ConvAutoencoder",
    "ConvNormActivation",
    "DeepLabHead",
    "DeepLabV3",
    "DenseNet",
    "Discriminator",
    "FeaturePyramidNetwork",
    "Generator",
    "GoogLeNet",
    "GoogLeNetOutputs",
    "InceptionV1",
    "LeNet5",
    "MobileNetV1",
    "MobileNetV2",
    "ResNet",
    "ShuffleNetV1",
    "SqueezeExcitation",
    "UNet",
    "Xception",
    "alexnet",
    "alexnet_2012",
    "conv_autoencoder",
    "dcgan_discriminator",
    "dcgan_generator",
    "deeplabv3_resnet50",
    "densenet121",
    "fcn",
    "get",
    "googlenet",
    "inception_v1",
    "lenet5",
    "look",
    "mobilenet_v1",
    "mobilenet_v2",
    "names",
    "nin",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet_fpn_backbone",
    "resnext50_32x4d",
    "shufflenet_v1",
    "tcn",
    "unet",
    "unet3d",
    "vgg16",
    "vgg19",
    "xception",
]

_BUILDERS: dict[str, Any] = {
    builder.__name__: builder
    for builder in (
        alexnet, alexnet_2012, conv_autoencoder, dcgan_discriminator, dcgan_generator, deeplabv3_resnet50, densenet121,
        fcn, googlenet, inception_v1, lenet5, mobilenet_v1, mobilenet_v2, nin, resnet18, resnet34, resnet50,
        resnet_fpn_backbone, resnext50_32x4d, shufflenet_v1, tcn, unet, unet3d, vgg16, vgg19, xception,
    )
}  # fmt: skip


def names() -> list[str]:
    """Names of the models, sorted."""
    return sorted(_BUILDERS)


def get(name: str, **kwargs: Any) -> Module:
    """Make a model by its name.

    Parameters
    ----------
    name : str
        One of `names()`.
    **kwargs
        The model's arguments.

    Returns
    -------
    Module

    Raises
    ------
    ValueError
        If there is no such model.
    """
    if name not in _BUILDERS:
        raise ValueError(f"name must be one of {names()}, got {name!r}")
    return _BUILDERS[name](**kwargs)
