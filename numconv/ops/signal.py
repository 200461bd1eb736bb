"""Convolution as signal processing means it: convolve and correlate arrays of any number of axes.

Both run on the public convolutions. What stands outside an array is named as in scipy.ndimage, which is not how
`conv2d` and `pad`, who follow PyTorch, name it:

    here                                     outside | inside | outside    numpy.pad    conv2d, pad
    "zeros", "constant", "fill"              0 0 0 | a b c d | 0 0 0       constant     zeros
    "reflect", "symmetric", "symm"           c b a | a b c d | d c b       symmetric    -
    "mirror"                                 d c b | a b c d | c b a       reflect      reflect
    "nearest", "replicate", "edge"           a a a | a b c d | d d d       edge         replicate
    "wrap", "circular"                       b c d | a b c d | a b c       wrap         circular
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from numconv.ops import convolution
from numconv.ops.convolution import as_array, common_dtype
from numconv.problem import Pairs, integer

__all__ = ["convolve", "correlate"]

MODES = ("full", "same", "valid")
_BOUNDARIES = {
    **dict.fromkeys(("zeros", "constant", "fill"), "constant"),
    **dict.fromkeys(("reflect", "symmetric", "symm"), "reflect"),
    "mirror": "mirror",
    **dict.fromkeys(("nearest", "replicate", "edge"), "nearest"),
    **dict.fromkeys(("wrap", "circular"), "wrap"),
}
_CONVOLUTIONS = {1: convolution.conv1d, 2: convolution.conv2d, 3: convolution.conv3d}


def convolve(
    a: Any, v: Any, mode: str = "full", axes: Any = None, *,
    boundary: str = "zeros", cval: Any = 0, precision: str = "default",
) -> np.ndarray:  # fmt: skip
    """Convolve two arrays as mathematics has it: result[i] = sum over k of a[i - k] v[k].

    Two one-dimensional arrays without `axes` give what `numpy.convolve` gives; everything else has the shapes and
    values of `scipy.signal.convolve` and `fftconvolve`.

    Parameters
    ----------
    a : array_like
        The signal, of any number of axes.
    v : array_like
        The kernel: one axis for each of `axes`, in their order; or as many axes as `a`, those not convolved
        broadcast against those of `a`. Either may be the longer one.
    mode : {"full", "same", "valid"}
        Every overlap; the middle of it, as large as `a` (of two one-dimensional arrays: as the longer one); or only
        where one lies within the other.
    axes : int or sequence of int, optional
        Axes of `a` to convolve along, the others being a batch; the last ones, as many as `v` has, where left out.
    boundary : str
        What stands outside `a`: "zeros" (or "constant", "fill"; `cval` there), "reflect" ("symmetric", "symm": the
        edge repeated), "mirror" (the edge not repeated), "nearest" ("replicate", "edge") or "wrap" ("circular").
        These are the names of scipy.ndimage. Without effect with mode "valid".
    cval : scalar
        What stands outside with boundary "zeros".
    precision : str
        As in `conv2d`.

    Returns
    -------
    numpy.ndarray
        Of the dtype that NumPy promotes `a` and `v` to. Integers are exact, and wrap as NumPy's do.

    Raises
    ------
    ValueError
        If an array is empty along an axis that is convolved, shapes or axes do not fit, an option has no meaning, or
        in mode "valid" neither array is at least as large as the other along every axis.
    TypeError
        If a dtype is not supported: bool and object are not.

    Notes
    -----
    Of two one-dimensional arrays the longer is the signal, so `boundary` goes for it, as NumPy exchanges them too.

    Examples
    --------
    >>> convolve([1, 2, 3], [0, 1, 0.5])
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    a, v = _operand("a", a), _operand("v", v)
    if _as_numpy(a, v, axes) and v.size > a.size > 0:
        a, v = v, a
    return _convolve(placed(a, v, axes), mode, boundary, cval, precision, conjugate=False)


