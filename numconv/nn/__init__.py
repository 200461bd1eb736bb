"""Layers and models with PyTorch's names, arguments, first values and `state_dict` keys; weights in files.

Importing it loads neither numba nor anything optional.
"""

from numconv.nn import init, utils
from numconv.nn._containers import ModuleDict, ModuleList, Sequential
from numconv.nn._conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    DepthwiseSeparableConv2d,
)
from numconv.nn._files import load, load_metadata, match, save
from numconv.nn._graph import GraphConv, normalized_adjacency
from numconv.nn._module import Module
from numconv.nn._parameter import Parameter
from numconv.nn._pool import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    GlobalAvgPool,
    GlobalMaxPool,
    LPPool1d,
    LPPool2d,
    LPPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    MaxUnpool1d,
    MaxUnpool2d,
    MaxUnpool3d,
    WeightedAvgPool1d,
    WeightedAvgPool2d,
    WeightedAvgPool3d,
)

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "DepthwiseSeparableConv2d",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GraphConv",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "Sequential",
    "WeightedAvgPool1d",
    "WeightedAvgPool2d",
    "WeightedAvgPool3d",
    "init",
    "load",
    "load_metadata",
    "match",
    "normalized_adjacency",
    "save",
    "utils",
]
