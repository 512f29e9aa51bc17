"""Polarity of a recording from the skewness of two LP residuals."""

import functools

import numpy as np
from scipy import signal as sps

from mosei_ssl.covarep.lpc import lp_residual
from mosei_ssl.covarep.signal import SAMPLE_RATE, zero_phase


@functools.cache
def _highpass() -> tuple[np.ndarray, np.ndarray]:
    nyquist = SAMPLE_RATE / 2
    order, _ = sps.ellipord(480 / nyquist, 500 / nyquist, 3, 60)
    return sps.ellip(order, 3, 60, 480 / nyquist, btype="highpass")


def rough_residual(x: np.ndarray) -> np.ndarray:
    """Residual of order 18 whose predictors come from the signal above 480 Hz, [N] to [N]."""
    return lp_residual(x, 18, coefficients_from=zero_phase(*_highpass(), x))


def power_sums(x: np.ndarray) -> np.ndarray:
    """Count and sums of the first three powers, which add up over parts; NaN counts as zero."""
    x = np.nan_to_num(x)
    square = x * x
    return np.array([len(x), x.sum(), square.sum(), (square * x).sum()])


def _skewness(sums: np.ndarray) -> float:
    mean, second, third = sums[1:] / sums[0]
    variance = second - mean**2
    if variance <= 0:
        return 0.0
    return float((third - 3 * mean * second + 2 * mean**3) / variance**1.5)


def polarity(plain: np.ndarray, rough: np.ndarray) -> int:
    """+1, or -1 where a recording is upside down, as microphones may invert speech; 0 in silence.

    Takes the :func:`power_sums` of the plain and the :func:`rough_residual` (Drugman 2013).
    """
    return int(np.sign(_skewness(plain) - _skewness(rough)))
