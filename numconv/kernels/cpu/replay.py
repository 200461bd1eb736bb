"""Launches of kernels, noted and made again: a repeated call then costs little more than its kernels.

An algorithm finds out anew at each call what depends on the problem and on the arrays' layouts alone: which kernel, how
many workers, headers, tables. The first call of a kind runs it while `Kernel` notes its launches. Each array of a
launch is the memory of an operand, or a table that outlives the call; calls of the same kind launch the same kernels
with their own operands in place. Tables may also be made in the call: they depend on the problem and the layouts.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter, methodcaller
from typing import Any, NamedTuple, Protocol

import numpy as np

from numconv.kernels.cpu.memory import flat, whole_lines

TABLE = np.dtype(np.int64)  # of headers and tables; operands of this dtype are not replayed


class Noted(NamedTuple):
    """An array of a launch. Numbers are not kept alive: what is gone after the call was made of its operands."""

    array: Callable[[], np.ndarray | None]
    address: int
    shape: tuple[int, ...]
    dtype: np.dtype


class Kernel(Protocol):
    """What is noted of `jit.Kernel`."""

    def launch(self, workers: int, items: int) -> Callable[..., None]: ...

    def bind(self, launch: int, memory: int, workers: int, items: int, arrays: Sequence[Any]) -> None: ...


class Launch(NamedTuple):
    """A kernel and what it was launched with."""

    kernel: Kernel
    workers: int
    items: int
    arrays: Sequence[Any]  # as they were, or noted


class _Notes(threading.local):
    launches: list[Launch] | None = None


notes = _Notes()


@contextlib.contextmanager
def noting() -> Iterator[list[Launch]]:
    """Note the launches of this thread within the block."""
    before, notes.launches = notes.launches, []
    try:
        yield notes.launches
    finally:
        notes.launches = before


def note(kernel: Kernel, workers: int, items: int, arrays: Sequence[np.ndarray]) -> None:
    """Called by each kernel that is launched while launches are noted."""
    if notes.launches is not None:
        notes.launches.append(Launch(kernel, workers, items, [_noted(a) for a in arrays]))


def _noted(array: np.ndarray) -> Noted:
    known = (lambda: array) if array.dtype == TABLE or array.size == 0 else weakref.ref(array)
    return Noted(known, _address(array), array.shape, array.dtype)


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


class _Seen(NamedTuple):
    """Memory that launches used: an operand's, or a part of the piece of memory that replaces all others."""

    first: int
    last: int
    place: int  # among the operands
    array: np.ndarray
    offset: int | None  # in the piece

    def view(self, noted: Noted) -> Callable[[np.ndarray], np.ndarray] | None:
        """What makes the noted array of another operand laid out like this one, if that is known."""
        flags, whole = self.array.flags, flat(self.array)[0]
        plain = flags.c_contiguous and flags.writeable and noted.dtype == self.array.dtype
        if self.offset is None and (noted.address, noted.shape, noted.dtype) == (self.first, whole.shape, whole.dtype):
            return methodcaller("reshape", -1) if plain else _flat
        last = noted.address + math.prod(noted.shape) * noted.dtype.itemsize
        if len(noted.shape) == 1 and last <= self.last and (plain or self.offset is not None):
            return _part(noted.dtype, noted.shape[0], noted.address - self.first + (self.offset or 0))
        return None