def correlate(
    a: Any, v: Any, mode: str = "valid", axes: Any = None, *,
    boundary: str = "zeros", cval: Any = 0, precision: str = "default",
) -> np.ndarray:  # fmt: skip
    """Correlate two arrays: result[i] = sum over k of a[i + k] conj(v[k]).

    Two one-dimensional arrays without `axes` give what `numpy.correlate` gives; everything else has the shapes and
    values of `scipy.signal.correlate`. The default of `mode` is NumPy's in either case.

    Parameters
    ----------
    a, v, mode, axes, boundary, cval, precision
        As in `convolve`.

    Returns
    -------
    numpy.ndarray
        As of `convolve`.

    Raises
    ------
    ValueError, TypeError
        As `convolve`.

    Examples
    --------
    >>> correlate([1, 2, 3], [0, 1, 0.5], "same")
    array([2. , 3.5, 3. ])
    """
    a, v = _operand("a", a), _operand("v", v)
    if _as_numpy(a, v, axes) and v.size > a.size > 0:
        swapped = correlate(v, a, mode, boundary=boundary, cval=cval, precision=precision)
        return np.ascontiguousarray(_conj(swapped[::-1]))
    return _convolve(placed(a, v, axes), mode, boundary, cval, precision, conjugate=True)


def _operand(name: str, value: Any) -> np.ndarray:
    return np.atleast_1d(np.asarray(as_array(name, value)))


def _as_numpy(a: np.ndarray, v: np.ndarray, axes: Any) -> bool:
    return axes is None and a.ndim == v.ndim == 1


def _conj(array: np.ndarray) -> np.ndarray:
    return array.conj() if array.dtype.kind == "c" else array


class _Placed(NamedTuple):
    """Operands put together: `v` has the convolved axes alone, or with `batched` those of the batch before them."""

    a: np.ndarray
    v: np.ndarray
    axes: tuple[int, ...]
    batched: bool


def placed(a: np.ndarray, v: np.ndarray, axes: Any) -> _Placed:
    """Find the axes to convolve along, in ascending order."""
    shapes = f"a has shape {a.shape} and v has shape {v.shape}"
    if v.ndim > a.ndim:
        raise ValueError(f"v must have at most as many axes as a: {shapes}")
    if axes is None:
        found = tuple(range(a.ndim - v.ndim, a.ndim))
    else:
        given = [integer("axes", i) for i in (axes if isinstance(axes, Iterable) else (axes,))]
        if not given or not all(-a.ndim <= i < a.ndim for i in given):
            raise ValueError(f"axes must be one or more axes of a, from {-a.ndim} to {a.ndim - 1}, got {axes!r}")
        found = tuple(i % a.ndim for i in given)
        if len(set(found)) < len(found):
            raise ValueError(f"axes must name each axis once, got {axes!r}")
    if v.ndim not in (len(found), a.ndim):
        raise ValueError(
            f"v must have {len(found)} axes, one for each of axes={axes!r}, or all {a.ndim} of a: {shapes}"
        )
    batched = v.ndim > len(found)
    if v.ndim < a.ndim:
        v = v.transpose(np.argsort(found))
    found = tuple(sorted(found))
    if batched:
        batch = tuple(i for i in range(a.ndim) if i not in found)
        v = v.transpose(*batch, *found)
        outer = v.shape[: len(batch)]
        if all(n == 1 for n in outer):
            v, batched = v.reshape(v.shape[len(batch) :]), False
        else:
            try:
                both = np.broadcast_shapes(outer, tuple(a.shape[i] for i in batch))
            except ValueError:
                raise ValueError(f"v must broadcast against a along the axes not convolved: {shapes}") from None
            v = np.broadcast_to(v, both + v.shape[len(batch) :])
            shape = list(a.shape)
            for i, n in zip(batch, both):
                shape[i] = n
            a = np.broadcast_to(a, shape)
    for name, sizes in (("a", [a.shape[i] for i in found]), ("v", v.shape[-len(found) :])):
        if 0 in sizes:
            raise ValueError(f"{name} must have at least one element along each axis that is convolved: {shapes}")
    return _Placed(a, v, found, batched)


