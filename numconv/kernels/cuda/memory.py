"""Arrays on the device: Numba's device arrays, made, viewed and copied; and what kernels get to see of them.

Here an array is a `DeviceNDArray`, in the simulator and while launches are recorded what Numba's simulator has for it.
Arrays of other libraries are wrapped without a copy (`wrap`). Kernels get flat windows (`flat`), 16-bit floats as
uint16, since Numba computes with neither of them as fast as with their bits.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
from numpy import int64, uint32, uint64

from numconv.kernels.cuda import launch, pool
from numconv.kernels.cuda import transpose as transpose_kernel
from numconv.kernels.cuda.simulated import SimulatedArray

Shape = tuple[int, ...]
HALF = ("float16", "bfloat16")
_BITS = np.dtype(np.uint16)
_THREADS = 256


@functools.cache
def array_type() -> Any:
    """The type of device arrays."""
    if launch.simulated:
        return FakeCUDAArray
    from numba.cuda.cudadrv.devicearray import DeviceNDArray

    return DeviceNDArray


def place() -> Any:
    """Where arrays are made now: tells devices and streams apart, and what stands in for them."""
    if launch.simulated or launch.recording():
        return launch.recording()
    return cuda.current_context().device.id, int(launch.stream.get())


def unowned(x: Any) -> Any:
    """The array without its hold on the memory, which goes back to its pool when the array itself is gone."""
    if isinstance(x, FakeCUDAArray):
        return x
    from numba.cuda.cudadrv import driver

    pointer = driver.MemoryPointer(x.gpu_data.context, driver.binding.CUdeviceptr(address(x)), x.gpu_data.size)
    return array_type()(x.shape, x.strides, x.dtype, x.stream, pointer)


def wrap(value: Any) -> Any:
    """An array of any library that speaks `__cuda_array_interface__`, as a device array of the same memory."""
    if isinstance(value, FakeCUDAArray):
        return value if isinstance(value, SimulatedArray) else SimulatedArray(value._ary)
    return value if isinstance(value, array_type()) else cuda.as_cuda_array(value, sync=False)


def empty(shape: Shape, dtype: Any) -> Any:
    """An uninitialised, contiguous array, allocated on the current stream."""
    if launch.simulated or launch.recording():
        return SimulatedArray(_poisoned(shape, np.dtype(dtype)))
    dtype = np.dtype(dtype)
    strides, size = contiguous_strides(shape, dtype.itemsize), math.prod(shape) * dtype.itemsize
    on = launch.stream.get()  # what is done with the array follows on its stream
    return array_type()(shape, strides, dtype, on, pool.lend(size, int(on)) if size else None)


def _poisoned(shape: Shape, dtype: np.dtype) -> np.ndarray:
    """NaN, or the largest integer: what is not written shows."""
    array = np.empty(shape, dtype)
    array.view(np.uint8).fill(0xFF) if array.size and array.ndim else None
    return array


def to_device(array: np.ndarray) -> Any:
    """A copy of a host array, contiguous, on the current stream."""
    array = np.array(array, order="C", copy=True)
    if launch.simulated or launch.recording():
        return SimulatedArray(array)
    out = empty(array.shape, array.dtype)
    if array.size:
        flat(out).copy_to_device(array.reshape(-1).view(flat(out).dtype), stream=launch.stream.get())
    return out


def to_host(x: Any) -> np.ndarray:
    """A copy on the host, contiguous; waits for it."""
    x = contiguous(x)
    if isinstance(x, FakeCUDAArray):
        return x._ary.copy()
    on = launch.stream.get()
    host = flat(x).copy_to_host(stream=on)
    if on:
        on.synchronize()
    return host.view(x.dtype).reshape(x.shape)


def is_contiguous(x: Any) -> bool:
    """Whether elements follow each other in memory as they are counted."""
    expected = x.dtype.itemsize
    for n, stride in zip(reversed(x.shape), reversed(x.strides)):
        if n != 1 and stride != expected:
            return x.size == 0
        expected *= n
    return True


def reshape(x: Any, shape: Shape) -> Any:
    """A contiguous array with another shape, in the same memory."""
    return _view(x, shape, contiguous_strides(shape, x.dtype.itemsize), x.dtype)


def transpose(x: Any, axes: tuple[int, ...]) -> Any:
    """A view with its axes in another order."""
    return _view(x, tuple(x.shape[a] for a in axes), tuple(x.strides[a] for a in axes), x.dtype)


def part(x: Any, axis: int, start: int, stop: int) -> Any:
    """The view of positions `start` to `stop` along an axis."""
    shape = (*x.shape[:axis], stop - start, *x.shape[axis + 1 :])
    return _view(x, shape, x.strides, x.dtype, start * x.strides[axis])


def indexed(x: Any, parts: tuple[Any, ...]) -> Any:
    """The view of an index of integers, slices, None and `...`: NumPy reckons, on strides that lie over no elements."""
    base = np.empty(1, x.dtype)
    view = np.lib.stride_tricks.as_strided(base, x.shape, x.strides)[parts if ... in parts else (*parts, ...)]
    offset = view.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    return _view(x, view.shape, view.strides, x.dtype, offset if view.size else 0)


def broadcast_to(x: Any, shape: Shape) -> Any:
    """A view of another shape, by NumPy's rules."""
    missing = len(shape) - x.ndim
    strides = (*(0,) * missing, *(s if n == m else 0 for n, m, s in zip(x.shape, shape[missing:], x.strides)))
    if missing < 0 or any(n not in (1, m) for n, m in zip(x.shape, shape[missing:])):
        raise ValueError(f"an array of shape {x.shape} cannot be broadcast to {shape}")
    return _view(x, shape, strides, x.dtype)


