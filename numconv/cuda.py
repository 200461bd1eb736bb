"""The GPU: whether there is one, and copies to and from it.

Every function that takes arrays takes those of a GPU, of Numba, CuPy, PyTorch or any other library that speaks
`__cuda_array_interface__`, and gives what it computes there, as arrays of the same library. Needs ``numconv[cuda]`` and
NVIDIA's driver; with ``NUMBA_ENABLE_CUDASIM=1`` Numba's simulator runs the kernels, slowly and on no GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.kernels.cuda import toolkit
from numconv.kernels.cuda.toolkit import MissingPart

__all__ = ["MissingPart", "info", "is_available", "synchronize", "to_device", "to_host"]


def is_available() -> bool:
    """Whether kernels can run on a GPU here, or in the simulator where `NUMBA_ENABLE_CUDASIM=1` asks for it."""
    return not toolkit.missing()


def to_device(x: Any) -> Any:
    """Copy an array to the current GPU.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    numba.cuda.cudadrv.devicearray.DeviceNDArray
        Contiguous, of the same shape and dtype.

    Raises
    ------
    MissingPart
        If there is no GPU, or a part of what it needs is missing, which the message names.
    TypeError
        If `x` is of a dtype that cannot be computed with.
    """
    from numconv.ops.convolution import as_array

    toolkit.need()
    from numconv.kernels.cuda import memory

    return memory.to_device(as_array("x", x))


def to_host(x: Any) -> np.ndarray:
    """Copy an array of a GPU to the host, and wait for it.

    Parameters
    ----------
    x : array on a GPU, or array_like

    Returns
    -------
    numpy.ndarray
    """
    from numconv.ops.device import on_gpu

    if not on_gpu(x):
        return np.asarray(x)
    toolkit.need()
    from numconv.kernels.cuda import memory
    from numconv.ops.cuda.borders import taking

    return taking(memory.to_host)(x)


def synchronize() -> None:
    """Wait until the current GPU has done all that it was given.

    Raises
    ------
    MissingPart
        If there is no GPU.
    """
    toolkit.need()
    from numba import cuda

    cuda.synchronize()


def info() -> dict[str, Any]:
    """What is there.

    Returns
    -------
    dict
        `available`; `missing`, which part is, in a sentence, or ""; `simulated`; and of a GPU `name`,
        `compute_capability`, `multiprocessors`, `memory` in bytes, `driver` and `numba_cuda`, the versions.
    """
    found: dict[str, Any] = {"available": is_available(), "missing": toolkit.missing(), "simulated": False}
    if not found["available"]:
        return found
    import numba_cuda
    from numba import cuda

    found |= {"numba_cuda": numba_cuda.__version__, "simulated": toolkit.simulated()}
    if not found["simulated"]:
        from numba.cuda.cudadrv.driver import driver

        device = cuda.current_context().device
        found |= {
            "name": device.name.decode() if isinstance(device.name, bytes) else device.name,
            "compute_capability": tuple(device.compute_capability),
            "multiprocessors": device.MULTIPROCESSOR_COUNT,
            "memory": cuda.current_context().get_memory_info().total,
            "driver": driver.get_version(),
        }
    return found
