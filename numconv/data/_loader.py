"""Batches of a data set, made by threads while others are used.

What a batch holds depends on the generator and the place of the batch, never on the threads: each epoch draws its order
and one seed, and each batch's transform draws from a generator of that seed and the batch's number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from numconv.problem import integer

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class DataLoader:
    """The batches of a data set, once around for each loop over it.

    Parameters
    ----------
    data : ndarray, tuple of ndarray, or data set
        One array, or several of one length: `(X, y)`. Or anything with `len(data)` and `data[i]`, an example or a tuple
        (picture, label), such as an `ImageFolder`; it is called by several threads where `workers` is not 0.
    batch_size : int
    shuffle : bool
        Whether each epoch has its own random order.
    drop_last : bool
        Whether a last batch that is smaller is left out.
    generator : numpy.random.Generator, optional
        What order and transforms draw from. Give the loader one of its own: `load_state_dict` turns it back.
    workers : int
        Threads that make batches beforehand; 0 makes each when it is asked for.
    transform : callable, optional
        `transform(x, generator)` gives what takes the place of a batch's first array; see `Compose`.
    prefetch : int
        How many batches each worker is ahead at most.

    Yields
    ------
    ndarray or tuple of ndarray
        As `data` is: copies, which may be written to. Batches come in the same order, with the same values, for any
        number of workers. An exception of a worker is raised in the loop; a loop that is left leaves no thread.

    Raises
    ------
    ValueError, TypeError
        If arrays are not of one length, or a number is out of range.
    """

    def __init__(
        self,
        data: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        generator: np.random.Generator | None = None,
        workers: int = 0,
        transform: Transform | None = None,
        prefetch: int = 2,
    ) -> None:
        if generator is not None and not isinstance(generator, np.random.Generator):
            raise TypeError(f"generator must be a numpy.random.Generator, got {type(generator).__name__}")
        self._gather, self._examples = _source(data)
        self.batch_size, self.shuffle, self.drop_last = integer("batch_size", batch_size, 1), shuffle, drop_last
        self.generator = generator or np.random.default_rng()
        self.workers, self.prefetch = integer("workers", workers, 0), integer("prefetch", prefetch, 1)
        self.transform = transform
        self._start: Any = None  # the generator's state before the epoch that runs
        self._position = 0  # batches of it that are done

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return self._examples // self.batch_size if self.drop_last else -(-self._examples // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        position = self._position if self._start is None else 0
        self._start, self._position = self.generator.bit_generator.state, position
        order = self.generator.permutation(self._examples) if self.shuffle else np.arange(self._examples)
        seed = int(self.generator.integers(2**63))
        return self._epoch(order, seed, range(position, len(self)))

    def _epoch(self, order: np.ndarray, seed: int, numbers: range) -> Iterator[Any]:
        for batch in self._batches(order, seed, numbers):
            self._position += 1
            yield batch
        self._start, self._position = None, 0

    def _batches(self, order: np.ndarray, seed: int, numbers: range) -> Iterator[Any]:
        if not self.workers:
            for number in numbers:
                yield self._batch(order, seed, number)
            return
        pool = ThreadPoolExecutor(self.workers, "numconv-data")
        waiting: deque[Future] = deque()
        try:
            for number in numbers:
                waiting.append(pool.submit(self._batch, order, seed, number))
                if len(waiting) > self.workers * self.prefetch:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _batch(self, order: np.ndarray, seed: int, number: int) -> Any:
        batch = self._gather(order[number * self.batch_size : (number + 1) * self.batch_size])
        if self.transform is None:
            return batch
        generator = np.random.default_rng([seed, number])
        if isinstance(batch, tuple):
            return self.transform(batch[0], generator), *batch[1:]
        return self.transform(batch, generator)

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands: in a loop, behind the batch that the loop has.

        Returns
        -------
        dict
            Of numbers and texts, as JSON takes them for NumPy's default generator.
        """
        running = self._start is not None
        return {
            "generator": self._start if running else self.generator.bit_generator.state,
            "position": self._position,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where `state_dict` was called: the next loop goes on with the batches that were left.

        Raises
        ------
        ValueError
            If the state is of another kind of generator, or of a longer epoch.
        """
        position = integer("position", state["position"])
        if not 0 <= position <= len(self):
            raise ValueError(f"state must stand within {len(self)} batches, got {position}")
        self.generator.bit_generator.state = state["generator"]
        self._start, self._position = None, position


def _source(data: Any) -> tuple[Callable[[np.ndarray], Any], int]:
    """(what gathers a batch by its indices, the number of examples)."""
    if isinstance(data, np.ndarray):
        return lambda index: data[index], _length([data])
    if isinstance(data, tuple):
        return lambda index: tuple(array[index] for array in data), _length(data)
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise TypeError(f"data must be arrays, or have a length and examples, got {type(data).__name__}")
    return lambda index: _collate([data[int(i)] for i in index]), len(data)


def _length(arrays: Any) -> int:
    if not arrays or not all(isinstance(array, np.ndarray) and array.ndim for array in arrays):
        raise TypeError(f"data must be arrays with an axis, got {[type(array).__name__ for array in arrays]}")
    if len({len(array) for array in arrays}) > 1:
        raise ValueError(f"data must be arrays of one length, got {[len(array) for array in arrays]}")
    return len(arrays[0])


def _collate(examples: list[Any]) -> Any:
    """Stack examples, or each part of them."""
    if isinstance(examples[0], tuple):
        return tuple(_stacked(part) for part in zip(*examples, strict=True))
    return _stacked(examples)


def _stacked(parts: Any) -> np.ndarray:
    arrays = [np.asarray(part) for part in parts]
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(f"examples must be of one shape to make a batch, got {sorted({a.shape for a in arrays})}")
    return np.stack(arrays)
