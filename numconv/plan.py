"""Plans: a problem, the algorithm chosen for it, its packed weights and its epilogue; and calls that are remembered."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from numconv.algorithm import Algorithm, select
from numconv.kernels.cpu.memory import LARGE, empty, native, pool
from numconv.kernels.cpu.replay import Launch, Replay, noting, replay
from numconv.options import options
from numconv.problem import LAST, ConvProblem, accumulator_dtype, supported_dtype

_LIMIT = 256  # kinds of calls that a plan remembers
_NOTHING = np.empty(0, np.uint8)


class Call:
    """What calls of one kind share: those with the same shapes, dtypes, layouts, options and settings.

    Parameters
    ----------
    x : numpy.ndarray
        One that such a call is given.
    shape : tuple of int
        Of the result.
    packs : bool
        Whether calls give a weight to pack, in place of a packed one.

    Attributes
    ----------
    new : callable
        Gives an uninitialised result.
    as_given : bool
        Whether weight and bias need no conversion.
    """

    as_given = False

    def __init__(
        self, problem: ConvProblem, algorithm: Algorithm, x: np.ndarray, shape: tuple[int, ...], packs: bool
    ) -> None:
        self.problem, self.shape, self.packs = problem, shape, packs
        large = math.prod(shape) * problem.dtype.itemsize >= LARGE
        self.new = partial(empty if large else np.empty, shape, problem.dtype)
        self._batched = x.ndim == problem.ndim + 2
        self._plain = self._arranged(x) is x
        self._others: dict[Algorithm, Call] = {}
        self._run_by(algorithm)

    def _run_by(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self._workspace = algorithm.workspace(self.problem)
        # What runs, and the bytes that it borrows: together, since another thread may change them.
        way = self._first_run if algorithm.replays else self._whole_run
        self._way: tuple[Callable[..., None], int] = way, self._workspace

    def by(self, algorithm: Algorithm) -> Call:
        """This call, run by another algorithm."""
        if algorithm is self.algorithm:
            return self
        if algorithm not in self._others:
            other = copy(self)
            other._run_by(algorithm)
            self._others[algorithm] = other
        return self._others[algorithm]

    def run(
        self, weight: np.ndarray, x: np.ndarray, bias: np.ndarray | None, residual: np.ndarray | None, out: np.ndarray
    ) -> np.ndarray:
        """`out`, computed, with workspace from the pool."""
        target = out
        if not self._plain:
            x = self._arranged(x)
            if not self._batched and self.problem.direction != "weight":
                target, residual = out[None], None if residual is None else residual[None]
        if out.size == 0:
            return out
        way, size = self._way
        if size == 0:
            way(weight, x, bias, residual, target, _NOTHING)
            return out
        memory = pool.borrow(size)
        try:
            way(weight, x, bias, residual, target, memory)
        finally:
            pool.give_back(memory)
        return out

    def _arranged(self, x: np.ndarray) -> np.ndarray:
        """x as algorithms sweep it."""
        x = converted(x, self.problem.dtype)
        if not self._batched:
            x = x[None]
        return x if self.problem.direction == "weight" else swept_view(x, self.problem.layout_out)[0]

    def _pack(self, weight: np.ndarray) -> np.ndarray:
        """The weight as the algorithm reads it."""
        return self.algorithm.prepare(self.problem, weight) if self.packs else weight

    def _whole_run(self, weight: np.ndarray, *operands: Any) -> None:
        """Run the algorithm."""
        self.algorithm.run(self.problem, self._pack(weight), *operands)

    def _first_run(self, weight: np.ndarray, x: Any, bias: Any, residual: Any, out: np.ndarray, memory: Any) -> None:
        """Run the algorithm, and see whether later calls can do with launching its kernels again."""
        workspace = memory[: self._workspace]
        with noting() as launches:
            packed = self._pack(weight)
            packing = len(launches)
            self.algorithm.run(self.problem, packed, x, bias, residual, out, workspace)
        again = None
        if packing or np.may_share_memory(packed, weight):
            pieces = [workspace, packed] if packing else [workspace]
            operands = weight, x, bias, None if residual is out else residual, out
            again = replay(launches, operands, pieces, packing)
        self._way = again or (self._whole_run, self._workspace)

    def launches(self, memory: Callable[[int], np.ndarray], *operands: Any) -> list[Launch] | None:
        """What a call of `run` with these operands launches, if that is all that it does.

        `memory` gives workspace of so many bytes. A call must have run before.
        """
        way, size = self._way
        plain = self._plain and self._batched
        return way.launches(*operands, memory(size)) if plain and isinstance(way, Replay) else None


def execute(
    problem: ConvProblem,
    algorithm: Algorithm,
    packed: np.ndarray,
    x: np.ndarray,
    bias: np.ndarray | None,
    residual: np.ndarray | None,
    out: np.ndarray,
) -> None:
    """Run an algorithm once, on arrays as it gets them, with workspace from the pool."""
    size = algorithm.workspace(problem)
    workspace = pool.borrow(size) if size else _NOTHING
    try:
        algorithm.run(problem, packed, x, bias, residual, out, workspace)
    finally:
        if size:
            pool.give_back(workspace)


def converted(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array in a dtype, native and aligned: itself or a copy."""
    return native(array) if array.dtype == dtype else array.astype(dtype)


