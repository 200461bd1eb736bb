"""What layers give, by hooks that are gone afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from numconv.autograd import Tensor, no_grad
from numconv.nn import Module
from numconv.nn._mode import mode
from numconv.ops import arrays


def features(model: Module, x: Any, layers: str | Iterable[str] = "*") -> dict[str, np.ndarray]:
    """What layers give for some examples.

    Parameters
    ----------
    model : Module
    x : array_like, shape (N, ...)
        Examples, as the model takes them.
    layers : str or iterable of str
        Names as in `model.named_modules()`, or patterns of them: `*` is any characters, dots included, `?` one,
        `[0-3]` one of these. "" is the model itself, which no pattern means.

    Returns
    -------
    dict of str to ndarray
        In the order in which the layers ended. What a layer gives when it runs again in one pass is under its name and
        ":2", ":3", ...; a layer that gives a tuple is there by the first of it.

    Raises
    ------
    TypeError
        If `model` is no Module.
    ValueError
        If a name or pattern means no layer, or none that ran and gave a Tensor.

    Examples
    --------
    >>> import numpy as np
    >>> from numconv import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
    >>> found = features(model, np.zeros((1, 1, 8, 8), np.float32), ["0", "2"])
    >>> {name: maps.shape for name, maps in found.items()}
    {'0': (1, 2, 6, 6), '2': (1, 2, 3, 3)}
    """
    with mode(model, False), no_grad(), watched(model, layers) as found:
        model(Tensor(x))
    patterns = [layers] if isinstance(layers, str) else list(layers)
    for pattern in patterns:
        if not any(_means(pattern, name.partition(":")[0]) for name in found):
            raise ValueError(f"layers: nothing that {pattern!r} means ran and gave a Tensor")
    return {name: arrays.to_numpy(output.data) for name, output in found.items()}


@contextmanager
def watched(model: Module, layers: str | Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """What layers give while the block runs, by name; see `features`."""
    found: dict[str, Tensor] = {}

    def hook(name: str) -> Any:
        def note(module: Module, inputs: Any, output: Any) -> None:
            first = first_of(output)
            if isinstance(first, Tensor):
                runs = sum(key.partition(":")[0] == name for key in found)
                found[f"{name}:{runs + 1}" if runs else name] = first

        return note

    handles = [module.register_forward_hook(hook(name)) for name, module in _chosen(model, layers)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def run_to(model: Module, x: Tensor, layer: str) -> tuple[Any, Tensor]:
    """What a model gives, and what one layer of it gave on the way, both on the tape."""
    if layer not in dict(model.named_modules()):
        raise ValueError(f"layer must be the name of a module of {type(model).__name__}, got {layer!r}: {_some(model)}")
    with watched(model, layer) as found:
        output = model(x)
    if len(found) != 1:
        raise ValueError(f"layer must be one that runs once and gives a Tensor; {layer!r} did so {len(found)} times")
    return output, found[layer]


def first_of(output: Any) -> Any:
    """The result, or where there are several, the first: maxima before their indices, scores before others."""
    return output[0] if isinstance(output, tuple) else output


def batch(name: str, x: Any) -> np.ndarray:
    """Examples (N, C, *spatial) of floats."""
    array = np.asarray(x.data if isinstance(x, Tensor) else x)
    if array.dtype.kind != "f" or array.ndim < 3 or not array.size:
        raise ValueError(
            f"{name} must be an array of floats (N, C, *spatial), not empty, got {array.dtype} {array.shape}"
        )
    return array


def channel_of(name: str, channel: int, output: Tensor) -> int:
    """A channel's number, checked against what a layer gives."""
    count = output.shape[1] if output.ndim > 1 else 0
    if not -count <= channel < count:
        raise ValueError(f"{name} must be one of {count}, of a layer that gives {output.shape}, got {channel}")
    return channel % count


def _chosen(model: Module, layers: str | Iterable[str]) -> list[tuple[str, Module]]:
    """Modules that are meant, in the model's order."""
    named = list(model.named_modules())
    patterns = [layers] if isinstance(layers, str) else list(layers)
    for pattern in patterns:
        if not any(_means(pattern, name) for name, _ in named):
            raise ValueError(f"layers: {pattern!r} means no module of {type(model).__name__}: {_some(model)}")
    return [(name, module) for name, module in named if any(_means(pattern, name) for pattern in patterns)]


def _means(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) if name else pattern == ""


def _some(model: Module) -> str:
    """Names of modules, for an error."""
    names = [name for name, _ in model.named_modules() if name]
    return f"it has {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}" if names else "it has none in it"
