"""Layers on a GPU: batch normalisation by running statistics, linear, softmax, resizing, shuffles."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.kernels.cuda import launch, memory
from numconv.ops.activation import parse
from numconv.ops.cuda import elementwise
from numconv.ops.cuda.borders import check_together
from numconv.ops.cuda.matrix import product
from numconv.ops.elementwise import channels_last
from numconv.ops.interpolation import check_mode, plan_axes
from numconv.ops.resampling import picture
from numconv.ops.taps import any_taps
from numconv.problem import integer

_norms, _softmaxes = kernels("batch_norm", "cuda"), kernels("softmax", "cuda")
_resizing, _responses = kernels("interpolation", "cuda"), kernels("local_response_norm", "cuda")


def _floats(name: str, x: Any) -> Any:
    """An array of floats, else an error: integers give float64."""
    if x.dtype.kind in "bc":
        raise TypeError(f"{name} must be of a real dtype, got {x.dtype}")
    return elementwise.astype(x, dtype=np.float64) if x.dtype.kind in "iu" else x


def _channel(x: Any, data_format: str | None) -> tuple[int, int]:
    """(channels, elements that follow each other in one channel) of a contiguous array."""
    if x.ndim < 2:
        raise ValueError(f"x must have at least 2 axes, got shape {tuple(x.shape)}")
    if channels_last(data_format, x.ndim - 2):
        return x.shape[x.ndim - 1], 1
    return x.shape[1], math.prod(x.shape[2:])


# --- normalisation


def batch_norm(
    x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5, *, data_format: str | None = None, activation: Any = None,
    residual: Any = None,
) -> Any:  # fmt: skip
    statistics = running_mean, running_var
    return batch_norm_statistics(
        x, weight, bias, *statistics, training, momentum, eps, data_format=data_format, activation=activation,
        residual=residual,
    )[0]  # fmt: skip


def batch_norm_statistics(
    x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, momentum: float, eps: float,
    *, data_format: str | None = None, activation: Any = None, residual: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """(the result, mean, scale and shift of each channel)."""
    if training:
        raise TypeError("batch_norm in training runs on the CPU only, and got an array on a GPU: call model.eval()")
    if running_mean is None or running_var is None:
        raise ValueError("running_mean and running_var must be given in evaluation, got None")
    vectors = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    check_together(x=x, residual=residual, **vectors)
    x = _floats("x", x)
    channels, _ = _channel(x, data_format)
    for name, vector in vectors.items():
        if vector is not None and tuple(vector.shape) != (channels,):
            raise ValueError(f"{name} must have shape {(channels,)}, got {tuple(vector.shape)}")
        if vector is not None and vector.dtype != running_mean.dtype:
            raise TypeError(f"{name} must be of running_mean's dtype {running_mean.dtype}, got {vector.dtype}")
    if residual is not None and (residual.shape != x.shape or residual.dtype != x.dtype):
        raise ValueError(
            f"residual must have x's shape and dtype, {tuple(x.shape)} and {x.dtype}, got {tuple(residual.shape)} "
            f"and {residual.dtype}"
        )
    given = [memory.contiguous(running_mean if v is None else v) for v in vectors.values()]
    work = np.float64 if x.dtype == np.float64 else np.float32
    coefficients = memory.empty((3 * channels,), work)
    kernel = _norms.coefficients(channels, float(eps), running_mean.dtype.name, weight is not None, bias is not None)
    kernel(launch.blocks(channels, _norms.THREADS), _norms.THREADS, *map(memory.flat, given), coefficients)
    return normalised(x, coefficients, data_format, activation, residual), coefficients


def normalised(x: Any, coefficients: Any, data_format: str | None, activation: Any, residual: Any) -> Any:
    """A contiguous array of an array, normalised by such coefficients."""
    x = memory.contiguous(x)
    residual = None if residual is None else memory.contiguous(residual)
    channels, length = _channel(x, data_format)
    after = residual is not None, *(parse(activation) or ("", 0.0))
    out = memory.empty(tuple(x.shape), x.dtype)
    width = _norms.WIDTH
    vector = (
        x.dtype.name in _norms.FOURFOLD and (channels if length == 1 else length) % width == 0 and memory.aligned(x)
    )
    vector = vector and (residual is None or memory.aligned(residual))
    kernel = _norms.normalise(channels, length, x.dtype.name, vector, x.size >= 1 << 31, *after)
    arrays = [x, coefficients, *([] if residual is None else [residual]), out]
    size = launch.blocks(x.size, _norms.THREADS * (width if vector else 1))
    kernel(size, _norms.THREADS, *map(memory.flat, arrays), x.size)
    return out


def local_response_norm(
    x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, data_format: str | None = None
) -> Any:
    if x.ndim < 3:
        raise ValueError(f"x must have at least 3 axes, got shape {tuple(x.shape)}")
    x = memory.contiguous(_floats("x", x))
    out = memory.empty(tuple(x.shape), x.dtype)
    if out.size:
        numbers = integer("size", size, 1), float(alpha), float(beta), float(k)
        wide = x.size * 2 >= 1 << 31  # an index plus half a window, which may be an image
        kernel = _responses.normalise(*_channel(x, data_format), *numbers, x.dtype.name, wide)
        threads = _responses.THREADS
        kernel(launch.blocks(x.size, threads), threads, memory.flat(x), memory.flat(out), x.size)
    return out


# --- linear


def linear(x: Any, weight: Any, bias: Any = None, activation: Any = None) -> Any:
    """activation(x @ weight.T + bias) over the last axis of x."""
    check_together(x=x, weight=weight, bias=bias)
    dtypes = {a.dtype for a in (x, weight, bias) if a is not None}
    if len(dtypes) > 1:
        raise TypeError(f"arrays on a GPU must be of one dtype, got {sorted(map(str, dtypes))}")
    if weight.ndim not in (1, 2):
        raise ValueError(f"weight must have shape (out, in) or (in,), got {tuple(weight.shape)}")
    features = weight.shape[weight.ndim - 1]
    if x.ndim < 1 or x.shape[x.ndim - 1] != features:
        raise ValueError(f"x must have weight's {features} entries along its last axis, got shape {tuple(x.shape)}")
    outputs = math.prod(weight.shape[:-1])
    shape = (*x.shape[:-1], *weight.shape[:-1])
    fused = bias is None or tuple(bias.shape) == (outputs,)
    parsed = parse(activation)
    out = memory.empty((math.prod(x.shape[:-1]), outputs), x.dtype)
    if out.size:
        rows = memory.reshape(memory.contiguous(x), (out.shape[0], features))
        matrix = memory.reshape(memory.contiguous(weight), (outputs, features))
        added = memory.contiguous(bias) if fused and bias is not None else None
        product(rows, matrix, out, transpose_b=True, bias=added, activation=activation if fused else None)
    result = memory.reshape(out, shape)
    if fused:
        return result
    result = elementwise.ENTRIES["add"](result, bias)
    if tuple(result.shape) != shape:
        raise ValueError(f"bias must broadcast to the result's shape {shape}, got {tuple(bias.shape)}")
    return result if parsed is None else elementwise.activation(parsed[0], result, parsed[1])


# --- softmax


def _softmax(log: bool) -> Callable[..., Any]:
    def function(x: Any, axis: int = -1, *, dim: int | None = None, dtype: Any = None) -> Any:
        if dim is not None and axis not in (-1, dim):
            raise ValueError(f"axis and dim are the same thing, got axis={axis} and dim={dim}")
        axis = integer("axis", axis if dim is None else dim)
        x = memory.contiguous(_floats("x", x if dtype is None else elementwise.astype(x, dtype=dtype)))
        if not -max(x.ndim, 1) <= axis < max(x.ndim, 1):
            raise ValueError(f"axis must be an axis of x, got {axis} for shape {tuple(x.shape)}")
        shape = tuple(x.shape) or (1,)
        axis %= len(shape)
        n, inner = shape[axis], math.prod(shape[axis + 1 :])
        out = memory.empty(tuple(x.shape), x.dtype)
        if not out.size:
            return out
        count, arrays = x.size // n, (memory.flat(x), memory.flat(out))
        if inner == 1 and n >= _softmaxes.LONG:
            _softmaxes.rows(log, x.dtype.name, n)(count, _softmaxes.THREADS, *arrays)
        else:
            kernel = _softmaxes.columns(log, x.dtype.name, n, inner)
            kernel(launch.blocks(count, _softmaxes.THREADS), _softmaxes.THREADS, *arrays, count)
        return out

    return function


# --- dropout


def dropout(x: Any, p: float = 0.5, training: bool = True, *, rng: Any = None) -> Any:
    if training and p != 0:
        raise TypeError("dropout in training runs on the CPU only, and got an array on a GPU: call model.eval()")
    if not 0 <= p <= 1:
        raise ValueError(f"p must be between 0 and 1, got {p!r}")
    return memory.copied(_floats("x", x))


# --- moves


@functools.lru_cache(maxsize=256)
def _taps(place: Any, mode: str, n: int, out: int, factor: Any, align: bool, antialias: bool, work: str) -> Any:
    """(taps of a position, indices, weights or None) of an axis, on a device and stream."""
    indices, weights = any_taps(mode, n, out, factor, align, antialias, np.dtype(work))
    weights = np.where(indices < 0, 0, weights)
    one = indices.shape[1] == 1 and bool(np.all(weights == 1))
    pool = kernels("pool", "cuda")
    with pool.lending(pool.shared):
        there = memory.to_device(np.maximum(indices, 0).astype(np.int32).reshape(-1))
        return len(weights[0]), there, None if one else memory.to_device(weights.astype(work).reshape(-1))


def interpolate(
    x: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None, antialias: bool = False, *, data_format: str | None = None,
) -> Any:  # fmt: skip
    """One axis after the other, as on the CPU."""
    if not check_mode(mode):
        x = _floats("x", x)
    shape = tuple(x.shape)
    plan = plan_axes(
        "x", shape, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias, data_format
    )
    y, work = memory.contiguous(x), "float64" if x.dtype == np.float64 else "float32"
    for n, out, factor, axis in plan:
        taps, indices, weights = _taps(memory.place(), mode, n, out, factor, bool(align_corners), antialias, work)
        target = memory.empty((*y.shape[:axis], out, *y.shape[axis + 1 :]), x.dtype)
        numbers = n, out, math.prod(y.shape[axis + 1 :])
        kernel: Any = _resizing.pick(*numbers)
        tables = [indices]
        if weights is not None:
            kernel, tables = _resizing.resize(*numbers, taps, x.dtype.name), [indices, weights]
        if target.size:
            size_in_blocks = launch.blocks(target.size, _resizing.THREADS)
            arrays = [memory.flat(y), *tables, memory.flat(target)]
            kernel(size_in_blocks, _resizing.THREADS, *arrays, target.size)
        y = target
    return memory.copied(y) if y is x else y


def pixel_shuffle(x: Any, upscale_factor: int, *, data_format: str | None = None) -> Any:
    r = integer("upscale_factor", upscale_factor, 1)
    last, batch, (c, h, w) = picture(x, data_format)
    if c % (r * r):
        raise ValueError(f"x must have a multiple of upscale_factor**2 = {r * r} channels, got shape {tuple(x.shape)}")
    c //= r * r
    parts = (h, w, c, r, r) if last else (c, r, r, h, w)
    return _rearranged(x, batch, parts, (0, 3, 1, 4, 2), (h * r, w * r, c) if last else (c, h * r, w * r))


def pixel_unshuffle(x: Any, downscale_factor: int, *, data_format: str | None = None) -> Any:
    r = integer("downscale_factor", downscale_factor, 1)
    last, batch, (c, h, w) = picture(x, data_format)
    if h % r or w % r:
        raise ValueError(f"x must have height and width that {r} divides, got shape {tuple(x.shape)}")
    h, w = h // r, w // r
    parts = (h, r, w, r, c) if last else (c, h, r, w, r)
    order = (0, 2, 4, 1, 3)
    return _rearranged(x, batch, parts, order, (h, w, c * r * r) if last else (c * r * r, h, w))


def channel_shuffle(x: Any, groups: int, *, data_format: str | None = None) -> Any:
    g, last = integer("groups", groups, 1), channels_last(data_format, x.ndim - 2)
    axis = x.ndim - 1 if last else 1
    if x.ndim < 3 or x.shape[axis] % g:
        raise ValueError(f"x must have at least 3 axes and channels that {g} groups divide, got {tuple(x.shape)}")
    head, tail = tuple(x.shape[:axis]), tuple(x.shape[axis + 1 :])
    parts = (g, x.shape[axis] // g, math.prod(tail))
    return _rearranged(x, head, parts, (1, 0, 2), (x.shape[axis], *tail))


def _rearranged(
    x: Any, batch: tuple[int, ...], parts: tuple[int, ...], order: tuple[int, ...], shape: tuple[int, ...]
) -> Any:
    """`x` with all after the batch seen as `parts`, their order changed, as a new array."""
    whole = memory.reshape(memory.contiguous(x), (math.prod(batch), *parts))
    moved = memory.transpose(whole, (0, *(1 + axis for axis in order)))
    return memory.reshape(memory.copied(moved), (*batch, *shape))


ENTRIES: dict[str, Callable[..., Any]] = {
    "batch_norm": batch_norm, "batch_norm_statistics": batch_norm_statistics, "linear": linear,
    "local_response_norm": local_response_norm, "softmax": _softmax(False), "log_softmax": _softmax(True),
    "dropout": dropout, "interpolate": interpolate, "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle, "channel_shuffle": channel_shuffle,
}  # fmt: skip
