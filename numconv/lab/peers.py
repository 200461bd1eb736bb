"""The same problems by PyTorch, ONNX Runtime and SciPy, for a race: where they are installed and can."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from numconv.lab.timing import Contender
from numconv.options import get_num_threads
from numconv.problem import FIRST, LAST, ConvProblem, PoolProblem

PREPARED = ("ONNX Runtime",)  # who packs weights before the call
SCIPY_PAIRS, SCIPY_WORK = 64 * 64, 2e8  # channels, multiplications: beyond them it takes seconds
_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "hardswish": "HardSwish"}  # as ONNX has them


def peers(problem: Any, arrays: dict[str, np.ndarray]) -> list[Contender]:
    """Every installed peer's way, on as many threads as ours; results are counted as the problem's.

    Parameters
    ----------
    problem : ConvProblem or PoolProblem
    arrays : dict
        As `operands.Operands` has them.
    """
    ways: list[Any] = [torch_way, onnxruntime_way, scipy_way] if problem.dtype.name in ("float32", "float64") else []
    return [way for make in ways if (way := make(problem, arrays)) is not None]


def _installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) for name in names)


def torch_way(
    problem: Any,
    arrays: dict[str, np.ndarray],
    name: str = "PyTorch",
    upload: Callable[[np.ndarray], Any] | None = None,
    download: Callable[[Any], np.ndarray] = np.asarray,
) -> Contender | None:
    """PyTorch's functional call, on tensors in the problem's layout: those that `upload` makes."""
    if not _installed("torch"):
        return None
    import torch

    torch.set_num_threads(get_num_threads())
    upload = upload or torch.from_numpy
    last = problem.layout_out == LAST if isinstance(problem, ConvProblem) else problem.layout == LAST

    def tensor(name: str) -> Any:
        array = arrays[name]
        made = upload(np.moveaxis(array, -1, 1) if last and name in ("x", "residual", "grad") else array)
        formats = {4: torch.channels_last, 5: torch.channels_last_3d} if last and name == "weight" else {}
        return made.contiguous(memory_format=formats[array.ndim]) if array.ndim in formats else made

    def read(result: Any) -> np.ndarray:
        turned = last and not problem.operation.endswith("_weight")
        return np.moveaxis(download(result), 1, -1) if turned else download(result)

    make = _torch_convolution if isinstance(problem, ConvProblem) else _torch_pooling
    function = make(torch, problem, {name: tensor(name) for name in arrays if name != "indices"})
    if function is None:
        return None

    def call() -> Any:
        with torch.inference_mode():
            return function()

    return Contender(name, call, read=read)


def _torch_convolution(torch: Any, problem: ConvProblem, given: dict[str, Any]) -> Callable[[], Any] | None:
    geometry = _geometry(problem)
    if geometry is None:
        return None
    if problem.operation.endswith(("_input", "_weight")):
        image = torch.empty(problem.n, problem.ci, *problem.spatial, dtype=given["grad"].dtype)
        weight = torch.empty(problem.weight_shape, dtype=image.dtype)
        operands = given["grad"], given.get("x", image), given.get("weight", weight)
        return partial(torch_gradient, problem.direction, *operands, geometry)
    function = getattr(torch.nn.functional, problem.operation)
    activation = None if problem.activation is None else getattr(torch.nn.functional, problem.activation[0])
    parameter = problem.activation[1:] if problem.activation and problem.activation[0] in ("leaky_relu", "elu") else ()
    residual, operands = given.get("residual"), (given["x"], given["weight"], given.get("bias"))

    def call() -> Any:
        y = function(*operands, **geometry)
        y = y if residual is None else y + residual
        return y if activation is None else activation(y, *parameter)

    return call


def _geometry(problem: ConvProblem) -> dict[str, Any] | None:
    """The options as PyTorch takes them; None where it has none such."""
    if any(before != after for before, after in problem.padding):
        return None
    options: dict[str, Any] = {
        "stride": problem.stride, "padding": tuple(before for before, _ in problem.padding),
        "dilation": problem.dilation, "groups": problem.groups,
    }  # fmt: skip
    if "transpose" in problem.operation:
        options["output_padding"] = output_padding(problem)
    return options


def output_padding(problem: ConvProblem) -> tuple[int, ...]:
    """By how much a transposed convolution's result is longer than it must be."""
    return tuple(
        size - ((n - 1) * s - b - a + d * (k - 1) + 1)
        for size, n, s, (b, a), d, k in zip(
            problem.spatial, problem.out_spatial, problem.stride, problem.padding, problem.dilation, problem.kernel
        )
    )


