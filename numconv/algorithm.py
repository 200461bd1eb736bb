"""Algorithms and their tables: how a problem is computed, and which way is chosen. Knows no kernel.

The table of an operation is a tuple that reads from top to bottom; its last entry accepts everything and needs
no workspace. `select` takes the cheapest by estimate among those that do not reject, ties by order.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from numconv.options import get_num_threads, options
from numconv.problem import accumulator_dtype


class Algorithm:
    """How a problem is computed. Subclasses have a `name` and fill in what differs from here.

    The operands of `prepare` and `run` are flat in meaning, not in shape: the forward pass sweeps the input `x` with
    `weight`; the input's gradient sweeps the output's gradient (as `x`) with `weight`; the weight's gradient sweeps
    the input (as `x`) with the output's gradient (as `weight`).
    """

    name = ""
    accepts: tuple[str, ...] = ()  # cases of lab/cases.py that must not be rejected (channels last)

    def rejects(self, problem: Any) -> str | None:
        """None, or a sentence that says why this problem is not taken."""
        return None

    def worker_bytes(self, problem: Any) -> int:
        """Bytes of workspace that each thread at work needs."""
        return 0

    def items(self, problem: Any) -> int:
        """Work items: no more threads than that can share the work."""
        return 1

    def workspace(self, problem: Any) -> int:
        """Bytes that `run` gets: for as many threads as may work now, fewer where the workspace limit asks for it."""
        each = self.worker_bytes(problem)
        if each == 0:
            return 0
        room = options.workspace_limit - self.packed_bytes(problem)
        threads = min(get_num_threads(), self.items(problem), (room if room > 0 else options.workspace_limit) // each)
        return each * max(threads, 1)

    def packed_bytes(self, problem: Any) -> int:
        """Bytes that `prepare` allocates."""
        return 0

    def cost(self, problem: Any) -> float:
        """Estimated seconds."""
        raise NotImplementedError

    def error_bound(self, problem: Any) -> float:
        """Bound on max|error| / max(|x| convolved with |weight|)."""
        return 1e-12 if problem.dtype.itemsize >= 8 else 1e-6

    def prepare(self, problem: Any, weight: np.ndarray) -> np.ndarray:
        """The weight in the order in which `run` reads it."""
        return weight

    def run(
        self,
        problem: Any,
        packed: np.ndarray,
        x: np.ndarray,
        bias: np.ndarray | None,
        residual: np.ndarray | None,
        out: np.ndarray,
        workspace: np.ndarray,
    ) -> None:
        """Compute into `out`."""
        raise NotImplementedError


class FunctionAlgorithm(Algorithm):
    """A user's `function(x, weight, out, stride, padding, dilation, groups)` as an algorithm of a forward convolution.

    The function gets contiguous channels-first arrays, padding already applied (so `padding` is zero), and writes
    `out`; bias, residual and activation are added here.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function

    def rejects(self, problem: Any) -> str | None:
        if getattr(problem, "direction", None) != "forward":
            return "a plain function can only be a forward convolution"
        return None

    def cost(self, problem: Any) -> float:
        return problem.flops / 1e9

    def run(self, problem, packed, x, bias, residual, out, workspace):
        from numconv.ops.activation import apply

        last = problem.layout_out != "channels_first"
        image = np.moveaxis(x, -1, 1) if problem.layout_in != "channels_first" else x
        image = np.pad(image, ((0, 0), (0, 0), *problem.padding))
        result = np.zeros((problem.n, problem.co, *problem.out_spatial), problem.dtype)
        zero = (0,) * problem.ndim
        self.function(
            np.ascontiguousarray(image), np.ascontiguousarray(packed), result, problem.stride, zero, problem.dilation,
            problem.groups,
        )  # fmt: skip
        result = result.astype(accumulator_dtype(problem.dtype), copy=False)
        if bias is not None:
            result += bias.reshape(-1, *(1,) * problem.ndim)
        shown = np.moveaxis(result, 1, -1) if last else result
        if residual is not None:
            shown = shown + residual
        out[...] = apply(shown, problem.activation)


_MODULES = {
    ("conv", "cpu"): "numconv.kernels.cpu.tables",
    ("pool", "cpu"): "numconv.kernels.cpu.tables",
}
_registered: dict[tuple[str, str], list[tuple[Algorithm, bool]]] = {}
_forced: ContextVar[str | None] = ContextVar("numconv_using", default=None)


@functools.cache
def _builtin(operation: str, device: str) -> tuple[Algorithm, ...]:
    family = "conv" if operation.startswith("conv") else "pool"
    if (family, device) not in _MODULES:
        raise ValueError(f"device must be 'cpu', got {device!r}")
    module = importlib.import_module(_MODULES[family, device])
    try:
        return module.TABLES[operation]
    except KeyError:
        raise ValueError(f"operation must be one of {sorted(module.TABLES)}, got {operation!r}") from None


