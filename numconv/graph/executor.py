"""Run a graph: for each batch size a frame is made, whose memory is laid out and whose steps are bound to it.

The first call of a frame runs its steps one by one; then kernels that follow each other are made a program (see
`kernels.cpu.program`). A frame belongs to a version of the options, and so to a number of threads (see `frames`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from numconv.algorithm import kernels
from numconv.autograd.operations import TABLE
from numconv.graph.frames import Frames
from numconv.graph.graph import Graph, sized
from numconv.graph.join import VIEWS
from numconv.graph.memory import planned_buffers
from numconv.graph.plans import PLANNED
from numconv.graph.steps import Step, bound, launches
from numconv.kernels.cpu.memory import aligned
from numconv.kernels.cpu.replay import Launch
from numconv.options import options

_IDLE = 4  # frames of one batch size


class Frame:
    """Memory for one call at a time, and the steps that fill it."""

    def __init__(self, graph: Graph, n: int) -> None:
        buffers = planned_buffers(graph, n)
        self.size = buffers.size
        self._arena = aligned(max(buffers.size, 1), np.uint8)
        arrays: dict[str, Any] = dict(graph.weights)

        def own(name: str) -> Any:
            """The array of a value that has a buffer, its own or another's of its shape."""
            offset = buffers.offsets.get(buffers.wholes[name])
            shape, dtype = sized(graph.shapes[name], n), graph.dtypes[name]
            return None if offset is None else np.ndarray(shape, dtype, self._arena, offset)

        for name in graph.inputs:
            arrays[name] = own(name)
        for name in {part.whole for part in graph.parts.values()}:
            arrays[name] = own(name)
        for name, part in graph.parts.items():
            stop = part.start + sized(graph.shapes[name], n)[part.axis]
            arrays[name] = arrays[part.whole][(*(slice(None),) * part.axis, slice(part.start, stop))]
        self.steps: list[tuple[Any, Step]] = []
        for general in graph.nodes:
            node = general if general.operation == PLANNED else general.but(**sized(general.attributes, n))
            given = [arrays[i] if isinstance(i, str) else i for i in node.inputs]
            if node.operation in VIEWS and buffers.wholes[node.output] != node.output:
                arrays[node.output] = _view(node, given[0], sized(graph.shapes[node.output], n))
                continue
            for name in node.outputs:
                if name not in arrays:
                    arrays[name] = own(name)
            # The same object, so that what runs sees that one replaces the other.
            given = [_same(array, arrays[node.output]) for array in given]
            self.steps.append((node, bound(node, given, [arrays[name] for name in node.outputs])))
        self._parts: list[Step] = []
        self.inputs = [arrays[name] for name in graph.inputs]
        self.outputs = [arrays[name] for name in graph.outputs]

    def run(self, arrays: Sequence[np.ndarray], each: Callable[[Any, Step], None] | None = None) -> list[np.ndarray]:
        """Outputs for inputs of the frame's shapes and dtypes.

        Given `each`, that is called with each node and its step, in place of running them chained.
        """
        for mine, given in zip(self.inputs, arrays):
            if mine is not None:
                mine[...] = given
        if each is not None:
            with np.errstate(all="ignore"):
                for node, step in self.steps:
                    each(node, step)
            return [np.array(out, order="C") for out in self.outputs]
        parts = self._parts or [step for _, step in self.steps]
        with np.errstate(all="ignore"):
            for part in parts:
                part()
        self._parts = self._parts or _chained(parts)
        return [np.array(out, order="C") for out in self.outputs]


def batch_of(graph: Graph, arrays: Sequence[Any]) -> int:
    """The batch size of inputs, or an error where they are not the graph's."""
    if len(arrays) != len(graph.inputs):
        raise TypeError(f"expected {len(graph.inputs)} inputs, got {len(arrays)}")
    n = None
    for i, (name, array) in enumerate(zip(graph.inputs, arrays)):
        if array.dtype != graph.dtypes[name]:
            raise TypeError(f"input {i} must have dtype {graph.dtypes[name]}, got {array.dtype}")
        n = array.shape[0] if n is None and array.ndim else n
        if tuple(array.shape) != sized(graph.shapes[name], n or 0):
            expected = ("any" if i == 0 else n, *graph.shapes[name][1:])
            raise ValueError(f"input {i} must have shape {expected}, got {tuple(array.shape)}")
    return n or 0