def torch_gradient(direction: str, grad: Any, x: Any, weight: Any, options: dict[str, Any]) -> Any:
    """PyTorch's gradient of a convolution, the one that `direction` names, "input" or "weight", and no other."""
    import torch

    place = ("input", "weight").index(direction)
    none = (0,) * len(options["stride"])
    geometry = options["stride"], options["padding"], options["dilation"], False, none, options["groups"]
    mask = [place == 0, place == 1, False]
    return torch.ops.aten.convolution_backward(grad, x, weight, None, *geometry, mask)[place]


def torch_gradients(
    direction: str, x: np.ndarray, weight: np.ndarray, grad: np.ndarray, options: dict[str, Any]
) -> list[Contender]:
    """PyTorch's gradient of a 2-D convolution of channels-first arrays, in both memory formats."""
    import torch

    torch.set_num_threads(get_num_threads())

    def way(name: str, memory_format: Any) -> Contender:
        output, image, kernel = (torch.from_numpy(array).to(memory_format=memory_format) for array in (grad, x, weight))
        function = partial(torch_gradient, direction, output, image, kernel, options)

        def call() -> Any:
            with torch.inference_mode():
                return function()

        return Contender(f"PyTorch {name}", call)

    return [way("NCHW", torch.contiguous_format), way("NHWC", torch.channels_last)]


def _torch_pooling(torch: Any, problem: PoolProblem, given: dict[str, Any]) -> Callable[[], Any] | None:
    """Forward poolings; windows that are whole images are reductions."""
    name, x = problem.operation, given.get("x")
    if problem.backward or x is None or "unpool" in name or name.startswith("weighted"):
        return None
    if problem.adaptive:
        whole = [2 + i for i, (k, n) in enumerate(zip(problem.kernel, problem.spatial)) if k == n > 1]
        if problem.out_spatial != tuple(1 if 2 + i in whole else n for i, n in enumerate(problem.spatial)):
            return None
        reduce = torch.amax if "max" in name else torch.mean
        return partial(reduce, x, whole, keepdim=True)
    pads = tuple(before for before, _ in problem.padding)
    if any(b != a or b > k // 2 for (b, a), k in zip(problem.padding, problem.kernel)):
        return None
    functions = torch.nn.functional
    windows = x, problem.kernel, problem.stride
    if name.startswith("max"):
        function = partial(getattr(functions, name), *windows, pads, problem.dilation)
    elif name.startswith("avg") and set(problem.dilation) == {1}:
        more = (problem.divisor_override,) if len(problem.kernel) > 1 else ()
        function = partial(getattr(functions, name), *windows, pads, False, problem.count_include_pad, *more)
    else:
        return None
    return function if tuple(function().shape[2:]) == problem.out_spatial else None


def onnxruntime_way(problem: Any, arrays: dict[str, np.ndarray]) -> Contender | None:
    """ONNX Runtime on a model of one node, and one for the activation, whose weights it packs beforehand."""
    if not _installed("onnxruntime", "onnx"):
        return None
    nodes = _onnx_convolution(problem) if isinstance(problem, ConvProblem) else _onnx_pooling(problem)
    if nodes is None or problem.dtype != np.float32:
        return None
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    made = [helper.make_node(kind, inputs, [out], **options) for kind, inputs, out, options in nodes]
    weights = [numpy_helper.from_array(arrays[name], name) for name in ("weight", "bias") if name in arrays]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, arrays["x"].shape)
    result = helper.make_tensor_value_info(nodes[-1][2], TensorProto.FLOAT, [None] * arrays["x"].ndim)
    graph = helper.make_graph(made, "race", [image], [result], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = get_num_threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, ["CPUExecutionProvider"])
    feed = {"x": np.ascontiguousarray(arrays["x"])}
    return Contender("ONNX Runtime", lambda: session.run(None, feed)[0])


