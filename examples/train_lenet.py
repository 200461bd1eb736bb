"""LeNet-5 on real handwritten digits: train it, keep it, load it again, ask it."""

import tempfile
from pathlib import Path

import numpy as np

from numconv import data, models, nn, random, train

random.seed(0)
generator = np.random.default_rng(0)
rest, part = data.split(*data.digits(32), 0.2, generator)
model = models.lenet5(activation="relu", pooling="max")
history = train.fit(model, *rest, epochs=4, validation=part, generator=generator)
for entry in history:
    print(f"epoch {entry['epoch']}: loss {entry['loss']:.3f}, {entry['validation_accuracy']:.1%} of new digits right")

path = Path(tempfile.mkdtemp()) / "lenet5.npz"
nn.save(model.state_dict(), path)
again = models.lenet5(activation="relu", pooling="max")
again.load_state_dict(nn.load(path))
X, y = part
print("read", train.predict(again, X[:10]).argmax(1), "where there is", y[:10])
