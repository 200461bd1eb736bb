"""Algorithms of one's own: `register` takes an Algorithm, or a function that fills `out`.

What a function gets is the same for every problem of its operation: contiguous arrays in one layout and dtype, no
padding, no epilogue, and its options as tuples with an integer an axis.

======================================  ======================================================================
operation                               the function's parameters
======================================  ======================================================================
conv, conv_transpose, conv_..._input    x, w, out, stride, padding, dilation, groups
conv_..._weight                         x, w, out, stride, padding, dilation, groups: w the output's gradient
max_pool                                x, out, or x, out, indices; kernel, stride, padding, dilation
avg_pool, avg_pool_input                x, out, kernel, stride, padding, dilation
lp_pool                                 x, out, kernel, stride, padding, dilation, norm_type
lp_pool_input                           x, grad, out, kernel, stride, padding, dilation, norm_type
weighted_avg_pool, its _input           x, weights, out, kernel, stride, padding, dilation
adaptive and global average, _input     x, out
adaptive and global maximum             x, out, or x, out, indices
gradients of maxima, max_unpool, _input  x, indices, out: planes flat
======================================  ======================================================================
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.algorithm import Algorithm, add, algorithms
from numconv.ops import handing, handing_pool
from numconv.ops.handing import Handed
from numconv.problem import FIRST, HALF

_CONVOLUTION = ("x", "w", "out", "stride", "padding", "dilation", "groups")
_WINDOW = ("kernel", "stride", "padding", "dilation")


def parameters(operation: str) -> tuple[str, ...]:
    """The parameters of a function that computes an operation, without the indices that a maximum may give."""
    if operation.startswith("conv"):
        return _CONVOLUTION
    if handing_pool.by_indices(operation):
        return "x", "indices", "out"
    if operation.startswith(("adaptive", "global")):
        return "x", "out"
    if operation.startswith("lp"):
        return ("x", *(("grad",) if operation.endswith("_input") else ()), "out", *_WINDOW, "norm_type")
    return ("x", *(("weights",) if operation.startswith("weighted") else ()), "out", *_WINDOW)


class FunctionAlgorithm(Algorithm):
    """A user's function as an algorithm of any operation (see the module).

    Parameters
    ----------
    operation : str
    function : callable
        Called with arrays of NumPy, or of the GPU on `device="cuda"`.
    name : str
    device : str
    layout : str
        "channels_first" or "channels_last", of all arrays that are images.
    dtypes : tuple of str, optional
        Names of the dtypes that it takes; all where left out. 16-bit floats are handed as float32 unless they are
        named, and averaged integers as float64.
    when : callable, optional
        `problem -> bool or str`: whether it takes a problem, or a sentence that says why not.
    packs : callable, optional
        `weight -> array`: what is handed as `w` in place of a weight; a plan calls it once.

    Raises
    ------
    TypeError, ValueError
        If the function has other parameters than the operation hands it, or there is no weight to pack.
    """

    def __init__(
        self, operation: str, function: Callable[..., Any], name: str, *, device: str = "cpu", layout: str = FIRST,
        dtypes: tuple[str, ...] | None = None, when: Callable[[Any], Any] | None = None,
        packs: Callable[[Any], Any] | None = None,
    ) -> None:  # fmt: skip
        self.operation, self.name, self.device = operation, name, device
        self.function: Any = function
        self.layout, self.dtypes, self.when, self.packs = layout, dtypes, when, packs
        self.gives_indices = _checked(operation, name, function)
        if packs is not None and (not operation.startswith("conv") or operation.endswith("_weight")):
            raise ValueError(f"prepare must be left out for {operation}, which has no weight to pack")

    def rejects(self, problem: Any) -> str | None:
        if problem.operation != self.operation:
            return f"it computes {self.operation}"
        if self._dtype(problem) is None:
            return f"it takes {' and '.join(self.dtypes or ())}, not {problem.dtype}"
        if getattr(problem, "indices", False) and not self.gives_indices:
            return "its function has no parameter named indices"
        said = True if self.when is None else self.when(problem)
        if said is None:
            return "its `when` returns None, where True, False or a sentence is expected: is a `return` missing?"
        return said if isinstance(said, str) else None if said else "its `when` says no"

    def _dtype(self, problem: Any) -> np.dtype | None:
        """The dtype of what the function is handed, if it takes the problem's."""
        dtype = problem.dtype
        asked = self.dtypes is not None and dtype.name in self.dtypes
        if dtype.name in HALF and not asked:
            return np.dtype(np.float32) if self.dtypes is None or "float32" in self.dtypes else None
        if self.dtypes is not None and not asked:
            return None
        return getattr(problem, "result_dtype", dtype)

    def cost(self, problem: Any) -> float:
        return problem.flops / 1e9

    def packed_bytes(self, problem: Any) -> int:
        """The size of the weight, where it is packed."""
        return 0 if self.packs is None else int(np.prod(problem.weight_shape)) * problem.dtype.itemsize

    def prepare(self, problem: Any, weight: Any) -> Any:
        if problem.direction == "weight":
            return weight
        dtype = self._dtype(problem)
        given = handing.arrays.astype(weight, dtype=dtype)
        return given if self.packs is None else self._packed(given)

    def _packed(self, weight: Any) -> Any:
        packed = self.packs(weight)  # type: ignore[misc]
        if not hasattr(packed, "dtype") or not hasattr(packed, "shape"):
            raise TypeError(f"prepare must return an array, got {type(packed).__name__}")
        return packed

    def handed(self, problem: Any, *operands: Any) -> Handed | None:
        """What the function is called with, given what `run` is; None where there is nothing to call it for."""
        dtype: Any = self._dtype(problem)
        if hasattr(problem, "direction"):
            return handing.convolution(self.layout, dtype, problem, *operands[:5])
        return handing_pool.pooling(self.layout, dtype, self.gives_indices, problem, *operands)

    def run(self, problem, *operands):
        handed = self.handed(problem, *operands)
        if handed is None:
            return
        try:
            self.call(problem, handed)
        except Exception as error:
            error.add_note(f"raised by the kernel {self.name!r} of {self.operation}{self.where()}, on {problem}")
            raise
        handed.finish()

    def call(self, problem: Any, handed: Handed) -> None:
        """Let the function compute."""
        self.function(*handed.arrays.values(), *handed.numbers)

    def where(self) -> str:
        """Where the function was written, with a comma before it, if that is known."""
        code = getattr(python(self.function), "__code__", None)
        return "" if code is None else f", {code.co_filename}:{code.co_firstlineno}"


