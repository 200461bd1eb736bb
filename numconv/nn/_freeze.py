"""Freeze a model: trace it, optimise the graph, run that."""

from __future__ import annotations

from typing import Any

import numpy as np

from numconv.autograd.tape import Tensor
from numconv.graph import Executor, filled, optimised, trace
from numconv.graph.device_executor import DeviceExecutor, optimised_on_device
from numconv.nn import _state
from numconv.nn._module import Module
from numconv.ops import arrays
from numconv.ops.device import on_gpu


class Frozen:
    """What `freeze` makes: a function from arrays to arrays. Any number of threads may call it.

    Attributes
    ----------
    graph : Graph
        The operations that run.
    """

    def __init__(self, executor: Executor | DeviceExecutor, structure: Any, batch: int) -> None:
        self._executor, self._structure, self._batch = executor, structure, batch
        self.graph = executor.graph

    def __call__(self, *arrays: Any) -> Any:
        """What the model gives, with arrays in place of Tensors.

        Parameters
        ----------
        *arrays : numpy.ndarray, or arrays on a GPU where the model was frozen there
            Of the examples' dtypes and shapes, but for the batch.

        Raises
        ------
        TypeError, ValueError
            If their number, a dtype or a shape is another.
        """
        return filled(self._structure, self._executor(*arrays))

    def describe(self, batch: int | None = None) -> str:
        """A line an operation: what it is, its result's shape, the algorithm, and on the CPU its time; measured now.

        `batch` is the example's where left out.
        """
        return self._executor.describe(self._batch if batch is None else batch)

    def __repr__(self) -> str:
        return f"<Frozen model of {len(self.graph.nodes)} operations>"


def freeze(model: Module, example: Any) -> Frozen:
    """A model made fast for use: batch norms folded, epilogues fused, weights packed, buffers planned.

    Parameters
    ----------
    model : Module
        In eval mode. Its weights are copied: it may be trained on, or dropped. Where they are on a GPU, so is what it
        is frozen to, which takes and gives arrays there.
    example : array_like, or tuple of them
        What it takes. Results depend on shapes and dtypes of it alone; the batch may be any in calls, algorithms are
        chosen for that of the example.

    Returns
    -------
    Frozen
        A function from arrays to arrays.

    Raises
    ------
    ValueError
        If the model is in training mode, or an operation, named in the message, depends on anything but the size of
        the batch.
    TypeError
        If the model returns something else than Tensors, or tuples, lists and dicts of them.

    Examples
    --------
    >>> import numpy as np
    >>> from numconv import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    >>> frozen = nn.freeze(model.eval(), np.zeros((1, 3, 16, 16), np.float32))
    >>> frozen(np.ones((5, 3, 16, 16), np.float32)).shape
    (5, 8, 14, 14)
    """
    trains = next((name for name, module in model.named_modules() if module.training), None)
    if trains is not None:
        where = f"its module {trains!r} is" if trains else "it is"
        raise ValueError(f"model must be in eval mode, but {where} in training mode: call model.eval()")
    given = example if isinstance(example, tuple) else (example,)
    there = _state.on_gpu(model) or on_gpu(*(a.data if isinstance(a, Tensor) else a for a in given))
    examples = [_on_host(array) for array in given]
    for i, array in enumerate(examples):
        if array.ndim == 0 or array.shape[0] != examples[0].shape[0]:
            raise ValueError(f"example {i} must have the batch as its first axis, got shape {array.shape}")
    batch = max(examples[0].shape[0], 1)
    if there:  # the graph is made on the host, and goes to the GPU as a whole
        graph, structure = trace(_state.on_host(model), examples)
        return Frozen(DeviceExecutor(optimised_on_device(graph, batch)), structure, batch)
    graph, structure = trace(model, examples)
    return Frozen(Executor(optimised(graph, batch)), structure, batch)


def _on_host(array: Any) -> np.ndarray:
    data = array.data if isinstance(array, Tensor) else array
    return arrays.to_numpy(data) if on_gpu(data) else np.asarray(data)
