"""Filter a picture with a kernel.

examples:
  numconv filter photo.png edges.png --kernel sobel
  numconv filter photo.jpg soft.jpg --kernel gaussian:2.5 --boundary nearest
  numconv filter photo.png mine.png --kernel weights.npy
  numconv filter scan.npy edges.npy --kernel laplacian

A kernel is one of numconv.kernels, its arguments after colons (gaussian:2.5, box:5), or a .npy file with a 2-D array.
sobel, prewitt and scharr give the gradient's magnitude; sobel:0 and sobel:1 its part along one axis.
IN and OUT are pictures (extra: pip install numconv[data]) or .npy files of shape (H, W) or (H, W, channels).
Pictures of 8 bits, and grey ones of 16, keep their depth: what falls outside is clipped. Transparency is kept as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from numconv.commands.common import new_file, open_picture
from numconv.extras import require
from numconv.files.atomic import replacing
from numconv.terminal import Progress

GRADIENTS = ("sobel", "prewitt", "scharr")
NAMES = ("sobel", "prewitt", "scharr", "laplacian", "box", "gaussian", "gabor", "sharpen", "emboss")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="IN")
    parser.add_argument("target", type=new_file, metavar="OUT")
    parser.add_argument("--kernel", required=True, metavar="KERNEL", help=f"{', '.join(NAMES)} or FILE.npy")
    parser.add_argument("--boundary", default="reflect", help="reflect (default), mirror, nearest, wrap or zeros")


def run(options: argparse.Namespace) -> None:
    form = format_of(options.target)
    with Progress("steps", 3) as progress:
        progress.begin(f"reading {options.source}")
        image, alpha = read(options.source)
        progress.begin(f"filtering {'x'.join(map(str, image.shape))}")
        result = apply(image, options.kernel, options.boundary)
        progress.begin(f"writing {options.target}")
        write(options.target, form, result, alpha)


def apply(image: np.ndarray, kernel: str, boundary: str) -> np.ndarray:
    """Filter with the kernel that the text describes."""
    import numconv as nc

    name, _, rest = kernel.partition(":")
    if kernel.endswith(".npy"):
        return nc.filter(image, read_array(Path(kernel)), boundary)
    if name not in NAMES:
        raise ValueError(f"--kernel: expected one of {', '.join(NAMES)} or a .npy file, got {kernel!r}")
    numbers = [number(part, kernel) for part in rest.split(":")] if rest else []
    make = getattr(nc.kernels, name)
    if name in GRADIENTS and not numbers:
        return magnitude(image, make(0), make(1), boundary)
    try:
        weights = make(*numbers)
    except TypeError as error:  # "gaussian() missing 1 required positional argument: 'sigma'"
        raise ValueError(f"--kernel {kernel}: {error}") from error
    return nc.filter(image, weights, boundary)


def magnitude(image: np.ndarray, first: np.ndarray, second: np.ndarray, boundary: str) -> np.ndarray:
    """The gradient's magnitude, on the scale on which a step from black to white gives white."""
    import numconv as nc

    if image.dtype.kind not in "iuf":
        raise ValueError(f"IN: expected integers or floats, got {image.dtype}")
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
    if is_array(path):
        return read_array(path), None
    picture = open_picture(path)
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


def is_array(path: Path) -> bool:
    """Whether a file's name is that of an array."""
    return path.suffix.lower() == ".npy"


def read_array(path: Path) -> np.ndarray:
    """The array of a .npy file."""
    with path.open("rb") as file:
        try:
            return np.lib.format.read_array(file)
        except ValueError as error:
            raise ValueError(f"{path} is no .npy file that can be read: {error}") from error


def format_of(path: Path) -> str:
    """Pillow's name of the format that a file's name asks for, "" for an array."""
    if is_array(path):
        return ""
    image = require("PIL.Image", "data")
    form = image.registered_extensions().get(path.suffix.lower())
    if form not in image.SAVE:
        raise ValueError(
            f"OUT: expected a name that ends as a picture's (.png, .jpg, .tiff) or in .npy, got {str(path)!r}"
        )
    return form


def write(path: Path, form: str, image: np.ndarray, alpha: np.ndarray | None) -> None:
    """Write pixels in a format: the old file, or all of the new one."""
    with replacing(path) as part, part.open("wb") as file:
        if not form:
            np.save(file, image)
            return
        pixels = image if alpha is None else np.dstack([image, alpha])
        if pixels.dtype == np.float64:
            pixels = pixels.astype(np.float32)
        try:
            require("PIL.Image", "data").fromarray(pixels).save(file, form)
        except (TypeError, ValueError, OSError) as error:
            if getattr(error, "errno", None):  # of the disk
                raise
            kind = f"{'x'.join(map(str, pixels.shape))} of {pixels.dtype}"
            raise ValueError(f"{path}: {form} cannot hold {kind} ({error}): choose .tiff or .npy") from error
