"""The launches of a problem, noted on a machine without a GPU."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

import numconv as nc
from numconv.kernels.cuda import launch, memory
from numconv.problem import conv_output_shape


def launches(operation, x_shape, weight_shape, dtype="float32", layout="first", algorithm="auto", **options):
    """What a convolution, or a gradient of one, launches; shapes are channels first."""
    if dtype == "bfloat16":
        import ml_dtypes

        dtype = ml_dtypes.bfloat16
    dtype = np.dtype(dtype)
    options |= {"algorithm": algorithm, "data_format": "channels_last" if layout == "last" else None}

    def shown(shape):
        return (shape[0], *shape[2:], shape[1]) if layout == "last" else shape

    function, weight = getattr(nc, operation), memory_like(weight_shape, dtype)
    grid = {name: options[name] for name in ("stride", "padding", "dilation") if name in options}
    with launch.recorded() as found:
        if not operation.endswith(("_input", "_weight")):
            function(memory_like(shown(x_shape), dtype), weight, **options)
            return found
        size = conv_output_shape(x_shape[2:], weight_shape[2:], **grid)
        gradient = memory_like(shown((x_shape[0], weight_shape[0], *size)), dtype)
        if operation.endswith("_input"):
            function(shown(x_shape), weight, gradient, **options)
        else:
            function(memory_like(shown(x_shape), dtype), weight_shape, gradient, **options)
    return found


def memory_like(shape, dtype):
    """An array that stands for one on a GPU."""
    return memory.SimulatedArray(np.empty(shape, dtype))
