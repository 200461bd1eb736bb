"""Where arrays of other libraries come in and results go out again: without a copy, on their device and stream.

An argument may be a device array of Numba, CuPy or PyTorch, or anything that speaks `__cuda_array_interface__`. Within
a call all are Numba's device arrays; a result is of the kind of the first argument that is on a device.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numconv.kernels.cuda import launch, memory, toolkit
from numconv.ops.device import on_gpu


def taking(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of Numba's device arrays as one of arrays of any library."""

    @functools.wraps(function)
    def call(*operands: Any, **options: Any) -> Any:
        if launch.simulated or launch.recording():  # there are no other libraries' arrays
            return function(*operands, **options)
        first = next((v for v in (*operands, *options.values()) if on_gpu(v)), None)
        with _place(first):
            given = [_inside(v) for v in operands]
            result = function(*given, **{name: _inside(v) for name, v in options.items()})
            return _outside(result, first, options.get("out"))

    return call


def taken(value: Any) -> Any:
    """An array of any library as one of Numba's, of the same memory."""
    if launch.simulated or launch.recording():
        return memory.wrap(value)
    with _place(value):
        return _inside(value)


def check_together(**arrays: Any) -> None:
    """An error where some arrays are on the host and others on a GPU, or on several GPUs.

    Raises
    ------
    TypeError, ValueError
    """
    there = {name: v for name, v in arrays.items() if v is not None and on_gpu(v)}
    here = [name for name, v in arrays.items() if v is not None and name not in there]
    if there and here:
        raise TypeError(
            f"arrays must be all on the host or all on one GPU: {_listed(there)} on a GPU, {_listed(here)} on the "
            "host: copy with numconv.cuda.to_device or to_host"
        )
    devices = {name: _device(v) for name, v in there.items()}
    if len(set(devices.values())) > 1:
        raise ValueError(f"arrays must be on one GPU, got {devices}")


def _listed(names: Any) -> str:
    *rest, last = names
    return f"{', '.join(rest)} and {last} are" if rest else f"{last} is"


def _inside(value: Any) -> Any:
    """An argument as Numba's device array, if it is an array on a GPU."""
    if type(value) is memory.array_type() or not on_gpu(value):
        return value
    array = memory.wrap(value)
    if array.dtype == np.dtype("V2"):  # what PyTorch says of bfloat16
        import ml_dtypes

        array.dtype = np.dtype(ml_dtypes.bfloat16)
    return array


def _outside(result: Any, like: Any, out: Any) -> Any:
    """A result in the library of an argument; `out` itself where it was given."""
    if out is not None:
        return out
    if isinstance(result, (tuple, list)):
        return type(result)(_outside(r, like, None) for r in result)
    library = type(like).__module__.partition(".")[0]
    if not isinstance(result, memory.array_type()) or isinstance(like, memory.array_type()):
        return result
    result = result.bind(0)  # it is given on the library's own stream: there is nothing to wait for
    if library == "torch":
        torch = sys.modules["torch"]
        half = result.dtype.name == "bfloat16"
        tensor = torch.as_tensor(memory.bits(result) if half else result, device=like.device)
        return tensor.view(torch.bfloat16) if half else tensor
    if library == "cupy":
        return sys.modules["cupy"].asarray(result)
    return result


def _device(value: Any) -> int:
    """The number of the device that an array is on."""
    if isinstance(value, memory.FakeCUDAArray):
        return 0
    library = type(value).__module__.partition(".")[0]
    if library == "torch":
        return int(value.device.index)
    if library == "cupy":
        return int(value.device.id)
    if isinstance(value, memory.array_type()):
        return int(value.gpu_data.context.device.id)
    from numba import cuda

    return int(cuda.current_context().device.id)


@contextlib.contextmanager
def _place(value: Any) -> Iterator[None]:
    """Run on the device of an array and on the current stream of its library."""
    toolkit.need()
    from numba import cuda

    with cuda.gpus[_device(value)], launch.on(_stream(value)):
        yield


def _stream(value: Any) -> Any:
    library = type(value).__module__.partition(".")[0]
    address = 0
    if library == "torch":
        address = sys.modules["torch"].cuda.current_stream(value.device).cuda_stream
    elif library == "cupy":
        address = sys.modules["cupy"].cuda.get_current_stream().ptr
    else:
        stream = value.stream if isinstance(value, memory.array_type()) else None
        return stream or launch.stream.get()
    return _external(address) if address else 0


@functools.cache
def _external(address: int) -> Any:
    from numba import cuda

    return cuda.external_stream(address)
