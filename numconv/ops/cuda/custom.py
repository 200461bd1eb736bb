"""What functions of users are handed on a GPU, and how they are launched."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from numconv.kernels.cuda import launch, memory

is_contiguous, overlap = memory.is_contiguous, memory.overlap


def new(shape: tuple[int, ...], dtype: np.dtype, value: float) -> Any:
    """An array full of a number."""
    one = memory.to_device(np.full((1,) * max(len(shape), 1), value, dtype))
    return memory.copied(memory.broadcast_to(one, shape))


def seen(x: Any) -> Any:
    """The array with a dtype that Numba has: bfloat16 as its bits."""
    return memory.bits(x) if x.dtype.name == "bfloat16" else x


class UserLaunch(launch.Kernel):
    """A user's kernel, launched as one of ours: on the current stream, simulated, recorded.

    Parameters
    ----------
    function : callable
        A plain function or what `cuda.jit` made of one.
    python : callable
        The plain function.
    """

    def __init__(self, name: str, function: Any, python: Callable[..., Any]) -> None:
        super().__init__(name, python, None)
        self._function = function

    @functools.cached_property
    def dispatcher(self) -> Any:
        from numba import cuda

        return cuda.jit(self.body) if self._function is self.body else self._function
