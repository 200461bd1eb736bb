"""Normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numconv.autograd import functional as F
from numconv.nn import init
from numconv.nn._module import Module, shown
from numconv.nn._parameter import new
from numconv.ops import arrays
from numconv.problem import integer


class _Affine(Module):
    """What normalisations share: a weight of ones and a bias of zeros, or none."""

    weight: Any
    bias: Any

    def _make(self, shape: Sequence[int], weight: bool, bias: bool, dtype: Any) -> None:
        self.register_parameter("weight", new(shape, dtype) if weight else None)
        self.register_parameter("bias", new(shape, dtype) if weight and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to ones and the bias to zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _BatchNorm(_Affine):
    """Batch normalisation: what is kept of the batches, and when it is used."""

    axes: tuple[int, ...]
    optional_keys = ("num_batches_tracked",)  # PyTorch kept none before 0.4.1
    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_features = integer("num_features", num_features, 0)
        self.eps, self.momentum, self.affine = eps, momentum, affine
        self.track_running_stats = track_running_stats
        kept = np.float32 if dtype is None else dtype
        self.register_buffer("running_mean", np.zeros(num_features, kept) if track_running_stats else None)
        self.register_buffer("running_var", np.ones(num_features, kept) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", np.array(0) if track_running_stats else None)
        self._make((num_features,), affine, bias, dtype)

    def reset_running_stats(self) -> None:
        """Forget the batches."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def forward(self, input: Any, *, activation: str | None = None, residual: Any = None) -> Any:
        """The normalised input, or activation(it + residual) in the same pass; `activation` is None or "relu"."""
        if input.ndim not in self.axes:
            expected = " or ".join(f"{n}D" for n in self.axes)
            raise ValueError(f"expected {expected} input (got {input.ndim}D input)")
        factor = self.momentum
        if self.training and self.num_batches_tracked is not None:
            arrays.add_into(self.num_batches_tracked.data, 1)
            if factor is None:  # the mean of all batches
                factor = 1 / int(self.num_batches_tracked.data)
        kept = not self.training or self.track_running_stats
        return F.batch_norm(
            input, self.running_mean if kept else None, self.running_var if kept else None, self.weight, self.bias,
            self.training or self.running_mean is None, factor or 0.0, self.eps, activation=activation,
            residual=residual,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, {shown(self, 'eps', 'momentum', 'affine')}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L); arguments as in `BatchNorm2d`."""

    axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W) (Ioffe and Szegedy 2015).

    Training normalises by the batch's mean and variance and keeps running ones, by which it normalises in use.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Added to the variance.
    momentum : float or None
        What the newest batch counts in the running statistics; None keeps the mean of all batches.
    affine, bias : bool
        Whether a weight, and beside it a bias, are learned.
    track_running_stats : bool
        Whether there are running statistics; if not, the batch's are used always.
    dtype : dtype, optional

    Raises
    ------
    ValueError
        In `forward`, if the input has another number of axes.
    """

    axes = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W); arguments as in `BatchNorm2d`."""

    axes = (5,)


class GroupNorm(_Affine):
    """Normalisation of each sample over groups of channels and space (Wu and He 2018).

    Parameters
    ----------
    num_groups, num_channels : int
    eps : float
    affine, bias : bool
        Whether a weight, and beside it a bias, of one number a channel are learned.
    dtype : dtype, optional

    Raises
    ------
    ValueError
        If `num_groups` does not divide `num_channels`.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, dtype: Any = None, *,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_groups = integer("num_groups", num_groups, 1)
        self.num_channels = integer("num_channels", num_channels, 0)
        if num_channels % num_groups:
            raise ValueError(f"num_channels must be divisible by num_groups, got {num_channels} and {num_groups}")
        self.eps, self.affine = eps, affine
        self._make((num_channels,), affine, bias, dtype)

    def forward(self, input: Any) -> Any:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, {shown(self, 'eps', 'affine')}, bias={self.bias is not None}"


class LayerNorm(_Affine):
    """Normalisation over the last axes (Ba, Kiros and Hinton 2016).

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Sizes of these axes.
    eps : float
    elementwise_affine, bias : bool
        Whether a weight, and beside it a bias, of that shape are learned.
    dtype : dtype, optional
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        shape = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        self.normalized_shape = tuple(integer("normalized_shape", n, 0) for n in shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._make(self.normalized_shape, elementwise_affine, bias, dtype)

    def forward(self, input: Any) -> Any:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, {shown(self, 'eps', 'elementwise_affine')}, bias={self.bias is not None}"


class LocalResponseNorm(Module):
    """Division by a power of the mean square of neighbouring channels; see `numconv.local_response_norm`."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Any) -> Any:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, {shown(self, 'alpha', 'beta', 'k')}"
