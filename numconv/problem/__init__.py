"""Problems: what is asked of a kernel, with every argument normalised and checked.

A problem is frozen and hashable, holds shapes and options but no data, and is the only place where
arguments are judged: whatever leaves this package is consistent, and the kernels below trust it.
Errors name the argument, what came and what was expected.
"""

from numconv.problem.arguments import (
    ACTIVATIONS,
    FIRST,
    HALF,
    LAST,
    Pairs,
    accumulator_dtype,
    channel_axis,
    integer,
    join_shape,
    layout_of,
    pairs,
    parse_activation,
    per_axis,
    spatial_axes,
    split_shape,
    supported_dtype,
    with_batch,
)
from numconv.problem.common import remembered
from numconv.problem.convolution import ConvProblem
from numconv.problem.pooling import PoolProblem
from numconv.problem.receptive import receptive_field
from numconv.problem.sizes import (
    conv_output_shape,
    conv_padding,
    conv_transpose_output_shape,
    effective_kernel,
    window_output_size,
)

__all__ = [
    "ACTIVATIONS",
    "FIRST",
    "HALF",
    "LAST",
    "ConvProblem",
    "Pairs",
    "PoolProblem",
    "accumulator_dtype",
    "channel_axis",
    "conv_output_shape",
    "conv_padding",
    "conv_transpose_output_shape",
    "effective_kernel",
    "integer",
    "join_shape",
    "layout_of",
    "pairs",
    "parse_activation",
    "per_axis",
    "receptive_field",
    "remembered",
    "spatial_axes",
    "split_shape",
    "supported_dtype",
    "window_output_size",
    "with_batch",
]
