"""Arrays for a problem, filled with numbers; the calls that compute it; and the right result, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np

import numconv as nc
from numconv.algorithm import algorithms, select
from numconv.ops.device import gpu
from numconv.ops.pooling_call import Call as PoolCall
from numconv.problem import FIRST, LAST, ConvProblem, PoolProblem, accumulator_dtype, join_shape

# What results in default precision may be wrong by: max|error| / max(|x| convolved with |weight|).
TOLERANCES = {"float32": 5e-6, "float64": 1e-12, "float16": 2e-3, "bfloat16": 1.6e-2}
FAST = 2e-3  # float32 with `precision="fast"`


class Operands:
    """A problem with numbers.

    Parameters
    ----------
    problem : ConvProblem or PoolProblem
        Of a float dtype. On a GPU where `problem.device` is "cuda".

    Attributes
    ----------
    arrays : dict
        The operation's arrays by name, on the host.

    Raises
    ------
    TypeError
        If the dtype is none of `TOLERANCES`.
    """

    def __init__(self, problem: Any) -> None:
        if problem.dtype.name not in TOLERANCES:
            raise TypeError(f"dtype of a race must be one of {list(TOLERANCES)}, got {problem.dtype}")
        self.problem = problem
        fast = getattr(problem, "precision", "default") == "fast" and problem.dtype == np.float32
        self.tolerance = FAST if fast else TOLERANCES[problem.dtype.name]
        self.arrays = _conv_arrays(problem) if isinstance(problem, ConvProblem) else _pool_arrays(problem)
        self._wide = {name: _widened(array, problem.dtype) for name, array in self.arrays.items()}

    @cached_property
    def expected(self) -> np.ndarray:
        """The right result, by the direct algorithm in float64."""
        return self._exact(self.problem, self._wide)

    @cached_property
    def scale(self) -> float:
        """What errors are divided by: the largest value of |x| convolved with |weight|; of a pooling, of the result."""
        problem, wide = self.problem, self._wide
        if isinstance(problem, ConvProblem):
            problem = replace(problem, activation=None)
            wide = {name: abs(array) for name, array in wide.items()}
        return float(np.max(np.abs(self._exact(problem, wide)), initial=0)) or 1.0

    def call(self, algorithm: str = "auto") -> Callable[[], Any]:
        """The functional call, which packs weights."""
        return self._call(self.problem, self.placed, algorithm)

    def into(self, algorithm: str) -> Callable[[], Any]:
        """The same into an array of NaN, of which nothing must be left."""
        problem, out = self.problem, self.unfilled()
        if isinstance(problem, ConvProblem):
            return self._call(problem, self.placed, algorithm, out=out)
        others = []
        if problem.indices:
            others = [self._put(np.empty(problem.result_shape, np.int64))]
        elif problem.device == "cpu" and "max" in problem.operation:
            others = [np.zeros(1, np.uint8)]  # where gradients and unpoolings say that an index was wrong
        run: Any = select(problem, algorithm).run
        inputs = tuple(self.placed.values())

        def call() -> Any:
            run(problem, inputs, (out, *others))
            return out

        return call

    def runner(self, algorithm: Any, out: Any = None) -> Callable[[], Any]:
        """A call of an algorithm itself, registered or not, with its weight packed beforehand; it gives the result."""
        problem, arrays, out = self.problem, self.placed, self.unfilled() if out is None else out
        if isinstance(problem, PoolProblem):
            run: Any = partial(algorithm.run, problem, tuple(arrays.values()), (out,))
        else:
            swept, weight = self.swept
            size = algorithm.workspace(problem)
            run = partial(
                algorithm.run, problem, algorithm.prepare(problem, weight), swept, arrays.get("bias"),
                arrays.get("residual"), out, np.empty(size, np.uint8),
            )  # fmt: skip

        def call() -> Any:
            run()
            return out

        return call

    @property
    def swept(self) -> tuple[Any, Any]:
        """What a pass of a convolution sweeps, and what with, as `Algorithm.run` and `prepare` get them."""
        arrays, direction = self.placed, self.problem.direction
        swept = arrays["grad"] if direction == "input" and "grad" in arrays else arrays["x"]
        return swept, arrays["grad"] if direction == "weight" else arrays["weight"]

    def unfilled(self) -> Any:
        return self._put(np.full(self.problem.result_shape, np.nan, self.problem.dtype))

    def plan(self, algorithm: str = "auto") -> Any:
        """A plan, called with ``arrays["x"]``; None of what has none: gradients and poolings."""
        problem = self.problem
        if not isinstance(problem, ConvProblem) or problem.operation.endswith(("_input", "_weight")):
            return None
        x, operands = self.placed["x"], (self.placed["weight"], self.placed.get("bias"))
        options = _options(problem) | {"dtype": problem.dtype, "algorithm": algorithm}
        return nc.plan(problem.operation, tuple(x.shape), *operands, **options)

    def planned(self, plan: Any, out: bool = False) -> Callable[[], Any]:
        """A plan's call; into an array of NaN if `out` says so."""
        keywords: dict[str, Any] = {"residual": self.placed["residual"]} if "residual" in self.placed else {}
        if out:
            keywords["out"] = self.unfilled()
        return partial(plan, self.placed["x"], **keywords)

    def read(self, result: Any) -> np.ndarray:
        """A result as NumPy's array of float64; of values and indices the values."""
        from numconv.cuda import to_host

        return to_host(result[0] if isinstance(result, tuple) else result).astype(np.float64)

    @cached_property
    def placed(self) -> dict[str, Any]:
        """The arrays where the operation takes them."""
        return {name: self._put(array) for name, array in self.arrays.items()}

    def _put(self, array: np.ndarray) -> Any:
        if self.problem.device != "cuda":
            return array
        from numconv.cuda import to_device

        return to_device(array)

    @staticmethod
    def _exact(problem: Any, wide: dict[str, np.ndarray]) -> np.ndarray:
        exact = replace(problem, dtype=np.dtype(np.float64), device="cpu")
        names = algorithms(exact.operation)
        name = "direct" if "direct" in names else names[0]
        result = Operands._call(exact, wide, name)()
        return result[0] if isinstance(result, tuple) else result

    @staticmethod
    def _call(problem: Any, arrays: dict[str, Any], algorithm: str, **out: Any) -> Callable[[], Any]:
        if isinstance(problem, PoolProblem):
            make: Any = gpu("pooling").Call if problem.device == "cuda" else PoolCall
            return partial(make(problem, select(problem, algorithm), problem.result_shape).run, *arrays.values())
        function = getattr(nc, problem.operation)
        keywords = {**_options(problem), "algorithm": algorithm, **out}
        if problem.operation.endswith("_input"):
            return partial(function, problem.input_shape, arrays["weight"], arrays["grad"], **keywords)
        if problem.operation.endswith("_weight"):
            return partial(function, arrays["x"], problem.weight_shape, arrays["grad"], **keywords)
        residual = {"residual": arrays["residual"]} if "residual" in arrays else {}
        return partial(function, arrays["x"], arrays["weight"], arrays.get("bias"), **keywords, **residual)