def layout(array: Any) -> tuple[Any, ...]:
    """What a remembered call depends on of an array. AttributeError if it is none."""
    return array.shape, array.strides, array.dtype, array.flags.num


def layout_of_out(out: Any) -> tuple[Any, ...] | None:
    """The same of `out`: nothing where it lies as a new result does."""
    return None if out.flags.c_contiguous else layout(out)


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


class Bound:
    """A plan and the arrays that it is applied to by each call; one thread at a time may call it.

    Nothing is checked or looked up in its calls: of a 2x2 image 1.6 us in place of 3.2.
    """

    def __init__(self, call: Call, *operands: Any) -> None:
        self._call, self._operands = call, operands

    def __call__(self) -> np.ndarray:
        return self._call.run(*self._operands)

    def launches(self, memory: Callable[[int], np.ndarray]) -> list[Launch] | None:
        """The kernels that a call launches, with their arrays, where that is known and all that it does.

        `memory` gives workspace of so many bytes.
        """
        return self._call.launches(memory, *self._operands)


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
        self._calls: dict[Any, Call] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_calls": {}}  # compiled kernels cannot be pickled

    @property
    def workspace(self) -> int:
        """Bytes that a call on the planned shape borrows, with the present number of threads."""
        return self._algorithm.workspace(self.problem)

    def describe(self) -> str:
        """One line: operation, shapes, algorithm, packed bytes and workspace."""
        return described(self, self._packed.nbytes)

    def __repr__(self) -> str:
        return f"<Plan {self.describe()}>"

    def for_shape(self, x_shape: tuple[int, ...]) -> Plan:
        """A plan for images of another size, with the same packed weights.

        Raises
        ------
        ValueError
            If the shape has another rank or number of channels, or the kernel does not fit.
        """
        problem = resized(self, tuple(x_shape))
        return Plan(problem, self._algorithm, self._packed, self._bias, self._batched, self._arguments)

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
        try:
            key: Any = (
                x.shape, x.strides, x.dtype, x.flags.num, out is not None and layout_of_out(out),
                residual is not None and (residual is out or layout(residual)), options.version,
            )  # fmt: skip
            call = self._calls.get(key)
        except (AttributeError, TypeError):  # not arrays
            key = call = None
        if call is None:
            call = self._checked(x, residual is not None)
            if key is not None:
                if len(self._calls) >= _LIMIT:
                    self._calls.clear()
                self._calls[key] = call
        if residual is not None:
            residual = check_residual(residual, call.shape, self.problem.dtype)
        if out is None:
            out = call.new()
        else:
            check_out(out, call.shape, self.problem.dtype, {"x": x, "residual": residual})
        return call.run(self._packed, x, self._bias, residual, out)

    def bind(self, x: np.ndarray, out: np.ndarray, residual: np.ndarray | None = None) -> Bound:
        """What applies the plan to these very arrays.

        Parameters
        ----------
        x, out, residual : numpy.ndarray
            As for a call. `residual` is of the plan's dtype.

        Raises
        ------
        ValueError, TypeError
            If an array does not fit the plan.
        """
        call = self._checked(x, residual is not None)
        if residual is not None and check_residual(residual, call.shape, self.problem.dtype) is not residual:
            raise TypeError(f"residual must be an aligned array of dtype {self.problem.dtype}, got {residual.dtype}")
        check_out(out, call.shape, self.problem.dtype, {"x": x, "residual": residual})
        return Bound(call, self._packed, x, self._bias, residual, out)

    def _checked(self, x: Any, residual: bool) -> Call:
        """Check everything that does not depend on the values."""
        planned = self.problem
        if not isinstance(x, np.ndarray):
            raise TypeError(f"x must be a numpy.ndarray, got {type(x).__name__}")
        if x.dtype != planned.dtype and x.dtype.newbyteorder("=") != planned.dtype:
            raise TypeError(f"x must have the plan's dtype {planned.dtype}, got {x.dtype}")
        check_planned_shape(self, x.shape)
        whole = x if self._batched else x[None]
        problem = arranged_problem(replace(planned, n=whole.shape[0], residual=residual), native(whole))
        shape = problem.result_shape if self._batched else problem.result_shape[1:]
        return Call(problem, self._algorithm, x, shape, packs=False)


