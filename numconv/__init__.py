"""numconv: convolution and pooling for NumPy arrays, with every kernel in Python compiled by Numba.

Importing it loads NumPy and nothing else; the first call of a kernel loads Numba.
"""

from numconv import kernels
from numconv.algorithm import Algorithm, algorithms, register, using
from numconv.ops.activation import (
    elu,
    gelu,
    hardswish,
    leaky_relu,
    log_softmax,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    tanh,
)
from numconv.ops.convolution import (
    conv1d,
    conv1d_input,
    conv1d_weight,
    conv2d,
    conv2d_input,
    conv2d_weight,
    conv3d,
    conv3d_input,
    conv3d_weight,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    explain,
    plan,
    separable_conv2d,
)
from numconv.ops.filtering import filter, separate
from numconv.ops.linear import linear
from numconv.ops.matrix import convolution_matrix
from numconv.ops.normalisation import batch_norm, dropout, group_norm, layer_norm, local_response_norm
from numconv.ops.resampling import channel_shuffle, fold, interpolate, pad, pixel_shuffle, pixel_unshuffle, unfold
from numconv.ops.signal import convolve, correlate
from numconv.options import get_num_threads, options, set_num_threads
from numconv.plan import Plan
from numconv.problem import (
    ConvProblem,
    PoolProblem,
    conv_output_shape,
    conv_transpose_output_shape,
    receptive_field,
)

__version__ = "0.1.0"
