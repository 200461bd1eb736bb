"""The objects in a pickle of PyTorch: notes of storages and tensors, and the arrays that they become.

A tensor is a view of a storage: an offset, a size and strides, in elements. The bytes of storages stand outside of the
pickle, so the pickle is run first and gives notes; the arrays are made when the bytes have been read. Nothing is
allocated that the file does not hold.

Source: `torch/_utils.py` and `torch/_weights_only_unpickler.py` of PyTorch 2.13.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numconv.files import pickles
from numconv.files.dtypes import FOREIGN, NATIVE, dtype_named

MOST_AXES = 64  # of a NumPy array
_STORAGES = {
    **{"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16"},
    **{"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool"},
    **{"ComplexFloat": "complex64", "ComplexDouble": "complex128"},
}


@dataclass(frozen=True)
class Kind:
    """The class of a storage, or a dtype; without a name it is a storage of bytes."""

    name: str | None

    @property
    def dtype(self) -> np.dtype:
        return dtype_named(self.name or "uint8")


@dataclass(eq=False)
class Storage:
    """A run of elements. Its bytes are `data`, or those of another storage from element `start` on."""

    kind: Kind
    elements: int
    parent: Storage | None = None
    start: int = 0
    data: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, Kind):
            raise ValueError("a storage is of no kind that is known")
        _sizes("a storage", (self.elements, self.start))
        if self.parent is not None and (self.start + self.elements) > self.parent.elements:
            raise ValueError(f"a storage takes {self.elements} elements from {self.start} of {self.parent.elements}")

    @property
    def nbytes(self) -> int:
        return self.elements * self.kind.dtype.itemsize

    def bytes(self) -> np.ndarray:
        """What the file holds for it."""
        if self.parent is not None:
            first = self.start * self.kind.dtype.itemsize
            return self.parent.bytes()[first : first + self.nbytes]
        if self.data is None:
            raise ValueError("the file lacks a storage that a tensor needs")
        return self.data

    def fill(self, data: np.ndarray, swapped: bool) -> None:
        """Take the bytes that the file holds, in the other byte order if `swapped`."""
        dtype = self.kind.dtype
        unit = dtype.itemsize // (2 if dtype.kind == "c" else 1)
        if swapped:
            if self.kind.name is None:
                raise ValueError("it has the other byte order, and a storage that does not say of what")
            data.view(f"u{unit}").byteswap(inplace=True)
        if dtype == np.bool_ and data.max(initial=0) > 1:
            raise ValueError("a truth value is neither 0 nor 1")
        self.data = data


class Tensor:
    """A view of a storage: (storage, offset, size, stride), and a dtype if not the storage's.

    The oldest files make it first and give it its state later.
    """

    def __init__(self, *state: Any) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        """The array, in the memory of its storage: tensors that share one give arrays that share it."""
        storage, offset, size, stride, kind = (*self.state, None)[:5]
        if not isinstance(storage, Storage):
            raise ValueError("a tensor has no storage")
        dtype = (kind or storage.kind).dtype
        _sizes("a tensor", (offset, *size, *stride))
        if len(size) != len(stride) or len(size) > MOST_AXES:
            raise ValueError(f"a tensor has {len(size)} sizes and {len(stride)} strides; at most {MOST_AXES} are read")
        if 0 in size:
            return np.empty(size, dtype)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride))
        if (last + 1) * dtype.itemsize > storage.nbytes:
            raise ValueError(
                f"a tensor of size {size}, strides {stride} and offset {offset} needs {last + 1} elements of {dtype}, "
                f"its storage has {storage.nbytes} bytes"
            )
        steps = [step * dtype.itemsize if n > 1 else dtype.itemsize for n, step in zip(size, stride)]
        return np.ndarray(size, dtype, storage.bytes(), offset * dtype.itemsize, steps)


def run(file: Any, persistent: Callable[[Any], Any]) -> Any:
    """Run a pickle of PyTorch: plain values, containers, and notes of tensors and storages."""
    return pickles.read(file, _NAMES, persistent, _build)


def plain(file: Any) -> Any:
    """Run a pickle that holds plain values only."""
    return pickles.replaced(pickles.read(file, {}, _refused, _build), _refused)


def arrays(notes: Any) -> Any:
    """Replace the notes of tensors by arrays."""
    return pickles.replaced(notes, lambda note: _tensor(note).array())


def _sizes(what: str, values: tuple) -> None:
    for value in values:
        if type(value) is not int or value < 0:
            raise ValueError(f"{what} has {value!r} for an offset, a size or a stride")


def _refused(thing: Any) -> Any:
    raise ValueError(f"it holds a {type(thing).__name__} where plain values are expected")


def _tensor(thing: Any, *_: Any) -> Tensor:
    """A tensor; of a parameter, what it wraps."""
    if not isinstance(thing, Tensor):
        raise ValueError(f"it holds a {type(thing).__name__} where a tensor is expected")
    return thing


def _build(thing: Any, state: Any) -> None:
    """Give a tensor of the oldest files its state; a dict's says the versions of layers, a parameter's its hooks."""
    if isinstance(thing, Tensor) and not thing.state:
        thing.state = tuple(state)
    elif not isinstance(thing, (dict, Tensor)):
        raise ValueError(f"it gives a state to a {type(thing).__name__}")


def _with_dtype(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, kind: Kind, *_: Any
) -> Tensor:
    return Tensor(storage, offset, size, stride, kind)


_NAMES: dict[str, Any] = {
    **{f"torch.{name}Storage": Kind(dtype) for name, dtype in _STORAGES.items()},
    **{f"torch.{name}Tensor": pickles.Name(Tensor) for name in _STORAGES},
    **{f"torch.{name}": Kind(name) for name in NATIVE | FOREIGN},
    "torch.UntypedStorage": Kind(None),
    "torch.storage.UntypedStorage": Kind(None),
    "torch.Size": pickles.Name(lambda sizes=(): tuple(sizes)),
    "torch._utils._rebuild_tensor": pickles.Name(Tensor),
    "torch._utils._rebuild_tensor_v2": pickles.Name(lambda *state: Tensor(*state[:4])),
    "torch._utils._rebuild_tensor_v3": pickles.Name(_with_dtype),
    "torch._utils._rebuild_parameter": pickles.Name(_tensor),
    "torch._utils._rebuild_parameter_with_state": pickles.Name(_tensor),
    "torch.nn.parameter.Parameter": pickles.Name(_tensor),
}
