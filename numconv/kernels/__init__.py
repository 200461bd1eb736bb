"""Kernels: `cpu` computes convolutions and pooling; the small arrays to convolve pictures with are here."""

from numconv.kernels.pictures import box, emboss, gabor, gaussian, laplacian, prewitt, scharr, sharpen, sobel

__all__ = ["box", "emboss", "gabor", "gaussian", "laplacian", "prewitt", "scharr", "sharpen", "sobel"]
