"""The Liljencrants-Fant glottal pulse, governed by the single shape parameter Rd."""

import functools
import itertools
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from scipy import optimize

RD_MIN, RD_MAX = 0.3, 2.5
_DEGREE = 60


def _timing(rd: Any) -> tuple[Any, Any, Any]:
    """Times te and ta and angular frequency of the pulse, relative to a period of one."""
    ra = (-1 + 4.8 * rd) / 100
    rk = (22.4 + 11.8 * rd) / 100
    rg = 1 / (4 * ((0.11 * rd / (0.5 + 1.2 * rk)) - ra) / rk)
    tp = 1 / (2 * rg)
    return tp * (1 + rk), ra, np.pi / tp


def _solve(rd: float) -> tuple[float, float]:
    """Growth rate alpha of the open phase and decay rate epsilon of the return phase."""
    te, ta, omega = map(float, _timing(np.float64(rd)))

    def decay(eps: float) -> float:
        return 1 - np.exp(-eps * (1 - te)) - eps * ta

    # The function rises from 0 to its only maximum, then falls through the root we want.
    top = np.log((1 - te) / ta) / (1 - te)
    epsilon = optimize.brentq(decay, top, 1.0 / ta + 1.0, xtol=1e-14, rtol=1e-15)
    tail = np.exp(-epsilon * (1 - te))
    area = (1 - tail) / (epsilon**2 * ta) - (1 - te) * tail / (epsilon * ta)
    sine, cosine = np.sin(omega * te), np.cos(omega * te)

    def balance(alpha: float) -> float:
        return (
            (alpha**2 + omega**2) * sine * area
            + omega * np.exp(-alpha * te)
            + alpha * sine
            - omega * cosine
        )

    ends = [0.0] + [10.0**k for k in range(1, 10)]
    for low, high in itertools.pairwise(ends):
        if np.sign(balance(low)) != np.sign(balance(high)):
            return optimize.brentq(balance, low, high, xtol=1e-14, rtol=1e-15), epsilon
    raise ArithmeticError(f"the pulse has no solution for Rd={rd}")


@functools.cache
def _rates() -> np.ndarray:
    """Chebyshev series of alpha and epsilon over the whole range of Rd."""
    nodes = chebyshev.chebpts1(2 * _DEGREE)
    solved = np.array([_solve(RD_MIN + (RD_MAX - RD_MIN) * (t + 1) / 2) for t in nodes])
    return chebyshev.chebfit(nodes, solved, _DEGREE)


def pulse_spectrum(rd: np.ndarray, harmonics: int) -> np.ndarray:
    """Complex spectra [M, harmonics] of the glottal flow derivative, relative to E_e = 1.

    Rd [M] is within [0.3, 2.5], small for a tense and large for a breathy voice. After Fant et al.
    1985, Fant 1995 and Doval et al. 2006.
    """
    alpha, epsilon = chebyshev.chebval(2 * (rd - RD_MIN) / (RD_MAX - RD_MIN) - 1, _rates())
    te, ta, omega = _timing(rd[:, None])
    alpha, epsilon = alpha[:, None], epsilon[:, None]
    v = 2j * np.pi * np.arange(1, harmonics + 1)
    delay = np.exp(-v * te)
    sine, cosine = np.sin(omega * te), np.cos(omega * te)
    rise = alpha - v
    opening = delay * (omega * cosine / sine - rise) - omega / (np.exp(alpha * te) * sine)
    # exp(-v) is one at the harmonics, so the end of the period needs no exponential.
    rest = 1 - epsilon * ta
    closing = delay * (rest - ta * v) - rest
    return opening / (rise**2 + omega**2) + closing / (ta * v * (epsilon + v))
