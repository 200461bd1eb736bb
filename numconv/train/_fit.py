"""The loop: epochs of steps, each epoch judged, kept and shown."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from numconv.autograd import Tensor, enable_grad
from numconv.data import DataLoader
from numconv.nn import Module
from numconv.nn._mode import mode
from numconv.optim import Adam, Optimizer
from numconv.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from numconv.problem import integer
from numconv.random import default_generator
from numconv.train import _checkpoint
from numconv.train._evaluate import Totals, classification_loss, evaluate, pair
from numconv.train._progress import Line, interruptible, shown


def fit(
    model: Module,
    X: Any,
    y: Any,
    *,
    epochs: int = 10,
    batch_size: int = 32,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    loss: Callable[[Any, Any], Any] = classification_loss,
    validation: tuple[Any, Any] | None = None,
    transform: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
    workers: int = 0,
    generator: np.random.Generator | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = False,
) -> list[dict[str, float]]:
    """Train a model.

    Parameters
    ----------
    model : Module
        Changed in place. Modules keep their `training` flags; within, all train.
    X : array_like, shape (N, ...)
        Examples; floats for most models.
    y : array_like, shape (N, ...)
        Targets, classes as integers.
    epochs : int
        How often each example is seen in the whole run, what was before a checkpoint included.
    batch_size : int
    optimizer : Optimizer, optional
        Of the model's parameters; `Adam` with its defaults where left out.
    scheduler : LRScheduler, optional
        Of the optimiser's rates; goes on after each epoch.
    loss : callable
        `loss(output, target)`, the mean over a batch; cross entropy where left out.
    validation : (X, y), optional
        Examples to judge each epoch by.
    transform : callable, optional
        Augmentation, `transform(x, generator)`; see `numconv.data.Compose`.
    workers : int
        Threads that make batches while others are used.
    generator : numpy.random.Generator, optional
        What order and augmentation draw from; seeded by the process's generator where left out, so that
        `numconv.random.seed` makes all of a run repeat, to the bit and for any number of threads.
    checkpoint : path, optional
        Where the run is kept after each epoch, and on Ctrl-C (`.npz` or `.safetensors`).
    resume : bool
        Whether to go on from `checkpoint`. The result is, to the bit, that of a run which never stopped. Give the same
        data, options and kinds of optimiser and scheduler.
    progress : bool
        Whether to show loss, accuracy and images per second: a bar on a terminal or in a notebook (needs tqdm: the
        extra `train`), elsewhere a line an epoch.

    Returns
    -------
    list of dict
        For each epoch "epoch" (from 1), "loss" and "accuracy" over its steps, "lr", "images_per_second", and with
        `validation` "validation_loss" and "validation_accuracy". Accuracies are NaN where targets are not classes.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of those above, or the checkpoint is of another run.
    FloatingPointError
        If a loss is NaN or infinite. The weights are those before that step; the checkpoint is the last epoch's.
    KeyboardInterrupt
        On Ctrl-C, once the step is done and the checkpoint written.
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    X, y = pair("X", X, "y", y)
    if validation is not None:
        validation = pair("validation[0]", validation[0], "validation[1]", validation[1])
    epochs = integer("epochs", epochs, 1)
    if resume and checkpoint is None:
        raise ValueError("checkpoint must be the path of a run to resume, got None")
    if generator is None:
        generator = np.random.default_rng(int(default_generator().integers(2**63)))
    options: dict[str, Any] = {"generator": generator, "workers": workers, "transform": transform}
    loader = DataLoader((X, y), batch_size, True, **options)
    if optimizer is None:
        optimizer = Adam(model.parameters())
    run = (model, optimizer, scheduler, loader, default_generator())
    fixed = {"examples": len(X), "batch_size": loader.batch_size}
    history: list[dict[str, float]] = []
    totals = Totals()
    if resume and checkpoint is not None:
        kept = _checkpoint.load(checkpoint, *run, fixed)
        history, totals = kept["history"], Totals(**kept["totals"])

    def keep() -> None:
        if checkpoint is not None:
            _checkpoint.save(checkpoint, *run, {**fixed, "history": history, "totals": asdict(totals)})

    with mode(model, True), enable_grad(), interruptible() as asked:
        while len(history) < epochs:
            epoch = len(history) + 1
            with Line(progress, f"epoch {epoch}/{epochs}", len(X), totals.examples) as line:
                start = time.perf_counter()
                for x, target in loader:
                    _step(model, optimizer, loss, x, target, totals, epoch)
                    now = time.perf_counter()
                    totals.seconds, start = totals.seconds + now - start, now
                    line.advance(len(x), totals)
                    if asked.is_set():
                        keep()
                        raise KeyboardInterrupt
                entry = _entry(epoch, totals, optimizer)
                if validation is not None:
                    judged = evaluate(model, *validation, max(loader.batch_size, 128), loss)
                    entry["validation_loss"], entry["validation_accuracy"] = judged
                line.finish(_said(entry), entry["images_per_second"])
            _next_rates(scheduler, entry)
            history.append(entry)
            totals = Totals()
            keep()
            if asked.is_set() and epoch < epochs:
                raise KeyboardInterrupt
    return history


def _step(
    model: Module, optimizer: Optimizer, loss: Callable[[Any, Any], Any], x: np.ndarray, target: np.ndarray,
    totals: Totals, epoch: int,
) -> None:  # fmt: skip
    """Change the weights by one batch."""
    optimizer.zero_grad()
    output = model(Tensor(x))
    result = loss(output, target)
    value = float(result.item())
    if not math.isfinite(value):
        raise FloatingPointError(
            f"the loss is {value} in epoch {epoch}, after {totals.examples} of its examples: "
            "try a smaller learning rate, and look for NaN in the data"
        )
    result.backward()
    optimizer.step()
    totals.add(output, target, value)


def _entry(epoch: int, totals: Totals, optimizer: Optimizer) -> dict[str, float]:
    rates = {"lr": optimizer.param_groups[0]["lr"], "images_per_second": totals.speed}
    return {"epoch": epoch, "loss": totals.loss, "accuracy": totals.accuracy, **rates}


def _said(entry: dict[str, float]) -> str:
    text = shown("", entry["loss"], entry["accuracy"])
    if "validation_loss" in entry:
        text += shown("; validation ", entry["validation_loss"], entry["validation_accuracy"])
    return text


def _next_rates(scheduler: LRScheduler | None, entry: dict[str, float]) -> None:
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(entry.get("validation_loss", entry["loss"]))
    elif scheduler is not None:
        scheduler.step()
