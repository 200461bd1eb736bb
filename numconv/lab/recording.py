"""Arrays that record: which element is read and written, where, and in which turn of a parallel loop.

An index outside of an array, a negative one, a write to an operand, and an element that two turns write, or that one
writes and another reads, raise `Broken`.
"""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

NOBODY, SEVERAL = -1, -2
_SPECS = [importlib.util.find_spec(name) for name in ("numconv", "numpy", "numba", "numba_cuda")]
_LIBRARIES = tuple(os.path.dirname(spec.origin) + os.sep for spec in _SPECS if spec is not None and spec.origin)
_STANDARD = os.path.dirname(os.__file__) + os.sep


class Broken(Exception):
    """What a kernel must not do.

    Attributes
    ----------
    kind : str
        "out of bounds", "race" or "changes its input".
    place : (str, int)
        File and line.
    """

    def __init__(self, message: str, kind: str = "", place: tuple[str, int] = ("", 0)) -> None:
        super().__init__(message)
        self.kind, self.place = kind, place


class Turns:
    """Which turn of a parallel loop runs, and who has touched what in the loop.

    Attributes
    ----------
    turn : Any
        The number of the turn, or of the thread that runs it where these are asked for; None outside of a loop.
    threads : int or None
        How many threads take turns, where a kernel asks which one it runs on.
    frame : frame or None
        That of the function whose loop it is.
    unset : (str, (str, int)) or None
        The first element that was read before it was written, and where.
    """

    def __init__(self) -> None:
        self.turn: Any = None
        self.loop = 0  # how many there were
        self.threads: int | None = None
        self.frame: Any = None
        self.unset: tuple[str, tuple[str, int]] | None = None
        self._range = range(0)

    def named(self, turn: Any) -> str:
        return f"turn {self._range[turn]} of the prange" if self.threads is None else f"thread {turn} of the prange"

    def prange(self, *arguments: int) -> Iterator[int]:
        if self.turn is not None:  # Numba shares the outermost one only
            yield from range(*arguments)
            return
        self.loop += 1
        self.frame, self._range = sys._getframe(1), range(*arguments)
        try:
            for number, i in enumerate(self._range):
                self.turn = number if self.threads is None else number % self.threads
                yield i
        finally:
            self.turn = self.frame = None

    def get_thread_id(self) -> int:
        return self.turn or 0


class Threads(Turns):
    """The threads of a GPU, each a turn; where threads of a block wait for each other, the block is one."""

    def __init__(self, meet: bool) -> None:
        super().__init__()
        self.meet = meet

    def named(self, turn: Any) -> str:
        return f"block {turn}" if self.meet else f"thread {turn[1]} of block {turn[0]}"

    @property
    def turn(self) -> Any:
        from numconv.kernels.cuda.running import this

        thread = this()
        if thread is None or _atomic():
            return None
        block = tuple(int(i) for i in thread.blockIdx)
        return block if self.meet else (block, tuple(int(i) for i in thread.threadIdx))

    @turn.setter
    def turn(self, value: Any) -> None:
        """It follows from the thread that runs."""


def _atomic() -> bool:
    """Whether an atomic operation is at work."""
    frame: Any = sys._getframe(2)
    for _ in range(6):
        if frame is None:
            return False
        if frame.f_code.co_filename.endswith("kernelapi.py"):
            return True
        frame = frame.f_back
    return False