def contiguous_strides(shape: Shape, itemsize: int) -> Shape:
    """Strides in bytes of a contiguous array."""
    strides = [itemsize]
    for n in reversed(shape[1:]):
        strides.append(strides[-1] * max(n, 1))
    return tuple(reversed(strides[: len(shape)]))


def _view(x: Any, shape: Shape, strides: Shape, dtype: Any, offset: int = 0) -> Any:
    """Other eyes on the same memory, `offset` bytes from the first element."""
    if isinstance(x, FakeCUDAArray):
        base = x._ary if x.ndim else x._ary.reshape(1)
        if not math.prod(shape):
            return SimulatedArray(np.empty(shape, dtype))
        moved = np.lib.stride_tricks.as_strided(base.view(np.uint8), (1,), (1,)) if base.ndim == 0 else base
        window = _window(moved, offset, dtype)
        return SimulatedArray(np.lib.stride_tricks.as_strided(window, shape, strides))
    kind = array_type()
    if not math.prod(shape):
        return kind(shape, strides, dtype, x.stream)
    return kind(shape, strides, dtype, x.stream, _moved(x.gpu_data, offset, x) if offset else x.gpu_data)


def _window(array: np.ndarray, offset: int, dtype: Any) -> np.ndarray:
    """One element of a dtype, `offset` bytes from the array's first one."""
    address, size = array.__array_interface__["data"][0] + offset, np.dtype(dtype).itemsize
    window = SimpleNamespace(owner=array)
    window.__array_interface__ = {"data": (address, False), "shape": (size,), "typestr": "|u1", "version": 3}
    return np.asarray(window).view(dtype)


def _moved(memory: Any, offset: int, owner: Any) -> Any:
    """A pointer `offset` bytes further, which may be back; it keeps its owner alive."""
    from numba.cuda.cudadrv import driver

    pointer = driver.binding.CUdeviceptr(memory.device_pointer_value + offset)
    return driver.MemoryPointer(memory.context, pointer, memory.size - offset, owner=owner)


def flat(x: Any) -> Any:
    """A contiguous array in one dimension, 16-bit floats as their bits: what kernels get."""
    dtype = _BITS if x.dtype.name in HALF else x.dtype
    return _view(x, (x.size,), (dtype.itemsize,), dtype)


