"""Edges of a picture: a gradient by two convolutions, and the same picture at half the size."""

import numpy as np

import numconv as nc

y, x = np.mgrid[0:240, 0:320].astype(np.float32)
picture = ((x - 160) ** 2 + (y - 120) ** 2 < 80**2).astype(np.float32)  # a white disc

across = nc.filter(picture, nc.kernels.sobel(0))
along = nc.filter(picture, nc.kernels.sobel(1))
edges = np.hypot(across, along)
smaller = nc.avg_pool2d(edges[None], 2)[0]

print(f"picture {picture.shape}, edges on {np.count_nonzero(edges > 0.1)} pixels, smaller {smaller.shape}")
