"""The pictures of the demo: each made by one expression of public functions, which the page shows beneath it."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import numconv as nc
from numconv.lab.timing import fastest

TIMED_SECONDS = 0.05
EYE = (slice(72, 168), slice(98, 242))


@dataclass(frozen=True)
class Step:
    """One picture to make. `show` says how to look at the result: as it is, as a magnitude, or around mid-grey."""

    name: str
    title: str
    code: str
    about: str
    show: str = "as is"


@dataclass(frozen=True)
class Picture:
    """A picture made: 8-bit pixels to look at, and the seconds of the fastest of several calls."""

    step: Step
    pixels: np.ndarray
    seconds: float
    note: str = ""


STEPS = (
    Step(
        "sobel",
        "Sobel edges",
        "np.hypot(nc.filter(grey, nc.kernels.sobel(0)), nc.filter(grey, nc.kernels.sobel(1)))",
        "The gradient's magnitude; smoothing 1 2 1 across.",
        "magnitude",
    ),
    Step(
        "prewitt",
        "Prewitt edges",
        "np.hypot(nc.filter(grey, nc.kernels.prewitt(0)), nc.filter(grey, nc.kernels.prewitt(1)))",
        "The same with equal weights 1 1 1.",
        "magnitude",
    ),
    Step(
        "scharr",
        "Scharr edges",
        "np.hypot(nc.filter(grey, nc.kernels.scharr(0)), nc.filter(grey, nc.kernels.scharr(1)))",
        "Weights 3 10 3: edges of every direction come out alike.",
        "magnitude",
    ),
    Step(
        "laplacian",
        "Laplacian",
        "nc.filter(grey, nc.kernels.laplacian())",
        "The second derivative; grey is zero.",
        "signed",
    ),
    Step(
        "gaussian",
        "Gaussian blur, one 2-D kernel",
        'nc.conv2d(channels[:, None], gaussian, padding=12, padding_mode="replicate")[:, 0]',
        "25 x 25 weights: 625 products a pixel.",
    ),
    Step(
        "gaussian-separable",
        "Gaussian blur, two 1-D passes",
        'nc.conv2d(nc.conv2d(channels[:, None], column, padding=(12, 0), padding_mode="replicate"),'
        ' row, padding=(0, 12), padding_mode="replicate")[:, 0]',
        "The same kernel's factors, by nc.separate: 25 + 25 products a pixel.",
    ),
    Step(
        "sharpen",
        "Sharpening",
        "nc.filter(photo, nc.kernels.sharpen())",
        "The photograph less its Laplacian.",
    ),
    Step(
        "dilated",
        "Dilated convolution",
        'nc.conv2d(grey[None], sobel, dilation=6, padding=6, padding_mode="reflect")[0]',
        "Sobel's nine weights spread over 13 x 13 pixels: coarse vertical edges.",
        "signed",
    ),
    Step(
        "transposed",
        "Transposed convolution",
        "nc.conv_transpose2d(eye, tent, stride=4, padding=2, groups=3)",
        "The eye, four times as large: each pixel spreads an 8 x 8 tent.",
    ),
    Step(
        "max-pool",
        "Max pooling",
        "nc.max_pool2d(channels, 8)",
        "The brightest of each 8 x 8 block, channel by channel.",
        "blocks",
    ),
    Step(
        "avg-pool",
        "Average pooling",
        "nc.avg_pool2d(channels, 8)",
        "The mean of each 8 x 8 block.",
        "blocks",
    ),
)


def photograph() -> np.ndarray:
    """The photograph, (H, W, 3) in float32 from 0 to 1."""
    from PIL import Image

    with importlib.resources.files("numconv").joinpath("assets/chelsea.png").open("rb") as file:
        return np.asarray(Image.open(file), np.float32) / 255


def original(photo: np.ndarray) -> Picture:
    """The photograph itself as the first picture."""
    return Picture(Step("original", "The photograph", "", "Photograph: Stéfan van der Walt, CC0."), visible(photo), 0.0)


def save(picture: Picture, folder: Path) -> bytes:
    """Write the picture to `folder` as a PNG file and return its bytes."""
    from PIL import Image

    path = folder / f"{picture.step.name}.png"
    Image.fromarray(picture.pixels).save(path, optimize=True)
    return path.read_bytes()


def operands(photo: np.ndarray) -> dict[str, Any]:
    """The names that the steps' expressions use."""
    channels = np.ascontiguousarray(np.moveaxis(photo, 2, 0))
    triangle = 1 - np.abs(np.arange(8, dtype=np.float32) - 3.5) / 4
    gaussian = nc.kernels.gaussian(3).astype(np.float32)
    column, row = nc.separate(gaussian)
    return {
        "nc": nc,
        "np": np,
        "photo": photo,
        "grey": photo @ np.array([0.299, 0.587, 0.114], np.float32),
        "channels": channels,
        "eye": np.ascontiguousarray(channels[(slice(None), *EYE)]),
        "tent": np.broadcast_to(np.outer(triangle, triangle), (3, 1, 8, 8)).copy(),
        "sobel": nc.kernels.sobel(1).astype(np.float32)[None, None],
        "gaussian": gaussian[None, None],
        "column": column[None, None, :, None],
        "row": row[None, None, None, :],
    }


def make_pictures(photo: np.ndarray) -> Iterator[Picture]:
    """Compute the steps one after another."""
    names, results = operands(photo), {}
    for step in STEPS:
        expression = compile(step.code, step.name, "eval")
        result = eval(expression, names)  # the constant strings above; once to compile the kernels
        results[step.name] = result
        seconds = fastest(partial(eval, expression, names), TIMED_SECONDS)
        note = ""
        if step.name == "gaussian-separable":
            difference = np.abs(result - results["gaussian"]).max()
            note = f"Largest difference from the 2-D kernel's picture, whose values run from 0 to 1: {difference:.1e}."
        yield Picture(step, visible(result, step.show), seconds, note)


def visible(result: np.ndarray, show: str = "as is") -> np.ndarray:
    """8-bit pixels, (H, W) or (H, W, 3), of a result as its step wants it shown."""
    if result.ndim == 3 and result.shape[0] == 3:
        result = np.moveaxis(result, 0, 2)
    if show == "magnitude":
        result = result / np.quantile(result, 0.995)
    elif show == "signed":
        result = 0.5 + 0.5 * result / np.quantile(np.abs(result), 0.98)
    elif show == "blocks":
        result = result.repeat(8, 0).repeat(8, 1)
    return np.rint(255 * np.clip(result, 0, 1)).astype(np.uint8)
