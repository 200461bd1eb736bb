"""`inspect`: what a kernel was compiled to, and what to do about it. Nothing is run.

A kernel for the CPU is compiled anew, with the line of each instruction noted, which changes none of them; what is read
is LLVM's assembly. One for a GPU is compiled to PTX and from there to machine code (see `device_inspection`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from numconv.lab.host_inspection import Inspection, compiled
from numconv.lab.operands import Operands
from numconv.lab.user_kernel import UserKernel
from numconv.problem import LAST, ConvProblem, PoolProblem, spatial_axes


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
    if isinstance(kernel, UserKernel) and problem is None:
        problem = _usual(kernel)
    name, function = kernel_name(kernel), kernel.function if isinstance(kernel, UserKernel) else kernel
    if _is_cuda(function):
        from numconv.lab.device_inspection import inspect_device

        types = _types(kernel, arguments, problem)
        return inspect_device(name, function, types, cc, getattr(kernel, "block", None), problem)
    if isinstance(kernel, UserKernel):
        return compiled(name, kernel.compiled, _types(kernel, arguments or _handed(kernel, problem), problem))
    if not callable(function):
        raise TypeError(
            "kernel must be a kernel of the laboratory, a function, a compiled function or the name of an algorithm, "
            f"got {type(kernel).__name__}"
        )
    return compiled(name, function, _types(kernel, arguments, problem))


def _usual(kernel: UserKernel) -> Any:
    """A problem that the kernel takes."""
    n = spatial_axes(kernel.operation) if "global" not in kernel.operation else 2
    last = kernel.layout == LAST
    for dtype, channels, groups in itertools.product(kernel.dtypes or ("float32",), (16, 1, 256), (1, 16)):
        size = (2, *(12,) * n, channels) if last else (2, channels, *(12,) * n)
        options: dict[str, Any] = {"dtype": dtype, "data_format": kernel.layout}
        if channels % groups:
            continue
        if kernel.operation.startswith("conv"):
            for kernel_size, stride in itertools.product((3, 1, 5), (1, 2)):
                weight = (channels, channels // groups, *(kernel_size,) * n)
                forward = kernel.operation.removesuffix("_input").removesuffix("_weight")
                problem: Any = ConvProblem.make(forward, size, weight, stride=stride, groups=groups, **options)
                problem = problem.with_operation(kernel.operation)
                if kernel.rejects(problem) is None:
                    return problem
        else:
            windows: dict[str, Any] = {"kernel_size": 2, "output_size": 3, "norm_type": 2.0, "weights": "gaussian"}
            if not kernel.operation.startswith("weighted"):
                del windows["weights"]
            problem = PoolProblem.make(kernel.operation, size, **windows, **options)
            if kernel.rejects(problem) is None:
                return problem
    raise TypeError(f"problem must be given: {kernel.name!r} takes none of the usual ones")


def _handed(kernel: UserKernel, problem: Any) -> tuple[Any, ...]:
    """What a kernel is called with."""
    operands = Operands(problem)
    out = operands.unfilled()
    if isinstance(problem, ConvProblem):
        swept, weight = operands.swept
        handed = kernel.handed(problem, kernel.prepare(problem, weight), swept, None, None, out)
    else:
        handed = kernel.handed(problem, tuple(operands.placed.values()), (out,))
    return () if handed is None else (*handed.arrays.values(), *handed.numbers)


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

    call = Operands(problem).runner(select(problem, name))
    call()
    with noting() as launches:
        call()
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
