"""Algorithms and their tables: how a problem is computed, and which way is chosen. Knows no kernel.

The table of an operation is a tuple that reads from top to bottom; its last entry accepts everything and needs
no workspace. `select` takes the cheapest by estimate among those that do not reject, ties by order.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from numconv import measured
from numconv.forks import loading
from numconv.options import get_num_threads, options


class Algorithm:
    """How a problem is computed. Subclasses have a `name` and fill in what differs from here.

    The operands of `prepare` and `run` are flat in meaning, not in shape: the forward pass sweeps the input `x` with
    `weight`; the input's gradient sweeps the output's gradient (as `x`) with `weight`; the weight's gradient sweeps
    the input (as `x`) with the output's gradient (as `weight`).
    """

    name = ""
    accepts: tuple[str, ...] = ()  # cases of lab/cases.py that must not be rejected
    accepts_layout = "last"  # where channels lie in them
    replays = False  # whether `run` and `prepare` do nothing but launch kernels, which calls alike may launch again
    reads_weight = False  # whether `rejects_weight` looks at the weight's values

    def rejects(self, problem: Any) -> str | None:
        """None, or a sentence that says why this problem is not taken."""
        return None

    def rejects_weight(self, problem: Any, weight: np.ndarray) -> str | None:
        """None, or a sentence that says why the values of this weight do not suit. Asked only where `reads_weight`."""
        return None

    def worker_bytes(self, problem: Any) -> int:
        """Bytes of workspace that each thread at work needs."""
        return 0

    def shared_bytes(self, problem: Any) -> int:
        """Bytes of workspace that all threads share."""
        return 0

    def items(self, problem: Any) -> int:
        """Work items: no more threads than that can share the work."""
        return 1

    def workspace(self, problem: Any) -> int:
        """Bytes that `run` gets: for as many threads as may work now, fewer where the workspace limit asks for it."""
        each, shared = self.worker_bytes(problem), self.shared_bytes(problem)
        if each == 0:
            return shared
        room = options.workspace_limit - self.packed_bytes(problem) - shared
        threads = min(get_num_threads(), self.items(problem), (room if room > 0 else options.workspace_limit) // each)
        return shared + each * max(threads, 1)

    def packed_bytes(self, problem: Any) -> int:
        """Bytes that `prepare` allocates."""
        return 0

    def cost(self, problem: Any) -> float:
        """Estimated seconds."""
        raise NotImplementedError

    def packing(self, problem: Any) -> float:
        """Estimated seconds of `prepare`, on one thread: 0.4 ns a number, for panels of 16 to 512 channels."""
        return self.packed_bytes(problem) * 1e-10

    def error_bound(self, problem: Any) -> float:
        """Bound on ``max|error| / max(|x| convolved with |weight|)``."""
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


_MODULES = {
    ("conv", "cpu"): "numconv.kernels.cpu.tables",
    ("pool", "cpu"): "numconv.kernels.cpu.tables",
    ("conv", "cuda"): "numconv.kernels.cuda.tables",
    ("pool", "cuda"): "numconv.kernels.cuda.tables",
}
_registered: dict[tuple[str, str], list[tuple[Algorithm, bool]]] = {}
_forced: ContextVar[str | None] = ContextVar("numconv_using", default=None)


def _load(name: str) -> Any:
    with loading:
        return importlib.import_module(name)


@functools.cache
def _builtin(operation: str, device: str) -> tuple[Algorithm, ...]:
    family = "conv" if operation.startswith("conv") else "pool"
    if (family, device) not in _MODULES:
        raise ValueError(f"device must be 'cpu' or 'cuda', got {device!r}")
    module = _load(_MODULES[family, device])
    try:
        return module.TABLES[operation]
    except KeyError:
        raise ValueError(f"operation must be one of {sorted(module.TABLES)}, got {operation!r}") from None


@functools.cache
def kernels(subject: str, device: str = "cpu") -> Any:
    """The kernel module of a subject that has one way to be computed, such as "activation". Loads it."""
    return _load(f"numconv.kernels.{device}.{subject}")


class _Installed:
    """Whether the kernels that installed packages bring have been looked for."""

    sought = False


def _load_installed() -> None:
    """Register what packages offer in the entry-point group `numconv.kernels`; of a broken one there is a warning.

    An entry is an Algorithm with an `operation`, such as `numconv.lab.kernel` makes, or a function that registers.
    To look for them takes 5 ms where 133 packages are installed.
    """
    from importlib.metadata import entry_points

    with loading:
        if _Installed.sought:
            return
        _Installed.sought = True  # what they load may ask for tables
        for entry in entry_points(group="numconv.kernels"):
            try:
                offered = entry.load()
                if not isinstance(offered, Algorithm):
                    offered()
                    continue
                operation, device = offered.operation, getattr(offered, "device", "cpu")  # type: ignore[attr-defined]
                if all(offered is not known for known, _ in _registered.get((operation, device), ())):
                    add(operation, offered, False, device)
            except Exception as error:
                package = getattr(entry.dist, "name", "an unknown package")
                warnings.warn(
                    f"the kernel {entry.name!r} ({entry.value}) of the package {package} cannot be used: "
                    f"{type(error).__name__}: {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )


def table(operation: str, device: str = "cpu") -> tuple[Algorithm, ...]:
    """Every algorithm of an operation: the built-in ones, then those registered. Loads the kernel modules."""
    builtin = _builtin(operation, device)
    if not _Installed.sought:
        _load_installed()
    added = _registered.get((operation, device), ())
    return builtin + tuple(algorithm for algorithm, _ in added)


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


def add(operation: str, algorithm: Algorithm, default: bool, device: str) -> None:
    """Put an algorithm at the end of an operation's table, in place of an added one of its name.

    Raises
    ------
    ValueError
        If the operation is not known, or the name is missing or that of a built-in algorithm.
    """
    if not algorithm.name:
        raise ValueError("name must be given: the algorithm has none")
    if algorithm.name in ("auto", "tuned") or algorithm.name in (a.name for a in _builtin(operation, device)):
        raise ValueError(f"name {algorithm.name!r} is taken by a built-in algorithm of {operation}")
    others = [entry for entry in _registered.get((operation, device), []) if entry[0].name != algorithm.name]
    _registered[operation, device] = [*others, (algorithm, default)]
    options.version += 1


@contextlib.contextmanager
def using(name: str) -> Iterator[None]:
    """Within the block, run the algorithm `name` in every call that says `algorithm="auto"` and has one of it.

    `using("tuned")` makes "auto" mean "tuned".
    """
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def forced() -> str | None:
    """The name that `using` asks for here, if any."""
    return _forced.get()


def select(problem: Any, name: str = "auto", *, packed: bool = False, weight: np.ndarray | None = None) -> Algorithm:
    """The algorithm for a problem.

    Parameters
    ----------
    problem : ConvProblem or PoolProblem
    name : str
        "auto"; "tuned", which is the winner that `tune` remembered for this problem, and "auto" where there is none or
        it rejects; or the algorithm that must be taken.
    packed : bool
        Whether the caller holds packed weights, so that they are no workspace.
    weight : ndarray, optional
        The weight as `prepare` gets it. Without it, algorithms are not asked whether its values suit.

    Raises
    ------
    ValueError
        If there is none of that name, or it rejects the problem or the weight; the message is its sentence.
    """
    entries = {algorithm.name: algorithm for algorithm in table(problem.operation, problem.device)}
    if name == "auto" and (wanted := forced()) in (*entries, "tuned"):
        name = str(wanted)
    if name == "tuned":
        winner = entries.get(measured.fastest(measured.times(problem), packed))
        if winner is not None and rejection(winner, problem, packed, weight) is None:
            return winner
    elif name != "auto":
        if name not in entries:
            raise ValueError(f"algorithm must be 'auto', 'tuned' or one of {list(entries)}, got {name!r}")
        reason = rejection(entries[name], problem, packed, weight)
        if reason is not None:
            raise ValueError(f"algorithm {name!r} rejects this problem: {reason}")
        return entries[name]
    optional = _optional(problem)
    rows = (_estimate(a, problem, packed, None) for a in entries.values() if id(a) not in optional)
    cheapest_first = sorted(rows, key=lambda row: row[1])
    taking = (a for a, _, reason in cheapest_first if reason is None and _values(a, problem, weight) is None)
    return next(taking)


def _values(algorithm: Algorithm, problem: Any, weight: np.ndarray | None) -> str | None:
    """The algorithm's sentence on the weight's values, if a weight is given and it has one."""
    return algorithm.rejects_weight(problem, weight) if weight is not None and algorithm.reads_weight else None


def rejection(algorithm: Algorithm, problem: Any, packed: bool = False, weight: np.ndarray | None = None) -> str | None:
    """Why an algorithm cannot take a problem.

    Its own sentence, that one thread's workspace is above the limit, or, given a weight, its sentence on the values.
    """
    reason = algorithm.rejects(problem)
    if reason is None:
        need = (
            algorithm.shared_bytes(problem)
            + algorithm.worker_bytes(problem)
            + (0 if packed else algorithm.packed_bytes(problem))
        )
        if need > options.workspace_limit:
            reason = f"needs {need} bytes of workspace, above the limit of {options.workspace_limit}"
    return _values(algorithm, problem, weight) if reason is None else reason


def candidates(
    problem: Any, *, packed: bool = False, weight: np.ndarray | None = None
) -> list[tuple[Algorithm, float, str | None]]:
    """(algorithm, estimated seconds, None or why it is not chosen automatically), in the order of the table.

    The seconds are those of one thread, with those of packing the weight unless it is `packed`.
    """
    optional = _optional(problem)
    found = []
    for algorithm in table(problem.operation, problem.device):
        row = _estimate(algorithm, problem, packed, weight)
        if row[2] is None and id(algorithm) in optional:
            row = (algorithm, float("inf"), "registered without default=True: it runs where it is named")
        found.append(row)
    return found


def _optional(problem: Any) -> set[int]:
    """Ids of the algorithms that run only where they are named. A choice asks them nothing: a user's may raise."""
    return {id(a) for a, default in _registered.get((problem.operation, problem.device), ()) if not default}


def _estimate(
    algorithm: Algorithm, problem: Any, packed: bool, weight: np.ndarray | None
) -> tuple[Algorithm, float, str | None]:
    """An algorithm's row of `candidates`."""
    reason = rejection(algorithm, problem, packed, weight)
    if reason is not None:
        return algorithm, float("inf"), reason
    return algorithm, algorithm.cost(problem) + (0.0 if packed else algorithm.packing(problem)), None
