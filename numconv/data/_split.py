"""Parts of a data set in which every class has its share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from numconv.problem import integer

Pair = tuple[np.ndarray, np.ndarray]


def split(X: Any, y: Any, fraction: float = 0.2, generator: np.random.Generator | None = None) -> tuple[Pair, Pair]:
    """Part data in two, at random, with every class in both by its share.

    Parameters
    ----------
    X : array_like, shape (N, ...)
    y : array_like, shape (N,)
        Classes, of any dtype.
    fraction : float
        How much of the data the second part is, above 0 and below 1: round(fraction N) examples, and of each class
        its share of them, rounded down or up.
    generator : numpy.random.Generator, optional
        What is drawn from.

    Returns
    -------
    (X, y), (X, y)
        The rest and the part, in random order, as copies.

    Raises
    ------
    ValueError
        If the lengths of `X` and `y` differ, or `fraction` leaves one part empty.
    """
    X, y = np.asarray(X), _classes(y)
    if len(X) != len(y):
        raise ValueError(f"X and y must be of one length, got {len(X)} and {len(y)}")
    if not 0 < fraction < 1 or not 0 < round(fraction * len(y)) < len(y):
        raise ValueError(f"fraction must leave something of {len(y)} examples in both parts, got {fraction}")
    generator = generator or np.random.default_rng()
    members = _shuffled(y, generator)
    shares = np.array([fraction * len(rows) for rows in members])
    counts = np.floor(shares).astype(int)
    missing = round(fraction * len(y)) - counts.sum()
    counts[np.argsort(counts - shares, kind="stable")[:missing]] += 1  # the largest remainders
    part = np.concatenate([rows[:count] for rows, count in zip(members, counts)])
    rest = np.concatenate([rows[count:] for rows, count in zip(members, counts)])
    part, rest = generator.permutation(part), generator.permutation(rest)
    return (X[rest], y[rest]), (X[part], y[part])


def folds(y: Any, k: int = 5, generator: np.random.Generator | None = None) -> Iterator[Pair]:
    """Give the k ways of cross-validation to train on k - 1 parts and test on the other, each class in every part.

    Parameters
    ----------
    y : array_like, shape (N,)
        Classes, of any dtype.
    k : int
        How many parts, 2 to N; their sizes differ by one at most.
    generator : numpy.random.Generator, optional
        What is drawn from.

    Yields
    ------
    train, test : ndarray of int64
        Which examples.

    Raises
    ------
    ValueError
        If `k` is out of range.
    """
    y, k = _classes(y), integer("k", k)
    if not 2 <= k <= len(y):
        raise ValueError(f"k must be from 2 to the {len(y)} examples, got {k}")
    order = np.concatenate(_shuffled(y, generator or np.random.default_rng()))
    parts = [order[start::k] for start in range(k)]
    return ((np.concatenate(parts[:n] + parts[n + 1 :]), parts[n]) for n in range(k))


def _classes(y: Any) -> np.ndarray:
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"y must have one axis, got shape {y.shape}")
    return y


def _shuffled(y: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
    """The examples of each class, in random order."""
    _, classes = np.unique(y, return_inverse=True)
    order = generator.permutation(len(y))
    return [order[classes[order] == each] for each in range(classes.max() + 1)]