def described(plan: Any, packed_bytes: int) -> str:
    """A plan, of whatever device, in one line."""
    p = plan.problem
    device = "" if p.device == "cpu" else f" on {p.device}"
    return (
        f"{p.operation} {p.swept_shape} * {p.weight_shape} -> {p.result_shape} {p.dtype}{device}: {plan.algorithm}, "
        f"{packed_bytes} bytes packed, {plan.workspace} bytes of workspace"
    )


def resized(plan: Any, x_shape: tuple[int, ...]) -> ConvProblem:
    """The problem of a plan, of whatever device, for images of another size."""
    old = plan.problem
    whole = x_shape if plan._batched else (1, *x_shape)
    problem = ConvProblem.make(old.operation, whole, old.weight_shape, old.dtype, **plan._arguments)
    problem = replace(problem, device=old.device)
    reason = plan._algorithm.rejects(problem)
    if reason is not None:
        raise ValueError(f"algorithm {plan.algorithm!r} of this plan rejects x_shape {x_shape}: {reason}")
    return problem


def check_planned_shape(plan: Any, shape: tuple[int, ...]) -> None:
    """An error where an x of this shape is none of a plan's, of whatever device."""
    planned = plan.problem.swept_shape
    expected = planned if plan._batched else planned[1:]
    if len(shape) != len(expected) or (shape[1:] != expected[1:] if plan._batched else shape != expected):
        raise ValueError(f"x must have shape {('any', *expected[1:]) if plan._batched else expected}, got {shape}")


def arranged_problem(problem: ConvProblem, x: np.ndarray) -> ConvProblem:
    """The problem for an x, with a batch, that lies in memory as it does."""
    layout_in = LAST if swept_view(x, problem.layout_out)[1] else problem.layout_out
    return problem if layout_in == problem.layout_in else replace(problem, layout_in=layout_in)


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
    algorithm = select(problem, name, packed=True, weight=weight)
    packed = algorithm.prepare(problem, weight)
    if np.may_share_memory(packed, weight):
        packed = weight.copy()
    kept = None if bias is None else np.array(bias, accumulator_dtype(problem.dtype))
    return Plan(problem, algorithm, packed, kept, batched, arguments)
