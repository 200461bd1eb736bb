"""Plans: a problem, the algorithm chosen for it, its packed weights and its epilogue; and the pool of workspace."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import Any

import numpy as np

from numconv.algorithm import Algorithm, select
from numconv.kernels.cpu.memory import aligned, native
from numconv.options import options
from numconv.problem import LAST, ConvProblem, accumulator_dtype, supported_dtype


class Pool:
    """Workspace, lent to one call at a time; what lies idle is kept, at most one workspace limit of it."""

    def __init__(self) -> None:
        self._idle: list[np.ndarray] = []
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it

    def borrow(self, size: int) -> np.ndarray:
        """At least `size` bytes: an idle piece that is large enough, or a new one."""
        with self._lock:
            for i, piece in enumerate(self._idle):
                if piece.size >= size:
                    return self._idle.pop(i)
        return aligned(-(-size // 4096) * 4096, np.uint8)

    def give_back(self, piece: np.ndarray) -> None:
        """Return what was borrowed. The oldest idle pieces are dropped where all are above the limit."""
        with self._lock:
            self._idle.append(piece)
            while sum(idle.size for idle in self._idle) > options.workspace_limit:
                self._idle.pop(0)


pool = Pool()
_NOTHING = np.empty(0, np.uint8)


def execute(
    problem: ConvProblem,
    algorithm: Algorithm,
    packed: np.ndarray,
    x: np.ndarray,
    bias: np.ndarray | None,
    residual: np.ndarray | None,
    out: np.ndarray,
) -> None:
    """Run an algorithm with workspace from the pool."""
    size = algorithm.workspace(problem)
    if size == 0:
        algorithm.run(problem, packed, x, bias, residual, out, _NOTHING)
        return
    workspace = pool.borrow(size)
    try:
        algorithm.run(problem, packed, x, bias, residual, out, workspace)
    finally:
        pool.give_back(workspace)


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype, inputs: dict[str, Any]) -> np.ndarray:
    """`out`, or an error where it cannot take the result: shape, dtype, writeable, apart from all inputs."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy.ndarray, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    if out.dtype != dtype or not out.dtype.isnative:
        raise TypeError(f"out must have dtype {dtype}, got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
    if (not out.flags.c_contiguous and not _own_elements(out)) or not out.flags.aligned:
        raise ValueError(
            f"out must be aligned and have an element of its own for each entry, got strides {out.strides}"
        )
    check_apart(out, inputs)
    return out


def _own_elements(out: np.ndarray) -> bool:
    """Whether strides are whole elements and no two entries share memory, as in any slice of an array."""
    reach = out.itemsize
    for stride, n in sorted((abs(s), n) for s, n in zip(out.strides, out.shape) if n > 1):
        if stride < reach or stride % out.itemsize:
            return False
        reach += stride * (n - 1)
    return True


def check_apart(out: np.ndarray, inputs: dict[str, Any]) -> None:
    """An error where `out` overlaps an input, unless it is the residual itself."""
    for name, other in inputs.items():
        if other is None or not np.may_share_memory(out, other):
            continue
        if name == "residual" and _same_elements(out, other):
            continue
        try:
            overlap = np.shares_memory(out, other, max_work=100_000)  # type: ignore[arg-type]
        except np.exceptions.TooHardError:
            overlap = True
        if overlap:
            raise ValueError(
                f"out must not overlap {name}" + (" unless it is residual itself" if name == "residual" else "")
            )


def _same_elements(a: np.ndarray, b: np.ndarray) -> bool:
    where = "__array_interface__"
    same_place = getattr(a, where)["data"][0] == getattr(b, where)["data"][0]
    return same_place and a.shape == b.shape and a.strides == b.strides and a.dtype == b.dtype


def check_residual(residual: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """`residual` as an array of the result's shape and dtype."""
    residual = np.asarray(residual)
    supported_dtype("residual", residual.dtype)
    if residual.shape != shape:
        raise ValueError(f"residual must have the result's shape {shape}, got {residual.shape}")
    if not np.can_cast(residual.dtype, dtype, "same_kind") or residual.dtype.kind == "b":
        raise TypeError(f"residual must be of the result's dtype {dtype}, got {residual.dtype}")
    return native(residual if residual.dtype == dtype else residual.astype(dtype))


class Plan:
    """A convolution prepared for many calls: made by `plan`, immutable, callable by any number of threads.

    Attributes
    ----------
    problem : ConvProblem
    algorithm : str
        Name of the algorithm that runs.
    """

    def __init__(
        self,
        problem: ConvProblem,
        algorithm: Algorithm,
        packed: np.ndarray,
        bias: np.ndarray | None,
        batched: bool,
        arguments: dict[str, Any],
    ) -> None:
        self.problem = problem
        self.algorithm = algorithm.name
        self._algorithm = algorithm
        self._packed = packed
        self._bias = bias
        self._batched = batched
        self._arguments = arguments
        self._problems: dict[tuple[int, bool, bool], ConvProblem] = {}

    @property
    def workspace(self) -> int:
        """Bytes that a call on the planned shape borrows, with the present number of threads."""
        return self._algorithm.workspace(self.problem)

    def describe(self) -> str:
        """One line: operation, shapes, algorithm, packed bytes and workspace."""
        p = self.problem
        swept = p.output_shape if p.direction == "input" else p.input_shape
        return (
            f"{p.operation} {swept} * {p.weight_shape} -> {p.result_shape} {p.dtype}: {self.algorithm}, "
            f"{self._packed.nbytes} bytes packed, {self.workspace} bytes of workspace"
        )

    def __repr__(self) -> str:
        return f"<Plan {self.describe()}>"

    def for_shape(self, x_shape: tuple[int, ...]) -> Plan:
        """A plan for images of another size, with the same packed weights.

        Raises
        ------
        ValueError
            If the shape has another rank or number of channels, or the kernel does not fit.
        """
        shape = tuple(x_shape) if self._batched else (1, *x_shape)
        old = self.problem
        problem = ConvProblem.make(old.operation, shape, old.weight_shape, old.dtype, **self._arguments)
        reason = self._algorithm.rejects(problem)
        if reason is not None:
            raise ValueError(f"algorithm {self.algorithm!r} of this plan rejects x_shape {tuple(x_shape)}: {reason}")
        return Plan(problem, self._algorithm, self._packed, self._bias, self._batched, self._arguments)

    def _adapted(self, n: int, from_last: bool, residual: bool) -> ConvProblem:
        key = (n, from_last, residual)
        found = self._problems.get(key)
        if found is None:
            layout = LAST if from_last else self.problem.layout_out
            found = replace(self.problem, n=n, layout_in=layout, residual=residual)
            if len(self._problems) < 64:
                self._problems[key] = found
        return found

    def __call__(self, x: Any, *, residual: Any = None, out: np.ndarray | None = None) -> np.ndarray:
        """Apply the plan.

        Parameters
        ----------
        x : numpy.ndarray
            Of the planned dtype, rank, channels and image size; any batch size.
        residual : numpy.ndarray, optional
            Of the result's shape; added before the activation.
        out : numpy.ndarray, optional
            Where the result goes; may be exactly `residual`.

        Returns
        -------
        numpy.ndarray

        Raises
        ------
        ValueError, TypeError
            If an array does not fit the plan.
        """
        given, planned = x, self.problem
        if not isinstance(x, np.ndarray):
            raise TypeError(f"x must be a numpy.ndarray, got {type(x).__name__}")
        if x.dtype != planned.dtype and x.dtype.newbyteorder("=") != planned.dtype:
            raise TypeError(f"x must have the plan's dtype {planned.dtype}, got {x.dtype}")
        swept = planned.output_shape if planned.direction == "input" else planned.input_shape
        expected = swept if self._batched else swept[1:]
        if x.ndim != len(expected) or (x.shape[1:] != expected[1:] if self._batched else x.shape != expected):
            raise ValueError(
                f"x must have shape {('any', *expected[1:]) if self._batched else expected}, got {x.shape}"
            )
        if not self._batched:
            x = x[None]
        x, from_last = swept_view(native(x), planned.layout_out)
        n = x.shape[0]
        problem = self._adapted(n, from_last, residual is not None)
        shape = problem.result_shape if self._batched else problem.result_shape[1:]
        if residual is not None:
            residual = check_residual(residual, shape, planned.dtype)
        if out is None:
            out = np.empty(shape, planned.dtype)
        else:
            check_out(out, shape, planned.dtype, {"x": given, "residual": residual})
        if out.size:
            more = residual if residual is None or self._batched else residual[None]
            execute(problem, self._algorithm, self._packed, x, self._bias, more, out if self._batched else out[None])
        return out


def swept_view(x: np.ndarray, layout: str) -> tuple[np.ndarray, bool]:
    """(x as kernels sweep it, whether it is channels last): channels-last memory seen channels first is turned back."""
    if layout == LAST:
        return x, True
    if x.flags.c_contiguous or x.strides[1] != x.itemsize or x.shape[1] == 1:
        return x, False
    return np.moveaxis(x, 1, -1), True


def make_plan(
    problem: ConvProblem,
    name: str,
    weight: np.ndarray,
    bias: np.ndarray | None,
    batched: bool,
    arguments: dict[str, Any],
) -> Plan:
    """A plan for a checked problem, made of `arguments`. Weight and bias are copied."""
    algorithm = select(problem, name, packed=True)
    packed = algorithm.prepare(problem, weight)
    if np.may_share_memory(packed, weight):
        packed = weight.copy()
    kept = None if bias is None else np.array(bias, accumulator_dtype(problem.dtype))
    return Plan(problem, algorithm, packed, kept, batched, arguments)
