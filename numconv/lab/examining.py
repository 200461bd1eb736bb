"""The side of a check that runs kernels: a process of its own, which forks for each batch of questions.

A fork that dies or does not end is noticed, and the next one goes on; what was compiled before is there in each. So
the smallest question that a kernel dies of is looked for at 10 ms a question.
"""

from __future__ import annotations

import math
import os
import pickle
import select
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import numconv as nc
from numconv.algorithm import add
from numconv.lab import recording
from numconv.lab.guards import Fence, Trespass
from numconv.lab.questions import Posed, Question, pose, questions
from numconv.lab.shrinking import smaller
from numconv.lab.user_kernel import UserKernel
from numconv.ops.handing import Handed

WORK = {"python": 5_000, "simulated": 3_000}  # elements that plain Python looks at in 10 to 20 ms
SECONDS = {"python": 12.0, "simulated": 20.0}  # for all questions; compiled kernels take what they need
SHRINKING = 8.0
SILENCE = 120.0  # seconds without any processor time after which a kernel hangs


@dataclass
class Failure:
    """Something that a kernel did wrong, on the smallest problem that shows it.

    Attributes
    ----------
    kind : str
        Such as "wrong result", "out of bounds", "race", "never written", "changes its input", "died", "does not end".
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


class Examined(UserKernel):
    """A kernel that watches over what its function is handed."""

    mode = "serial"
    unwritten: np.ndarray | None = None
    run_once: Callable[[Any, Handed], None]

    def call(self, problem: Any, handed: Handed) -> None:
        self.run_once(problem, handed)

    def compile(self, problem: Any, handed: Handed) -> None:
        """Compile for such arguments, and compute nothing."""
        from numba import typeof

        types = tuple(typeof(argument) for argument in (*handed.arrays.values(), *handed.numbers))
        for dispatcher in {id(d): d for d in (self.serial, self.compiled)}.values():
            dispatcher.compile(types)

    def outputs(self, handed: Handed) -> set[str]:
        return {"out"} | ({"indices"} if self.gives_indices else set())

    def as_python(self, problem: Any, handed: Handed) -> None:
        """As plain Python on recording arrays."""
        turns = recording.Turns()
        function = recording.recorded(self.python, turns)
        written = self.outputs(handed)
        arrays = {
            name: recording.watched(array, name, turns, readonly=name not in written)
            for name, array in handed.arrays.items()
        }
        with np.errstate(all="ignore"):
            function(*arrays.values(), *handed.numbers)
        self.unwritten = recording.unwritten(arrays["out"])

    def as_simulated(self, problem: Any, handed: Handed) -> None:
        """In the simulator, on recording arrays: a thread is a turn."""
        from numconv.kernels.cuda.simulator import simulate, waits

        turns = recording.Threads(waits(self.python))
        written = self.outputs(handed)
        arrays = [
            recording.watched(array._ary, name, turns, readonly=name not in written)
            for name, array in handed.arrays.items()
        ]
        simulate(self.python, *self.launch_size(problem, handed), (*arrays, *handed.numbers))
        self.unwritten = recording.unwritten(arrays[list(handed.arrays).index("out")])

    def between_guards(self, problem: Any, handed: Handed) -> None:
        """Compiled, its arrays between forbidden pages: they end at one, then begin after one."""
        dispatcher = self.serial if self.mode == "serial" else self.compiled
        written = self.outputs(handed)
        for at_end in (False, True):
            fence = Fence(at_end)
            arrays = {name: fence.copy(array, name) for name, array in handed.arrays.items()}
            dispatcher(*arrays.values(), *handed.numbers)
            fence.check()
            for name, array in handed.arrays.items():
                if name not in written and array.tobytes() != arrays[name].tobytes():
                    raise recording.Broken(
                        "changes its input", f"elements of {name}, an operand, were changed", ("", 0)
                    )
        for name in written:
            handed.arrays[name][...] = arrays[name]


def judged(kernel: Examined, q: Question, posed: Posed) -> Failure | None:
    """What is wrong with the kernel's answer."""
    kernel.unwritten = None
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
    except IndexError as error:
        return Failure("out of bounds", str(error).partition("\n")[0], kernel.mode, q, _raised_at(error))
    except Exception as error:
        place = _raised_at(error)
        text = "".join(traceback.format_exception_only(error)) if not place else f"{type(error).__name__}: {error}"
        return Failure("raises", text.split("\nraised by the kernel")[0].strip(), kernel.mode, q, place)
    for expected, got in zip(posed.expected, results):
        wrong = _differences(kernel, q, expected, got, posed.scale)
        if wrong is not None:
            return wrong
    return None


