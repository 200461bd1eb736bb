"""A small network of the demo: LeNet-5 learns to read real handwritten digits, from nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from numconv import data, models, random, train
from numconv.demo.pictures import Picture, Step
from numconv.extras import require

EPOCHS = 4
STEPS = (
    Step("learning", "Learning", "", "Loss, and the share of digits that are read right, over the epochs."),
    Step("filters", "What it looks for", "", "The first layer's six filters; grey is zero."),
    Step("features", "What it sees", "", "A digit that it was not trained on, and what the layers make of it."),
)


def learn(folder: Path, advance: Callable[[], object]) -> tuple[list[tuple[Picture, bytes]], str]:
    """Train, and draw how it went; (pictures with their PNG files in `folder`, what to say)."""
    image = require("PIL.Image", "demo")
    random.seed(0)
    generator = np.random.default_rng(0)
    rest, (X, y) = data.split(*data.digits(32), 0.2, generator)
    model = models.lenet5(activation="relu", pooling="max")
    history = train.fit(model, *rest, epochs=EPOCHS, validation=(X, y), generator=generator)
    advance()
    paths = [folder / f"{step.name}.png" for step in STEPS]
    train.draw_curves(history, paths[0])
    train.draw_filters(model, paths[1])
    train.draw_features(model, X[0], paths[2])
    made = []
    for step, path in zip(STEPS, paths):
        with image.open(path) as file:
            made.append((Picture(step, np.asarray(file.convert("RGB")), 0.0), path.read_bytes()))
    right = history[-1]["validation_accuracy"]
    return made, f"LeNet-5 read {right:.1%} of {len(y)} new digits right after {EPOCHS} epochs over {len(rest[1])}."
