"""How operations run on arrays that are known beforehand: each a function of no arguments that fills its results.

A step that does nothing but launch kernels tells which (`launches`), after it has run, so that the executor can chain
them with those of its neighbours.

What has no entry here runs as on the tape, and its result is copied to where it belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from numconv.algorithm import kernels, select
from numconv.autograd.operations import TABLE
from numconv.graph.fuse import activation_of
from numconv.graph.graph import Node
from numconv.graph.plans import PLANNED
from numconv.kernels.cpu.replay import Launch, Replay, noting, replay
from numconv.ops import activation as activations
from numconv.ops.elementwise import NATIVE
from numconv.ops.pooling_call import pool_problem
from numconv.plan import Bound

Step = Callable[[], Any]
Memory = Callable[[int], np.ndarray]  # workspace of so many bytes

_UFUNCS: dict[str, np.ufunc] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide, "pow": np.power,
    "maximum": np.maximum, "minimum": np.minimum, "neg": np.negative, "exp": np.exp, "log": np.log, "sqrt": np.sqrt,
    "sin": np.sin, "cos": np.cos, "abs": np.absolute,
}  # fmt: skip
_ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "gelu", "sigmoid", "tanh", "silu", "hardswish")
_IN_KERNELS = ("relu", "relu6", "leaky_relu", "hardswish")
_POOLS = ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "global_avg_pool", "global_max_pool")
IN_PLACE = (*_UFUNCS, *_ACTIVATIONS)  # whose result may lie where an operand does


def bound(node: Node, inputs: Sequence[Any], outputs: Sequence[np.ndarray | None]) -> Step:
    """What runs a node on these arrays; results that nothing reads are None."""
    maker = _MAKERS.get(node.operation)
    if maker is None and node.operation.rstrip("123d").rstrip("_") in _POOLS:
        maker = _pool
    step = None if maker is None else maker(node, inputs, *outputs)
    return step or _general(node, inputs, outputs)


def launches(step: Step, memory: Memory) -> list[Launch] | None:
    """The kernels that a step launches, where that is known and all that it does."""
    return step.launches(memory) if isinstance(step, (Bound, _Launching)) else None


class _Launching:
    """A function that does nothing but launch kernels on these operands."""

    def __init__(self, function: Callable[[], Any], *operands: np.ndarray | None) -> None:
        self._function = function
        unlike = {a.__array_interface__["data"]: a for a in operands if a is not None}  # a result may lie in an operand
        self._operands = tuple(unlike.values())
        self._noted = False
        self._replay: Replay | None = None

    def __call__(self) -> None:
        if self._noted:
            self._function()
            return
        with noting() as noted:
            self._function()
        again = replay(noted, self._operands, ())
        self._replay, self._noted = again and again[0], True

    def launches(self, memory: Memory) -> list[Launch] | None:
        return None if self._replay is None else self._replay.launches(*self._operands, None)


def _general(node: Node, inputs: Sequence[Any], outputs: Sequence[np.ndarray | None]) -> Step:
    forward = TABLE[node.operation].forward

    def step() -> None:
        result = forward(*inputs, **node.attributes)
        for out, array in zip(outputs, result if isinstance(result, tuple) else (result,)):
            if out is not None:
                np.copyto(out, array, casting="same_kind")

    return step


def _plan(node: Node, inputs: Sequence[np.ndarray], out: np.ndarray) -> Step:
    return node.attributes["plan"].bind(inputs[0], out, *inputs[1:])


def _ufunc(node: Node, inputs: Sequence[Any], out: np.ndarray) -> Step | None:
    if np.result_type(*inputs) != out.dtype:
        return None
    if node.operation == "add" and out.dtype in NATIVE and _alike(*inputs, out):
        flat = [array.reshape(-1) for array in (*inputs, out)]
        return _Launching(partial(kernels("arithmetic").add, *flat), *flat)
    return partial(_UFUNCS[node.operation], *inputs, out=out)


def _alike(*arrays: Any) -> bool:
    """Whether all are arrays of one shape and dtype, each in one piece that can be written."""
    first = arrays[0]
    return all(
        isinstance(a, np.ndarray) and a.flags.carray and a.shape == first.shape and a.dtype == first.dtype
        for a in arrays
    )


def _activation(node: Node, inputs: Sequence[np.ndarray], out: np.ndarray) -> Step | None:
    activation, x = activation_of(node), inputs[0]
    if activation is None or x.dtype != out.dtype or x.dtype not in NATIVE:
        return None
    name, parameter = activations.parse(activation) or ("", 0.0)
    if name in _IN_KERNELS and _alike(x, out):
        flat = x.reshape(-1), out.reshape(-1)
        return _Launching(partial(kernels("activation").activate, name, parameter, *flat), *flat)
    return partial(activations.apply, x, activation, out)


def _pool(node: Node, inputs: Sequence[np.ndarray], out: np.ndarray | None, found: Any = None) -> Step | None:
    x = inputs[0]
    if out is None or not x.flags.carray or not out.flags.carray or node.attributes.get("return_indices"):
        return None
    options = {name: value for name, value in node.attributes.items() if name not in ("algorithm", "return_indices")}
    problem = pool_problem(node.operation, x, **options)
    if x.size == 0 or out.size == 0 or problem.result_dtype != out.dtype:
        return None
    algorithm: Any = select(problem, node.attributes.get("algorithm", "auto"))
    x, out = x.reshape(problem.input_shape), out.reshape(problem.result_shape)
    run = partial(algorithm.run, problem, (x,), (out,))
    step: Any = _Launching(run, x, out) if algorithm.replays else run
    step.problem, step.algorithm = problem, algorithm  # for those who ask what runs
    return step


def _linear(node: Node, inputs: Sequence[Any], out: np.ndarray) -> Step | None:
    x, weight, bias = inputs
    dtypes = {a.dtype for a in (x, weight, bias, out) if a is not None}
    if weight.ndim != 2 or dtypes - {out.dtype} or out.dtype not in NATIVE or out.size == 0:
        return None
    if not all(a.flags.carray for a in (x, weight, out)):
        return None
    activation = activations.parse(node.attributes.get("activation"))
    shape = out.size // len(weight), *weight.shape
    flat = x.reshape(-1), weight.reshape(-1), out.reshape(-1)
    add = None if bias is None else np.ascontiguousarray(bias)
    multiply = _Launching(partial(kernels("matrix_product").times_rows, *flat, shape, add), *flat, add)
    if activation is None:
        return multiply

    def step() -> None:
        multiply()
        activations.apply(out, activation, out=out)

    return step


def _batch_norm(node: Node, inputs: Sequence[Any], out: np.ndarray, statistics: Any = None) -> Step | None:
    """scale x + shift, where x is a slice or the kernel would copy."""
    x, mean, var, weight, bias = inputs
    if node.attributes["training"] or statistics is not None or x.flags.c_contiguous:
        return None
    scale = (1.0 if weight is None else weight.astype(np.float64)) / np.sqrt(
        var.astype(np.float64) + node.attributes["eps"]
    )
    shift = (0.0 if bias is None else bias) - scale * mean
    if node.attributes["data_format"] != "channels_last":
        scale, shift = (a.reshape(-1, *(1,) * (x.ndim - 2)) for a in (scale, shift))
    scale, shift = scale.astype(out.dtype), shift.astype(out.dtype)
    activation = node.attributes["activation"]

    def step() -> None:
        np.multiply(x, scale, out=out)
        np.add(out, shift, out=out)
        if activation is not None:
            np.maximum(out, 0, out=out)

    return step


def _concatenate(node: Node, inputs: Sequence[np.ndarray], out: np.ndarray) -> Step:
    """Copies of what does not lie in the whole already."""
    axis, start, copies = node.attributes["axis"], 0, []
    for array in inputs:
        part = np.moveaxis(np.moveaxis(out, axis, 0)[start : start + array.shape[axis]], 0, axis)
        start += array.shape[axis]
        if not np.may_share_memory(part, array):
            copies.append((part, array))

    def step() -> None:
        for part, array in copies:
            np.copyto(part, array)

    return step


_MAKERS: dict[str, Callable[..., Step | None]] = {
    PLANNED: _plan, "linear": _linear, "concatenate": _concatenate, "batch_norm": _batch_norm,
    **dict.fromkeys(_UFUNCS, _ufunc), **dict.fromkeys(_ACTIVATIONS, _activation),
}  # fmt: skip
