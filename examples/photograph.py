"""Filtering a photograph: a blur, edges, a bank of filters in one call, and half the size without false patterns.

The photograph is a cat's that comes with numconv (Stéfan van der Walt, CC0). Writes photograph.png.
Needs: pip install 'numconv[examples]'
"""

import argparse
import time
from importlib.resources import files
from pathlib import Path

import numpy as np

import numconv as nc

try:
    from matplotlib.figure import Figure
    from PIL import Image
    from scipy import ndimage
except ImportError as error:
    raise SystemExit(f"{error}: pip install 'numconv[examples]'") from error

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", default=".", type=Path, help="where pictures are written; default: here")
folder = parser.parse_args().folder
folder.mkdir(parents=True, exist_ok=True)
with files("numconv").joinpath("assets/chelsea.png").open("rb") as file:
    photo = np.asarray(Image.open(file), np.float32) / 255  # (300, 451, 3)
grey = photo @ np.float32([0.299, 0.587, 0.114])


def timed(function):
    """What a function gives, and its milliseconds: the best of ten calls after one that compiles."""
    result, times = function(), []
    for _ in range(10):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return result, min(times) * 1e3


# A blur: each pixel becomes a weighted mean of those around it. The kernel is the product of a column and a row, which
# `filter` finds out: 25 + 25 products a pixel in place of 625.
blurred, ours = timed(lambda: nc.filter(photo, nc.kernels.gaussian(3)))
expected, theirs = timed(lambda: ndimage.gaussian_filter(photo, (3, 3, 0)))
print(f"Gaussian blur: {ours:.2f} ms, SciPy {theirs:.2f} ms; they differ by {np.abs(blurred - expected).max():.0e}")

# Edges: the picture's slope across and along, and how steep both make it together.
edges = np.hypot(nc.filter(grey, nc.kernels.sobel(1)), nc.filter(grey, nc.kernels.sobel(0)))
print(f"edges: a tenth of the pixels are steeper than {np.quantile(edges, 0.9):.2f}, half than {np.median(edges):.2f}")

# A bank of filters is one convolution with many output channels: here waves of eight directions.
angles = np.arange(8) * np.pi / 8
bank = np.stack([nc.kernels.gabor(6, angle, size=19) for angle in angles]).astype(np.float32)
bank -= bank.mean((1, 2), keepdims=True)  # flat surfaces give 0
answers = np.abs(nc.conv2d(grey[None], bank[:, None], padding=9, padding_mode="reflect"))  # (8, 300, 451)
direction = angles[answers.argmax(0)]
strong = answers.max(0) > np.quantile(answers.max(0), 0.9)
shares = [np.mean(direction[strong] == angle) for angle in angles]
print("stripes across", ", ".join(f"{np.degrees(a):.0f}°: {s:.0%}" for a, s in zip(angles, shares)))

# A quarter of the size: means of 4 x 4 pixels, or every fourth pixel, in which fine fur becomes noise.
channels = np.ascontiguousarray(photo.transpose(2, 0, 1))
small = nc.avg_pool2d(channels, 4).transpose(1, 2, 0)
skipped = photo[::4, ::4][: small.shape[0], : small.shape[1]]
rough = [np.abs(np.diff(picture, axis=1)).mean() for picture in (small, skipped)]
print(f"quarter size: neighbours differ by {rough[0]:.3f} in means of 4 x 4 pixels, by {rough[1]:.3f} in every fourth")

sheet = Figure(figsize=(10, 4.8), layout="constrained")
pictures = {
    "photograph": photo,
    "Gaussian blur": blurred,
    "sharpened": np.clip(nc.filter(photo, nc.kernels.sharpen()), 0, 1),
    "Sobel edges": np.minimum(edges / np.quantile(edges, 0.995), 1),
    "strongest of 8 Gabor filters": np.minimum(answers.max(0) / np.quantile(answers.max(0), 0.995), 1),
    "means of 4 x 4": small,
}
for axes, (title, picture) in zip(sheet.subplots(2, 3).flat, pictures.items()):
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
sheet.savefig(folder / "photograph.png", dpi=80)
