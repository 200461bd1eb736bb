"""What is there of the parts that a GPU needs: the package numba-cuda, the CUDA toolkit's libraries, driver, device."""

from __future__ import annotations

import functools
import importlib.util

import numpy as np


class MissingPart(RuntimeError):
    """Raised where the GPU is asked for and a part of what it needs is not there; the message names the part."""


@functools.cache
def load() -> None:
    """Import numba-cuda, so that `from numba import cuda` gives it in place of what Numba itself still holds.

    Raises
    ------
    MissingPart
        If numba-cuda or the toolkit's packages are not installed.
    """
    if importlib.util.find_spec("numba_cuda") is None:
        raise MissingPart("the package numba-cuda is not installed: pip install 'numconv[cuda]'")
    had = hasattr(np, "row_stack")
    if not had:  # NumPy 2.5 dropped it, and numba-cuda 0.30 names it while it is imported
        np.vstack = np.vstack
    try:
        from numba import cuda  # noqa: F401
        from numba.cuda.np import arrayobj  # noqa: F401
    except ImportError as error:
        raise MissingPart(f"the package numba-cuda cannot be imported ({error}): pip install 'numconv[cuda]'") from None
    finally:
        if not had:
            del np.vstack


def simulated() -> bool:
    """Whether Numba's simulator runs the kernels, as `NUMBA_ENABLE_CUDASIM=1` asks for. Needs `load`."""
    from numba.cuda.core import config

    return bool(config.ENABLE_CUDASIM)


@functools.cache
def missing() -> str:
    """Which part is missing, in a sentence; empty where kernels can run."""
    try:
        load()
    except MissingPart as error:
        return str(error)
    if simulated():
        return ""
    from numba import cuda
    from numba.cuda.cudadrv import nvvm

    broken = cuda.cuda_error()
    if broken is not None:
        return f"the NVIDIA driver cannot be used: {' '.join(str(broken).split())}"
    try:
        if len(cuda.gpus) == 0:
            return "the NVIDIA driver finds no GPU"
        nvvm.NVVM()
    except Exception as error:
        return f"the CUDA toolkit cannot be used ({error}): pip install 'numconv[cuda]'"
    return ""


def need() -> None:
    """Raise `MissingPart` unless kernels can run."""
    if reason := missing():
        raise MissingPart(f"there is no GPU to run on: {reason}")
