"""Filter a picture with a kernel.

examples:
  numconv filter photo.png edges.png --kernel sobel
  numconv filter photo.jpg soft.jpg --kernel gaussian:2.5 --boundary nearest
  numconv filter photo.png mine.png --kernel weights.npy
  numconv filter scan.npy edges.npy --kernel laplacian

A kernel is one of numconv.kernels, its arguments after colons (gaussian:2.5, box:5), or a .npy file with a 2-D array.
sobel, prewitt and scharr give the gradient's magnitude; sobel:0 and sobel:1 its part along one axis.
IN and OUT are pictures (extra: pip install numconv[demo]) or .npy files of shape (H, W) or (H, W, channels).
8- and 16-bit pictures keep their depth: what falls outside is clipped. Transparency is kept as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from numconv.extras import require
from numconv.terminal import Progress

GRADIENTS = ("sobel", "prewitt", "scharr")
NAMES = ("sobel", "prewitt", "scharr", "laplacian", "box", "gaussian", "gabor", "sharpen", "emboss")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="IN")
    parser.add_argument("target", type=Path, metavar="OUT")
    parser.add_argument("--kernel", required=True, metavar="KERNEL", help=f"{', '.join(NAMES)} or FILE.npy")
    parser.add_argument("--boundary", default="reflect", help="reflect (default), mirror, nearest, wrap or zeros")


def run(options: argparse.Namespace) -> None:
    with Progress("steps", 3) as progress:
        progress.begin(f"reading {options.source}")
        image, alpha = read(options.source)
        progress.begin(f"filtering {'x'.join(map(str, image.shape))}")
        result = apply(image, options.kernel, options.boundary)
        progress.begin(f"writing {options.target}")
        write(options.target, result, alpha)


def apply(image: np.ndarray, kernel: str, boundary: str) -> np.ndarray:
    """Filter with the kernel that the text describes."""
    import numconv as nc

    name, _, rest = kernel.partition(":")
    if kernel.endswith(".npy"):
        return nc.filter(image, np.load(kernel), boundary)
    if name not in NAMES:
        raise ValueError(f"--kernel: expected one of {', '.join(NAMES)} or a .npy file, got {kernel!r}")
    numbers = [number(part, kernel) for part in rest.split(":")] if rest else []
    make = getattr(nc.kernels, name)
    if name in GRADIENTS and not numbers:
        return magnitude(image, make(0), make(1), boundary)
    return nc.filter(image, make(*numbers), boundary)


def magnitude(image: np.ndarray, first: np.ndarray, second: np.ndarray, boundary: str) -> np.ndarray:
    """The gradient's magnitude, on the scale on which a step from black to white gives white."""
    import numconv as nc

    exact = image if image.dtype.kind == "f" else image.astype(np.float32)
    result = np.hypot(nc.filter(exact, first, boundary), nc.filter(exact, second, boundary))
    result /= np.abs(first).sum() / 2
    if image.dtype.kind == "f":
        return result
    limits = np.iinfo(image.dtype)
    return np.rint(result).clip(limits.min, limits.max).astype(image.dtype)


def number(text: str, kernel: str) -> int | float:
    """An argument of a kernel."""
    try:
        return float(text) if "." in text or "e" in text.lower() else int(text)
    except ValueError:
        raise ValueError(f"--kernel: expected numbers after the colon, got {kernel!r}") from None


def read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The picture's pixels and its transparency, if it has one."""
    if path.suffix == ".npy":
        return np.load(path), None
    image_module, transpose = require("PIL.Image", "demo"), require("PIL.ImageOps", "demo").exif_transpose
    with image_module.open(path) as file:
        picture: Any = transpose(file)
    if "A" in picture.getbands() or "transparency" in picture.info:
        pixels = np.asarray(picture.convert("RGBA"))
        return pixels[..., :3], pixels[..., 3]
    if picture.mode == "I":  # what some versions of Pillow make of 16-bit files
        return np.asarray(picture).clip(0, 65535).astype(np.uint16), None
    if picture.mode == "1":
        picture = picture.convert("L")
    elif picture.mode not in ("L", "RGB", "I;16", "F"):
        picture = picture.convert("RGB")
    return np.asarray(picture), None


def write(path: Path, image: np.ndarray, alpha: np.ndarray | None) -> None:
    """Write pixels as the format of the file's name."""
    if path.suffix == ".npy":
        np.save(path, image)
        return
    if image.dtype == np.float64:
        image = image.astype(np.float32)
    if alpha is not None:
        image = np.dstack([image, alpha])
    require("PIL.Image", "demo").fromarray(image).save(path)
