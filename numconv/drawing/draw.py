"""`draw` and `draw_channels`, and what they give: a picture that saves itself and shows itself in a notebook.

Importing numconv loads this; how pictures are made is loaded when the first one is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from numconv.ops.convolution import as_array
from numconv.problem import ConvProblem, PoolProblem

if TYPE_CHECKING:
    from numconv.drawing.shapes import Sheet

SECONDS = 1.2
THEMES = ("light", "dark")


def known_theme(theme: str) -> str:
    """The name of a theme, or a ValueError."""
    if theme not in THEMES:
        raise ValueError(f"theme must be one of {THEMES}, got {theme!r}")
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
        from numconv.drawing.shapes import Sheet

        sheet = self._sheet
        return Drawing(
            Sheet(sheet.width, sheet.height, sheet.base, [sheet.steps[step]], sheet.title),
            self._theme,
        )

    def __repr__(self) -> str:
        return f"<Drawing of {self._sheet.title}, {len(self)} steps>"

    def _repr_svg_(self) -> str:
        from numconv.drawing import svg

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
        from numconv.drawing import raster

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
    from numconv.drawing.layout import laid_out
    from numconv.drawing.scenes import options_of, scene_of

    if isinstance(operation, ConvProblem | PoolProblem):
        if options:
            raise TypeError(f"options come with an operation's name, not with a problem: got {sorted(options)}")
        operation, options = operation.operation, options_of(operation)
    with np.errstate(all="ignore"):  # NaN and what overflows is shown
        scene = scene_of(operation, np.asarray(as_array("x", x)), weight, bias, options)
    return Drawing(laid_out(scene), theme)


def draw_channels(*layers: Any, theme: str = "light") -> Drawing:
    """Draw which input channel feeds which output channel, layer after layer.

    Parameters
    ----------
    *layers : numconv.nn.Module
        Convolutions, transposed ones included, and `ChannelShuffle`, or a `Sequential` of them; layers that treat
        each channel by itself are left out. The first has to be a convolution.
    theme : "light" or "dark"
        The ground that the picture stands on.

    Returns
    -------
    Drawing
        Lines have the colour of the group that their channel comes from. Below it stands how many of the input's
        channels a result depends on, and how many weights connect them.

    Raises
    ------
    ValueError
        If there is no convolution first, channels do not fit together, or there are more than 48.
    TypeError
        If a layer mixes channels in a way that is not known here.

    Examples
    --------
    >>> from numconv import nn
    >>> draw_channels(nn.Conv2d(4, 8, 3, groups=2))
    <Drawing of Conv2d 4 → 8, groups 2, 1 steps>
    """
    from numconv.drawing.channels import channels_sheet

    return Drawing(channels_sheet(layers), known_theme(theme))