def _convolve(placed: _Placed, mode: str, boundary: str, cval: Any, precision: str, *, conjugate: bool) -> np.ndarray:
    """The convolution with v, or with `conjugate` the correlation."""
    a, v, axes, batched = placed
    dtype = common_dtype(a=a, v=v)
    ndim = len(axes)
    m, n = tuple(a.shape[i] for i in axes), v.shape[-ndim:]
    crop = _crop(m, n, mode)
    rule, fill = outside(boundary, cval, dtype)
    zeros = mode == "valid" or (rule == "constant" and fill == 0)
    if conjugate:
        v = _conj(_turned(v, ndim))

    # Batch axes before the convolved ones are a batch. Those after them stay where they are: merged with the last
    # convolved axis they are steps of a dilated kernel along it.
    swap = zeros and math.prod(n) > math.prod(m)  # the smaller operand slides: convolution commutes
    batch = [i for i in range(a.ndim) if i not in axes]
    behind = [] if swap or batched or ndim > 3 else [i for i in batch if i > axes[-1]]
    order = [*(i for i in batch if i not in behind), *axes, *behind]
    outer, inner = math.prod(a.shape[i] for i in batch if i not in behind), math.prod(a.shape[i] for i in behind)
    shape = [a.shape[i] for i in order]
    shape[len(batch) - len(behind) : len(shape) - len(behind)] = [length for _, length in crop]
    if 0 in shape:
        return np.empty([shape[order.index(i)] for i in range(a.ndim)], dtype)

    image = a.transpose(order).reshape(outer, *m, inner)
    kernel = v.reshape(-1, *n)
    if swap:
        image, kernel = kernel[..., None], image[..., 0]
    sizes, taps = image.shape[1:-1], kernel.shape[1:]
    pads = tuple((k - 1 - start, start + length - s) for (start, length), s, k in zip(crop, sizes, taps))
    if zeros:
        image = image[:, *(slice(max(-b, 0), s + min(e, 0)) for s, (b, e) in zip(sizes, pads))]
        pads = tuple((max(b, 0), max(e, 0)) for b, e in pads)
    else:
        image = extended(image, ((0, 0), *pads, (0, 0)), rule, fill, dtype)
        pads = ((0, 0),) * ndim
    image = image.reshape(*image.shape[:-2], -1)
    bank = swap or batched  # a kernel for each of the batch, which then are the channels
    result = _slide(
        image[None] if bank else image[:, None], _turned(kernel, ndim)[:, None], pads, inner, dtype, precision
    )
    return np.ascontiguousarray(result.reshape(shape).transpose(np.argsort(order)))