def _raised_at(error: BaseException) -> tuple[str, int] | None:
    """The last line of the user's code that an error came through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if recording.is_users(f.filename)]
    return (frames[-1].filename, frames[-1].lineno or 0) if frames else None


def _differences(kernel: Examined, q: Question, expected: np.ndarray, got: np.ndarray, scale: float) -> Failure | None:
    if got.shape != expected.shape:
        return Failure("wrong shape", f"the result has shape {got.shape}, not {expected.shape}", kernel.mode, q)
    bound = bound_of(q) * max(scale, 1e-30)
    with np.errstate(all="ignore"):
        error = np.abs(got.astype(np.result_type(got, np.float64)) - expected)
    bad = ~((error <= bound) | (got == expected) | (np.isnan(got) & np.isnan(expected)))
    if not bad.any():
        return None
    worst = float(np.nanmax(np.where(bad, error, 0)))
    kind = "wrong result"
    message = f"{np.count_nonzero(bad)} of {bad.size} elements are wrong, by up to {worst:.3g}; {bound:.3g} is allowed"
    if worst <= 1e-2 * scale and np.issubdtype(got.dtype, np.floating):
        message += ". They are nearly right: is a sum kept in too small a dtype?"
    missing = kernel.unwritten
    if missing is not None and missing.any() and not got[bad].any():
        kind, message = (
            "never written",
            f"{np.count_nonzero(missing)} of {missing.size} elements of out are never written",
        )
    return Failure(kind, message, kernel.mode, q, None, expected, got, bad)


def bound_of(q: Question) -> float:
    """Allowed error in units of the scale: of float32 5e-6, twenty times that of powers and roots."""
    dtype = np.dtype(q.dtype)
    if dtype.kind in "iu":
        return 1e-12
    bound = {2: 1e-3, 4: 5e-6, 8: 1e-12 if dtype.kind == "f" else 5e-6, 16: 1e-12}[dtype.itemsize]
    return bound * (20 if q.operation.startswith("lp") else 1)


class Batch:
    """Questions asked in forks of this process.

    Attributes
    ----------
    used : float
        Seconds that they have computed: what else the machine does counts for nothing.
    """

    def __init__(self, kernel: Examined, mode: str, seconds: float) -> None:
        self.kernel, self.mode, self.seconds = kernel, mode, seconds
        self.used = self._ended = 0.0
        self.kernel.mode = mode
        how = {"python": kernel.as_python, "simulated": kernel.as_simulated}
        kernel.run_once = how.get(mode, kernel.between_guards)

    def answers(self, asked: list[Question]) -> Iterator[tuple[Question, Failure | None]]:
        """Each question with what is wrong, or None."""
        while asked:
            count = 0
            for q, failure in self._fork(asked):
                count += 1
                yield q, failure
            asked = asked[count:]

    def _fork(self, asked: list[Question]) -> Iterator[tuple[Question, Failure | None]]:
        """Answers up to the question that the fork dies of."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            self._answer(write, asked)
        os.close(write)
        try:
            with os.fdopen(read, "rb") as pipe:
                for q in asked:
                    ready, _, _ = select.select([pipe], [], [], SILENCE)
                    if not ready:
                        yield q, Failure("does not end", f"it waited for {SILENCE:.0f} s", self.mode, q)
                        return
                    try:
                        answer, seconds = pickle.load(pipe)
                    except EOFError:
                        status, child = self._end(child), 0
                        yield q, self._died(q, status)
                        return
                    self.used = self._ended + seconds
                    yield q, answer
        finally:
            if child:
                os.kill(child, signal.SIGKILL)
                self._end(child)

    def _end(self, child: int) -> int:
        """How a fork ended."""
        _, status, usage = os.wait4(child, 0)
        self._ended += usage.ru_utime + usage.ru_stime
        self.used = self._ended
        return status

    def _answer(self, write: int, asked: list[Question]) -> None:
        """The fork: answers to a pipe, with so much processor time for each question."""
        import resource  # Windows has none, and no fork either

        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # to write its memory to disk would take seconds
        status = 1
        try:
            with os.fdopen(write, "wb", buffering=0) as pipe:
                for q in asked:
                    posed = pose(q)
                    signal.setitimer(signal.ITIMER_PROF, self.seconds)
                    answer = judged(self.kernel, q, posed)
                    signal.setitimer(signal.ITIMER_PROF, 0)
                    pipe.write(pickle.dumps((answer, time.process_time())))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _died(self, q: Question, status: int) -> Failure:
        if not os.WIFSIGNALED(status):
            message = f"the process ended with status {os.waitstatus_to_exitcode(status)}"
            return Failure("died", message, self.mode, q)
        number = os.WTERMSIG(status)
        if number == signal.SIGPROF:
            message = f"it used {self.seconds:g} s of processor time without coming to an end"
            return Failure("does not end", message, self.mode, q)
        name = signal.Signals(number).name
        if number in (signal.SIGSEGV, signal.SIGBUS):
            message = f"{name}: it read or wrote memory beyond the ends of an array"
            return Failure("out of bounds", message, self.mode, q)
        return Failure("died", f"the process was ended by {name}", self.mode, q)


