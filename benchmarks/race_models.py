"""Race frozen models against ONNX Runtime on the same model: batch 1, each contender in a process of its own, in turn.

    python benchmarks/race_models.py [--models resnet50 mobilenet_v2 vgg16] [--rounds 7] [--threads 2]

Needs onnx and onnxruntime. A ratio below 1 means that numconv is faster.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from numconv.lab.timing import Contender, Crew, race_apart

MODELS = ("resnet50", "mobilenet_v2", "vgg16")
BOUNDS = {"zero": np.float32(0), "six": np.float32(6)}
TOLERANCE = 1e-4  # of the largest output


def picture() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)


def seeded(name: str) -> Any:
    """The model in eval mode; the same in every process."""
    from numconv import models
    from numconv.nn import init

    init.seed(0)
    return models.get(name).eval()


def frozen_ways(name: str, path: str, threads: int) -> list[Contender]:
    """Our frozen model."""
    import numconv as nc
    from numconv import nn

    nc.set_num_threads(threads)
    x = picture()
    frozen = nn.freeze(seeded(name), x)
    return [Contender("numconv", lambda: frozen(x))]


def onnxruntime_ways(name: str, path: str, threads: int) -> list[Contender]:
    """ONNX Runtime, all its optimisations on."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: picture()}
    return [Contender("ONNX Runtime", lambda: session.run(None, feed)[0])]


def to_onnx(name: str, path: Path) -> np.ndarray:
    """Write the model as ONNX; gives what it computes unfrozen."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from numconv.autograd import Tensor, no_grad
    from numconv.graph import sized, trace

    model, x = seeded(name), picture()
    graph, _ = trace(model, [x])
    nodes = [_onnx_node(node, graph, helper) for node in graph.nodes]
    made = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info(graph.inputs[0], TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info(graph.outputs[0], TensorProto.FLOAT, sized(graph.shapes[graph.outputs[0]], 1))],
        [numpy_helper.from_array(np.asarray(w, order="C"), n) for n, w in (dict(graph.weights) | BOUNDS).items()],
    )  # fmt: skip
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    with no_grad():
        return model(Tensor(x)).numpy()


def _onnx_node(node: Any, graph: Any, helper: Any) -> Any:
    """One operation of these three models in ONNX's words."""
    attributes, inputs, output = node.attributes, [i for i in node.inputs if i is not None], [node.output]

    def pair(value: Any) -> list[int]:
        return [value, value] if isinstance(value, int) else list(value)

    def make(kind: str, names: list[str], **options: Any) -> Any:
        return helper.make_node(kind, names, output, **options)

    makers: dict[str, Callable[[], Any]] = {
        "conv2d": lambda: make(
            "Conv", inputs, strides=pair(attributes["stride"]), pads=pair(attributes["padding"]) * 2,
            dilations=pair(attributes["dilation"]), group=attributes["groups"],
        ),
        "batch_norm": lambda: make(
            "BatchNormalization", [inputs[0], *inputs[3:5], *inputs[1:3]], epsilon=attributes["eps"]
        ),
        "relu": lambda: make("Relu", inputs),
        "relu6": lambda: make("Clip", [inputs[0], "zero", "six"]),
        "add": lambda: make("Add", inputs),
        "max_pool2d": lambda: make(
            "MaxPool", inputs, kernel_shape=pair(attributes["kernel_size"]), strides=pair(attributes["stride"]),
            pads=pair(attributes["padding"]) * 2,
        ),
        "reshape": lambda: make("Flatten", inputs),
        "linear": lambda: make("Gemm", inputs, transB=1),
        "adaptive_avg_pool2d": lambda: make("GlobalAveragePool", inputs)
        if set(pair(attributes["output_size"])) == {1} else make("Identity", inputs),
    }  # fmt: skip
    return makers[node.operation]()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    print(f"{'model':16}{'numconv':>12}{'ONNX Runtime':>16}{'ratio':>9}{'error':>10}")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        crews = [
            stack.enter_context(Crew("numconv", frozen_ways, ours=True)),
            stack.enter_context(Crew("ONNX Runtime", onnxruntime_ways)),
        ]
        for name in given.models:
            path = Path(folder) / f"{name}.onnx"
            expected = to_onnx(name, path)
            task, scale = (name, str(path), given.threads), float(np.abs(expected).max())
            ours, peer = race_apart(crews, task, expected, scale, tolerance=TOLERANCE, rounds=given.rounds, budget=0.3)
            ratio = ours.seconds / peer.seconds
            print(
                f"{name:16}{ours.seconds * 1e3:9.2f} ms{peer.seconds * 1e3:13.2f} ms{ratio:9.2f}{ours.error:10.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
