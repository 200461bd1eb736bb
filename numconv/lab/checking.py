"""Checking a kernel: against the oracle, on recording arrays, and between forbidden pages, in a process of its own."""

from __future__ import annotations

import contextlib
import functools
import html
import io
import linecache
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from numconv.lab.examining import examine
from numconv.lab.judging import Failure
from numconv.lab.plain_python import names_in
from numconv.lab.user_kernel import UserKernel
from numconv.problem import integer

INSIDE = "NUMCONV_LAB_CHECK"  # set in the process of a check
QUIET = 2.0  # seconds before there is a line of progress on a terminal
MODES = {
    "asked": "when `when` and `prepare` were called",
    "python": "as plain Python on recording arrays",
    "serial": "compiled, serial, between guard pages",
    "parallel": "compiled, parallel, between guard pages",
    "simulated": "in the GPU's simulator on recording arrays",
}
_pickling = threading.Lock()  # what is pickled by value is the process's
WIDTH = 100  # columns
SHOWN = 8  # rows and columns of a result


class Report:
    """What a check found: `str()` gives it as text.

    Attributes
    ----------
    ok : bool
    failures : list of Failure
        With `kind`, `message`, `question`, `place` (file and line), `expected`, `got`.
    asked : dict
        How many problems were asked in each mode.
    refused : dict
        How many problems the kernel does not take, by the sentence that says why.
    notes : list of str
    seconds : float
    """

    def __init__(self, kernel: UserKernel, found: dict[str, Any], seconds: float) -> None:
        self.name, self.operation = kernel.name, kernel.operation
        self.where = kernel.where().removeprefix(", ")
        self.failures: list[Failure] = found["failures"]
        self.asked, self.refused, self.notes = found["asked"], found["refused"], found["notes"]
        self.seconds = seconds

    @property
    def ok(self) -> bool:
        return not self.failures

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.operation}, {self.where}): {'ok' if self.ok else 'WRONG'}"]
        for failure in self.failures:
            lines += ["", *_said(failure)]
        if self.ok:
            lines += [f"  {count:4d} problems {MODES[mode]}" for mode, count in self.asked.items()]
        for sentence, count in self.refused.items():
            lines.append(_wrapped(f"{count:4d} problems that it does not take: {sentence}"))
        lines += map(_wrapped, self.notes)
        return "\n".join([*lines, f"  {self.seconds:.1f} s"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def to_dict(self) -> dict[str, Any]:
        """What can be written as JSON."""
        return {
            "kernel": self.name, "operation": self.operation, "where": self.where, "ok": self.ok,
            "failures": [
                {
                    "kind": f.kind, "message": f.message, "mode": f.mode, "problem": str(f.question or ""),
                    "file": f.place[0] if f.place else None, "line": f.place[1] if f.place else None,
                }
                for f in self.failures
            ],
            "asked": self.asked, "refused": self.refused, "notes": self.notes, "seconds": round(self.seconds, 3),
        }  # fmt: skip


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _said(f: Failure) -> Iterator[str]:
    """A failure in lines of at most 100 columns; what Numba says keeps its lines."""
    text = f"{f.kind}: {f.message}"
    yield f"  {text}" if "\n" in text else _wrapped(text)
    if f.place is not None:
        file, number = f.place
        source = linecache.getline(file, number).strip()
        yield f"    {os.path.basename(file)}, line {number}{f':  {source}' if source else ''}"[:WIDTH]
    if f.question is not None:
        yield _wrapped(f"on {f.question}")
    if f.mode in MODES:
        small = "" if f.mode == "asked" else "; a problem is made as small as still shows it"
        yield f"  found {MODES[f.mode]}{small}"
    if f.expected is not None and f.got is not None and f.bad is not None:
        yield from _shown(f.expected, f.got, f.bad)


def _shown(expected: np.ndarray, got: np.ndarray, bad: np.ndarray) -> Iterator[str]:
    """The two results side by side, one plane of them, with a mark at each element that differs."""
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    outer = first[: max(expected.ndim - 2, 0)]
    planes = [np.atleast_2d(array[outer]) for array in (expected, got, bad)]
    rows, columns = planes[0].shape
    low, left = (max(0, min(i - SHOWN // 2, n - SHOWN)) for i, n in zip((0, 0, *first)[-2:], (rows, columns)))
    window = slice(low, low + SHOWN), slice(left, left + SHOWN // (2 if planes[0].dtype.kind == "c" else 1))
    want, have, differ = (plane[window] for plane in planes)
    close = want.dtype.kind in "fc" and np.allclose(want, have, rtol=1e-2, atol=0, equal_nan=True)
    digits = 9 if close else 4
    texts = (
        [[_number(v, digits) for v in row] for row in want],
        [[f"{_number(v, digits)}{'!' if d else ' '}" for v, d in zip(*rows)] for rows in zip(have, differ)],
    )
    width = max(len(text) for table in texts for row in table for text in row)
    where = f"[{', '.join([*map(str, outer), ':', ':'][: expected.ndim])}]"
    more = f", rows from {low}, columns from {left}" if (low, left) != (0, 0) else ""
    side = (width + 1) * len(texts[0][0])
    yield f"  {('expected ' + where + more).ljust(side + 2)}   got (! where it differs)"
    for wanted, had in zip(*texts):
        yield f"  {' '.join(t.rjust(width) for t in wanted).ljust(side + 2)}   {' '.join(t.rjust(width) for t in had)}"


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}g}" if np.asarray(value).dtype.kind in "fc" else str(value)


def check(
    kernel: UserKernel, *, random: int = 40, seed: int = 0, timeout: float = 10.0, progress: bool | None = None
) -> Report:
    """Find out whether a kernel is right, on the named cases of its operation and on random problems.

    It runs in a process of its own, compiled anew: first as plain Python on arrays that record each access, then
    compiled, serial and, if it uses threads, parallel, with every array between pages that must not be touched; a
    kernel for a GPU in the simulator. Results are compared with the float64 oracle. What is wrong is looked for on
    smaller and smaller problems.

    Parameters
    ----------
    kernel : UserKernel
        What `numconv.lab.kernel` made.
    random : int
        Random problems, beside the named ones.
    seed : int
        Of their numbers.
    timeout : float
        Seconds of processor time that one problem may take.
    progress : bool, optional
        Whether there is a line that says what is done; where left out, on a terminal from 2 seconds on.

    Returns
    -------
    Report
        `report.ok`, `report.failures`; printed, it says what is wrong, where, and on which problem.

    Raises
    ------
    TypeError
        If `kernel` is none, or uses what cannot be pickled. A wrong kernel raises nothing.
    RuntimeError
        If the process of a check imports a file that begins one: put it below ``if __name__ == "__main__"``.
    OSError
        Where processes cannot be forked, on Windows.
    """
    if not isinstance(kernel, UserKernel):
        raise TypeError(f"kernel must be what numconv.lab.kernel makes of a function, got {type(kernel).__name__}")
    integer("random", random, 0)
    if not timeout > 0:
        raise ValueError(f"timeout must be above 0, got {timeout!r}")
    if INSIDE in os.environ:
        raise RuntimeError("a check was begun as a check imported this file: put it below if __name__ == '__main__'")
    if not hasattr(os, "fork"):
        raise OSError("a check needs os.fork, which Windows has not")
    options = {"random": random, "seed": integer("seed", seed), "timeout": float(timeout)}
    spec = _spec(kernel) | {"options": options}
    start = time.monotonic()
    terminal = sys.stderr.isatty() if progress is None else progress
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.path.join(folder, "errors"), "w+b") as errors,
        _process(spec, folder, kernel, errors) as said,
    ):
        found = _read(said, start, terminal)
        errors.seek(0)
        words = errors.read()[-2000:].decode(errors="replace")
    if isinstance(found, str):
        raise RuntimeError(f"the process of the check failed:\n{found}{words}")
    return Report(kernel, found, time.monotonic() - start)


def _spec(kernel: UserKernel) -> dict[str, Any]:
    """What another process needs to make the kernel again."""
    flags: dict[str, Any] | None = None
    signatures: list[Any] = []
    if kernel.function is not kernel.python and kernel.device == "cpu":
        flags = kernel.function.targetoptions | {"locals": kernel.function.locals}
        signatures = [] if kernel.function._can_compile else kernel.function.nopython_signatures
    return {
        "flags": flags, "signatures": [signature.args for signature in signatures],
        "kernel": {
            "operation": kernel.operation, "function": kernel.python, "name": kernel.name, "device": kernel.device,
            "layout": kernel.layout, "dtypes": kernel.dtypes, "when": kernel.when, "packs": kernel.packs,
            "grid": kernel.grid, "block": kernel.block, "default": False,
        },
    }  # fmt: skip


def _pickled(spec: dict[str, Any]) -> bytes:
    """By value, also functions of modules: the other process runs none of their other code."""
    from numba import cloudpickle

    names = {getattr(value, "__module__", None) for value in spec["kernel"].values() if callable(value)}
    modules = [sys.modules[n] for n in names if n in sys.modules and n != "__main__" and not n.startswith("numconv")]
    with _pickling:
        known = cloudpickle.list_registry_pickle_by_value()
        modules = [module for module in modules if module.__name__ not in known]
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        try:
            file = io.BytesIO()
            pickler: Any = cloudpickle.Pickler(file)
            pickler.reducer_override = functools.partial(_reduced, pickler.reducer_override)
            pickler.dump(spec)
            return file.getvalue()
        except Exception as error:
            raise TypeError(
                f"the kernel {spec['kernel']['name']!r} uses something that another process cannot be given: {error}"
            ) from error
        finally:
            for module in modules:
                cloudpickle.unregister_pickle_by_value(module)


def _reduced(reduce: Callable[[Any], Any], value: Any) -> Any:
    """How a value is pickled: a device function as what the simulator takes."""
    return (_simulated, (value.py_func,)) if type(value).__name__ == "CUDADispatcher" else reduce(value)


def _simulated(function: Callable[..., Any]) -> Any:
    """A device function in the process of a check."""
    from numba import cuda

    return cuda.jit(device=True)(function)


@contextlib.contextmanager
def _process(spec: dict[str, Any], folder: str, kernel: UserKernel, errors: IO[bytes]) -> Iterator[IO[bytes]]:
    """What the process of a check says, pickled; it ends with the block. What the kernel prints goes nowhere."""
    pickled = _pickled(spec)
    read, write = os.pipe()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        INSIDE: "1",
        "NUMBA_CACHE_DIR": folder,
        "NUMBA_THREADING_LAYER": "workqueue",  # the one whose threads a fork may start anew
        "NUMBA_NUM_THREADS": os.environ.get("NUMBA_NUM_THREADS", str(_threads(kernel))),
        "NUMBA_DISABLE_JIT": "0",
        "NUMBA_ENABLE_CUDASIM": "1" if kernel.device == "cuda" else "0",
    }
    worker = subprocess.Popen(
        [sys.executable, "-c", f"from numconv.lab.checking import serve; serve({write})"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, pass_fds=[write], env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(write)
    try:
        with os.fdopen(read, "rb") as said:
            with contextlib.suppress(BrokenPipeError), worker.stdin:  # type: ignore[union-attr]
                worker.stdin.write(pickled)  # type: ignore[union-attr]
            yield said
    finally:
        with contextlib.suppress(ProcessLookupError):  # with what it forked
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def _threads(kernel: UserKernel) -> int:
    """Four threads show a race on two cores; but a kernel that asks which one it is on may know how many there are."""
    if "get_thread_id" not in names_in(kernel.python.__code__):
        return 4
    import numba

    return vars(numba.config)["NUMBA_NUM_THREADS"]


def serve(write: int) -> None:
    """The other process: a kernel from stdin, what is done and found to a pipe."""
    with os.fdopen(write, "wb", buffering=0) as pipe:

        def say(*words: Any) -> None:
            pipe.write(pickle.dumps(words))

        try:
            found: Any = examine(pickle.load(sys.stdin.buffer), say)
        except Exception:
            found = traceback.format_exc()
        pipe.write(pickle.dumps(found))


def _read(said: IO[bytes], start: float, terminal: bool) -> Any:
    """What was found at the end; until then, on a terminal, a line of what is done."""
    shown = 0.0
    try:
        while True:
            words = pickle.load(said)
            if not isinstance(words, tuple):
                return words
            now = time.monotonic()
            if terminal and now - start > QUIET and now - shown > 0.2:
                mode, *counts = words
                text = f"{MODES.get(mode, mode)}{' {} of {}'.format(*counts) if counts else ''}"
                print(f"\r{now - start:4.0f} s  {text}".ljust(79), end="", file=sys.stderr, flush=True)
                shown = now
    except EOFError:
        return "it ended without a word\n"
    finally:
        if shown:
            print("\r" + " " * 79 + "\r", end="", file=sys.stderr, flush=True)