class _Touched:
    """Who wrote and who read each element of an array in the present loop."""

    def __init__(self, name: str, array: np.ndarray, turns: Turns, readonly: bool, unset: bool) -> None:
        self.name, self.turns, self.readonly, self.unset = name, turns, readonly, unset
        self.address = _address(array)
        self.shape, self.itemsize = array.shape, array.itemsize
        self.loop = -1
        self.writer: dict[int, Any] = {}
        self.reader: dict[int, Any] = {}
        self.written = np.zeros(array.size, bool)

    def note(self, flat: int, write: bool, index: Any) -> None:
        if write:
            if self.readonly:
                raise Broken(f"writes {self._element(flat)}, an operand", "changes its input", caller())
            self.written[flat] = True
        elif self.unset and not self.written[flat]:
            self.read_unset(flat)
        turn = self.turns.turn
        if turn is None:
            return
        if self.loop != self.turns.loop:
            self.loop, self.writer, self.reader = self.turns.loop, {}, {}
        before = self.writer.get(flat, turn)
        if before != turn:
            self._race(flat, "writes" if write else "reads", "writes", before)
        if write:
            self.writer[flat] = turn
            before = self.reader.get(flat, turn)
            if before != turn:
                self._race(flat, "writes", "reads", before)
        elif self.reader.setdefault(flat, turn) != turn:
            self.reader[flat] = SEVERAL

    def read_unset(self, flat: int) -> None:
        if self.turns.unset is None:
            self.turns.unset = f"reads {self._element(flat)}, to which nothing was written before", caller()

    def _element(self, flat: int) -> str:
        at = ", ".join(str(int(i)) for i in np.unravel_index(flat, self.shape)) if self.shape else ""
        return f"{self.name}[{at}]"

    def _race(self, flat: int, does: str, did: str, other: Any) -> None:
        named = self.turns.named
        others = "several others" if other == SEVERAL else named(other)
        raise Broken(
            f"{named(self.turns.turn)} {does} {self._element(flat)} of shape {self.shape}, and {others} {did} it: "
            "which comes first is left to chance",
            "race",
            caller(),
        )


