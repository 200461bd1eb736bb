"""Denoising: a small convolutional network learns what noise looks like, and takes it away.

As in DnCNN (Zhang et al. 2017, "Beyond a Gaussian denoiser") the network predicts the noise, not the picture. It learns
from three photographs and is judged on a fourth, by PSNR, against filters whose width is chosen on that very picture:
the best that they can do.

Writes denoise.png. The photographs come with scikit-image: pip install 'numconv[examples]'
"""

import argparse
from pathlib import Path

import numpy as np

import numconv as nc
from numconv import nn, optim, random, train
from numconv.autograd import functional as F

try:
    import skimage.color
    import skimage.data
    from matplotlib.figure import Figure
    from scipy import ndimage
    from skimage.restoration import denoise_nl_means
except ImportError as error:
    raise SystemExit(f"{error}: pip install 'numconv[examples]'") from error

SIGMA, PATCH, WIDTH, EPOCHS = 0.1, 32, 32, 8  # of values from 0 to 1
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", default=".", type=Path, help="where pictures are written; default: here")
folder = parser.parse_args().folder
folder.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)
random.seed(0)


def patches(count):
    """Random pieces of three photographs, turned and mirrored."""
    photos = [skimage.color.rgb2gray(getattr(skimage.data, name)()) for name in ("astronaut", "coffee", "chelsea")]
    found = np.empty((count, 1, PATCH, PATCH), np.float32)
    for piece in found:
        photo = photos[rng.integers(3)]
        top, left = (rng.integers(n - PATCH) for n in photo.shape)
        cut = np.rot90(photo[top : top + PATCH, left : left + PATCH], rng.integers(4))
        piece[0] = cut[:, ::-1] if rng.integers(2) else cut
    return found


def psnr(picture):
    """Peak signal to noise ratio in decibels."""
    return -10 * np.log10(np.mean((np.clip(picture, 0, 1) - clean) ** 2))


clean = skimage.data.camera().astype(np.float32) / 255
noisy = clean + rng.normal(0, SIGMA, clean.shape).astype(np.float32)

X = patches(2000)
noise = rng.normal(0, SIGMA, X.shape).astype(np.float32)
layers = [nn.Conv2d(1, WIDTH, 3, padding=1), nn.ReLU()]
for _ in range(4):
    layers += [nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU()]
model = nn.Sequential(*layers, nn.Conv2d(WIDTH, 1, 3, padding=1))
optimizer = optim.Adam(model.parameters(), 2e-3)
scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
history = train.fit(
    model, X + noise, noise, epochs=EPOCHS, batch_size=16, optimizer=optimizer, scheduler=scheduler, loss=F.mse_loss
)
print(f"trained on {len(X)} pieces: what is left of the noise's variance {history[-1]['loss'] / SIGMA**2:.1%}")

pictures = {
    "noisy": noisy,
    "Gaussian": max((nc.filter(noisy, nc.kernels.gaussian(s)) for s in (0.6, 0.8, 1, 1.2, 1.5)), key=psnr),
    "median": max((ndimage.median_filter(noisy, size) for size in (3, 5)), key=psnr),
    "non-local means": max((denoise_nl_means(noisy, h=h * SIGMA, sigma=SIGMA) for h in (0.6, 0.8)), key=psnr),
    "network": noisy - train.predict(model, noisy[None, None])[0, 0],
}
for name, picture in pictures.items():
    print(f"{name}: {psnr(picture):.2f} dB")

sheet = Figure(figsize=(10, 2.3), layout="constrained")
part = slice(80, 240), slice(160, 320)
for axes, (name, picture) in zip(sheet.subplots(1, 6), {"clean": clean, **pictures}.items()):
    axes.imshow(picture[part], cmap="gray", vmin=0, vmax=1)
    axes.set_title(name if name == "clean" else f"{name}, {psnr(picture):.1f} dB", fontsize=8)
    axes.set_axis_off()
sheet.savefig(folder / "denoise.png", dpi=100)
