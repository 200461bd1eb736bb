"""The same convolution by PyTorch and ONNX Runtime, for a race; each only where it is installed."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from numconv.lab.timing import Contender
from numconv.options import get_num_threads


def peers(operation: str, x: np.ndarray, weight: np.ndarray, options: dict[str, Any]) -> list[Contender]:
    """Every installed peer's way of `operation` on channels-first arrays, on as many threads as ours.

    Parameters
    ----------
    operation : str
        `conv{n}d` or `conv_transpose{n}d`.
    x, weight : numpy.ndarray
    options : dict
        stride, padding, dilation and output_padding as tuples of integers, groups.
    """
    found = []
    if importlib.util.find_spec("torch"):
        found.append(torch_way(operation, x, weight, options))
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        found.append(onnxruntime_way(operation, x, weight, options))
    return found


def torch_way(operation: str, x: np.ndarray, weight: np.ndarray, options: dict[str, Any]) -> Contender:
    """PyTorch's functional call."""
    import torch

    torch.set_num_threads(get_num_threads())
    function = getattr(torch.nn.functional, operation)
    tensors = torch.from_numpy(x), torch.from_numpy(weight)

    def call() -> Any:
        with torch.inference_mode():
            return function(*tensors, **options)

    return Contender("PyTorch", call)


def torch_gradients(
    direction: str, x: np.ndarray, weight: np.ndarray, grad: np.ndarray, options: dict[str, Any]
) -> list[Contender]:
    """PyTorch's gradient of a 2-D convolution in both memory formats.

    Parameters
    ----------
    direction : str
        "input" or "weight": the only gradient that is asked for.
    x, weight, grad : numpy.ndarray
        Channels first.
    options : dict
        stride, padding, dilation and groups.
    """
    import torch

    torch.set_num_threads(get_num_threads())
    place = ("input", "weight").index(direction)
    geometry = options["stride"], options["padding"], options["dilation"], False, (0, 0), options["groups"]
    mask = [place == 0, place == 1, False]

    def way(name: str, memory_format: Any) -> Contender:
        tensors = [torch.from_numpy(a).to(memory_format=memory_format) for a in (grad, x, weight)]

        def call() -> Any:
            with torch.inference_mode():
                return torch.ops.aten.convolution_backward(*tensors, None, *geometry, mask)[place]

        return Contender(f"PyTorch {name}", call)

    return [way("NCHW", torch.contiguous_format), way("NHWC", torch.channels_last)]


def onnxruntime_way(operation: str, x: np.ndarray, weight: np.ndarray, options: dict[str, Any]) -> Contender:
    """ONNX Runtime on a model of one node, whose weights it packs beforehand."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    attributes = {
        "strides": options["stride"],
        "pads": (*options["padding"], *options["padding"]),
        "dilations": options["dilation"],
        "group": options["groups"],
    }
    if "output_padding" in options:
        attributes["output_padding"] = options["output_padding"]
    node = helper.make_node("ConvTranspose" if "transpose" in operation else "Conv", ["x", "w"], ["y"], **attributes)
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * x.ndim)
    graph = helper.make_graph([node], "conv", [image], [result], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = get_num_threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, ["CPUExecutionProvider"])
    return Contender("ONNX Runtime", lambda: session.run(None, {"x": x})[0])
