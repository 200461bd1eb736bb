"""A 3-D U-Net on a real volume: steps that learn where grey and white matter are in a picture of the brain.

The volumes are the MNI152 average of 152 brains that nilearn carries (Fonov et al. 2011): pip install nilearn
"""

import gzip
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from numconv import models, optim, random
from numconv.autograd import Tensor
from numconv.autograd import functional as F

STEPS = 6


def volume(name):
    """A compressed NIfTI-1 file of bytes: a header of 352 bytes, then x fastest. As (z, y, x), from 0 to 1."""
    folder = Path(find_spec("nilearn").submodule_search_locations[0], "datasets", "data")
    raw = gzip.decompress((folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz").read_bytes())
    shape = np.frombuffer(raw, "<i2", 3, 42)
    data = np.frombuffer(raw, {2: "u1", 4: "<i2", 16: "<f4"}[int(np.frombuffer(raw, "<i2", 1, 70)[0])], offset=352)
    return data.reshape(shape[::-1]).astype(np.float32) / data.max()


if find_spec("nilearn") is None:
    raise SystemExit("the volumes come with nilearn: pip install nilearn")
t1, grey, white = (volume(name) for name in ("t1", "gm", "wm"))
middle = tuple(slice(n // 2 - 24, n // 2 + 24) for n in t1.shape)
x = t1[middle][None, None]
target = np.where(white > 0.5, 2, grey > 0.5).astype(np.int64)[middle][None]  # 0 neither, 1 grey, 2 white matter
print(f"volume {t1.shape}, a block {x.shape}: {np.mean(target == 1):.0%} grey, {np.mean(target == 2):.0%} white matter")

random.seed(0)
model = models.unet3d(1, 3, width=8, depth=2, padding=1)
optimizer = optim.Adam(model.parameters(), 1e-2)
losses = []
for step in range(STEPS):
    start = time.perf_counter()
    optimizer.zero_grad()
    scores = model(Tensor(x))
    loss = F.cross_entropy(scores, target)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    right = np.mean(scores.numpy().argmax(1) == target)
    print(f"step {step + 1}: loss {losses[-1]:.3f}, {right:.1%} right, {time.perf_counter() - start:.2f} s")
assert losses[-1] < losses[0]
