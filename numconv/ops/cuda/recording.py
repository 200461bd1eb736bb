"""A function of arrays at fixed places, run once and launched again: what calls of a frozen model do.

The first run notes the launches. Its arrays come from a pool of its own, to which a piece goes back when nothing needs
it any more, so that what follows takes its place; later runs do the same launches in the same order on the same
addresses, without the Python between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numconv.algorithm import kernels
from numconv.kernels.cuda import launch, memory


class Recording:
    """Runs `function()`, which launches kernels and does nothing else, when made.

    Attributes
    ----------
    results
        What the function gave, filled again by each `run`.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        pool = kernels("pool", "cuda")
        self._pool = pool.PrivatePool()
        self._launches: list[tuple[Any, ...]] = []
        with pool.lending(self._pool), launch.heard(self._note):
            self.results = function()

    def __len__(self) -> int:
        return len(self._launches)

    def _note(self, kernel: Any, grid: Any, block: Any, *arguments: Any) -> None:
        self._launches.append((kernel, grid, block, *map(self._kept, arguments)))

    def _kept(self, argument: Any) -> Any:
        """An argument that may be used again: arrays of the pool without keeping their pieces from others."""
        if isinstance(argument, memory.array_type()) and self._pool.holds(memory.address(argument)):
            return memory.unowned(argument)
        return argument

    def run(self) -> None:
        """Do the launches, on the stream of the first run."""
        for kernel, grid, block, *arguments in self._launches:
            kernel(grid, block, *arguments)
