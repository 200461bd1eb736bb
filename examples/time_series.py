"""A 1-D classifier on real time series: is a day's demand for electricity in Italy one of winter or of summer?

ItalyPowerDemand (Keogh and Wei, UCR archive): 24 hours each, 67 days to train on, 1029 to test with. What there is to
beat is the archive's own baseline: the label of the nearest series. sktime carries the data:
pip install 'numconv[examples]'
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from numconv import models, optim, random, train


def read(part):
    """A .ts file: a series in each line, its numbers by commas, its class after a colon."""
    folder = Path(find_spec("sktime").submodule_search_locations[0], "datasets", "data", "ItalyPowerDemand")
    text = (folder / f"ItalyPowerDemand_{part}.ts").read_text("utf-8")
    lines = [line.split(":") for line in text.split("@data")[1].split()]
    X = np.array([series.split(",") for series, _ in lines], np.float32)[:, None]
    return X, np.array([int(label) - 1 for _, label in lines])


if find_spec("sktime") is None:
    raise SystemExit("the series come with sktime: pip install 'numconv[examples]'")
X, y = read("TRAIN")
test = read("TEST")
random.seed(0)
model = models.tcn(in_channels=1, num_classes=2, num_channels=(16, 16, 16), kernel_size=5)
optimizer = optim.Adam(model.parameters(), 3e-3)
history = train.fit(model, X, y, epochs=30, batch_size=16, optimizer=optimizer)
nearest = ((test[0] - X[:, 0]) ** 2).sum(2).argmin(1)  # (1029, 1, 24) - (67, 24)
print(f"{len(X)} days, loss {history[0]['loss']:.3f} to {history[-1]['loss']:.3f}")
print(f"nearest day: {np.mean(y[nearest] == test[1]):.1%} of {len(test[1])} other days right")
print(f"network: {train.evaluate(model, *test)[1]:.1%}")
