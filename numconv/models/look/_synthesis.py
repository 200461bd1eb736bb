"""Inputs found by gradient: one that a channel or a class answers to most, one that gives some features."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.autograd import Tensor, enable_grad, grad
from numconv.autograd import functional as F
from numconv.models.look._watch import batch, channel_of, run_to
from numconv.nn import Module
from numconv.nn._mode import mode
from numconv.ops import arrays
from numconv.optim import Adam
from numconv.problem import integer
from numconv.random import generator_of


def total_variation(x: Any) -> Tensor:
    """How rough pictures are: along each spatial axis the mean squared difference of neighbours, added up.

    Parameters
    ----------
    x : Tensor or array_like, shape (N, C, ...)

    Returns
    -------
    Tensor
        One number, with a gradient.

    References
    ----------
    A. Mahendran and A. Vedaldi, Understanding deep image representations by inverting them, CVPR 2015: with the
    exponent beta = 2 of their section 3, which is not the total variation of analysis (beta = 1) but smooth.
    """
    x = F.tensor(x)
    total = None
    for axis in range(2, x.ndim):
        before, after = (_part(x, axis, *ends) for ends in ((0, -1), (1, None)))
        rough = ((after - before) ** 2).mean()
        total = rough if total is None else total + rough
    if total is None:
        raise ValueError(f"x must be (N, C, *spatial), got shape {x.shape}")
    return total


def maximize(
    model: Module, start: Any, channel: int, layer: str = "", *, steps: int = 200, lr: float = 0.05,
    smoothness: float = 0.02, shift: int = 0, low: Any = None, high: Any = None,
    generator: np.random.Generator | None = None,
) -> np.ndarray:  # fmt: skip
    """Find an input that a channel of a layer answers to most: a class, where the layer is the model itself.

    Adam climbs the channel's mean over positions, less `smoothness` times the roughness: `total_variation` times the
    number of values in an example.

    Parameters
    ----------
    model : Module
    start : array_like, shape (N, C, ...)
        Where the climb begins: noise, grey, or a photograph. Equal starts give equal results, to the bit.
    channel : int
        Of what the layer gives.
    layer : str
        Its name as in `model.named_modules()`; it runs once.
    steps : int
    lr : float
        How far a pixel goes in a step, about.
    smoothness : float
        What roughness costs. Too little gives a noise that only the model sees a class in, too much a blur.
    shift : int
        At each step the picture is moved around its edges by up to so many pixels, at random: what is seen must not
        depend on where it lies.
    low, high : float or array_like, optional
        What pixels stay within; of a shape that goes with `start`, such as (C, 1, 1).
    generator : numpy.random.Generator, optional
        What shifts are drawn from; the process's where left out.

    Returns
    -------
    ndarray, shape of `start`

    Raises
    ------
    ValueError
        If an argument is none of those above.
    FloatingPointError
        If the climb ends in NaN or Inf.

    References
    ----------
    D. Erhan et al., Visualizing higher-layer features of a deep network, Montreal 2009; K. Simonyan, A. Vedaldi and
    A. Zisserman, Deep inside convolutional networks, ICLR 2014 workshop, section 2; the shifts: A. Mordvintsev, C. Olah
    and M. Tyka, DeepDream, 2015.
    """
    shift, rng = integer("shift", shift, 0), generator_of(generator)

    def loss(x: Tensor) -> Tensor:
        for axis in range(2, x.ndim if shift else 0):
            x = _rolled(x, axis, int(rng.integers(-shift, shift + 1)))
        _, output = run_to(model, x, layer)
        return -output[:, channel_of("channel", channel, output)].mean()

    start = batch("start", start)
    return _descend(model, loss, start, steps, lr, smoothness * start[0].size, low, high)


def invert(
    model: Module, features: Any, start: Any, layer: str, *, steps: int = 200, lr: float = 0.05,
    smoothness: float = 0.1, low: Any = None, high: Any = None,
) -> np.ndarray:  # fmt: skip
    """Recover an input from what a layer gave for it: what features keep of a picture, and what they lose.

    Adam descends the squared distance of features, relative to their square, plus `smoothness` times
    `total_variation`.

    Parameters
    ----------
    model : Module
    features : array_like
        What the layer gave; see `features`.
    start : array_like, shape (N, C, ...)
        Where the descent begins, usually weak noise. Equal starts give equal results, to the bit.
    layer : str
        Its name as in `model.named_modules()`; it runs once.
    steps, lr, smoothness, low, high
        As in `maximize`.

    Returns
    -------
    ndarray, shape of `start`

    Raises
    ------
    ValueError
        If an argument is none of those above.
    FloatingPointError
        If the descent ends in NaN or Inf.

    References
    ----------
    A. Mahendran and A. Vedaldi, Understanding deep image representations by inverting them, CVPR 2015.
    """
    wanted = np.asarray(features.data if isinstance(features, Tensor) else features)
    scale = float(np.mean(np.square(wanted, dtype=np.float64))) or 1.0

    def loss(x: Tensor) -> Tensor:
        _, output = run_to(model, x, layer)
        if output.shape != wanted.shape:
            raise ValueError(f"features must have the shape that {layer!r} gives, {output.shape}, got {wanted.shape}")
        return F.mse_loss(output, wanted.astype(output.dtype, copy=False)) / scale

    return _descend(model, loss, batch("start", start), steps, lr, smoothness, low, high)


def _descend(
    model: Module, loss: Callable[[Tensor], Tensor], start: np.ndarray, steps: int, lr: float, smoothness: float,
    low: Any, high: Any,
) -> np.ndarray:  # fmt: skip
    """Let Adam change pixels until a loss and their roughness are low."""
    steps = integer("steps", steps, 1)
    if not smoothness >= 0:
        raise ValueError(f"smoothness must be at least 0, got {smoothness}")
    pixels = Tensor(start.copy(), requires_grad=True)
    optimizer = Adam([pixels], lr)
    with mode(model, False), enable_grad():
        for step in range(steps):
            value = loss(pixels)
            if smoothness:
                value = value + total_variation(pixels) * smoothness
            if not math.isfinite(value.item()):
                raise FloatingPointError(f"the loss is {value.item()} at step {step}: try a smaller lr")
            (pixels.grad,) = grad(value, pixels)
            optimizer.step()
            if low is not None or high is not None:
                np.clip(pixels.data, low, high, out=pixels.data)
                pixels.bump()
    return arrays.to_numpy(pixels.data)


def _part(x: Tensor, axis: int, start: int, stop: int | None) -> Tensor:
    return x[(slice(None),) * axis + (slice(start, stop),)]


def _rolled(x: Tensor, axis: int, by: int) -> Tensor:
    """Moved along an axis; what leaves at one end comes in at the other."""
    by %= x.shape[axis]
    return F.concatenate([_part(x, axis, -by, None), _part(x, axis, 0, -by)], axis) if by else x