def python(function: Any) -> Any:
    """The plain function under what `njit`, `cuda.jit` or the simulator made of it."""
    return getattr(function, "py_func", None) or getattr(function, "fn", None) or function


def _checked(operation: str, name: str, function: Any) -> bool:
    """Whether the function has a parameter for indices; an error where it cannot take what it will be handed."""
    expected = parameters(operation)
    try:
        signature = inspect.signature(python(function))
    except (TypeError, ValueError):  # written in C
        return False
    indexed = "indices" in signature.parameters and "indices" not in expected
    if indexed:
        if "max" not in operation:
            raise TypeError(f"{name} must not have a parameter indices: {operation} gives none")
        place = expected.index("out") + 1
        expected = (*expected[:place], "indices", *expected[place:])
    try:
        signature.bind(*expected)
    except TypeError:
        raise TypeError(
            f"{name}{signature} must take what a kernel of {operation} is handed: ({', '.join(expected)})"
        ) from None
    return indexed


def register(
    operation: str,
    algorithm: Algorithm | Callable[..., Any],
    *,
    name: str | None = None,
    default: bool = False,
    device: str = "cpu",
) -> Algorithm:
    """Add an algorithm of one's own to an operation.

    It runs where it is named: `algorithm="mine"`, or within `using("mine")`. One of the same name that was
    registered before is replaced.

    Parameters
    ----------
    operation : str
        Such as "conv2d", "conv2d_weight" or "max_pool2d".
    algorithm : Algorithm or callable
        A callable fills `out`: of a convolution `f(x, w, out, stride, padding, dilation, groups)`, of others as in the
        table of `numconv.ops.custom`. It is called as it is, with arrays of any dtype; `numconv.lab.kernel` compiles
        it, and says which layout and dtypes it takes.
    name : str, optional
        The algorithm's or function's own where left out.
    default : bool
        Whether it joins the automatic choice.
    device : str

    Returns
    -------
    Algorithm
        What was registered.

    Raises
    ------
    TypeError
        If `algorithm` is neither, or the function has other parameters.
    ValueError
        If the operation is not known or the name is that of a built-in algorithm.
    """
    if not isinstance(algorithm, Algorithm):
        if not callable(algorithm):
            raise TypeError(f"algorithm must be an Algorithm or a function, got {type(algorithm).__name__}")
        algorithms(operation, device)  # refuses names that are none
        given = str(name or getattr(algorithm, "__name__", "custom"))
        algorithm = FunctionAlgorithm(operation, algorithm, given, device=device)
    elif name is not None:
        algorithm.name = name
    add(operation, algorithm, default, device)
    return algorithm
