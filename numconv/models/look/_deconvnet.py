"""What on a picture made a channel answer: back through unpooling, rectifying and transposed convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numconv import nn
from numconv.autograd import Tensor, enable_grad, grad, no_grad
from numconv.autograd import functional as F
from numconv.models.look._watch import batch, channel_of, first_of, watched
from numconv.nn import Module
from numconv.nn._mode import mode
from numconv.ops import arrays

RECTIFIED = (nn.ReLU, nn.ReLU6)
# Given their inputs, all of these are linear, biases aside: the transpose of each is the rule of its gradient.
TRANSPOSED = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d, nn.GlobalAvgPool, nn.GlobalMaxPool,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Linear, nn.Flatten, nn.Identity,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
)  # fmt: skip


def deconvnet(model: Module, x: Any, layer: str, channel: int, position: Sequence[int] | None = None) -> np.ndarray:
    """Bring one activation of a layer back to the input (Zeiler and Fergus' deconvnet).

    All of the layer's activations but one are set to zero. Then the layers are gone through from there to the input: a
    max pooling puts each value where its maximum was, and adds up where windows overlap; a ReLU lets through what is
    positive; a convolution becomes the transposed one of the same weights, without its bias; other linear layers are
    transposed likewise.

    Parameters
    ----------
    model : Module
        On the way to the layer, layers one after the other, as in `alexnet`, `vgg16` or
        `lenet5(activation="relu", pooling="max")`; what follows the layer may be anything.
    x : array_like, shape (N, C, ...)
    layer : str
        Its name as in `model.named_modules()`.
    channel : int
        Of what the layer gives.
    position : sequence of int, optional
        One index for each spatial axis of what the layer gives; where left out, of each example the place where the
        channel answers most.

    Returns
    -------
    ndarray, shape of `x`
        Structures of the input that the activation came from; 0 where it did not look.

    Raises
    ------
    ValueError
        If there is no such layer, channel or position; if there is more on the way than layers one after the other, or
        one that is neither linear nor a pooling nor a ReLU, which the message names.

    References
    ----------
    M. D. Zeiler and R. Fergus, Visualizing and understanding convolutional networks, ECCV 2014.
    """
    x = batch("x", x)
    with mode(model, False):
        steps, output = _way(model, x, layer)
        signal = _one(output, channel, position)
        with enable_grad():
            for module, given in reversed(steps):
                signal = _back(module, given, signal)
    return arrays.to_numpy(signal.data).reshape(x.shape)


def _way(model: Module, x: np.ndarray, layer: str) -> tuple[list[tuple[Module, Tensor]], Tensor]:
    """The layers from the input to a layer, each with what it took; and what the last gave."""
    names = {module: name for name, module in model.named_modules()}
    steps: list[tuple[Module, Tensor, Tensor]] = []
    ends: list[int] = []

    def note(module: Module, inputs: Any, output: Any) -> None:
        steps.append((module, inputs[0], first_of(output)))

    with no_grad():
        handles = [module.register_forward_hook(note) for module in model.modules() if not [*module.children()]]
        try:
            with watched(model, layer) as found:
                handles.append(model.get_submodule(layer).register_forward_hook(lambda *_: ends.append(len(steps))))
                model(Tensor(x))
        finally:
            for handle in handles:
                handle.remove()
    if len(ends) != 1:
        raise ValueError(f"layer must run once, {layer!r} ran {len(ends)} times")
    way, before, given = steps[: ends[0]], "the input", Tensor(x)
    for module, taken, gave in way:
        here = names[module]
        if not isinstance(module, RECTIFIED + TRANSPOSED):
            raise ValueError(
                f"{here!r} on the way to {layer!r} is a {type(module).__name__}: there is no way back through it, "
                "only through linear layers, poolings and ReLU"
            )
        _follow(given, taken, layer, f"{here!r} takes", before)
        before, given = repr(here), gave
    _follow(given, found.get(layer), layer, f"{layer!r} gives", before)
    return [(module, taken) for module, taken, _ in way], found[layer]


def _follow(given: Any, taken: Any, layer: str, what: str, before: str) -> None:
    """Check that values went from one layer to the next as they were, perhaps in another shape."""
    both = [arrays.to_numpy(t.data).reshape(-1) if isinstance(t, Tensor) else None for t in (given, taken)]
    if both[0] is None or both[1] is None or not np.array_equal(both[0], both[1], equal_nan=True):
        raise ValueError(
            f"model must have layers one after the other up to {layer!r}, but what {what} is not what {before} gives"
        )


def _one(output: Tensor, channel: int, position: Sequence[int] | None) -> Tensor:
    """What a layer gives, but for one place of one channel all zero."""
    values = arrays.to_numpy(output.data)
    maps = values[:, channel_of("channel", channel, output)].reshape(len(values), -1)
    space = values.shape[2:]
    if position is None:
        places = maps.argmax(axis=1)
    else:
        if len(position) != len(space) or not all(-n <= p < n for p, n in zip(position, space)):
            raise ValueError(f"position must be an index for each axis of maps of {space}, got {tuple(position)}")
        inside = tuple(p % n for p, n in zip(position, space))
        places = np.full(len(values), np.ravel_multi_index(inside, space) if space else 0)
    kept = np.zeros_like(values)
    examples = np.arange(len(values))
    flat = kept[:, channel].reshape(len(values), -1)
    flat[examples, places] = maps[examples, places]
    kept[:, channel] = flat.reshape(len(values), *space)
    return Tensor(kept)


def _back(module: Module, given: Tensor, signal: Tensor) -> Tensor:
    """A signal at a layer's output, brought to its input."""
    if isinstance(module, RECTIFIED):
        return F.relu(signal.detach()).reshape(*given.shape)
    taken = Tensor(given.data, requires_grad=True)
    output = first_of(module(taken))
    (back,) = grad(output, taken, signal.reshape(*output.shape))
    return back  # type: ignore[return-value]
