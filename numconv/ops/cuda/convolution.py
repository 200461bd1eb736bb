"""Convolutions of arrays on a GPU: forward, transposed, gradients; plans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from numconv.algorithm import Algorithm, forced, select
from numconv.kernels.cuda import memory
from numconv.ops.cuda.borders import check_together, taking
from numconv.ops.device import observed
from numconv.options import options
from numconv.plan import check_planned_shape, described, resized
from numconv.problem import LAST, ConvProblem, spatial_axes, supported_dtype, with_batch

_LIMIT = 4096  # calls remembered
_calls: dict[Any, _Call] = {}


class _Call:
    """What calls of one kind share."""

    def __init__(self, problem: ConvProblem, algorithm: Algorithm, shape: tuple[int, ...]) -> None:
        self.problem, self.algorithm, self.shape = problem, algorithm, shape
        self._workspace = algorithm.workspace(problem)

    def pack(self, weight: Any) -> Any:
        """A weight as the algorithm reads it."""
        return observed("pack", self, self.algorithm.prepare, self.problem, memory.realigned(weight))

    def run(self, packed: Any, x: Any, bias: Any, residual: Any, out: Any) -> Any:
        """`out`, or a new array, filled. Operands are batched and lie as the problem says."""
        problem = self.problem
        shape = problem.result_shape
        target = memory.empty(self.shape, problem.dtype) if out is None else out
        if not target.size:
            return target
        direct = memory.is_contiguous(target) and memory.aligned(target)
        whole = memory.reshape(target, shape) if direct else memory.empty(shape, problem.dtype)
        if residual is not None:
            residual = memory.reshape(memory.realigned(residual), shape)
        workspace: Any = memory.empty((self._workspace,), np.uint8) if self._workspace else None
        observed("run", self, self.algorithm.run, problem, packed, x, bias, residual, whole, workspace)
        if not direct:
            memory.copy_into(target, memory.reshape(whole, self.shape))
        return target


def _find(key: Any, make: Callable[[], _Call]) -> _Call:
    """A remembered call, or what `make` gives."""
    try:
        call = _calls.get(key)
    except TypeError:  # an option that cannot be looked up, such as a list
        return make()
    if call is None:
        if len(_calls) >= _LIMIT:
            _calls.clear()
        call = _calls[key] = make()
    return call


def _layout(array: Any) -> Any:
    return None if array is None else (array.shape, array.strides, array.dtype)


def _common_dtype(**arrays: Any) -> np.dtype:
    """The dtype of all arrays, which are not converted into each other on the device."""
    present = {name: a.dtype for name, a in arrays.items() if a is not None}
    name, dtype = next(iter(present.items()))
    if len(set(present.values())) > 1:
        raise TypeError(
            f"arrays on a GPU must be of one dtype, got {', '.join(f'{n} {d}' for n, d in present.items())}"
        )
    return supported_dtype(name, dtype)


@taking
def convolution(
    operation: str, x: Any, weight: Any, bias: Any, arguments: dict[str, Any], residual: Any, algorithm: str, out: Any
) -> Any:
    """A forward or transposed convolution; `arguments` are options of `ConvProblem.make`."""
    check_together(x=x, weight=weight, bias=bias, residual=residual, out=out)
    key = (
        operation, _layout(x), weight.shape, _layout(bias), residual is not None, algorithm, forced(), options.version,
        *arguments.values(), *map(type, arguments.values()),
    )  # fmt: skip
    call = _find(key, lambda: _checked(operation, x, weight, bias, arguments, residual is not None, algorithm))
    problem = call.problem
    _check("residual", residual, call.shape, problem.dtype)
    _check_out(out, call.shape, problem.dtype, x=x, weight=weight, bias=bias)
    return call.run(call.pack(weight), swept(x, problem), _contiguous(bias), residual, out)


def _checked(
    operation: str, x: Any, weight: Any, bias: Any, arguments: dict[str, Any], residual: bool, algorithm: str
) -> _Call:
    """Check all that does not depend on values, and choose."""
    dtype, ndim = _common_dtype(x=x, weight=weight, bias=bias), spatial_axes(operation)
    whole = with_batch("x", x.shape, operation)
    problem = ConvProblem.make(
        operation, whole, weight.shape, dtype, bias_shape=None if bias is None else bias.shape, residual=residual,
        **arguments,
    )  # fmt: skip
    problem = arranged(replace(problem, device="cuda"), x)
    return _Call(problem, select(problem, algorithm), problem.result_shape[ndim + 2 - x.ndim :])


def problem(operation: str, x: Any, weight: Any, bias: Any, arguments: dict[str, Any]) -> ConvProblem:
    """The problem of a call, or of the gradient of one, of whose operands only shapes and dtypes count."""
    check_together(x=x, weight=weight, bias=bias)
    ndim, gradient = spatial_axes(operation), operation.endswith(("_input", "_weight"))
    residual = arguments.pop("residual", None) is not None
    forward = f"conv{ndim}d" if gradient else operation
    call = _checked(forward, x, weight, bias, arguments, residual, "auto")
    return call.problem.with_operation(operation) if gradient else call.problem


def arranged(problem: ConvProblem, x: Any) -> ConvProblem:
    """The problem for a swept array that may lie channels last though it is counted channels first."""
    if problem.layout_in == LAST or not _lies_last(x, problem.ndim):
        return problem
    return replace(problem, layout_in=LAST)


def _lies_last(x: Any, ndim: int) -> bool:
    """Whether an array that is counted channels first is contiguous channels last, and not both."""
    first = x.ndim - ndim - 1
    order = (*range(first), *range(first + 1, x.ndim), first)
    return x.shape[first] > 1 and not memory.is_contiguous(x) and memory.is_contiguous(memory.transpose(x, order))


def swept(x: Any, problem: ConvProblem) -> Any:
    """The swept array, contiguous in the layout that the problem says, with a batch."""
    if x.ndim == problem.ndim + 1:
        x = memory.broadcast_to(x, (1, *x.shape))
    if problem.layout_in != problem.layout_out:  # counted channels first, it lies channels last
        x = memory.transpose(x, (0, *range(2, x.ndim), 1))
    return memory.realigned(x)


def _contiguous(array: Any) -> Any:
    return None if array is None else memory.realigned(array)


def _check(name: str, array: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if array is not None and tuple(array.shape) != shape:
        raise ValueError(f"{name} must have the result's shape {shape}, got {tuple(array.shape)}")
    if array is not None and array.dtype != dtype:
        raise TypeError(f"{name} must be of the result's dtype {dtype}, got {array.dtype}")


def _check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype, **inputs: Any) -> None:
    _check("out", out, shape, dtype)
    for name, other in inputs.items():
        if out is not None and other is not None and memory.overlap(out, other):
            raise ValueError(f"out must not overlap {name}")


@taking
def gradient(
    operation: str, names: tuple[str, str], shape: tuple[int, ...], known: Any, grad: Any, arguments: dict[str, Any],
    algorithm: str, out: Any,
) -> Any:  # fmt: skip
    """The input's or the weight's gradient, of `shape`; `names` are those of that argument and of `known`."""
    check_together(**{names[1]: known}, grad_output=grad, out=out)
    key = (
        operation, shape, _layout(known), _layout(grad), algorithm, forced(), options.version, *arguments.values(),
        *map(type, arguments.values()),
    )  # fmt: skip
    call = _find(key, lambda: _checked_gradient(operation, names, shape, known, grad, arguments, algorithm))
    problem = call.problem
    _check_out(out, call.shape, problem.dtype, **{names[1]: known}, grad_output=grad)
    if problem.direction == "input":
        return call.run(call.pack(known), swept(grad, problem), None, None, out)
    gradient = memory.reshape(memory.realigned(grad), problem.output_shape)
    return call.run(gradient, memory.reshape(memory.realigned(known), problem.input_shape), None, None, out)


def _checked_gradient(
    operation: str, names: tuple[str, str], shape: tuple[int, ...], known: Any, grad: Any, arguments: dict[str, Any],
    algorithm: str,
) -> _Call:  # fmt: skip
    ndim, of_input = spatial_axes(operation), operation.endswith("_input")
    x_shape, weight_shape = (shape, known.shape) if of_input else (known.shape, shape)
    whole = with_batch(names[0] if of_input else names[1], x_shape, operation)
    dtype = _common_dtype(**{names[1]: known}, grad_output=grad)
    problem = ConvProblem.make(f"conv{ndim}d", whole, weight_shape, dtype, **arguments)
    expected = problem.output_shape[ndim + 2 - len(x_shape) :]
    if tuple(grad.shape) != expected:
        raise ValueError(f"grad_output must have the convolution's output shape {expected}, got {tuple(grad.shape)}")
    problem = replace(problem.with_operation(operation), device="cuda")
    if of_input:
        problem = arranged(problem, grad)
    return _Call(problem, select(problem, algorithm), tuple(shape))


class DevicePlan:
    """A convolution on a GPU prepared for many calls: made by `numconv.plan` of a weight that lies there.

    Attributes
    ----------
    problem : ConvProblem
    algorithm : str
        Name of the algorithm that runs.
    """

    def __init__(
        self, problem: ConvProblem, algorithm: Algorithm, weight: Any, bias: Any, batched: bool,
        arguments: dict[str, Any],
    ) -> None:  # fmt: skip
        self.problem, self.algorithm = problem, algorithm.name
        self._algorithm, self._weight, self._bias, self._batched = algorithm, weight, bias, batched
        self._arguments = arguments
        self._calls: dict[Any, _Call] = {}
        # By the layout of x, on which the order in which weights are read may depend.
        self._packed = {problem.layout_in: algorithm.prepare(problem, weight)}

    @property
    def workspace(self) -> int:
        """Bytes that a call on the planned shape borrows."""
        return self._algorithm.workspace(self.problem)

    def describe(self) -> str:
        """One line: operation, shapes, algorithm, packed bytes and workspace."""
        return described(self, self._packed[self.problem.layout_in].nbytes)

    def __repr__(self) -> str:
        return f"<Plan {self.describe()}>"

    def for_shape(self, x_shape: tuple[int, ...]) -> DevicePlan:
        """A plan for images of another size, with the same weights.

        Raises
        ------
        ValueError
            If the shape has another rank or number of channels, or the kernel does not fit.
        """
        return _for_shape(self, self._weight, tuple(x_shape))

    def __call__(self, x: Any, *, residual: Any = None, out: Any = None) -> Any:
        """Apply the plan: as `Plan`, on arrays of the GPU."""
        return _planned(self, x, residual=residual, out=out)

    def _call(self, x: Any, residual: bool) -> _Call:
        key = tuple(x.shape), tuple(x.strides), x.dtype, residual
        call = self._calls.get(key)
        if call is None:
            planned = self.problem
            check_planned_shape(self, tuple(x.shape))
            if x.dtype != planned.dtype:
                raise TypeError(f"x must have the plan's dtype {planned.dtype}, got {x.dtype}")
            problem = replace(
                planned, n=x.shape[0] if self._batched else 1, residual=residual, layout_in=planned.layout_out
            )
            problem = arranged(problem, x)
            shape = problem.result_shape if self._batched else problem.result_shape[1:]
            if len(self._calls) >= _LIMIT:
                self._calls.clear()
            call = self._calls[key] = _Call(problem, self._algorithm, shape)
        return call

    def _packed_for(self, problem: ConvProblem) -> Any:
        packed = self._packed.get(problem.layout_in)
        if packed is None:  # threads that come here together pack alike
            packed = self._packed[problem.layout_in] = self._algorithm.prepare(problem, self._weight)
        return packed


@taking
def _planned(plan: DevicePlan, x: Any, *, residual: Any, out: Any) -> Any:
    check_together(x=x, weight=plan._weight, residual=residual, out=out)
    call = plan._call(x, residual is not None)
    _check("residual", residual, call.shape, call.problem.dtype)
    _check_out(out, call.shape, call.problem.dtype, x=x)
    return call.run(plan._packed_for(call.problem), swept(x, call.problem), plan._bias, residual, out)


@taking
def _for_shape(plan: DevicePlan, weight: Any, shape: tuple[int, ...]) -> DevicePlan:
    return DevicePlan(resized(plan, shape), plan._algorithm, weight, plan._bias, plan._batched, plan._arguments)


@taking
def plan(
    operation: str, shape: tuple[int, ...], weight: Any, bias: Any, algorithm: str, arguments: dict[str, Any]
) -> Any:
    """A plan for a weight, and a bias, on a GPU."""
    check_together(weight=weight, bias=bias)
    ndim = spatial_axes(operation)
    whole = with_batch("x_shape", shape, operation)
    dtype = _common_dtype(weight=weight, bias=bias)
    arguments = arguments | {"bias_shape": None if bias is None else bias.shape}
    problem = replace(ConvProblem.make(operation, whole, weight.shape, dtype, **arguments), device="cuda")
    chosen = select(problem, algorithm, packed=True)
    kept = None if bias is None else memory.copied(bias)
    return DevicePlan(problem, chosen, memory.copied(weight), kept, len(shape) == ndim + 2, arguments)
