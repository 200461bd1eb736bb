"""A one-shot detector: one pass of a network says where digits are in a scene, how large, and which.

As in YOLO (Redmon et al. 2016, "You only look once") a grid of 8 x 8 cells lies over the picture. For each cell the
network gives 15 numbers: whether the middle of a digit lies in it, where in the cell, how wide and high it is, and ten
scores of its class. Of boxes that overlap the surest is kept. Scenes are made of real handwritten digits, from 12 to 24
pixels high, on pieces of a photograph; test scenes have other digits, on the other half of the photograph.

Writes detector.png. Needs: pip install 'numconv[examples]'
"""

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np

import numconv as nc
from numconv import data, nn, optim, random, train
from numconv.autograd import functional as F

try:
    from matplotlib.figure import Figure
    from PIL import Image
    from scipy import ndimage
except ImportError as error:
    raise SystemExit(f"{error}: pip install 'numconv[examples]'") from error

SIZE, CELL, GRID = 64, 8, 8
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", default=".", type=Path, help="where pictures are written; default: here")
folder = parser.parse_args().folder
folder.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)
random.seed(0)


def scenes(count, photo, digits, labels):
    """Pictures, and of each a list of (top, left, bottom, right, digit)."""
    pictures, truth = np.zeros((count, 1, SIZE, SIZE), np.float32), []
    for picture in pictures:
        canvas, boxes = picture[0], []
        row, column = (rng.integers(n - SIZE) for n in photo.shape)
        canvas[:] = photo[row : row + SIZE, column : column + SIZE]
        for _ in range(rng.integers(2, 8)):
            one, size = rng.integers(len(digits)), int(rng.integers(12, 25))
            top, left = rng.integers(0, SIZE - size, 2)
            if any(overlap((top, left, top + size, left + size), box[:4]) for box in boxes):
                continue  # digits do not lie on each other
            ink = np.clip(nc.interpolate(digits[one : one + 1], size, mode="bilinear")[0, 0], 0, 1)
            rows, columns = (np.flatnonzero((ink > 0.2).any(axis)) for axis in (1, 0))
            area = canvas[top : top + size, left : left + size]
            np.maximum(area, ink, out=area)
            box = top + rows[0], left + columns[0], top + rows[-1] + 1, left + columns[-1] + 1
            boxes.append((*(int(edge) for edge in box), int(labels[one])))
        truth.append(boxes)
    return pictures, truth


def targets(truth):
    """What the network should say, (N, 6, 8, 8): whether, the middle in the cell, height and width, the digit."""
    wanted = np.zeros((len(truth), 6, GRID, GRID), np.float32)
    for want, boxes in zip(wanted, truth):
        for top, left, bottom, right, digit in boxes:
            y, x = (top + bottom) / 2 / CELL, (left + right) / 2 / CELL
            here = want[:, int(y), int(x)]
            here[:] = 1, y % 1, x % 1, (bottom - top) / 24, (right - left) / 24, digit
    return wanted


def loss(output, wanted):
    """Whether: of all cells. Where and which: of those with a digit."""
    there = wanted[:, 0]
    count = max(there.sum(), 1)
    whether = F.binary_cross_entropy_with_logits(output[:, 0], there, pos_weight=np.float32(3))
    where = F.smooth_l1_loss(output[:, 1:5], wanted[:, 1:5], reduction="none", beta=0.1).sum(1)
    which = F.cross_entropy(output[:, 5:], wanted[:, 5].astype(np.int64), reduction="none")
    return whether * 10 + ((where * 5 + which) * there).sum() / count


def boxes_of(said, least=0.5):
    """Boxes (sureness, top, left, bottom, right, digit) of one picture, surest first, without those that overlap."""
    sure = 1 / (1 + np.exp(-said[0]))
    found = []
    for row, column in zip(*np.nonzero(sure > least)):
        y, x, height, width = said[1:5, row, column]
        middle, half = ((row + y) * CELL, (column + x) * CELL), (height * 12, width * 12)
        corners = [m - h for m, h in zip(middle, half)] + [m + h for m, h in zip(middle, half)]
        found.append((sure[row, column], *corners, int(said[5:, row, column].argmax())))
    kept = []
    for box in sorted(found, reverse=True):
        if all(overlap(box[1:5], other[1:5]) < 0.4 for other in kept):
            kept.append(box)
    return kept


def overlap(a, b):
    """Intersection over union of two boxes."""
    inside = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside)


def judge(found, truth):
    """Precision and recall of boxes that overlap a digit's by half, and how many of these tell the right digit."""
    hits = right = 0
    for boxes, real in zip(found, truth):
        left = list(real)
        for _, *corners, digit in boxes:
            best = max(left, key=lambda box: overlap(corners, box[:4]), default=None)
            if best and overlap(corners, best[:4]) >= 0.5:
                left.remove(best)
                hits, right = hits + 1, right + (digit == best[4])
    return hits / max(sum(map(len, found)), 1), hits / sum(map(len, truth)), right / max(hits, 1)


def by_components(picture, threshold):
    """Without learning: what is bright, hangs together, and is as large as a digit."""
    labels, _ = ndimage.label(picture[0] > threshold)
    return [(1, *(s.start for s in box), *(s.stop for s in box), -1) for box in ndimage.find_objects(labels)
            if 8 <= box[0].stop - box[0].start <= 24]  # fmt: skip


with files("numconv").joinpath("assets/chelsea.png").open("rb") as file:
    photo = np.asarray(Image.open(file).convert("L"), np.float32) / 255
digits, unseen = data.split(*data.digits(), 0.3, rng)
X, truth = scenes(4000, photo[:, :225], *digits)
test, real = scenes(200, photo[:, 225:], *unseen)
layers, channels = [], 1
for wide, stride in ((16, 2), (32, 2), (64, 2), (64, 1)):
    layers += [nn.Conv2d(channels, wide, 3, stride, padding=1), nn.BatchNorm2d(wide), nn.ReLU()]
    channels = wide
model = nn.Sequential(*layers, nn.Conv2d(64, 15, 3, padding=1))
optimizer = optim.Adam(model.parameters(), 4e-3)
scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
history = train.fit(model, X, targets(truth), epochs=10, optimizer=optimizer, scheduler=scheduler, loss=loss)
print(f"{len(X)} scenes, loss {history[0]['loss']:.2f} to {history[-1]['loss']:.2f}")


def of_threshold(threshold):
    """How good components of the first training scenes are: precision plus recall."""
    return sum(judge([by_components(picture, threshold) for picture in X[:200]], truth[:200])[:2])


threshold = max(np.arange(0.4, 1, 0.05), key=of_threshold)
bright = [by_components(picture, threshold) for picture in test]
found = [boxes_of(said) for said in train.predict(model, test)]
for name, boxes in (("connected components", bright), ("network", found)):
    precision, recall, right = judge(boxes, real)
    told = f", {right:.1%} of these told right" if name == "network" else ""
    print(f"{name}: {recall:.1%} of {sum(map(len, real))} digits found, {precision:.1%} of the boxes hold one{told}")

sheet = Figure(figsize=(9, 2.5), layout="constrained")
for axes, picture, boxes in zip(sheet.subplots(1, 4), test, found):
    axes.imshow(picture[0], cmap="gray", vmin=0, vmax=1)
    for _, top, left, bottom, right, digit in boxes:
        axes.plot((left, right, right, left, left), (top, top, bottom, bottom, top), "tab:red", lw=1)
        axes.text(left, top - 1, digit, color="tab:red", fontsize=9)
    axes.set_axis_off()
sheet.savefig(folder / "detector.png", dpi=80)