def table(operation: str, device: str = "cpu") -> tuple[Algorithm, ...]:
    """Every algorithm of an operation: the built-in ones, then those registered. Loads the kernel modules."""
    added = _registered.get((operation, device), ())
    return _builtin(operation, device) + tuple(algorithm for algorithm, _ in added)


def algorithms(operation: str, device: str = "cpu") -> tuple[str, ...]:
    """Names of an operation's algorithms, in the order of its table.

    Parameters
    ----------
    operation : str
        Such as "conv2d", "conv2d_weight", "conv_transpose1d" or "max_pool2d".
    device : str

    Returns
    -------
    tuple of str

    Raises
    ------
    ValueError
        If there is no such operation.
    """
    return tuple(algorithm.name for algorithm in table(operation, device))


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
        Such as "conv2d".
    algorithm : Algorithm or callable
        A callable is a forward convolution `f(x, weight, out, stride, padding, dilation, groups)` on contiguous
        channels-first arrays which writes `out`.
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
        If `algorithm` is neither.
    ValueError
        If the operation is not known or the name is that of a built-in algorithm.
    """
    if not isinstance(algorithm, Algorithm):
        if not callable(algorithm):
            raise TypeError(f"algorithm must be an Algorithm or a function, got {type(algorithm).__name__}")
        algorithm = FunctionAlgorithm(str(name or getattr(algorithm, "__name__", "custom")), algorithm)
    elif name is not None:
        algorithm.name = name
    if not algorithm.name:
        raise ValueError("name must be given: the algorithm has none")
    if algorithm.name in ("auto", "tuned") or algorithm.name in (a.name for a in _builtin(operation, device)):
        raise ValueError(f"name {algorithm.name!r} is taken by a built-in algorithm of {operation}")
    added = [e for e in _registered.get((operation, device), []) if e[0].name != algorithm.name]
    _registered[operation, device] = [*added, (algorithm, default)]
    options.version += 1
    return algorithm


@contextlib.contextmanager
def using(name: str) -> Iterator[None]:
    """Within the block, run the algorithm `name` in every call that says `algorithm="auto"` and has one of it."""
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def forced() -> str | None:
    """The name that `using` asks for here, if any."""
    return _forced.get()


def select(problem: Any, name: str = "auto", *, packed: bool = False) -> Algorithm:
    """The algorithm for a problem.

    Parameters
    ----------
    problem : ConvProblem or PoolProblem
    name : str
        "auto", or the algorithm that must be taken.
    packed : bool
        Whether the caller holds packed weights, so that they are no workspace.

    Raises
    ------
    ValueError
        If there is none of that name, or it rejects the problem; the message is its sentence.
    """
    entries = table(problem.operation, problem.device)
    if name == "auto" and (wanted := forced()) in {a.name for a in entries}:
        name = str(wanted)
    if name != "auto":
        for algorithm in entries:
            if algorithm.name == name:
                reason = rejection(algorithm, problem, packed)
                if reason is not None:
                    raise ValueError(f"algorithm {name!r} rejects this problem: {reason}")
                return algorithm
        raise ValueError(f"algorithm must be 'auto' or one of {[a.name for a in entries]}, got {name!r}")
    best, least = entries[0], float("inf")
    for algorithm, cost, reason in candidates(problem, packed=packed):
        if reason is None and cost < least:
            best, least = algorithm, cost
    return best


def rejection(algorithm: Algorithm, problem: Any, packed: bool = False) -> str | None:
    """Why an algorithm cannot take a problem: its own sentence, or that one thread's workspace is above the limit."""
    reason = algorithm.rejects(problem)
    if reason is None:
        need = algorithm.worker_bytes(problem) + (0 if packed else algorithm.packed_bytes(problem))
        if need > options.workspace_limit:
            reason = f"needs {need} bytes of workspace, above the limit of {options.workspace_limit}"
    return reason


def candidates(problem: Any, *, packed: bool = False) -> list[tuple[Algorithm, float, str | None]]:
    """(algorithm, estimated seconds, None or why it is not chosen automatically), in the order of the table."""
    optional = {id(a) for a, default in _registered.get((problem.operation, problem.device), ()) if not default}
    found: list[tuple[Algorithm, float, str | None]] = []
    for algorithm in table(problem.operation, problem.device):
        reason = rejection(algorithm, problem, packed)
        if reason is None and id(algorithm) in optional:
            reason = "registered without default=True: it runs where it is named"
        found.append((algorithm, algorithm.cost(problem) if reason is None else float("inf"), reason))
    return found
