"""U-Net for pictures (Ronneberger, Fischer and Brox 2015, "U-Net: convolutional networks for biomedical image
segmentation") and volumes (Çiçek et al. 2016, "3D U-Net: learning dense volumetric segmentation from sparse
annotation").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numconv import nn
from numconv.autograd import functional as F

_LAYERS = {
    2: (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.BatchNorm2d),
    3: (nn.Conv3d, nn.ConvTranspose3d, nn.MaxPool3d, nn.BatchNorm3d),
}


class UNet(nn.Module):
    """Down by poolings, up by transposed convolutions, what was before each pooling put beside what comes up.

    Parameters
    ----------
    in_channels, num_classes : int
    channels : sequence of pairs of int
        Of the two convolutions of each level, from the top down.
    ndim : {2, 3}
        Of pictures or volumes.
    padding : int
        Of the convolutions. 0 is the papers' (572x572 to 388x388; 132x132x116 to 44x44x28); with 1, sizes that are
        multiples of 2 ** (levels - 1) stay as they are.
    batch_norm : bool
        After each convolution.
    halve : bool
        Whether transposed convolutions halve the channels.
    """

    def __init__(
        self, in_channels: int, num_classes: int, channels: Sequence[tuple[int, int]], ndim: int = 2, padding: int = 0,
        batch_norm: bool = False, halve: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        conv, conv_transpose, pool, norm = _LAYERS[ndim]

        def twice(first: int, second: int, third: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for before, after in ((first, second), (second, third)):
                layers += [conv(before, after, 3, padding=padding), *([norm(after)] * batch_norm), nn.ReLU()]
            return nn.Sequential(*layers)

        inputs = [in_channels, *(level[1] for level in channels)]
        self.down = nn.ModuleList(twice(before, *level) for before, level in zip(inputs, channels))
        self.pool = pool(2)
        self.up, self.merge = nn.ModuleList(), nn.ModuleList()
        below = channels[-1][1]
        for _, beside in reversed(channels[:-1]):
            rising = beside if halve else below
            self.up.append(conv_transpose(below, rising, 2, 2, bias=halve))
            self.merge.append(twice(beside + rising, beside, beside))
            below = beside
        self.head = conv(below, num_classes, 1)

    def forward(self, x: Any) -> Any:
        beside = []
        for i, level in enumerate(self.down):
            x = level(self.pool(x) if i else x)
            beside.append(x)
        for up, merge, kept in zip(self.up, self.merge, reversed(beside[:-1])):
            x = up(x)
            x = merge(F.concatenate([_cropped(kept, x.shape[2:]), x], 1))
        return self.head(x)


def _cropped(x: Any, size: tuple[int, ...]) -> Any:
    """The middle of a picture or volume."""
    begins = [(large - small) // 2 for large, small in zip(x.shape[2:], size)]
    return x[(slice(None), slice(None), *(slice(b, b + n) for b, n in zip(begins, size)))] if any(begins) else x


def unet(in_channels: int = 1, num_classes: int = 2, width: int = 64, depth: int = 4, padding: int = 0) -> UNet:
    """U-Net for pictures, 31,030,658 parameters.

    Parameters
    ----------
    in_channels, num_classes : int
    width : int
        Channels of the top level; each below has twice as many.
    depth : int
        Poolings.
    padding : int
        As in `UNet`.

    Returns
    -------
    UNet
    """
    return UNet(in_channels, num_classes, [(width << i, width << i) for i in range(depth + 1)], 2, padding)


def unet3d(in_channels: int = 3, num_classes: int = 3, width: int = 32, depth: int = 3, padding: int = 0) -> UNet:
    """U-Net for volumes, 19,069,955 parameters and 4,672 of batch norm; arguments as in `unet`.

    Channels double before each pooling, not after it, to keep the bottleneck wide.
    """
    levels = [(width << i, width << i + 1) for i in range(depth + 1)]
    return UNet(in_channels, num_classes, levels, 3, padding, batch_norm=True, halve=False)