class Recorded(np.ndarray):
    """An array, or a part of one, that tells `_Touched` of every element that is read or written."""

    _touched: _Touched | None = None
    _start = 0  # bytes from the first element of the array that it is a part of

    def __array_finalize__(self, source: Any) -> None:
        touched = getattr(source, "_touched", None)
        if touched is not None and np.may_share_memory(self, source):  # a view, not a copy
            self._touched, self._start = touched, _address(self) - touched.address

    def __getitem__(self, index: Any) -> Any:
        if self._touched is None:
            return super().__getitem__(index)
        flat = self._flat(index, "reads")
        if flat is not None:
            self._touched.note(flat, False, index)
            return super().__getitem__(index)
        return super().__getitem__(index)

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, Recorded) and value._touched is not None:
            value._all(value, False, ...)
        if self._touched is not None:
            flat = self._flat(index, "writes")
            if flat is not None:
                self._touched.note(flat, True, index)
            else:
                part = super().__getitem__(index)
                if isinstance(part, np.ndarray) and np.may_share_memory(part, self):
                    self._all(part, True, index)
        super().__setitem__(index, bare(value))

    def fill(self, value: Any) -> None:
        self[...] = value

    def copy(self, order: Any = "C") -> Any:
        if self._touched is None:
            return super().copy(order)
        self._all(self, False, ...)
        return watched(bare(self).copy(order), made_here(), self._touched.turns)

    def _reduced(self, operate: Callable[..., Any], value: Any) -> Any:
        """`self += value`: in a loop's own function Numba adds up what the threads have, each in an array of its own.

        Of `part[i] += value` the `__setitem__` that follows tells.
        """
        turns: Any = None if self._touched is None else self._touched.turns
        if turns is None or turns.frame is None or turns.frame is not sys._getframe(2):
            return operate(self, value)
        if isinstance(value, Recorded) and value._touched is not None:
            value._all(value, False, ...)
        turn, turns.turn = turns.turn, None
        try:
            return operate(self, bare(value))
        finally:
            turns.turn = turn

    def __iadd__(self, value: Any) -> Any:  # type: ignore[misc]
        return self._reduced(np.ndarray.__iadd__, value)

    def __isub__(self, value: Any) -> Any:  # type: ignore[misc]
        return self._reduced(np.ndarray.__isub__, value)

    def __imul__(self, value: Any) -> Any:  # type: ignore[misc]
        return self._reduced(np.ndarray.__imul__, value)

    def __itruediv__(self, value: Any) -> Any:  # type: ignore[misc]
        return self._reduced(np.ndarray.__itruediv__, value)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        for array in inputs:
            if isinstance(array, Recorded) and array._touched is not None and method != "at":
                array._all(array, False, ...)
        for array in out:
            if isinstance(array, Recorded) and array._touched is not None:
                array._all(array, True, ...)
        if out:
            options["out"] = tuple(map(bare, out))
        result = getattr(ufunc, method)(*map(bare, inputs), **options)
        return out[0] if len(out) == 1 else result

    def _flat(self, index: Any, does: str) -> int | None:
        """Where the element of a whole index lies, counted in the array that it is of; None for a part of the array."""
        parts = index if isinstance(index, tuple) else (index,)
        if len(parts) > self.ndim:  # NumPy refuses it, or there is one that is no number
            return None
        touched: Any = self._touched
        whole = len(parts) == self.ndim
        offset = 0
        for axis, i in enumerate(parts):
            if not isinstance(i, (int, np.integer)):
                if isinstance(i, float):
                    return None  # NumPy refuses it
                if i is Ellipsis or i is None:
                    return None
                whole = False
                continue
            n = self.shape[axis]
            if not 0 <= i < n:
                at = ", ".join(str(p) if isinstance(p, (int, np.integer)) else ":" for p in parts)
                of = touched.name if self.shape == touched.shape else f"a part of {touched.name}"
                why = "negative: it would count from the end" if i < 0 else f"beyond the last, {n - 1}"
                turn = touched.turns.turn
                by = "" if turn is None else f", in {touched.turns.named(turn)}"
                raise Broken(
                    f"{does} {of}[{at}]{by}: its shape is {self.shape}, and index {i} of axis {axis} is {why}",
                    "out of bounds",
                    caller(),
                )
            offset += int(i) * self.strides[axis]
        if not whole:
            return None
        return (self._start + offset) // touched.itemsize

    def _all(self, part: np.ndarray, write: bool, index: Any) -> None:
        touched: Any = self._touched
        start = (_address(part) - touched.address) // touched.itemsize
        offsets = np.zeros(part.shape, np.int64) + start
        for axis, (n, stride) in enumerate(zip(part.shape, part.strides)):
            along = np.arange(n) * (stride // touched.itemsize)
            offsets += along.reshape(-1, *(1,) * (part.ndim - 1 - axis))
        if touched.turns.turn is None and not touched.readonly:
            if write:
                touched.written[offsets.ravel()] = True
            elif touched.unset and not touched.written[offsets].all():
                touched.read_unset(int(offsets[~touched.written[offsets]][0]))
            return
        for flat in offsets.ravel().tolist():
            touched.note(flat, write, index)


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def bare(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Recorded) else value


def watched(array: np.ndarray, name: str, turns: Turns, readonly: bool = False, unset: bool = False) -> Recorded:
    """A recorded view of a contiguous array; where it is `unset`, nothing was written to it."""
    view = array.view(Recorded)
    view._touched = _Touched(name, array, turns, readonly, unset)
    return view


def made_here() -> str:
    """The name of an array that the user's code makes."""
    return f"the array of line {caller()[1]}"


def caller() -> tuple[str, int]:
    """File and line of the user's code that is at work: the innermost frame that is neither ours nor a library's."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if is_users(frame.f_code.co_filename):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return "", 0


def is_users(filename: str) -> bool:
    """Whether a file is neither ours nor a library's."""
    standard = filename.startswith(_STANDARD) and "-packages" + os.sep not in filename
    return not (standard or filename.startswith((*_LIBRARIES, "<__array_function__", "<frozen ")))


def unwritten(array: Recorded) -> np.ndarray:
    """Which elements of a whole array were never written."""
    touched: Any = array._touched
    return ~touched.written.reshape(touched.shape if math.prod(touched.shape) else array.shape)