class Examination:
    """Everything that a kernel is asked, in all the ways that it can run."""

    def __init__(self, kernel: Examined, options: dict[str, Any], say: Callable[..., None]) -> None:
        self.kernel, self.options, self.say = kernel, options, say
        self.asked: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.notes: list[str] = []
        self.broken: Failure | None = None  # before the kernel runs

    def questions(self) -> list[Question]:
        """Those that the kernel takes; the sentences of others are counted."""
        kernel, taken = self.kernel, []
        kernel.run_once = lambda problem, handed: None
        for q in questions(
            kernel.operation,
            kernel.dtypes or ("float32",),
            kernel.gives_indices,
            self.options["random"],
            self.options["seed"],
        ):
            try:
                posed = pose(q)
                given = posed.operands
                if kernel.device == "cuda":
                    given = tuple(nc.cuda.to_device(a) if isinstance(a, np.ndarray) else a for a in given)
                posed._replace(operands=given).ask(q.operation, kernel.name)
            except Exception as error:
                said, place = str(error).partition("rejects this problem: ")[2], _raised_at(error)
                if said:
                    self.refused[said] = self.refused.get(said, 0) + 1
                elif place is not None:  # in `when` or `prepare`
                    self.broken = Failure("raises", f"{type(error).__name__}: {error}", "", q, place)
                    return []
                elif not isinstance(error, ValueError):
                    raise
                continue
            taken.append(q)
        return taken

    def modes(self) -> tuple[str, ...]:
        if self.kernel.device == "cuda":
            return ("simulated",)
        return ("python", "serial", "parallel") if self.kernel.parallel else ("python", "serial")

    def run(self) -> list[Failure]:
        """The first thing that is wrong, if anything is."""
        taken = self.questions()
        if self.broken is not None:
            return [self.broken]
        if not taken:
            sentences = "; ".join(sorted(self.refused, key=self.refused.__getitem__, reverse=True)[:3])
            return [Failure("takes nothing", f"the kernel takes none of the problems: {sentences}", "")]
        compiled = False
        for mode in self.modes():
            if mode in ("serial", "parallel") and not compiled:
                wrong = self._compile(taken)
                if wrong is not None:
                    return [wrong]
                compiled = True
            wrong = self._ask(mode, taken)
            if wrong is not None and mode == "python" and wrong.kind == "raises":
                compiled, other = True, self._compile(taken) or self._compiled_answer(wrong)
                if other is None or other.kind != "raises":
                    self.notes.append(f"it does not run as plain Python, so its indices were not seen: {wrong.message}")
                    wrong = other
            if wrong is not None:
                return [self._smallest(wrong.mode, wrong)]
        return []

    def _compile(self, taken: list[Question]) -> Failure | None:
        """Compile for what is asked, or what Numba says against it."""
        kernel, done = self.kernel, set()
        self.say("compiling")
        kernel.run_once, kernel.mode = kernel.compile, "serial"
        for q in taken:
            if q.dtype not in done:
                done.add(q.dtype)
                try:
                    pose(q).ask(q.operation, kernel.name)
                except Exception as error:
                    text = str(error)
                    return Failure("does not compile", f"{type(error).__name__}: {text.strip()}", "compiled", q)
        return None

    def _compiled_answer(self, wrong: Failure) -> Failure | None:
        """What compiled code does where plain Python raised an error."""
        ((_, failure),) = Batch(self.kernel, "serial", self.options["timeout"]).answers([wrong.question])  # type: ignore[list-item]
        return failure

    def _ask(self, mode: str, taken: list[Question]) -> Failure | None:
        batch = Batch(self.kernel, mode, self.options["timeout"])
        asked = [q for q in taken if q.work <= WORK.get(mode, math.inf)]
        self.asked[mode] = 0
        answers = batch.answers(asked or taken[:1])
        for _, failure in answers:
            self.asked[mode] += 1
            self.say(mode, self.asked[mode], len(asked))
            if failure is not None:
                return failure
            if batch.used > SECONDS.get(mode, math.inf):
                break
        answers.close()  # type: ignore[attr-defined]
        return None

    def _smallest(self, mode: str, failure: Failure) -> Failure:
        """The same failure of the smallest problem that is found in some seconds."""
        batch = Batch(self.kernel, mode, min(self.options["timeout"], 1.0))
        if failure.question is None or failure.kind == "does not compile":
            return failure
        seconds = 4.0 if failure.kind == "does not end" else SHRINKING
        best, improved = failure, True
        while improved and batch.used < seconds:
            improved = False
            for candidate in smaller(best.question):  # type: ignore[arg-type]
                self.say("looking for the smallest problem")
                try:
                    pose(candidate)
                except (ValueError, TypeError, ZeroDivisionError):
                    continue
                ((_, found),) = batch.answers([candidate])
                if found is not None and found.kind == failure.kind:
                    best, improved = found, True
                    break
                if batch.used > seconds:
                    break
        return best


def _compiled(spec: dict[str, Any]) -> dict[str, Any]:
    """The description with the function as it was: plain, or to be compiled with the flags that it had."""
    described, flags = spec["kernel"], spec["flags"]
    if flags is None or described["device"] == "cuda":
        return described
    from numba import njit

    flags = {name: value for name, value in flags.items() if name not in ("nopython", "cache")}
    return described | {"function": njit(**flags)(described["function"])}


def examine(spec: dict[str, Any], say: Callable[..., None]) -> dict[str, Any]:
    """All that a check finds out about a kernel that `checking` has described."""
    kernel = Examined(**_compiled(spec))
    kernel.name += " examined"  # the user's file may be imported here, and register its own
    add(kernel.operation, kernel, False, kernel.device)
    examination = Examination(kernel, spec["options"], say)
    failures = examination.run()
    return {
        "failures": failures, "asked": examination.asked, "refused": examination.refused, "notes": examination.notes,
    }  # fmt: skip
