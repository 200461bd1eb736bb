"""What a model says of examples, and how good that is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numconv.autograd import Tensor, no_grad
from numconv.autograd import functional as F
from numconv.nn import Module
from numconv.nn._mode import mode
from numconv.ops import arrays
from numconv.problem import integer

AUXILIARY = 0.3  # what auxiliary heads count (Szegedy et al. 2015, "Going deeper with convolutions")


def classification_loss(output: Any, target: Any) -> Any:
    """Cross entropy of scores (N, C, ...) at the targets, and 0.3 times that of each auxiliary head."""
    if not isinstance(output, tuple):
        return F.cross_entropy(output, target)
    scores, *others = output
    loss = F.cross_entropy(scores, target)
    for other in others:
        loss = loss + F.cross_entropy(other, target) * AUXILIARY
    return loss


def predict(model: Module, X: Any, batch_size: int = 128) -> np.ndarray:
    """Run a model on examples, as it is used: dropout off, batch norm by its running means, no gradients.

    Parameters
    ----------
    model : Module
    X : array_like, shape (N, ...)
    batch_size : int
        Examples at a time.

    Returns
    -------
    ndarray, shape (N, ...)
        The model's results; scores of classes (N, C) for a classifier.

    Raises
    ------
    TypeError, ValueError
        If `X` has no axis of examples, or `batch_size` is less than 1.
    """
    X, size = examples("X", X), integer("batch_size", batch_size, 1)
    with mode(model, False), no_grad():
        starts = range(0, max(len(X), 1), size)
        return np.concatenate([arrays.to_numpy(model(Tensor(X[start : start + size])).data) for start in starts])


def evaluate(
    model: Module, X: Any, y: Any, batch_size: int = 128, loss: Callable[[Any, Any], Any] = classification_loss
) -> tuple[float, float]:
    """Mean loss over examples, and the share of them that the model gets right.

    Parameters
    ----------
    model : Module
    X, y : array_like, shape (N, ...)
        Examples and targets.
    batch_size : int
    loss : callable
        `loss(output, target)`, the mean over a batch.

    Returns
    -------
    loss, accuracy : float
        The accuracy is NaN where targets are not classes.

    Raises
    ------
    TypeError, ValueError
        If there is no example, or `X` and `y` are not of one length.
    """
    X, y = pair("X", X, "y", y)
    size, totals = integer("batch_size", batch_size, 1), Totals()
    with mode(model, False), no_grad():
        for start in range(0, len(X), size):
            target = y[start : start + size]
            output = model(Tensor(X[start : start + size]))
            totals.add(output, target, float(loss(output, target).item()))
    return totals.loss, totals.accuracy


@dataclass
class Totals:
    """Sums over the batches of an epoch."""

    examples: int = 0
    losses: float = 0.0
    classified: int = 0
    right: int = 0
    seconds: float = 0.0

    def add(self, output: Any, target: np.ndarray, loss: float) -> None:
        """Count a batch, given the mean of its losses."""
        self.examples += len(target)
        self.losses += loss * len(target)
        scores = output[0] if isinstance(output, tuple) else output
        if target.dtype.kind in "iu" and scores.shape == (*target.shape[:1], *scores.shape[1:2], *target.shape[1:]):
            said = arrays.to_numpy(arrays.argmax(scores.data, axis=1))
            self.classified += target.size
            self.right += int(np.count_nonzero(said == target))

    @property
    def loss(self) -> float:
        return self.losses / self.examples if self.examples else math.nan

    @property
    def accuracy(self) -> float:
        return self.right / self.classified if self.classified else math.nan

    @property
    def speed(self) -> float:
        """Examples a second."""
        return self.examples / self.seconds if self.seconds else math.nan


def examples(name: str, values: Any) -> np.ndarray:
    """An array with an axis of examples."""
    array = np.asarray(values)
    if not array.ndim or array.dtype.kind not in "biufV":
        raise TypeError(f"{name} must be an array of numbers with an axis of examples, got {array.dtype} {array.shape}")
    return array


def pair(name: str, values: Any, other: str, targets: Any) -> tuple[np.ndarray, np.ndarray]:
    """Examples and what they are, of one length above 0."""
    X, y = examples(name, values), examples(other, targets)
    if len(X) != len(y) or not len(X):
        raise ValueError(f"{name} and {other} must have as many examples, at least one, got {len(X)} and {len(y)}")
    return X, y
