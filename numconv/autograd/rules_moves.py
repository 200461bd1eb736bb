"""im2col, shuffles, and convolution in the sense of signal processing, on the tape."""

from __future__ import annotations

from typing import Any

from numconv.autograd.functional_arrays import flip
from numconv.autograd.operations import operation
from numconv.autograd.rules_arrays import both
from numconv.autograd.tape import apply
from numconv.ops import filtering, resampling, signal
from numconv.ops.layouts import counted_first, counted_last, turns
from numconv.problem import LAST, channel_axis, per_axis


def unfold_rule(grad, output, inputs, attributes, needs):
    x = inputs[0]
    ndim = x.ndim - output.ndim + 1
    last = channel_axis(attributes["data_format"], ndim) == -1
    size = x.shape[-ndim - 1 : -1] if last else x.shape[-ndim:]
    return (apply("fold", grad, output_size=size, **_explicit(attributes, ndim)),)


def fold_rule(grad, output, inputs, attributes, needs):
    ndim = output.ndim - inputs[0].ndim + 1
    return (apply("unfold", grad, **_explicit(attributes, ndim)),)


def _explicit(attributes: dict[str, Any], ndim: int) -> dict[str, Any]:
    """Options of a window, with a kernel size that tells the number of axes."""
    options = {key: value for key, value in attributes.items() if key != "output_size"}
    return options | {"kernel_size": per_axis("kernel_size", options["kernel_size"], ndim, 1)}


operation("unfold", resampling.unfold, unfold_rule, reads=())
operation("fold", resampling.fold, fold_rule, reads=())


def _shuffled(run: Any) -> Any:
    """A move of the pixels of pictures that keeps the layout in memory."""

    def forward(x: Any, *, data_format: Any = None, **options: Any) -> Any:
        value = next(iter(options.values()))
        if x.ndim == 4 and turns(x, 2, data_format):
            return counted_first(run(counted_last(x, 2), value, data_format=LAST), 2)
        return run(x, value, data_format=data_format)

    return forward


def pixel_shuffle_rule(grad, output, inputs, attributes, needs):
    return (apply("pixel_unshuffle", grad, **attributes),)


def pixel_unshuffle_rule(grad, output, inputs, attributes, needs):
    return (apply("pixel_shuffle", grad, **attributes),)


def channel_shuffle_rule(grad, output, inputs, attributes, needs):
    data_format = attributes["data_format"]
    last = data_format is not None and data_format not in ("NCHW", "NCL", "NCW", "NCDHW", "channels_first")
    groups = grad.shape[-1 if last else 1] // attributes["groups"]
    return (apply("channel_shuffle", grad, groups=max(groups, 1), data_format=data_format),)


operation("pixel_shuffle", _shuffled(resampling.pixel_shuffle), pixel_shuffle_rule, reads=())
operation("pixel_unshuffle", _shuffled(resampling.pixel_unshuffle), pixel_unshuffle_rule, reads=())
operation("channel_shuffle", _shuffled(resampling.channel_shuffle), channel_shuffle_rule, reads=())


def convolve_rule(grad, output, inputs, attributes, needs):
    """Of operands with as many axes, `a` in mode "valid" at least as long as `v`, with zeros outside."""
    a, v = inputs
    axes = attributes["axes"]
    full = attributes["mode"] == "full"

    def of_a():
        return apply("convolve", grad, flip(v, axes), **(attributes | {"mode": "valid" if full else "full"}))

    def of_v():
        if full:
            return apply("convolve", grad, flip(a, axes), **(attributes | {"mode": "valid"}))
        return apply("convolve", flip(a, axes), grad, **attributes)

    return both(of_a, of_v, inputs, needs)


operation("convolve", signal.convolve, convolve_rule, reads=((1,), (0,)))
operation("correlate", signal.correlate, None)  # recorded as a convolution
operation("filter", filtering.filter, None)  # likewise