def _options(problem: ConvProblem) -> dict[str, Any]:
    """The keywords of the call that makes a problem."""
    options: dict[str, Any] = {
        "stride": problem.stride, "padding": problem.padding, "dilation": problem.dilation, "groups": problem.groups,
        "data_format": problem.layout_out, "precision": problem.precision,
    }  # fmt: skip
    if "transpose" in problem.operation:
        options["output_size"] = problem.spatial
    if not problem.operation.endswith(("_input", "_weight")):
        options["activation"] = problem.activation
    return options


def _conv_arrays(problem: ConvProblem) -> dict[str, np.ndarray]:
    first = join_shape(problem.n, problem.ci, problem.spatial, FIRST)
    last = join_shape(problem.n, problem.co, problem.out_spatial, FIRST)
    backward = problem.direction == "input"
    numbers = np.random.default_rng(0)

    def image(shape: tuple[int, ...], memory: str) -> np.ndarray:
        """Of a channels-first shape, counted as the call has it, in the memory that the problem says."""
        array = numbers.standard_normal(shape, np.float32).astype(problem.dtype)
        if memory == LAST:
            array = np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
        return np.moveaxis(array, 1, -1) if problem.layout_out == LAST else array

    def plain(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        return numbers.standard_normal(shape, np.float32).astype(dtype)

    if problem.operation.endswith("_weight"):
        return {"x": image(first, problem.layout_in), "grad": image(last, problem.layout_out)}
    swept = image(last if backward else first, problem.layout_in)
    weight = plain(problem.weight_shape, problem.dtype)
    if problem.operation.endswith("_input"):
        return {"weight": weight, "grad": swept}
    arrays = {"x": swept, "weight": weight}
    if problem.bias:
        arrays["bias"] = plain((problem.ci if backward else problem.co,), problem.dtype)
    if problem.residual:
        arrays["residual"] = image(first if backward else last, problem.layout_out)
    return arrays


def _pool_arrays(problem: PoolProblem) -> dict[str, np.ndarray]:
    """Arrays in the order in which algorithms take them; indices are such that no two windows have the same."""
    numbers, name = np.random.default_rng(0), problem.operation
    unpooling = name.startswith("max_unpool")

    def values(shape: tuple[int, ...]) -> np.ndarray:
        return numbers.standard_normal(shape, np.float32).astype(problem.dtype)

    if name.endswith("_input") and "max" in name:
        coming = problem.input_shape if unpooling else problem.output_shape
        return {"indices": _indices(problem), "grad": values(coming)}
    if unpooling:
        return {"x": values(problem.output_shape), "indices": _indices(problem)}
    if name.startswith("lp") and name.endswith("_input"):
        return {"x": values(problem.input_shape), "grad": values(problem.output_shape)}
    arrays = {"grad": values(problem.output_shape)} if problem.backward else {"x": values(problem.input_shape)}
    if problem.weights == "array":
        arrays["weights"] = numbers.random(problem.kernel)
    return arrays


def _indices(problem: PoolProblem) -> np.ndarray:
    """One a window, spread over the plane."""
    windows, size = int(np.prod(problem.out_spatial)), int(np.prod(problem.spatial))
    plane = (np.arange(windows) * size // max(windows, 1)).reshape(problem.out_spatial)
    shape = join_shape(problem.n, problem.channels, problem.out_spatial, FIRST)
    indices = np.broadcast_to(plane, shape)
    return np.ascontiguousarray(np.moveaxis(indices, 1, -1) if problem.layout == LAST else indices)


def _widened(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return array.astype(np.float64) if array.dtype in (dtype, accumulator_dtype(dtype)) else array