def seen_as(x: Any, dtype: Any) -> Any:
    """The memory of a contiguous array, such as workspace, in one dimension of another dtype."""
    dtype = np.dtype(dtype)
    return _view(x, (x.nbytes // dtype.itemsize,), (dtype.itemsize,), dtype)


def bits(x: Any) -> Any:
    """The array with 16-bit elements as uint16."""
    return _view(x, x.shape, x.strides, _BITS)


def copied(x: Any) -> Any:
    """A contiguous copy."""
    out = empty(x.shape, x.dtype)
    copy_into(out, x)
    return out


def overlap(a: Any, b: Any) -> bool:
    """Whether the spans of memory of two arrays meet."""
    if not a.size or not b.size:
        return False
    (a_first, a_end), (b_first, b_end) = _span(a), _span(b)
    return a_first < b_end and b_first < a_end


def _span(x: Any) -> tuple[int, int]:
    start = address(x)
    low = sum((n - 1) * s for n, s in zip(x.shape, x.strides) if s < 0)
    high = sum((n - 1) * s for n, s in zip(x.shape, x.strides) if s > 0)
    return start + low, start + high + x.dtype.itemsize


def aligned(x: Any, size: int = 16) -> bool:
    """Whether the first element lies at a multiple of `size` bytes, as accesses of that width need."""
    return address(x) % size == 0


def address(x: Any) -> int:
    """Where the first element lies."""
    if isinstance(x, FakeCUDAArray):
        return x._ary.__array_interface__["data"][0]
    return x.gpu_data.device_pointer_value or 0


def contiguous(x: Any) -> Any:
    """The array itself, or a copy whose elements follow each other from a multiple of 16 bytes on."""
    if is_contiguous(x) and (not x.size or aligned(x)):
        return x
    return copied(x)


def realigned(x: Any) -> Any:
    """The array itself, or a copy, contiguous from a multiple of 16 bytes on, as loads of 128 bits need it."""
    if is_contiguous(x) and not aligned(x):
        return copied(x)
    return contiguous(x)


def copy_into(out: Any, x: Any) -> None:
    """Write the elements of `x` into an array of its shape and dtype, whatever the strides of both."""
    if not out.size:
        return
    size = x.dtype.itemsize
    shape, x_strides, out_strides = merged(
        x.shape, tuple(s // size for s in x.strides), tuple(s // size for s in out.strides)
    )
    batch = transpose_kernel.matrices(list(zip(shape, x_strides, out_strides))) if x.dtype.kind != "c" else None
    if batch is not None:
        transpose_kernel.run(*batch, reach(x, 0), reach(out, 0))
        return
    x_low, out_low = _lowest(shape, x_strides), _lowest(shape, out_strides)
    given = _strided_copy(shape, x_strides, out_strides, -x_low, -out_low)
    given(launch.blocks(out.size, _THREADS), _THREADS, reach(x, x_low), reach(out, out_low))


def _lowest(shape: Shape, strides: Shape) -> int:
    """The offset of the element that lies first in memory."""
    return sum((n - 1) * s for n, s in zip(shape, strides) if s < 0)


def reach(x: Any, low: int) -> Any:
    """A flat window over all that an array with strides touches, from its lowest element on."""
    dtype = _BITS if x.dtype.name in HALF else x.dtype
    high = sum((n - 1) * s for n, s in zip(x.shape, x.strides) if s > 0) // dtype.itemsize
    return _view(x, (high - low + 1,), (dtype.itemsize,), dtype, low * dtype.itemsize)


def merged(shape: Shape, *strides: Shape) -> tuple[Shape, ...]:
    """Shape and strides with neighbouring axes joined where all arrays allow it."""
    axes = [axis for axis in zip(shape, *strides) if axis[0] != 1] or [(1, *(0 for _ in strides))]
    joined = [axes[0]]
    for axis in axes[1:]:
        last = joined[-1]
        if all(outer == inner * axis[0] for outer, inner in zip(last[1:], axis[1:])):
            joined[-1] = (last[0] * axis[0], *axis[1:])
        else:
            joined.append(axis)
    return tuple(zip(*joined))


@launch.kernel(threads=_THREADS)
def _strided_copy(shape: Shape, x_strides: Shape, out_strides: Shape, x_start: int, out_start: int) -> Any:
    """out[index] = x[index], an element a thread, with both sets of strides."""
    size, last = math.prod(shape), len(shape) - 1
    index = uint32 if size <= 1 << 31 else uint64

    def body(x, out):
        i = index(cuda.grid(1))
        if i < size:
            rest, source, target = i, x_start, out_start
            for axis in range(last, -1, -1):
                here = int64(rest % index(shape[axis]))
                rest = index(rest // index(shape[axis]))
                source += here * x_strides[axis]
                target += here * out_strides[axis]
            out[uint64(target)] = x[uint64(source)]

    return body