def _crop(m: Sequence[int], n: Sequence[int], mode: str) -> list[tuple[int, int]]:
    """(start, length) of what `mode` keeps of the full convolution, for each axis."""
    if mode == "full":
        return [(0, i + j - 1) for i, j in zip(m, n)]
    if mode == "same":
        return [((j - 1) // 2, i) for i, j in zip(m, n)]
    if mode != "valid":
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    if any(i < j for i, j in zip(m, n)) and any(i > j for i, j in zip(m, n)):
        raise ValueError(
            f"v must be at most as large as a along every axis, or at least, with mode='valid': a {m}, v {n}"
        )
    return [(min(i, j) - 1, abs(i - j) + 1) for i, j in zip(m, n)]


def _turned(kernel: np.ndarray, ndim: int) -> np.ndarray:
    turned: tuple[Any, ...] = (..., *(slice(None, None, -1),) * ndim)
    return kernel[turned]


def _slide(x: np.ndarray, weight: np.ndarray, pads: Pairs, step: int, dtype: np.dtype, precision: str) -> np.ndarray:
    """Correlate x (N, C, *spatial) with weight (O, 1, *kernel) in C groups, taps of the last axis `step` apart.

    Of more than three spatial axes the first ones are unrolled: their taps become channels.
    """
    groups, kernel = x.shape[1], weight.shape[2:]
    lead, ndim = max(len(kernel) - 3, 0), min(len(kernel), 3)
    batch: tuple[int, ...] = x.shape[:1]
    if lead:
        x = extended(x, ((0, 0), (0, 0), *pads[:lead], *((0, 0),) * ndim), "constant", dtype.type(0), dtype)
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel[:lead], tuple(range(2, 2 + lead)))
        batch += windows.shape[2 : 2 + lead]
        taps = tuple(range(windows.ndim - lead, windows.ndim))
        windows = np.moveaxis(np.moveaxis(windows, 1, 1 + lead), taps, range(2 + lead, 2 + 2 * lead))
        x = windows.reshape(math.prod(batch), -1, *x.shape[2 + lead :])
        weight = weight.reshape(weight.shape[0], -1, *kernel[lead:])
    padding = (*pads[lead:-1], (pads[-1][0] * step, pads[-1][1] * step))
    dilation = (1,) * (ndim - 1) + (step,)
    # Algorithms that multiply with the padding would spread NaN and Inf of the kernel, here an operand like the other.
    algorithm = "auto" if np.isfinite(weight).all() else "direct"
    result = _CONVOLUTIONS[ndim](
        x.astype(dtype, copy=False), weight.astype(dtype, copy=False), padding=padding, dilation=dilation,
        groups=groups, algorithm=algorithm, precision=precision,
    )  # fmt: skip
    return np.moveaxis(result.reshape(*batch, *result.shape[1:]), 1 + lead, 1) if lead else result


def outside(boundary: str, cval: Any, dtype: np.dtype) -> tuple[str, Any]:
    """(rule, what stands outside where the rule is "constant")."""
    if not isinstance(boundary, str) or boundary not in _BOUNDARIES:
        raise ValueError(f"boundary must be one of {list(_BOUNDARIES)}, got {boundary!r}")
    value = np.asarray(cval)
    if value.ndim or value.dtype.kind not in "iufcV" or (value.dtype.kind == "c" and dtype.kind != "c"):
        raise TypeError(f"cval must be a number of dtype {dtype}, got {cval!r}")
    if _BOUNDARIES[boundary] != "constant" and cval != 0:
        raise ValueError(f"cval must not be given with boundary={boundary!r}, got {cval!r}")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not limits.min <= cval <= limits.max or cval != int(cval):
            raise ValueError(f"cval must be a value of dtype {dtype}, got {cval!r}")
    return _BOUNDARIES[boundary], dtype.type(cval)


def extended(x: np.ndarray, pads: Pairs, rule: str, fill: Any, dtype: np.dtype) -> np.ndarray:
    """x with what stands outside of it, as a new array."""
    shape = [size + before + after for size, (before, after) in zip(x.shape, pads)]
    result = np.full(shape, fill, dtype) if rule == "constant" else np.empty(shape, dtype)
    result[tuple(slice(before, before + size) for size, (before, _) in zip(x.shape, pads))] = x
    if rule == "constant":
        return result
    for axis, (size, (before, after)) in enumerate(zip(x.shape, pads)):
        along = np.moveaxis(result, axis, 0)
        along[:before] = along[before + _source(np.arange(-before, 0), size, rule)]
        along[before + size :] = along[before + _source(np.arange(size, size + after), size, rule)]
    return result


def sources(size: int, before: int, after: int, rule: str) -> np.ndarray:
    """Which element of an axis each element stands for of the axis with so many put before and after it."""
    return _source(np.arange(-before, size + after), size, rule)


def _source(position: np.ndarray, size: int, rule: str) -> np.ndarray:
    """Which element of an axis stands at positions outside it."""
    if rule == "nearest":
        return position.clip(0, size - 1)
    if rule == "wrap":
        return position % size
    if rule == "reflect":
        position = position % (2 * size)
        return np.minimum(position, 2 * size - 1 - position)
    period = max(2 * (size - 1), 1)
    position = position % period
    return np.minimum(position, period - position) if size > 1 else position
