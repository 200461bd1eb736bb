"""Methods of Tensors, by the names and arguments of PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from numconv.autograd.operators import Operators

Dims = int | Sequence[int] | None


class Extremum(NamedTuple):
    """What `max` and `min` along an axis give."""

    values: Any
    indices: Any


def dims_of(dim: Dims, ndim: int) -> tuple[int, ...] | None:
    """Axes counted from 0, None for all of them."""
    if dim is None:
        return None
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    for d in dims:
        if not -max(ndim, 1) <= d < max(ndim, 1):
            raise ValueError(f"dim must be from {-ndim} to {ndim - 1} for {ndim} axes, got {dim!r}")
    return tuple(sorted({d % ndim for d in dims})) if ndim else ()


def shape_of(given: tuple[Any, ...]) -> tuple[int, ...]:
    """A shape given as integers or as one sequence."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


class Methods(Operators):
    """The methods of Tensor; each runs operations of the table."""

    __slots__ = ()

    # --- functions of each element

    def exp(self) -> Any:
        return self._apply("exp", self)

    def log(self) -> Any:
        return self._apply("log", self)

    def sqrt(self) -> Any:
        return self._apply("sqrt", self)

    def abs(self) -> Any:
        return self._apply("abs", self)

    def pow(self, exponent: Any) -> Any:
        return self._apply("pow", self, exponent)

    def clamp(self, min: Any = None, max: Any = None) -> Any:
        """Elements no less than `min` and no more than `max`."""
        if isinstance(min, Operators) or isinstance(max, Operators):
            result = self if min is None else self._apply("maximum", self, min)
            return result if max is None else self._apply("minimum", result, max)
        return self._apply("clamp", self, min=min, max=max)

    clip = clamp

    def astype(self, dtype: Any) -> Any:
        return self._apply("astype", self, dtype=dtype)

    # --- reductions

    def sum(self, dim: Dims = None, keepdim: bool = False) -> Any:
        return self._apply("sum", self, axis=dims_of(dim, self.ndim), keepdims=keepdim)

    def mean(self, dim: Dims = None, keepdim: bool = False) -> Any:
        return self._apply("mean", self, axis=dims_of(dim, self.ndim), keepdims=keepdim)

    def var(self, dim: Dims = None, *, correction: int = 1, keepdim: bool = False) -> Any:
        """The variance: squared differences to the mean, summed and divided by their number less `correction`."""
        axes = dims_of(dim, self.ndim)
        count = math.prod(self.shape if axes is None else [self.shape[axis] for axis in axes])
        far = self - self.mean(dim, True)
        return (far * far).sum(dim, keepdim) / max(count - correction, 0)

    def std(self, dim: Dims = None, *, correction: int = 1, keepdim: bool = False) -> Any:
        return self.var(dim, correction=correction, keepdim=keepdim).sqrt()

    def amax(self, dim: Dims = None, keepdim: bool = False) -> Any:
        """The largest element; of several the gradient goes to each in equal parts."""
        return self._apply("amax", self, axis=dims_of(dim, self.ndim), keepdims=keepdim)

    def amin(self, dim: Dims = None, keepdim: bool = False) -> Any:
        return self._apply("amin", self, axis=dims_of(dim, self.ndim), keepdims=keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Any:
        return self._apply("argmax", self, axis=dim, keepdims=keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Any:
        return self._apply("argmin", self, axis=dim, keepdims=keepdim)

    def max(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The largest element; along an axis (values, indices), where the first of equal ones gets the gradient."""
        return self.amax() if dim is None else Extremum(*self._apply("max", self, axis=dim, keepdims=keepdim))

    def min(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The smallest element; along an axis as `max`."""
        return self.amin() if dim is None else Extremum(*self._apply("min", self, axis=dim, keepdims=keepdim))

    # --- shapes

    def reshape(self, *shape: Any) -> Any:
        return self._apply("reshape", self, shape=shape_of(shape))

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Any:
        """Axes from `start_dim` to `end_dim` made one."""
        shape, ndim = self.shape, max(self.ndim, 1)
        start, end = start_dim % ndim, end_dim % ndim
        if start > end:
            raise ValueError(f"start_dim must not come after end_dim, got {start_dim} and {end_dim}")
        return self.reshape(*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])

    def permute(self, *dims: Any) -> Any:
        ndim = self.ndim
        axes = tuple(axis % ndim if -ndim <= axis < ndim else axis for axis in shape_of(dims))
        if sorted(axes) != list(range(ndim)):
            raise ValueError(f"dims must name each of {ndim} axes once, got {dims}")
        return self._apply("permute", self, axes=axes)

    def transpose(self, dim0: int, dim1: int) -> Any:
        """Two axes exchanged."""
        axes = list(range(self.ndim))
        axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
        return self._apply("permute", self, axes=tuple(axes))

    @property
    def T(self) -> Any:
        return self.permute(*reversed(range(self.ndim)))

    def squeeze(self, dim: Dims = None) -> Any:
        """Without axes of length one: all of them, or those of `dim` that are."""
        dims = dims_of(dim, self.ndim)
        shape = self.shape
        return self.reshape(*(n for i, n in enumerate(shape) if n != 1 or not (dims is None or i in dims)))

    def unsqueeze(self, dim: int) -> Any:
        """With a new axis of length one at `dim`."""
        place = dims_of(dim, self.ndim + 1)
        assert place is not None
        return self.reshape(*self.shape[: place[0]], 1, *self.shape[place[0] :])

    def expand(self, *shape: Any) -> Any:
        """Repeated, without a copy, along axes of length one and new axes in front; -1 keeps a length."""
        sizes = shape_of(shape)
        old = (1,) * (len(sizes) - self.ndim) + self.shape
        return self._apply("expand", self, shape=tuple(o if n == -1 else n for n, o in zip(sizes, old)))

    def contiguous(self, *, memory_format: str | None = None) -> Any:
        """The same elements in one piece of memory; with "channels_last" the axis 1 lies last in it."""
        return self._apply("contiguous", self, last=memory_format == "channels_last")
