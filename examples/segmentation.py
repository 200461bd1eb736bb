"""Semantic segmentation with dilated convolutions: which pixel is brick, which grass, which gravel?

A pixel alone does not tell; its surroundings do. Dilated convolutions (Yu and Koltun 2016, "Multi-scale context
aggregation by dilated convolutions") look far around at full resolution: six 3x3 layers of dilation 1, 2, 4, 8, 4, 1
see 41 x 41 pixels, the same layers without dilation 13 x 13. The dilation falls again at the end, since results that
are computed from every eighth pixel only come out as a grid. Mosaics for training are made of the left halves of three
photographs, for testing of the right halves.

Writes segmentation.png. The photographs come with scikit-image: pip install 'numconv[examples]'
"""

import argparse
from pathlib import Path

import numpy as np

import numconv as nc
from numconv import nn, optim, random, train

try:
    import skimage.data
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
except ImportError as error:
    raise SystemExit(f"{error}: pip install 'numconv[examples]'") from error

NAMES, SIZE = ("brick", "grass", "gravel"), 64
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", default=".", type=Path, help="where pictures are written; default: here")
folder = parser.parse_args().folder
folder.mkdir(parents=True, exist_ok=True)
textures = [getattr(skimage.data, name)().astype(np.float32) / 255 for name in NAMES]


def mosaics(count, columns, rng):
    """Pictures of three regions, those nearest to each of three random points, filled from the textures."""
    X, y = np.empty((count, 1, SIZE, SIZE), np.float32), np.empty((count, SIZE, SIZE), np.int64)
    rows, across = np.mgrid[:SIZE, :SIZE]
    for picture, label in zip(X, y):
        points = rng.uniform(0, SIZE, (3, 2))
        label[:] = np.argmin([(rows - r) ** 2 + (across - c) ** 2 for r, c in points], axis=0)
        for kind, texture in enumerate(textures):
            top, left = rng.integers(512 - SIZE), rng.integers(columns.start, columns.stop - SIZE)
            piece = texture[top : top + SIZE, left : left + SIZE] * rng.uniform(0.7, 1.3)  # as if lit differently
            picture[0][label == kind] = piece[label == kind]
    return X - 0.5, y


def network(dilations):
    layers, channels = [], 1
    for dilation in dilations:
        layers += [nn.Conv2d(channels, 16, 3, padding="same", dilation=dilation), nn.BatchNorm2d(16), nn.ReLU()]
        channels = 16
    return nn.Sequential(*layers, nn.Conv2d(16, 3, 1))


def overlap(said, y):
    """Intersection over union, the mean over the three classes."""
    return np.mean([np.sum((said == k) & (y == k)) / np.sum((said == k) | (y == k)) for k in range(3)])


def by_brightness(X, y, test):
    """The class that is most frequent at each brightness, after a blur."""
    blur = nc.kernels.gaussian(3)
    levels = [np.digitize([nc.filter(one[0], blur) for one in part], np.linspace(-0.5, 0.5, 40)) for part in (X, test)]
    table = np.stack([np.bincount(levels[0][y == k], minlength=41) for k in range(3)])
    return table.argmax(0)[levels[1]]


rng = np.random.default_rng(0)
X, y = mosaics(400, range(256), rng)
test, truth = mosaics(60, range(256, 512), rng)
results = {"thresholds of brightness": by_brightness(X, y, test)}
for name, dilations in (("without dilation", (1, 1, 1, 1, 1, 1)), ("with dilation", (1, 2, 4, 8, 4, 1))):
    random.seed(0)
    model = network(dilations)
    optimizer = optim.Adam(model.parameters(), 5e-3)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
    train.fit(model, X, y, epochs=5, batch_size=16, optimizer=optimizer, scheduler=scheduler)
    results[name] = train.predict(model, test).argmax(1)
for name, said in results.items():
    print(f"{name}: {np.mean(said == truth):.1%} of the pixels right, mean IoU {overlap(said, truth):.2f}")

sheet = Figure(figsize=(9, 5.9), layout="constrained")
columns = {"mosaic": test[:, 0], "truth": truth, **results}
for row, axes in enumerate(sheet.subplots(3, 5)):
    for ax, (title, pictures) in zip(axes, columns.items()):
        if title == "mosaic":
            ax.imshow(pictures[row], cmap="gray")
        else:
            ax.imshow(pictures[row], cmap="viridis", vmin=0, vmax=2)
        ax.set_axis_off()
        if row == 0:
            ax.set_title(title, fontsize=9)
patches = [Patch(color=colour) for colour in ax.images[0].to_rgba([0, 1, 2])]
sheet.legend(patches, NAMES, loc="outside lower center", ncols=3, fontsize=9)
sheet.savefig(folder / "segmentation.png", dpi=80)
