"""Batch normalisation and its gradients.

Statistics are summed in float64, about a value of each channel, so that data far from zero keep their variance; the
mean is subtracted in two parts, its rounded value and what that lacks.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.kernels.cpu.memory import empty
from numconv.ops import activation as activations
from numconv.ops.device import by_device
from numconv.ops.elementwise import alike, channels_last, parameter, real, straight


@by_device
def batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    data_format: str | None = None,
    activation: Any = None,
    residual: Any = None,
) -> np.ndarray:
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel (Ioffe and Szegedy 2015).

    Parameters
    ----------
    x : array_like, shape ``(N, C, *spatial)``
        ``(N, *spatial, C)`` with a channels-last format. float16 and bfloat16 are computed in float32 and rounded once.
    running_mean, running_var : array_like, shape (C,), or both None
        Used in evaluation. In training they are float arrays and **updated in place**:
        `running = (1 - momentum) running + momentum batch`, where the batch's variance is divided by count - 1.
    weight, bias : array_like, shape (C,), optional
    training : bool
        Whether to normalise by the batch's own mean and variance (divided by its count).
    momentum, eps : float
    data_format : str, optional
    activation : None, str or (str, float), optional
        As in `conv2d`, of the sum with the residual. "relu" takes no pass of its own.
    residual : array_like, of `x`'s shape, optional
        Added to the result.

    Returns
    -------
    ndarray
        Of `x`'s shape and dtype; float64 for integers.

    Raises
    ------
    ValueError
        If shapes do not fit, only one running statistic is given or none in evaluation, `eps` is negative (in
        training: not positive), or there is one value a channel in training.
    TypeError
        For bool and complex arrays, and for running statistics that training cannot write to.
    """
    running = running_mean, running_var
    return batch_norm_statistics(
        x, weight, bias, *running, training, momentum, eps, data_format=data_format, activation=activation,
        residual=residual,
    )[0]  # fmt: skip


@by_device
def batch_norm_statistics(
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
    *,
    data_format: str | None = None,
    activation: Any = None,
    residual: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(what `batch_norm` returns, what `batch_norm_gradients` needs to know of it: means and 1 / sqrt(var + eps))."""
    if residual is None:
        x, work, result = real("x", x)
    else:
        (x, residual), work, result = alike(x=x, residual=residual)
    n, channels, length, last = _sizes(x.shape, data_format)
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var must be given together or not at all")
    if running_mean is None and not training:
        raise ValueError("running_mean and running_var must be given in evaluation, got None")
    if not (eps > 0 if training else eps >= 0):
        raise ValueError(f"eps must be {'positive in training' if training else 'at least 0'}, got {eps}")
    if training and n * length == 1 and channels:
        raise ValueError(f"x must have more than one value a channel in training, got shape {x.shape}")
    shape = (channels,)
    running = np.concatenate(
        [parameter("running_mean", running_mean, shape), parameter("running_var", running_var, shape)]
    )
    scale, offset = parameter("weight", weight, shape, 1.0), parameter("bias", bias, shape)
    if training and running_mean is not None:
        for name, array in (("running_mean", running_mean), ("running_var", running_var)):
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "fV" or not array.flags.writeable:
                raise TypeError(f"{name} must be a writable float array in training, got {type(array).__name__}")
    parsed = activations.parse(activation)

    kernel = kernels("batch_norm")
    if x.size == 0:
        return np.empty(x.shape, result), np.zeros((2, channels))
    source, geometry = straight(x, work), kernel.geometry(n, channels, length, last)
    if training:
        statistics = kernel.batch_statistics(geometry, source, running, momentum, eps)
        if running_mean is not None:
            running_mean[...], running_var[...] = running.reshape(2, channels)
    else:
        with np.errstate(all="ignore"):
            statistics = running
            statistics[channels:] = 1 / np.sqrt(running[channels:] + eps)
    out = empty(x.shape, work)
    relu = parsed is not None and parsed[0] == "relu"
    added = None if residual is None else straight(residual, work)
    kernel.normalise(relu, geometry, source, statistics, scale, offset, added, out.reshape(-1))
    if parsed is not None and not relu:
        activations.apply(out, parsed, out=out)
    return out.astype(result, copy=False), statistics.reshape(2, channels)


def batch_norm_gradients(
    x: Any,
    grad_output: Any,
    statistics: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = True,
    *,
    data_format: str | None = None,
    activation: str | None = None,
    input_too: bool = True,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """The gradients of `batch_norm` with respect to its input, weight and bias.

    Parameters
    ----------
    x : array_like
        The input of `batch_norm`.
    grad_output : array_like, of `x`'s shape
    statistics : array_like, shape (2, C)
        The means, and 1 / sqrt(var + eps), that x was normalised by: of the batch in training, else the running ones.
    weight, bias : array_like, shape (C,), optional
        As in `batch_norm`; `bias` matters to an activation only.
    training : bool
        Whether the statistics are the batch's own, so that they depend on x.
    data_format : str, optional
    activation : None or "relu"
    input_too : bool
        Whether the gradient of the input is wanted.

    Returns
    -------
    tuple of ndarray
        Gradients of `x` (None where it is not wanted), `weight` and `bias`, in the promoted dtype of `x` and
        `grad_output`.

    Raises
    ------
    ValueError
        If shapes do not fit or the activation is another.
    TypeError
        For bool and complex arrays.
    """
    (x, grad), work, result = alike(x=x, grad_output=grad_output)
    n, channels, length, last = _sizes(x.shape, data_format)
    if activation not in (None, "relu"):
        raise ValueError(f"activation must be None or 'relu', got {activation!r}")
    scale, offset = parameter("weight", weight, (channels,), 1.0), parameter("bias", bias, (channels,))
    known = straight(parameter("statistics", statistics, (2, channels)), np.dtype(np.float64))
    if x.size == 0:
        nothing = np.zeros(channels, result)
        return np.empty(x.shape, result) if input_too else None, nothing, nothing.copy()
    kernel = kernels("batch_norm")
    out = empty(x.shape, work) if input_too else None
    parameters = kernel.gradients(
        activation == "relu", training, kernel.geometry(n, channels, length, last), straight(x, work),
        straight(grad, work), known, scale, offset, None if out is None else out.reshape(-1),
    ).astype(result)  # fmt: skip
    return None if out is None else out.astype(result, copy=False), parameters[:channels], parameters[channels:]


def _sizes(shape: tuple[int, ...], data_format: str | None) -> tuple[int, int, int, bool]:
    """(n, channels, positions, whether channels come last)."""
    ndim = len(shape)
    if ndim < 2 and shape != (0,):  # PyTorch takes an empty vector
        raise ValueError(f"x must have at least 2 axes, got shape {shape}")
    if data_format is not None and channels_last(data_format, ndim - 2):
        return 1, shape[-1], math.prod(shape[:-1]), True
    return shape[0], shape[min(1, ndim - 1)], math.prod(shape[2:]), False
