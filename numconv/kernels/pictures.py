"""Kernels for pictures: small float64 arrays to give to `filter`, which correlates: no kernel is turned around.

Kernels that smooth or keep a picture's brightness sum to 1, those that differentiate sum to 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from numconv.problem import integer, per_axis

__all__ = ["box", "emboss", "gabor", "gaussian", "laplacian", "prewitt", "scharr", "sharpen", "sobel"]


def _number(name: str, value: Any, *, positive: bool = False) -> float:
    """A finite number as a float."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    number = float(value)
    if not math.isfinite(number) or (positive and number <= 0):
        raise ValueError(f"{name} must be a {'positive' if positive else 'finite'} number, got {value!r}")
    return number


def _pair(name: str, value: Any) -> tuple[float, float]:
    """A positive number for each of the two axes, from one or two."""
    values = tuple(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else (value,)
    if len(values) not in (1, 2):
        raise ValueError(f"{name} must be a number or two, (rows, columns), got {value!r}")
    first, *rest = (_number(name, v, positive=True) for v in values)
    return first, rest[0] if rest else first


def _gradient(axis: int, smooth: tuple[int, int, int]) -> np.ndarray:
    """The central difference along an axis, smoothed along the other."""
    if integer("axis", axis) not in (0, 1, -1, -2):
        raise ValueError(f"axis must be 0 (along rows, downwards) or 1 (along columns, to the right), got {axis}")
    kernel = np.outer(smooth, (-1.0, 0.0, 1.0))
    return kernel if axis in (1, -1) else np.ascontiguousarray(kernel.T)


def sobel(axis: int = -1) -> np.ndarray:
    """Sobel's gradient along an axis: (-1, 0, 1) smoothed by (1, 2, 1) along the other.

    Parameters
    ----------
    axis : int
        1 or -1 answers to vertical edges, 0 to horizontal ones.

    Returns
    -------
    numpy.ndarray, shape (3, 3)
        As in `scipy.ndimage.sobel`, not normalised: a step of 1 gives 4. Sum 0.

    Raises
    ------
    ValueError, TypeError
        If there is no such axis.

    References
    ----------
    I. Sobel and G. Feldman, A 3x3 isotropic gradient operator for image processing, Stanford, 1968.

    Examples
    --------
    >>> sobel()
    array([[-1.,  0.,  1.],
           [-2.,  0.,  2.],
           [-1.,  0.,  1.]])
    """
    return _gradient(axis, (1, 2, 1))


def prewitt(axis: int = -1) -> np.ndarray:
    """Prewitt's gradient along an axis: (-1, 0, 1) smoothed by (1, 1, 1) along the other; a step of 1 gives 3.

    J. M. S. Prewitt, Object enhancement and extraction, 1970. Arguments and errors as in `sobel`.
    """
    return _gradient(axis, (1, 1, 1))


def scharr(axis: int = -1) -> np.ndarray:
    """Scharr's gradient along an axis: (-1, 0, 1) smoothed by (3, 10, 3) along the other; a step of 1 gives 16.

    Its direction is right to about a degree where Sobel's is off by several: H. Scharr, Optimale Operatoren in der
    digitalen Bildverarbeitung, Heidelberg, 2000. Arguments and errors as in `sobel`.
    """
    return _gradient(axis, (3, 10, 3))


def laplacian(diagonal: bool = False) -> np.ndarray:
    """The sum of second differences: over the 4 nearest pixels, or with `diagonal` over all 8.

    Parameters
    ----------
    diagonal : bool

    Returns
    -------
    numpy.ndarray, shape (3, 3)
        1 at each neighbour, and less their number in the middle, as in `scipy.ndimage.laplace`. Sum 0.
    """
    kernel = np.ones((3, 3)) if diagonal else np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    kernel[1, 1] = -8 if diagonal else -4
    return kernel


def box(size: int | tuple[int, int] = 3) -> np.ndarray:
    """The mean over a rectangle: 1 / (height * width) everywhere, as `scipy.ndimage.uniform_filter`.

    Parameters
    ----------
    size : int or (int, int)
        Height and width.

    Returns
    -------
    numpy.ndarray, shape (height, width)
        Sum 1.

    Raises
    ------
    ValueError, TypeError
        If a size is not a positive integer.
    """
    height, width = per_axis("size", size, 2, 1)
    return np.full((height, width), 1 / (height * width))


def gaussian(
    sigma: float | tuple[float, float], size: int | tuple[int, int] | None = None, truncate: float = 4.0
) -> np.ndarray:
    """The normal distribution's bell, exp(-(y / sigma)^2 / 2 - (x / sigma)^2 / 2), normalised.

    Parameters
    ----------
    sigma : float or (float, float)
        Standard deviation in pixels: of both axes, or of rows and columns.
    size : int or (int, int), optional
        Height and width; where left out, 2 r + 1 with r = truncate * sigma rounded, as
        `scipy.ndimage.gaussian_filter` has it.
    truncate : float
        Where the bell is cut, in standard deviations; without effect where `size` is given.

    Returns
    -------
    numpy.ndarray
        Separable. Sum 1.

    Raises
    ------
    ValueError, TypeError
        If an argument is not positive.
    """
    sigmas, cut = _pair("sigma", sigma), _number("truncate", truncate, positive=True)
    sizes = tuple(2 * int(cut * s + 0.5) + 1 for s in sigmas) if size is None else per_axis("size", size, 2, 1)
    bells = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / s) ** 2) for n, s in zip(sizes, sigmas)]
    return np.outer(*(bell / bell.sum() for bell in bells))


