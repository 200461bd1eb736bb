"""Temporal convolutional network (Bai, Kolter and Koltun 2018, "An empirical evaluation of generic convolutional and
recurrent networks for sequence modeling"), without its weight normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numconv import nn
from numconv.autograd import functional as F


class TemporalBlock(nn.Module):
    """Two dilated convolutions that look into the past only, and the input beside them.

    Parameters
    ----------
    n_inputs, n_outputs, kernel_size, dilation : int
    dropout : float
        Of whole channels.
    """

    downsample: Any

    def __init__(self, n_inputs: int, n_outputs: int, kernel_size: int, dilation: int, dropout: float = 0.2) -> None:
        super().__init__()
        past = (((kernel_size - 1) * dilation, 0),)
        self.conv1 = nn.Conv1d(n_inputs, n_outputs, kernel_size, padding=past, dilation=dilation)
        self.conv2 = nn.Conv1d(n_outputs, n_outputs, kernel_size, padding=past, dilation=dilation)
        self.dropout = nn.Dropout1d(dropout)
        self.downsample = nn.Conv1d(n_inputs, n_outputs, 1) if n_inputs != n_outputs else None

    def forward(self, x: Any) -> Any:
        out = self.dropout(F.relu(self.conv1(x)))
        out = self.dropout(F.relu(self.conv2(out)))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class TCN(nn.Module):
    """Blocks whose dilation doubles, and a linear layer on the last step: a class for each sequence (N, C, L).

    Parameters
    ----------
    in_channels, num_classes : int
    num_channels : sequence of int
        Of the blocks.
    kernel_size : int
    dropout : float
    """

    def __init__(
        self, in_channels: int = 1, num_classes: int = 10, num_channels: Sequence[int] = (25,) * 8,
        kernel_size: int = 7, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        inputs = (in_channels, *num_channels)
        self.network = nn.Sequential(
            *(
                TemporalBlock(before, after, kernel_size, 2**i, dropout)
                for i, (before, after) in enumerate(zip(inputs, num_channels))
            )
        )
        self.linear = nn.Linear(num_channels[-1], num_classes)

    def forward(self, x: Any) -> Any:
        return self.linear(self.network(x)[:, :, -1])


def tcn(**kwargs: Any) -> TCN:
    """A temporal convolutional network, by default the paper's for sequential MNIST; arguments as in `TCN`."""
    return TCN(**kwargs)
