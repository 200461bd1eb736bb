"""What a check asks a kernel, in which ways, and the smallest failure: in a process that does nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import numconv as nc
from numconv.algorithm import add
from numconv.lab import plain_python, recording
from numconv.lab.forks import Batch
from numconv.lab.guards import Fence
from numconv.lab.judging import Failure, raised, raised_at
from numconv.lab.questions import Question, pose, questions
from numconv.lab.shrinking import smaller
from numconv.lab.user_kernel import UserKernel
from numconv.ops.handing import Handed

WORK = {"python": 5_000, "simulated": 3_000}  # elements that plain Python looks at in 10 to 20 ms
SECONDS = {"python": 12.0, "simulated": 20.0}  # for all questions; compiled kernels take what they need
SHRINKING = 8.0


class Examined(UserKernel):
    """A kernel that watches over what its function is handed."""

    mode = "serial"
    unwritten: dict[str, np.ndarray]  # of an output: which elements are never written
    unset: tuple[str, tuple[str, int]] | None = None
    returned: Any = None
    run_once: Callable[[Any, Handed], None]

    def call(self, problem: Any, handed: Handed) -> None:
        self.run_once(problem, handed)

    def compile(self, problem: Any, handed: Handed) -> None:
        """Compile for such arguments, and compute nothing."""
        from numba import typeof

        types = tuple(typeof(argument) for argument in (*handed.arrays.values(), *handed.numbers))
        for dispatcher in {id(d): d for d in (self.serial, self.compiled)}.values():
            dispatcher.get_call_template(types, {})  # with defaults, as a call does

    def nothing(self, problem: Any, handed: Handed) -> None:
        """Nothing: to find out whether it would be called."""

    def outputs(self, handed: Handed) -> set[str]:
        return {"out"} | ({"indices"} if self.gives_indices else set())

    def as_python(self, problem: Any, handed: Handed) -> None:
        """As plain Python on recording arrays."""
        turns = recording.Turns()
        function = plain_python.recorded(self.python, turns, self.parallel)
        written = self.outputs(handed)
        arrays = {
            name: recording.watched(array, name, turns, readonly=name not in written)
            for name, array in handed.arrays.items()
        }
        with np.errstate(all="ignore"):
            self.returned = function(*arrays.values(), *handed.numbers)
        self.unwritten, self.unset = {name: recording.unwritten(arrays[name]) for name in written}, turns.unset

    def as_simulated(self, problem: Any, handed: Handed) -> None:
        """In the simulator, on recording arrays: a thread is a turn."""
        from numconv.kernels.cuda.simulator import simulate, waits

        turns = recording.Threads(waits(self.python))
        written = self.outputs(handed)
        arrays = {
            name: recording.watched(array._ary, name, turns, readonly=name not in written)
            for name, array in handed.arrays.items()
        }
        simulate(self.python, *self.launch_size(problem, handed), (*arrays.values(), *handed.numbers))
        self.unwritten = {name: recording.unwritten(arrays[name]) for name in written}

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
                    raise recording.Broken(f"changes elements of {name}, an operand", "changes its input")
        for name in written:
            handed.arrays[name][...] = arrays[name]


def taken_or_not(kernel: Examined, q: Question) -> str | Failure | None:
    """None where a kernel takes a question, its sentence where it does not, "" where there is no such problem."""
    try:
        posed = pose(q)
        given = posed.operands
        if kernel.device == "cuda":
            given = tuple(nc.cuda.to_device(a) if isinstance(a, np.ndarray) else a for a in given)
        posed._replace(operands=given).ask(q.operation, kernel.name)
    except BaseException as error:
        said, place = str(error).partition("rejects this problem: ")[2], raised_at(error)
        if said or (place is None and isinstance(error, ValueError)):
            return said
        return raised(kernel, q, error)
    return None


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
        options = self.options["random"], self.options["seed"]
        asked = list(questions(kernel.operation, kernel.dtypes or ("float32",), kernel.gives_indices, *options))
        for q, said in Batch(kernel, "asked", self.options["timeout"], taken_or_not).answers(asked):
            if said is None:
                taken.append(q)
            elif isinstance(said, Failure):  # in `when` or `prepare`
                self.broken = said
                return []
            elif said:
                self.refused[said] = self.refused.get(said, 0) + 1
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
                if other is None or other.kind not in ("raises", "does not compile"):
                    self.notes.append(f"it does not run as plain Python, so its indices were not seen: {wrong.message}")
                    wrong = other
                elif other.kind == "does not compile":
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
        if failure.question is None or failure.kind in ("does not compile", "hangs"):
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
    """The description with the function as it was: plain, or compiled with the flags and signatures that it had."""
    described, flags = spec["kernel"], spec["flags"]
    if flags is None:
        return described
    from numba import njit

    flags = {name: value for name, value in flags.items() if name not in ("nopython", "cache")}
    function = njit(**flags)(described["function"])
    for signature in spec["signatures"]:
        function.compile(signature)
        function.disable_compile()
    return described | {"function": function}


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