_Nodes = list[tuple[str, list[str], str, dict[str, Any]]]  # kind, inputs, output, attributes


def _onnx_convolution(problem: ConvProblem) -> _Nodes | None:
    name, _ = problem.activation or ("", 0.0)
    gradient = problem.operation.endswith(("_input", "_weight"))
    if gradient or problem.residual or LAST in (problem.layout_in, problem.layout_out):
        return None
    if problem.activation and name not in _ACTIVATIONS:
        return None
    attributes: dict[str, Any] = {
        "strides": problem.stride, "dilations": problem.dilation, "group": problem.groups,
        "pads": [b for b, _ in problem.padding] + [a for _, a in problem.padding],
    }  # fmt: skip
    if "transpose" in problem.operation:
        attributes["output_padding"] = output_padding(problem)
    kind = "ConvTranspose" if "transpose" in problem.operation else "Conv"
    inputs = ["x", "weight", "bias"] if problem.bias else ["x", "weight"]
    nodes: _Nodes = [(kind, inputs, "y", attributes)]
    return [*nodes, (_ACTIVATIONS[name], ["y"], "z", {})] if name else nodes


def _onnx_pooling(problem: PoolProblem) -> _Nodes | None:
    kind = {"max_pool": "MaxPool", "avg_pool": "AveragePool"}.get(problem.operation.rstrip("d").rstrip("123"))
    if kind is None or problem.layout != FIRST or problem.divisor_override is not None:
        return None
    fits = tuple(
        (n + b + a - d * (k - 1) - 1) // s + 1
        for n, k, s, (b, a), d in zip(
            problem.spatial, problem.kernel, problem.stride, problem.padding, problem.dilation
        )
    )
    if fits != problem.out_spatial or (kind == "AveragePool" and set(problem.dilation) != {1}):
        return None
    attributes: dict[str, Any] = {
        "kernel_shape": problem.kernel, "strides": problem.stride,
        "pads": [b for b, _ in problem.padding] + [a for _, a in problem.padding],
    }  # fmt: skip
    if kind == "MaxPool":
        attributes["dilations"] = problem.dilation
    else:
        attributes["count_include_pad"] = int(problem.count_include_pad)
    return [(kind, ["x"], "y", attributes)]


def scipy_way(problem: Any, arrays: dict[str, np.ndarray]) -> Contender | None:
    """SciPy correlates one output channel after another: of small convolutions that step by one."""
    if not isinstance(problem, ConvProblem) or problem.direction != "forward" or not _installed("scipy"):
        return None
    plain = problem.groups == 1 and {*problem.stride, *problem.dilation} == {1} and problem.layout_out == FIRST
    bare = not (problem.bias or problem.residual or problem.activation) and problem.layout_in == FIRST
    if not plain or not bare or problem.multiply_adds > SCIPY_WORK:
        return None
    if problem.ci * problem.co > SCIPY_PAIRS or math.prod(problem.out_spatial) == 0:
        return None
    from scipy import signal

    def call() -> np.ndarray:
        padded = np.pad(arrays["x"], ((0, 0), (0, 0), *problem.padding))
        rows = [[signal.correlate(image, kernel, "valid")[0] for kernel in arrays["weight"]] for image in padded]
        return np.array(rows)

    return Contender("SciPy", call)
