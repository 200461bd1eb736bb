"""Kernels of one's own: `kernel` makes an algorithm of a function, known to every public function by its name."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import numconv as nc
from numconv.algorithm import add, algorithms, kernels, using
from numconv.lab.plain_python import uses_prange
from numconv.ops.custom import FunctionAlgorithm, python
from numconv.ops.device import gpu
from numconv.ops.handing import Handed
from numconv.problem import FIRST, LAST, supported_dtype

FLAGS: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy", "nogil": True}
THREADS = 128  # of a block on a GPU, where nothing else is said

Size = int | tuple[int, ...] | Callable[[Any], Any]


class UserKernel(FunctionAlgorithm):
    """A function as an algorithm of an operation: made, and registered, by `kernel`.

    Called, it runs its operation's public function by itself: `mine(x, w, padding=1)`.

    Attributes
    ----------
    name, operation, device, layout : str
    function : callable
        What was written: a plain function, or what `njit` or `cuda.jit` made of one.
    python : callable
        The plain function under it.
    dtypes : tuple of str
    when, packs : callable or None
    grid, block : int, tuple of int, callable or None
        Of a launch on a GPU.
    parallel : bool
        Whether it uses Numba's threads.
    """

    def __init__(
        self, operation: str, function: Any, name: str, *, grid: Size | None, block: Size | None, default: bool,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(operation, function, name, **options)
        self.python = python(function)
        self.grid, self.block, self.default = grid, block, default
        targets = getattr(function, "targetoptions", None)
        self.parallel = self.device == "cpu" and (
            uses_prange(self.python) if targets is None else bool(targets.get("parallel"))
        )

    def __call__(self, *operands: Any, **options: Any) -> Any:
        with using(self.name):
            return getattr(nc, self.operation)(*operands, **options)

    def __repr__(self) -> str:
        return f"<UserKernel {self.name!r} of {self.operation} on {self.device}>"

    def cost(self, problem: Any) -> float:
        """Nothing of one that joins the automatic choice, so that it is taken wherever it takes the problem."""
        return 0.0 if self.default else super().cost(problem)

    def call(self, problem: Any, handed: Handed) -> None:
        arguments = (*handed.arrays.values(), *handed.numbers)
        if self.device == "cuda":
            self.launcher(*self.launch_size(problem, handed), *arguments)
        elif self.parallel:
            self._call_parallel(arguments)
        else:
            self.compiled(*arguments)

    @functools.cached_property
    def compiled(self) -> Any:
        """The function, compiled when first called."""
        if self.function is not self.python:
            return self.function
        from numba import njit

        return njit(parallel=self.parallel, **FLAGS)(self.function)

    @functools.cached_property
    def serial(self) -> Any:
        """The function without Numba's threads."""
        if not self.parallel:
            return self.compiled
        from numba import njit

        options = FLAGS if self.function is self.python else self.function.targetoptions
        flags = {name: value for name, value in options.items() if name not in ("nopython", "parallel")}
        return njit(**flags)(self.python)

    def _call_parallel(self, arguments: tuple[Any, ...]) -> None:
        """On as many of Numba's threads as numconv may use; on none where they would abort the process."""
        if kernels("jit").threading_layer() == "python":
            self.serial(*arguments)
            return
        import numba

        before, most = numba.get_num_threads(), vars(numba.config)["NUMBA_NUM_THREADS"]
        numba.set_num_threads(min(nc.get_num_threads(), most))
        try:
            self.compiled(*arguments)
        finally:
            numba.set_num_threads(before)

    @functools.cached_property
    def launcher(self) -> Any:
        """What launches it on a GPU: called with grid, block and arguments."""
        return gpu("custom").UserLaunch(self.name, self.function, self.python)

    def launch_size(self, problem: Any, handed: Handed) -> tuple[Any, Any]:
        """(grid, block): those that were given, else one thread for each element of the result."""
        grid, block = (size(problem) if callable(size) else size for size in (self.grid, self.block))
        block = THREADS if block is None else block
        if grid is None:
            threads = block if isinstance(block, int) else math.prod(block)
            grid = -(-handed.arrays["out"].size // threads)
        return grid, block


def kernel(
    operation: str,
    *,
    device: str = "cpu",
    when: Callable[[Any], Any] | None = None,
    dtypes: tuple[str, ...] = ("float32",),
    layout: str = FIRST,
    prepare: Callable[[Any], Any] | None = None,
    name: str | None = None,
    grid: Size | None = None,
    block: Size | None = None,
    default: bool = False,
) -> Callable[[Any], UserKernel]:
    """Decorate a function that computes an operation: it becomes a kernel that everything here can run by its name.

    A plain function is compiled by Numba, in parallel if it uses `prange`; what `numba.njit` or `numba.cuda.jit` made
    stays as it is. A convolution's parameters are `(x, w, out, stride, padding, dilation, groups)`; the others' are in
    the table of `numconv.ops.custom`. Arrays are contiguous and batched, in `layout` and one of `dtypes`; `out` holds
    zeros. Padding has been put around x (around `out` where the input's gradient is wanted), so that `padding` is
    zeros; options are tuples with an integer an axis. Bias, residual and activation are added afterwards.

    Parameters
    ----------
    operation : str
        One of those of `numconv.algorithms`, such as "conv2d", "conv2d_weight", "conv_transpose1d", "max_pool2d".
    device : str
        "cpu" or "cuda".
    when : callable, optional
        `problem -> bool or str`: whether it takes a problem, or a sentence that says why not.
    dtypes : tuple of str
        What it takes. 16-bit floats are handed as float32 unless they are named.
    layout : str
        "channels_first" or "channels_last", of images; weights are ``(out, in / groups, *kernel)`` in both.
    prepare : callable, optional
        `weight -> array`: what is handed as `w`; a plan calls it once.
    name : str, optional
        The function's own where left out.
    grid, block : int, tuple or callable, optional
        Of a launch on a GPU: sizes, or functions of the problem. Where left out, as many blocks of 128 threads as
        `out` has elements.
    default : bool
        Whether it runs also where it is not named, wherever it takes the problem.

    Returns
    -------
    callable
        Gives a `UserKernel` for a function, and registers it. One of the same name that was registered before is
        replaced.

    Raises
    ------
    ValueError
        If there is no such operation, device, layout or dtype, if the name is that of a built-in algorithm, or an
        option has no meaning here.
    TypeError
        If the function has other parameters.

    Examples
    --------
    >>> from numconv import lab
    >>> @lab.kernel("conv1d")
    ... def mine(x, w, out, stride, padding, dilation, groups):
    ...     for n in range(out.shape[0]):
    ...         for o in range(out.shape[1]):
    ...             first = o // (w.shape[0] // groups) * w.shape[1]
    ...             for i in range(out.shape[2]):
    ...                 for c in range(w.shape[1]):
    ...                     for k in range(w.shape[2]):
    ...                         out[n, o, i] += w[o, c, k] * x[n, first + c, i * stride[0] + k * dilation[0]]
    >>> mine
    <UserKernel 'mine' of conv1d on cpu>
    """
    if not isinstance(operation, str):
        raise TypeError(f'operation must be given, as in @kernel("conv2d"), got {operation!r}')
    for argument, given in (("when", when), ("prepare", prepare)):
        if given is not None and not callable(given):
            raise TypeError(f"{argument} must be a function, got {given!r}")
    for argument, size in (("grid", grid), ("block", block)):
        if size is not None and not callable(size) and not _is_size(size):
            raise TypeError(f"{argument} must be a number, some in a tuple or a function of the problem, got {size!r}")
    if layout not in (FIRST, LAST):
        raise ValueError(f"layout must be {FIRST!r} or {LAST!r}, got {layout!r}")
    if isinstance(dtypes, str) or not dtypes:
        raise ValueError(f"dtypes must be a tuple of names such as ('float32',), got {dtypes!r}")
    names = tuple(_dtype_name(dtype) for dtype in dtypes)
    if device == "cpu" and not (grid is block is None):
        raise ValueError("grid and block must be left out with device='cpu': they are those of a launch on a GPU")
    algorithms(operation, device)  # refuses what is none

    def decorate(function: Any) -> UserKernel:
        if isinstance(function, UserKernel):  # one function for several operations
            function = function.function
        if not callable(function) or not hasattr(python(function), "__code__"):
            raise TypeError(f"kernel decorates a function, got {type(function).__name__}")
        made = UserKernel(
            operation, function, name or python(function).__name__, device=device, layout=layout, dtypes=names,
            when=when, packs=prepare, grid=grid, block=block, default=default,
        )  # fmt: skip
        add(operation, made, default, device)
        return made

    return decorate


def _is_size(size: Any) -> bool:
    sizes = size if isinstance(size, tuple) else (size,)
    return 1 <= len(sizes) <= 3 and all(isinstance(n, (int, np.integer)) and n > 0 for n in sizes)


def _dtype_name(dtype: Any) -> str:
    if dtype == "bfloat16":  # NumPy knows the name only where ml_dtypes is loaded
        return dtype
    try:
        return supported_dtype("dtypes", np.dtype(dtype)).name
    except TypeError as error:
        raise ValueError(f"dtypes must be names such as 'float32', got {dtype!r}") from error
