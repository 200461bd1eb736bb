"""Whether a kernel's answer is right, and if not what is wrong: in words, and on which problem."""

from __future__ import annotations

import traceback
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

import numconv as nc
from numconv.lab import recording
from numconv.lab.guards import Trespass
from numconv.lab.questions import Question, pose


@dataclass
class Failure:
    """Something that a kernel did wrong, on the smallest problem that shows it.

    Attributes
    ----------
    kind : str
        Such as "wrong result", "out of bounds", "race", "never written", "unset memory", "changes its input", "raises",
        "died", "does not end", "hangs".
    message : str
    mode : str
        How it ran: "python", "serial", "parallel", "simulated", "gpu".
    question : Question or None
    place : (str, int) or None
        File and line.
    expected, got : ndarray or None
    bad : ndarray of bool or None
        Where they differ.
    """

    kind: str
    message: str
    mode: str
    question: Question | None = None
    place: tuple[str, int] | None = None
    expected: np.ndarray | None = None
    got: np.ndarray | None = None
    bad: np.ndarray | None = None


def judged(kernel: Any, q: Question) -> Failure | None:
    """What is wrong with the kernel's answer."""
    posed = pose(q)
    kernel.unwritten, kernel.unset, kernel.returned = {}, None, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in posed.operands)
            if kernel.device == "cuda":
                given = tuple(nc.cuda.to_device(a) if isinstance(a, np.ndarray) else a for a in given)
            results = posed._replace(operands=given).ask(q.operation, kernel.name)
            results = tuple(map(nc.cuda.to_host, results)) if kernel.device == "cuda" else results
    except recording.Broken as error:
        broken = error.__cause__ if isinstance(error.__cause__, recording.Broken) else error  # of a simulated thread
        return Failure(broken.kind, str(broken), kernel.mode, q, broken.place if broken.place[1] else None)
    except Trespass as error:
        return Failure("writes beside a buffer", str(error), kernel.mode, q)
    except BaseException as error:  # also what ends a process
        failure = raised(kernel, q, error)
        if isinstance(error, IndexError) and "indices" not in failure.message:
            failure.kind, failure.message = "out of bounds", str(error)
        return failure
    for name, expected, got in zip(("out", "indices"), posed.expected, results):
        wrong = _differences(kernel, q, name, expected, got, posed.scale)
        if wrong is not None:
            return wrong
    return None


def raised(kernel: Any, q: Question, error: BaseException) -> Failure:
    """An error that came out of the kernel."""
    message = f"{type(error).__name__}: {error}".removesuffix(": ")
    return Failure("raises", message, kernel.mode, q, raised_at(error))


def raised_at(error: BaseException) -> tuple[str, int] | None:
    """The last line of the user's code that an error, or its cause, came through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if recording.is_users(f.filename)]
    if frames:
        return frames[-1].filename, frames[-1].lineno or 0
    return None if error.__cause__ is None else raised_at(error.__cause__)


def _differences(
    kernel: Any, q: Question, name: str, expected: np.ndarray, got: np.ndarray, scale: float
) -> Failure | None:
    """How one of the results differs from what is expected, and why, as far as that was seen."""
    if got.shape != expected.shape:
        return Failure("wrong shape", f"the result has shape {got.shape}, not {expected.shape}", kernel.mode, q)
    bound = bound_of(q) * max(scale, 1e-30)
    with np.errstate(all="ignore"):
        error = np.abs(got.astype(np.result_type(got, np.float64)) - expected)
    bad = ~((error <= bound) | (got == expected) | (np.isnan(got) & np.isnan(expected)))
    if not bad.any():
        return None
    kind, place = "wrong result", None
    message = f"{np.count_nonzero(bad)} of {bad.size} elements of {name} are wrong"
    nan = np.isnan(error)
    if nan.any():
        message += f", {np.count_nonzero(bad & nan)} of them NaN"
    else:
        worst = float(np.max(error, where=bad, initial=0))
        message += f", by up to {worst:.3g}; {bound:.3g} is allowed"
        if worst <= 1e-2 * scale and np.issubdtype(got.dtype, np.floating):
            message += ". They are nearly right: is a sum kept in too small a dtype?"
    missing = kernel.unwritten.get(name)
    if kernel.unset is not None:
        kind, (why, place) = "unset memory", kernel.unset
        message = f"{why}; {message}"
    elif missing is not None and (missing.all() if name == "indices" else missing.any() and not got[bad].any()):
        kind = "never written"
        message = f"{np.count_nonzero(missing)} of {missing.size} elements of {name} are never written"
        if kernel.returned is not None:
            message += ". What a kernel returns is not looked at: it is to fill out"
    return Failure(kind, message, kernel.mode, q, place, expected, got, bad)


def bound_of(q: Question) -> float:
    """Allowed error in units of the scale: of float32 5e-6, twenty times that of powers and roots."""
    dtype = np.dtype(q.dtype)
    if dtype.kind in "iu":
        return 1e-12
    bound = {2: 1e-3, 4: 5e-6, 8: 1e-12 if dtype.kind == "f" else 5e-6, 16: 1e-12}[dtype.itemsize]
    return bound * (20 if q.operation.startswith("lp") else 1)
