"""DCGAN (Radford, Metz and Chintala 2016, "Unsupervised representation learning with deep convolutional generative
adversarial networks"), with the keys of PyTorch's example.
"""

from __future__ import annotations

from typing import Any

from numconv import nn
from numconv.models._blocks import draw
from numconv.nn import init


def _drawn(model: nn.Sequential) -> nn.Sequential:
    """With first values as in the example: normal, of deviation 0.02."""
    draw(model, lambda weight: init.normal_(weight, 0, 0.02))
    for layer in model:
        if isinstance(layer, nn.BatchNorm2d):
            init.normal_(layer.weight, 1, 0.02)
    return model


class Generator(nn.Module):
    """Noise (N, nz, 1, 1) to pictures (N, nc, 64, 64) of values from -1 to 1.

    Parameters
    ----------
    nz : int
        Numbers of noise.
    ngf : int
        Channels before the last layer.
    nc : int
        Channels of a picture.
    """

    def __init__(self, nz: int = 100, ngf: int = 64, nc: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = nz
        for i, channels in enumerate((ngf * 8, ngf * 4, ngf * 2, ngf)):
            stride, padding = (2, 1) if i else (1, 0)
            layers += [
                nn.ConvTranspose2d(before, channels, 4, stride, padding, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(True),
            ]
            before = channels
        self.main = _drawn(nn.Sequential(*layers, nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False), nn.Tanh()))

    def forward(self, input: Any) -> Any:
        return self.main(input)


class Discriminator(nn.Module):
    """Pictures (N, nc, 64, 64) to the logit (N,) of being real; PyTorch's example adds a sigmoid.

    Parameters
    ----------
    ndf : int
        Channels after the first layer.
    nc : int
        Channels of a picture.
    """

    def __init__(self, ndf: int = 64, nc: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = nc
        for i, channels in enumerate((ndf, ndf * 2, ndf * 4, ndf * 8)):
            norm = [nn.BatchNorm2d(channels)] if i else []
            layers += [nn.Conv2d(before, channels, 4, 2, 1, bias=False), *norm, nn.LeakyReLU(0.2, inplace=True)]
            before = channels
        self.main = _drawn(nn.Sequential(*layers, nn.Conv2d(before, 1, 4, 1, 0, bias=False)))

    def forward(self, input: Any) -> Any:
        return self.main(input).reshape(-1)


def dcgan_generator(**kwargs: Any) -> Generator:
    """DCGAN's generator, 3,576,704 parameters; arguments as in `Generator`."""
    return Generator(**kwargs)


def dcgan_discriminator(**kwargs: Any) -> Discriminator:
    """DCGAN's discriminator, 2,765,568 parameters; arguments as in `Discriminator`."""
    return Discriminator(**kwargs)
