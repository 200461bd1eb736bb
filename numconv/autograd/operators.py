"""What can be written with Tensors: operators, each an operation of the table, run by its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from numconv.ops import arrays
from numconv.ops.device import on_gpu


class Operators:
    """The operators of Tensor, which fills in how operations are run."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy's arrays leave operators between them and a Tensor to the Tensor
    _apply: Callable[..., Any]
    _in_place: Callable[..., Any]
    counter: list[Any]
    data: Any
    requires_grad: bool
    node: Any

    # --- what the array is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> Any:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return len(self.data.shape)

    def dim(self) -> int:
        return len(self.data.shape)

    def size(self, dim: int | None = None) -> Any:
        return self.data.shape if dim is None else self.data.shape[dim]

    def numel(self) -> int:
        return math.prod(self.data.shape)

    def numpy(self) -> Any:
        """The elements as a NumPy array: a view, which is read-only where this requires grad; of a GPU's, a copy."""
        return arrays.to_numpy(self.data, readonly=self.requires_grad)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.requires_grad:
            raise TypeError(
                "a Tensor that requires grad is no array: use numconv.autograd.functional, or its numpy() or detach()"
            )
        if on_gpu(self.data):
            raise TypeError("a Tensor on a GPU is no array of NumPy: its numpy() is a copy on the host")
        array = arrays.to_numpy(self.data)
        return array.astype(dtype or array.dtype, copy=bool(copy))

    def item(self) -> Any:
        """The one element, as a number of Python."""
        return self.numpy().item()

    def tolist(self) -> Any:
        return self.numpy().tolist()

    def __len__(self) -> int:
        if not self.data.shape:
            raise TypeError("a Tensor without axes has no length")
        return self.data.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __repr__(self) -> str:
        text = repr(self.numpy()).removeprefix("array(").removesuffix(")").replace("\n     ", "\n       ")
        source = f", node={self.node.operation}" if self.node else ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({text}{source})"

    # --- arithmetic

    def __add__(self, other: Any) -> Any:
        return self._apply("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return self._apply("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return self._apply("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self._apply("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return self._apply("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return self._apply("mul", other, self)

    def __truediv__(self, other: Any) -> Any:
        return self._apply("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._apply("div", other, self)

    def __pow__(self, other: Any) -> Any:
        return self._apply("pow", self, other)

    def __rpow__(self, other: Any) -> Any:
        return self._apply("pow", other, self)

    def __matmul__(self, other: Any) -> Any:
        return self._apply("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return self._apply("matmul", other, self)

    def __neg__(self) -> Any:
        return self._apply("neg", self)

    def __abs__(self) -> Any:
        return self._apply("abs", self)

    def __iadd__(self, other: Any) -> Any:
        return self._in_place(self, "add", other)

    def __isub__(self, other: Any) -> Any:
        return self._in_place(self, "sub", other)

    def __imul__(self, other: Any) -> Any:
        return self._in_place(self, "mul", other)

    def __itruediv__(self, other: Any) -> Any:
        return self._in_place(self, "div", other)

    def copy_(self, other: Any) -> Any:
        """Take the elements of `other`, in place."""
        self[...] = other
        return self

    def zero_(self) -> Any:
        """Set all elements to 0, in place."""
        self[...] = 0
        return self

    # --- comparisons, which have no gradient

    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> Any:
        return self._apply("compare", self, other, relation="equal")

    def __ne__(self, other: Any) -> Any:
        return self._apply("compare", self, other, relation="not_equal")

    def __lt__(self, other: Any) -> Any:
        return self._apply("compare", self, other, relation="less")

    def __le__(self, other: Any) -> Any:
        return self._apply("compare", self, other, relation="less_equal")

    def __gt__(self, other: Any) -> Any:
        return self._apply("compare", self, other, relation="greater")

    def __ge__(self, other: Any) -> Any:
        return self._apply("compare", self, other, relation="greater_equal")

    # --- parts

    def __getitem__(self, index: Any) -> Any:
        return self._apply("index", self, index=bare_index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        self._in_place(self, "set_index", value, index=bare_index(index))


def bare_index(index: Any) -> Any:
    """An index with arrays in place of Tensors."""
    if isinstance(index, tuple):
        return tuple([part.data if isinstance(part, Operators) else part for part in index])
    return index.data if isinstance(index, Operators) else index