def _part(dtype: np.dtype, count: int, offset: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda memory: np.frombuffer(memory, dtype, count, offset)


def _flat(array: np.ndarray) -> np.ndarray:
    return flat(array)[0]


def _seen(operands: Sequence[np.ndarray | None], pieces: Sequence[np.ndarray]) -> tuple[list[_Seen], int]:
    """(what was used in order of addresses, bytes of all the pieces)."""
    found, size = [], 0
    for place, array in enumerate(operands):
        if array is not None and array.size:
            whole, _ = flat(array)
            found.append(_Seen(_address(whole), _address(whole) + whole.nbytes, place, array, None))
    for array in pieces:
        if array.size:
            found.append(_Seen(_address(array), _address(array) + array.nbytes, len(operands), array, size))
            size += whole_lines(array.nbytes)
    return sorted(found, key=itemgetter(0)), size


class Replay:
    """Launches for operands and memory that take the places of those that were noted.

    Parameters
    ----------
    launches : list of Launch
    picks : list of callable
        For each launch, what picks its arrays out of the list of operands, memory, tables and views.
    tables : list of numpy.ndarray
    views : list of (int, callable)
        What makes a view, of which operand.
    packing : int
        How many of the launches, the first ones, pack a weight.
    """

    def __init__(
        self,
        launches: list[Launch],
        picks: list[Callable[[list[Any]], Sequence[Any]]],
        tables: list[np.ndarray],
        views: list[tuple[int, Callable[[np.ndarray], np.ndarray]]],
        packing: int,
    ) -> None:
        self._packing, self.packs = packing, packing > 0
        self._launches, self._tables, self._views = launches, tables, views
        self._steps = [(one.kernel.launch(one.workers, one.items), pick) for one, pick in zip(launches, picks)]

    def __call__(self, *operands: Any) -> None:
        """Launch the kernels."""
        arrays = self._arrays(operands)
        for start, pick in self._steps:
            start(*pick(arrays))

    def apart(self, packed: Callable[[], None], *operands: Any) -> None:
        """As a call; `packed()` is called when the weight is packed."""
        arrays = self._arrays(operands)
        for start, pick in self._steps[: self._packing]:
            start(*pick(arrays))
        packed()
        for start, pick in self._steps[self._packing :]:
            start(*pick(arrays))

    def launches(self, *operands: Any) -> list[Launch]:
        """What a call would launch."""
        arrays = self._arrays(operands)
        return [launch._replace(arrays=pick(arrays)) for launch, (_, pick) in zip(self._launches, self._steps)]

    def _arrays(self, operands: Sequence[Any]) -> list[Any]:
        arrays = [*operands, *self._tables]
        for place, view in self._views:
            arrays.append(view(operands[place]))
        return arrays


def replay(
    launches: list[Launch], operands: Sequence[np.ndarray | None], pieces: Sequence[np.ndarray], packing: int = 0
) -> tuple[Replay, int] | None:
    """Launches to be made again, where that is safe.

    Parameters
    ----------
    launches : list of Launch
    operands : sequence of numpy.ndarray or None
        They get others in their place, of the same layouts.
    pieces : sequence of numpy.ndarray
        Contiguous memory that the launches fill and read: they get parts of one piece of memory in its place.
    packing : int
        How many of the launches, the first ones, pack a weight.

    Returns
    -------
    tuple or None
        (what is called with operands and memory, bytes of memory that it needs). None where operands share memory or
        could be taken for tables, or where a launch used an array that is neither theirs, nor a table, nor alive.
    """
    seen, size = _seen(operands, pieces)
    shared = any(one.last > other.first for one, other in itertools.pairwise(seen))
    if not launches or shared or any(one.array.dtype == TABLE for one in seen):
        return None
    tables: list[np.ndarray] = []
    views: dict[tuple[Any, ...], tuple[int, Callable[[np.ndarray], np.ndarray]]] = {}
    picks = []
    for _, _, _, arrays in launches:
        picked = []  # places in the list of operands, memory, tables and, from its end, views
        for noted in arrays:
            array = noted.array()
            owner = next((one for one in seen if one.first <= noted.address < one.last and 0 not in noted.shape), None)
            if owner is None and array is not None:
                picked.append(len(operands) + 1 + len(tables))
                tables.append(array)
            elif owner is not None and owner.array is array and owner.offset is None:
                picked.append(owner.place)
            elif owner is not None and (view := owner.view(noted)):
                key = noted.address, noted.shape, noted.dtype
                views.setdefault(key, (owner.place, view))
                picked.append(-1 - list(views).index(key))
            else:
                return None
        picks.append(_picker(picked))
    plain = [launch._replace(arrays=()) for launch in launches]  # no weak references to arrays that are gone
    return Replay(plain, picks, tables, list(views.values())[::-1], packing), size


def _picker(places: list[int]) -> Callable[[list[Any]], Sequence[Any]]:
    if len(places) == 1:
        return lambda arrays: (arrays[places[0]],)
    return itemgetter(*places)
