"""LeNet-5 on real handwritten digits: train it, beside a linear classifier; keep it, load it again, ask it.

Writes lenet5.npz, lenet_curves.png, lenet_filters.png and lenet_features.png. Needs: pip install 'numconv[train]'
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from numconv import data, models, nn, optim, random, train

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", default=".", type=Path, help="where files are written; default: here")
folder = parser.parse_args().folder
folder.mkdir(parents=True, exist_ok=True)
if find_spec("matplotlib") is None:
    raise SystemExit("matplotlib draws the pictures: pip install 'numconv[train]'")
random.seed(0)
rest, part = data.split(*data.digits(32), 0.2, np.random.default_rng(0))


def fitted(model):
    """Ten epochs, in which the learning rate falls along a cosine."""
    optimizer = optim.Adam(model.parameters(), 3e-3)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    return train.fit(model, *rest, epochs=10, optimizer=optimizer, scheduler=scheduler, validation=part)


baseline = fitted(nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 10)))
model = models.lenet5(activation="relu", pooling="max")
history = fitted(model)
for entry, other in zip(history, baseline):
    print(
        f"epoch {entry['epoch']}: loss {entry['loss']:.3f}, {entry['validation_accuracy']:.1%} of new digits right; "
        f"linear classifier {other['validation_accuracy']:.1%}"
    )

nn.save(model.state_dict(), folder / "lenet5.npz")
again = models.lenet5(activation="relu", pooling="max")
again.load_state_dict(nn.load(folder / "lenet5.npz"))
X, y = part
print("read", train.predict(again, X[:10]).argmax(1), "where there is", y[:10])

train.draw_curves(history, folder / "lenet_curves.png")
train.draw_filters(model, folder / "lenet_filters.png")
train.draw_features(model, X[0], folder / "lenet_features.png")
