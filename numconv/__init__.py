"""numconv: convolution and pooling for NumPy arrays, with every kernel in Python compiled by Numba.

Importing it loads NumPy and nothing else; the first call of a kernel loads Numba.
"""

import importlib
from typing import Any

from numconv import cuda, kernels
from numconv.algorithm import (
    Algorithm,
    algorithms,
    using,
)
from numconv.drawing.draw import (
    Drawing,
    draw,
    draw_channels,
)
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
from numconv.ops.activation_gradients import (
    elu_input,
    gelu_input,
    hardswish_input,
    leaky_relu_input,
    log_softmax_input,
    relu6_input,
    relu_input,
    sigmoid_input,
    silu_input,
    softmax_input,
    tanh_input,
)
from numconv.ops.batch_norm import (
    batch_norm,
    batch_norm_gradients,
)
from numconv.ops.channels import (
    channel_sum,
)
from numconv.ops.choice import (
    explain,
    tune,
)
from numconv.ops.classification import (
    cross_entropy,
    cross_entropy_input,
    nll_loss,
    nll_loss_input,
)
from numconv.ops.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    plan,
    separable_conv2d,
)
from numconv.ops.convolution_gradients import (
    conv1d_input,
    conv1d_weight,
    conv2d_input,
    conv2d_weight,
    conv3d_input,
    conv3d_weight,
)
from numconv.ops.custom import register
from numconv.ops.dice import (
    dice_loss,
    dice_loss_input,
)
from numconv.ops.dropout import (
    dropout,
    dropout_input,
)
from numconv.ops.filtering import (
    filter,
    separate,
)
from numconv.ops.linear import (
    linear,
    linear_input,
    linear_weight,
)
from numconv.ops.loss import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_input,
    hinge_loss,
    hinge_loss_input,
    l1_loss,
    l1_loss_input,
    l1_penalty,
    l1_penalty_input,
    l2_penalty,
    l2_penalty_input,
    mse_loss,
    mse_loss_input,
    smooth_l1_loss,
    smooth_l1_loss_input,
)
from numconv.ops.matrix import (
    convolution_matrix,
)
from numconv.ops.normalisation import (
    group_norm,
    layer_norm,
    local_response_norm,
)
from numconv.ops.normalisation_gradients import (
    group_norm_gradients,
    layer_norm_gradients,
    local_response_norm_input,
)
from numconv.ops.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    global_avg_pool,
    global_max_pool,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
    weighted_avg_pool1d,
    weighted_avg_pool2d,
    weighted_avg_pool3d,
)
from numconv.ops.pooling_gradients import (
    adaptive_avg_pool1d_input,
    adaptive_avg_pool2d_input,
    adaptive_avg_pool3d_input,
    adaptive_max_pool1d_input,
    adaptive_max_pool2d_input,
    adaptive_max_pool3d_input,
    avg_pool1d_input,
    avg_pool2d_input,
    avg_pool3d_input,
    global_avg_pool_input,
    global_max_pool_input,
    lp_pool1d_input,
    lp_pool2d_input,
    lp_pool3d_input,
    max_pool1d_input,
    max_pool2d_input,
    max_pool3d_input,
    max_unpool1d_input,
    max_unpool2d_input,
    max_unpool3d_input,
    weighted_avg_pool1d_input,
    weighted_avg_pool2d_input,
    weighted_avg_pool3d_input,
)
from numconv.ops.resampling import (
    channel_shuffle,
    fold,
    interpolate,
    interpolate_input,
    pad,
    pad_input,
    pixel_shuffle,
    pixel_unshuffle,
    unfold,
)
from numconv.ops.signal import (
    convolve,
    correlate,
)
from numconv.options import (
    get_num_threads,
    options,
    set_num_threads,
)
from numconv.plan import (
    Plan,
)
from numconv.problem import (
    ConvProblem,
    PoolProblem,
    conv_output_shape,
    conv_transpose_output_shape,
    receptive_field,
)
from numconv.tracing import (
    Trace,
    from_environment,
    trace,
)

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`njit` loads Numba, and so is loaded when it is asked for."""
    if name == "njit":
        return importlib.import_module("numconv.njit")
    raise AttributeError(f"module 'numconv' has no attribute {name!r}")


__all__ = [
    "Algorithm",
    "ConvProblem",
    "Drawing",
    "Plan",
    "PoolProblem",
    "Trace",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_input",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_input",
    "adaptive_avg_pool3d",
    "adaptive_avg_pool3d_input",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_input",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_input",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_input",
    "algorithms",
    "avg_pool1d",
    "avg_pool1d_input",
    "avg_pool2d",
    "avg_pool2d_input",
    "avg_pool3d",
    "avg_pool3d_input",
    "batch_norm",
    "batch_norm_gradients",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_input",
    "channel_shuffle",
    "channel_sum",
    "conv1d",
    "conv1d_input",
    "conv1d_weight",
    "conv2d",
    "conv2d_input",
    "conv2d_weight",
    "conv3d",
    "conv3d_input",
    "conv3d_weight",
    "conv_output_shape",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "conv_transpose_output_shape",
    "convolution_matrix",
    "convolve",
    "correlate",
    "cross_entropy",
    "cross_entropy_input",
    "cuda",
    "dice_loss",
    "dice_loss_input",
    "draw",
    "draw_channels",
    "dropout",
    "dropout_input",
    "elu",
    "elu_input",
    "explain",
    "filter",
    "fold",
    "gelu",
    "gelu_input",
    "get_num_threads",
    "global_avg_pool",
    "global_avg_pool_input",
    "global_max_pool",
    "global_max_pool_input",
    "group_norm",
    "group_norm_gradients",
    "hardswish",
    "hardswish_input",
    "hinge_loss",
    "hinge_loss_input",
    "interpolate",
    "interpolate_input",
    "kernels",
    "l1_loss",
    "l1_loss_input",
    "l1_penalty",
    "l1_penalty_input",
    "l2_penalty",
    "l2_penalty_input",
    "layer_norm",
    "layer_norm_gradients",
    "leaky_relu",
    "leaky_relu_input",
    "linear",
    "linear_input",
    "linear_weight",
    "local_response_norm",
    "local_response_norm_input",
    "log_softmax",
    "log_softmax_input",
    "lp_pool1d",
    "lp_pool1d_input",
    "lp_pool2d",
    "lp_pool2d_input",
    "lp_pool3d",
    "lp_pool3d_input",
    "max_pool1d",
    "max_pool1d_input",
    "max_pool2d",
    "max_pool2d_input",
    "max_pool3d",
    "max_pool3d_input",
    "max_unpool1d",
    "max_unpool1d_input",
    "max_unpool2d",
    "max_unpool2d_input",
    "max_unpool3d",
    "max_unpool3d_input",
    "mse_loss",
    "mse_loss_input",
    "nll_loss",
    "nll_loss_input",
    "options",
    "pad",
    "pad_input",
    "pixel_shuffle",
    "pixel_unshuffle",
    "plan",
    "receptive_field",
    "register",
    "relu",
    "relu6",
    "relu6_input",
    "relu_input",
    "separable_conv2d",
    "separate",
    "set_num_threads",
    "sigmoid",
    "sigmoid_input",
    "silu",
    "silu_input",
    "smooth_l1_loss",
    "smooth_l1_loss_input",
    "softmax",
    "softmax_input",
    "tanh",
    "tanh_input",
    "trace",
    "tune",
    "unfold",
    "using",
    "weighted_avg_pool1d",
    "weighted_avg_pool1d_input",
    "weighted_avg_pool2d",
    "weighted_avg_pool2d_input",
    "weighted_avg_pool3d",
    "weighted_avg_pool3d_input",
]

from_environment()
