"""What is in a module's tensors: as a dictionary, from one, in another dtype."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from numconv import cuda
from numconv.autograd.tape import Tensor
from numconv.nn._files import match
from numconv.ops import arrays, device
from numconv.problem import HALF


class IncompatibleKeys(NamedTuple):
    """Names that only one side has."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not any(self):
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def tensors(module: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Parameters and persistent buffers by name; shared ones under each of their names."""
    for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
        if tensor is not None and name not in module._non_persistent:
            yield prefix + name, tensor
    for name, inner in module._modules.items():
        if inner is not None:
            yield from tensors(inner, f"{prefix}{name}.")


def load(module: Any, state_dict: Mapping[str, Any], strict: bool) -> IncompatibleKeys:
    """See `Module.load_state_dict`."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must be a mapping of names to arrays, got {type(state_dict).__name__}")
    targets = dict(tensors(module))
    optional = {
        f"{path}.{key}" if path else key
        for path, inner in module.named_modules(remove_duplicate=False)
        for key in inner.optional_keys
    }
    given = {name: _array(name, value) for name, value in state_dict.items()}
    expected = {name: (t.shape, t.dtype) for name, t in targets.items() if name in given or name not in optional}
    wrong = match(expected, given, strict)
    if wrong:
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(wrong))
    for name, target in targets.items():
        if name in given:
            arrays.write(target.data, given[name])
            target.bump()
    return IncompatibleKeys([n for n in expected if n not in given], [n for n in given if n not in targets])


def _array(name: str, value: Any) -> np.ndarray:
    value = value.data if isinstance(value, Tensor) else value
    array = arrays.to_numpy(value) if device.on_gpu(value) else np.asarray(value)
    if array.dtype.kind not in "biufcV":
        raise TypeError(f"state_dict must hold arrays of numbers, got {type(value).__name__} for {name!r}")
    return array


def zero_grad(tensor: Tensor, set_to_none: bool) -> None:
    """Forget a gradient, or put zeros in its place."""
    if tensor.grad is not None:
        tensor.grad = None if set_to_none else Tensor(arrays.zeros(tensor.grad.data))


def convert(members: Iterable[Tensor], dtype: np.dtype) -> None:
    """Give those of a float dtype another one, with their gradients."""
    if not _is_float(dtype):
        raise TypeError(f"dtype must be a float, got {dtype}")
    for tensor in members:
        for part in (tensor, tensor.grad):
            if part is not None and _is_float(part.dtype):
                part.data = arrays.astype(part.data, dtype=dtype)
                part.bump()


def move(members: Iterable[Tensor], where: str) -> None:
    """Copy those that are elsewhere to the CPU, or to the current GPU, with their gradients."""
    if where == "cuda":
        cuda.toolkit.need()
    for tensor in members:
        for part in (tensor, tensor.grad):
            if part is not None and device.on_gpu(part.data) != (where == "cuda"):
                part.data = cuda.to_device(part.data) if where == "cuda" else arrays.to_numpy(part.data)
                part.bump()


def on_gpu(module: Any) -> bool:
    """Whether a parameter or buffer is on a GPU."""
    return any(device.on_gpu(tensor.data) for tensor in (*module.parameters(), *module.buffers()))


def on_host(module: Any) -> Any:
    """A copy of a module with its tensors on the host."""
    memo = {}
    for tensor in (*module.parameters(), *module.buffers()):
        twin = copy.copy(tensor)
        twin.grad = None
        twin.data = arrays.to_numpy(tensor.data) if device.on_gpu(tensor.data) else tensor.data
        memo[id(tensor)] = twin
    return copy.deepcopy(module, memo)


def _is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f" or dtype.name in HALF
