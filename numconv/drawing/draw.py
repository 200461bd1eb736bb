"""`draw` and what it gives: a picture that saves itself and shows itself in a notebook."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from numconv.drawing import raster, svg
from numconv.drawing.convolutions import convolution_scene, signal_scene
from numconv.drawing.layout import laid_out
from numconv.drawing.moves import MOVES, moving_scene
from numconv.drawing.poolings import pooling_scene, unpooling_scene
from numconv.drawing.scene import Scene, checked
from numconv.drawing.shapes import THEMES, Sheet
from numconv.ops.convolution import as_array
from numconv.problem import LAST, ConvProblem, PoolProblem

SECONDS = 1.2
POOLINGS = ("max", "avg", "lp", "weighted_avg", "adaptive_avg", "adaptive_max")
KNOWN = (
    *(f"{kind}{n}d" for kind in ("conv", "conv_transpose") for n in (1, 2, 3)),
    *(f"{kind}_pool{n}d" for kind in POOLINGS for n in (1, 2, 3)),
    "global_avg_pool",
    "global_max_pool",
    *(f"max_unpool{n}d" for n in (1, 2, 3)),
    "convolve",
    "correlate",
    *MOVES,
)


def known_theme(theme: str) -> str:
    """The name of a theme, or a ValueError."""
    if theme not in THEMES:
        raise ValueError(f"theme must be one of {list(THEMES)}, got {theme!r}")
    return theme


class Drawing:
    """A picture of an operation, a step for each element of the result; `draw` makes it.

    It shows itself in a notebook. ``len`` counts the steps, and ``drawing[i]`` is the picture of one of them.
    """

    def __init__(self, sheet: Sheet, theme: str) -> None:
        self._sheet, self._theme = sheet, theme

    def __len__(self) -> int:
        return len(self._sheet.steps)

    def __getitem__(self, step: int) -> Drawing:
        sheet = self._sheet
        return Drawing(
            Sheet(sheet.width, sheet.height, sheet.base, [sheet.steps[step]], sheet.title),
            self._theme,
        )

    def __repr__(self) -> str:
        return f"<Drawing of {self._sheet.title}, {len(self)} steps>"

    def _repr_svg_(self) -> str:
        return svg.written(self._sheet, self._theme, SECONDS)

    def with_theme(self, theme: str) -> Drawing:
        """The same picture on a "light" or a "dark" ground."""
        return Drawing(self._sheet, known_theme(theme))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file.

        Parameters
        ----------
        path : str or path
            Ending in .svg (steps follow each other in a browser), .gif (a frame for each step) or .png (the first).
            The last two need the extra `demo`.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        ValueError
            If the name ends differently.
        """
        path = Path(path)
        if path.suffix == ".svg":
            path.write_text(self._repr_svg_(), "utf-8")
        elif path.suffix in (".gif", ".png"):
            raster.saved(self._sheet, path, self._theme, SECONDS)
        else:
            raise ValueError(f"path must end in .svg, .gif or .png, got {str(path)!r}")
        return path


def draw(
    operation: Any, x: Any, weight: Any = None, bias: Any = None, *, theme: str = "light", **options: Any
) -> Drawing:
    """Draw which elements of the input make which element of the result, window by window with the numbers.

    Parameters
    ----------
    operation : str, ConvProblem or PoolProblem
        A convolution or transposed convolution, "convolve" or "correlate", a pooling or an unpooling, or
        "channel_shuffle", "pixel_shuffle", "pixel_unshuffle", by the name of the function. A problem brings its
        options with it.
    x : array_like
        One image, ``(C, *spatial)`` or ``(1, C, *spatial)``, or only its spatial axes where it has one channel. Up to
        some hundred elements can be read. Of three spatial axes the first is shown as slices.
    weight : array_like, optional
        As in `conv2d`, or only its spatial axes where it joins one channel to one; the kernel of "convolve"; the
        indices of an unpooling.
    bias : array_like, optional
        As in `conv2d`.
    theme : "light" or "dark"
        The ground that the picture stands on.
    **options
        Those of the function: stride, padding, groups, kernel_size, mode, ...

    Returns
    -------
    Drawing
        With `save("picture.svg")`, also .gif and .png. A notebook shows it.

    Raises
    ------
    ValueError, TypeError
        If the operation is not one of these, does not take the arguments, or has too many elements to be read.

    Examples
    --------
    >>> draw("conv1d", [1, 2, 3, 4], [1, 0, -1], padding=1)
    <Drawing of conv1d, padding 1:  1×4 → 1×4, 4 steps>
    """
    known_theme(theme)
    if isinstance(operation, ConvProblem | PoolProblem):
        if options:
            raise TypeError(f"options come with an operation's name, not with a problem: got {sorted(options)}")
        operation, options = operation.operation, _options(operation)
    if operation not in KNOWN:
        raise ValueError(f"operation must be one of {', '.join(KNOWN)}, got {operation!r}")
    scene = _scene(operation, np.asarray(as_array("x", x)), weight, bias, options)
    return Drawing(laid_out(checked(scene)), theme)


def _scene(operation: str, x: np.ndarray, weight: Any, bias: Any, options: dict[str, Any]) -> Scene:
    if operation.startswith("max_unpool"):
        return unpooling_scene(operation, x, weight, options)
    takes_weight = operation.startswith("conv") or operation == "correlate"
    if (weight is None) == takes_weight or (bias is not None and not takes_weight):
        raise TypeError(f"{operation} takes {'a weight' if takes_weight else 'neither weight nor bias'}")
    if operation in ("convolve", "correlate"):
        return signal_scene(operation, x, np.asarray(as_array("weight", weight)), **{"mode": None, **options})
    if operation.startswith("conv"):
        return convolution_scene(operation, x, np.asarray(as_array("weight", weight)), bias, options)
    return (moving_scene if operation in MOVES else pooling_scene)(operation, x, options)


def _options(problem: ConvProblem | PoolProblem) -> dict[str, Any]:
    """The arguments that make a problem."""
    if isinstance(problem, ConvProblem):
        layout = problem.layout_in
        options = {name: getattr(problem, name) for name in ("stride", "padding", "dilation", "groups", "activation")}
        if problem.operation.startswith("conv_transpose"):
            options["output_size"] = problem.spatial
    else:
        layout = problem.layout
        options = {name: getattr(problem, name) for name in ("stride", "padding", "dilation")}
        options["kernel_size"] = problem.kernel
        if problem.adaptive:
            options = {} if problem.operation.startswith("global") else {"output_size": problem.out_spatial}
        for name in ("norm_type", "divisor_override"):
            if getattr(problem, name, None) is not None:
                options[name] = getattr(problem, name)
        if problem.operation.startswith("avg"):
            options["count_include_pad"] = problem.count_include_pad
    if layout == LAST:
        options["data_format"] = LAST
    return options
