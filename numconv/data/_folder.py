"""Pictures in folders, one folder a class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from numconv.extras import require

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


class ImageFolder:
    """The pictures in the folders of a folder, read when they are asked for.

    Parameters
    ----------
    path : path
        Holds a folder for each class, however deep its pictures are in it.
    size : int or (int, int), optional
        Height and width to resize to, bilinearly. Without it pictures keep theirs, and batches need them all alike.
    mode : {"RGB", "L"}
        Three channels of colour, or one of grey.

    Attributes
    ----------
    classes : list of str
        The folders' names, sorted; `labels` count in them.
    paths : list of Path
        The pictures, class by class, sorted.
    labels : ndarray of int64
        The class of each picture.

    Raises
    ------
    ValueError
        If there is no picture in `path`, or an argument is none of those above.
    MissingExtra
        If Pillow is not installed.

    Examples
    --------
    `photos/cat/1.jpg`, `photos/dog/7.png`: `ImageFolder("photos", 224)[1]` gives the dog, (3, 224, 224), and 1.
    """

    def __init__(
        self, path: str | os.PathLike[str], size: int | tuple[int, int] | None = None, mode: str = "RGB"
    ) -> None:
        require("PIL.Image", "data")
        if mode not in ("RGB", "L"):
            raise ValueError(f"mode must be 'RGB' or 'L', got {mode!r}")
        if size is not None:
            height, width = (size, size) if isinstance(size, int) else size
            if min(height, width) < 1:
                raise ValueError(f"size must be at least 1, got {size}")
            size = (height, width)
        self.size, self.mode = size, mode
        folders = sorted(p for p in Path(path).iterdir() if p.is_dir() and not p.name.startswith("."))
        self.classes = [folder.name for folder in folders]
        found = [
            (picture, label)
            for label, folder in enumerate(folders)
            for picture in sorted(folder.rglob("*"))
            if picture.suffix.lower() in SUFFIXES and not picture.name.startswith(".")
        ]
        if not found:
            raise ValueError(f"path must have folders with pictures, {os.fspath(path)!r} has none")
        self.paths = [picture for picture, _ in found]
        self.labels = np.array([label for _, label in found], np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """(picture (C, height, width) of float32 from 0 to 1, label).

        Raises
        ------
        ValueError
            If the picture is broken.
        """
        image = require("PIL.Image", "data")
        path = self.paths[index]
        try:
            with image.open(path) as file:
                picture = require("PIL.ImageOps", "data").exif_transpose(file).convert(self.mode)
        except (OSError, SyntaxError, ValueError, image.DecompressionBombError) as error:
            raise ValueError(f"{path} is no picture that can be read: {error}") from error
        if self.size is not None:
            picture = picture.resize(self.size[::-1], image.Resampling.BILINEAR)
        pixels = np.asarray(picture, np.float32) / 255
        channels = pixels[None] if self.mode == "L" else pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(channels), int(self.labels[index])

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Read all pictures: X (N, C, height, width) and y (N,). They must be of one size."""
        pictures = [self[index][0] for index in range(len(self))]
        shapes = {picture.shape for picture in pictures}
        if len(shapes) > 1:
            raise ValueError(f"pictures must be of one size, or `size` be given, got {sorted(shapes)}")
        return np.stack(pictures), self.labels.copy()
