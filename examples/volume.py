"""A 3-D U-Net on a real volume: where is grey, where white matter in a picture of the brain?

The volume is the MNI152 average of 152 brains (Fonov et al. 2011), which nilearn carries with maps of both tissues. An
average has neither noise nor the uneven brightness of one scan, so both are added: then a voxel's brightness alone no
longer tells, and its surroundings do. The front half of the brain is for training, the back half to test with.

Writes volume.png. Needs: pip install 'numconv[examples]'
"""

import argparse
import gzip
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from numconv import models, optim, random, train
from numconv.autograd import Tensor
from numconv.autograd import functional as F

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise SystemExit(f"{error}: pip install 'numconv[examples]'") from error

STEPS, SIZE = 180, 32
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", default=".", type=Path, help="where pictures are written; default: here")
folder = parser.parse_args().folder
folder.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)


def volume(name):
    """A compressed NIfTI-1 file of bytes: a header of 352 bytes, then x fastest. As (z, y, x), from 0 to 1."""
    where = Path(find_spec("nilearn").submodule_search_locations[0], "datasets", "data")
    raw = gzip.decompress((where / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz").read_bytes())
    shape = np.frombuffer(raw, "<i2", 3, 42)
    data = np.frombuffer(raw, {2: "u1", 4: "<i2", 16: "<f4"}[int(np.frombuffer(raw, "<i2", 1, 70)[0])], offset=352)
    return data.reshape(shape[::-1]).astype(np.float32) / data.max()


def scanned(clean):
    """With noise, and brighter at one side than at the other."""
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in clean.shape), indexing="ij"))
    slope = rng.normal(0, 0.15, 3)
    return (clean * (1 + np.tensordot(slope, places, 1)) + rng.normal(0, 0.05, clean.shape)).astype(np.float32)


def block(half):
    """A random block of one half of the brain: what a scan would show, and the tissue of each voxel."""
    low, high = np.array([40, half[0], 40]), np.array([130, half[1], 160]) - SIZE
    start = rng.integers(low, np.maximum(high, low + 1))
    place = tuple(slice(s, s + SIZE) for s in start)
    return scanned(t1[place]), tissue[place]


def overlap(said, truth):
    """Intersection over union, the mean over the three classes."""
    return np.mean([np.sum((said == k) & (truth == k)) / np.sum((said == k) | (truth == k)) for k in range(3)])


if find_spec("nilearn") is None:
    raise SystemExit("the volumes come with nilearn: pip install 'numconv[examples]'")
t1, grey, white = (volume(name) for name in ("t1", "gm", "wm"))
tissue = np.where(white > 0.5, 2, grey > 0.5).astype(np.int64)  # 0 neither, 1 grey, 2 white matter
middle = t1.shape[1] // 2
back, front = (20, middle), (middle, t1.shape[1] - 20)

random.seed(0)
model = models.unet3d(1, 3, width=8, depth=2, padding=1)
optimizer = optim.Adam(model.parameters(), 1e-2)
scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
counts = np.zeros((3, 100))  # of voxels of each tissue at each brightness, for the baseline
start = time.perf_counter()
for step in range(1, STEPS + 1):
    x, y = (np.stack(arrays) for arrays in zip(block(front), block(front)))
    np.add.at(counts, (y, (x * 60).astype(int).clip(0, 99)), 1)
    optimizer.zero_grad()
    loss = F.cross_entropy(model(Tensor(x[:, None])), y)
    loss.backward()
    optimizer.step()
    scheduler.step()
    if step % 45 == 0:
        print(f"step {step}: loss {loss.item():.3f}, {time.perf_counter() - start:.1f} s")

x, y = (np.stack(arrays) for arrays in zip(*(block(back) for _ in range(20))))
results = {
    "most frequent at the brightness": counts.argmax(0)[(x * 60).astype(int).clip(0, 99)],
    "3-D U-Net": train.predict(model, x[:, None], 4).argmax(1),
}
for name, said in results.items():
    print(f"{name}: {np.mean(said == y):.1%} of the voxels right, mean IoU {overlap(said, y):.2f}")

sheet = Figure(figsize=(8, 2.3), layout="constrained")
shown = {"a slice": x, "grey and white matter": y, **results}
for axes, (title, blocks) in zip(sheet.subplots(1, 4), shown.items()):
    axes.imshow(blocks[0, SIZE // 2], cmap="gray", origin="lower", vmin=0, vmax=1 if title == "a slice" else 2)
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
sheet.savefig(folder / "volume.png", dpi=80)
