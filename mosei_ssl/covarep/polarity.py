"""Polarity of a recording from the skewness of two LP residuals."""

import numpy as np
from scipy import signal as sps

from mosei_ssl.covarep.lpc import lp_residual
from mosei_ssl.covarep.signal import SAMPLE_RATE, zero_phase


def _skewness(x: np.ndarray) -> float:
    centred = x - x.mean()
    variance = (centred**2).mean()
    return float((centred**3).mean() / variance**1.5) if variance > 0 else 0.0


def polarity(x: np.ndarray) -> tuple[int, np.ndarray]:
    """Whether a recording is upside down (microphones and amplifiers may invert speech).

    Args:
        x: Speech at 16 kHz, float64 [N].

    Returns:
        +1 or -1 (0 for silence), to multiply the signal with; and the residual of order 18
        of the signal as given, float64 [N], which later stages reuse (it changes its sign
        with the signal).

    References:
        Drugman, T. (2013). Residual excitation skewness for automatic speech polarity
        detection. IEEE Signal Processing Letters 20(4).
    """
    nyquist = SAMPLE_RATE / 2
    order, _ = sps.ellipord(480 / nyquist, 500 / nyquist, 3, 60)
    b, a = sps.ellip(order, 3, 60, 480 / nyquist, btype="highpass")
    rough = lp_residual(x, 18, coefficients_from=zero_phase(b, a, x))
    plain = lp_residual(x, 18)
    sign = np.sign(_skewness(np.nan_to_num(plain)) - _skewness(np.nan_to_num(rough)))
    return int(sign), plain
