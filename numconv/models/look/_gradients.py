"""Where on a picture a class is seen: by gradients of its score."""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.autograd import Tensor, enable_grad, grad
from numconv.models.look._watch import batch, first_of, run_to
from numconv.nn import Module
from numconv.nn._mode import mode
from numconv.ops import arrays
from numconv.ops.interpolation import interpolate

MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def grad_cam(model: Module, x: Any, layer: str, target: Any = None) -> np.ndarray:
    """Where a layer's maps speak for a class (Grad-CAM).

        map = relu(sum over k of a[k] A[k]),  a[k] = mean over positions of d score / d A[k]

    A[k] are the layer's maps, usually those of the last convolution; the result is interpolated to the input's size.

    Parameters
    ----------
    model : Module
        Gives scores (N, classes), before any softmax.
    x : array_like, shape (N, C, ...)
        One to three spatial axes.
    layer : str
        Its name as in `model.named_modules()`; it runs once and gives maps (N, K, ...).
    target : int or array_like of int, shape (N,), optional
        The class, or one an example; where left out, the one with the highest score.

    Returns
    -------
    ndarray, shape (N, ...)
        Of the spatial axes of `x`; at least 0, not scaled: maps of one model can be compared with each other.

    Raises
    ------
    ValueError
        If an argument is none of those above.

    References
    ----------
    R. R. Selvaraju et al., Grad-CAM: visual explanations from deep networks via gradient-based localization, ICCV 2017.
    """
    x = batch("x", x)
    with mode(model, False), enable_grad():
        output, maps = run_to(model, Tensor(x, requires_grad=True), layer)
        if not 3 <= maps.ndim <= 5:
            raise ValueError(f"layer must give maps (N, K, *spatial), {layer!r} gives shape {maps.shape}")
        gradient = _of_class(output, target, maps)
    space = tuple(range(2, maps.ndim))
    weights = gradient.mean(axis=space, keepdims=True)
    found = np.maximum((weights * arrays.to_numpy(maps.data)).sum(axis=1, keepdims=True), 0)
    return interpolate(found, x.shape[2:], mode=MODES[len(space)])[:, 0]


def saliency(model: Module, x: Any, target: Any = None) -> np.ndarray:
    """How much a class's score changes with each pixel: the largest magnitude of d score / d x over the channels.

    Parameters
    ----------
    model, x, target
        As in `grad_cam`.

    Returns
    -------
    ndarray, shape (N, ...)
        Of the spatial axes of `x`.

    Raises
    ------
    ValueError
        If an argument is none of those above.

    References
    ----------
    K. Simonyan, A. Vedaldi and A. Zisserman, Deep inside convolutional networks, ICLR 2014 workshop, section 3.
    """
    with mode(model, False), enable_grad():
        pixels = Tensor(batch("x", x), requires_grad=True)
        gradient = _of_class(model(pixels), target, pixels)
    return np.abs(gradient).max(axis=1)


def _of_class(output: Any, target: Any, wanted: Tensor) -> np.ndarray:
    """The gradient of each example's score of its class."""
    scores = first_of(output)
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        found = scores.shape if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"model must give scores (N, classes), got {found}")
    count, classes = scores.shape
    values = arrays.to_numpy(scores.data)
    chosen = values.argmax(axis=1) if target is None else np.asarray(target)
    if chosen.dtype.kind not in "iu" or chosen.shape not in ((), (count,)):
        raise ValueError(f"target must be an integer, or {count} of them, got {target!r}")
    if np.any((chosen < 0) | (chosen >= classes)):
        raise ValueError(f"target must be from 0 to {classes - 1}, got {target!r}")
    seed = np.zeros(scores.shape, values.dtype)
    seed[np.arange(count), chosen] = 1
    (gradient,) = grad(scores, wanted, seed)
    return arrays.to_numpy(gradient.data)  # type: ignore[union-attr]
