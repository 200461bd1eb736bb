"""Functions of Tensors, arrays and numbers that give Tensors: arithmetic, reductions, shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numconv.autograd.tape import Tensor, apply


def tensor(x: Any) -> Tensor:
    """`x` as a Tensor."""
    return x if isinstance(x, Tensor) else Tensor(x)


def add(a: Any, b: Any) -> Tensor:
    """a + b; shapes broadcast."""
    return apply("add", a, b)


def sub(a: Any, b: Any) -> Tensor:
    """a - b."""
    return apply("sub", a, b)


def mul(a: Any, b: Any) -> Tensor:
    """a * b, elementwise."""
    return apply("mul", a, b)


def div(a: Any, b: Any) -> Tensor:
    """a / b, elementwise."""
    return apply("div", a, b)


def pow(a: Any, b: Any) -> Tensor:
    """a ** b, elementwise."""
    return apply("pow", a, b)


def exp(x: Any) -> Tensor:
    return apply("exp", x)


def log(x: Any) -> Tensor:
    """The natural logarithm."""
    return apply("log", x)


def sqrt(x: Any) -> Tensor:
    return apply("sqrt", x)


def sin(x: Any) -> Tensor:
    return apply("sin", x)


def cos(x: Any) -> Tensor:
    return apply("cos", x)


def abs(x: Any) -> Tensor:
    """``|x|``; its gradient is 0 where x is."""
    return apply("abs", x)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of each two elements; of equal ones each gets half of the gradient."""
    return apply("maximum", a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of each two elements; of equal ones each gets half of the gradient."""
    return apply("minimum", a, b)


def clamp(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """Elements no less than `min` and no more than `max`."""
    return tensor(x).clamp(min, max)


clip = clamp


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Elements of `a` where `condition` is true, else of `b`."""
    return apply("where", condition, a, b)


def matmul(a: Any, b: Any) -> Tensor:
    """a @ b: as `numpy.matmul`."""
    return apply("matmul", a, b)


def sum(x: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The sum over all axes, or over those of `dim`."""
    return tensor(x).sum(dim, keepdim)


def mean(x: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The mean over all axes, or over those of `dim`."""
    return tensor(x).mean(dim, keepdim)


def reshape(x: Any, shape: Sequence[int]) -> Tensor:
    return tensor(x).reshape(shape)


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes from `start_dim` to `end_dim` made one."""
    return tensor(x).flatten(start_dim, end_dim)


def permute(x: Any, dims: Sequence[int]) -> Tensor:
    """The axes in another order."""
    return tensor(x).permute(dims)


def flip(x: Any, dims: Any) -> Tensor:
    """Elements in reverse order along axes."""
    x = tensor(x)
    dims = (dims,) if isinstance(dims, int) else dims
    return apply("flip", x, axes=tuple(d % x.ndim for d in dims))


def concatenate(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors joined along an axis."""
    return apply("concatenate", *map(tensor, tensors), axis=dim)


cat = concatenate


def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    return apply("stack", *map(tensor, tensors), axis=dim)


def split(x: Any, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces along an axis, of one size (the last may be smaller) or of given sizes: views.

    Raises
    ------
    ValueError
        If the sizes do not add up to the axis' length.
    """
    x = tensor(x)
    axis, length = dim % x.ndim, x.shape[dim]
    if isinstance(split_size, int):
        if split_size < 1:
            raise ValueError(f"split_size must be positive, got {split_size}")
        ends = [*range(split_size, length, split_size), length]
    else:
        ends = []
        for size in split_size:
            ends.append((ends[-1] if ends else 0) + size)
        if not ends or ends[-1] != length:
            raise ValueError(f"split_size must add up to {length}, the length of dim {dim}, got {list(split_size)}")
    head = (slice(None),) * axis
    return tuple(x[(*head, slice(start, stop))] for start, stop in zip([0, *ends], ends))


def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of equal size along an axis; the last may be smaller."""
    x = tensor(x)
    return split(x, max(-(-x.shape[dim] // chunks), 1), dim)
