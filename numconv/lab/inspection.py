"""`inspect`: what a kernel was compiled to, and what to do about it. Nothing is run.

A kernel for the CPU is compiled anew, with the line of each instruction noted, which changes none of them; what is read
is LLVM's assembly. One for a GPU is compiled to PTX and from there to machine code (see `device_inspection`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numconv.lab.host_inspection import Inspection, compiled


def inspect(kernel: Any, *arguments: Any, problem: Any = None, cc: tuple[int, int] = (9, 0)) -> Any:
    """What a kernel was compiled to, and what to do about it.

    Parameters
    ----------
    kernel : UserKernel, function, @njit or @cuda.jit dispatcher, or str
        A plain function is looked at as `numba.njit` would compile it. A string is the name of a built-in algorithm,
        of `problem`; what is shown is the kernel, or register tile, that does most of the work.
    *arguments : arrays, numbers and tuples, or Numba's types
        What the kernel is called with. Left out: what a kernel of the laboratory gets for `problem`.
    problem : ConvProblem or PoolProblem, optional
        A `UserKernel` knows its operation and needs none; of other kernels it tells what they get: `(x, w, out, stride,
        padding, dilation, groups)`, of a pooling `(x, out, kernel, stride, padding, dilation)`.
    cc : (int, int)
        The GPU's compute capability, such as (9, 0) for an H100.

    Returns
    -------
    Inspection or DeviceInspection

    Raises
    ------
    TypeError
        If `kernel` is none of these, or neither arguments nor a problem say what it gets.
    MissingExtra
        If the kernel is for a GPU and ptxas or nvdisasm is not installed.

    Examples
    --------
    >>> print(inspect(my_kernel, x, w, out, (1, 1), (0, 0), (1, 1), 1))  # doctest: +SKIP
    """
    if isinstance(kernel, str):
        return _built_in(kernel, problem)
    name, function = kernel_name(kernel), getattr(kernel, "function", kernel)
    types = _types(kernel, arguments, problem)
    if _is_cuda(function):
        from numconv.lab.device_inspection import inspect_device

        return inspect_device(name, function, types, cc, getattr(kernel, "block", None), problem)
    if not callable(function):
        raise TypeError(
            "kernel must be a kernel of the laboratory, a function, a compiled function or the name of an algorithm, "
            f"got {type(kernel).__name__}"
        )
    return compiled(name, function, types)


def kernel_name(kernel: Any) -> str:
    """What a kernel calls itself."""
    return str(getattr(kernel, "name", "") or getattr(kernel, "__name__", "") or type(kernel).__name__)


def _is_cuda(function: Any) -> bool:
    return ".cuda." in type(function).__module__


def _types(kernel: Any, arguments: Sequence[Any], problem: Any) -> tuple[Any, ...]:
    """Numba's types of what a kernel gets."""
    from numba import typeof, types

    if arguments:
        return tuple(
            a if isinstance(a, types.Type) else getattr(a, "_numba_type_", None) or typeof(a) for a in arguments
        )
    operation = getattr(problem, "operation", None) or getattr(kernel, "operation", None)
    if operation is None:
        raise TypeError("arguments must be given, or problem: nothing else says what the kernel gets")
    from numconv.problem import spatial_axes

    dtype = np.dtype(problem.dtype if problem is not None else (*(getattr(kernel, "dtypes", None) or ()), "float32")[0])
    n = problem.ndim if problem is not None else spatial_axes(operation)
    array, axes = types.Array(getattr(types, dtype.name), n + 2, "C"), types.UniTuple(types.intp, n)
    if operation.startswith("conv"):
        return (array, array, array, axes, axes, axes, types.intp)
    return (array, array, axes, axes, axes, axes)


def _built_in(name: str, problem: Any) -> Inspection:
    """The kernel or tile that does most of the work of one of our algorithms."""
    if problem is None:
        raise TypeError(f"problem must be given: {name!r} has a kernel for each kind of problem")
    from numba import from_dtype, types

    from numconv.algorithm import select
    from numconv.kernels.cpu import jit
    from numconv.kernels.cpu.replay import noting

    algorithm = select(problem, name)
    run_once(algorithm, problem)
    with noting() as launches:
        run_once(algorithm, problem)
    kernels: dict[Any, Any] = {}
    for launch in launches:
        tables = (a.array() for a in launch.arrays if a.dtype == np.int64)
        addresses = {number for table in tables if table is not None for number in table.ravel().tolist()}
        tiles = [jit.called[address] for address in addresses & jit.called.keys()]
        kernel: Any = launch.kernel
        if tiles:  # they do its work
            kernels |= {tile.__qualname__: (tile, next(iter(tile.overloads))) for tile in tiles}
        else:
            arrays = [types.Array(from_dtype(a.dtype), len(a.shape), "C") for a in launch.arrays]
            kernels[kernel.name] = kernel.serial, (types.intp, types.intp, types.intp, *arrays)
    found = [compiled(called, dispatcher, signature) for called, (dispatcher, signature) in kernels.items()]
    if not found:
        raise TypeError(f"{name!r} launches no kernel of its own for this problem")
    return max(found, key=lambda each: (each.loop.multiplications > 0, each.loop.flops))


def run_once(algorithm: Any, problem: Any) -> None:
    """Run an algorithm on ones."""
    zeros = [np.ones(shape, problem.dtype) for shape in operand_shapes(problem)]
    out = np.empty(problem.result_shape, problem.dtype)
    if not hasattr(problem, "co"):
        algorithm.run(problem, tuple(zeros), (out,))
        return
    packed = algorithm.prepare(problem, zeros[1])
    algorithm.run(problem, packed, zeros[0], None, None, out, np.empty(algorithm.workspace(problem), np.uint8))


def operand_shapes(problem: Any) -> list[tuple[int, ...]]:
    """Shapes of what an algorithm sweeps and of what it sweeps it with; of a pooling, of its input."""
    if not hasattr(problem, "co"):
        return [problem.output_shape if problem.backward else problem.input_shape]
    if problem.direction == "weight":
        return [problem.input_shape, problem.output_shape]
    return [problem.output_shape if problem.direction == "input" else problem.input_shape, problem.weight_shape]
