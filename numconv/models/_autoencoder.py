"""A convolutional autoencoder (Masci et al. 2011, "Stacked convolutional auto-encoders for hierarchical feature
extraction"), with strides where the paper has poolings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numconv import nn


class ConvAutoencoder(nn.Module):
    """Down by strided convolutions, up by transposed ones; learns to give back what it gets.

    Sizes are multiples of 2 ** len(channels), values from 0 to 1.

    Parameters
    ----------
    in_channels : int
    channels : sequence of int
        Of the codes at 1/2, 1/4, ... of the size.
    """

    def __init__(self, in_channels: int = 1, channels: Sequence[int] = (16, 32)) -> None:
        super().__init__()
        widths = (in_channels, *channels)
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for wide, narrow in zip(widths, channels):
            down += [nn.Conv2d(wide, narrow, 3, stride=2, padding=1), nn.ReLU()]
        for narrow, wide in zip(reversed(channels), reversed(widths[:-1])):
            up += [nn.ConvTranspose2d(narrow, wide, 4, stride=2, padding=1), nn.ReLU()]
        self.encoder = nn.Sequential(*down)
        self.decoder = nn.Sequential(*up[:-1], nn.Sigmoid())

    def forward(self, x: Any) -> Any:
        return self.decoder(self.encoder(x))


def conv_autoencoder(**kwargs: Any) -> ConvAutoencoder:
    """A convolutional autoencoder; arguments as in `ConvAutoencoder`."""
    return ConvAutoencoder(**kwargs)