def _chained(steps: Sequence[Step]) -> list[Step]:
    """Steps that have run, those that do nothing but launch kernels joined to programs. They share their workspace."""
    workspace = np.empty(0, np.uint8)

    def memory(size: int) -> np.ndarray:
        nonlocal workspace
        workspace = workspace if size <= workspace.size else aligned(size, np.uint8)
        return workspace

    parts: list[Step] = []
    for _ in range(2):  # the first time finds the size of the largest workspace
        found = [launches(step, memory) for step in steps]
    chain: list[Launch] = []
    for step, some in zip([*steps, None], [*found, None]):
        if some is not None:
            chain += some
            continue
        if chain:
            parts.append(kernels("program").Program(chain))
            chain = []
        if step is not None:
            parts.append(step)
    return parts


def _view(node: Any, source: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if node.operation == "reshape":
        return source.reshape(shape)
    return TABLE[node.operation].forward(source, **node.attributes)


def _same(array: Any, out: Any) -> Any:
    """`out` where an input is just that memory."""
    if not isinstance(array, np.ndarray) or not isinstance(out, np.ndarray) or array.shape != out.shape:
        return array
    there = array.__array_interface__["data"], array.strides, array.dtype
    return out if there == (out.__array_interface__["data"], out.strides, out.dtype) else array


class Executor:
    """A graph that is ready to run.

    Parameters
    ----------
    graph : Graph
        As `optimised` gives it.

    Attributes
    ----------
    graph : Graph
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._frames = Frames(_IDLE)

    def __getstate__(self) -> dict[str, Any]:
        return {"graph": self.graph}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["graph"])  # type: ignore[misc]

    def __call__(self, *arrays: Any) -> list[np.ndarray]:
        """Outputs of the graph.

        Parameters
        ----------
        *arrays : numpy.ndarray
            The graph's inputs, of one batch size.

        Raises
        ------
        TypeError, ValueError
            If their number, a dtype or a shape is not the graph's.
        """
        for i, array in enumerate(arrays):
            if not isinstance(array, np.ndarray):
                raise TypeError(f"input {i} must be a numpy.ndarray, got {type(array).__name__}")
        n = batch_of(self.graph, arrays)
        return self._frames.run((n, options.version), partial(Frame, self.graph, n), arrays)

    def describe(self, n: int = 1, rounds: int = 5) -> str:
        """A line an operation: what it is, its result's shape, the algorithm, its time for a batch of `n`.

        Times are the shortest of `rounds`, with numbers from a normal distribution as inputs.
        """
        frame, rng = Frame(self.graph, n), np.random.default_rng(0)
        arrays = [rng.standard_normal(a.shape).astype(a.dtype) if a.dtype.kind == "f" else np.zeros_like(a)
                  for a in frame.inputs if a is not None]  # fmt: skip
        best = [np.inf] * len(frame.steps)
        frame.run(arrays)
        for _ in range(rounds):
            for mine, given in zip(frame.inputs, arrays):
                mine[...] = given
            with np.errstate(all="ignore"):
                for i, (_, step) in enumerate(frame.steps):
                    start = time.perf_counter()
                    step()
                    best[i] = min(best[i], time.perf_counter() - start)
        lines = [_line(node, sized(self.graph.shapes[node.output], n), s) for (node, _), s in zip(frame.steps, best)]
        total = f"{len(lines)} operations, {sum(best) * 1e3:.3f} ms, {frame.size} bytes of buffers"
        return "\n".join([*lines, total])


def _line(node: Any, shape: tuple[int, ...], seconds: float) -> str:
    plan = node.attributes.get("plan")
    if plan is None:
        name, algorithm = node.operation, ""
    else:
        problem = plan.problem
        name, algorithm = node.attributes["operation"], plan.algorithm
        name += f" {'x'.join(map(str, problem.kernel))}/{'x'.join(map(str, problem.stride))}"
        name += f" g{problem.groups}" if problem.groups > 1 else ""
        name += " + residual" if len(node.inputs) > 1 else ""
        activation = problem.activation
        name += f" + {activation[0]}" if activation else ""
    return f"{name:42} {'x'.join(map(str, shape)):>16}  {algorithm:12} {seconds * 1e3:9.4f} ms"
