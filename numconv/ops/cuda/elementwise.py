"""Arithmetic and activations of arrays on a GPU: operands are brought together, a kernel computes each element.

A result lies in memory as the first operand of its shape does: channels last stay channels last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.kernels.cuda import memory
from numconv.ops.cuda.borders import check_together

_kernels = kernels("elementwise", "cuda")
_NUMBERS = (bool, int, float, np.generic)


def compute(function: str, *operands: Any, parameter: float = 0.0, dtype: Any = None) -> Any:
    """A function of `kernels.cuda.elementwise`, of arrays and numbers that broadcast; `dtype` is the result's."""
    check_together(**{f"operand {i}": operand for i, operand in enumerate(operands) if not _number(operand)})
    arrays = [operand for operand in operands if not _number(operand)]
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    whole = next((array for array in arrays if array.shape == shape), None)
    axes = tuple(range(len(shape))) if whole is None else _order(whole)
    turned = [a if _number(a) else memory.transpose(memory.broadcast_to(a, shape), axes) for a in operands]
    out = memory.empty(tuple(shape[axis] for axis in axes), np.dtype(dtype))
    if out.size:
        _launch(function, parameter, turned, out)
    return memory.transpose(out, tuple(axes.index(axis) for axis in range(len(axes))))


def _number(operand: Any) -> bool:
    return isinstance(operand, _NUMBERS)


def _order(x: Any) -> tuple[int, ...]:
    """The axes from the outermost in memory to the innermost; as they are counted where elements lie apart."""
    axes = tuple(sorted(range(x.ndim), key=lambda axis: -x.strides[axis]))
    return axes if memory.is_contiguous(memory.transpose(x, axes)) else tuple(range(x.ndim))


def _launch(function: str, parameter: float, operands: list[Any], out: Any) -> None:
    dtypes = tuple(_kernels.NUMBER if _number(o) else o.dtype.name for o in operands)
    name, size = out.dtype.name, out.size
    arrays = [o for o in operands if not _number(o)]
    if all(memory.is_contiguous(a) for a in arrays):
        vector = _kernels.wide_access(dtypes, name) and all(map(memory.aligned, arrays))
        kernel = _kernels.flat(function, parameter, dtypes, name, vector, size >= 1 << 31)
        given = [_plain(o) if _number(o) else memory.flat(o) for o in operands]
        kernel(_kernels.blocks(size, vector), _kernels.THREADS, *given, memory.flat(out), size)
        return
    operands = [o if _number(o) or min(o.strides, default=0) >= 0 else memory.contiguous(o) for o in operands]
    strides = [tuple(s // o.dtype.itemsize for s in o.strides) for o in operands if not _number(o)]
    shape, *joined = memory.merged(out.shape, *strides)
    rows = iter(joined)
    every = tuple((0,) * len(shape) if _number(o) else next(rows) for o in operands)
    kernel = _kernels.strided(
        function, parameter, dtypes, name, shape[1:], every, _kernels.beyond_32_bits(shape, every)
    )
    given = [_plain(o) if _number(o) else memory.reach(o, 0) for o in operands]
    kernel(_kernels.blocks(size, False), _kernels.THREADS, *given, memory.flat(out), size)


def _plain(number: Any) -> Any:
    """A number as kernels take it."""
    return number.item() if isinstance(number, np.generic) else float(number) if isinstance(number, bool) else number


# --- arithmetic


def _common(*operands: Any) -> np.dtype:
    """NumPy's dtype of what is computed of these; a number of Python takes that of arrays, bfloat16 also."""
    dtype = np.result_type(*(o.dtype for o in operands if hasattr(o, "dtype")))
    if dtype.kind not in "iub":
        return dtype
    return np.result_type(dtype, *(o for o in operands if not hasattr(o, "dtype")))


def _promoting(name: str) -> Callable[..., Any]:
    def function(*operands: Any) -> Any:
        return compute(name, *operands, dtype=_common(*operands))

    return function


def _floating(name: str) -> Callable[..., Any]:
    """A function that gives floats, of integers float64."""

    def function(*operands: Any) -> Any:
        dtype = _common(*operands)
        return compute(name, *operands, dtype=np.float64 if dtype.kind in "iub" else dtype)

    return function


def pow(a: Any, b: Any) -> Any:
    dtype = _common(a, b)
    if dtype.kind in "iub":
        raise TypeError(f"pow on a GPU takes floats, got {dtype}")
    if _number(b) and b in (0.5, 1, 2):  # as NumPy, and of a third of the instructions
        return compute("sqrt", a, dtype=dtype) if b == 0.5 else compute("mul", a, a if b == 2 else 1, dtype=dtype)
    return compute("pow", a, b, dtype=dtype)


def clamp(a: Any, *, min: Any, max: Any) -> Any:
    for name, bound in (("maximum", min), ("minimum", max)):
        if (min is None) != (max is None) and bound is not None:
            return compute(name, a, bound, dtype=a.dtype)
    return a if min is None else compute("clamp", a, min, max, dtype=a.dtype)


def compare(a: Any, b: Any, *, relation: str) -> Any:
    return compute(relation, a, b, dtype=np.bool_)


def where(condition: Any, a: Any, b: Any) -> Any:
    return compute("where", condition, a, b, dtype=_common(a, b))


def astype(x: Any, *, dtype: Any) -> Any:
    dtype = np.dtype(dtype)
    return x if x.dtype == dtype else compute("same", x, dtype=dtype)


def filled(like: Any, value: float, shape: Any) -> Any:
    """A contiguous array of one number."""
    out = memory.empty(tuple(like.shape if shape is None else shape), like.dtype)
    if out.size:
        _launch("same", 0.0, [value], out)
    return out


# --- activations


def activation(name: str, x: Any, parameter: float = 0.0) -> Any:
    """An activation of each element; integers give float64, but stay integers in `relu` and `relu6`."""
    stays = x.dtype.kind not in "iu" or name in ("relu", "relu6")
    if x.dtype.kind in "bc":
        raise TypeError(f"x must be of a real dtype, got {x.dtype}")
    return compute(name, x, parameter=parameter, dtype=x.dtype if stays else np.float64)


def _activation(name: str) -> Callable[[Any], Any]:
    return lambda x: activation(name, x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    return activation("leaky_relu", x, float(negative_slope))


def elu(x: Any, alpha: float = 1.0) -> Any:
    return activation("elu", x, float(alpha))


def gelu(x: Any, approximate: str = "none") -> Any:
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
    return activation("gelu" if approximate == "none" else "gelu_tanh", x)


ENTRIES: dict[str, Callable[..., Any]] = {
    **{name: _promoting(name) for name in ("add", "sub", "mul", "maximum", "minimum", "neg", "abs", "sign")},
    **{name: _floating(name) for name in ("div", "exp", "log", "sqrt", "sin", "cos")},
    **{name: _activation(name) for name in ("relu", "relu6", "sigmoid", "tanh", "silu", "hardswish")},
    "pow": pow, "clamp": clamp, "compare": compare, "where": where, "astype": astype, "leaky_relu": leaky_relu,
    "elu": elu, "gelu": gelu,
}  # fmt: skip
