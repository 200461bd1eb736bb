"""Random numbers: one generator of the process, from which initialisation and dropout draw unless given another.

Everything random takes a `generator=`, a `numpy.random.Generator`, and draws on the thread that calls it, in the order
of the calls: results do not depend on the number of threads. `seed(0)` makes a run repeat.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numconv.problem import integer


@functools.cache
def default_generator() -> np.random.Generator:
    """The process's generator, seeded by the system until `seed` is called.

    Its `bit_generator.state` can be kept and put back, to continue a run where it was left.
    """
    return np.random.default_rng()


def seed(value: int) -> None:
    """Begin the process's generator anew.

    Parameters
    ----------
    value : int
        At least 0. Equal seeds give equal numbers.

    Raises
    ------
    TypeError, ValueError
        If `value` is not an integer of at least 0.
    """
    default_generator().bit_generator.state = np.random.default_rng(integer("value", value, 0)).bit_generator.state


def generator_of(generator: Any = None) -> np.random.Generator:
    """`generator` itself, or the process's where it is None.

    Raises
    ------
    TypeError
        If it is something else than a `numpy.random.Generator`.
    """
    if generator is None:
        return default_generator()
    if not isinstance(generator, np.random.Generator):
        raise TypeError(f"generator must be a numpy.random.Generator, got {type(generator).__name__}")
    return generator
