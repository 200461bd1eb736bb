"""The normal distribution: its density, and the probability to be below a number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Numerators and denominators, highest power first, of W. J. Cody, "Rational Chebyshev approximations for the error
# function", Mathematics of Computation 23 (1969), as in his Fortran routine CALERF.
_ERF_NEAR_ZERO = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_ERFC_MIDDLE = (
    (
        2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
        2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
        3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
    ),
)  # fmt: skip
_ERFC_TAIL = (
    (
        1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
        1.60837851487422766e-2, 6.58749161529837803e-4,
    ),
    (
        1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1, 6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)  # fmt: skip


def _rational(z: np.ndarray, coefficients: tuple[Sequence[float], Sequence[float]]) -> np.ndarray:
    numerator, denominator = (np.full_like(z, c[0]) for c in coefficients)
    for p, q in zip(coefficients[0][1:], coefficients[1][1:]):
        numerator *= z
        numerator += p
        denominator *= z
        denominator += q
    return numerator / denominator


def erfc(x: np.ndarray) -> np.ndarray:
    """1 - erf(x) to the accuracy of x's dtype, also far out on the right where it is tiny."""
    y = np.minimum(np.abs(x), 28)  # erfc(28) is 0 in float64
    head = np.trunc(y * 16) / 16  # exp(-y y) in two factors: head * head is exact
    bell = np.exp(-head * head) * np.exp((head - y) * (head + y))
    z = 1 / np.square(y)
    far = (1 / math.sqrt(math.pi) - z * _rational(z, _ERFC_TAIL)) / y
    tail = bell * np.where(y > 4, far, _rational(y, _ERFC_MIDDLE))
    near = 1 - x * _rational(np.square(x), _ERF_NEAR_ZERO)
    return np.where(y <= 0.46875, near, np.where(x < 0, 2 - tail, tail))


def normal_distribution(x: np.ndarray) -> np.ndarray:
    """The probability of a normal variable to be below x."""
    return 0.5 * erfc(x * -math.sqrt(0.5))


def bell(x: np.ndarray) -> np.ndarray:
    """The density of a normal variable."""
    return np.exp(-0.5 * np.square(x)) * (1 / math.sqrt(2 * math.pi))
