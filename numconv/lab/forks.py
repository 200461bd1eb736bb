"""Questions asked in forks of a process: what dies, or does not end, is a fork.

What was compiled before is there in each, so that a question takes 10 ms.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from numconv.lab.judging import Failure, judged
from numconv.lab.questions import Question

SILENCE = 3.0  # times the processor time that a problem may take: without an answer for so long a kernel hangs
MEMORY = 4 << 30  # bytes that a fork may have


class Batch:
    """Questions asked in forks of this process.

    Attributes
    ----------
    used : float
        Seconds that they have computed: what else the machine does counts for nothing.
    """

    def __init__(self, kernel: Any, mode: str, seconds: float, ask: Callable[[Any, Question], Any] = judged) -> None:
        self.kernel, self.mode, self.seconds, self.ask = kernel, mode, seconds, ask
        self.used = self._ended = 0.0
        self.kernel.mode = mode
        how = {"asked": kernel.nothing, "python": kernel.as_python, "simulated": kernel.as_simulated}
        kernel.run_once = how.get(mode, kernel.between_guards)

    def answers(self, asked: list[Question]) -> Iterator[tuple[Question, Any]]:
        """Each question with what `ask` finds, or a Failure."""
        while asked:
            count = 0
            for q, failure in self._fork(asked):
                count += 1
                yield q, failure
            asked = asked[count:]

    def _fork(self, asked: list[Question]) -> Iterator[tuple[Question, Any]]:
        """Answers up to the question that the fork dies of."""
        read, write = os.pipe()
        before = os.fstat(2).st_size
        child = os.fork()
        if child == 0:
            self._answer(write, asked)
        os.close(write)
        try:
            with os.fdopen(read, "rb") as pipe:
                for q in asked:
                    silence = max(SILENCE * self.seconds, 10.0)
                    ready, _, _ = select.select([pipe], [], [], silence)
                    if not ready:
                        yield q, Failure("hangs", f"{silence:g} s went by without an answer", self.mode, q)
                        return
                    try:
                        answer, seconds = pickle.load(pipe)
                    except EOFError:
                        status, child = self._end(child), 0
                        yield q, self._died(q, status, before)
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
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY if most < 0 else min(MEMORY, most), most))
        status = 1
        try:
            with os.fdopen(write, "wb", buffering=0) as pipe:
                for q in asked:
                    signal.setitimer(signal.ITIMER_PROF, self.seconds)
                    answer = self.ask(self.kernel, q)
                    signal.setitimer(signal.ITIMER_PROF, 0)
                    pipe.write(pickle.dumps((answer, time.process_time())))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _died(self, q: Question, status: int, before: int) -> Failure:
        """What a fork died of, and the first line that it wrote to the file of errors."""
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
        message = f"the process was ended by {name}"
        said = os.pread(2, 1 << 16, before).decode(errors="replace").strip() if os.fstat(2).st_size > before else ""
        return Failure("died", f"{message}: {said.splitlines()[0]}" if said else message, self.mode, q)