def gabor(
    wavelength: float,
    theta: float = 0.0,
    sigma: float | None = None,
    gamma: float = 0.5,
    psi: float = 0.0,
    size: int | tuple[int, int] | None = None,
    truncate: float = 3.0,
) -> np.ndarray:
    """A wave under a bell: exp(-(u^2 + (gamma v)^2) / (2 sigma^2)) cos(2 pi u / wavelength + psi).

    With x to the right, y downwards and the origin in the middle, u = x cos(theta) + y sin(theta) runs across the
    stripes and v = -x sin(theta) + y cos(theta) along them.

    Parameters
    ----------
    wavelength : float
        Of the wave, in pixels.
    theta : float
        Direction across the stripes, in radians: 0 answers to vertical stripes.
    sigma : float, optional
        Standard deviation of the bell across the stripes; 0.56 wavelengths where left out, a bandwidth of one octave.
    gamma : float
        Width over length of the bell.
    psi : float
        Phase in radians: 0 gives an even kernel, pi / 2 an odd one of sum 0.
    size : int or (int, int), optional
        Height and width; where left out, odd and so large that `truncate` standard deviations fit in.
    truncate : float

    Returns
    -------
    numpy.ndarray

    Raises
    ------
    ValueError, TypeError
        If wavelength, sigma, gamma, truncate or a size is not positive.

    References
    ----------
    J. G. Daugman, Journal of the Optical Society of America A 2, 1985; in this parametrisation N. Petkov and
    P. Kruizinga, Biological Cybernetics 76, 1997, and OpenCV's getGaborKernel.
    """
    length, angle = _number("wavelength", wavelength, positive=True), _number("theta", theta)
    across = 0.56 * length if sigma is None else _number("sigma", sigma, positive=True)
    along = across / _number("gamma", gamma, positive=True)
    phase, cut = _number("psi", psi), _number("truncate", truncate, positive=True)
    c, s = math.cos(angle), math.sin(angle)
    if size is None:
        reach = (max(abs(across * s), abs(along * c)), max(abs(across * c), abs(along * s)))
        height, width = (2 * math.ceil(cut * r) + 1 for r in reach)
    else:
        height, width = per_axis("size", size, 2, 1)
    y, x = np.ogrid[:height, :width]
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    u, v = x * c + y * s, y * c - x * s
    return np.exp(-0.5 * ((u / across) ** 2 + (v / along) ** 2)) * np.cos(2 * np.pi * u / length + phase)


def sharpen(amount: float = 1.0) -> np.ndarray:
    """The picture less `amount` times its Laplacian: 5 in the middle of four -1 for an amount of 1. Sum 1.

    R. C. Gonzalez and R. E. Woods, Digital Image Processing, section 3.6.

    Parameters
    ----------
    amount : float

    Returns
    -------
    numpy.ndarray, shape (3, 3)

    Raises
    ------
    ValueError, TypeError
        If `amount` is not a finite number.
    """
    kernel = _number("amount", amount) * np.array([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
    kernel[1, 1] += 1
    return kernel


def emboss(strength: float = 1.0) -> np.ndarray:
    """The picture plus `strength` times its slope from the upper left to the lower right, as if lit from there. Sum 1.

    Parameters
    ----------
    strength : float
        With 1 the usual kernel ((-2, -1, 0), (-1, 1, 1), (0, 1, 2)).

    Returns
    -------
    numpy.ndarray, shape (3, 3)

    Raises
    ------
    ValueError, TypeError
        If `strength` is not a finite number.
    """
    kernel = _number("strength", strength) * np.array([[-2.0, -1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 1.0, 2.0]])
    kernel[1, 1] += 1
    return kernel
